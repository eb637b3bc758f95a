"""The scalar soft floats against exact rational arithmetic and the shipped TestFloat cases."""

from __future__ import annotations

from fractions import Fraction
from math import isqrt

import pytest
from hypothesis import assume, given

from opml.ops import softfloat
from opml.ops.softfloat import F32_INF, F32_NAN, is_inf, is_nan, is_zero
from opml.ops.table import OP_BY_NAME, OPS
from opml.ops.vectors import CHECKS, shipped_vectors
from tests.ops.bits import EDGES, floats, nearest, value, words

VECTORS = shipped_vectors()


def finite(*operands: int) -> bool:
    return not any(is_nan(x) or is_inf(x) for x in operands)


@pytest.mark.parametrize("name", CHECKS)
def test_every_shipped_entry_passes_on_a_sample(name: str) -> None:
    entry = VECTORS[name]
    step = max(1, len(entry.expected) // 3000)
    rows = [*entry.operands[:, ::step].tolist(), entry.expected[::step].tolist()]
    for *operands, expected in zip(*rows, strict=True):
        assert entry.check.scalar(operands) == expected, [hex(x) for x in operands]


@given(floats, floats, floats)
def test_fma_rounds_the_exact_sum_once(a: int, b: int, c: int) -> None:
    assume(finite(a, b, c))
    exact = value(a) * value(b) + value(c)
    assume(exact != 0)
    assert softfloat.f32_fma(a, b, c) == nearest(exact)


@given(floats, floats)
def test_fma_rounds_once_where_the_sum_cancels(a: int, b: int) -> None:
    assume(finite(a, b))
    c = softfloat.f32_neg(softfloat.f32_mul(a, b))
    exact = value(a) * value(b) + value(c) if finite(c) else Fraction(0)
    assume(exact != 0)
    assert softfloat.f32_fma(a, b, c) == nearest(exact)


@given(floats, floats)
def test_add_and_sub_and_mul_round_the_exact_result(a: int, b: int) -> None:
    assume(finite(a, b))
    for function, exact in (
        (softfloat.f32_add, value(a) + value(b)),
        (softfloat.f32_sub, value(a) - value(b)),
        (softfloat.f32_mul, value(a) * value(b)),
    ):
        if exact != 0:
            assert function(a, b) == nearest(exact)


@given(floats, floats)
def test_div_rounds_the_exact_quotient(a: int, b: int) -> None:
    assume(finite(a, b) and not is_zero(a) and not is_zero(b))
    assert softfloat.f32_div(a, b) == nearest(value(a) / value(b))


@given(floats)
def test_sqrt_rounds_the_exact_root(a: int) -> None:
    a &= 0x7FFFFFFF
    assume(finite(a) and a != 0)
    exact = value(a)
    scale = 2**400  # the root to 200 fractional bits, and one more bit that says there is a rest
    wide = exact * scale
    root = isqrt(wide.numerator // wide.denominator)
    assert softfloat.f32_sqrt(a) == nearest(Fraction(2 * root + (root * root != wide), 2 * 2**200))


def test_zero_sums_have_the_sign_of_the_standard() -> None:
    zero, minus = 0, 0x80000000
    one, minus_one = 0x3F800000, 0xBF800000
    assert softfloat.f32_add(one, minus_one) == zero
    assert softfloat.f32_add(zero, minus) == softfloat.f32_add(minus, zero) == zero
    assert softfloat.f32_add(minus, minus) == minus
    assert softfloat.f32_sub(minus, zero) == minus
    assert softfloat.f32_fma(minus, one, minus) == minus
    assert softfloat.f32_fma(minus, one, zero) == zero
    assert softfloat.f32_fma(one, one, minus_one) == zero
    assert softfloat.f32_mul(minus, one) == softfloat.f32_div(zero, minus_one) == minus


@pytest.mark.parametrize(
    ("name", "operands"),
    [
        ("add", [F32_INF, F32_INF | 1 << 31]),
        ("sub", [F32_INF, F32_INF]),
        ("mul", [F32_INF, 0]),
        ("mul", [0x80000000, F32_INF]),
        ("div", [0, 0x80000000]),
        ("div", [F32_INF, F32_INF]),
        ("sqrt", [0xBF800000]),
        ("sqrt", [0x80000001]),
        ("fma", [F32_INF, 0, 0x3F800000]),
        ("fma", [F32_INF, 0x3F800000, F32_INF | 1 << 31]),
        ("fma", [0x7F7FFFFF, 0x7F7FFFFF, 0x7F800001]),
    ],
)
def test_invalid_operations_give_the_canonical_nan(name: str, operands: list[int]) -> None:
    assert softfloat.FUNCTIONS[OP_BY_NAME[name].code](*operands) == F32_NAN


@pytest.mark.parametrize("op", [op for op in OPS if op.code < 10], ids=lambda op: op.name)
def test_any_nan_operand_gives_the_canonical_nan(op) -> None:
    for nan in (0x7F800001, 0x7FFFFFFF, 0xFFC00000, 0xFF812345):
        for position in range(op.arity):
            operands = [0x3F800000] * op.arity
            operands[position] = nan
            assert softfloat.FUNCTIONS[op.code](*operands) == F32_NAN


def test_fma_of_an_overflowing_product_and_the_opposite_infinity_is_the_infinity() -> None:
    assert softfloat.f32_fma(0x7F7FFFFF, 0x7F7FFFFF, 0xFF800000) == 0xFF800000


def test_min_and_max_order_zeros() -> None:
    assert softfloat.f32_min(0, 0x80000000) == softfloat.f32_min(0x80000000, 0) == 0x80000000
    assert softfloat.f32_max(0, 0x80000000) == softfloat.f32_max(0x80000000, 0) == 0


def test_comparisons_are_quiet_and_know_equal_zeros() -> None:
    assert softfloat.f32_eq(0, 0x80000000) == softfloat.f32_le(0, 0x80000000) == 1
    assert softfloat.f32_lt(0x80000000, 0) == 0
    for compare in (softfloat.f32_eq, softfloat.f32_le, softfloat.f32_lt):
        assert compare(0x7FC00000, 0x7FC00000) == compare(0x7F800001, 0) == 0


@pytest.mark.parametrize(
    ("bits", "expected"),
    [
        (0x3F000000, 0), (0x3FC00000, 2), (0x40200000, 2), (0x40600000, 4), (0xBF000000, 0), (0xBFC00000, -2),
        (0x4F000000, 2**31 - 1), (0x4EFFFFFF, 2147483520), (0xCF000000, -(2**31)), (0xCF000001, -(2**31)),
        (F32_INF, 2**31 - 1), (0xFF800000, -(2**31)), (0x7FC00000, 0), (0xFF800001, 0), (1, 0),
        (0x4B000001, 8388609),
    ],
)  # fmt: skip
def test_i32_from_f32_rounds_to_even_and_saturates(bits: int, expected: int) -> None:
    assert softfloat.signed(softfloat.i32_from_f32(bits)) == expected


@given(words)
def test_f32_from_i32_rounds_the_integer(word: int) -> None:
    integer = softfloat.signed(word)
    assert softfloat.f32_from_i32(word) == (nearest(Fraction(integer)) if integer else 0)


@given(words, words)
def test_integer_operations_wrap(a: int, b: int) -> None:
    assert softfloat.i32_add(a, b) == (a + b) % 2**32
    assert softfloat.i32_sub(a, b) == (a - b) % 2**32
    assert softfloat.i32_mul(a, b) == (a * b) % 2**32
    assert softfloat.u32_mulhi(a, b) == (a * b) // 2**32
    assert softfloat.shift_left(a, b) == (a << b % 32) % 2**32
    assert softfloat.shift_right(a, b) == a >> b % 32
    assert softfloat.signed(softfloat.shift_right_signed(a, b)) == softfloat.signed(a) >> b % 32


def test_every_edge_pair_agrees_with_exact_addition() -> None:
    for a in EDGES:
        for b in EDGES:
            if finite(a, b) and value(a) + value(b) != 0:
                assert softfloat.f32_add(a, b) == nearest(value(a) + value(b))


def test_the_table_lists_codes_in_order_with_unique_names() -> None:
    assert [op.code for op in OPS] == list(range(26))
    assert len(OP_BY_NAME) == 26
    assert {op.arity for op in OPS} == {1, 2, 3}
