"""Sums of products at every level where a wrong shortcut would show: extreme bytes, midpoints, any floats."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opml.ops import softfloat
from opml.ops.expr import add, const, f2i, mul
from opml.ops.table import OP_BY_NAME
from opml.vm import reference
from opml.vm.builder import ACC0, BlockBuilder, ProgramBuilder, c, index, k, r, token
from opml.vm.encoding import encode
from opml.vm.isa import Fold, Format, Out, Program
from opml.vm.weights import Weight, Weights
from tests.vm.test_native_attention import LEVELS, native, words
from tests.vm.test_native_scales import UNIT_BYTES, damaged

VOCABULARY = 16


def check(program: Program, weights: Weights, tokens: list[int]) -> None:
    """The root of a batch, then of single positions, is the reference's at every level."""
    root = reference.run(program, weights, tokens, 1).trace_root()
    for engine in ("soft", "native"):
        for level in LEVELS:
            machine = native.Machine(encode(program), [w.data for w in weights], engine, 2, level)
            for batch in (len(tokens) - 1, 1):
                session = machine.new_session()
                for first in range(0, len(tokens) - 1, batch):
                    session.feed(tokens[first : first + batch][: len(tokens) - 1 - first], 0)
                assert session.trace_root() == root, (engine, level, batch)


def finish(b: BlockBuilder, builder: ProgramBuilder, x: object, n: int) -> Program:
    b.emit("sample", 1, 1, fold=Fold.ARGMAX, k=n, body=(x(k),), out=Out.I32, yields=True)  # type: ignore[operator]
    return builder.program([(b, [])])


def unit_weights(fmt: Format, units: int, rng: np.random.Generator, kind: str) -> bytes:
    """Units of ordinary scales, their values at the ends or any."""
    size = UNIT_BYTES[fmt]
    data = rng.integers(0, 256, (units, size), dtype=np.uint8)
    if kind == "ends":
        data[:] = rng.choice(np.array([0x00, 0xFF, 0x80, 0x7F], np.uint8), (units, 1))
    floats = 2 if fmt in (Format.Q4_1, Format.Q5_1) else 1
    halves = rng.standard_normal((units, floats)).astype(np.float16)
    data[:, : 2 * floats] = halves.view(np.uint8).reshape(units, 2 * floats)
    return data.tobytes()


def one_product(
    seed: int, fmt: Format, kind: str, scales: str, units: int, rows: int
) -> tuple[Program, Weights]:
    """One product of a quantised weight with activations that the token picks."""
    rng, n = np.random.default_rng(seed), 32 * units
    builder = ProgramBuilder(128)
    table = builder.global_weight(VOCABULARY, n, Format.F32)
    factors = builder.global_weight(VOCABULARY, units, Format.F32)
    weight = builder.global_weight(rows, n, fmt)
    b = builder.block("all")
    q = b.emit("q", 1, n, f2i(table(index(token()) * n + c)), out=Out.I8)
    d = b.emit("d", 1, units, factors(index(token()) * units + c))
    y = b.emit("y", 1, rows, fold=Fold.QDOT, k=n, body=(weight(c * n + k), q(k), d(k // 32)))
    program = finish(b, builder, y, rows)
    extreme = rng.choice(np.array([-128, 127], np.float32), (VOCABULARY, n))
    extreme[:4], extreme[4:8] = -128, 127
    values = extreme if kind == "ends" else rng.integers(-128, 128, (VOCABULARY, n)).astype(np.float32)
    quantised = Weight(rows, n, fmt, unit_weights(fmt, rows * units, rng, kind))
    return program, Weights(
        [
            Weight(VOCABULARY, n, Format.F32, values.astype("<f4").tobytes()),
            Weight(VOCABULARY, units, Format.F32, words(seed, VOCABULARY * units, scales).tobytes()),
            quantised if scales == "tame" else damaged(quantised, rng, 0.02),
        ]
    )


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 2**32),
    st.sampled_from([*UNIT_BYTES]),
    st.sampled_from(["ends", "any"]),
    st.sampled_from([1, 8, 9]),
    st.sampled_from([40, 64, 157]),
)
def test_products_of_extreme_bytes_give_the_reference_root(
    seed: int, fmt: Format, kind: str, units: int, rows: int
) -> None:
    """157 rows are ten groups of 16: two for each of four streams, and two left."""
    program, weights = one_product(seed, fmt, kind, "tame", units, rows)
    check(program, weights, [int(x) for x in np.random.default_rng(seed).integers(0, VOCABULARY, 20)])


@pytest.mark.parametrize("reads", [(False, False), (True, False), (False, True), (True, True)])
def test_products_of_the_same_activations_may_read_each_other(reads: tuple[bool, bool]) -> None:
    """Three products are computed together unless a later one reads an earlier one's result."""
    rng, units, rows = np.random.default_rng(3), 9, 80
    n = 32 * units
    builder = ProgramBuilder(64)
    table = builder.global_weight(VOCABULARY, n, Format.F32)
    scales = builder.global_weight(VOCABULARY, units, Format.F32)
    b = builder.block("all")
    q = b.emit("q", 1, n, f2i(table(index(token()) * n + c)), out=Out.I8)
    d = b.emit("d", 1, units, scales(index(token()) * units + c))
    data = []
    found: list[Any] = []
    for number in range(3):
        weight = builder.global_weight(rows, n, Format.Q4_1)
        data.append(Weight(rows, n, Format.Q4_1, unit_weights(Format.Q4_1, rows * units, rng, "any")))
        closing = (
            add(ACC0, found[-1](c ^ 1)) if number > 0 and reads[number - 1] else mul(ACC0, const(0x3F000001))
        )
        found.append(
            b.emit(
                f"y{number}",
                1,
                rows,
                closing,
                fold=Fold.QDOT,
                k=n,
                body=(weight(c * n + k), q(k), d(k // 32)),
            )
        )
    z = b.emit("z", 1, rows, add(found[0](c), mul(found[1](c), found[2](c))))
    program = finish(b, builder, z, rows)
    values = rng.integers(-128, 128, (VOCABULARY, n)).astype("<f4")
    weights = Weights(
        [
            Weight(VOCABULARY, n, Format.F32, values.tobytes()),
            Weight(VOCABULARY, units, Format.F32, words(3, VOCABULARY * units, "tame").tobytes()),
            *data,
        ]
    )
    check(program, weights, [int(x) for x in rng.integers(0, VOCABULARY, 20)])


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 2**32),
    st.sampled_from(["tame", "tiny", "mixed", "raw"]),
    st.integers(1, 19),
    st.integers(64, 600),
    st.booleans(),
)
def test_folds_of_any_length_give_the_reference_root(
    seed: int, kind: str, rows: int, length: int, squares: bool
) -> None:
    builder = ProgramBuilder(64)
    table = builder.global_weight(VOCABULARY, rows * length, Format.F32)
    b = builder.block("all")
    x = b.emit("x", rows, length, table(index(token()) * (rows * length) + r * length + c))
    at = x(r * length + k)
    y = b.emit("y", rows, 1, fold=Fold.DOT, k=length, body=(at, at if squares else const(0x3F800001)))
    program = finish(b, builder, y, rows)
    data = words(seed, VOCABULARY * rows * length, kind).astype("<u4").tobytes()
    weights = Weights([Weight(VOCABULARY, rows * length, Format.F32, data)])
    check(program, weights, [int(t) for t in np.random.default_rng(seed).integers(0, VOCABULARY, 6)])


def near_midpoints(seed: int, n: int) -> np.ndarray:
    """uint32 [3, n]: a * b + c lies at a midpoint of two floats, next to one, or below the normal range."""
    rng = np.random.default_rng(seed)
    z = rng.standard_normal(n) * 2.0 ** rng.integers(-20, 20, n)
    addend = z.astype(np.float32)
    half = np.spacing(np.abs(addend)).astype(np.float64) / 2 * rng.choice([1, 2, 3, -1, -3], n)
    factor = (1 + rng.integers(0, 3, n) * 2.0**-23).astype(np.float32)
    other = (half / factor).astype(np.float32)
    tiny = rng.random(n) < 0.25
    scale = np.where(tiny, 2.0 ** rng.integers(-149, -120, n), 1)
    a = np.where(tiny, rng.standard_normal(n) * 2.0**-70, factor).astype(np.float32)
    b = np.where(tiny, rng.standard_normal(n) * 2.0**-66, other).astype(np.float32)
    c_ = np.where(tiny, rng.standard_normal(n) * scale, addend).astype(np.float32)
    return np.stack([a, b, c_]).view(np.uint32)


@pytest.mark.parametrize("engine", ["soft", "native"])
@pytest.mark.parametrize("level", LEVELS)
def test_fma_next_to_midpoints_equals_the_python_definition(engine: str, level: str) -> None:
    x = near_midpoints(7, 4_000)
    fma = OP_BY_NAME["fma"].code
    got = native.eval_program(engine, bytes([fma, 0, 1, 2]), x, np.zeros(0, np.uint32), level)
    assert got.tolist() == [softfloat.FUNCTIONS[fma](*(int(v) for v in row)) for row in x.T]
