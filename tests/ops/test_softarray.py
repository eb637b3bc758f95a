"""The array forms equal the scalar forms, the shipped vectors and, as an extra check, hardware floats."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from opml.ops import softarray, softfloat
from opml.ops.table import OPS, Op
from opml.ops.vectors import CHECKS, shipped_vectors
from tests.ops.bits import EDGES, floats, words

VECTORS = shipped_vectors()


def mixed_words(shape: tuple[int, ...], seed: int) -> np.ndarray:
    """Raw words, floats with close exponents, subnormals and edges, in equal parts."""
    rng = np.random.default_rng(seed)
    raw = rng.integers(0, 2**32, shape, np.uint32)
    close = raw & 0x81FFFFFF | rng.integers(0x3E, 0x41, shape).astype(np.uint32) << 24
    small = raw & 0x80FFFFFF
    edges = np.array(EDGES, np.uint32)[rng.integers(0, len(EDGES), shape)]
    return np.choose(rng.integers(0, 4, shape), [raw, close, small, edges])


@pytest.mark.parametrize("name", CHECKS)
def test_every_shipped_entry_passes(name: str) -> None:
    entry = VECTORS[name]
    assert np.array_equal(entry.check.array(entry.operands), entry.expected)


@pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)
def test_array_equals_scalar_on_mixed_words(op: Op) -> None:
    operands = mixed_words((op.arity, 3000), seed=op.code)
    got = softarray.FUNCTIONS[op.code](*operands)
    assert got.dtype == np.uint32
    assert got.tolist() == [softfloat.FUNCTIONS[op.code](*row) for row in operands.T.tolist()]


@pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)
@given(st.data())
def test_array_equals_scalar_on_drawn_bits(op: Op, data: st.DataObject) -> None:
    rows = data.draw(st.lists(st.tuples(*[floats] * op.arity), min_size=1, max_size=8))
    got = softarray.FUNCTIONS[op.code](*np.array(rows, np.uint32).T)
    assert got.tolist() == [softfloat.FUNCTIONS[op.code](*row) for row in rows]


@pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)
def test_operands_broadcast_and_scalars_do_not_warn(op: Op) -> None:
    shapes = [(3, 1, 2), (4, 1), ()][: op.arity]
    operands = [mixed_words(shape, seed=n) for n, shape in enumerate(shapes)]
    got = softarray.FUNCTIONS[op.code](*operands)
    same = np.broadcast_arrays(*operands)
    expected = [
        softfloat.FUNCTIONS[op.code](*row) for row in zip(*(x.ravel().tolist() for x in same), strict=True)
    ]
    assert got.shape == same[0].shape and got.ravel().tolist() == expected
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        softarray.FUNCTIONS[op.code](*[0xFFFFFFFF] * op.arity)
        softarray.FUNCTIONS[op.code](*[np.zeros((0,), np.uint32)] * op.arity)


HARDWARE: list[tuple[Callable[..., np.ndarray], Callable[..., np.ndarray], int]] = [
    (softarray.f32_add, np.add, 2),
    (softarray.f32_sub, np.subtract, 2),
    (softarray.f32_mul, np.multiply, 2),
    (softarray.f32_div, np.divide, 2),
    (softarray.f32_sqrt, np.sqrt, 1),
]


@pytest.mark.parametrize(("soft", "hard", "arity"), HARDWARE, ids=lambda x: getattr(x, "__name__", None))
def test_this_machines_floats_agree(soft, hard, arity: int) -> None:
    operands = mixed_words((arity, 200_000), seed=7)
    with np.errstate(all="ignore"):
        z = hard(*operands.view(np.float32))
    expected = np.where(np.isnan(z), softarray.as_u32(softfloat.F32_NAN), z.view(np.uint32))
    assert np.array_equal(soft(*operands), expected)


def test_every_f16_and_bf16_loads_exactly() -> None:
    every = np.arange(1 << 16, dtype=np.uint16)
    f16 = every.view(np.float16).astype(np.float32)
    expected = np.where(np.isnan(f16), np.uint32(softfloat.F32_NAN), f16.view(np.uint32))
    assert np.array_equal(softarray.f32_from_f16(every), expected)
    assert softarray.f32_from_f16(every).tolist() == [softfloat.f32_from_f16(h) for h in range(1 << 16)]
    assert softarray.f32_from_bf16(every).tolist() == [softfloat.f32_from_bf16(h) for h in range(1 << 16)]


def test_f16_store_agrees_with_numpy_and_keeps_every_f16() -> None:
    bits = np.concatenate(
        [mixed_words((100_000,), 8), np.arange(0x33000000, 0x47900000, 4001, dtype=np.uint32)]
    )
    with np.errstate(all="ignore"):
        half = bits.view(np.float32).astype(np.float16)
    expected = np.where(np.isnan(half), np.uint16(softfloat.F16_NAN), half.view(np.uint16))
    assert np.array_equal(softarray.f16_from_f32(bits), expected)
    every = np.arange(1 << 16, dtype=np.uint16)
    kept = np.where(np.isnan(every.view(np.float16)), np.uint16(softfloat.F16_NAN), every)
    assert np.array_equal(softarray.f16_from_f32(softarray.f32_from_f16(every)), kept)


@given(st.lists(words, min_size=1, max_size=30))
def test_stores_and_keys_equal_the_scalar_forms(values: list[int]) -> None:
    bits = np.array(values, np.uint32)
    assert softarray.f16_from_f32(bits).tolist() == [softfloat.f16_from_f32(x) for x in values]
    assert softarray.bf16_from_f32(bits).tolist() == [softfloat.bf16_from_f32(x) for x in values]
    assert softarray.i8_from_i32(bits).view(np.uint8).tolist() == [softfloat.i8_from_i32(x) for x in values]
    assert softarray.order_key(bits).tolist() == [softfloat.order_key(x) for x in values]
