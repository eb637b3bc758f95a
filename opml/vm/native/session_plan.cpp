// Where the slots of a chunk lie, and what their operands read.
#include "machine.hpp"

#include <algorithm>
#include <cstring>

namespace opml {
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

// Extents that vary are sized for t in steps, so that a plan serves many positions.
uint64_t extent_limit(uint32_t last) { return (uint64_t{last} / kLeafElements + 1) * kLeafElements; }

}  // namespace

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
      p.slots[s].data = stored(s) + uint64_t{p.chunk.first} * p.slots[s].stride * format_bytes(p.slots[s].out);
  for (const auto& [source, slot] : p.kept_sources) p.sources[source].data = p.slots[slot].data;
}

// Makes room in the windows; slots lie one after the other there, so that huge pages serve them.
void Session::reserve(uint32_t positions) {
  if (positions <= capacity_ || window_bytes_ == 0) return;
  const uint64_t wanted = std::max<uint64_t>(positions, uint64_t{capacity_} * 5 / 4);
  const auto capacity = static_cast<uint32_t>((wanted + 255) / 256 * 256);
  HugeBytes window;
  window.reset(capacity * window_bytes_);
  const auto move = [&](uint64_t at, uint64_t bytes) {  // keys lie in groups of 16 positions, and capacities are multiples
    if (capacity_ > 0) std::memcpy(window.data() + at * capacity, window_.data() + at * capacity_, bytes * capacity_);
  };
  for (uint32_t s = 0; s < stored_at_.size(); ++s) {
    if (machine_.kept_[s]) move(stored_at_[s], machine_.position_bytes(s));
    if (machine_.keys_packed_[s]) move(keys_at_[s], machine_.position_bytes(s));
  }
  window_ = std::move(window);
  capacity_ = capacity;
  ++store_version_;
}

// Resolves every slot for `positions` positions from `first` on.
void Session::plan(ChunkPlan& p, uint32_t first, uint32_t positions) {
  const Program& program = machine_.program_;
  const uint32_t last = first + positions - 1, yield = first_yield(first, positions);
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
  if (p.arena.size() < memory.bytes) p.arena.reset(memory.bytes);
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
    z.body_code = &code.body_code;
    z.finish_code = &code.finish_code;
    z.constants = machine_.constants_.data.get();
    z.stride = uint64_t{code.rows.n} * code.cols.at(sized_for);
    z.chunk = &p.chunk;
    z.uniform = !code.cols.varies && !code.k.varies;
    // Yields slots have no memory for the chunk's positions that do not yield.
    const uint64_t shift = code.yields ? yield * z.stride * format_bytes(code.out) : 0;
    z.data = p.arena.data() + memory.offset[s] - shift;
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
            source.data = o.window == Window::here ? p.slots[from].data : stored(from);
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

}  // namespace opml
