// The packed layout of block-quantised weights: 16 rows side by side, one group of 16 units after the other along k.
//
// A group holds, for its 16 rows, 4 (or 8) vectors of 16 x 4 bytes: vector j has bytes 4j ... 4j + 3 of each row's unit, so
// that one dot-product instruction takes 4 activations against 16 rows. Then come, where the format has them, fifth bits
// (8 masks of 64, one for each vector of nibbles: 4 low, 4 high), 16 scales and 16 minima in f16. Integers are stored
// unsigned; `offset` is subtracted as offset * sum(q_x), which is exact.
//
// Weights of a float format are packed too: element k of 16 rows side by side, as stored.
#pragma once

#include "plan.hpp"

namespace opml {

inline constexpr uint32_t kGroupRows = 16;

struct PackedFormat {
  uint32_t high_bits;  // byte offsets within a group; 0: none
  uint32_t scales, minima, bytes;
  int32_t offset;
};

constexpr PackedFormat packed_format(WeightFormat f) {
  switch (f) {
    case WeightFormat::q4_0: return {0, 256, 0, 288, 8};
    case WeightFormat::q4_1: return {0, 256, 288, 320, 0};
    case WeightFormat::q5_0: return {256, 320, 0, 352, 16};
    case WeightFormat::q5_1: return {256, 320, 352, 384, 0};
    case WeightFormat::q8_0: return {0, 512, 0, 544, 128};
    default: return {};
  }
}

// Bytes of 16 rows of `cols` elements.
constexpr uint64_t packed_group_bytes(WeightFormat f, uint32_t cols) {
  return is_quantised(f) ? uint64_t{cols / 32} * packed_format(f).bytes : uint64_t{cols} * kGroupRows * unit_bytes(f);
}

constexpr uint64_t packed_bytes(const WeightShape& w) {
  return uint64_t{(w.rows + kGroupRows - 1) / kGroupRows} * packed_group_bytes(w.format, w.cols);
}

// Packs the groups of rows from_group ... to_group - 1; rows beyond the last are zero.
void pack_rows(const WeightShape& w, const uint8_t* data, uint32_t from_group, uint32_t to_group, uint8_t* packed);

// Activations of one position, `units` blocks of 32.
struct Activations {
  const int8_t* q;
  const uint8_t* scales;    // f32 each
  const int32_t* sums;      // of a unit's q
  const uint32_t* products; // mul(scale, i2f(sum))
};

// Rows of a packed weight against several positions: raw[position * raw_stride + row] gets the total's bits.
struct QdotTask {
  WeightFormat format;
  const uint8_t* packed;  // of the first group
  uint32_t groups, units;
  const Activations* positions;
  uint32_t n_positions;
  uint32_t* raw;
  uint64_t raw_stride;
};

// The same for rows of a float format; positions[i] are `length` words each.
struct DenseTask {
  WeightFormat format;
  const uint8_t* packed;
  uint32_t groups, length;
  const uint32_t* const* positions;
  uint32_t n_positions;
  uint32_t* raw;
  uint64_t raw_stride;
};

}  // namespace opml
