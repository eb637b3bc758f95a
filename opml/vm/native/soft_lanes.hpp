// binary32 with integers alone in eight 64-bit lanes of AVX-512: the twin of softfloat.hpp for what vector code meets.
//
// A lane is sig * 2^(exp - 149), sig signed and at most 2^24; normal numbers have their 24 bits, subnormal ones exp 0. Zeros
// have no sign and kZeroExp, which displaces nothing in a sum. Whatever is none of these (infinities, NaNs, results that
// overflow or are subnormal) has kLostExp and stays lost: whoever needs such a lane computes it again by softfloat.hpp.
#pragma once

#include "arithmetic.hpp"

#if defined(__AVX512F__)
#include <immintrin.h>

OPML_LEVEL_BEGIN

struct SoftLanes {
  __m512i sig, exp;

  static constexpr int64_t kZeroExp = -4096, kLostExp = 1 << 20, kMostExp = 252;  // kMostExp: the next may round to infinity

  static __m512i all(int64_t x) { return _mm512_set1_epi64(x); }
  static SoftLanes zero() { return {_mm512_setzero_si512(), all(kZeroExp)}; }

  // Of one word for all lanes.
  static SoftLanes spread(uint32_t bits) {
    const auto e = static_cast<int64_t>(bits >> 23 & 0xFF);
    const auto frac = static_cast<int64_t>(bits & 0x7FFFFF);
    const int64_t magnitude = e == 0 ? frac : frac | 0x800000;
    const int64_t exp = e == 255 ? kLostExp : magnitude == 0 ? kZeroExp : e == 0 ? 0 : e - 1;
    return {all(bits >> 31 ? -magnitude : magnitude), all(exp)};
  }

  // Of register bits in 64-bit lanes.
  static SoftLanes from_bits(__m512i x) {
    const __m512i e = _mm512_and_si512(_mm512_srli_epi64(x, 23), all(0xFF));
    __m512i sig = _mm512_and_si512(x, all(0x7FFFFF));
    sig = _mm512_mask_or_epi64(sig, _mm512_test_epi64_mask(e, e), sig, all(0x800000));
    __m512i exp = _mm512_subs_epu16(e, all(1));
    exp = _mm512_mask_mov_epi64(exp, _mm512_testn_epi64_mask(sig, sig), all(kZeroExp));
    exp = _mm512_mask_mov_epi64(exp, _mm512_cmpeq_epi64_mask(e, all(0xFF)), all(kLostExp));
    const __mmask8 negative = _mm512_test_epi64_mask(x, all(0x80000000));
    return {_mm512_mask_sub_epi64(sig, negative, _mm512_setzero_si512(), sig), exp};
  }

  // Of binary16 in 64-bit lanes: 11 bits with 13 zeros below, so that subnormal ones, which are normal binary32, lack bits
  // above. A product with another significand still has all that sums need.
  static SoftLanes from_half(__m512i x) {
    const __m512i e = _mm512_and_si512(_mm512_srli_epi64(x, 10), all(0x1F));
    __m512i sig = _mm512_and_si512(_mm512_slli_epi64(x, 13), all(0x3FF << 13));
    sig = _mm512_mask_or_epi64(sig, _mm512_test_epi64_mask(e, e), sig, all(0x800000));
    __m512i exp = _mm512_add_epi64(_mm512_max_epu16(e, all(1)), all(111));
    exp = _mm512_mask_mov_epi64(exp, _mm512_testn_epi64_mask(sig, sig), all(kZeroExp));
    exp = _mm512_mask_mov_epi64(exp, _mm512_cmpeq_epi64_mask(e, all(0x1F)), all(kLostExp));
    const __mmask8 negative = _mm512_test_epi64_mask(x, all(0x8000));
    return {_mm512_mask_sub_epi64(sig, negative, _mm512_setzero_si512(), sig), exp};
  }

  // Of integers up to 2^24, exact, not normalised: they are factors.
  static SoftLanes from_integers(__m512i x) {
    return {x, _mm512_mask_mov_epi64(all(149), _mm512_testn_epi64_mask(x, x), all(kZeroExp))};
  }

  // x * 2^(frame - 186), rounded.
  static SoftLanes round(__m512i x, __m512i frame) {
    const __mmask8 negative = _mm512_movepi64_mask(x), some = _mm512_test_epi64_mask(x, x);
    const __m512i magnitude = _mm512_abs_epi64(x), zeros = _mm512_lzcnt_epi64(magnitude);
    const __m512i top = _mm512_sllv_epi64(magnitude, zeros);
    __m512i sig = _mm512_srli_epi64(top, 39);  // 24 bits and the first that is rounded away
    // Half is rounded up where the result would be odd, or where a lower bit is set.
    const __mmask8 up = _mm512_test_epi64_mask(top, all((int64_t{1} << 40) | ((int64_t{1} << 39) - 1)));
    sig = _mm512_srli_epi64(_mm512_mask_add_epi64(sig, up, sig, all(1)), 1);
    sig = _mm512_mask_sub_epi64(sig, negative, _mm512_setzero_si512(), sig);
    const __m512i exp = _mm512_sub_epi64(_mm512_add_epi64(frame, all(3)), zeros);
    const __mmask8 small = _mm512_mask_cmplt_epi64_mask(some, exp, _mm512_setzero_si512());
    const __mmask8 large = _mm512_cmpgt_epi64_mask(exp, all(kMostExp));
    const __m512i found = _mm512_mask_mov_epi64(all(kZeroExp), some, exp);
    return {sig, _mm512_mask_mov_epi64(found, static_cast<__mmask8>(small | large), all(kLostExp))};
  }

  static SoftLanes mul(const SoftLanes& a, const SoftLanes& b) {
    return round(_mm512_mul_epi32(a.sig, b.sig), _mm512_add_epi64(_mm512_add_epi64(a.exp, b.exp), all(-112)));
  }

  // x * 2^(frame - 186) + c, rounded once; |x| at most 2^61. Both meet in the frame of the larger exponent; what the other
  // loses there is jammed. Where it loses bits, its first bit is too low to cancel the larger one's, or the sum is subnormal.
  static SoftLanes sum(__m512i x, __m512i frame, const SoftLanes& c) {
    const __m512i y = _mm512_slli_epi64(c.sig, 37), gap = _mm512_sub_epi64(c.exp, frame);
    const __mmask8 x_larger = _mm512_movepi64_mask(gap);
    const __m512i large = _mm512_mask_blend_epi64(x_larger, y, x), small = _mm512_mask_blend_epi64(x_larger, x, y);
    const __m512i shift = _mm512_abs_epi64(gap), kept = _mm512_srav_epi64(small, shift);
    const __mmask8 lost = _mm512_cmpneq_epi64_mask(_mm512_sllv_epi64(kept, shift), small);
    const __m512i z = _mm512_add_epi64(large, kept);
    return round(_mm512_mask_or_epi64(z, lost, z, all(1)), _mm512_max_epi64(frame, c.exp));
  }

  static SoftLanes fma(const SoftLanes& a, const SoftLanes& b, const SoftLanes& c) {
    return sum(_mm512_slli_epi64(_mm512_mul_epi32(a.sig, b.sig), 13),
               _mm512_add_epi64(_mm512_add_epi64(a.exp, b.exp), all(-125)), c);
  }
  static SoftLanes add(const SoftLanes& a, const SoftLanes& b) { return sum(_mm512_slli_epi64(a.sig, 37), a.exp, b); }

  __mmask8 lost() const { return _mm512_cmpgt_epi64_mask(exp, all(kMostExp + 1)); }
  // Magnitude bits in 64-bit lanes; a significand's highest bit, or its carry, counts up the exponent.
  __m512i magnitude() const {
    const __m512i z = _mm512_add_epi64(_mm512_slli_epi64(exp, 23), _mm512_abs_epi64(sig));
    return _mm512_maskz_mov_epi64(_mm512_test_epi64_mask(sig, sig), z);
  }
  __m512i bits() const {
    const __m512i z = magnitude();
    return _mm512_mask_or_epi64(z, _mm512_movepi64_mask(sig), z, all(0x80000000));
  }
};

// Operations on register bits in sixteen 32-bit lanes. Zeros have their signs; lost lanes are done one by one.
namespace soft_words {

template <class Lanes>
inline __m512i by_halves(const Lanes& lanes, __m512i a, __m512i b, __m512i c, __mmask16& lost) {
  const auto low = [](__m512i x) { return _mm512_cvtepu32_epi64(_mm512_castsi512_si256(x)); };
  const auto high = [](__m512i x) { return _mm512_cvtepu32_epi64(_mm512_extracti64x4_epi64(x, 1)); };
  const SoftLanes x = lanes(low(a), low(b), low(c)), y = lanes(high(a), high(b), high(c));
  lost = static_cast<__mmask16>(x.lost() | y.lost() << 8);
  const __m256i first = _mm512_cvtepi64_epi32(x.bits()), second = _mm512_cvtepi64_epi32(y.bits());
  return _mm512_inserti64x4(_mm512_castsi256_si512(first), second, 1);
}

template <class One>
inline __m512i with_lost(__m512i z, __mmask16 lost, __m512i a, __m512i b, __m512i c, const One& one) {
  if (lost == 0) [[likely]] return z;
  alignas(64) uint32_t words[4][16];
  const __m512i all[] = {a, b, c, z};
  for (int i = 0; i < 4; ++i) _mm512_store_si512(words[i], all[i]);
  for (int i = 0; i < 16; ++i)
    if (lost >> i & 1) words[3][i] = one({words[0][i]}, {words[1][i]}, {words[2][i]}).bits;
  return _mm512_load_si512(words[3]);
}

// z with the sign bits of `signs` where z is zero.
inline __m512i with_zero_signs(__m512i z, __m512i signs) {
  const __m512i sign = _mm512_and_si512(signs, _mm512_set1_epi32(static_cast<int>(soft::kSign)));
  return _mm512_mask_or_epi32(z, _mm512_testn_epi32_mask(z, z), z, sign);
}

inline __m512i add(__m512i a, __m512i b) {
  __mmask16 lost;
  const auto sum = [](__m512i x, __m512i y, __m512i) { return SoftLanes::add(SoftLanes::from_bits(x), SoftLanes::from_bits(y)); };
  const __m512i z = with_zero_signs(by_halves(sum, a, b, b, lost), _mm512_and_si512(a, b));
  return with_lost(z, lost, a, b, b, [](F32 x, F32 y, F32) { return soft::add(x, y); });
}
inline __m512i sub(__m512i a, __m512i b) {
  return add(a, _mm512_xor_si512(b, _mm512_set1_epi32(static_cast<int>(soft::kSign))));
}
inline __m512i mul(__m512i a, __m512i b) {
  __mmask16 lost;
  const auto product = [](__m512i x, __m512i y, __m512i) {
    return SoftLanes::mul(SoftLanes::from_bits(x), SoftLanes::from_bits(y));
  };
  const __m512i z = with_zero_signs(by_halves(product, a, b, b, lost), _mm512_xor_si512(a, b));
  return with_lost(z, lost, a, b, b, [](F32 x, F32 y, F32) { return soft::mul(x, y); });
}
inline __m512i fma(__m512i a, __m512i b, __m512i c) {
  __mmask16 lost;
  const auto sum = [](__m512i x, __m512i y, __m512i w) {
    return SoftLanes::fma(SoftLanes::from_bits(x), SoftLanes::from_bits(y), SoftLanes::from_bits(w));
  };
  const __m512i z = with_zero_signs(by_halves(sum, a, b, c, lost), _mm512_and_si512(_mm512_xor_si512(a, b), c));
  return with_lost(z, lost, a, b, c, [](F32 x, F32 y, F32 w) { return soft::fma(x, y, w); });
}
inline __m512i from_i32(__m512i a) {
  const auto convert = [](__m256i x) { return SoftLanes::round(_mm512_cvtepi32_epi64(x), SoftLanes::all(186)).bits(); };
  const __m256i first = _mm512_cvtepi64_epi32(convert(_mm512_castsi512_si256(a)));
  const __m256i second = _mm512_cvtepi64_epi32(convert(_mm512_extracti64x4_epi64(a, 1)));
  return _mm512_inserti64x4(_mm512_castsi256_si512(first), second, 1);
}

}  // namespace soft_words

OPML_LEVEL_END
#endif
