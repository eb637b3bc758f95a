"""Float32 and ScalarProgram equal the soft floats of the specification, to the bit, within their gas."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from opml.ops.program import Instruction, run_scalar
from opml.ops.softfloat import FUNCTIONS
from opml.ops.table import OP_BY_NAME, OPS, Op
from opml.ops.vectors import Entry, shipped_vectors
from tests.contracts.revm import Deployed
from tests.ops.bits import EDGES, floats

CALL = 4_000
CONVERSIONS = {("load", "f16"): 0, ("store", "f16"): 1, ("load", "bf16"): 2, ("store", "bf16"): 3}
MEASURED = {"add": (580, 1_200), "mul": (390, 1_250), "div": (450, 1_100), "sqrt": (370, 600)}
"""Gas on ordinary operands and on any: the call of the function included."""


@cache
def harness() -> Deployed:
    return Deployed("test/ScalarHarness")


def batch(op: Op, operands: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Results of cases, uint32 [arity, cases], in calls of at most CALL cases."""
    arity, cases = operands.shape
    parts = []
    for start in range(0, cases, CALL):
        words = operands[:, start : start + CALL].T.astype(">u4").tobytes()
        parts.append(np.frombuffer(harness().call("batch", op.code, arity, words), ">u4"))
    return np.concatenate(parts).astype(np.uint32)


@pytest.mark.parametrize("entry", shipped_vectors().values(), ids=lambda entry: entry.name)
def test_every_vector_gives_its_result(entry: Entry) -> None:
    if entry.check.kind == "op":
        got = batch(entry.check.op, entry.operands)
    else:
        kind = CONVERSIONS[entry.check.kind, entry.check.name]
        cases = [int(x) for x in entry.operands[0]]
        got = np.array(harness().call("convert", kind, cases), np.uint32)
    wrong = np.flatnonzero(got != entry.expected)
    assert not wrong.size, f"case {wrong[0]}: {got[wrong[0]]:#x}, expected {entry.expected[wrong[0]]:#x}"


@pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)
def test_every_pair_of_edges_equals_the_soft_float(op: Op) -> None:
    third = [0x00000000, 0x80000000, 0x00000001, 0x3F800000, 0xBF800001, 0x7F800000, 0x7F800001]
    if op.arity == 1:
        cases = [(a,) for a in EDGES]
    elif op.arity == 2:
        cases = [(a, b) for a in EDGES for b in EDGES]
    else:
        cases = [(a, b, c) for a in EDGES for b in EDGES for c in third]
    expected = [FUNCTIONS[op.code](*case) for case in cases]
    assert batch(op, np.array(cases, np.uint32).T).tolist() == expected


@pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)
@settings(max_examples=60)
@given(st.data())
def test_any_bits_equal_the_soft_float(op: Op, data: st.DataObject) -> None:
    cases = data.draw(st.lists(st.tuples(*[floats] * op.arity), min_size=1, max_size=40))
    expected = [FUNCTIONS[op.code](*case) for case in cases]
    assert batch(op, np.array(cases, np.uint32).T).tolist() == expected


def cancelling(rng: np.random.Generator, count: int) -> NDArray[np.uint32]:
    """fma operands whose product and addend nearly cancel, or are far apart by any gap."""
    a, b = rng.integers(0, 1 << 32, (2, count), np.uint32)
    product = a.view(np.float32).astype(np.float64) * b.view(np.float32)
    gaps = 2.0 ** rng.integers(-60, 60, count)
    with np.errstate(all="ignore"):
        c = (-product * np.where(rng.random(count) < 0.5, 1.0, gaps)).astype(np.float32).view(np.uint32)
    return np.stack([a, b, c + rng.integers(-2, 3, count).astype(np.uint32)])


def test_fma_of_cancelling_and_distant_operands_equals_the_soft_float() -> None:
    with np.errstate(all="ignore"):
        cases = cancelling(np.random.default_rng(3), 6_000)
    expected = [FUNCTIONS[5](*map(int, case)) for case in cases.T]
    assert batch(OP_BY_NAME["fma"], cases).tolist() == expected


def gas(name: str, cases: Sequence[Sequence[int]]) -> tuple[int, float]:
    """(most, mean) gas of an operation."""
    words = np.array(cases, ">u4").tobytes()
    most, total = harness().call("gasOf", OP_BY_NAME[name].code, len(cases[0]), words)
    return int(most), total / len(cases)


def ordinary(arity: int, count: int = 1_000) -> list[list[int]]:
    values = np.random.default_rng(1).standard_normal((count, arity)).astype(np.float32)
    return values.view(np.uint32).tolist()


@pytest.mark.parametrize("name", MEASURED)
def test_gas_is_within_the_figures(name: str) -> None:
    usual, worst = MEASURED[name]
    arity = OP_BY_NAME[name].arity
    assert gas(name, ordinary(arity))[1] <= usual
    cases = [[a, b][:arity] for a in EDGES for b in EDGES]
    assert gas(name, cases)[0] <= worst


def test_gas_of_fma_is_within_the_figures() -> None:
    values = np.random.default_rng(1).uniform(0.5, 2.0, (1_000, 3)).astype(np.float32)
    assert gas("fma", values.view(np.uint32).tolist())[1] <= 700
    assert gas("fma", [[a, b, c] for a in EDGES for b in EDGES for c in EDGES[::3]])[0] <= 1_600


@st.composite
def programs(draw: st.DrawFn) -> tuple[list[Instruction], list[int], list[int]]:
    """(code, inputs, pool) of a valid scalar program."""
    inputs = draw(st.lists(floats, min_size=1, max_size=6))
    pool = draw(st.lists(floats, max_size=5))
    code: list[Instruction] = []
    for _ in range(draw(st.integers(1, 12))):
        op = draw(st.sampled_from(OPS))
        places = [*range(len(inputs) + len(code)), *range(128, 128 + len(pool))]
        code.append(Instruction(op.code, *(draw(st.sampled_from(places)) for _ in range(op.arity))))
    return code, inputs, pool


@settings(max_examples=150)
@given(programs())
def test_program_equals_the_python_twin(case: tuple[list[Instruction], list[int], list[int]]) -> None:
    code, inputs, pool = case
    encoded = b"".join(bytes(op) for op in code)
    result, _ = harness().call("run", encoded, inputs, pool)
    assert result == run_scalar(code, inputs, pool)[-1]
