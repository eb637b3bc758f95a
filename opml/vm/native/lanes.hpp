// Blocks of lanes: loading operands into registers and storing results.
#pragma once

#include <cstring>

#include "hardfloat.hpp"
#include "plan.hpp"
#include "scalar_eval.hpp"
#if defined(__F16C__)
#include <immintrin.h>
#endif

OPML_LEVEL_BEGIN

// Loading: storage format to register, n consecutive elements. Lanes up to the next multiple of kLaneStep may hold
// anything.

inline uint32_t load_element(Format f, const uint8_t* data, uint64_t i) {
  uint32_t word;
  uint16_t half;
  switch (f) {
    case Format::f32:
      std::memcpy(&word, data + 4 * i, 4);
      return soft::canonical({word}).bits;
    case Format::f16:
      std::memcpy(&half, data + 2 * i, 2);
      return soft::from_f16(half).bits;
    case Format::bf16:
      std::memcpy(&half, data + 2 * i, 2);
      return soft::from_bf16(half).bits;
    case Format::i32:
      std::memcpy(&word, data + 4 * i, 4);
      return word;
    case Format::i8: return static_cast<uint32_t>(static_cast<int32_t>(static_cast<int8_t>(data[i])));
  }
  return 0;
}

template <Arithmetic A>
void load_run(Format f, const uint8_t* data, uint64_t first, int n, uint32_t* __restrict z) {
  const uint8_t* from = data + first * format_bytes(f);
  switch (f) {
    case Format::f32:
      std::memcpy(z, from, static_cast<size_t>(n) * 4);
      for (int i = 0; i < n; ++i) z[i] = soft::canonical({z[i]}).bits;
      return;
    case Format::i32: std::memcpy(z, from, static_cast<size_t>(n) * 4); return;
    case Format::f16: {
      int i = 0;
#if defined(__AVX512F__)
      if constexpr (A::hardware) {
        for (; i + 16 <= n; i += 16) {
          const __m512 x = _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from + 2 * i)));
          const __mmask16 nan = _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q);
          _mm512_storeu_si512(z + i, _mm512_mask_set1_epi32(_mm512_castps_si512(x), nan, static_cast<int>(soft::kNan)));
        }
      }
#elif defined(__F16C__)
      if constexpr (A::hardware) {
        for (; i + 8 <= n; i += 8) {
          const __m256 x = _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from + 2 * i)));
          const __m256 nan = _mm256_cmp_ps(x, x, _CMP_UNORD_Q);
          const __m256 canonical = _mm256_castsi256_ps(_mm256_set1_epi32(static_cast<int>(soft::kNan)));
          _mm256_storeu_ps(reinterpret_cast<float*>(z + i), _mm256_blendv_ps(x, canonical, nan));
        }
      }
#endif
      for (; i < n; ++i) z[i] = load_element(Format::f16, from, static_cast<uint64_t>(i));
      return;
    }
    case Format::bf16: {
      for (int i = 0; i < n; ++i) {
        uint16_t half;
        std::memcpy(&half, from + 2 * i, 2);
        z[i] = soft::from_bf16(half).bits;
      }
      return;
    }
    case Format::i8: {
      for (int i = 0; i < n; ++i) z[i] = static_cast<uint32_t>(static_cast<int32_t>(static_cast<int8_t>(from[i])));
      return;
    }
  }
}

// Storing: n consecutive elements from registers.
template <Arithmetic A>
void store_run(Format f, uint8_t* data, uint64_t first, int n, const uint32_t* __restrict x) {
  uint8_t* to = data + first * format_bytes(f);
  switch (f) {
    case Format::f32: {
      for (int i = 0; i < n; ++i) {
        const uint32_t word = soft::canonical({x[i]}).bits;
        std::memcpy(to + 4 * i, &word, 4);
      }
      return;
    }
    case Format::i32: std::memcpy(to, x, static_cast<size_t>(n) * 4); return;
    case Format::f16: {
      int i = 0;
#if defined(__AVX512F__)
      if constexpr (A::hardware) {
        for (; i + 16 <= n; i += 16) {
          const __m512 v = _mm512_loadu_ps(x + i);
          const __m512 sure = _mm512_mask_mov_ps(v, _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q),
                                                 _mm512_castsi512_ps(_mm512_set1_epi32(static_cast<int>(soft::kNan))));
          _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + 2 * i), _mm512_cvtps_ph(sure, _MM_FROUND_TO_NEAREST_INT));
        }
      }
#elif defined(__F16C__)
      if constexpr (A::hardware) {
        for (; i + 8 <= n; i += 8) {
          const __m256 v = _mm256_loadu_ps(reinterpret_cast<const float*>(x + i));
          const __m256 nan = _mm256_cmp_ps(v, v, _CMP_UNORD_Q);
          const __m256 canonical = _mm256_castsi256_ps(_mm256_set1_epi32(static_cast<int>(soft::kNan)));
          const __m128i h = _mm256_cvtps_ph(_mm256_blendv_ps(v, canonical, nan), _MM_FROUND_TO_NEAREST_INT);
          _mm_storeu_si128(reinterpret_cast<__m128i*>(to + 2 * i), h);
        }
      }
#endif
      for (; i < n; ++i) {
        const uint16_t half = soft::to_f16({x[i]});
        std::memcpy(to + 2 * i, &half, 2);
      }
      return;
    }
    case Format::bf16: {
      for (int i = 0; i < n; ++i) {
        const uint16_t half = soft::to_bf16({x[i]});
        std::memcpy(to + 2 * i, &half, 2);
      }
      return;
    }
    case Format::i8: {
      int i = 0;
#if defined(__AVX512F__)
      for (; i + 16 <= n; i += 16)
        _mm_storeu_si128(reinterpret_cast<__m128i*>(to + i), _mm512_cvtsepi32_epi8(_mm512_loadu_si512(x + i)));
#endif
      for (; i < n; ++i) {
        const auto v = static_cast<int32_t>(x[i]);
        to[i] = static_cast<uint8_t>(v < -128 ? -128 : v > 127 ? 127 : v);
      }
      return;
    }
  }
}

// A block-quantised weight read alone: an element is fma(i2f(q), d, m), q with the format's offset subtracted.
struct UnitScale {
  uint32_t d, m;
};
inline UnitScale unit_scale(WeightFormat f, const uint8_t* unit) {
  uint16_t d, m = 0;
  std::memcpy(&d, unit, 2);
  if (f == WeightFormat::q4_1 || f == WeightFormat::q5_1) std::memcpy(&m, unit + 2, 2);
  return {soft::from_f16(d).bits, soft::from_f16(m).bits};
}
[[gnu::always_inline]] inline int unit_value(WeightFormat f, const uint8_t* unit, uint32_t i) {
  const uint32_t half = i & 15, high = i >> 4;
  switch (f) {
    case WeightFormat::q4_0: return ((unit[2 + half] >> (4 * high)) & 15) - 8;
    case WeightFormat::q4_1: return (unit[4 + half] >> (4 * high)) & 15;
    case WeightFormat::q5_0: return (((unit[6 + half] >> (4 * high)) & 15) | ((unit[2 + i / 8] >> (i % 8) & 1) << 4)) - 16;
    case WeightFormat::q5_1: return ((unit[8 + half] >> (4 * high)) & 15) | ((unit[4 + i / 8] >> (i % 8) & 1) << 4);
    case WeightFormat::q8_0: return static_cast<int8_t>(unit[2 + i]);
    default: return 0;
  }
}

template <Arithmetic A>
inline uint32_t load_quantised(WeightFormat f, const uint8_t* data, uint64_t i) {
  const uint8_t* unit = data + i / 32 * unit_bytes(f);
  const UnitScale scale = unit_scale(f, unit);
  return A::store(A::fma(A::from_i32(unit_value(f, unit, static_cast<uint32_t>(i % 32))), A::load(scale.d), A::load(scale.m)));
}

// Consecutive elements.
template <Arithmetic A, WeightFormat f>
void load_units(const uint8_t* data, uint64_t first, int n, uint32_t* __restrict z) {
  for (int i = 0; i < n;) {
    const uint64_t at = first + static_cast<uint64_t>(i);
    const uint8_t* unit = data + at / 32 * unit_bytes(f);
    const UnitScale scale = unit_scale(f, unit);
    for (auto e = static_cast<uint32_t>(at % 32); e < 32 && i < n; ++e, ++i)
      z[i] = A::store(A::fma(A::from_i32(unit_value(f, unit, e)), A::load(scale.d), A::load(scale.m)));
  }
}
template <Arithmetic A>
void load_quantised_run(WeightFormat f, const uint8_t* data, uint64_t first, int n, uint32_t* z) {
  switch (f) {
    case WeightFormat::q4_0: return load_units<A, WeightFormat::q4_0>(data, first, n, z);
    case WeightFormat::q4_1: return load_units<A, WeightFormat::q4_1>(data, first, n, z);
    case WeightFormat::q5_0: return load_units<A, WeightFormat::q5_0>(data, first, n, z);
    case WeightFormat::q5_1: return load_units<A, WeightFormat::q5_1>(data, first, n, z);
    case WeightFormat::q8_0: return load_units<A, WeightFormat::q8_0>(data, first, n, z);
    default: return;
  }
}

constexpr uint32_t divide(uint32_t x, const PlanTerm& t) { return static_cast<uint32_t>((x * t.magic) >> t.shift); }

// A block of lanes is up to kLanes elements of a tensor that follow each other, or one element at up to kLanes values of k.
enum class Along : uint8_t { c, k, flat };  // c: all in one row; flat: over rows and positions

struct Places {
  Along along;
  int n;
  uint32_t p, r, c, k;  // of the first lane: position in the chunk, row, column, fold index
  uint32_t lane_p[kLanes], lane_r[kLanes], lane_c[kLanes];  // flat only
};

// The elements that an operand reads in a block of lanes.
enum class Pattern : uint8_t { same, run, steps, scattered };

struct Address {
  Pattern pattern;
  uint64_t first;       // same and run
  uint64_t at[kLanes];  // scattered: of each lane; steps: of each kLaneStep lanes, which read the same element
};

inline void fill(uint32_t* z, int n, uint32_t value) {
  n = (n + kLaneStep - 1) & ~(kLaneStep - 1);
  for (int i = 0; i < n; ++i) z[i] = value;
}

template <Arithmetic A>
void gather(const Source& s, const Address& address, uint64_t offset, int n, uint32_t* z) {
  const uint64_t first = address.first + offset;
  if (s.reads == Reads::quantised) {
    switch (address.pattern) {
      case Pattern::same: fill(z, n, load_quantised<A>(s.units, s.data, first)); return;
      case Pattern::run: load_quantised_run<A>(s.units, s.data, first, n, z); return;
      case Pattern::steps:
        for (int i = 0; i < n; i += kLaneStep)
          fill(z + i, kLaneStep, load_quantised<A>(s.units, s.data, address.at[i / kLaneStep] + offset));
        return;
      case Pattern::scattered:
        for (int i = 0; i < n; ++i) z[i] = load_quantised<A>(s.units, s.data, address.at[i] + offset);
        return;
    }
  }
  switch (address.pattern) {
    case Pattern::same: fill(z, n, load_element(s.format, s.data, first)); return;
    case Pattern::run: load_run<A>(s.format, s.data, first, n, z); return;
    case Pattern::steps:
      for (int i = 0; i < n; i += kLaneStep)
        fill(z + i, kLaneStep, load_element(s.format, s.data, address.at[i / kLaneStep] + offset));
      return;
    case Pattern::scattered: break;
  }
  switch (s.format) {
#define OPML_SCATTERED(f) \
  case f:                 \
    for (int i = 0; i < n; ++i) z[i] = load_element(f, s.data, address.at[i] + offset); \
    return;
    OPML_SCATTERED(Format::f32)
    OPML_SCATTERED(Format::f16)
    OPML_SCATTERED(Format::bf16)
    OPML_SCATTERED(Format::i32)
    OPML_SCATTERED(Format::i8)
#undef OPML_SCATTERED
  }
}

OPML_LEVEL_END
