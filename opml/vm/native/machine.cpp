#include "machine.hpp"

#include <algorithm>
#include <cstring>

namespace opml {

// Helpers -------------------------------------------------------------------------------------------------------------

namespace {

// Lends memory for the slots of a chunk, first fit; sizes are known before anything is allocated.
class Planner {
 public:
  uint64_t take(uint64_t bytes) {
    bytes = (bytes + 63) & ~uint64_t{63};
    for (size_t i = 0; i < gaps_.size(); ++i) {
      if (gaps_[i].second < bytes) continue;
      const uint64_t at = gaps_[i].first;
      gaps_[i].first += bytes;
      gaps_[i].second -= bytes;
      if (gaps_[i].second == 0) gaps_.erase(gaps_.begin() + static_cast<std::ptrdiff_t>(i));
      return at;
    }
    uint64_t at = top_;
    if (!gaps_.empty() && gaps_.back().first + gaps_.back().second == top_) {
      at = gaps_.back().first;
      gaps_.pop_back();
    }
    top_ = at + bytes;
    return at;
  }
  void give_back(uint64_t at, uint64_t bytes) {
    bytes = (bytes + 63) & ~uint64_t{63};
    auto next = std::lower_bound(gaps_.begin(), gaps_.end(), std::pair{at, uint64_t{0}});
    next = gaps_.insert(next, {at, bytes});
    if (next + 1 != gaps_.end() && next->first + next->second == (next + 1)->first) {
      next->second += (next + 1)->second;
      gaps_.erase(next + 1);
    }
    if (next != gaps_.begin() && (next - 1)->first + (next - 1)->second == next->first) {
      (next - 1)->second += next->second;
      gaps_.erase(next);
    }
  }
  uint64_t top() const { return top_; }

 private:
  std::vector<std::pair<uint64_t, uint64_t>> gaps_;  // offset, bytes; ascending, never touching
  uint64_t top_ = 0;
};

constexpr uint32_t kFewPositions = 8;
constexpr uint32_t kTileRows = 256, kTilePositions = 48;  // of a qdot that one thread works on

// Extents that vary are sized for t in steps, so that a plan serves many positions.
uint64_t extent_limit(uint32_t last) { return (uint64_t{last} / kLeafElements + 1) * kLeafElements; }

// Where an operand that is addressed by r (and k) starts at chunk position p.
uint64_t start_of(const Source& s, uint32_t p, uint32_t r) {
  uint64_t at = s.base + p * s.stride;
  for (int i = 0; i < s.n_terms; ++i)
    if (s.terms[i].axis == Axis::r) at += uint64_t{s.terms[i].mul == kRow ? s.row.n : s.terms[i].mul} * (r / s.terms[i].div);
  return at;
}

}  // namespace

// Opening -------------------------------------------------------------------------------------------------------------

std::string Machine::open(std::span<const uint8_t> program, std::vector<std::span<const uint8_t>> weights,
                          const Kernels& kernels, int threads, bool generic) {
  if (const std::string fault = decode_program(program, program_); !fault.empty()) return "program: " + fault;
  if (weights.size() != program_.weights.size())
    return "weights: the program has " + std::to_string(program_.weights.size()) + ", found " + std::to_string(weights.size());
  for (size_t i = 0; i < weights.size(); ++i)
    if (weights[i].size() != program_.weights[i].bytes())
      return "weight " + std::to_string(i) + ": expected " + std::to_string(program_.weights[i].bytes()) + " bytes, found " +
             std::to_string(weights[i].size());
  weights_ = std::move(weights);
  kernels_ = &kernels;
  pool_ = std::make_unique<ThreadPool>(threads);
  workspaces_.resize(static_cast<size_t>(pool_->threads()));
  for (auto& w : workspaces_) w.reset(kernels.workspace_bytes);
  for (auto& w : workspaces_) std::memset(w.data.get(), 0, w.size);
  scratch_.resize(static_cast<size_t>(pool_->threads()));
  constants_.reset(std::max<size_t>(1, program_.pool.size()) * kLanes);
  for (size_t i = 0; i < program_.pool.size(); ++i)
    std::fill_n(constants_.data.get() + i * kLanes, kLanes, program_.pool[i]);
  tensor_padding_.emplace(kernels, Tag::tensor);
  position_padding_.emplace(kernels, Tag::position);
  trace_padding_.emplace(kernels, Tag::trace);

  const size_t slots = program_.slots.size();
  qdots_.resize(slots);
  packed_.resize(weights_.size());
  raw_.resize(static_cast<size_t>(pool_->threads()));
  for (auto& raw : raw_) raw.reset(2 * kTilePositions * (kTileRows + kGroupRows));
  for (size_t s = 0; s < slots && !generic; ++s) {
    const Slot& slot = program_.slots[s];
    qdots_[s] = qdot_form(program_, slot);
    for (int j = 0; qdots_[s] && j < slot.code->accumulators(); ++j) {
      const uint32_t number = qdots_[s]->rows[j].weight;
      if (packed_[number].size > 0) continue;
      const WeightShape& w = program_.weights[number];
      packed_[number].reset(packed_bytes(w));
      const uint32_t groups = (w.rows + kGroupRows - 1) / kGroupRows, each = 64;
      pool_->run((groups + each - 1) / each, [&](uint32_t i, int) {
        pack_rows(w, weights_[number].data(), i * each, std::min(groups, (i + 1) * each), packed_[number].data.get());
      });
    }
  }
  kept_.assign(slots, 0);
  last_reader_.assign(slots, 0);
  entry_end_.assign(program_.schedule.size(), 0);
  for (uint32_t s = 0; s < slots; ++s) {
    last_reader_[s] = s;
    entry_end_[program_.slots[s].entry] = s;
    for (const auto* section : {&program_.slots[s].code->body_operands, &program_.slots[s].code->finish_operands}) {
      for (const Operand& o : *section) {
        if (o.kind != Kind::slot) continue;
        last_reader_[s - o.ref] = s;
        if (o.window != Window::here) kept_[s - o.ref] = 1;
      }
    }
  }
  return {};
}

Session::Session(Machine& machine, std::vector<uint32_t> params, std::vector<Fault> faults)
    : machine_(machine), params_(std::move(params)), store_(machine.program_.slots.size()) {
  params_.resize(std::max<size_t>(params_.size(), machine.program_.params));
  for (const Fault& f : faults) faults_.emplace(f.slot, f);
}

std::optional<uint32_t> Session::sample(uint32_t position) const {
  if (position >= tokens_.size() || position < yields_from_) return std::nullopt;
  return samples_[position];
}


// Planning ------------------------------------------------------------------------------------------------------------

uint32_t Session::first_yield(uint32_t first, uint32_t positions) const {
  return yields_from_ <= first ? 0 : std::min(positions, yields_from_ - first);
}

// Where the slots of a chunk lie. Memory is lent again after the last reader of a slot and after its entry was hashed;
// a chunk of few positions keeps everything, and is hashed at the end.
Session::Memory Session::lay_out(uint32_t sized_for, uint32_t positions, uint32_t yielding) const {
  const Program& program = machine_.program_;
  std::vector<uint64_t> bytes(program.slots.size());
  std::vector<std::vector<uint32_t>> ends(program.slots.size());
  Memory z{std::vector<uint64_t>(program.slots.size()), 0};
  Planner memory;
  for (uint32_t s = 0; s < program.slots.size(); ++s) {
    const Instruction& code = *program.slots[s].code;
    bytes[s] = uint64_t{code.rows.n} * code.cols.at(sized_for) * format_bytes(code.out) * (code.yields ? yielding : positions);
    if (!machine_.kept_[s] && bytes[s] > 0) {
      z.offset[s] = memory.take(bytes[s]);
      const uint32_t hashed = code.is_virtual ? s : machine_.entry_end_[program.slots[s].entry];
      ends[std::max(machine_.last_reader_[s], hashed)].push_back(s);
    }
    if (positions >= kFewPositions && s + 1 < program.slots.size())
      for (const uint32_t dead : ends[s]) memory.give_back(z.offset[dead], bytes[dead]);
  }
  z.bytes = std::max<uint64_t>(64, memory.top());
  return z;
}

uint32_t Session::chunk_size(uint32_t first, size_t wanted) const {
  auto positions = static_cast<uint32_t>(std::min<size_t>(wanted, kMostPositions));
  while (positions > 1) {
    const auto sized_for = static_cast<uint32_t>(extent_limit(first + positions - 1) - 1);
    if (lay_out(sized_for, positions, positions - first_yield(first, positions)).bytes <= kArenaBytes) break;
    positions /= 2;
  }
  return positions;
}

// Kept slots lie in the session's own memory, of which a chunk is a part.
void Session::place_kept(ChunkPlan& p) {
  for (uint32_t s = 0; s < p.slots.size(); ++s)
    if (machine_.kept_[s])
      p.slots[s].data = store_[s].data() + uint64_t{p.chunk.first} * p.slots[s].stride * format_bytes(p.slots[s].out);
  for (const auto& [source, slot] : p.kept_sources) p.sources[source].data = p.slots[slot].data;
}

// Resolves every slot for `positions` positions from `first` on.
void Session::plan(ChunkPlan& p, uint32_t first, uint32_t positions) {
  const Program& program = machine_.program_;
  const uint32_t last = first + positions - 1, yield = first_yield(first, positions);
  for (uint32_t s = 0; s < program.slots.size(); ++s) {
    if (!machine_.kept_[s]) continue;
    const Instruction& code = *program.slots[s].code;
    const uint64_t bytes = (uint64_t{last} + 1) * code.rows.n * code.cols.n * format_bytes(code.out);
    if (store_[s].size() >= bytes) continue;
    store_[s].resize(std::max(bytes, store_[s].size() * 3 / 2));
    ++store_version_;
  }
  p.chunk = {first, tokens_.data() + first};
  if (p.positions == positions && p.first_yield == yield && last < p.extent_limit && p.store_version == store_version_) {
    place_kept(p);
    return;
  }
  p.positions = positions;
  p.first_yield = yield;
  p.extent_limit = extent_limit(last);
  p.store_version = store_version_;
  const auto sized_for = static_cast<uint32_t>(p.extent_limit - 1);
  const Memory memory = lay_out(sized_for, positions, positions - yield);
  p.arena.reset(memory.bytes);
  size_t sources = 0;
  for (const Slot& slot : program.slots) sources += slot.code->body_operands.size() + slot.code->finish_operands.size();
  p.kept_sources.clear();

  p.slots.assign(program.slots.size(), {});
  p.sources.assign(sources, {});
  size_t next_source = 0;
  for (uint32_t s = 0; s < program.slots.size(); ++s) {
    const Slot& slot = program.slots[s];
    const Instruction& code = *slot.code;
    SlotPlan& z = p.slots[s];
    z.fold = code.fold;
    z.out = code.out;
    z.two = code.two;
    std::copy(std::begin(code.result), std::end(code.result), std::begin(z.result));
    z.rows = code.rows;
    z.cols = code.cols;
    z.k = code.k;
    z.accumulators = code.accumulators();
    z.body = code.body.data();
    z.finish = code.finish.data();
    z.n_body = static_cast<int>(code.body.size());
    z.n_finish = static_cast<int>(code.finish.size());
    z.constants = machine_.constants_.data.get();
    z.stride = uint64_t{code.rows.n} * code.cols.at(sized_for);
    z.chunk = &p.chunk;
    z.uniform = !code.cols.varies && !code.k.varies;
    // Yields slots have no memory for the chunk's positions that do not yield.
    const uint64_t shift = code.yields ? yield * z.stride * format_bytes(code.out) : 0;
    z.data = p.arena.data.get() + memory.offset[s] - shift;
    const auto resolve = [&](const std::vector<Operand>& operands, const Source*& section, int& count) {
      section = p.sources.data() + next_source;
      count = static_cast<int>(operands.size());
      const size_t first_of_section = next_source;
      for (const Operand& o : operands) {
        Source& source = p.sources[next_source++];
        source.window = o.window;
        source.index = o.term(Axis::i) != nullptr ? o.index : kNoIndex;
        source.n_terms = o.n_terms;
        source.base = o.base;
        for (int i = 0; i < o.n_terms; ++i) source.terms[i] = plan_term(o.terms[i]);
        source.uses_k = o.term(Axis::k) != nullptr || o.window == Window::over_k || (o.kind == Kind::axis && o.ref == 2);
        if (source.index != kNoIndex) source.uses_k |= p.sources[first_of_section + source.index].uses_k;
        switch (o.kind) {
          case Kind::token: source.reads = Reads::token; break;
          case Kind::param:
            source.reads = Reads::constant;
            source.base = params_[o.ref];
            break;
          case Kind::axis:
            source.reads = Reads::axis;
            source.base = o.ref;
            break;
          case Kind::weight:
          case Kind::global: {
            const size_t number = o.kind == Kind::global ? o.ref : slot.first_weight + o.ref;
            const WeightShape& w = program.weights[number];
            source.reads = is_quantised(w.format) ? Reads::quantised : Reads::tensor;
            source.units = w.format;
            if (!is_quantised(w.format)) source.format = static_cast<Format>(w.format);
            source.data = machine_.weights_[number].data();
            source.size = uint64_t{w.rows} * w.cols;
            source.row = {w.cols, false};
            break;
          }
          case Kind::slot: {
            const uint32_t from = s - o.ref;
            const Instruction& writer = *program.slots[from].code;
            source.reads = Reads::tensor;
            source.format = writer.out;
            source.stride = p.slots[from].stride;
            source.size = uint64_t{writer.rows.n} * writer.cols.n;
            source.row = writer.cols;
            source.data = o.window == Window::here ? p.slots[from].data : store_[from].data();
            if (o.window == Window::here && machine_.kept_[from]) p.kept_sources.emplace_back(next_source - 1, from);
            z.uniform &= !writer.cols.varies;
            break;
          }
        }
      }
    };
    resolve(code.body_operands, z.body_operands, z.n_body_operands);
    resolve(code.finish_operands, z.finish_operands, z.n_finish_operands);
  }
  place_kept(p);
}

// Running -------------------------------------------------------------------------------------------------------------

void Session::apply_faults(const SlotPlan& plan, uint32_t slot, const Range& range) const {
  const auto [begin, end] = faults_.equal_range(slot);
  for (auto it = begin; it != end; ++it) {
    const Fault& f = it->second;
    if (f.position < plan.chunk->first + range.first_p || f.position >= plan.chunk->first + range.last_p) continue;
    if (f.element < range.from || f.element >= range.to) continue;
    const uint32_t width = format_bytes(plan.out);
    uint8_t* at = plan.data + ((f.position - plan.chunk->first) * plan.stride + f.element) * width;
    for (uint32_t i = 0; i < width; ++i) at[i] ^= static_cast<uint8_t>(f.mask >> (8 * i));
  }
}

void Session::prepare_activations(ChunkPlan& p, uint32_t slot, const QdotForm& form) {
  const SlotPlan& plan = p.slots[slot];
  const Source &x = plan.body_operands[form.activations], &d = plan.body_operands[form.scales];
  const uint32_t from = machine_.program_.slots[slot].code->yields ? p.first_yield : 0;
  const uint32_t units = plan.k.n / 32, variants = form.by_row ? plan.rows.n : 1;
  sums_.resize(uint64_t{p.positions} * variants * units);
  products_.resize(sums_.size());
  const auto one = [&](uint32_t i, int) {
    for (uint32_t r = 0; r < variants; ++r) {
      const uint64_t at = (uint64_t{i + from} * variants + r) * units;
      machine_.kernels_->prepare_activations(reinterpret_cast<const int8_t*>(x.data + start_of(x, i + from, r)),
                                             d.data + 4 * start_of(d, i + from, r), units, sums_.data() + at,
                                             products_.data() + at);
    }
  };
  machine_.pool_->run(p.positions - from, one);
}

// Products of whole rows: a task is a tile of rows for all positions, finished while it is warm.
void Session::run_qdot(ChunkPlan& p, uint32_t slot, const QdotForm& form) {
  const SlotPlan& plan = p.slots[slot];
  const uint32_t from = machine_.program_.slots[slot].code->yields ? p.first_yield : 0;
  if (from >= p.positions) return;
  prepare_activations(p, slot, form);
  const Source &x = plan.body_operands[form.activations], &d = plan.body_operands[form.scales];
  const uint32_t units = plan.k.n / 32, variants = form.by_row ? plan.rows.n : 1;
  const uint32_t segment = form.by_row ? plan.cols.n : plan.rows.n * plan.cols.n;
  const auto threads = static_cast<uint32_t>(machine_.pool_->threads());
  uint32_t granule = kGroupRows;
  for (int j = 0; j < plan.accumulators; ++j) granule = std::max(granule, 2 * form.rows[j].mask);
  if (granule > kTileRows) granule = segment;  // partners further apart than a tile: one task
  const uint32_t share = (segment + 2 * threads - 1) / (2 * threads);
  const uint32_t each = std::min(segment, std::max(granule, std::min(kTileRows, (share + granule - 1) / granule * granule)));
  const uint32_t tiles = (segment + each - 1) / each;
  const uint64_t raw_rows = each + kGroupRows;
  // Rows that depend on an index differ from position to position.
  const bool indexed = form.rows[0].index >= 0 || (plan.accumulators == 2 && form.rows[1].index >= 0);
  const uint32_t group_positions = indexed ? 1 : std::max<uint32_t>(1, static_cast<uint32_t>(
      std::min<uint64_t>(kTilePositions, kTilePositions * (kTileRows + kGroupRows) / raw_rows)));

  const auto task = [&](uint32_t number, int thread) {
    const uint32_t r = number / tiles, begin = number % tiles * each, end = std::min(segment, begin + each);
    AlignedArray<uint32_t>& raw = machine_.raw_[static_cast<size_t>(thread)];
    if (raw.size < 2 * group_positions * raw_rows) raw.reset(2 * group_positions * raw_rows);
    Activations activations[kTilePositions];
    for (uint32_t i = from; i < p.positions; i += group_positions) {
      const uint32_t n = std::min(group_positions, p.positions - i);
      for (uint32_t q = 0; q < n; ++q) {
        const uint64_t at = (uint64_t{i + q} * variants + r) * units;
        activations[q] = {reinterpret_cast<const int8_t*>(x.data + start_of(x, i + q, r)), d.data + 4 * start_of(d, i + q, r),
                          sums_.data() + at, products_.data() + at};
      }
      Accumulators given{{nullptr, nullptr}, {0, 0}, raw_rows};
      for (int j = 0; j < plan.accumulators; ++j) {
        const RowsForm& rows = form.rows[j];
        uint64_t row = rows.first + begin + (form.by_row ? r * rows.per_r : 0);
        if (rows.index >= 0) {
          const Source& index = plan.body_operands[rows.index];
          uint32_t word = p.chunk.tokens[i];
          if (index.reads == Reads::tensor) std::memcpy(&word, index.data + 4 * start_of(index, i, r), 4);
          const WeightShape& w = machine_.program_.weights[rows.weight];
          const int64_t most = static_cast<int64_t>(w.rows / rows.per_index) - 1, value = static_cast<int32_t>(word);
          row += static_cast<uint64_t>(std::clamp<int64_t>(value, 0, most)) * rows.per_index;
        }
        const WeightShape& w = machine_.program_.weights[rows.weight];
        const uint64_t group = row / kGroupRows, last = (row + (end - begin) - 1) / kGroupRows;
        uint32_t* out = raw.data.get() + static_cast<uint64_t>(j) * group_positions * raw_rows;
        machine_.kernels_->qdot({w.format,
                                 machine_.packed_[rows.weight].data.get() + group * units * packed_format(w.format).bytes,
                                 static_cast<uint32_t>(last - group + 1), units, activations, n, out, raw_rows});
        given.raw[j] = out + row % kGroupRows;
        given.mask[j] = rows.mask;
      }
      const uint64_t first = form.by_row ? uint64_t{r} * plan.cols.n : 0;
      const Range range{i, i + n, first + begin, first + end};
      machine_.kernels_->finish_slot(plan, range, machine_.workspaces_[static_cast<size_t>(thread)].data.get(), given);
      if (!faults_.empty()) apply_faults(plan, slot, range);
    }
  };
  machine_.pool_->run(variants * tiles, task);
}

void Session::run_slot(ChunkPlan& p, uint32_t slot) {
  if (machine_.qdots_[slot]) return run_qdot(p, slot, *machine_.qdots_[slot]);
  const SlotPlan& plan = p.slots[slot];
  const uint32_t from = machine_.program_.slots[slot].code->yields ? p.first_yield : 0;
  if (from >= p.positions) return;
  const uint32_t positions = p.positions - from;
  const uint64_t elements = plan.elements(p.chunk.first + p.positions - 1);
  const uint64_t cost = elements * (plan.fold == Fold::none ? 1 : plan.k.at(p.chunk.first + p.positions - 1));
  const auto threads = static_cast<uint32_t>(machine_.pool_->threads());
  const auto one = [&](const Range& range, int thread) {
    machine_.kernels_->run_slot(plan, range, machine_.workspaces_[static_cast<size_t>(thread)].data.get());
    if (!faults_.empty()) apply_faults(plan, slot, range);
  };
  const auto whole_positions = [&](uint32_t begin, uint32_t end, int thread) {
    if (plan.uniform) return one({begin, end, 0, elements}, thread);
    for (uint32_t i = begin; i < end; ++i) one({i, i + 1, 0, plan.elements(p.chunk.first + i)}, thread);
  };
  if (threads == 1 || cost * positions < 1 << 13) return whole_positions(from, p.positions, 0);
  if (positions >= 2 * threads) {
    const uint32_t each = std::max(1u, positions / (4 * threads)), tasks = (positions + each - 1) / each;
    machine_.pool_->run(tasks, [&](uint32_t i, int thread) {
      whole_positions(from + i * each, std::min(p.positions, from + (i + 1) * each), thread);
    });
    return;
  }
  for (uint32_t i = from; i < p.positions; ++i) {
    const uint64_t count = plan.elements(p.chunk.first + i);
    const uint64_t each = std::max<uint64_t>(64, (count / (4 * threads) + 63) / 64 * 64);
    machine_.pool_->run(static_cast<uint32_t>((count + each - 1) / each), [&](uint32_t j, int thread) {
      one({i, i + 1, j * each, std::min(count, (j + 1) * each)}, thread);
    });
  }
}

void Session::run(ChunkPlan& p, uint32_t slot_from, uint32_t slot_to, std::optional<uint32_t> capture) {
  for (uint32_t s = slot_from; s < slot_to; ++s) {
    run_slot(p, s);
    if (capture != s) continue;
    const SlotPlan& plan = p.slots[s];
    const uint64_t width = format_bytes(plan.out);
    for (uint32_t i = 0; i < p.positions; ++i) {
      if (!exists(s, p.chunk.first + i)) continue;
      const uint8_t* from = plan.data + i * plan.stride * width;
      captured_.insert(captured_.end(), from, from + plan.elements(p.chunk.first + i) * width);
    }
  }
}

// Committing ----------------------------------------------------------------------------------------------------------

// Tensor roots of committed slots, into slot_roots[position * committed + ordinal].
void Session::commit(ChunkPlan& p, uint32_t slot_from, uint32_t slot_to, Digest* slot_roots) {
  const Program& program = machine_.program_;
  const auto cuts_of = [&](uint32_t from, uint32_t to, std::vector<Cut>& cuts) {
    for (uint32_t s = slot_from; s < slot_to; ++s) {
      const int32_t ordinal = program.slots[s].ordinal;
      if (ordinal < 0) continue;
      const SlotPlan& plan = p.slots[s];
      const uint64_t width = format_bytes(plan.out);
      for (uint32_t i = from; i < to; ++i) {
        const uint32_t t = p.chunk.first + i;
        Digest& root = slot_roots[i * program.committed + static_cast<uint32_t>(ordinal)];
        if (exists(s, t)) {
          cuts.push_back({plan.data + i * plan.stride * width, 1, plan.elements(t) * width, kLeafElements * width, root.data()});
        } else {
          root = machine_.tensor_padding_->at(0);
        }
      }
    }
  };
  const auto roots = [&](const Cut* cuts, size_t n, int thread) {
    tensor_roots(*machine_.kernels_, cuts, n, Tag::tensor_leaf, Tag::tensor, *machine_.tensor_padding_,
                 machine_.scratch_[static_cast<size_t>(thread)]);
  };
  const auto threads = static_cast<uint32_t>(machine_.pool_->threads());
  if (p.positions >= kFewPositions) {
    const uint32_t each = 8, tasks = (p.positions + each - 1) / each;
    machine_.pool_->run(tasks, [&](uint32_t i, int thread) {
      std::vector<Cut> cuts;
      cuts_of(i * each, std::min(p.positions, (i + 1) * each), cuts);
      roots(cuts.data(), cuts.size(), thread);
    });
    return;
  }
  std::vector<Cut> cuts;
  cuts_of(0, p.positions, cuts);
  const size_t each = (cuts.size() + threads - 1) / threads;
  machine_.pool_->run(threads, [&](uint32_t i, int thread) {
    const size_t begin = std::min(cuts.size(), i * each), end = std::min(cuts.size(), begin + each);
    if (begin < end) roots(cuts.data() + begin, end - begin, thread);
  });
}

void Session::close_positions(const Digest* slot_roots, uint32_t positions, Digest* roots) {
  const uint32_t committed = machine_.program_.committed;
  machine_.pool_->run(positions, [&](uint32_t i, int thread) {
    roots[i] = tree_root(*machine_.kernels_, slot_roots + uint64_t{i} * committed, committed, clog2(committed), Tag::position,
                         *machine_.position_padding_, machine_.scratch_[static_cast<size_t>(thread)]);
  });
}

Digest Session::trace_root(uint32_t positions) {
  const std::lock_guard lock(machine_.running_);
  const uint32_t depth = clog2(machine_.program_.limit);
  if (positions == 0) return machine_.trace_padding_->at(depth);
  return tree_root(*machine_.kernels_, roots_.data(), positions, depth, Tag::trace, *machine_.trace_padding_,
                   machine_.scratch_[0]);
}

bool Session::feed(std::span<const uint32_t> tokens, const Options& options) {
  const std::lock_guard lock(machine_.running_);
  const Program& program = machine_.program_;
  yields_from_ = options.yields_from;
  captured_.clear();
  const auto slots = static_cast<uint32_t>(program.slots.size());
  std::vector<Digest> slot_roots;
  for (size_t done = 0; done < tokens.size();) {
    const auto first = static_cast<uint32_t>(tokens_.size());
    const uint32_t positions = chunk_size(first, tokens.size() - done);
    tokens_.insert(tokens_.end(), tokens.begin() + static_cast<std::ptrdiff_t>(done),
                   tokens.begin() + static_cast<std::ptrdiff_t>(done + positions));
    ChunkPlan& p = positions == 1 ? single_ : batch_;
    plan(p, first, positions);
    if (options.commit) slot_roots.resize(uint64_t{positions} * program.committed);
    uint32_t from = 0;
    for (const uint32_t end : machine_.entry_end_) {
      run(p, from, end + 1, options.capture);
      if (options.commit && positions >= kFewPositions) commit(p, from, end + 1, slot_roots.data());
      from = end + 1;
      if (options.interrupted && options.interrupted()) {
        tokens_.resize(first);
        return false;
      }
    }
    if (options.commit) {
      if (positions < kFewPositions) commit(p, 0, slots, slot_roots.data());
      roots_.resize(first + positions);
      close_positions(slot_roots.data(), positions, roots_.data() + first);
    }
    samples_.resize(first + positions);
    const SlotPlan& last = p.slots[slots - 1];
    for (uint32_t i = p.first_yield; i < positions; ++i) std::memcpy(&samples_[first + i], last.data + 4 * i, 4);
    done += positions;
  }
  return true;
}

void Session::recompute(uint32_t position, std::vector<std::vector<uint8_t>>* slots, std::vector<Digest>* roots) {
  const std::lock_guard lock(machine_.running_);
  const Program& program = machine_.program_;
  const auto count = static_cast<uint32_t>(program.slots.size());
  plan(single_, position, 1);
  run(single_, 0, count, {});
  if (slots != nullptr) {
    slots->assign(count, {});
    for (uint32_t s = 0; s < count; ++s) {
      if (!exists(s, position)) continue;
      const SlotPlan& plan = single_.slots[s];
      (*slots)[s].assign(plan.data, plan.data + plan.elements(position) * format_bytes(plan.out));
    }
  }
  if (roots != nullptr) {
    roots->resize(program.committed);
    commit(single_, 0, count, roots->data());
  }
}

}  // namespace opml
