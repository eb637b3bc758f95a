"""Attention by the native interpreter over any data: infinities, NaNs, zeros of both signs, subnormals."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opml.models.parts import attention
from opml.vm import reference
from opml.vm.builder import ProgramBuilder, c, index, k, r, token
from opml.vm.encoding import encode
from opml.vm.isa import Ext, Fold, Format, Out, Program
from opml.vm.weights import Weight, Weights

native = pytest.importorskip("opml.vm._native")
LEVELS = native.levels()
VOCABULARY = 24
SPECIAL = [0, 1, 0x7FFFFF, 0x800000, 0x3F800000, 0x7F7FFFFF, 0x7F800000, 0x7FC00000, 0x7F800001, 0x33800000]


def words(seed: int, n: int, kind: str) -> np.ndarray:
    """uint32 [n]: `tame` as a real model has, `tiny` with subnormal products, `mixed`, `raw` bits."""
    rng = np.random.default_rng(seed)
    tame = rng.standard_normal(n).astype(np.float32)
    raw = rng.integers(0, 2**32, n, dtype=np.uint32)
    if kind == "raw":
        return raw
    if kind == "tiny":
        return (tame * np.float32(2.0) ** rng.integers(-140, -55, n).astype(np.float32)).view(np.uint32)
    if kind == "tame":
        return tame.view(np.uint32)
    special = rng.choice(np.array(SPECIAL, np.uint32), n) | rng.integers(0, 2, n, dtype=np.uint32) << 31
    return np.where(rng.random(n) < 0.01, special, tame.view(np.uint32)).astype(np.uint32)


def model(
    table: np.ndarray, heads: int, groups: int, head: int, window: int, key: Out, value: Out, limit: int
) -> tuple[Program, Weights]:
    """Query, key and value are rows of a table; the sample is the argmax of what attention gives."""
    builder = ProgramBuilder(limit)
    cols = (heads + 2 * groups) * head
    rows = builder.global_weight(VOCABULARY, cols, Format.F32)
    b = builder.block("all")

    def part(name: str, first: int, n: int, out: Out) -> object:
        at = index(token()) * cols + r * head + c + first * head
        return b.emit(name, n, head, rows(at), out=out)

    q, keys = part("q", 0, heads, Out.F32), part("k", heads, groups, key)
    values = part("v", heads + groups, groups, value)
    found = attention(b, q, keys, values, heads, groups, head, Ext(window, varies=True))  # type: ignore[arg-type]
    b.emit("sample", 1, 1, fold=Fold.ARGMAX, k=heads * head, body=(found(k),), out=Out.I32, yields=True)
    weights = Weights([Weight(VOCABULARY, cols, Format.F32, table.astype("<u4").tobytes())])
    return builder.program([(b, [])]), weights


@settings(max_examples=15, deadline=None)
@given(
    st.integers(0, 2**32),
    st.sampled_from(["tame", "tiny", "mixed", "raw"]),
    st.sampled_from([(1, 1, 16), (3, 1, 32), (6, 2, 64), (5, 5, 48), (8, 1, 80), (9, 3, 64)]),
    st.sampled_from([Out.F16, Out.F32]),
    st.sampled_from([Out.F16, Out.F32, Out.BF16]),
    st.sampled_from([7, 40]),
    st.sampled_from([1, 2, 3]),
)
def test_attention_over_any_data_gives_the_reference_root(
    seed: int, kind: str, shape: tuple[int, int, int], key: Out, value: Out, window: int, threads: int
) -> None:
    heads, groups, head = shape
    table = words(seed, VOCABULARY * (heads + 2 * groups) * head, kind)
    program, weights = model(table, heads, groups, head, window, key, value, 40)
    tokens = [int(x) for x in np.random.default_rng(seed).integers(0, VOCABULARY, 36)]
    root = reference.run(program, weights, tokens, 1).trace_root()
    for engine in ("soft", "native"):
        for level in LEVELS:
            machine = native.Machine(encode(program), [w.data for w in weights], engine, threads, level)
            session = machine.new_session()
            session.feed(tokens[:20], 0)
            for t in tokens[20:-1]:
                session.feed([t], 0)
            assert session.trace_root() == root, (engine, level)


@pytest.mark.parametrize("kind", ["tame", "mixed"])
@pytest.mark.parametrize("engine", ["soft", "native"])
def test_long_windows_equal_the_generic_path(engine: str, kind: str) -> None:
    heads, groups, head = 6, 2, 32
    table = words(5, VOCABULARY * (heads + 2 * groups) * head, kind)
    program, weights = model(table, heads, groups, head, 700, Out.F16, Out.F16, 900)
    tokens = [int(x) for x in np.random.default_rng(3).integers(0, VOCABULARY, 790)]
    data = [w.data for w in weights]
    roots = set()
    for generic, level, threads in [(True, "auto", 2), *((False, x, n) for x in LEVELS for n in (1, 2, 3))]:
        session = native.Machine(encode(program), data, engine, threads, level, generic).new_session()
        session.feed(tokens[:775], 0)
        for t in tokens[775:]:
            session.feed([t], 0)
        roots.add(session.trace_root())
    assert len(roots) == 1
