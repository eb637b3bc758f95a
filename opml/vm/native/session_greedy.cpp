// Sampling at temperature 0 without noise.
//
// The noise g is finite for every word it depends on (Machine::noise_is_finite), so T * g is +-0 and fma(T, g, z) is z for
// every z but -0; for z = -0 it is -0 or +0, as the sign of T * g says: such a lane is ambiguous. With all products +0,
// ambiguous lanes have +0, the most that they can have. If the lane that then wins is not ambiguous, it has its true value,
// and no other lane has more, or as much at a lower index, whatever the noise: it is the answer. If it is ambiguous, the
// noise is computed after all.
#include "machine.hpp"

#include <cstring>

namespace opml {

void Session::find_needless() {
  if (!needless_.empty()) return;
  needless_.assign(machine_.program_.slots.size(), 0);
  if (!machine_.kernels_->hardware) return;  // soft floats would take longer to try all noise than it costs
  for (uint32_t s = 0; s < needless_.size(); ++s) {
    const auto* greedy = std::get_if<GreedyForm>(&machine_.forms_[s]);
    if (greedy == nullptr || (params_[greedy->param] & 0x7FFFFFFF) != 0) continue;
    if (faults_.count(s) + faults_.count(greedy->noise_slot) + faults_.count(greedy->random_slot) > 0) continue;
    if (!machine_.noise_is_finite(*greedy)) continue;
    needless_[greedy->noise_slot] = needless_[greedy->random_slot] = 1;
  }
}

void Session::run_greedy(ChunkPlan& p, uint32_t slot, const GreedyForm& form) {
  const SlotPlan& plan = p.slots[slot];
  const uint32_t from = machine_.program_.slots[slot].code->yields ? p.first_yield : 0;
  if (from >= p.positions) return;
  constexpr uint32_t one = 0x3F800000, minus_zero = 0x80000000;
  const uint32_t temperature = params_[form.param];
  const auto noise = [&](uint32_t product) {  // the constant whose product with the temperature is this zero
    Source z{};
    z.reads = Reads::constant;
    z.index = kNoIndex;
    z.base = one | (temperature ^ product);
    return z;
  };
  std::vector<Source> sources(plan.body_operands, plan.body_operands + plan.n_body_operands);
  sources[static_cast<size_t>(form.noise)] = noise(0);
  std::atomic<bool> ambiguous{false};
  machine_.pool_->run(p.positions - from, [&](uint32_t number, int thread) {
    const uint32_t i = from + number;
    void* const workspace = machine_.workspaces_[static_cast<size_t>(thread)].data.get();
    uint32_t index, value;
    const auto best = [&](const Source* body, Extent length, uint8_t accumulator, uint32_t* word) {
      const ScalarOp copy{Op::or_, accumulator, accumulator, 0};
      const LaneCode code = lane_code(&copy, 1, 2, nullptr, 0);
      SlotPlan z = plan;
      z.finish_code = &code;
      z.body_operands = body;
      z.k = length;
      z.out = Format::i32;
      z.finish = &copy;
      z.n_finish = 1;
      z.n_finish_operands = 0;
      z.data = reinterpret_cast<uint8_t*>(word) - i * z.stride * 4;
      machine_.kernels_->run_slot(z, {i, i + 1, 0, 1}, workspace);
    };
    best(sources.data(), plan.k, 0, &index);
    std::vector<Source> winner = sources;
    for (Source& s : winner)
      for (int j = 0; j < s.n_terms; ++j)
        if (s.terms[j].axis == Axis::k) s.base += s.terms[j].mul * index;
    winner[static_cast<size_t>(form.noise)] = noise(minus_zero);
    best(winner.data(), {1, false}, 1, &value);
    if (value == minus_zero) {
      ambiguous = true;
      return;
    }
    finish(plan, slot, {i, i + 1, 0, 1}, {{&index, &value}, {0, 0}, 0}, thread);
  });
  if (!ambiguous) return;
  for (const uint32_t s : {form.random_slot, form.noise_slot, slot}) run_generic(p, s);
}

}  // namespace opml
