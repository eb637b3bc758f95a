// Dots over a window of positions, 16 outputs at once, in the canonical order.
#pragma once

#include "rows16.hpp"
#include "window_task.hpp"

OPML_LEVEL_BEGIN

template <Arithmetic A, Format F>
inline Rows16<A> load16(const uint8_t* p) {
  if constexpr (F == Format::f16) {
    return Rows16<A>::from_f16(p);
  } else if constexpr (F == Format::bf16) {
    return Rows16<A>::from_bf16(p);
  } else {
    return Rows16<A>::from_f32(p);
  }
}

// `rows` queries against 16 * P positions: lanes are positions.
template <Arithmetic A, Format F, int rows, int P>
inline void score_tile(const ScoreTask& task, const uint8_t* keys, uint32_t* raw) {
  using Lane = Rows16<A>;
  constexpr uint64_t step = 16 * format_bytes(F);
  const uint64_t next = task.row_elements * step;  // from 16 positions to the next 16
  Lane total[rows][P];
  for (auto& row : total)
    for (Lane& z : row) z = Lane::zero();
  for (uint32_t first = 0; first < task.length; first += kLeafElements) {
    const uint32_t end = task.length - first < kLeafElements ? task.length : first + kLeafElements;
    Lane acc[rows][P];
    for (auto& row : acc)
      for (Lane& z : row) z = Lane::zero();
    for (uint32_t k = first; k < end; ++k) {
      Lane key[P];
#pragma GCC unroll 4
      for (int p = 0; p < P; ++p) {
        const uint8_t* at = keys + k * step + static_cast<uint64_t>(p) * next;
        key[p] = load16<A, F>(at);
        __builtin_prefetch(at + P * next);  // the next tile
      }
#pragma GCC unroll 4
      for (int i = 0; i < rows; ++i)
#pragma GCC unroll 4
        for (int p = 0; p < P; ++p)
          acc[i][p] = Lane::fma(key[p], task.queries[static_cast<uint64_t>(i) * task.length + k], acc[i][p]);
    }
    for (int i = 0; i < rows; ++i)
      for (int p = 0; p < P; ++p) total[i][p] = Lane::add(total[i][p], acc[i][p]);
  }
  for (int i = 0; i < rows; ++i)
    for (int p = 0; p < P; ++p) total[i][p].store(raw + static_cast<uint64_t>(i) * task.raw_stride + 16 * p);
}

template <Arithmetic A, Format F, int rows>
void score_rows(const ScoreTask& task) {
  const uint64_t next = task.row_elements * 16 * format_bytes(F);
  uint32_t g = 0;
  for (; g + 2 <= task.groups; g += 2) score_tile<A, F, rows, 2>(task, task.keys + g * next, task.raw + 16 * g);
  if (g < task.groups) score_tile<A, F, rows, 1>(task, task.keys + g * next, task.raw + 16 * g);
}

template <Arithmetic A, Format F>
void score_format(const ScoreTask& task) {
  switch (task.rows) {
    case 1: return score_rows<A, F, 1>(task);
    case 2: return score_rows<A, F, 2>(task);
    case 3: return score_rows<A, F, 3>(task);
    case 4: return score_rows<A, F, 4>(task);
    default: return;
  }
}

template <Arithmetic A>
void score(const ScoreTask& task) {
  return task.format == Format::f16 ? score_format<A, Format::f16>(task) : score_format<A, Format::f32>(task);
}

// `rows` rows of factors against a window of values: lanes are 16 * C columns.
template <Arithmetic A, Format F, int rows, int C>
inline void value_tile(const ValueTask& task, const uint8_t* values, uint32_t* raw) {
  using Lane = Rows16<A>;
  constexpr uint64_t width = format_bytes(F);
  constexpr uint64_t ahead = 8;  // positions
  Lane total[rows][C];
  for (auto& row : total)
    for (Lane& z : row) z = Lane::zero();
  for (uint32_t first = 0; first < task.length; first += kLeafElements) {
    const uint32_t end = task.length - first < kLeafElements ? task.length : first + kLeafElements;
    Lane acc[rows][C];
    for (auto& row : acc)
      for (Lane& z : row) z = Lane::zero();
    for (uint32_t k = first; k < end; ++k) {
      const uint8_t* at = values + k * task.row_elements * width;
      Lane value[C];
#pragma GCC unroll 4
      for (int c = 0; c < C; ++c) {
        const uint8_t* from = at + static_cast<uint64_t>(c) * 16 * width;
        value[c] = load16<A, F>(from);
        __builtin_prefetch(from + ahead * task.row_elements * width);
      }
#pragma GCC unroll 4
      for (int i = 0; i < rows; ++i)
#pragma GCC unroll 4
        for (int c = 0; c < C; ++c)
          acc[i][c] = Lane::fma(value[c], task.factors[static_cast<uint64_t>(i) * task.length + k], acc[i][c]);
    }
    for (int i = 0; i < rows; ++i)
      for (int c = 0; c < C; ++c) total[i][c] = Lane::add(total[i][c], acc[i][c]);
  }
  for (int i = 0; i < rows; ++i)
    for (int c = 0; c < C; ++c) total[i][c].store(raw + static_cast<uint64_t>(i) * task.raw_stride + 16 * c);
}

template <Arithmetic A, Format F, int rows>
void value_rows(const ValueTask& task) {
  constexpr uint64_t width = format_bytes(F);
  uint32_t c = 0;
  for (; c + 64 <= task.columns; c += 64) value_tile<A, F, rows, 4>(task, task.values + c * width, task.raw + c);
  for (; c + 16 <= task.columns; c += 16) value_tile<A, F, rows, 1>(task, task.values + c * width, task.raw + c);
}

template <Arithmetic A, Format F>
void value_format(const ValueTask& task) {
  switch (task.rows) {
    case 1: return value_rows<A, F, 1>(task);
    case 2: return value_rows<A, F, 2>(task);
    case 3: return value_rows<A, F, 3>(task);
    case 4: return value_rows<A, F, 4>(task);
    default: return;
  }
}

template <Arithmetic A>
void value(const ValueTask& task) {
  switch (task.format) {
    case Format::f16: return value_format<A, Format::f16>(task);
    case Format::bf16: return value_format<A, Format::bf16>(task);
    default: return value_format<A, Format::f32>(task);
  }
}

OPML_LEVEL_END
