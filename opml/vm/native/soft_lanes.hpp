// binary32 with integers alone in 64-bit lanes: the twin of softfloat.hpp for what vector code meets.
//
// A lane is sig * 2^(exp - 149), sig signed and at most 2^24; normal numbers have their 24 bits, subnormal ones exp 0. Zeros
// have no sign and kZeroExp, which displaces nothing in a sum. Whatever is none of these (infinities, NaNs, results that
// overflow or are subnormal) has kLostExp and stays lost: whoever needs such a lane computes it again by softfloat.hpp.
#pragma once

#include <type_traits>

#include "arithmetic.hpp"
#include "lane_vector.hpp"
#include "longs.hpp"

#if defined(OPML_LONGS)
#define OPML_SOFT_LANES

OPML_LEVEL_BEGIN

struct SoftLanes {
  Longs sig, exp;

  static constexpr int64_t kZeroExp = -4096, kLostExp = 1 << 20, kMostExp = 252;  // kMostExp: the next may round to infinity

  static Longs all(int64_t x) { return Longs::all(x); }
  static SoftLanes zero() { return {all(0), all(kZeroExp)}; }

  // Of one word for all lanes.
  static SoftLanes spread(uint32_t bits) {
    const auto e = static_cast<int64_t>(bits >> 23 & 0xFF);
    const auto frac = static_cast<int64_t>(bits & 0x7FFFFF);
    const int64_t magnitude = e == 0 ? frac : frac | 0x800000;
    const int64_t exp = e == 255 ? kLostExp : magnitude == 0 ? kZeroExp : e == 0 ? 0 : e - 1;
    return {all(bits >> 31 ? -magnitude : magnitude), all(exp)};
  }

  // Of register bits in 64-bit lanes.
  static SoftLanes from_bits(Longs x) {
    const Longs e = x.down<23>() & all(0xFF);
    const Longs sig = (x & all(0x7FFFFF)).with_unless(e.zero(), 0x800000);
    Longs exp = Longs::where(sig.zero(), all(kZeroExp), e.less_one());
    exp = Longs::where(Longs::equal(e, all(0xFF)), all(kLostExp), exp);
    return {sig.negated(x.any_of(all(0x80000000))), exp};
  }

  // Of binary16 in 64-bit lanes: 11 bits with 13 zeros below, so that subnormal ones, which are normal binary32, lack bits
  // above. A product with another significand still has all that sums need.
  static SoftLanes from_half(Longs x) {
    const Longs e = x.down<10>() & all(0x1F);
    const Longs sig = (x.up<13>() & all(0x3FF << 13)).with_unless(e.zero(), 0x800000);
    Longs exp = Longs::where(sig.zero(), all(kZeroExp), e.at_least_one() + all(111));
    exp = Longs::where(Longs::equal(e, all(0x1F)), all(kLostExp), exp);
    return {sig.negated(x.any_of(all(0x8000))), exp};
  }

  // Of integers up to 2^24, exact, not normalised: they are factors.
  static SoftLanes from_integers(Longs x) { return {x, Longs::where(x.zero(), all(kZeroExp), all(149))}; }

  // x * 2^(frame - 186), rounded.
  static SoftLanes round(Longs x, Longs frame) {
    const Longs magnitude = x.magnitude(), zeros = magnitude.leading_zeros(), top = magnitude.up(zeros);
    Longs sig = top.down<39>();  // 24 bits and the first that is rounded away
    // Half is rounded up where the result would be odd, or where a lower bit is set.
    sig = sig.plus_one(top.any_of(all((int64_t{1} << 40) | ((int64_t{1} << 39) - 1)))).down<1>();
    const Longs exp = frame + all(3) - zeros;
    Longs found = Longs::where_negative(exp, all(kLostExp), exp);
    found = Longs::where(x.zero(), all(kZeroExp), found);
    found = Longs::where(Longs::above(exp, all(kMostExp)), all(kLostExp), found);  // a zero, too, where an operand was lost
    return {sig.negated(x.negative()), found};
  }

  static SoftLanes mul(const SoftLanes& a, const SoftLanes& b) {
    return round(Longs::product(a.sig, b.sig), a.exp + b.exp + all(-112));
  }

  // x * 2^(frame - 186) + c, rounded once; |x| at most 2^61. Both meet in the frame of the larger exponent; what the other
  // loses there is jammed. Where it loses bits, its first bit is too low to cancel the larger one's, or the sum is subnormal.
  static SoftLanes sum(Longs x, Longs frame, const SoftLanes& c) {
    const Longs y = c.sig.up<37>(), gap = c.exp - frame;  // negative where x has the larger exponent
    const Longs large = Longs::where_negative(gap, x, y), small = Longs::where_negative(gap, y, x);
    const Longs shift = gap.magnitude(), kept = small.down_signed(shift);
    const Longs z = (large + kept).with_unless(Longs::equal(kept.up(shift), small), 1);
    return round(z, Longs::where_negative(gap, frame, c.exp));
  }

  static SoftLanes fma(const SoftLanes& a, const SoftLanes& b, const SoftLanes& c) {
    return sum(Longs::product(a.sig, b.sig).up<13>(), a.exp + b.exp + all(-125), c);
  }
  static SoftLanes add(const SoftLanes& a, const SoftLanes& b) { return sum(a.sig.up<37>(), a.exp, b); }

  int lost() const { return Longs::bits(Longs::above(exp, all(kMostExp + 1))); }
  // In the lower half of each lane; a significand's highest bit, or its carry, counts up the exponent.
  Longs bits() const { return (exp.up<23>() + sig.magnitude()).cleared(sig.zero()).with(sig.negative(), 0x80000000); }
};

// Operations on register bits in 32-bit lanes. Zeros have their signs; lost lanes are done one by one.
namespace soft_words {

using Words = LaneVector;

// `lanes` of the lower and of the upper halves of the operands; `lost` gets a bit for each word.
template <class Sum>
inline Words by_halves(const Sum& lanes, Words a, Words b, Words c, int& lost) {
  const auto half = [](auto number, Words x) { return SoftLanes::from_bits(Longs::unsigned_half<number()>(x.v)); };
  constexpr std::integral_constant<int, 0> lower;
  constexpr std::integral_constant<int, 1> upper;
  const SoftLanes x = lanes(half(lower, a), half(lower, b), half(lower, c));
  const SoftLanes y = lanes(half(upper, a), half(upper, b), half(upper, c));
  lost = x.lost() | y.lost() << Longs::lanes;
  return {Longs::join(x.bits(), y.bits())};
}

template <class One>
inline Words with_lost(Words z, int lost, Words a, Words b, Words c, const One& one) {
  if (lost == 0) [[likely]] return z;
  alignas(64) uint32_t words[4][Words::width];
  a.store(words[0]), b.store(words[1]), c.store(words[2]), z.store(words[3]);
  for (int i = 0; i < Words::width; ++i)
    if (lost >> i & 1) words[3][i] = one({words[0][i]}, {words[1][i]}, {words[2][i]}).bits;
  return Words::load(words[3]);
}

// z with the sign bits of `signs` where z is zero.
inline Words with_zero_signs(Words z, Words signs) {
  return Words::sel(z, z, Words::and_(signs, Words::all(soft::kSign)));
}

inline Words add(Words a, Words b) {
  int lost;
  const auto sum = [](const SoftLanes& x, const SoftLanes& y, const SoftLanes&) { return SoftLanes::add(x, y); };
  const Words z = with_zero_signs(by_halves(sum, a, b, b, lost), Words::and_(a, b));
  return with_lost(z, lost, a, b, b, [](F32 x, F32 y, F32) { return soft::add(x, y); });
}
inline Words sub(Words a, Words b) { return add(a, Words::neg(b)); }
inline Words mul(Words a, Words b) {
  int lost;
  const auto product = [](const SoftLanes& x, const SoftLanes& y, const SoftLanes&) { return SoftLanes::mul(x, y); };
  const Words z = with_zero_signs(by_halves(product, a, b, b, lost), Words::xor_(a, b));
  return with_lost(z, lost, a, b, b, [](F32 x, F32 y, F32) { return soft::mul(x, y); });
}
inline Words fma(Words a, Words b, Words c) {
  int lost;
  const auto sum = [](const SoftLanes& x, const SoftLanes& y, const SoftLanes& w) { return SoftLanes::fma(x, y, w); };
  const Words z = with_zero_signs(by_halves(sum, a, b, c, lost), Words::and_(Words::xor_(a, b), c));
  return with_lost(z, lost, a, b, c, [](F32 x, F32 y, F32 w) { return soft::fma(x, y, w); });
}
inline Words from_i32(Words a) {
  const Longs frame = Longs::all(186);
  return {Longs::join(SoftLanes::round(Longs::signed_half<0>(a.v), frame).bits(),
                      SoftLanes::round(Longs::signed_half<1>(a.v), frame).bits())};
}

}  // namespace soft_words

OPML_LEVEL_END
#endif
