"""Rotary tables are the nearest f32, whatever the doubles under them did."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opml.models import rotary
from opml.models.rotary import rotary_tables

BASES = [Fraction(10000), Fraction(100000), Fraction(500000), Fraction(1), Fraction(4, 3)]


def exact_tables(positions: int, width: int, base: Fraction) -> tuple[np.ndarray, np.ndarray]:
    """Every entry from 256-bit integers."""
    cos, sin = np.empty((positions, width // 2), np.float32), np.empty((positions, width // 2), np.float32)
    for j in range(width // 2):
        turns = rotary._turns(base, j, width // 2, Fraction(1))
        for t in range(positions):
            cos[t, j], sin[t, j] = rotary._exact_cos_sin(turns * t % (1 << rotary.PRECISION))
    return cos, sin


@pytest.mark.parametrize("base", BASES)
def test_tables_equal_the_integer_computation(base: Fraction) -> None:
    cos, sin = rotary_tables(300, 8, 8, base)
    expected_cos, expected_sin = exact_tables(300, 8, base)
    assert np.array_equal(cos[:, ::2].view(np.uint32), expected_cos.view(np.uint32))
    assert np.array_equal(sin[:, 1::2].view(np.uint32), expected_sin.view(np.uint32))
    assert np.array_equal(cos[:, ::2], cos[:, 1::2]) and np.array_equal(sin[:, ::2], -sin[:, 1::2])


@pytest.mark.skipif(np.finfo(np.longdouble).nmant < 63, reason="no wider float here to compare with")
@pytest.mark.parametrize("base", [10000, 100000, 500000])
def test_tables_equal_the_rounded_extended_ones(base: int) -> None:
    cos, sin = rotary_tables(8192, 64, 64, Fraction(base))
    frequencies = np.longdouble(base) ** (-np.arange(0, 64, 2, dtype=np.longdouble) / 64)
    angles = np.arange(8192, dtype=np.longdouble)[:, None] * frequencies
    assert np.array_equal(cos[:, ::2], np.cos(angles).astype(np.float32))
    assert np.array_equal(sin[:, 1::2], np.sin(angles).astype(np.float32))


def test_doubtful_entries_are_few_and_rounded_by_integers(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = rotary_tables(512, 64, 64, Fraction(10000))
    monkeypatch.setattr(rotary, "RELATIVE_ERROR", 2.0**-26)  # much is doubtful now
    for table, expected in zip(rotary_tables(512, 64, 64, Fraction(10000)), plain, strict=True):
        assert np.array_equal(table.view(np.uint32), expected.view(np.uint32))


@settings(max_examples=50, deadline=None)
@given(st.integers(0, (1 << rotary.PRECISION) - 1))
def test_exact_cos_sin_agrees_with_doubles(turns: int) -> None:
    cos, sin = rotary._exact_cos_sin(turns)
    angle = 2 * np.pi * (turns / (1 << rotary.PRECISION))
    assert abs(float(cos) - np.cos(angle)) < 2e-7 and abs(float(sin) - np.sin(angle)) < 2e-7


@given(st.integers(2, 2**300), st.sampled_from([2, 3, 5, 32, 511, 512]), st.integers(-1, 1))
def test_root_is_the_greatest_integer_below_whatever_its_degree(root: int, degree: int, more: int) -> None:
    assert rotary._root(root**degree + more, degree) == root - (more < 0)


def test_first_guess_of_a_root_is_near() -> None:
    guess = rotary._above_root(3 * 10000 << 256 * 511, 511)
    assert 0 <= guess - rotary._root(3 * 10000 << 256 * 511, 511) < guess >> 29


def test_factors_and_scale_divide_the_frequencies() -> None:
    whole = rotary_tables(64, 4, 4, Fraction(100))
    half = rotary_tables(64, 4, 4, Fraction(100), (Fraction(1), Fraction(1)), Fraction(2))
    by_factor = rotary_tables(64, 4, 4, Fraction(100), (Fraction(2), Fraction(4)))
    for table, halved, factored in zip(whole, half, by_factor, strict=True):
        assert np.array_equal(halved[::2], table[:32])
        assert np.array_equal(factored[::2, :2], table[:32, :2])
        assert np.array_equal(factored[::4, 2:], table[:16, 2:])


def test_columns_beyond_the_rotated_ones_stay_as_they_are() -> None:
    cos, sin = rotary_tables(16, 8, 4, Fraction(10))
    assert (cos[:, 4:] == 1).all() and not sin.view(np.uint32)[:, 4:].any()


def test_halves_pair_the_two_halves_of_a_head() -> None:
    cos, sin = rotary_tables(16, 8, 8, Fraction(10))
    cos_halves, sin_halves = rotary_tables(16, 8, 8, Fraction(10), halves=True)
    assert np.array_equal(cos_halves[:, :4], cos[:, ::2]) and np.array_equal(cos_halves[:, 4:], cos[:, 1::2])
    assert np.array_equal(sin_halves[:, :4], sin[:, ::2]) and np.array_equal(sin_halves[:, 4:], sin[:, 1::2])


def test_position_zero_has_no_negative_zero() -> None:
    _, sin = rotary_tables(1, 8, 8, Fraction(10000))
    assert not sin.view(np.uint32).any()
