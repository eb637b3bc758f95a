"""`opml.ops.softfloat` on NumPy arrays: the same operations, stages and names, bit for bit, integers only.

Every function takes `uint32` bit patterns of shapes that broadcast (arrays, NumPy scalars or `int`) and
returns a `uint32` array of the broadcast shape. Significands between the stages are non-negative `int64`
below 2^63, which hold the 24 x 24 bit product and its aligned addend.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from opml.ops.softfloat import BF16_NAN, EXP_OFFSET, F16_NAN, F32_INF, F32_NAN, F32_SIGN, ROUND_BITS
from opml.ops.table import OPS

U32: TypeAlias = NDArray[np.uint32]
Array: TypeAlias = Any
"""An array between the stages: NumPy's type stubs lose the dtype where arrays meet a Python int."""

_NAN = np.uint32(F32_NAN)
_INF = np.uint32(F32_INF)


def as_u32(a: ArrayLike) -> U32:
    return np.asarray(a, np.uint32)


# Unpacking ---------------------------------------------------------------------------------------------


def is_nan(a: Array) -> Array:
    return (a & 0x7FFFFFFF) > F32_INF


def is_inf(a: Array) -> Array:
    return (a & 0x7FFFFFFF) == F32_INF


def is_zero(a: Array) -> Array:
    return (a & 0x7FFFFFFF) == 0


def _is_special(a: Array) -> Array:
    return (a & F32_INF) == F32_INF


def canonical(a: Array) -> Array:
    nan = is_nan(a)
    return np.where(nan, _NAN, a) if nan.any() else a


def unpack(a: Array) -> tuple[Array, Array]:
    """(exp, sig) as int64; infinities and NaNs, exp 255, go through the stages and are replaced after."""
    wide = a.astype(np.int64)
    exp = wide >> 23 & 0xFF
    return np.maximum(exp, 1), wide & 0x7FFFFF | np.minimum(exp, 1) << 23


def bit_length(sig: Array) -> Array:
    for shift in (1, 2, 4, 8, 16, 32):
        sig = sig | sig >> shift
    return np.bitwise_count(sig)


def normalise(exp: Array, sig: Array) -> tuple[Array, Array]:
    if not (sig < 1 << 23).any():
        return exp, sig
    shift = 24 - bit_length(sig)
    return exp - shift, sig << shift


# Rounding ----------------------------------------------------------------------------------------------


def shift_right_jam(sig: Array, shift: Array) -> Array:
    """As the scalar form; `shift` in 0 .. 63."""
    kept = sig >> shift
    return kept | (kept << shift != sig)


def round_pack(sign: Array, exp: Array, sig: Array) -> Array:
    """As the scalar form; `sign` is 0 or 1."""
    tiny = exp < 1
    if tiny.any():
        sig = np.where(tiny, shift_right_jam(sig, np.clip(1 - exp, 0, 63)), sig)
        exp = np.maximum(exp, 1)
    wide = sig.view(np.uint64)
    wide = (wide + ((1 << (ROUND_BITS - 1)) - 1) + (wide >> ROUND_BITS & 1)) >> ROUND_BITS
    magnitude = np.minimum((exp - 1 << 23) + wide.view(np.int64), F32_INF)
    return magnitude.astype(np.uint32) | sign << 31


def norm_round_pack(sign: Array, exp: Array, sig: Array) -> Array:
    shift = 63 - bit_length(sig)
    packed = round_pack(sign, exp - shift, sig << shift)
    zero = sig == 0
    return np.where(zero, sign << 31, packed) if zero.any() else packed


# Addition, multiplication, fused multiplication and addition -------------------------------------------


def add_magnitudes(
    sign_a: Array, exp_a: Array, sig_a: Array, sign_b: Array, exp_b: Array, sig_b: Array
) -> Array:
    """As the scalar form."""
    exp_z = np.maximum(exp_a, exp_b)
    sig_a = shift_right_jam(sig_a, np.minimum(exp_z - exp_a, 63))
    sig_b = shift_right_jam(sig_b, np.minimum(exp_z - exp_b, 63))
    total = sig_a + np.where(sign_a == sign_b, sig_b, -sig_b)
    # 6.3: an exact zero sum of unlike signs is +0
    sign_z = np.where(total == 0, sign_a & sign_b, sign_a ^ (total < 0))
    return norm_round_pack(sign_z, exp_z, np.abs(total))


def f32_add(a: ArrayLike, b: ArrayLike) -> U32:
    a, b = as_u32(a), as_u32(b)
    exp_a, sig_a = unpack(a)
    exp_b, sig_b = unpack(b)
    z = add_magnitudes(a >> 31, exp_a + 1, sig_a << 38, b >> 31, exp_b + 1, sig_b << 38)
    if not (_is_special(a) | _is_special(b)).any():
        return as_u32(z)
    z = np.where(is_inf(b), b, z)
    z = np.where(is_inf(a), a, z)
    nan = is_nan(a) | is_nan(b) | (is_inf(a) & is_inf(b) & (a != b))
    return as_u32(np.where(nan, _NAN, z))


def f32_sub(a: ArrayLike, b: ArrayLike) -> U32:
    return f32_add(a, as_u32(b) ^ F32_SIGN)


def f32_mul(a: ArrayLike, b: ArrayLike) -> U32:
    a, b = as_u32(a), as_u32(b)
    sign_z = (a ^ b) >> 31
    exp_a, sig_a = unpack(a)
    exp_b, sig_b = unpack(b)
    z = norm_round_pack(sign_z, exp_a + exp_b - 125, sig_a * sig_b << 14)
    if not (_is_special(a) | _is_special(b)).any():
        return as_u32(z)
    z = np.where(is_inf(a) | is_inf(b), sign_z << 31 | _INF, z)
    nan = is_nan(a) | is_nan(b) | (is_inf(a) & is_zero(b)) | (is_zero(a) & is_inf(b))
    return as_u32(np.where(nan, _NAN, z))


def f32_fma(a: ArrayLike, b: ArrayLike, c: ArrayLike) -> U32:
    a, b, c = as_u32(a), as_u32(b), as_u32(c)
    sign_p = (a ^ b) >> 31
    exp_a, sig_a = unpack(a)
    exp_b, sig_b = unpack(b)
    exp_c, sig_c = unpack(c)
    sig_p = sig_a * sig_b << 14
    exp_p = np.where(sig_p == 0, -1024, exp_a + exp_b - 125)
    z = add_magnitudes(sign_p, exp_p, sig_p, c >> 31, exp_c + 1, sig_c << 38)
    if not (_is_special(a) | _is_special(b) | _is_special(c)).any():
        return as_u32(z)
    inf_p = is_inf(a) | is_inf(b)
    z = np.where(is_inf(c), c, z)
    z = np.where(inf_p, sign_p << 31 | _INF, z)
    nan = is_nan(a) | is_nan(b) | is_nan(c) | (is_inf(a) & is_zero(b)) | (is_zero(a) & is_inf(b))
    return as_u32(np.where(nan | (inf_p & is_inf(c) & (c >> 31 != sign_p)), _NAN, z))


# Division and square root ------------------------------------------------------------------------------


def f32_div(a: ArrayLike, b: ArrayLike) -> U32:
    a, b = as_u32(a), as_u32(b)
    sign_z = (a ^ b) >> 31
    exp_a, sig_a = normalise(*unpack(a))
    exp_b, sig_b = normalise(*unpack(b))
    dividend, divisor = (sig_a << 38).astype(np.uint64), np.maximum(sig_b, 1).astype(np.uint64)
    quotient = dividend // divisor
    inexact = quotient * divisor != dividend
    z = norm_round_pack(sign_z, exp_a - exp_b + 151, (quotient | inexact).astype(np.int64))
    if not (_is_special(a) | _is_special(b) | is_zero(b)).any():
        return as_u32(z)
    z = np.where(is_inf(b), sign_z << 31, z)
    z = np.where(is_inf(a) | is_zero(b), sign_z << 31 | _INF, z)
    nan = is_nan(a) | is_nan(b) | (is_inf(a) & is_inf(b)) | (is_zero(a) & is_zero(b))
    return as_u32(np.where(nan, _NAN, z))


def isqrt(radicand: Array) -> Array:
    """Integer square root of values in 2^48 .. 2^50 - 1.

    Newton's method from above: five steps take the first guess, at most twice the root, to an error below 1.
    """
    root = np.full_like(radicand, 1 << 25)
    for _ in range(5):
        root = (root + radicand // root) >> 1
    return root - (root * root > radicand)


def f32_sqrt(a: ArrayLike) -> U32:
    a = as_u32(a)
    exp, sig = normalise(*unpack(a))
    shift = 26 - (exp & 1)
    radicand = np.maximum(sig << shift, 1 << 48).astype(np.uint64)
    root = isqrt(radicand)
    wide = (root << 1 | (root * root != radicand)).astype(np.int64)
    sign = np.zeros_like(a)
    z = norm_round_pack(sign, (exp - 150 - shift) // 2 + EXP_OFFSET - 1, wide)
    z = np.where(is_zero(a) | (a == _INF), a, z)
    return as_u32(np.where(is_nan(a) | (a > F32_SIGN), _NAN, z))


# Sign, order, comparison -------------------------------------------------------------------------------


def f32_neg(a: ArrayLike) -> U32:
    return as_u32(canonical(as_u32(a) ^ F32_SIGN))


def f32_abs(a: ArrayLike) -> U32:
    return as_u32(canonical(as_u32(a) & 0x7FFFFFFF))


def order_key(a: ArrayLike) -> NDArray[np.int32]:
    """Signed `int32` that order f32s as `max` and `argmax` do: -0 < +0, canonical NaN above all."""
    bits = canonical(as_u32(a)).view(np.int32)
    return np.asarray(bits ^ (bits >> 31 & 0x7FFFFFFF), np.int32)


def _extreme(a: Array, b: Array, b_wins: Array) -> U32:
    return as_u32(np.where(is_nan(a) | is_nan(b), _NAN, np.where(b_wins, b, a)))


def f32_min(a: ArrayLike, b: ArrayLike) -> U32:
    a, b = as_u32(a), as_u32(b)
    return as_u32(_extreme(a, b, order_key(b) < order_key(a)))


def f32_max(a: ArrayLike, b: ArrayLike) -> U32:
    a, b = as_u32(a), as_u32(b)
    return as_u32(_extreme(a, b, order_key(b) > order_key(a)))


def _number_key(a: Array) -> Array:
    magnitude = (a & 0x7FFFFFFF).astype(np.int64)
    return np.where(a >> 31 != 0, -magnitude, magnitude)


def _ordered(a: Array, b: Array) -> Array:
    return ~(is_nan(a) | is_nan(b))


def f32_lt(a: ArrayLike, b: ArrayLike) -> U32:
    a, b = as_u32(a), as_u32(b)
    return as_u32((_ordered(a, b) & (_number_key(a) < _number_key(b))).astype(np.uint32))


def f32_le(a: ArrayLike, b: ArrayLike) -> U32:
    a, b = as_u32(a), as_u32(b)
    return as_u32((_ordered(a, b) & (_number_key(a) <= _number_key(b))).astype(np.uint32))


def f32_eq(a: ArrayLike, b: ArrayLike) -> U32:
    a, b = as_u32(a), as_u32(b)
    return as_u32((_ordered(a, b) & (_number_key(a) == _number_key(b))).astype(np.uint32))


# Integers ----------------------------------------------------------------------------------------------


def signed(a: ArrayLike) -> Array:
    return as_u32(a).view(np.int32).astype(np.int64)


def f32_from_i32(a: ArrayLike) -> U32:
    value = signed(a)
    return as_u32(
        norm_round_pack((value < 0).astype(np.uint32), np.full_like(value, EXP_OFFSET), np.abs(value))
    )


def i32_from_f32(a: ArrayLike) -> U32:
    a = as_u32(a)
    exp, sig = unpack(a)
    jammed = shift_right_jam(sig << 2, np.clip(150 - exp, 0, 27))
    rounded = (jammed + 1 + (jammed >> 2 & 1)) >> 2
    value = np.where(exp >= 150, sig << np.clip(exp - 150, 0, 8), rounded)
    value = np.where(a >> 31 != 0, -value, np.minimum(value, 0x7FFFFFFF))
    saturated = np.where(a >> 31 != 0, -0x80000000, 0x7FFFFFFF)
    value = np.where(exp >= 127 + 31, saturated, value)
    return as_u32(np.where(is_nan(a), 0, value).astype(np.uint32))


def _wrap(a: Array) -> Array:
    return (a & 0xFFFFFFFF).astype(np.uint32)


def i32_add(a: ArrayLike, b: ArrayLike) -> U32:
    return as_u32(_wrap(signed(a) + signed(b)))


def i32_sub(a: ArrayLike, b: ArrayLike) -> U32:
    return as_u32(_wrap(signed(a) - signed(b)))


def i32_mul(a: ArrayLike, b: ArrayLike) -> U32:
    return as_u32(_wrap(signed(a) * signed(b)))


def u32_mulhi(a: ArrayLike, b: ArrayLike) -> U32:
    return as_u32((as_u32(a).astype(np.uint64) * as_u32(b).astype(np.uint64) >> 32).astype(np.uint32))


def bit_and(a: ArrayLike, b: ArrayLike) -> U32:
    return as_u32(as_u32(a) & as_u32(b))


def bit_or(a: ArrayLike, b: ArrayLike) -> U32:
    return as_u32(as_u32(a) | as_u32(b))


def bit_xor(a: ArrayLike, b: ArrayLike) -> U32:
    return as_u32(as_u32(a) ^ as_u32(b))


def shift_left(a: ArrayLike, b: ArrayLike) -> U32:
    return as_u32(as_u32(a) << (as_u32(b) & 31))


def shift_right(a: ArrayLike, b: ArrayLike) -> U32:
    return as_u32(as_u32(a) >> (as_u32(b) & 31))


def shift_right_signed(a: ArrayLike, b: ArrayLike) -> U32:
    return as_u32(_wrap(signed(a) >> (as_u32(b) & 31).astype(np.int64)))


def select(a: ArrayLike, b: ArrayLike, c: ArrayLike) -> U32:
    return as_u32(np.where(as_u32(a) != 0, as_u32(b), as_u32(c)))


# Storage formats: f16, bf16, i8 ------------------------------------------------------------------------


def f32_from_f16(a: NDArray[np.uint16]) -> U32:
    """f32 bits of `uint16` f16 bits, exact; NaN canonical."""
    bits = np.asarray(a, np.uint16).astype(np.uint32)
    sign, exp, sig = bits >> 15, bits >> 10 & 0x1F, bits & 0x3FF
    z = sign << 31 | exp + 112 << 23 | sig << 13
    small = exp == 0
    if small.any():
        exact = norm_round_pack(sign, np.full(bits.shape, EXP_OFFSET - 24, np.int64), sig.astype(np.int64))
        z = np.where(small, exact, z)
    return as_u32(np.where(exp == 0x1F, np.where(sig != 0, _NAN, sign << 31 | _INF), z))


def f16_from_f32(a: ArrayLike) -> NDArray[np.uint16]:
    """`uint16` f16 bits nearest to f32 bits, as the scalar form."""
    a = as_u32(a)
    exp, sig = unpack(a)
    sig, exp = shift_right_jam(sig << 2, np.clip(113 - exp, 0, 31)), np.maximum(exp - 112, 1)
    sig = (sig + 0x3FFF + (sig >> 15 & 1)) >> 15
    z = np.minimum((exp - 1 << 10) + sig, 0x7C00).astype(np.uint32) | a >> 31 << 15
    return np.where(is_nan(a), F16_NAN, z).astype(np.uint16)


def f32_from_bf16(a: NDArray[np.uint16]) -> U32:
    """f32 bits of `uint16` bf16 bits, exact; NaN canonical."""
    return as_u32(canonical(np.asarray(a, np.uint16).astype(np.uint32) << 16))


def bf16_from_f32(a: ArrayLike) -> NDArray[np.uint16]:
    """`uint16` bf16 bits nearest to f32 bits, as the scalar form."""
    a = as_u32(a)
    wide = a.astype(np.uint64)
    z = (wide + 0x7FFF + (wide >> 16 & 1)) >> 16
    return np.where(is_nan(a), BF16_NAN, z).astype(np.uint16)


def i8_from_i32(a: ArrayLike) -> NDArray[np.int8]:
    """`int8` of signed 32-bit registers: saturates at -128 and 127."""
    return np.asarray(np.clip(signed(a), -128, 127), np.int8)


def i32_from_i8(a: NDArray[np.int8]) -> U32:
    """Registers of `int8` storage: sign-extended."""
    return as_u32(np.asarray(a, np.int8).astype(np.int32).view(np.uint32))


FUNCTIONS: tuple[Callable[..., Any], ...] = (
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
