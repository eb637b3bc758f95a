// Block-quantised dot products over packed rows, 16 rows x T positions a tile, in the canonical order.
#pragma once

#include "rows16.hpp"
#include "unit_dot.hpp"

OPML_LEVEL_BEGIN

template <Arithmetic A>
inline Rows16<A> rows_from(const UnitDots& dots) {
#if defined(OPML_VNNI)
  if constexpr (A::hardware) {
    return Rows16<A>::from_i32(dots);
  } else {
    alignas(64) int32_t v[16];
    _mm512_store_si512(v, dots);
    return Rows16<A>::from_i32(v);
  }
#else
  return Rows16<A>::from_i32(dots.v);
#endif
}

inline uint32_t word_at(const uint8_t* p, uint32_t i) {
  uint32_t word;
  std::memcpy(&word, p + 4 * uint64_t{i}, 4);
  return word;
}

template <Arithmetic A, WeightFormat F, int T>
void qdot_tile(const uint8_t* group, uint32_t units, const Activations* x, uint32_t* raw, uint64_t raw_stride) {
  using Rows = Rows16<A>;
  constexpr PackedFormat p = packed_format(F);
  constexpr uint32_t block = kLeafElements / 32;
  Rows total[T];
  for (int t = 0; t < T; ++t) total[t] = Rows::zero();
  for (uint32_t first = 0; first < units; first += block) {
    const uint32_t end = units - first < block ? units : first + block;
    Rows acc[T];
#pragma GCC unroll 16
    for (int t = 0; t < T; ++t) acc[t] = Rows::zero();
    for (uint32_t unit = first; unit < end; ++unit) {
      UnitDots dots[T];
      unit_dot<F, T>(group, x, unit, dots);
      const Rows scale = Rows::from_f16(group + p.scales);
#pragma GCC unroll 16
      for (int t = 0; t < T; ++t)
        acc[t] = Rows::fma(rows_from<A>(dots[t]), Rows::mul(scale, word_at(x[t].scales, unit)), acc[t]);
      if constexpr (p.minima != 0) {
        const Rows minimum = Rows::from_f16(group + p.minima);
#pragma GCC unroll 16
        for (int t = 0; t < T; ++t) acc[t] = Rows::fma(minimum, x[t].products[unit], acc[t]);
      }
      group += p.bytes;
    }
    for (int t = 0; t < T; ++t) total[t] = Rows::add(total[t], acc[t]);
  }
  for (int t = 0; t < T; ++t) total[t].store(raw + static_cast<uint64_t>(t) * raw_stride);
}

template <Arithmetic A, WeightFormat F>
void qdot_rows(const QdotTask& task) {
  const uint64_t group_bytes = uint64_t{task.units} * packed_format(F).bytes;
  for (uint32_t g = 0; g < task.groups; ++g) {
    const uint8_t* group = task.packed + g * group_bytes;
    uint32_t* raw = task.raw + g * kGroupRows;
    uint32_t t = 0;
    const auto tile = [&]<int T>() {
      for (; t + T <= task.n_positions; t += T)
        qdot_tile<A, F, T>(group, task.units, task.positions + t, raw + t * task.raw_stride, task.raw_stride);
    };
    if constexpr (A::hardware) tile.template operator()<12>();
    tile.template operator()<4>();
    tile.template operator()<1>();
  }
}

template <Arithmetic A>
void qdot(const QdotTask& task) {
  switch (task.format) {
    case WeightFormat::q4_0: return qdot_rows<A, WeightFormat::q4_0>(task);
    case WeightFormat::q4_1: return qdot_rows<A, WeightFormat::q4_1>(task);
    case WeightFormat::q5_0: return qdot_rows<A, WeightFormat::q5_0>(task);
    case WeightFormat::q5_1: return qdot_rows<A, WeightFormat::q5_1>(task);
    case WeightFormat::q8_0: return qdot_rows<A, WeightFormat::q8_0>(task);
    default: return;
  }
}

// Sums of activations and their products with the scales, for `units` units that lie together.
template <Arithmetic A>
void prepare_activations(const int8_t* q, const uint8_t* scales, uint32_t units, int32_t* sums, uint32_t* products) {
  for (uint32_t u = 0; u < units; ++u) {
    int32_t sum = 0;
    for (uint32_t i = 0; i < 32; ++i) sum += q[32 * u + i];
    sums[u] = sum;
    products[u] = A::store(A::mul(A::load(word_at(scales, u)), A::from_i32(sum)));
  }
}

OPML_LEVEL_END
