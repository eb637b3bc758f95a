// What the kernels over windows of positions are given.
#pragma once

#include "program.hpp"

namespace opml {

inline constexpr uint32_t kWindowRows = 4;  // most rows of a task

// Keys lie packed: 16 positions side by side, [position / 16][element][position % 16].
struct ScoreTask {
  Format format;          // f32 or f16
  const uint8_t* keys;    // of the first group of 16 positions, at the first element
  uint64_t row_elements;  // of a position
  uint32_t groups, length;
  const uint32_t* queries;  // [rows][length]
  uint32_t rows;
  uint32_t* raw;  // [rows][raw_stride], a word for each position
  uint64_t raw_stride;
};

// Values lie as stored, position after position.
struct ValueTask {
  Format format;
  const uint8_t* values;  // of the window's first position, at the first column
  uint64_t row_elements;
  uint32_t columns, length;  // length: positions
  const uint32_t* factors;   // [rows][length]
  uint32_t rows;
  uint32_t* raw;  // [rows][raw_stride], a word for each column
  uint64_t raw_stride;
};

// Folds of a few consecutive elements each: out[i] is the largest of |x| over the i-th run of `length`.
struct MaxTask {
  Format format;
  const uint8_t* data;
  uint64_t first;  // element
  uint32_t runs, length;
  bool absolute;
  uint32_t* out;
};

}  // namespace opml
