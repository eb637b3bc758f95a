// IEEE 754 binary32 with integers alone: the twin of opml/ops/softfloat.py.
//
// Stages and names follow Berkeley SoftFloat 3: unpack, special cases, exact or jammed significand, one rounding exit.
// The bodies are written without branches where that is short, and everything beside a significand has its 64 bits, so that
// compilers vectorise them.
#pragma once

#include <cstdint>

#include "isa_namespace.hpp"

OPML_LEVEL_BEGIN

struct F32 {
  uint32_t bits;
  friend constexpr bool operator==(F32 a, F32 b) { return a.bits == b.bits; }
};

namespace soft {

inline constexpr uint32_t kNan = 0x7FC00000, kInf = 0x7F800000, kSign = 0x80000000, kMagnitude = 0x7FFFFFFF;

constexpr uint32_t sign_of(F32 a) { return a.bits & kSign; }
constexpr bool is_nan(F32 a) { return (a.bits & kMagnitude) > kInf; }
constexpr bool is_inf(F32 a) { return (a.bits & kMagnitude) == kInf; }
constexpr bool is_zero(F32 a) { return (a.bits & kMagnitude) == 0; }
constexpr F32 canonical(F32 a) { return is_nan(a) ? F32{kNan} : a; }

// a if c, else b: by masks, so that no compiler makes a branch of it.
constexpr uint64_t choose(bool c, uint64_t a, uint64_t b) { return b ^ ((a ^ b) & (0 - static_cast<uint64_t>(c))); }
constexpr int64_t larger(int64_t a, int64_t b) {
  return static_cast<int64_t>(choose(a > b, static_cast<uint64_t>(a), static_cast<uint64_t>(b)));
}
constexpr int64_t smaller(int64_t a, int64_t b) {
  return static_cast<int64_t>(choose(a < b, static_cast<uint64_t>(a), static_cast<uint64_t>(b)));
}

// A finite value is sig * 2^(exp - 150); subnormals have exp 1 and no implicit bit.
constexpr int64_t exp_of(F32 a) {
  return larger((a.bits >> 23) & 0xFF, 1);
}
constexpr uint64_t sig_of(F32 a) {
  const uint64_t normal = ((a.bits >> 23) & 0xFF) != 0;
  return (a.bits & 0x7FFFFF) | normal << 23;
}

// x >> n for any n >= 0; the lowest bit collects everything that was shifted out.
constexpr uint64_t shift_right_jam(uint64_t x, int64_t n) {
  const int64_t m = smaller(n, 63);
  const uint64_t kept = x >> m;
  return kept | static_cast<uint64_t>(kept << m != x);
}

constexpr int64_t leading_zeros(uint64_t x) { return x == 0 ? 64 : __builtin_clzll(x); }

// Rounds sig * 2^exp to a format with `frac_bits` of fraction and `bias`: its magnitude bits, infinity when too large.
// IEEE 754-2019 4.3.1: ties to even; the only rounding of every operation.
template <int frac_bits, int bias>
constexpr uint32_t round_magnitude(int64_t exp, uint64_t sig) {
  constexpr uint32_t infinity = static_cast<uint32_t>(2 * bias + 1) << frac_bits;
  const int64_t shift = leading_zeros(sig | 1);
  const uint64_t norm = sig << shift;
  const uint64_t top = (norm >> 32) | static_cast<uint64_t>((norm & 0xFFFFFFFF) != 0);
  const int64_t biased = exp + 63 - shift + bias;
  const int64_t n = smaller(31 - frac_bits + larger(1 - biased, 0), 40);
  const uint64_t guarded = top >> (n - 1), kept = guarded >> 1;
  const uint64_t sticky = static_cast<uint64_t>(guarded << (n - 1) != top), up = guarded & (sticky | kept) & 1;
  const uint64_t z = kept + up + (static_cast<uint64_t>(larger(biased - 1, 0)) << frac_bits);
  return static_cast<uint32_t>(choose(sig == 0, 0, choose(z > infinity, infinity, z)));
}

constexpr F32 round_pack(uint32_t sign, int64_t exp, uint64_t sig) { return {sign | round_magnitude<23, 127>(exp, sig)}; }

// IEEE 754-2019 6.3: an exact zero sum of unequal signs is +0.
constexpr F32 round_pack_sum(uint32_t sign_a, uint64_t sig_a, uint32_t sign_b, uint64_t sig_b, int64_t exp) {
  const bool same = sign_a == sign_b, a_larger = sig_a > sig_b;
  const uint64_t gap = choose(a_larger, sig_a - sig_b, sig_b - sig_a);
  const uint64_t sig = choose(same, sig_a + sig_b, gap);
  const uint64_t unlike = choose(sig_a == sig_b, 0, choose(a_larger, sign_a, sign_b));
  const auto sign = static_cast<uint32_t>(choose(same, sign_a, unlike));
  return round_pack(sign, exp, sig);
}

constexpr F32 neg(F32 a) { return canonical({a.bits ^ kSign}); }
constexpr F32 abs(F32 a) { return canonical({a.bits & kMagnitude}); }

constexpr F32 add(F32 a, F32 b) {
  const int64_t exp_a = exp_of(a), exp_b = exp_of(b), exp = larger(exp_a, exp_b);
  const uint64_t sig_a = shift_right_jam(sig_of(a) << 38, exp - exp_a);
  const uint64_t sig_b = shift_right_jam(sig_of(b) << 38, exp - exp_b);
  const F32 finite = round_pack_sum(sign_of(a), sig_a, sign_of(b), sig_b, exp - 150 - 38);
  const bool invalid = is_nan(a) | is_nan(b) | (is_inf(a) & is_inf(b) & (a.bits != b.bits));
  return {static_cast<uint32_t>(choose(invalid, kNan, choose(is_inf(a), a.bits, choose(is_inf(b), b.bits, finite.bits))))};
}

constexpr F32 sub(F32 a, F32 b) { return add(a, {b.bits ^ kSign}); }

constexpr F32 mul(F32 a, F32 b) {
  const uint32_t sign = sign_of(a) ^ sign_of(b);
  const F32 finite = round_pack(sign, exp_of(a) + exp_of(b) - 300, sig_of(a) * sig_of(b));
  const bool invalid = is_nan(a) | is_nan(b) | (is_inf(a) & is_zero(b)) | (is_zero(a) & is_inf(b));
  return {static_cast<uint32_t>(choose(invalid, kNan, choose(is_inf(a) | is_inf(b), sign | kInf, finite.bits)))};
}

// The product is exact. Product and addend meet in one frame of 62 bits below the larger exponent; what is shifted out
// is jammed, and can only be shifted out where the other term has more than 24 bits above it.
constexpr F32 fma(F32 a, F32 b, F32 c) {
  const uint32_t sign = sign_of(a) ^ sign_of(b);
  const uint64_t zero = is_zero(a) | is_zero(b);  // a zero displaces no bit of c
  const int64_t exp_p = exp_of(a) + exp_of(b) - 150 - static_cast<int64_t>(zero << 10);
  const int64_t gap = exp_of(c) - exp_p - 24;
  const uint64_t sig_p = shift_right_jam((sig_of(a) * sig_of(b)) << 14, larger(gap, 0));
  const uint64_t sig_c = shift_right_jam(sig_of(c) << 38, larger(-gap, 0));
  const F32 finite = round_pack_sum(sign, sig_p, sign_of(c), sig_c, exp_p - 164 + larger(gap, 0));
  const bool product_inf = is_inf(a) | is_inf(b);
  const bool invalid = is_nan(a) | is_nan(b) | is_nan(c) | (is_inf(a) & is_zero(b)) | (is_zero(a) & is_inf(b)) |
                       (product_inf & is_inf(c) & (sign != sign_of(c)));
  const uint64_t infinite = choose(product_inf, sign | kInf, choose(is_inf(c), c.bits, finite.bits));
  return {static_cast<uint32_t>(choose(invalid, kNan, infinite))};
}

constexpr F32 div(F32 a, F32 b) {
  const uint32_t sign = sign_of(a) ^ sign_of(b);
  if (is_nan(a) | is_nan(b) | (is_inf(a) & is_inf(b)) | (is_zero(a) & is_zero(b))) return {kNan};
  if (is_inf(a) | is_zero(b)) return {sign | kInf};
  if (is_zero(a) | is_inf(b)) return {sign};
  const int64_t shift = leading_zeros(sig_of(a));
  const uint64_t sig_a = sig_of(a) << shift, sig_b = sig_of(b);
  const uint64_t quotient = (sig_a / sig_b) | static_cast<uint64_t>(sig_a % sig_b != 0);
  return round_pack(sign, exp_of(a) - exp_of(b) - shift, quotient);
}

constexpr F32 sqrt(F32 a) {
  if (is_nan(a)) return {kNan};
  if (is_zero(a)) return a;
  if (sign_of(a) != 0) return {kNan};
  if (is_inf(a)) return a;
  const int64_t norm = leading_zeros(sig_of(a)) - 1;
  const int64_t shift = norm - ((exp_of(a) - 150 - norm) & 1);
  uint64_t rest = sig_of(a) << shift, root = 0;
  for (uint64_t bit = uint64_t{1} << 62; bit != 0; bit >>= 2) {
    if (rest >= root + bit) {
      rest -= root + bit;
      root = (root >> 1) + bit;
    } else {
      root >>= 1;
    }
  }
  return round_pack(0, (exp_of(a) - 150 - shift) / 2, root | static_cast<uint64_t>(rest != 0));
}

// The order of IEEE 754-2019 `minimum` and `maximum` for canonical values: -0 < +0, the NaN above everything.
constexpr int32_t order_key(F32 a) {
  const auto flip = static_cast<uint32_t>(static_cast<int32_t>(a.bits) >> 31) & kMagnitude;
  return static_cast<int32_t>(a.bits ^ flip);
}
constexpr F32 min(F32 a, F32 b) {
  const uint32_t chosen = order_key(b) < order_key(a) ? b.bits : a.bits;
  return {is_nan(a) | is_nan(b) ? kNan : chosen};
}
constexpr F32 max(F32 a, F32 b) {
  const uint32_t chosen = order_key(b) > order_key(a) ? b.bits : a.bits;
  return {is_nan(a) | is_nan(b) ? kNan : chosen};
}

constexpr bool lt(F32 a, F32 b) {
  const bool ordered = !(is_nan(a) | is_nan(b)), both_zero = is_zero(a) & is_zero(b);
  return ordered & !both_zero & (order_key(a) < order_key(b));
}
constexpr bool eq(F32 a, F32 b) {
  const bool ordered = !(is_nan(a) | is_nan(b)), both_zero = is_zero(a) & is_zero(b);
  return ordered & ((a.bits == b.bits) | both_zero);
}
constexpr bool le(F32 a, F32 b) { return lt(a, b) | eq(a, b); }

constexpr F32 from_i32(int32_t x) {
  const uint32_t sign = x < 0 ? kSign : 0;
  const uint32_t magnitude = x < 0 ? 0u - static_cast<uint32_t>(x) : static_cast<uint32_t>(x);
  return round_pack(sign, 0, magnitude);
}

// Nearest even, saturating, NaN gives 0.
constexpr int32_t to_i32(F32 a) {
  const int64_t scale = exp_of(a) - 150;
  const int64_t left = scale > 8 ? 8 : scale;
  const uint64_t fixed = shift_right_jam(sig_of(a) << 40, 8 - left);  // 32 bits of fraction
  const uint64_t whole = fixed >> 32, rest = fixed & 0xFFFFFFFF;
  const uint64_t round = static_cast<uint64_t>(rest > 0x80000000) | (static_cast<uint64_t>(rest == 0x80000000) & whole);
  const bool negative = sign_of(a) != 0;
  const uint64_t limit = negative ? 0x80000000u : 0x7FFFFFFFu;
  const uint64_t sum = whole + (round & 1), magnitude = (sum > limit) | is_inf(a) ? limit : sum;
  const uint32_t bits = static_cast<uint32_t>(negative ? 0 - magnitude : magnitude);
  return is_nan(a) ? 0 : static_cast<int32_t>(bits);
}

constexpr uint16_t to_f16(F32 a) {
  const uint32_t sign = sign_of(a) >> 16;
  if (is_nan(a)) return 0x7E00;
  if (is_inf(a)) return static_cast<uint16_t>(sign | 0x7C00);
  return static_cast<uint16_t>(sign | round_magnitude<10, 15>(exp_of(a) - 150, sig_of(a)));
}

constexpr F32 from_f16(uint16_t h) {
  const uint32_t sign = static_cast<uint32_t>(h & 0x8000) << 16, exp = (h >> 10) & 0x1F, frac = h & 0x3FF;
  if (exp == 31) return {frac != 0 ? kNan : sign | kInf};
  return round_pack(sign, exp == 0 ? -24 : static_cast<int64_t>(exp) - 25, exp == 0 ? frac : frac | 0x400);
}

constexpr uint16_t to_bf16(F32 a) {
  const uint32_t nearest = (a.bits + 0x7FFF + ((a.bits >> 16) & 1)) >> 16;
  return static_cast<uint16_t>(is_nan(a) ? 0x7FC0 : nearest);
}

constexpr F32 from_bf16(uint16_t h) { return canonical({static_cast<uint32_t>(h) << 16}); }

}  // namespace soft

namespace softfloat_proofs {
inline constexpr F32 one{0x3F800000}, two{0x40000000}, third{0x3EAAAAAB}, tiny{1}, zero{0}, minus_zero{0x80000000};
static_assert(soft::mul(one, one) == one && soft::add(one, one) == two && soft::div(one, F32{0x40400000}) == third);
static_assert(soft::add(zero, minus_zero) == zero && soft::sub(one, one) == zero && soft::mul(minus_zero, one) == minus_zero);
static_assert(soft::sqrt(two) == F32{0x3FB504F3} && soft::sqrt(minus_zero) == minus_zero);
static_assert(soft::mul(tiny, F32{0x3F000000}) == zero && soft::mul(F32{3}, F32{0x3F000000}) == F32{2});  // ties to even
static_assert(soft::fma(F32{0x3F800001}, F32{0x3F800001}, F32{0xBF800002}) == F32{0x28800000});           // one rounding
static_assert(soft::fma(zero, F32{0x7F000000}, tiny) == tiny);
static_assert(soft::max(minus_zero, zero) == zero && soft::min(zero, minus_zero) == minus_zero);
static_assert(soft::to_i32(F32{0x40200000}) == 2 && soft::to_i32(F32{0x7F800000}) == 0x7FFFFFFF);  // 2.5; infinity
static_assert(soft::to_f16(F32{0x477FF000}) == 0x7C00 && soft::from_f16(1) == F32{0x33800000});
}  // namespace softfloat_proofs

OPML_LEVEL_END
