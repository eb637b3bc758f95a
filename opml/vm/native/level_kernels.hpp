// The kernels of one level. Included by one translation unit a level, each compiled with its own flags and OPML_ISA;
// no standard container may be used here, since the linker would share its code between levels.
#pragma once

#include <cstring>

#include "attention.hpp"
#include "dense.hpp"
#include "hardfloat.hpp"
#include "kernels.hpp"
#include "qdot.hpp"
#include "slot_eval.hpp"
#if defined(__AVX512F__)
#include "keccak_avx512.hpp"
#elif defined(__AVX2__)
#include "keccak_avx2.hpp"
#else
#include "keccak_permutation.hpp"
#endif

OPML_LEVEL_BEGIN

#if defined(__AVX512F__)
using KeccakWords = Avx512Words;
#elif defined(__AVX2__)
using KeccakWords = Avx2Words;
#else
using KeccakWords = ScalarWords;
#endif

template <Arithmetic A>
void eval_program(const ScalarOp* ops, int n_ops, const uint32_t* const* inputs, int n_inputs, const uint32_t* pool,
                  int n_pool, uint32_t* out, uint64_t n) {
  Lanes registers[kMaxRegisters], constants[kMaxRegisters], result;
  uint32_t* arrays[kMaxRegisters];
  for (int i = 0; i < kMaxRegisters; ++i) arrays[i] = registers[i].v;
  const LaneCode code = lane_code(ops, n_ops, n_inputs, nullptr, 0);
  for (int i = 0; i < n_pool; ++i)
    for (uint32_t& lane : constants[i].v) lane = pool[i];
  for (int i = 0; i < n_inputs; ++i) std::memset(registers[i].v, 0, sizeof(Lanes));
  for (uint64_t start = 0; start < n; start += kLanes) {
    const int take = n - start < kLanes ? static_cast<int>(n - start) : kLanes;
    for (int i = 0; i < n_inputs; ++i)
      std::memcpy(registers[i].v, inputs[i] + start, static_cast<size_t>(take) * sizeof(uint32_t));
    const uint32_t* found = eval_lanes<A>(code, ops, n_ops, registers, arrays, constants[0].v, take, result.v);
    std::memcpy(out + start, found, static_cast<size_t>(take) * sizeof(uint32_t));
  }
}

template <Arithmetic A>
void run_slot(const SlotPlan& plan, const Range& range, void* workspace) {
  SlotEval<A>(plan, *static_cast<typename SlotEval<A>::Workspace*>(workspace)).run(range);
}

template <Arithmetic A>
void finish_slot(const SlotPlan& plan, const Range& range, void* workspace, const Accumulators& given) {
  SlotEval<A>(plan, *static_cast<typename SlotEval<A>::Workspace*>(workspace)).finish_from(range, given);
}

// The order key of the largest of `length` words, or of their magnitudes.
[[gnu::always_inline]] inline int32_t largest_key(const uint32_t* words, uint32_t length, uint32_t mask) {
  int32_t most = INT32_MIN;
  for (uint32_t k = 0; k < length; ++k) {
    const int32_t key = soft::order_key(soft::canonical({words[k] & mask}));
    most = key > most ? key : most;
  }
  return most;
}

template <Arithmetic A>
void max_runs(const MaxTask& task) {
  const uint32_t mask = task.absolute ? soft::kMagnitude : ~uint32_t{0};
  Lanes copy;
  for (uint32_t i = 0; i < task.runs; ++i) {
    const uint64_t first = task.first + uint64_t{i} * task.length;
    const uint32_t* words = copy.v;
    if (task.format == Format::f32) {
      words = reinterpret_cast<const uint32_t*>(task.data) + first;
    } else {
      load_run<A>(task.format, task.data, first, static_cast<int>(task.length), copy.v);
    }
    const int32_t most = task.length == 32 ? largest_key(words, 32, mask) : largest_key(words, task.length, mask);
    const auto word = static_cast<uint32_t>(most);
    task.out[i] = word ^ (most < 0 ? soft::kMagnitude : 0);
  }
}

template <Arithmetic A>
void load_words(Format format, const uint8_t* data, uint64_t first, uint32_t n, uint32_t* words) {
  load_run<A>(format, data, first, static_cast<int>(n), words);
}

template <Arithmetic A>
void any_qdot(const QdotTask& task) {
  with_lost_lanes<A>(task, qdot<A>, &Kernels::qdot);
}
template <Arithmetic A>
void any_dense(const DenseTask& task) {
  with_lost_lanes<A>(task, dense<A>, &Kernels::dense);
}
template <Arithmetic A>
void any_score(const ScoreTask& task) {
  with_lost_lanes<A>(task, score<A>, &Kernels::score);
}
template <Arithmetic A>
void any_value(const ValueTask& task) {
  with_lost_lanes<A>(task, value<A>, &Kernels::value);
}

template <Arithmetic A>
void any_close_blocks(uint32_t* raw, uint32_t blocks, uint64_t n) {
#if defined(OPML_SOFT_LANES)
  if constexpr (!A::hardware) return kernels_baseline(Engine::soft)->close_blocks(raw, blocks, n);
#endif
  close_blocks<A>(raw, blocks, n);
}

template <Arithmetic A>
inline constexpr Kernels kKernels = {
    .hardware = A::hardware,
    .eval_program = eval_program<A>,
    .keccak = keccak_many<KeccakWords>,
    .workspace_bytes = sizeof(typename SlotEval<A>::Workspace),
    .run_slot = run_slot<A>,
    .finish_slot = finish_slot<A>,
    .qdot = any_qdot<A>,
    .dense = any_dense<A>,
    .prepare_activations = prepare_activations<A>,
    .score = any_score<A>,
    .value = any_value<A>,
    .close_blocks = any_close_blocks<A>,
    .row_max = row_max<A>,
    .exp_rows = exp_rows<A>,
    .row_sums = row_sums<A>,
    .max_runs = max_runs<A>,
    .load_words = load_words<A>,
};

OPML_LEVEL_END
