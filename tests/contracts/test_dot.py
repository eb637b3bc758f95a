"""The inner loop of a dot product equals fma after fma, on any data, within its gas."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from opml.ops import softfloat
from opml.ops.quant import TENSOR_FORMATS, load
from tests.contracts.revm import Deployed
from tests.ops.bits import EDGES, floats

U32 = NDArray[np.uint32]
BYTES = (4, 2, 2)


@cache
def harness() -> Deployed:
    return Deployed("test/DotHarness")


def as_bits(values: NDArray[np.float64]) -> U32:
    with np.errstate(over="ignore"):
        return values.astype(np.float32).view(np.uint32)


def drawn(kind: str, rng: np.random.Generator, n: int) -> U32:
    """n operands: of the sizes that a model has, or of a kind that leaves the fast path."""
    normal = rng.standard_normal(n)
    if kind == "bits":
        return rng.integers(0, 1 << 32, n, np.uint32)
    if kind == "edges":
        return rng.choice(np.array(EDGES, np.uint32), n)
    if kind == "spread":  # exponents that no window holds
        return as_bits(normal * 2.0 ** rng.integers(-60, 60, n))
    if kind == "sparse":
        return np.where(rng.random(n) < 0.3, as_bits(normal), rng.choice([0, 1 << 31], n)).astype(np.uint32)
    if kind == "cancelling":
        return as_bits(rng.integers(-3, 4, n).astype(np.float64))
    if kind == "tiny":
        return as_bits(normal * 2.0**-74)
    if kind == "rare":
        bad = rng.choice(np.array([0x7F800000, 0x7FC00001, 1, 0x7F000000], np.uint32), n)
        return np.where(rng.random(n) < 0.05, bad, as_bits(normal)).astype(np.uint32)
    return as_bits(normal)


KINDS = ("normal", "bits", "edges", "spread", "sparse", "cancelling", "tiny", "rare")
STARTS = (0, 0x80000000, 1, 0x80000001, 0x3F800000, 0x7F800000, 0x7FC00000, 0x5F800000)


def expected(a: list[int], b: list[int], acc: int) -> int:
    for x, y in zip(a, b, strict=True):
        acc = softfloat.f32_fma(x, y, acc)
    return acc


def check(a: U32, b: U32, acc: int) -> float:
    """Gas a term; asserts the result."""
    result, gas = harness().call(
        "dot", a.astype("<u4").tobytes(), 0, b.astype("<u4").tobytes(), 0, len(a), acc
    )
    assert result == expected(a.tolist(), b.tolist(), acc)
    return float(gas) / len(a)


@pytest.mark.parametrize("kind_b", KINDS)
@pytest.mark.parametrize("kind_a", KINDS)
def test_dot_equals_fma_after_fma(kind_a: str, kind_b: str) -> None:
    rng = np.random.default_rng(KINDS.index(kind_a) * 8 + KINDS.index(kind_b))
    for acc in STARTS:
        n = int(rng.integers(1, 60))
        check(drawn(kind_a, rng, n), drawn(kind_b, rng, n), acc)


@settings(max_examples=200)
@given(st.lists(st.tuples(floats, floats), min_size=1, max_size=24), floats)
def test_dot_of_any_bits_equals_fma_after_fma(terms: list[tuple[int, int]], acc: int) -> None:
    a, b = np.array(terms, np.uint32).T
    check(a, b, acc)


@pytest.mark.parametrize("exponent", [-149, -140, -127, -126, -100, -80])
def test_sums_at_the_edge_of_underflow_round_once(exponent: int) -> None:
    """Products down to below the last place of subnormals: sums may round to a zero of either sign."""
    rng = np.random.default_rng(-exponent)
    for half in (exponent // 2, exponent // 2 - 5, exponent // 2 + 7):
        a = as_bits(rng.integers(-9, 10, 40) * 2.0**half)
        b = as_bits(rng.integers(-9, 10, 40) * 2.0 ** (exponent - half))
        for acc in (0, 0x80000000, 1, 0x80000001):
            check(a, b, acc)


@pytest.mark.parametrize("format_b", [0, 1, 2])
@pytest.mark.parametrize("format_a", [0, 1, 2])
def test_every_storage_format_is_unpacked_exactly(format_a: int, format_b: int) -> None:
    rng = np.random.default_rng(format_a * 3 + format_b)
    for n in (*range(1, 10), 31, 64):
        stored = [rng.integers(0, 256, n * BYTES[f], np.uint8) for f in (format_a, format_b)]
        values = [
            [
                load(TENSOR_FORMATS[f], int.from_bytes(data[i : i + BYTES[f]].tobytes(), "little"))
                for i in range(0, len(data), BYTES[f])
            ]
            for f, data in zip((format_a, format_b), stored, strict=True)
        ]
        result, _ = harness().call(
            "dot", stored[0].tobytes(), format_a, stored[1].tobytes(), format_b, n, 0x3F800000
        )
        assert result == expected(values[0], values[1], 0x3F800000)


def test_every_f16_is_unpacked_exactly() -> None:
    """Each alone, times one: its own value, and the eight lanes of a word one after the other."""
    every = np.arange(1 << 16, dtype="<u2")
    one = (0x3F800000).to_bytes(4, "big")
    for start in range(0, 1 << 16, 509):
        half = int(every[start])
        for lane in range(8):
            stored = np.zeros(8, "<u2")
            stored[lane] = half
            result, _ = harness().call("dot", stored.tobytes(), 1, one, 3, 8, 0)
            assert result == expected([softfloat.f32_from_f16(half)], [0x3F800000], 0)


def test_one_constant_for_all_terms() -> None:
    rng = np.random.default_rng(5)
    for n in (1, 7, 8, 9, 100):
        a = drawn("normal", rng, n)
        result, _ = harness().call(
            "dot", a.astype("<u4").tobytes(), 0, (0xBFC00000).to_bytes(4, "big"), 3, n, 0
        )
        assert result == expected(a.tolist(), [0xBFC00000] * n, 0)


def test_gas_a_term_is_within_the_figures() -> None:
    rng = np.random.default_rng(1)
    usual = [check(drawn("normal", rng, 256), drawn("normal", rng, 256), 0) for _ in range(12)]
    assert max(usual) <= 350
    assert sum(usual) / len(usual) <= 320


@pytest.mark.parametrize("kind", KINDS)
def test_gas_a_term_is_bounded_on_any_data(kind: str) -> None:
    rng = np.random.default_rng(2)
    for other in KINDS:
        for acc in STARTS:
            assert check(drawn(kind, rng, 64), drawn(other, rng, 64), acc) <= 1_600
