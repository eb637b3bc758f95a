// Signed 64-bit integers side by side, as wide as the level has them. A Mask is a set of lanes.
#pragma once

#include <cstdint>

#include "isa_namespace.hpp"
#if defined(__AVX2__) && defined(__FMA__)
#include <immintrin.h>
#define OPML_LONGS

OPML_LEVEL_BEGIN

#if defined(__AVX512F__)
struct Longs {
  __m512i v;
  using Mask = __mmask8;
  using Words = __m512i;  // twice as many of 32 bits
  static constexpr int lanes = 8;

  static Longs all(int64_t x) { return {_mm512_set1_epi64(x)}; }
  static Longs of_u16(const uint8_t* p) { return {_mm512_cvtepu16_epi64(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)))}; }
  static Longs of_u32(const uint8_t* p) { return {_mm512_cvtepu32_epi64(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)))}; }
  static Longs of_i32(const int32_t* p) { return {_mm512_cvtepi32_epi64(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)))}; }
  void store_low(uint32_t* z) const { _mm256_storeu_si256(reinterpret_cast<__m256i*>(z), _mm512_cvtepi64_epi32(v)); }
  // The lower or upper half of a vector of words, and both put together again.
  template <int half>
  static Longs unsigned_half(Words x) { return {_mm512_cvtepu32_epi64(_mm512_extracti64x4_epi64(x, half))}; }
  template <int half>
  static Longs signed_half(Words x) { return {_mm512_cvtepi32_epi64(_mm512_extracti64x4_epi64(x, half))}; }
  static Words join(Longs a, Longs b) {
    return _mm512_inserti64x4(_mm512_castsi256_si512(_mm512_cvtepi64_epi32(a.v)), _mm512_cvtepi64_epi32(b.v), 1);
  }

  friend Longs operator+(Longs a, Longs b) { return {_mm512_add_epi64(a.v, b.v)}; }
  friend Longs operator-(Longs a, Longs b) { return {_mm512_sub_epi64(a.v, b.v)}; }
  friend Longs operator&(Longs a, Longs b) { return {_mm512_and_si512(a.v, b.v)}; }
  friend Longs operator|(Longs a, Longs b) { return {_mm512_or_si512(a.v, b.v)}; }
  template <int n>
  Longs up() const { return {_mm512_slli_epi64(v, n)}; }
  template <int n>
  Longs down() const { return {_mm512_srli_epi64(v, n)}; }
  Longs up(Longs n) const { return {_mm512_sllv_epi64(v, n.v)}; }
  Longs down_signed(Longs n) const { return {_mm512_srav_epi64(v, n.v)}; }
  Longs magnitude() const { return {_mm512_abs_epi64(v)}; }
  Longs leading_zeros() const { return {_mm512_lzcnt_epi64(v)}; }  // of zero it may be any
  static Longs product(Longs a, Longs b) { return {_mm512_mul_epi32(a.v, b.v)}; }  // of the lower 32 bits, signed
  // Of values below 2^16.
  Longs less_one() const { return {_mm512_subs_epu16(v, all(1).v)}; }  // 0 stays
  Longs at_least_one() const { return {_mm512_max_epu16(v, all(1).v)}; }

  Mask negative() const { return _mm512_movepi64_mask(v); }
  Mask zero() const { return _mm512_testn_epi64_mask(v, v); }
  Mask any_of(Longs bits) const { return _mm512_test_epi64_mask(v, bits.v); }  // none of them the highest
  static Mask equal(Longs a, Longs b) { return _mm512_cmpeq_epi64_mask(a.v, b.v); }
  static Mask above(Longs a, Longs b) { return _mm512_cmpgt_epi64_mask(a.v, b.v); }
  static int bits(Mask m) { return m; }

  static Longs where(Mask m, Longs a, Longs b) { return {_mm512_mask_mov_epi64(b.v, m, a.v)}; }
  static Longs where_negative(Longs x, Longs a, Longs b) { return where(x.negative(), a, b); }
  Longs negated(Mask m) const { return {_mm512_mask_sub_epi64(v, m, _mm512_setzero_si512(), v)}; }
  Longs plus_one(Mask m) const { return {_mm512_mask_add_epi64(v, m, v, all(1).v)}; }
  Longs cleared(Mask m) const { return {_mm512_maskz_mov_epi64(static_cast<Mask>(~m), v)}; }
  Longs with(Mask m, int64_t bits) const { return {_mm512_mask_or_epi64(v, m, v, all(bits).v)}; }
  Longs with_unless(Mask m, int64_t bits) const { return with(static_cast<Mask>(~m), bits); }
};
#else
struct Longs {
  __m256i v;
  using Mask = __m256i;  // all bits of its lanes
  using Words = __m256i;
  static constexpr int lanes = 4;

  static Longs all(int64_t x) { return {_mm256_set1_epi64x(x)}; }
  static Longs of_u16(const uint8_t* p) { return {_mm256_cvtepu16_epi64(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)))}; }
  static Longs of_u32(const uint8_t* p) { return {_mm256_cvtepu32_epi64(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)))}; }
  static Longs of_i32(const int32_t* p) { return {_mm256_cvtepi32_epi64(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)))}; }
  void store_low(uint32_t* z) const {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(z), _mm256_castsi256_si128(join(*this, *this)));
  }
  template <int half>
  static Longs unsigned_half(Words x) { return {_mm256_cvtepu32_epi64(_mm256_extracti128_si256(x, half))}; }
  template <int half>
  static Longs signed_half(Words x) { return {_mm256_cvtepi32_epi64(_mm256_extracti128_si256(x, half))}; }
  static Words join(Longs a, Longs b) {
    const __m256 low = _mm256_shuffle_ps(_mm256_castsi256_ps(a.v), _mm256_castsi256_ps(b.v), 0x88);
    return _mm256_permute4x64_epi64(_mm256_castps_si256(low), 0xD8);
  }

  friend Longs operator+(Longs a, Longs b) { return {_mm256_add_epi64(a.v, b.v)}; }
  friend Longs operator-(Longs a, Longs b) { return {_mm256_sub_epi64(a.v, b.v)}; }
  friend Longs operator&(Longs a, Longs b) { return {_mm256_and_si256(a.v, b.v)}; }
  friend Longs operator|(Longs a, Longs b) { return {_mm256_or_si256(a.v, b.v)}; }
  template <int n>
  Longs up() const { return {_mm256_slli_epi64(v, n)}; }
  template <int n>
  Longs down() const { return {_mm256_srli_epi64(v, n)}; }
  Longs up(Longs n) const { return {_mm256_sllv_epi64(v, n.v)}; }
  Longs down_signed(Longs n) const {
    const __m256i sign = negative();
    return {_mm256_xor_si256(_mm256_srlv_epi64(_mm256_xor_si256(v, sign), n.v), sign)};
  }
  Longs magnitude() const { return negated(negative()); }
  // Each byte that is not zero gives 128 + the number of its highest bit in the lane, others give less.
  Longs leading_zeros() const {
    const __m256i of_high = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(0, -124, -123, -123, -122, -122, -122, -122, -121, -121, -121, -121, -121, -121, -121, -121));
    const __m256i of_low = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(0, -128, -127, -127, -126, -126, -126, -126, -125, -125, -125, -125, -125, -125, -125, -125));
    const __m256i nibble = _mm256_set1_epi8(15), byte = _mm256_set1_epi64x(0x3830282018100800);
    const __m256i low = _mm256_shuffle_epi8(of_low, _mm256_and_si256(v, nibble));
    const __m256i high = _mm256_shuffle_epi8(of_high, _mm256_and_si256(_mm256_srli_epi16(v, 4), nibble));
    __m256i most = _mm256_add_epi8(_mm256_max_epu8(low, high), byte);
    most = _mm256_max_epu8(most, _mm256_srli_epi64(most, 32));
    most = _mm256_max_epu8(most, _mm256_srli_epi64(most, 16));
    most = _mm256_max_epu8(most, _mm256_srli_epi64(most, 8));
    return {_mm256_andnot_si256(most, all(63).v)};
  }
  static Longs product(Longs a, Longs b) { return {_mm256_mul_epi32(a.v, b.v)}; }
  Longs less_one() const { return {_mm256_subs_epu16(v, all(1).v)}; }
  Longs at_least_one() const { return {_mm256_max_epu16(v, all(1).v)}; }

  Mask negative() const { return _mm256_cmpgt_epi64(_mm256_setzero_si256(), v); }
  Mask zero() const { return _mm256_cmpeq_epi64(v, _mm256_setzero_si256()); }
  Mask any_of(Longs bits) const { return _mm256_cmpgt_epi64((*this & bits).v, _mm256_setzero_si256()); }
  static Mask equal(Longs a, Longs b) { return _mm256_cmpeq_epi64(a.v, b.v); }
  static Mask above(Longs a, Longs b) { return _mm256_cmpgt_epi64(a.v, b.v); }
  static int bits(Mask m) { return _mm256_movemask_pd(_mm256_castsi256_pd(m)); }

  static Longs where(Mask m, Longs a, Longs b) { return {_mm256_blendv_epi8(b.v, a.v, m)}; }
  static Longs where_negative(Longs x, Longs a, Longs b) {
    return {_mm256_castpd_si256(
        _mm256_blendv_pd(_mm256_castsi256_pd(b.v), _mm256_castsi256_pd(a.v), _mm256_castsi256_pd(x.v)))};
  }
  Longs negated(Mask m) const { return {_mm256_sub_epi64(_mm256_xor_si256(v, m), m)}; }
  Longs plus_one(Mask m) const { return {_mm256_sub_epi64(v, m)}; }
  Longs cleared(Mask m) const { return {_mm256_andnot_si256(m, v)}; }
  Longs with(Mask m, int64_t bits) const { return {_mm256_or_si256(v, _mm256_and_si256(m, all(bits).v))}; }
  Longs with_unless(Mask m, int64_t bits) const { return {_mm256_or_si256(v, _mm256_andnot_si256(m, all(bits).v))}; }
};
#endif

OPML_LEVEL_END
#endif
