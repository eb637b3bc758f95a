// The scalar operations on one vector of registers, for processors that have fma: bits in, bits out. A NaN that an
// operation of floats yields may be any, until `canonical` is called.
#pragma once

#include "hardfloat.hpp"
#include "scalar_ops.hpp"
#if defined(__AVX2__)
#include <immintrin.h>
#endif

OPML_LEVEL_BEGIN

#if defined(__AVX512F__)
#define OPML_LANE_VECTORS
struct LaneVector {
  __m512i v;
  static constexpr int width = 16, most = 8;  // most: vectors that are worked on side by side

  static LaneVector load(const uint32_t* p) { return {_mm512_loadu_si512(p)}; }
  void store(uint32_t* p) const { _mm512_storeu_si512(p, v); }
  static LaneVector all(uint32_t x) { return {_mm512_set1_epi32(static_cast<int>(x))}; }
  static LaneVector of(__m512 x) { return {_mm512_castps_si512(x)}; }
  static LaneVector truth(__mmask16 m) { return {_mm512_maskz_set1_epi32(m, 1)}; }
  __m512 f() const { return _mm512_castsi512_ps(v); }
  __mmask16 nan() const { return _mm512_cmp_ps_mask(f(), f(), _CMP_UNORD_Q); }
  LaneVector canonical() const { return {_mm512_mask_set1_epi32(v, nan(), static_cast<int>(soft::kNan))}; }

  using L = LaneVector;
  static L add(L a, L b) { return of(_mm512_add_ps(a.f(), b.f())); }
  static L sub(L a, L b) { return of(_mm512_sub_ps(a.f(), b.f())); }
  static L mul(L a, L b) { return of(_mm512_mul_ps(a.f(), b.f())); }
  static L div(L a, L b) { return of(_mm512_div_ps(a.f(), b.f())); }
  static L sqrt(L a) { return of(_mm512_sqrt_ps(a.f())); }
  static L fma(L a, L b, L c) { return of(_mm512_fmadd_ps(a.f(), b.f(), c.f())); }
  static L neg(L a) { return {_mm512_xor_si512(a.v, all(soft::kSign).v)}; }
  static L abs(L a) { return {_mm512_and_si512(a.v, all(soft::kMagnitude).v)}; }
  // The order of IEEE 754 minimum and maximum is that of these keys (docs/spec.md#34-one-element, max).
  L key() const { return xor_(*this, {_mm512_srli_epi32(_mm512_srai_epi32(v, 31), 1)}); }
  // Range orders zeros as minimum and maximum do (4: the sign is that of the result chosen).
  static L min(L a, L b) {
    const __mmask16 nan = _mm512_cmp_ps_mask(a.f(), b.f(), _CMP_UNORD_Q);
    return {_mm512_mask_set1_epi32(of(_mm512_range_ps(a.f(), b.f(), 4)).v, nan, static_cast<int>(soft::kNan))};
  }
  static L max(L a, L b) {
    const __mmask16 nan = _mm512_cmp_ps_mask(a.f(), b.f(), _CMP_UNORD_Q);
    return {_mm512_mask_set1_epi32(of(_mm512_range_ps(a.f(), b.f(), 5)).v, nan, static_cast<int>(soft::kNan))};
  }
  static L lt(L a, L b) { return truth(_mm512_cmp_ps_mask(a.f(), b.f(), _CMP_LT_OQ)); }
  static L le(L a, L b) { return truth(_mm512_cmp_ps_mask(a.f(), b.f(), _CMP_LE_OQ)); }
  static L eq(L a, L b) { return truth(_mm512_cmp_ps_mask(a.f(), b.f(), _CMP_EQ_OQ)); }
  static L above(L a, L b) { return {_mm512_maskz_set1_epi32(_mm512_cmpgt_epi32_mask(a.v, b.v), 1)}; }  // of integers
  static L i2f(L a) { return of(_mm512_cvtepi32_ps(a.v)); }
  static L f2i(L a) {  // what does not fit comes out as INT32_MIN
    const __mmask16 above = _mm512_cmp_ps_mask(a.f(), _mm512_set1_ps(0x1p31f), _CMP_GE_OQ);
    const __m512i whole = _mm512_maskz_cvtps_epi32(static_cast<__mmask16>(~a.nan()), a.f());
    return {_mm512_mask_set1_epi32(whole, above, INT32_MAX)};
  }
  static L iadd(L a, L b) { return {_mm512_add_epi32(a.v, b.v)}; }
  static L isub(L a, L b) { return {_mm512_sub_epi32(a.v, b.v)}; }
  static L imul(L a, L b) { return {_mm512_mullo_epi32(a.v, b.v)}; }
  static L imulhi(L a, L b) {
    const __m512i even = _mm512_srli_epi64(_mm512_mul_epu32(a.v, b.v), 32);
    const __m512i odd = _mm512_mul_epu32(_mm512_srli_epi64(a.v, 32), _mm512_srli_epi64(b.v, 32));
    return {_mm512_mask_mov_epi32(even, 0xAAAA, odd)};
  }
  static L and_(L a, L b) { return {_mm512_and_si512(a.v, b.v)}; }
  static L or_(L a, L b) { return {_mm512_or_si512(a.v, b.v)}; }
  static L xor_(L a, L b) { return {_mm512_xor_si512(a.v, b.v)}; }
  static L shl(L a, L b) { return {_mm512_sllv_epi32(a.v, and_(b, all(31)).v)}; }
  static L shr(L a, L b) { return {_mm512_srlv_epi32(a.v, and_(b, all(31)).v)}; }
  static L sar(L a, L b) { return {_mm512_srav_epi32(a.v, and_(b, all(31)).v)}; }
  static L sel(L a, L b, L c) { return {_mm512_mask_mov_epi32(c.v, _mm512_test_epi32_mask(a.v, a.v), b.v)}; }
};
#elif defined(__AVX2__) && defined(__FMA__)
#define OPML_LANE_VECTORS
struct LaneVector {
  __m256i v;
  static constexpr int width = 8, most = 8;

  static LaneVector load(const uint32_t* p) { return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))}; }
  void store(uint32_t* p) const { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), v); }
  static LaneVector all(uint32_t x) { return {_mm256_set1_epi32(static_cast<int>(x))}; }
  static LaneVector of(__m256 x) { return {_mm256_castps_si256(x)}; }
  static LaneVector truth(__m256 m) { return {_mm256_srli_epi32(of(m).v, 31)}; }
  static LaneVector choose(__m256i mask, LaneVector a, LaneVector b) { return {_mm256_blendv_epi8(b.v, a.v, mask)}; }
  __m256 f() const { return _mm256_castsi256_ps(v); }
  LaneVector nan() const { return of(_mm256_cmp_ps(f(), f(), _CMP_UNORD_Q)); }
  LaneVector canonical() const { return choose(nan().v, all(soft::kNan), *this); }

  using L = LaneVector;
  static L add(L a, L b) { return of(_mm256_add_ps(a.f(), b.f())); }
  static L sub(L a, L b) { return of(_mm256_sub_ps(a.f(), b.f())); }
  static L mul(L a, L b) { return of(_mm256_mul_ps(a.f(), b.f())); }
  static L div(L a, L b) { return of(_mm256_div_ps(a.f(), b.f())); }
  static L sqrt(L a) { return of(_mm256_sqrt_ps(a.f())); }
  static L fma(L a, L b, L c) { return of(_mm256_fmadd_ps(a.f(), b.f(), c.f())); }
  static L neg(L a) { return xor_(a, all(soft::kSign)); }
  static L abs(L a) { return and_(a, all(soft::kMagnitude)); }
  L key() const { return xor_(*this, {_mm256_srli_epi32(_mm256_srai_epi32(v, 31), 1)}); }
  static L unless_nan(L a, L b, L x) { return choose(of(_mm256_cmp_ps(a.f(), b.f(), _CMP_UNORD_Q)).v, all(soft::kNan), x); }
  static L min(L a, L b) { return unless_nan(a, b, choose(_mm256_cmpgt_epi32(a.key().v, b.key().v), b, a)); }
  static L max(L a, L b) { return unless_nan(a, b, choose(_mm256_cmpgt_epi32(a.key().v, b.key().v), a, b)); }
  static L lt(L a, L b) { return truth(_mm256_cmp_ps(a.f(), b.f(), _CMP_LT_OQ)); }
  static L le(L a, L b) { return truth(_mm256_cmp_ps(a.f(), b.f(), _CMP_LE_OQ)); }
  static L eq(L a, L b) { return truth(_mm256_cmp_ps(a.f(), b.f(), _CMP_EQ_OQ)); }
  static L above(L a, L b) { return {_mm256_cmpgt_epi32(a.v, b.v)}; }
  static L i2f(L a) { return of(_mm256_cvtepi32_ps(a.v)); }
  static L f2i(L a) {
    const L above = of(_mm256_cmp_ps(a.f(), _mm256_set1_ps(0x1p31f), _CMP_GE_OQ));
    const L whole = choose(above.v, all(INT32_MAX), {_mm256_cvtps_epi32(a.f())});
    return {_mm256_andnot_si256(a.nan().v, whole.v)};
  }
  static L iadd(L a, L b) { return {_mm256_add_epi32(a.v, b.v)}; }
  static L isub(L a, L b) { return {_mm256_sub_epi32(a.v, b.v)}; }
  static L imul(L a, L b) { return {_mm256_mullo_epi32(a.v, b.v)}; }
  static L imulhi(L a, L b) {
    const __m256i even = _mm256_srli_epi64(_mm256_mul_epu32(a.v, b.v), 32);
    const __m256i odd = _mm256_mul_epu32(_mm256_srli_epi64(a.v, 32), _mm256_srli_epi64(b.v, 32));
    return {_mm256_blend_epi32(even, odd, 0xAA)};
  }
  static L and_(L a, L b) { return {_mm256_and_si256(a.v, b.v)}; }
  static L or_(L a, L b) { return {_mm256_or_si256(a.v, b.v)}; }
  static L xor_(L a, L b) { return {_mm256_xor_si256(a.v, b.v)}; }
  static L shl(L a, L b) { return {_mm256_sllv_epi32(a.v, and_(b, all(31)).v)}; }
  static L shr(L a, L b) { return {_mm256_srlv_epi32(a.v, and_(b, all(31)).v)}; }
  static L sar(L a, L b) { return {_mm256_srav_epi32(a.v, and_(b, all(31)).v)}; }
  static L sel(L a, L b, L c) { return choose(_mm256_cmpeq_epi32(a.v, _mm256_setzero_si256()), c, b); }
};
#endif

OPML_LEVEL_END
