// IEEE 754 binary32 with the processor's own operations: the same bits as softfloat.hpp, provided that the build allows
// no contraction and the self-test (selftest.hpp) passed.
#pragma once

#include <cstring>

#include "arithmetic.hpp"

OPML_LEVEL_BEGIN

struct HardFloat {
  using Value = float;
  static constexpr bool hardware = true;

  static Value load(uint32_t bits) { return __builtin_bit_cast(float, bits); }
  static uint32_t bits(Value x) { return __builtin_bit_cast(uint32_t, x); }
  static uint32_t store(Value x) { return x != x ? soft::kNan : bits(x); }

  static Value add(Value a, Value b) { return a + b; }
  static Value sub(Value a, Value b) { return a - b; }
  static Value mul(Value a, Value b) { return a * b; }
  static Value div(Value a, Value b) { return a / b; }
  static Value sqrt(Value a) { return __builtin_sqrtf(a); }

#if defined(__FMA__) || defined(__aarch64__)
  static Value fma(Value a, Value b, Value c) { return __builtin_fmaf(a, b, c); }
#else
  // The product is exact in binary64. The sum is rounded to odd there, which makes the second rounding, to binary32,
  // the only one that counts (Boldo and Melquiond, Emulation of FMA and correctly rounded sums, 2008).
  static Value fma(Value a, Value b, Value c) {
    const double product = static_cast<double>(a) * static_cast<double>(b), addend = static_cast<double>(c);
    const double sum = product + addend, back = sum - product;
    const double error = (product - (sum - back)) + (addend - back);
    const int64_t sum_bits = __builtin_bit_cast(int64_t, sum);
    const bool inexact = (error > 0) | (error < 0), finite = (sum_bits & kExponent64) != kExponent64;
    const int64_t toward = (error > 0) == (sum > 0) ? 1 : -1;
    const int64_t odd = sum_bits + (inexact & finite & ((sum_bits & 1) == 0) ? toward : 0);
    return static_cast<float>(__builtin_bit_cast(double, odd));
  }
  static constexpr int64_t kExponent64 = 0x7FF0000000000000;
#endif

  static Value min(Value a, Value b) { return load(soft::min({bits(a)}, {bits(b)}).bits); }
  static Value max(Value a, Value b) { return load(soft::max({bits(a)}, {bits(b)}).bits); }
  static bool lt(Value a, Value b) { return a < b; }
  static bool le(Value a, Value b) { return a <= b; }
  static bool eq(Value a, Value b) { return a == b; }
  static Value from_i32(int32_t x) { return static_cast<float>(x); }

  // Below 2^23, adding and taking away 2^23 rounds to an integer, ties to even; above, every float is one.
  static int32_t to_i32(Value a) {
    const float magnitude = load(bits(a) & soft::kMagnitude);
    const float rounded = magnitude < 0x1p23f ? (magnitude + 0x1p23f) - 0x1p23f : magnitude;
    const bool fits = rounded < 0x1p31f, negative = (bits(a) & soft::kSign) != 0;
    const int32_t whole = static_cast<int32_t>(fits ? rounded : 0.0f);
    const int32_t limit = negative ? INT32_MIN : INT32_MAX;
    const int32_t finite = fits ? (negative ? -whole : whole) : limit;
    return a != a ? 0 : finite;
  }
};
static_assert(Arithmetic<HardFloat>);

OPML_LEVEL_END
