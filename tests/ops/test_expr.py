from __future__ import annotations

import struct
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from opml.errors import ProgramError
from opml.ops import expr
from opml.ops.expr import (
    Expr,
    Pool,
    add,
    const,
    describe,
    f32_from_double,
    fma,
    leaf,
    leaves_of,
    lower,
    lower_single,
    mul,
)
from opml.ops.program import Instruction, check, run_scalar
from opml.ops.table import OP_BY_NAME, OPS
from tests.ops.bits import EDGES, nearest

BUILDERS = {op.name: getattr(expr, op.name, None) or getattr(expr, op.name + "_") for op in OPS}


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_float_constants_are_rounded_once_to_even(x: float) -> None:
    expected = nearest(Fraction(x)) if x else struct.unpack(">I", struct.pack(">f", x))[0]
    assert f32_from_double(x) == expected


@pytest.mark.parametrize("bits", [b for b in EDGES if (b & 0x7FFFFFFF) <= 0x7F800000])
def test_float_constants_that_are_f32_stay_what_they_are(bits: int) -> None:
    assert f32_from_double(float(np.uint32(bits).view(np.float32))) == bits


def test_float_constants_at_ties_and_limits() -> None:
    assert f32_from_double(1 + 2.0**-24) == 0x3F800000
    assert f32_from_double(1 + 3 * 2.0**-24) == 0x3F800002
    assert f32_from_double(2.0**-150) == 0 and f32_from_double(1.5 * 2.0**-150) == 1
    assert f32_from_double(5e-324) == 0 and f32_from_double(-5e-324) == 0x80000000
    assert f32_from_double(2.0**128 - 2.0**103) == 0x7F800000
    assert f32_from_double(float("nan")) == 0x7FC00000
    assert f32_from_double(float("-inf")) == 0xFF800000


def test_integer_constants_are_raw_bits() -> None:
    assert const(1).bits == 1 and const(-1).bits == 0xFFFFFFFF and const(1.0).bits == 0x3F800000
    for wide in (1 << 32, -(1 << 31) - 1):
        with pytest.raises(ProgramError, match="32 bits"):
            const(wide)


@pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)
def test_every_operation_has_a_builder_that_lowers_to_it(op) -> None:
    keys = ["x", "y", "z"][: op.arity]
    code, results = lower([BUILDERS[op.name](*map(leaf, keys))], keys, 5, Pool())
    assert code == [Instruction(op.code, *range(5, 5 + op.arity))] and results == [5 + op.arity]


def test_equal_subexpressions_are_emitted_once() -> None:
    def square(x: Expr) -> Expr:
        return mul(x, leaf("x"))

    pool = Pool()
    code, results = lower([add(square(leaf("x")), square(leaf("x"))), square(leaf("x"))], ["x"], 0, pool)
    assert [i.op for i in code] == [OP_BY_NAME["mul"].code, OP_BY_NAME["add"].code]
    assert results == [2, 1] and pool.constants == []


def test_operands_are_emitted_left_to_right_depth_first() -> None:
    x, y = leaf("x"), leaf("y")
    code, _ = lower([fma(mul(x, 2.0), add(y, 3.0), mul(y, y))], ["x", "y"], 0, pool := Pool())
    assert describe(code, 2, pool.constants) == [
        "r2 = mul r0 0x40000000",
        "r3 = add r1 0x40400000",
        "r4 = mul r1 r1",
        "r5 = fma r2 r3 r4",
    ]


def test_the_pool_is_shared_and_holds_each_constant_once() -> None:
    pool = Pool()
    lower([add(leaf("x"), 1.0)], ["x"], 0, pool)
    code, _ = lower([add(mul(leaf("x"), 2.0), 1.0)], ["x"], 0, pool)
    assert pool.constants == [0x3F800000, 0x40000000]
    assert code == [Instruction(OP_BY_NAME["mul"].code, 0, 129), Instruction(OP_BY_NAME["add"].code, 1, 128)]


def test_a_129th_constant_is_refused() -> None:
    pool = Pool(list(range(128)))
    lower([add(leaf("x"), 127)], ["x"], 0, pool)
    with pytest.raises(ProgramError, match="at most 128 distinct constants"):
        lower([add(leaf("x"), 128)], ["x"], 0, pool)


def test_too_many_registers_are_refused() -> None:
    x = leaf("x")
    for _ in range(127):
        x = add(x, 1.0)
    code, _ = lower([x], ["x"], 0, Pool())
    check(code, 1, 1)
    with pytest.raises(ProgramError, match="at most 128 registers"):
        lower([add(x, 1.0)], ["x"], 0, Pool())


def test_an_unknown_leaf_is_refused() -> None:
    with pytest.raises(ProgramError, match="'y'"):
        lower([leaf("y")], ["x"], 0, Pool())


@pytest.mark.parametrize("value", [leaf("x"), const(2.5)])
def test_a_single_leaf_or_constant_is_copied(value: Expr) -> None:
    pool = Pool()
    code = lower_single(value, ["x"], 0, pool)
    assert [i.op for i in code] == [OP_BY_NAME["or"].code]
    assert run_scalar(code, [0x40200000], pool.constants)[-1] == 0x40200000


def test_a_single_result_is_the_last_register() -> None:
    x = leaf("x")
    expr_ = add(mul(x, x), mul(x, 2.0))
    code, (result,) = lower([expr_], ["x"], 3, Pool())
    assert lower_single(expr_, ["x"], 3, Pool()) == code and result == 3 + 1 + len(code) - 1


def test_leaves_are_listed_once_in_order() -> None:
    shared = mul(leaf("b"), leaf("a"))
    assert leaves_of([add(shared, leaf("c")), shared]) == ["b", "a", "c"]
