// What the kernels over windows of positions are given.
#pragma once

#include "program.hpp"

namespace opml {

inline constexpr uint32_t kWindowRows = 4;   // most rows of a set
inline constexpr uint32_t kValueBlock = 32;  // positions that are summed for all sets before the next ones
inline constexpr uint32_t kValuesAhead = 3 * kValueBlock;  // positions from what is summed to what is fetched: far enough for DRAM

// Rows of the output that read the same part of every position.
struct WindowSet {
  uint64_t first_element;  // of a position
  uint32_t rows;
  const uint32_t* factors[kWindowRows];  // by row
};

// Keys lie packed: 16 positions side by side, [position / 16][element][position % 16].
struct ScoreTask {
  Format format;          // f32 or f16
  const uint8_t* keys;    // of the first group of 16 positions
  uint64_t row_elements;  // of a position
  uint32_t groups, length;
  const WindowSet* sets;  // factors: queries of `length` words
  uint32_t n_sets;
  uint32_t* raw;  // [rows of all sets][raw_stride], a word for each position
  uint64_t raw_stride;
};

// Values lie as stored, position after position. Positions begin ... end - 1 lie in one block of 256.
struct ValueTask {
  Format format;
  const uint8_t* values;  // of the window's first position
  uint64_t row_elements;
  uint32_t begin, end, first_column, last_column;  // columns: 64 at a time, then 32, then 16
  const WindowSet* sets;  // factors: a word for each position of the window
  uint32_t n_sets;
  uint32_t* raw;  // [rows of all sets][raw_stride], a word for each column
  uint64_t raw_stride;
};

// out[i] = e^(in[i] - most), with the program's constants (ExpForm).
struct ExpTask {
  const uint32_t* in;
  uint32_t* out;
  uint64_t n;
  uint32_t most;
  const uint32_t* constants;
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
