// The integer side of the quantised kernels: exact dot products of 32 unsigned weights of 16 rows with signed activations.
#pragma once

#include <cstring>

#include "packed.hpp"
#include "isa_namespace.hpp"
#if defined(__AVX2__)
#include <immintrin.h>
#endif

OPML_LEVEL_BEGIN

// dots[g * T + t] = sums over the unit of w * q_t for the 16 rows of group g, plus correction[t * 8] = -offset * sum_t.
// Groups lie `apart` bytes from each other; one broadcast of activations serves G of them.
#if defined(OPML_VNNI)
inline __m512i activations4(const int8_t* q) {
  int32_t four;
  std::memcpy(&four, q, 4);
  return _mm512_set1_epi32(four);
}

template <WeightFormat F, int G, int T>
inline void unit_dot(const uint8_t* group, uint64_t apart, const Activations* x, uint32_t unit, const int32_t* correction,
                     __m512i* dots) {
  constexpr PackedFormat p = packed_format(F);
  const uint64_t at = uint64_t{unit} * 32;
#pragma GCC unroll 16
  for (int t = 0; t < T; ++t) {
    const __m512i start = p.offset == 0 ? _mm512_setzero_si512() : _mm512_set1_epi32(correction[8 * t]);
#pragma GCC unroll 2
    for (int g = 0; g < G; ++g) dots[g * T + t] = start;
  }
  if constexpr (F == WeightFormat::q8_0) {
#pragma GCC unroll 8
    for (int j = 0; j < 8; ++j) {
      __m512i w[G];
#pragma GCC unroll 2
      for (int g = 0; g < G; ++g) w[g] = _mm512_loadu_si512(group + static_cast<uint64_t>(g) * apart + 64 * j);
#pragma GCC unroll 16
      for (int t = 0; t < T; ++t) {
        const __m512i four = activations4(x[t].q + at + 4 * j);
#pragma GCC unroll 2
        for (int g = 0; g < G; ++g) dots[g * T + t] = _mm512_dpbusd_epi32(dots[g * T + t], w[g], four);
      }
    }
    return;
  }
  const __m512i nibble = _mm512_set1_epi8(15), fifth = _mm512_set1_epi8(16);
#pragma GCC unroll 4
  for (int j = 0; j < 4; ++j) {
    __m512i low[G], high[G];
#pragma GCC unroll 2
    for (int g = 0; g < G; ++g) {
      const uint8_t* from = group + static_cast<uint64_t>(g) * apart;
      const __m512i both = _mm512_loadu_si512(from + 64 * j);
      low[g] = _mm512_and_si512(both, nibble), high[g] = _mm512_and_si512(_mm512_srli_epi16(both, 4), nibble);
      if constexpr (p.high_bits != 0) {
        uint64_t masks[2];
        std::memcpy(masks, from + p.high_bits + 8 * j, 8);
        std::memcpy(masks + 1, from + p.high_bits + 32 + 8 * j, 8);
        low[g] = _mm512_mask_add_epi8(low[g], masks[0], low[g], fifth);
        high[g] = _mm512_mask_add_epi8(high[g], masks[1], high[g], fifth);
      }
    }
#pragma GCC unroll 16
    for (int t = 0; t < T; ++t) {
      const __m512i first = activations4(x[t].q + at + 4 * j), second = activations4(x[t].q + at + 16 + 4 * j);
#pragma GCC unroll 2
      for (int g = 0; g < G; ++g) {
        dots[g * T + t] = _mm512_dpbusd_epi32(dots[g * T + t], low[g], first);
        dots[g * T + t] = _mm512_dpbusd_epi32(dots[g * T + t], high[g], second);
      }
    }
  }
}
using UnitDots = __m512i;
#else
struct UnitDots {
  alignas(64) int32_t v[16];
};

// The unsigned values of one group as bytes: vector j, row, byte.
template <WeightFormat F>
inline void unpack_group(const uint8_t* group, uint8_t* values) {
  constexpr PackedFormat p = packed_format(F);
  if constexpr (F == WeightFormat::q8_0) {
    std::memcpy(values, group, 512);
    return;
  }
  for (int i = 0; i < 256; ++i) values[i] = group[i] & 15;
  for (int i = 0; i < 256; ++i) values[256 + i] = static_cast<uint8_t>(group[i] >> 4);
  if constexpr (p.high_bits != 0)
    for (int i = 0; i < 512; ++i)
      values[i] = static_cast<uint8_t>(values[i] | (group[p.high_bits + static_cast<unsigned>(i) / 8] >> (i % 8) & 1) << 4);
}

#if defined(__AVX2__)
// 8 rows x 4 bytes against 4 activations. Products of bytes up to 31 fit 16 bits in pairs; others are widened first.
template <WeightFormat F>
inline __m256i dot4(__m256i sum, __m256i w, const int8_t* q) {
  int32_t four;
  std::memcpy(&four, q, 4);
  if constexpr (F != WeightFormat::q8_0) {
    const __m256i pairs = _mm256_maddubs_epi16(w, _mm256_set1_epi32(four));
    return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
  }
  const __m256i x = _mm256_cvtepi8_epi16(_mm_set1_epi32(four)), zero = _mm256_setzero_si256();
  const __m256i low = _mm256_madd_epi16(_mm256_unpacklo_epi8(w, zero), x);
  const __m256i high = _mm256_madd_epi16(_mm256_unpackhi_epi8(w, zero), x);
  return _mm256_add_epi32(sum, _mm256_hadd_epi32(low, high));
}
#endif

template <WeightFormat F, int G, int T>
inline void unit_dot(const uint8_t* group, uint64_t, const Activations* x, uint32_t unit, const int32_t* corrections,
                     UnitDots* dots) {
  static_assert(G == 1);
  alignas(64) uint8_t values[512];
  unpack_group<F>(group, values);
  for (int t = 0; t < T; ++t) {
    const int8_t* q = x[t].q + uint64_t{unit} * 32;
    const int32_t correction = packed_format(F).offset == 0 ? 0 : corrections[8 * t];
#if defined(__AVX2__)
    __m256i a = _mm256_set1_epi32(correction), b = a;
    for (int j = 0; j < 8; ++j) {
      a = dot4<F>(a, _mm256_load_si256(reinterpret_cast<const __m256i*>(values + 64 * j)), q + 4 * j);
      b = dot4<F>(b, _mm256_load_si256(reinterpret_cast<const __m256i*>(values + 64 * j + 32)), q + 4 * j);
    }
    _mm256_store_si256(reinterpret_cast<__m256i*>(dots[t].v), a);
    _mm256_store_si256(reinterpret_cast<__m256i*>(dots[t].v + 8), b);
#else
    for (int row = 0; row < 16; ++row) dots[t].v[row] = correction;
    for (int j = 0; j < 8; ++j) {
      const int32_t x0 = q[4 * j], x1 = q[4 * j + 1], x2 = q[4 * j + 2], x3 = q[4 * j + 3];
      for (int row = 0; row < 16; ++row) {
        const uint8_t* w = values + 64 * j + 4 * row;
        dots[t].v[row] += w[0] * x0 + w[1] * x1 + w[2] * x2 + w[3] * x3;
      }
    }
#endif
  }
}
#endif

OPML_LEVEL_END
