// What one instruction-set level offers; one table a level and arithmetic, chosen at run time.
#pragma once

#include <cstdint>

#include "keccak.hpp"
#include "packed.hpp"
#include "plan.hpp"
#include "window_task.hpp"

namespace opml {

enum class Level : uint8_t { baseline, avx2, avx512, avx512vnni, amx };
inline constexpr const char* kLevelNames[] = {"baseline", "avx2", "avx512", "avx512vnni", "amx"};
inline constexpr int kLevels = sizeof(kLevelNames) / sizeof(kLevelNames[0]);

enum class Engine : uint8_t { soft, native };

struct Kernels {
  bool hardware;  // floats are the processor's
  // Runs a scalar program over n elements: inputs[i] are n words each, the last register goes to out.
  void (*eval_program)(const ScalarOp* ops, int n_ops, const uint32_t* const* inputs, int n_inputs, const uint32_t* pool,
                       int n_pool, uint32_t* out, uint64_t n);
  void (*keccak)(const HashJob* jobs, uint64_t n);
  uint64_t workspace_bytes;  // of one thread, 64-byte aligned
  // The generic path: any instruction form.
  void (*run_slot)(const SlotPlan& plan, const Range& range, void* workspace);
  // The same, the fold already done.
  void (*finish_slot)(const SlotPlan& plan, const Range& range, void* workspace, const Accumulators& given);
  void (*qdot)(const QdotTask& task);
  void (*dense)(const DenseTask& task);
  void (*prepare_activations)(const int8_t* q, const uint8_t* scales, uint32_t units, int32_t* sums, uint32_t* products);
  void (*score)(const ScoreTask& task);
  void (*value)(const ValueTask& task);
  void (*close_blocks)(uint32_t* raw, uint32_t blocks, uint64_t n);
  uint32_t (*row_max)(const uint32_t* words, uint64_t n);
  void (*exp_rows)(const ExpTask& task);
  void (*row_sums)(const uint32_t* words, uint32_t rows, uint64_t length, uint32_t factor, uint32_t* out);
  void (*max_runs)(const MaxTask& task);
  // Registers of n consecutive elements.
  void (*load_words)(Format format, const uint8_t* data, uint64_t first, uint32_t n, uint32_t* words);
};

// The table of a level; null where this build or this processor lacks it.
const Kernels* kernels(Level level, Engine engine);
Level best_level();
// That of the baseline, which every processor has: its soft engine takes floats one by one.
const Kernels* kernels_baseline(Engine engine);

}  // namespace opml
