// The processor's floats side by side, as wide as the level has them. A NaN may be any until `store` makes it canonical.
#pragma once

#include <cstring>

#include "hardfloat.hpp"
#if defined(__SSE2__)
#include <immintrin.h>
#define OPML_FLOAT_VECTORS

OPML_LEVEL_BEGIN

#if defined(__AVX512F__)
struct FloatVector {
  __m512 v;
  static constexpr int width = 16;
  using Words = __m512i;

  static FloatVector of(Words x) { return {_mm512_castsi512_ps(x)}; }
  static FloatVector zero() { return {_mm512_setzero_ps()}; }
  static FloatVector spread(uint32_t x) { return of(_mm512_set1_epi32(static_cast<int>(x))); }
  static FloatVector load(const void* p) { return {_mm512_loadu_ps(p)}; }
  static FloatVector load_first(const uint32_t* p, int n) {  // zero in the other lanes
    return of(_mm512_maskz_loadu_epi32(static_cast<__mmask16>(n >= 16 ? 0xFFFF : n <= 0 ? 0 : (1 << n) - 1), p));
  }
  static FloatVector from_f16(const uint8_t* p) {
    return {_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)))};
  }
  static FloatVector from_bf16(const uint8_t* p) {
    const __m512i wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
    return of(_mm512_slli_epi32(wide, 16));
  }
  static FloatVector from_i32(Words x) { return {_mm512_cvtepi32_ps(x)}; }
  static FloatVector mul(FloatVector a, FloatVector b) { return {_mm512_mul_ps(a.v, b.v)}; }
  static FloatVector add(FloatVector a, FloatVector b) { return {_mm512_add_ps(a.v, b.v)}; }
  static FloatVector fma(FloatVector a, FloatVector b, FloatVector c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
  // fma in the lanes whose length is above k, else c.
  static FloatVector fma_below(FloatVector a, FloatVector b, FloatVector c, const int32_t* lengths, int k) {
    return {_mm512_mask3_fmadd_ps(a.v, b.v, c.v, _mm512_cmpgt_epi32_mask(_mm512_load_si512(lengths), _mm512_set1_epi32(k)))};
  }
  void store(uint32_t* z) const {
    const __mmask16 nan = _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q);
    _mm512_storeu_si512(z, _mm512_mask_set1_epi32(_mm512_castps_si512(v), nan, static_cast<int>(soft::kNan)));
  }
  void store_raw(float* z) const { _mm512_storeu_ps(z, v); }
};

#elif defined(__AVX2__) && defined(__FMA__)
struct FloatVector {
  __m256 v;
  static constexpr int width = 8;
  using Words = __m256i;

  static FloatVector of(Words x) { return {_mm256_castsi256_ps(x)}; }
  static FloatVector zero() { return {_mm256_setzero_ps()}; }
  static FloatVector spread(uint32_t x) { return of(_mm256_set1_epi32(static_cast<int>(x))); }
  static FloatVector load(const void* p) { return {_mm256_loadu_ps(static_cast<const float*>(p))}; }
  static FloatVector load_first(const uint32_t* p, int n) {
    const __m256i first = _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
    return of(_mm256_maskload_epi32(reinterpret_cast<const int*>(p), first));
  }
  static FloatVector from_f16(const uint8_t* p) {
    return {_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)))};
  }
  static FloatVector from_bf16(const uint8_t* p) {
    return of(_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))), 16));
  }
  static FloatVector from_i32(Words x) { return {_mm256_cvtepi32_ps(x)}; }
  static FloatVector mul(FloatVector a, FloatVector b) { return {_mm256_mul_ps(a.v, b.v)}; }
  static FloatVector add(FloatVector a, FloatVector b) { return {_mm256_add_ps(a.v, b.v)}; }
  static FloatVector fma(FloatVector a, FloatVector b, FloatVector c) { return {_mm256_fmadd_ps(a.v, b.v, c.v)}; }
  static FloatVector fma_below(FloatVector a, FloatVector b, FloatVector c, const int32_t* lengths, int k) {
    const __m256i below = _mm256_cmpgt_epi32(_mm256_load_si256(reinterpret_cast<const __m256i*>(lengths)), _mm256_set1_epi32(k));
    return {_mm256_blendv_ps(c.v, fma(a, b, c).v, _mm256_castsi256_ps(below))};
  }
  void store(uint32_t* z) const {
    const __m256 nan = _mm256_cmp_ps(v, v, _CMP_UNORD_Q);
    _mm256_storeu_ps(reinterpret_cast<float*>(z), _mm256_blendv_ps(v, spread(soft::kNan).v, nan));
  }
  void store_raw(float* z) const { _mm256_storeu_ps(z, v); }
};

#else
// Without fused multiply-add: the product is exact in binary64, and the sum rounded there is rounded again. That is wrong
// only where the first rounding leads to a midpoint of binary32, which is seen in the bits below (as is a midpoint met
// exactly), or where the result is subnormal, with midpoints elsewhere: such vectors are done by HardFloat::fma.
struct FloatVector {
  __m128 v;
  static constexpr int width = 4;
  using Words = __m128i;

  static FloatVector of(Words x) { return {_mm_castsi128_ps(x)}; }
  static Words all(uint32_t x) { return _mm_set1_epi32(static_cast<int>(x)); }
  static FloatVector zero() { return {_mm_setzero_ps()}; }
  static FloatVector spread(uint32_t x) { return of(all(x)); }
  static FloatVector load(const void* p) { return {_mm_loadu_ps(static_cast<const float*>(p))}; }
  static FloatVector load_first(const uint32_t* p, int n) {
    uint32_t x[4] = {};
    for (int i = 0; i < 4 && i < n; ++i) x[i] = p[i];
    return load(x);
  }
  static FloatVector from_f16(const uint8_t* p) {
    const __m128i h = _mm_unpacklo_epi16(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)), _mm_setzero_si128());
    const __m128i magnitude = _mm_and_si128(h, all(0x7FFF));
    const __m128 scaled = _mm_mul_ps(_mm_castsi128_ps(_mm_slli_epi32(magnitude, 13)), _mm_set1_ps(0x1p112f));
    const __m128i infinite = _mm_and_si128(_mm_cmpgt_epi32(magnitude, all(0x7BFF)), all(soft::kInf));
    const __m128i sign = _mm_slli_epi32(_mm_and_si128(h, all(0x8000)), 16);
    return of(_mm_or_si128(_mm_or_si128(_mm_castps_si128(scaled), infinite), sign));
  }
  static FloatVector from_bf16(const uint8_t* p) {
    return of(_mm_unpacklo_epi16(_mm_setzero_si128(), _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))));
  }
  static FloatVector from_i32(Words x) { return {_mm_cvtepi32_ps(x)}; }
  static FloatVector mul(FloatVector a, FloatVector b) { return {_mm_mul_ps(a.v, b.v)}; }
  static FloatVector add(FloatVector a, FloatVector b) { return {_mm_add_ps(a.v, b.v)}; }

  [[gnu::noinline, gnu::cold]] static FloatVector fma_each(FloatVector a, FloatVector b, FloatVector c) {
    float x[3][4];
    a.store_raw(x[0]), b.store_raw(x[1]), c.store_raw(x[2]);
    for (int i = 0; i < 4; ++i) x[2][i] = HardFloat::fma(x[0][i], x[1][i], x[2][i]);
    return load(x[2]);
  }
  static FloatVector fma(FloatVector a, FloatVector b, FloatVector c) {
    const auto low = [](__m128 x) { return _mm_cvtps_pd(x); };
    const auto high = [](__m128 x) { return _mm_cvtps_pd(_mm_movehl_ps(x, x)); };
    const __m128d first = _mm_add_pd(_mm_mul_pd(low(a.v), low(b.v)), low(c.v));
    const __m128d second = _mm_add_pd(_mm_mul_pd(high(a.v), high(b.v)), high(c.v));
    const __m128 x = _mm_castpd_ps(first), y = _mm_castpd_ps(second);
    const __m128i below = _mm_castps_si128(_mm_shuffle_ps(x, y, 0x88)), above = _mm_castps_si128(_mm_shuffle_ps(x, y, 0xDD));
    const __m128i midpoint = _mm_cmpeq_epi32(_mm_and_si128(below, all(0x1FFFFFFF)), all(0x10000000));
    // No sum but zero itself is so small that its upper word is zero; 0x38100000 is that of 2^-126.
    const __m128i magnitude = _mm_and_si128(above, all(0x7FFFFFFF));
    const __m128i small = _mm_and_si128(_mm_cmplt_epi32(magnitude, all(0x38100000)), _mm_cmpgt_epi32(magnitude, _mm_setzero_si128()));
    if (_mm_movemask_epi8(_mm_or_si128(midpoint, small)) != 0) [[unlikely]] return fma_each(a, b, c);
    return {_mm_movelh_ps(_mm_cvtpd_ps(first), _mm_cvtpd_ps(second))};
  }
  static __m128 choose(__m128 mask, __m128 a, __m128 b) { return _mm_or_ps(_mm_and_ps(mask, a), _mm_andnot_ps(mask, b)); }
  static FloatVector fma_below(FloatVector a, FloatVector b, FloatVector c, const int32_t* lengths, int k) {
    const __m128i below = _mm_cmpgt_epi32(_mm_load_si128(reinterpret_cast<const __m128i*>(lengths)), _mm_set1_epi32(k));
    return {choose(_mm_castsi128_ps(below), fma(a, b, c).v, c.v)};
  }
  void store(uint32_t* z) const {
    _mm_storeu_ps(reinterpret_cast<float*>(z), choose(_mm_cmpunord_ps(v, v), spread(soft::kNan).v, v));
  }
  void store_raw(float* z) const { _mm_storeu_ps(z, v); }
};
#endif

OPML_LEVEL_END
#endif
