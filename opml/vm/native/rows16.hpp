// Sixteen rows at once: the float side of the quantised kernels.
#pragma once

#include <cstring>

#include "hardfloat.hpp"
#include "soft_lanes.hpp"
#if defined(__AVX2__)
#include <immintrin.h>
#endif

OPML_LEVEL_BEGIN

// Any arithmetic, as loops that compilers vectorise.
template <Arithmetic A>
struct Rows16 {
  typename A::Value v[16];

  static Rows16 zero() {
    Rows16 z;
    for (auto& x : z.v) x = A::load(0);
    return z;
  }
  static Rows16 from_f16(const uint8_t* p) {
    Rows16 z;
    for (int i = 0; i < 16; ++i) {
      uint16_t half;
      std::memcpy(&half, p + 2 * i, 2);
      z.v[i] = A::load(soft::from_f16(half).bits);
    }
    return z;
  }
  static Rows16 from_bf16(const uint8_t* p) {
    Rows16 z;
    for (int i = 0; i < 16; ++i) {
      uint16_t half;
      std::memcpy(&half, p + 2 * i, 2);
      z.v[i] = A::load(soft::from_bf16(half).bits);
    }
    return z;
  }
  static Rows16 from_f32(const uint8_t* p) {
    Rows16 z;
    for (int i = 0; i < 16; ++i) {
      uint32_t word;
      std::memcpy(&word, p + 4 * i, 4);
      z.v[i] = A::load(word);
    }
    return z;
  }
  static Rows16 from_i32(const int32_t* x) {
    Rows16 z;
    for (int i = 0; i < 16; ++i) z.v[i] = A::from_i32(x[i]);
    return z;
  }
  static Rows16 mul(const Rows16& a, uint32_t b) {
    Rows16 z;
    for (int i = 0; i < 16; ++i) z.v[i] = A::mul(a.v[i], A::load(b));
    return z;
  }
  static Rows16 add(const Rows16& a, const Rows16& b) {
    Rows16 z;
    for (int i = 0; i < 16; ++i) z.v[i] = A::add(a.v[i], b.v[i]);
    return z;
  }
  static Rows16 fma(const Rows16& a, const Rows16& b, const Rows16& c) {
    Rows16 z;
    for (int i = 0; i < 16; ++i) z.v[i] = A::fma(a.v[i], b.v[i], c.v[i]);
    return z;
  }
  static Rows16 fma(const Rows16& a, uint32_t b, const Rows16& c) {
    Rows16 z;
    for (int i = 0; i < 16; ++i) z.v[i] = A::fma(a.v[i], A::load(b), c.v[i]);
    return z;
  }
  void store(uint32_t* z) const {
    for (int i = 0; i < 16; ++i) z[i] = A::store(v[i]);
  }
};

#if defined(__AVX512F__)
template <>
struct Rows16<HardFloat> {
  __m512 v;

  static __m512 spread(uint32_t b) { return _mm512_castsi512_ps(_mm512_set1_epi32(static_cast<int>(b))); }
  static Rows16 zero() { return {_mm512_setzero_ps()}; }
  static Rows16 from_f16(const uint8_t* p) {
    return {_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)))};
  }
  static Rows16 from_bf16(const uint8_t* p) {
    const __m512i wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
    return {_mm512_castsi512_ps(_mm512_slli_epi32(wide, 16))};
  }
  static Rows16 from_f32(const uint8_t* p) { return {_mm512_loadu_ps(p)}; }
  static Rows16 from_i32(const int32_t* x) { return {_mm512_cvtepi32_ps(_mm512_loadu_si512(x))}; }
  static Rows16 from_i32(__m512i x) { return {_mm512_cvtepi32_ps(x)}; }
  static Rows16 mul(const Rows16& a, uint32_t b) { return {_mm512_mul_ps(a.v, spread(b))}; }
  static Rows16 add(const Rows16& a, const Rows16& b) { return {_mm512_add_ps(a.v, b.v)}; }
  static Rows16 fma(const Rows16& a, const Rows16& b, const Rows16& c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
  static Rows16 fma(const Rows16& a, uint32_t b, const Rows16& c) { return {_mm512_fmadd_ps(a.v, spread(b), c.v)}; }
  void store(uint32_t* z) const {
    const __mmask16 nan = _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q);
    _mm512_storeu_si512(z, _mm512_mask_set1_epi32(_mm512_castps_si512(v), nan, static_cast<int>(soft::kNan)));
  }
};

// Set where a stored lane was lost: the task is then done again with PlainSoftFloat.
inline thread_local bool lanes_lost = false;

template <>
struct Rows16<SoftFloat> {
  SoftLanes low, high;

  static __m512i wide(__m256i x) { return _mm512_cvtepu32_epi64(x); }
  static Rows16 zero() { return {SoftLanes::zero(), SoftLanes::zero()}; }
  static Rows16 from_f16(const uint8_t* p) {
    const auto* h = reinterpret_cast<const __m128i*>(p);
    return {SoftLanes::from_half(_mm512_cvtepu16_epi64(_mm_loadu_si128(h))),
            SoftLanes::from_half(_mm512_cvtepu16_epi64(_mm_loadu_si128(h + 1)))};
  }
  static Rows16 from_bf16(const uint8_t* p) {
    const auto* h = reinterpret_cast<const __m128i*>(p);
    return {SoftLanes::from_bits(_mm512_slli_epi64(_mm512_cvtepu16_epi64(_mm_loadu_si128(h)), 16)),
            SoftLanes::from_bits(_mm512_slli_epi64(_mm512_cvtepu16_epi64(_mm_loadu_si128(h + 1)), 16))};
  }
  static Rows16 from_f32(const uint8_t* p) {
    const auto* f = reinterpret_cast<const __m256i*>(p);
    return {SoftLanes::from_bits(wide(_mm256_loadu_si256(f))), SoftLanes::from_bits(wide(_mm256_loadu_si256(f + 1)))};
  }
  static Rows16 from_i32(const int32_t* x) {  // at most 2^24
    const auto* i = reinterpret_cast<const __m256i*>(x);
    return {SoftLanes::from_integers(_mm512_cvtepi32_epi64(_mm256_loadu_si256(i))),
            SoftLanes::from_integers(_mm512_cvtepi32_epi64(_mm256_loadu_si256(i + 1)))};
  }
  static Rows16 mul(const Rows16& a, uint32_t b) {
    const SoftLanes x = SoftLanes::spread(b);
    return {SoftLanes::mul(a.low, x), SoftLanes::mul(a.high, x)};
  }
  static Rows16 add(const Rows16& a, const Rows16& b) {
    return {SoftLanes::add(a.low, b.low), SoftLanes::add(a.high, b.high)};
  }
  static Rows16 fma(const Rows16& a, const Rows16& b, const Rows16& c) {
    return {SoftLanes::fma(a.low, b.low, c.low), SoftLanes::fma(a.high, b.high, c.high)};
  }
  static Rows16 fma(const Rows16& a, uint32_t b, const Rows16& c) {
    const SoftLanes x = SoftLanes::spread(b);
    return {SoftLanes::fma(a.low, x, c.low), SoftLanes::fma(a.high, x, c.high)};
  }
  void store(uint32_t* z) const {
    if (low.lost() | high.lost()) lanes_lost = true;
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(z), _mm512_cvtepi64_epi32(low.bits()));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(z + 8), _mm512_cvtepi64_epi32(high.bits()));
  }
};
#elif defined(__AVX2__)
template <>
struct Rows16<HardFloat> {
  __m256 a, b;

  static __m256 spread(uint32_t x) { return _mm256_castsi256_ps(_mm256_set1_epi32(static_cast<int>(x))); }
  static Rows16 zero() { return {_mm256_setzero_ps(), _mm256_setzero_ps()}; }
  static Rows16 from_f16(const uint8_t* p) {
    const auto* h = reinterpret_cast<const __m128i*>(p);
    return {_mm256_cvtph_ps(_mm_loadu_si128(h)), _mm256_cvtph_ps(_mm_loadu_si128(h + 1))};
  }
  static Rows16 from_bf16(const uint8_t* p) {
    const auto* h = reinterpret_cast<const __m128i*>(p);
    const __m256i low = _mm256_cvtepu16_epi32(_mm_loadu_si128(h)), high = _mm256_cvtepu16_epi32(_mm_loadu_si128(h + 1));
    return {_mm256_castsi256_ps(_mm256_slli_epi32(low, 16)), _mm256_castsi256_ps(_mm256_slli_epi32(high, 16))};
  }
  static Rows16 from_f32(const uint8_t* p) {
    const auto* f = reinterpret_cast<const float*>(p);
    return {_mm256_loadu_ps(f), _mm256_loadu_ps(f + 8)};
  }
  static Rows16 from_i32(const int32_t* x) {
    const auto* i = reinterpret_cast<const __m256i*>(x);
    return {_mm256_cvtepi32_ps(_mm256_loadu_si256(i)), _mm256_cvtepi32_ps(_mm256_loadu_si256(i + 1))};
  }
  static Rows16 mul(const Rows16& x, uint32_t y) { return {_mm256_mul_ps(x.a, spread(y)), _mm256_mul_ps(x.b, spread(y))}; }
  static Rows16 add(const Rows16& x, const Rows16& y) { return {_mm256_add_ps(x.a, y.a), _mm256_add_ps(x.b, y.b)}; }
  static Rows16 fma(const Rows16& x, const Rows16& y, const Rows16& z) {
    return {_mm256_fmadd_ps(x.a, y.a, z.a), _mm256_fmadd_ps(x.b, y.b, z.b)};
  }
  static Rows16 fma(const Rows16& x, uint32_t y, const Rows16& z) { return fma(x, Rows16{spread(y), spread(y)}, z); }
  void store(uint32_t* z) const {
    const __m256 nan = _mm256_castsi256_ps(_mm256_set1_epi32(static_cast<int>(soft::kNan)));
    _mm256_storeu_ps(reinterpret_cast<float*>(z), _mm256_blendv_ps(a, nan, _mm256_cmp_ps(a, a, _CMP_UNORD_Q)));
    _mm256_storeu_ps(reinterpret_cast<float*>(z + 8), _mm256_blendv_ps(b, nan, _mm256_cmp_ps(b, b, _CMP_UNORD_Q)));
  }
};
#endif

// Soft floats one by one, whatever the level.
struct PlainSoftFloat : SoftFloat {};

// A task of sums of products. Signs of zeros need no care there: a total starts from +0, and is -0 never after.
template <Arithmetic A, class Task>
inline void with_lost_lanes(const Task& task, void (*fast)(const Task&), void (*plain)(const Task&)) {
  fast(task);
#if defined(__AVX512F__)
  if constexpr (!A::hardware) {
    if (!lanes_lost) return;
    lanes_lost = false;
    plain(task);
  }
#else
  (void)plain;
#endif
}

OPML_LEVEL_END
