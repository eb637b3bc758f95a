"""IEEE 754 binary32 in integers: the definition of every scalar operation, one value at a time.

A function takes and returns bit patterns (`int` in 0 .. 2^32 - 1); no host float is used. Rounding is to
nearest, ties to even; subnormals are kept; every NaN that comes out is `F32_NAN`. The stages follow
Berkeley SoftFloat 3e: unpack, special cases, normalise, compute, and one rounding exit, `round_pack`.

Between the stages a magnitude is `(exp, sig)` with value `sig * 2^(exp - 189)`: when the leading bit of `sig`
is bit 62, `exp` is the biased exponent of the result. `opml.ops.softarray` is the same on NumPy arrays.
"""

from __future__ import annotations

from collections.abc import Callable
from math import isqrt

from opml.ops.table import OPS

F32_NAN = 0x7FC00000
F32_INF = 0x7F800000
F32_SIGN = 0x80000000
F16_NAN = 0x7E00
BF16_NAN = 0x7FC0
MASK32 = 0xFFFFFFFF

LEAD_BIT = 62
"""Where `round_pack` expects the leading bit of a significand."""
ROUND_BITS = LEAD_BIT - 23
"""Bits of such a significand below the last place of a binary32."""
EXP_OFFSET = 127 + LEAD_BIT


# Unpacking ---------------------------------------------------------------------------------------------


def is_nan(a: int) -> bool:
    return (a & 0x7FFFFFFF) > F32_INF


def is_inf(a: int) -> bool:
    return (a & 0x7FFFFFFF) == F32_INF


def is_zero(a: int) -> bool:
    return (a & 0x7FFFFFFF) == 0


def canonical(a: int) -> int:
    """The same f32, a NaN replaced by the canonical one."""
    return F32_NAN if is_nan(a) else a


def unpack(a: int) -> tuple[int, int, int]:
    """(sign, exp, sig) of a finite f32, value = sig * 2^(exp - 150); a subnormal has exp 1, no hidden bit."""
    sign, exp, sig = a >> 31, a >> 23 & 0xFF, a & 0x7FFFFF
    return (sign, 1, sig) if exp == 0 else (sign, exp, sig | 0x800000)


def normalise(exp: int, sig: int) -> tuple[int, int]:
    """The same non-zero magnitude with bit 23 of `sig` leading: gives a subnormal its true exponent."""
    shift = 24 - sig.bit_length()
    return exp - shift, sig << shift


# Rounding ----------------------------------------------------------------------------------------------


def shift_right_jam(sig: int, shift: int) -> int:
    """`sig >> shift` with the lost bits or-ed into the last: inexactness is never forgotten."""
    return sig >> shift | (sig & ((1 << shift) - 1) != 0)


def round_pack(sign: int, exp: int, sig: int) -> int:
    """The f32 nearest to `sig * 2^(exp - 189)`, bit 62 of `sig` leading: an operation's only rounding."""
    if exp < 1:  # below the normal range: the exponent stays, the significand loses bits
        sig, exp = shift_right_jam(sig, 1 - exp), 1
    half_less_one = (1 << (ROUND_BITS - 1)) - 1
    sig = (sig + half_less_one + (sig >> ROUND_BITS & 1)) >> ROUND_BITS  # IEEE 754-2019 4.3.1: ties to even
    magnitude = ((exp - 1) << 23) + sig  # the hidden bit, or a carry, raises the exponent by one
    return sign << 31 | min(magnitude, F32_INF)  # 7.4: overflow goes to infinity


def norm_round_pack(sign: int, exp: int, sig: int) -> int:
    """`round_pack` for any `sig` below 2^63; zero keeps `sign`."""
    if sig == 0:
        return sign << 31
    shift = LEAD_BIT + 1 - sig.bit_length()
    return round_pack(sign, exp - shift, sig << shift)


# Addition, multiplication, fused multiplication and addition -------------------------------------------


def add_magnitudes(sign_a: int, exp_a: int, sig_a: int, sign_b: int, exp_b: int, sig_b: int) -> int:
    """Rounded sum of two finite signed magnitudes: f32s shifted left by 38, or one such and a product by 14.

    A product of 0 must come with the lowest exponent, as an f32 of 0 does by itself. The one with the lower
    exponent, L, is shifted right with its lost bits jammed; H is the other. Proof that the jammed bit, bit 0,
    stays below the rounding bit of the sum, so that one rounding is exact:
    - L is an f32 and loses bits: it was shifted by more than 38, so L < 2^23. H is at least 2^37 (a product
      of a subnormal and a normal; of two subnormals it would be L), so the sum leads at bit 36 or higher and
      its rounding bit is bit 12 or higher.
    - L is a product and loses bits: it was shifted by more than 14, so L < 2^48. If H is normal, it leads at
      bit 61 and the sum at bit 60 or higher. If H is subnormal or 0, its last place is bit 38 and so is the
      sum's, whose exponent is no higher: however much cancels, the rounding bit is bit 37.
    """
    exp_z = max(exp_a, exp_b)
    sig_a = shift_right_jam(sig_a, min(exp_z - exp_a, 63))
    sig_b = shift_right_jam(sig_b, min(exp_z - exp_b, 63))
    if sign_a == sign_b:
        return norm_round_pack(sign_a, exp_z, sig_a + sig_b)
    if sig_a == sig_b:
        return 0  # 6.3: an exact zero sum of unlike signs is +0
    if sig_a < sig_b:
        return norm_round_pack(sign_b, exp_z, sig_b - sig_a)
    return norm_round_pack(sign_a, exp_z, sig_a - sig_b)


def f32_add(a: int, b: int) -> int:
    if is_nan(a) or is_nan(b):
        return F32_NAN
    if is_inf(a) or is_inf(b):
        if is_inf(a) and is_inf(b) and a != b:
            return F32_NAN  # 7.2 d: magnitude subtraction of infinities
        return a if is_inf(a) else b
    sign_a, exp_a, sig_a = unpack(a)
    sign_b, exp_b, sig_b = unpack(b)
    return add_magnitudes(sign_a, exp_a + 1, sig_a << 38, sign_b, exp_b + 1, sig_b << 38)


def f32_sub(a: int, b: int) -> int:
    return f32_add(a, b ^ F32_SIGN)


def f32_mul(a: int, b: int) -> int:
    sign_z = (a ^ b) >> 31
    if is_nan(a) or is_nan(b):
        return F32_NAN
    if is_inf(a) or is_inf(b):
        if is_zero(a) or is_zero(b):
            return F32_NAN  # 7.2 b: zero times infinity
        return sign_z << 31 | F32_INF
    _, exp_a, sig_a = unpack(a)
    _, exp_b, sig_b = unpack(b)
    return norm_round_pack(sign_z, exp_a + exp_b - 125, sig_a * sig_b << 14)


def f32_fma(a: int, b: int, c: int) -> int:
    sign_p = (a ^ b) >> 31
    if is_nan(a) or is_nan(b) or is_nan(c):
        return F32_NAN
    if is_inf(a) or is_inf(b):
        if is_zero(a) or is_zero(b) or (is_inf(c) and c >> 31 != sign_p):
            return F32_NAN  # 7.2 b, c, d
        return sign_p << 31 | F32_INF
    if is_inf(c):
        return c
    _, exp_a, sig_a = unpack(a)
    _, exp_b, sig_b = unpack(b)
    sign_c, exp_c, sig_c = unpack(c)
    sig_p = sig_a * sig_b << 14  # exact
    exp_p = exp_a + exp_b - 125 if sig_p else -1024
    return add_magnitudes(sign_p, exp_p, sig_p, sign_c, exp_c + 1, sig_c << 38)


# Division and square root ------------------------------------------------------------------------------


def f32_div(a: int, b: int) -> int:
    sign_z = (a ^ b) >> 31
    if is_nan(a) or is_nan(b) or (is_inf(a) and is_inf(b)) or (is_zero(a) and is_zero(b)):
        return F32_NAN  # 7.2 e
    if is_inf(a) or is_zero(b):
        return sign_z << 31 | F32_INF
    if is_inf(b) or is_zero(a):
        return sign_z << 31
    exp_a, sig_a = normalise(*unpack(a)[1:])
    exp_b, sig_b = normalise(*unpack(b)[1:])
    quotient, remainder = divmod(sig_a << 38, sig_b)
    return norm_round_pack(sign_z, exp_a - exp_b + 151, quotient | (remainder != 0))


def f32_sqrt(a: int) -> int:
    if is_nan(a):
        return F32_NAN
    if is_zero(a):
        return a  # 5.4.1: the square root of -0 is -0
    if a >> 31:
        return F32_NAN  # 7.2 g
    if is_inf(a):
        return a
    exp, sig = normalise(*unpack(a)[1:])
    shift = 26 - (exp & 1)  # makes the exponent of the radicand even
    radicand = sig << shift
    root = isqrt(radicand)
    sticky = int(root * root != radicand)
    return norm_round_pack(0, (exp - 150 - shift) // 2 + EXP_OFFSET - 1, root << 1 | sticky)


# Sign, order, comparison -------------------------------------------------------------------------------


def f32_neg(a: int) -> int:
    return canonical(a ^ F32_SIGN)


def f32_abs(a: int) -> int:
    return canonical(a & 0x7FFFFFFF)


def order_key(a: int) -> int:
    """Signed integer that orders f32s as `max` and `argmax` do: -0 < +0, canonical NaN above all."""
    a = canonical(a)
    return a if a < F32_SIGN else (a ^ 0x7FFFFFFF) - (1 << 32)


def f32_min(a: int, b: int) -> int:
    if is_nan(a) or is_nan(b):
        return F32_NAN
    return b if order_key(b) < order_key(a) else a


def f32_max(a: int, b: int) -> int:
    if is_nan(a) or is_nan(b):
        return F32_NAN
    return b if order_key(b) > order_key(a) else a


def _number_key(a: int) -> int:
    return a if a < F32_SIGN else F32_SIGN - a  # both zeros give 0


def f32_lt(a: int, b: int) -> int:
    return int(not (is_nan(a) or is_nan(b)) and _number_key(a) < _number_key(b))


def f32_le(a: int, b: int) -> int:
    return int(not (is_nan(a) or is_nan(b)) and _number_key(a) <= _number_key(b))


def f32_eq(a: int, b: int) -> int:
    return int(not (is_nan(a) or is_nan(b)) and _number_key(a) == _number_key(b))


# Integers ----------------------------------------------------------------------------------------------


def signed(a: int) -> int:
    """The two's complement integer of 32 bits."""
    return a - (a >> 31 << 32)


def f32_from_i32(a: int) -> int:
    value = signed(a)
    return norm_round_pack(int(value < 0), EXP_OFFSET, abs(value))


def i32_from_f32(a: int) -> int:
    if is_nan(a):
        return 0
    sign, exp, sig = unpack(a)
    if exp >= 127 + 31:
        return 0x7FFFFFFF + sign
    if exp >= 150:
        value = sig << (exp - 150)
    else:
        sig = shift_right_jam(sig << 2, min(150 - exp, 27))  # two bits below the last place
        value = (sig + 1 + (sig >> 2 & 1)) >> 2
    return (-value if sign else value) & MASK32


def i32_add(a: int, b: int) -> int:
    return (a + b) & MASK32


def i32_sub(a: int, b: int) -> int:
    return (a - b) & MASK32


def i32_mul(a: int, b: int) -> int:
    return a * b & MASK32


def u32_mulhi(a: int, b: int) -> int:
    return a * b >> 32


def bit_and(a: int, b: int) -> int:
    return a & b


def bit_or(a: int, b: int) -> int:
    return a | b


def bit_xor(a: int, b: int) -> int:
    return a ^ b


def shift_left(a: int, b: int) -> int:
    return a << (b & 31) & MASK32


def shift_right(a: int, b: int) -> int:
    return a >> (b & 31)


def shift_right_signed(a: int, b: int) -> int:
    return signed(a) >> (b & 31) & MASK32


def select(a: int, b: int, c: int) -> int:
    return b if a != 0 else c


# Storage formats: f16, bf16, i8 ------------------------------------------------------------------------


def f32_from_f16(a: int) -> int:
    """The f32 of an f16 (16 bits), exact; a NaN becomes canonical."""
    sign, exp, sig = a >> 15, a >> 10 & 0x1F, a & 0x3FF
    if exp == 0x1F:
        return F32_NAN if sig else sign << 31 | F32_INF
    if exp == 0:
        return norm_round_pack(sign, EXP_OFFSET - 24, sig)  # sig * 2^-24
    return sign << 31 | (exp + 112) << 23 | sig << 13


def f16_from_f32(a: int) -> int:
    """The f16 nearest to an f32, ties to even; overflow to infinity, subnormals kept, NaN canonical."""
    if is_nan(a):
        return F16_NAN
    sign, exp, sig = unpack(a)
    sig, exp = sig << 2, exp - 112
    if exp < 1:
        sig, exp = shift_right_jam(sig, min(1 - exp, 31)), 1
    sig = (sig + 0x3FFF + (sig >> 15 & 1)) >> 15
    return sign << 15 | min(((exp - 1) << 10) + sig, 0x7C00)


def f32_from_bf16(a: int) -> int:
    """The f32 of a bf16 (16 bits), exact; a NaN becomes canonical."""
    return canonical(a << 16)


def bf16_from_f32(a: int) -> int:
    """The bf16 nearest to an f32, ties to even; overflow to infinity, subnormals kept, NaN canonical."""
    if is_nan(a):
        return BF16_NAN
    return (a + 0x7FFF + (a >> 16 & 1)) >> 16


def i8_from_i32(a: int) -> int:
    """Storage byte (0 .. 255) of a signed 32-bit register: saturates at -128 and 127."""
    return max(-128, min(127, signed(a))) & 0xFF


def i32_from_i8(a: int) -> int:
    """Register of a storage byte: sign-extended."""
    return (a ^ 0x80) - 0x80 & MASK32


FUNCTIONS: tuple[Callable[..., int], ...] = (
    f32_add,
    f32_sub,
    f32_mul,
    f32_div,
    f32_sqrt,
    f32_fma,
    f32_neg,
    f32_abs,
    f32_min,
    f32_max,
    f32_lt,
    f32_le,
    f32_eq,
    f32_from_i32,
    i32_from_f32,
    i32_add,
    i32_sub,
    i32_mul,
    u32_mulhi,
    bit_and,
    bit_or,
    bit_xor,
    shift_left,
    shift_right,
    shift_right_signed,
    select,
)
"""`FUNCTIONS[op.code]` computes one operation of `opml.ops.table.OPS`."""

assert len(FUNCTIONS) == len(OPS)
