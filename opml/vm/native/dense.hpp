// Dot products over packed rows of a float format: R groups of 16 rows x T positions a tile, in the canonical order. Each
// output is one chain of fma; a tile has enough of them to hide its latency.
#pragma once

#include "attention.hpp"
#include "packed.hpp"

OPML_LEVEL_BEGIN

template <Arithmetic A, Format F, int R, int T>
void dense_tile(const uint8_t* packed, uint32_t length, const uint32_t* const* x, uint32_t* raw, uint64_t raw_stride) {
  using Rows = Rows16<A>;
  constexpr uint64_t step = kGroupRows * format_bytes(F);
  const uint64_t group = length * step;
  Rows total[R][T];
  for (auto& row : total)
    for (Rows& z : row) z = Rows::zero();
  for (uint32_t first = 0; first < length; first += kLeafElements) {
    const uint32_t end = length - first < kLeafElements ? length : first + kLeafElements;
    Rows acc[R][T];
#pragma GCC unroll 8
    for (int i = 0; i < R; ++i)
#pragma GCC unroll 8
      for (int t = 0; t < T; ++t) acc[i][t] = Rows::zero();
    for (uint32_t k = first; k < end; ++k) {
      Rows w[R];
#pragma GCC unroll 8
      for (int i = 0; i < R; ++i) w[i] = load16<A, F>(packed + static_cast<uint64_t>(i) * group + k * step);
#pragma GCC unroll 8
      for (int t = 0; t < T; ++t)
#pragma GCC unroll 8
        for (int i = 0; i < R; ++i) acc[i][t].add_product(w[i], x[t][k]);
    }
#pragma GCC unroll 8
    for (int i = 0; i < R; ++i)
#pragma GCC unroll 8
      for (int t = 0; t < T; ++t) total[i][t] = Rows::add(total[i][t], acc[i][t]);
  }
  for (int i = 0; i < R; ++i)
    for (int t = 0; t < T; ++t) total[i][t].store(raw + static_cast<uint64_t>(t) * raw_stride + i * static_cast<int>(kGroupRows));
}

template <Arithmetic A, Format F>
void dense_rows(const DenseTask& task) {
  const uint64_t group_bytes = uint64_t{task.length} * kGroupRows * format_bytes(F);
  const auto tiles = [&]<int R, int T>(uint32_t& g, uint32_t t) {
    for (; g + R <= task.groups; g += R)
      dense_tile<A, F, R, T>(task.packed + g * group_bytes, task.length, task.positions + t,
                             task.raw + t * task.raw_stride + g * kGroupRows, task.raw_stride);
  };
  uint32_t t = 0;
#if defined(__AVX512F__)
  if constexpr (A::hardware) {
    for (; t + 6 <= task.n_positions; t += 6) {
      uint32_t g = 0;
      tiles.template operator()<4, 6>(g, t);
      tiles.template operator()<1, 6>(g, t);
    }
    for (; t + 2 <= task.n_positions; t += 2) {
      uint32_t g = 0;
      tiles.template operator()<8, 2>(g, t);
      tiles.template operator()<4, 2>(g, t);
      tiles.template operator()<1, 2>(g, t);
    }
    for (; t < task.n_positions; ++t) {
      uint32_t g = 0;
      tiles.template operator()<8, 1>(g, t);
      tiles.template operator()<4, 1>(g, t);
      tiles.template operator()<1, 1>(g, t);
    }
    return;
  }
#endif
  for (; t + 6 <= task.n_positions; t += 6) {
    uint32_t g = 0;
    tiles.template operator()<1, 6>(g, t);
  }
  for (; t + 2 <= task.n_positions; t += 2) {
    uint32_t g = 0;
    tiles.template operator()<2, 2>(g, t);
    tiles.template operator()<1, 2>(g, t);
  }
  for (; t < task.n_positions; ++t) {
    uint32_t g = 0;
    tiles.template operator()<4, 1>(g, t);
    tiles.template operator()<1, 1>(g, t);
  }
}

template <Arithmetic A>
void dense(const DenseTask& task) {
  switch (task.format) {
    case WeightFormat::f32: return dense_rows<A, Format::f32>(task);
    case WeightFormat::f16: return dense_rows<A, Format::f16>(task);
    case WeightFormat::bf16: return dense_rows<A, Format::bf16>(task);
    default: return;
  }
}

OPML_LEVEL_END
