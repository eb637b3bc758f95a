// One slot with everything resolved for a chunk of consecutive positions: plain data that the kernels of every level read.
#pragma once

#include "lane_code.hpp"
#include "program.hpp"

namespace opml {

// `magic` divides any axis value below 2^31 by div: (x * magic) >> shift (Granlund and Montgomery, 1994).
struct PlanTerm {
  Axis axis;
  uint32_t mask, div, mul;
  uint64_t magic;
  uint32_t shift;
};

constexpr PlanTerm plan_term(const Term& t) {
  PlanTerm z{t.axis, t.mask, t.div, t.mul, 1, 0};
  while ((uint64_t{1} << z.shift) < t.div) ++z.shift;
  z.shift = t.div == 1 ? 0 : z.shift + 31;
  z.magic = t.div == 1 ? 1 : ((uint64_t{1} << z.shift) + t.div - 1) / t.div;
  return z;
}

enum class Reads : uint8_t { tensor, quantised, token, constant, axis };

struct Source {
  Reads reads;
  Window window;
  Format format;         // of a tensor
  WeightFormat units;    // of a quantised weight
  uint8_t index;         // kNoIndex, or the operand that is axis i
  uint8_t n_terms;
  bool uses_k;           // its address or its index depends on k
  bool row_varies;       // its row length is row.at(t)
  const uint8_t* data;   // of the chunk's first position; of position 0 for a window
  uint64_t stride;       // elements from one position to the next; 0 for a weight
  uint64_t size;         // rows * cols, for the clamp of an index
  Extent row;            // row length
  uint32_t base;         // or the axis number, or the constant
  PlanTerm terms[kMaxTerms];
};

// The consecutive positions that are computed together.
struct Chunk {
  uint32_t first;          // t of the chunk's first position
  const uint32_t* tokens;  // of the chunk's first position
};

struct SlotPlan {
  Fold fold;
  Format out;
  bool two;
  bool uniform;  // extents and row lengths are the same at every position
  uint8_t result[4];
  Extent rows, cols, k;
  const Source* body_operands;
  const Source* finish_operands;
  int n_body_operands, n_finish_operands, accumulators;
  const ScalarOp* body;
  const ScalarOp* finish;
  int n_body, n_finish;
  const LaneCode* body_code;  // the fold's results are asked for
  const LaneCode* finish_code;
  const uint32_t* constants;  // the pool, each word spread over kLanes
  uint8_t* data;              // where the chunk's first position is stored
  uint64_t stride;            // elements from one position to the next; where uniform, those of a position
  const Chunk* chunk;

  [[gnu::always_inline]] uint64_t elements(uint32_t t) const { return uint64_t{rows.n} * cols.at(t); }
};

// Elements from ... to - 1 of the positions first_p ... last_p - 1 of the chunk. Where several positions are given, the
// plan is uniform and elements are those of one position.
struct Range {
  uint32_t first_p, last_p;
  uint64_t from, to;
};

// Accumulators that were computed already: of element e at chunk position p, the word at
// raw[j] + (p - range.first_p) * stride + (e ^ mask[j]) - range.from.
struct Accumulators {
  const uint32_t* raw[2];
  uint32_t mask[2];
  uint64_t stride;
};

}  // namespace opml
