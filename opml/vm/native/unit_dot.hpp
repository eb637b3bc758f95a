// The integer side of the quantised kernels: exact dot products of 32 unsigned weights of 16 rows with signed activations.
#pragma once

#include <cstring>

#include "byte_vector.hpp"
#include "packed.hpp"

OPML_LEVEL_BEGIN

#if defined(OPML_BYTE_VECTORS)
struct UnitDots {
  ByteVector v[kParts];  // of 32 bits
};
#else
struct UnitDots {
  int32_t v[16];
};
#endif

// dots[g * T + t] = sums over the unit of w * q_t for the 16 rows of group g, plus correction[t * 8] = -offset * sum_t.
// Groups lie `apart` bytes from each other; one broadcast of activations serves G of them.
#if defined(OPML_VNNI)
template <WeightFormat F, int G, int T>
inline void unit_dot(const uint8_t* group, uint64_t apart, const Activations* x, uint32_t unit, const int32_t* correction,
                     UnitDots* dots) {
  constexpr PackedFormat p = packed_format(F);
  const uint64_t at = uint64_t{unit} * 32;
#pragma GCC unroll 16
  for (int t = 0; t < T; ++t) {
    const __m512i start = p.offset == 0 ? _mm512_setzero_si512() : _mm512_set1_epi32(correction[8 * t]);
#pragma GCC unroll 2
    for (int g = 0; g < G; ++g) dots[g * T + t].v[0] = start;
  }
  if constexpr (F == WeightFormat::q8_0) {
#pragma GCC unroll 8
    for (int j = 0; j < 8; ++j) {
      __m512i w[G];
#pragma GCC unroll 2
      for (int g = 0; g < G; ++g) w[g] = _mm512_loadu_si512(group + static_cast<uint64_t>(g) * apart + 64 * j);
#pragma GCC unroll 16
      for (int t = 0; t < T; ++t) {
        const __m512i four = spread_four(x[t].q + at + 4 * j);
#pragma GCC unroll 2
        for (int g = 0; g < G; ++g) dots[g * T + t].v[0] = _mm512_dpbusd_epi32(dots[g * T + t].v[0], w[g], four);
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
      const __m512i first = spread_four(x[t].q + at + 4 * j), second = spread_four(x[t].q + at + 16 + 4 * j);
#pragma GCC unroll 2
      for (int g = 0; g < G; ++g) {
        dots[g * T + t].v[0] = _mm512_dpbusd_epi32(dots[g * T + t].v[0], low[g], first);
        dots[g * T + t].v[0] = _mm512_dpbusd_epi32(dots[g * T + t].v[0], high[g], second);
      }
    }
  }
}
#else
// The unsigned values of one group as bytes: vector j, row, byte.
template <WeightFormat F>
inline void unpack_group(const uint8_t* group, uint8_t* values) {
  constexpr PackedFormat p = packed_format(F);
  for (int i = 0; i < 256; ++i) values[i] = group[i] & 15;
  for (int i = 0; i < 256; ++i) values[256 + i] = static_cast<uint8_t>(group[i] >> 4);
  if constexpr (p.high_bits != 0) {
    const uint8_t* bits = group + p.high_bits;
#if defined(__AVX2__)
    const __m256i byte = _mm256_set_epi64x(0x0303030303030303, 0x0202020202020202, 0x0101010101010101, 0);
    const __m256i bit = _mm256_set1_epi64x(static_cast<int64_t>(0x8040201008040201));
    for (int i = 0; i < 512; i += 32) {
      int32_t mask;
      std::memcpy(&mask, bits + i / 8, 4);
      const __m256i here = _mm256_and_si256(_mm256_shuffle_epi8(_mm256_set1_epi32(mask), byte), bit);
      const __m256i fifth = _mm256_and_si256(_mm256_cmpeq_epi8(here, bit), _mm256_set1_epi8(16));
      auto* to = reinterpret_cast<__m256i*>(values + i);
      _mm256_storeu_si256(to, _mm256_or_si256(_mm256_loadu_si256(to), fifth));
    }
#else
    for (int i = 0; i < 512; ++i) values[i] = static_cast<uint8_t>(values[i] | (bits[i / 8] >> (i % 8) & 1) << 4);
#endif
  }
}

#if defined(OPML_BYTE_VECTORS)
// How many positions have their sums in registers: 8 vectors where there are 16 registers.
inline constexpr int kSide = kParts == 1 ? 12 : 8 / kParts;

#if defined(OPML_BYTE_PAIRS)
// Values up to 31: a pair's sum of products is at most 2 * 31 * 128, of which 4 fit 16 bits; up to 15, 8 do.
template <WeightFormat F, int S>
[[gnu::always_inline]] inline void dots_of_bytes(const uint8_t* values, const Activations* x, uint32_t unit, UnitDots* dots) {
  constexpr int run = packed_format(F).high_bits != 0 ? 4 : 8;
  const ByteVector one = spread16(1);
#pragma GCC unroll 2
  for (int first = 0; first < 8; first += run) {
    ByteVector sums[S][kParts];
#pragma GCC unroll 8
    for (int j = first; j < first + run; ++j) {
      ByteVector w[kParts];
#pragma GCC unroll 4
      for (int i = 0; i < kParts; ++i) w[i] = load_bytes(values + 64 * j + kBytes * i);
#pragma GCC unroll 16
      for (int s = 0; s < S; ++s) {
        const ByteVector four = spread_four(x[s].q + 32 * uint64_t{unit} + 4 * j);
#pragma GCC unroll 4
        for (int i = 0; i < kParts; ++i) {
          const ByteVector pairs = pairs16(w[i], four);
          sums[s][i] = j == first ? pairs : add16(sums[s][i], pairs);
          in_order(sums[s][i]);
        }
      }
    }
#pragma GCC unroll 16
    for (int s = 0; s < S; ++s)
#pragma GCC unroll 4
      for (int i = 0; i < kParts; ++i) {
        const ByteVector wide = pairs32(sums[s][i], one);
        dots[s].v[i] = first == 0 ? wide : add32(dots[s].v[i], wide);
      }
  }
}
#endif

// The bytes of even number, then those of odd number, of 32.
inline void split_activations(const int8_t* q, int16_t* words) {
#if defined(__AVX2__)
  const __m256i x = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(q));
  _mm256_store_si256(reinterpret_cast<__m256i*>(words), _mm256_srai_epi16(_mm256_slli_epi16(x, 8), 8));
  _mm256_store_si256(reinterpret_cast<__m256i*>(words + 16), _mm256_srai_epi16(x, 8));
#else
  for (int i = 0; i < 2; ++i) {
    const __m128i x = _mm_loadu_si128(reinterpret_cast<const __m128i*>(q) + i);
    _mm_store_si128(reinterpret_cast<__m128i*>(words) + i, _mm_srai_epi16(_mm_slli_epi16(x, 8), 8));
    _mm_store_si128(reinterpret_cast<__m128i*>(words + 16) + i, _mm_srai_epi16(x, 8));
  }
#endif
}

// Any bytes: those of even and of odd number are widened apart, so that pairs stay within their row's 32 bits.
template <int S>
[[gnu::always_inline]] inline void dots_of_words(const int16_t* words, const Activations* x, uint32_t unit, UnitDots* dots) {
  alignas(32) int16_t q[S][32];
  for (int s = 0; s < S; ++s) split_activations(x[s].q + 32 * uint64_t{unit}, q[s]);
  asm("" : "+m"(q));  // to be spread from memory: gcc would shuffle what it still has in registers
  ByteVector sums[S][kParts] = {};
#pragma GCC unroll 2
  for (int odd = 0; odd < 2; ++odd)
#pragma GCC unroll 8
    for (int j = 0; j < 8; ++j) {
      ByteVector w[kParts];
#pragma GCC unroll 4
      for (int i = 0; i < kParts; ++i) w[i] = load_bytes(words + 64 * j + 32 * odd + kBytes / 2 * i);
#pragma GCC unroll 16
      for (int s = 0; s < S; ++s) {
        const ByteVector two = spread_four(q[s] + 16 * odd + 2 * j);
#pragma GCC unroll 4
        for (int i = 0; i < kParts; ++i) {
          sums[s][i] = add32(sums[s][i], pairs32(w[i], two));
          in_order(sums[s][i]);
        }
      }
    }
#pragma GCC unroll 16
  for (int s = 0; s < S; ++s)
#pragma GCC unroll 4
    for (int i = 0; i < kParts; ++i) dots[s].v[i] = sums[s][i];
}

// The same for one position, straight from the packed bytes.
[[gnu::always_inline]] inline void dots_of_one(const uint8_t* bytes, const int8_t* activations, UnitDots* dots) {
  alignas(32) int16_t q[32];
  split_activations(activations, q);
  asm("" : "+m"(q));
  ByteVector even[kParts] = {}, odd[kParts] = {};
  const ByteVector low = spread16(255);
#pragma GCC unroll 8
  for (int j = 0; j < 8; ++j)
#pragma GCC unroll 4
    for (int i = 0; i < kParts; ++i) {
      const ByteVector both = load_bytes(bytes + 64 * j + kBytes * i);
      even[i] = add32(even[i], pairs32(and_bytes(both, low), spread_four(q + 2 * j)));
      odd[i] = add32(odd[i], pairs32(shift_right16<8>(both), spread_four(q + 16 + 2 * j)));
      in_order(even[i]), in_order(odd[i]);
    }
#pragma GCC unroll 4
  for (int i = 0; i < kParts; ++i) dots->v[i] = add32(even[i], odd[i]);
}

template <WeightFormat F, int G, int T>
[[gnu::always_inline]] inline void unit_dot(const uint8_t* group, uint64_t, const Activations* x, uint32_t unit,
                                            const int32_t* corrections, UnitDots* dots) {
  static_assert(G == 1);
  constexpr int S = T < kSide ? T : kSide;
  static_assert(T % S == 0);
  alignas(64) uint8_t values[512];
  const uint8_t* bytes = group;
  if constexpr (F != WeightFormat::q8_0) {
    unpack_group<F>(group, values);
    bytes = values;
  }
#if defined(OPML_BYTE_PAIRS)
  constexpr bool narrow = F != WeightFormat::q8_0;
#else
  constexpr bool narrow = false;
#endif
  if constexpr (F == WeightFormat::q8_0 && T == 1) {
    dots_of_one(group, x->q + 32 * uint64_t{unit}, dots);
  } else if constexpr (narrow) {
#if defined(OPML_BYTE_PAIRS)
    for (int t = 0; t < T; t += S) dots_of_bytes<F, S>(bytes, x + t, unit, dots + t);
#endif
  } else {
    alignas(64) int16_t words[512];
    for (int i = 0; i < 512; i += kBytes) {
      const ByteVector both = load_bytes(bytes + i);
      int16_t* to = words + i / 64 * 64 + i % 64 / 2;
      store_bytes(to, and_bytes(both, spread16(255)));
      store_bytes(to + 32, shift_right16<8>(both));
    }
    for (int t = 0; t < T; t += S) dots_of_words<S>(words, x + t, unit, dots + t);
  }
  if constexpr (packed_format(F).offset != 0)
#pragma GCC unroll 16
    for (int t = 0; t < T; ++t)
#pragma GCC unroll 4
      for (int i = 0; i < kParts; ++i) dots[t].v[i] = add32(dots[t].v[i], spread32(corrections[8 * t]));
}
#else
template <WeightFormat F, int G, int T>
inline void unit_dot(const uint8_t* group, uint64_t, const Activations* x, uint32_t unit, const int32_t* corrections,
                     UnitDots* dots) {
  static_assert(G == 1);
  uint8_t values[512];
  const uint8_t* bytes = group;
  if constexpr (F != WeightFormat::q8_0) {
    unpack_group<F>(group, values);
    bytes = values;
  }
  for (int t = 0; t < T; ++t) {
    const int8_t* q = x[t].q + uint64_t{unit} * 32;
    const int32_t correction = packed_format(F).offset == 0 ? 0 : corrections[8 * t];
    for (int row = 0; row < 16; ++row) dots[t].v[row] = correction;
    for (int j = 0; j < 8; ++j) {
      const int32_t x0 = q[4 * j], x1 = q[4 * j + 1], x2 = q[4 * j + 2], x3 = q[4 * j + 3];
      for (int row = 0; row < 16; ++row) {
        const uint8_t* w = bytes + 64 * j + 4 * row;
        dots[t].v[row] += w[0] * x0 + w[1] * x1 + w[2] * x2 + w[3] * x3;
      }
    }
  }
}
#endif
#endif

OPML_LEVEL_END
