// Block-quantised dot products over packed rows, 16 rows x T positions a tile, in the canonical order.
#pragma once

#include "rows16.hpp"
#include "unit_dot.hpp"

OPML_LEVEL_BEGIN

template <Arithmetic A>
inline Rows16<A> rows_from(const UnitDots& dots) {
  if constexpr (requires { Rows16<A>::from_i32(dots.v); }) {
    return Rows16<A>::from_i32(dots.v);
  } else {
    int32_t x[16];
    std::memcpy(x, dots.v, sizeof(x));
    return Rows16<A>::from_i32(x);
  }
}

inline uint32_t word_at(const uint8_t* p, uint32_t i) {
  uint32_t word;
  std::memcpy(&word, p + 4 * uint64_t{i}, 4);
  return word;
}

// G groups of 16 rows, `groups_apart` from each other, against T positions.
template <Arithmetic A, WeightFormat F, int G, int T>
void qdot_tile(const uint8_t* group, uint32_t groups_apart, uint32_t units, const Activations* x, uint32_t* raw,
               uint64_t raw_stride) {
  using Rows = Rows16<A>;
  constexpr PackedFormat p = packed_format(F);
  const uint64_t apart = uint64_t{groups_apart} * units * p.bytes;
  constexpr uint32_t block = kLeafElements / 32;
  static_assert(block == 8);
  constexpr int joint = kStreams > 1 ? 1 : G;  // groups that share each broadcast of activations
  Rows total[G * T];
  for (Rows& z : total) z = Rows::zero();
  for (uint32_t first = 0; first < units; first += block) {
    const uint32_t end = units - first < block ? units : first + block;
    int32_t correction[T * block];
    if constexpr (p.offset != 0)
      for (int t = 0; t < T; ++t)
        for (uint32_t u = first; u < end; ++u) correction[static_cast<uint32_t>(t) * block + u - first] = -p.offset * x[t].sums[u];
    else
      correction[0] = 0;
    Rows acc[G * T];
#pragma GCC unroll 16
    for (int i = 0; i < G * T; ++i) acc[i] = Rows::zero();
    UnitDots dots[joint * T];
    for (uint32_t unit = first; unit < end; ++unit) {
#pragma GCC unroll 4
      for (int g = 0; g < G; ++g) {
        const uint8_t* const floats = group + static_cast<uint64_t>(g) * apart;
        if constexpr (T == 1 && kBytesAhead > 0)
          for (uint32_t line = 0; line < p.bytes; line += 64) __builtin_prefetch(floats + kBytesAhead + line);
        if (g % joint == 0) unit_dot<F, joint, T>(floats, apart, x, unit, correction + (unit - first), dots);
        const UnitDots* const own = dots + g % joint * T;
        const Rows scale = Rows::from_f16(floats + p.scales);
#pragma GCC unroll 16
        for (int t = 0; t < T; ++t)
          acc[g * T + t].add_product(rows_from<A>(own[t]), Rows::mul(scale, word_at(x[t].scales, unit)));
        if constexpr (p.minima != 0) {
          const Rows minimum = Rows::from_f16(floats + p.minima);
#pragma GCC unroll 16
          for (int t = 0; t < T; ++t) acc[g * T + t].add_product(minimum, x[t].products[unit]);
        }
      }
      group += p.bytes;
    }
    for (int i = 0; i < G * T; ++i) total[i] = Rows::add(total[i], acc[i]);
  }
  for (int g = 0; g < G; ++g)
    for (int t = 0; t < T; ++t) total[g * T + t].store(raw + static_cast<uint64_t>(t) * raw_stride +
                             static_cast<uint64_t>(g) * groups_apart * kGroupRows);
}

template <Arithmetic A, WeightFormat F>
void qdot_rows(const QdotTask& task) {
  const uint64_t group_bytes = uint64_t{task.units} * packed_format(F).bytes;
  const auto tiles = [&]<int G, int T>(uint32_t g, uint32_t& t, uint32_t groups_apart = 1) {
    for (; t + T <= task.n_positions; t += T)
      qdot_tile<A, F, G, T>(task.packed + g * group_bytes, groups_apart, task.units, task.positions + t,
                            task.raw + t * task.raw_stride + g * kGroupRows, task.raw_stride);
  };
  uint32_t g = 0;
#if defined(OPML_VNNI)
  if constexpr (A::hardware) {
    for (; g + 2 <= task.groups && task.n_positions >= 6; g += 2) {
      uint32_t t = 0;
      tiles.template operator()<2, 6>(g, t);
      tiles.template operator()<2, 2>(g, t);
      tiles.template operator()<2, 1>(g, t);
    }
  }
#endif
  if constexpr (A::hardware && kStreams > 1) {
    if (task.n_positions == 1) {
      const uint32_t each = task.groups / kStreams;
      for (; g < each; ++g) {
        uint32_t t = 0;
        tiles.template operator()<kStreams, 1>(g, t, each);
      }
      g = each * kStreams;
    }
  }
  for (; g < task.groups; ++g) {
    uint32_t t = 0;
    if constexpr (A::hardware) tiles.template operator()<1, 12>(g, t);
    tiles.template operator()<1, 4>(g, t);
    tiles.template operator()<1, 1>(g, t);
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

inline int32_t sum_of_unit(const int8_t* q) {
#if defined(__AVX2__)
  const __m256i x = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(q));
  const __m256i fours = _mm256_madd_epi16(_mm256_maddubs_epi16(_mm256_set1_epi8(1), x), _mm256_set1_epi16(1));
  __m128i sum = _mm_add_epi32(_mm256_castsi256_si128(fours), _mm256_extracti128_si256(fours, 1));
  sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0x4E));
  return _mm_cvtsi128_si32(_mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0xB1)));
#else
  int32_t sum = 0;
  for (uint32_t i = 0; i < 32; ++i) sum += q[i];
  return sum;
#endif
}

// Sums of activations and their products with the scales, for `units` units that lie together.
template <Arithmetic A>
void prepare_activations(const int8_t* q, const uint8_t* scales, uint32_t units, int32_t* sums, uint32_t* products) {
  for (uint32_t u = 0; u < units; ++u) sums[u] = sum_of_unit(q + 32 * uint64_t{u});
  for (uint32_t u = 0; u < units; ++u) products[u] = A::store(A::mul(A::load(word_at(scales, u)), A::from_i32(sums[u])));
}

OPML_LEVEL_END
