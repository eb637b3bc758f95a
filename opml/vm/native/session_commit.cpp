// Roots of what a chunk computed.
#include "machine.hpp"

#include <algorithm>
#include <cstring>

namespace opml {

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
  if (positions == 0) return machine_.trace_padding_->at(0);
  const uint32_t depth = clog2(positions);
  return tree_root(*machine_.kernels_, roots_.data(), positions, depth, Tag::trace, *machine_.trace_padding_,
                   machine_.scratch_[0]);
}

}  // namespace opml
