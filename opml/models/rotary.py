"""Rotary tables, correctly rounded: the f32 nearest to cos and sin of position times frequency.

They are part of what a model commits to, so nobody's `cos` may decide a bit of them. The angle is kept as a
fraction of a turn in integers, which makes its reduction exact. cos and sin of the rest, at most an eighth
of a turn, come from Taylor polynomials in doubles with a relative error below 2^-46. Where that error could
change the rounding to f32, about one entry in four million, the entry is computed again in 256-bit
integers. So the result is the correctly rounded one whatever the doubles did.

A frequency is base^(-j / half), an integer root of a rational number, and pi is Machin's sum.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from functools import cache
from math import gcd, log2
from typing import Final

import numpy as np
import numpy.typing as npt

PRECISION: Final = 256  # bits after the point, where integers stand for real numbers
TURN_BITS: Final = 128  # bits of an angle as a fraction of a turn
MAX_POSITIONS: Final = 1 << 20  # the error of an angle is a position's number times 2^-128 turns
RELATIVE_ERROR: Final = 2.0**-46  # of the doubles: conversion 3 ulp, polynomial 4 ulp, Taylor's rest 2^-60
_NEAR_ZERO: Final = 2.0**-40  # turns: below this the conversion of the angle may lose bits

F32Array = npt.NDArray[np.float32]
F64Array = npt.NDArray[np.float64]


def rotary_tables(
    positions: int,
    width: int,
    rotated: int,
    base: Fraction,
    factors: Sequence[Fraction] | None = None,
    scale: Fraction = Fraction(1),
    *,
    halves: bool = False,
) -> tuple[F32Array, F32Array]:
    """(cos, sin) for `positions` rows of `width` columns, f32, for `out = x * cos + partner * sin`.

    The first `rotated` columns turn, the rest stay as they are. Pair j turns by t * base^(-2j / rotated) /
    factors[j] / scale. Pairs are neighbours (2j, 2j + 1), or with `halves` (j, j + rotated / 2). `sin` is
    negative for the first of a pair.
    """
    half = rotated // 2
    cos = np.ones((positions, width), np.float32)
    sin = np.zeros((positions, width), np.float32)
    for j in range(half):
        factor = scale * (factors[j] if factors is not None else 1)
        turns = _turns(base, j, half, factor)
        c, s = _cos_sin_column(turns, positions)
        first, second = (j, j + half) if halves else (2 * j, 2 * j + 1)
        cos[:, first] = cos[:, second] = c
        sin[:, first], sin[:, second] = -s, s
    sin[0] = 0.0  # no negative zero: sin(0) is +0 in both columns
    return cos, sin


def _turns(base: Fraction, j: int, half: int, factor: Fraction) -> int:
    """base^(-j / half) / factor / (2 pi) modulo 1, as an integer of `PRECISION` bits after the point."""
    divisor = gcd(j, half)
    power, degree = j // divisor, half // divisor
    inverse = 1 / base**power
    shifted = (inverse.numerator << (PRECISION * degree)) // inverse.denominator
    frequency = _root(shifted, degree)
    turns = Fraction(frequency << PRECISION, 2 * _pi()) / factor
    return (turns.numerator // turns.denominator) % (1 << PRECISION)


def _root(value: int, degree: int) -> int:
    """The greatest integer whose `degree`-th power is at most `value`."""
    if degree == 1 or value == 0:
        return value
    guess = _above_root(value, degree)  # not below the root: Newton's steps then fall
    while True:
        better = ((degree - 1) * guess + value // guess ** (degree - 1)) // degree
        if better >= guess:
            return guess
        guess = better


def _above_root(value: int, degree: int) -> int:
    """A number at or above the root, near it where the root has more bits than a double: Newton's steps halve
    a distance that is far, so that a root of degree 512 would take hundreds of them."""
    whole, rest = divmod(log2(value) / degree, 1.0)
    if whole < 64:
        return 1 << -(-value.bit_length() // degree)
    near = 2.0**rest * (1.0 + 2.0**-30)  # above by more than the doubles' error, at most 2^-43
    return (int(near * 2.0**52) + 1) << (int(whole) - 52)


@cache
def _pi() -> int:
    """pi with `PRECISION` bits after the point: 16 atan(1/5) - 4 atan(1/239)."""
    guard = 32

    def atan_inverse(x: int) -> int:
        term = (1 << (PRECISION + guard)) // x
        total, n, sign = term, 3, -1
        while term:
            term //= x * x
            total += sign * (term // n)
            n, sign = n + 2, -sign
        return total

    return (16 * atan_inverse(5) - 4 * atan_inverse(239)) >> guard


def _cos_sin_column(turns: int, positions: int) -> tuple[F32Array, F32Array]:
    """cos and sin of t * turns for t = 0 ... positions - 1, each rounded once to f32."""
    quarter, rest = _reduced(turns >> (PRECISION - TURN_BITS), positions)
    x = rest * (2 * np.pi)
    small_cos, small_sin = _taylor(x)
    odd = (quarter & 1).astype(bool)
    cos = np.where(odd, small_sin, small_cos) * np.where((quarter == 1) | (quarter == 2), -1.0, 1.0)
    sin = np.where(odd, small_cos, small_sin) * np.where(quarter >= 2, -1.0, 1.0)
    doubtful = np.abs(rest) < _NEAR_ZERO
    results = []
    for values in (cos, sin):
        low = (values * (1.0 - RELATIVE_ERROR)).astype(np.float32)
        high = (values * (1.0 + RELATIVE_ERROR)).astype(np.float32)
        results.append(high)
        doubtful |= low != high
    for t in np.flatnonzero(doubtful).tolist():
        results[0][t], results[1][t] = _exact_cos_sin(turns * t % (1 << PRECISION))
    return results[0], results[1]


def _reduced(turns: int, positions: int) -> tuple[npt.NDArray[np.int64], F64Array]:
    """(nearest quarter modulo 4, rest in turns within an eighth) of t * turns, from 128-bit integers."""
    t = np.arange(positions, dtype=np.uint64)
    mask = np.uint64(0xFFFFFFFF)
    high, low = np.uint64(turns >> 64), turns & (2**64 - 1)
    first = t * np.uint64(low & 0xFFFFFFFF)
    second = t * np.uint64(low >> 32) + (first >> np.uint64(32))
    low_word = (second << np.uint64(32)) | (first & mask)
    high_word = t * high + (second >> np.uint64(32))  # modulo 2^64: whole turns fall off
    quarter = (high_word + np.uint64(1 << 61)) >> np.uint64(62)
    rest = (high_word - (quarter << np.uint64(62))).view(np.int64)
    turns_left = (rest.astype(np.float64) + low_word.astype(np.float64) * 2.0**-64) * 2.0**-64
    return (quarter & np.uint64(3)).astype(np.int64), turns_left


def _taylor(x: F64Array) -> tuple[F64Array, F64Array]:
    """cos and sin for |x| <= pi / 4, by Taylor polynomials of degree 18 and 19."""
    square = x * x
    cos, sin = np.ones_like(x), np.ones_like(x)
    for n in range(9, 0, -1):
        cos = 1.0 - cos * square * (1.0 / ((2 * n - 1) * (2 * n)))
        sin = 1.0 - sin * square * (1.0 / ((2 * n) * (2 * n + 1)))
    return cos, x * sin


def _exact_cos_sin(turns: int) -> tuple[np.float32, np.float32]:
    """cos and sin of a fraction of a turn with `PRECISION` bits, rounded to nearest f32."""
    quarter = (turns + (1 << (PRECISION - 3))) >> (PRECISION - 2)
    rest = turns - (quarter << (PRECISION - 2))
    x = (rest * 2 * _pi()) >> PRECISION
    series = [0, 0, 0, 0]  # of x^n / n!, by n modulo 4
    term, n = 1 << PRECISION, 0
    while term not in (0, -1):
        series[n % 4] += term
        n += 1
        term = (term * x >> PRECISION) // n
    cos, sin = series[0] - series[2], series[1] - series[3]
    match quarter % 4:
        case 1:
            cos, sin = -sin, cos
        case 2:
            cos, sin = -cos, -sin
        case 3:
            cos, sin = sin, -cos
    return _nearest_f32(cos), _nearest_f32(sin)


def _nearest_f32(value: int) -> np.float32:
    """A number with `PRECISION` bits after the point, rounded to nearest even; none here is subnormal."""
    magnitude = abs(value)
    excess = max(magnitude.bit_length() - 24, 0)
    kept, dropped = magnitude >> excess, magnitude & ((1 << excess) - 1)
    half = 1 << excess >> 1
    if excess and (dropped > half or (dropped == half and kept & 1)):
        kept += 1
    result = float(kept) * 2.0 ** (excess - PRECISION)
    return np.float32(-result if value < 0 else result)


__all__ = ["MAX_POSITIONS", "rotary_tables"]
