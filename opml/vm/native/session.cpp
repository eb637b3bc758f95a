// A run, chunk by chunk and slot by slot.
#include "machine.hpp"

#include <algorithm>
#include <chrono>
#include <cstring>

namespace opml {
namespace {

class Stopwatch {
 public:
  explicit Stopwatch(uint64_t& sum) : sum_(sum), start_(std::chrono::steady_clock::now()) {}
  Stopwatch(const Stopwatch&) = delete;
  Stopwatch& operator=(const Stopwatch&) = delete;
  ~Stopwatch() {
    const auto spent = std::chrono::steady_clock::now() - start_;
    sum_ += static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(spent).count());
  }

 private:
  uint64_t& sum_;
  const std::chrono::steady_clock::time_point start_;
};

}  // namespace

Session::Session(Machine& machine, std::vector<uint32_t> params, std::vector<Fault> faults)
    : machine_(machine), params_(std::move(params)), stored_at_(machine.program_.slots.size()), keys_at_(stored_at_.size()) {
  params_.resize(std::max<size_t>(params_.size(), machine.program_.params));
  for (const Fault& f : faults) faults_.emplace(f.slot, f);
  for (uint32_t s = 0; s < stored_at_.size(); ++s) {
    const uint64_t bytes = machine.position_bytes(s);
    stored_at_[s] = window_bytes_;
    if (machine.kept_[s]) window_bytes_ += bytes;
    keys_at_[s] = window_bytes_;
    if (machine.keys_packed_[s]) window_bytes_ += bytes;
  }
}

std::optional<uint32_t> Session::sample(uint32_t position) const {
  if (position >= tokens_.size() || position < yields_from_) return std::nullopt;
  return samples_[position];
}

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

void Session::run_slots(ChunkPlan& p, uint32_t slot, uint32_t end) {
  const Form& form = machine_.forms_[slot];
  if (std::holds_alternative<QdotForm>(form)) return run_products(p, slot, end);
  if (const auto* score = std::get_if<ScoreForm>(&form)) return run_score(p, slot, *score);
  if (const auto* value = std::get_if<ValueForm>(&form)) return run_value(p, slot, *value);
  if (const auto* runs = std::get_if<MaxForm>(&form)) return run_max(p, slot, *runs);
  if (const auto* greedy = std::get_if<GreedyForm>(&form); greedy && !all_slots_ && needless_[greedy->noise_slot])
    return run_greedy(p, slot, *greedy);
  if (const auto* softmax = std::get_if<SoftmaxForm>(&form)) return run_softmax(p, slot, *softmax);
  if (std::holds_alternative<CoveredForm>(form)) return;
  run_generic(p, slot);
}

// Rows that an index picks are let go after a few positions: each may map megabytes of a file.
void Session::run_generic(ChunkPlan& p, uint32_t slot) {
  const uint32_t from = machine_.program_.slots[slot].code->yields ? p.first_yield : 0;
  const std::vector<uint32_t>& looked_up = machine_.looked_up_[slot];
  if (from >= p.positions) return;
  if (looked_up.empty()) return run_positions(p, slot, from, p.positions);
  uint32_t& held = held_[slot];
  for (uint32_t i = from; i < p.positions;) {
    const uint32_t n = std::min(kLetGoEvery - held, p.positions - i);
    run_positions(p, slot, i, i + n);
    i += n;
    held += n;
    if (held < kLetGoEvery) continue;
    for (const uint32_t number : looked_up) let_go(machine_.weights_[number].data(), machine_.weights_[number].size());
    held = 0;
  }
}

void Session::run_positions(ChunkPlan& p, uint32_t slot, uint32_t from, uint32_t to) {
  const SlotPlan& plan = p.slots[slot];
  const uint32_t positions = to - from;
  const uint64_t elements = plan.elements(p.chunk.first + to - 1);
  const uint64_t cost = elements * (plan.fold == Fold::none ? 1 : plan.k.at(p.chunk.first + to - 1));
  const auto threads = static_cast<uint32_t>(machine_.pool_->threads());
  const auto one = [&](const Range& range, int thread) {
    machine_.kernels_->run_slot(plan, range, machine_.workspaces_[static_cast<size_t>(thread)].data.get());
    if (!faults_.empty()) apply_faults(plan, slot, range);
  };
  const auto whole_positions = [&](uint32_t begin, uint32_t end, int thread) {
    if (plan.uniform) return one({begin, end, 0, elements}, thread);
    for (uint32_t i = begin; i < end; ++i) one({i, i + 1, 0, plan.elements(p.chunk.first + i)}, thread);
  };
  if (threads == 1 || cost * positions < 1 << 13) return whole_positions(from, to, 0);
  if (positions >= 2 * threads) {
    const uint32_t each = std::max(1u, positions / (4 * threads)), tasks = (positions + each - 1) / each;
    machine_.pool_->run(tasks, [&](uint32_t i, int thread) {
      whole_positions(from + i * each, std::min(to, from + (i + 1) * each), thread);
    });
    return;
  }
  for (uint32_t i = from; i < to; ++i) {
    const uint64_t count = plan.elements(p.chunk.first + i);
    const uint64_t each = std::max<uint64_t>(64, (count / (4 * threads) + 63) / 64 * 64);
    machine_.pool_->run(static_cast<uint32_t>((count + each - 1) / each), [&](uint32_t j, int thread) {
      one({i, i + 1, j * each, std::min(count, (j + 1) * each)}, thread);
    });
  }
}

void Session::run(ChunkPlan& p, uint32_t slot_from, uint32_t slot_to, std::optional<uint32_t> capture) {
  for (uint32_t s = slot_from, end; s < slot_to; s = end) {
    end = machine_.together_[s];
    if (is_left_out(s)) continue;
    if (times_.empty()) {
      run_slots(p, s, end);
    } else {
      const Stopwatch watch(times_[s]);
      run_slots(p, s, end);
    }
    for (uint32_t slot = s; slot < end; ++slot) {
      if (machine_.keys_packed_[slot]) pack_keys(p, slot);
      if (capture == slot) keep_captured(p, slot);
    }
  }
}

void Session::keep_captured(const ChunkPlan& p, uint32_t slot) {
  const SlotPlan& plan = p.slots[slot];
  const uint64_t width = format_bytes(plan.out);
  for (uint32_t i = 0; i < p.positions; ++i) {
    if (!exists(slot, p.chunk.first + i)) continue;
    const uint8_t* from = plan.data + i * plan.stride * width;
    captured_.insert(captured_.end(), from, from + plan.elements(p.chunk.first + i) * width);
  }
}

void Session::timed_commit(ChunkPlan& p, uint32_t slot_from, uint32_t slot_to, Digest* slot_roots) {
  if (times_.empty()) return commit(p, slot_from, slot_to, slot_roots);
  const Stopwatch watch(times_.back());
  commit(p, slot_from, slot_to, slot_roots);
}

bool Session::feed(std::span<const uint32_t> tokens, const Options& options) {
  const std::lock_guard lock(machine_.running_);
  const Program& program = machine_.program_;
  yields_from_ = options.yields_from;
  captured_.clear();
  const auto slots = static_cast<uint32_t>(program.slots.size());
  std::vector<Digest> slot_roots;
  find_needless();
  all_slots_ = options.capture && needless_[*options.capture];
  reserve(static_cast<uint32_t>(tokens_.size() + tokens.size()));
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
      if (options.commit && positions >= kFewPositions) timed_commit(p, from, end + 1, slot_roots.data());
      from = end + 1;
      if (options.interrupted && options.interrupted()) {
        tokens_.resize(first);
        return false;
      }
    }
    if (options.commit) {
      if (positions < kFewPositions) timed_commit(p, 0, slots, slot_roots.data());
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
  all_slots_ = true;
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
