"""Bit patterns for tests: raw words, and floats where rounding, cancellation and limits happen."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import strategies as st

EDGES = [
    0x00000000, 0x00000001, 0x00000002, 0x007FFFFF, 0x00800000, 0x00800001, 0x00FFFFFF, 0x01000000,
    0x33800000, 0x34000000, 0x3EFFFFFF, 0x3F000000, 0x3F7FFFFF, 0x3F800000, 0x3F800001, 0x3FC00000,
    0x40000000, 0x40400000, 0x4AFFFFFF, 0x4B000000, 0x4B7FFFFF, 0x4B800001, 0x4EFFFFFF, 0x4F000000,
    0x7E800000, 0x7F7FFFFE, 0x7F7FFFFF, 0x7F800000, 0x7F800001, 0x7FBFFFFF, 0x7FC00000, 0x7FFFFFFF,
]  # fmt: skip
EDGES += [edge | 0x80000000 for edge in EDGES]

words = st.integers(0, 2**32 - 1)


@st.composite
def near(draw: st.DrawFn) -> int:
    """A float with a sparse or dense significand and an exponent near 1, so that operands interact."""
    exponent = draw(st.integers(100, 154))
    sparse = draw(st.integers(0, 23)), draw(st.integers(0, 23)), draw(st.booleans())
    significand = (1 << sparse[0] | 1 << sparse[1]) & 0x7FFFFF
    if sparse[2]:
        significand ^= 0x7FFFFF
    return draw(st.booleans()) << 31 | exponent << 23 | significand


floats = st.one_of(words, st.sampled_from(EDGES), near(), st.integers(0, 0x00FFFFFF))


def value(bits: int) -> Fraction:
    """The exact value of a finite f32."""
    exponent, significand = bits >> 23 & 0xFF, bits & 0x7FFFFF
    significand |= 0x800000 if exponent else 0
    return (-1) ** (bits >> 31) * significand * Fraction(2) ** (max(exponent, 1) - 150)


def nearest(exact: Fraction) -> int:
    """The f32 nearest to an exact value that isn't zero, ties to even, by a plain search."""
    sign, magnitude = int(exact < 0), abs(exact)
    low, high = 0, 0x7F800000  # bits grow with the value; infinity stands for 2^128
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if value(middle) <= magnitude else (low, middle)
    above = Fraction(2) ** 128 if high == 0x7F800000 else value(high)
    below_by, above_by = magnitude - value(low), above - magnitude
    up = above_by < below_by or (above_by == below_by and low & 1)
    return sign << 31 | (high if up else low)
