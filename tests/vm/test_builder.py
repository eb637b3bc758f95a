"""The builder writes the operands and operations that its notation says."""

from __future__ import annotations

import pytest

from opml.errors import ProgramError
from opml.ops.expr import add, const, mul
from opml.vm.builder import ACC0, Address, ProgramBuilder, axis, c, index, k, param, r, t, token
from opml.vm.isa import NO_INDEX, ROW, Axis, Ext, Fold, Format, Kind, Operand, Out, Pos, Term


def test_addresses_are_linear_in_the_axes() -> None:
    assert (r * 64 + c // 32 + 5).terms == (Term(Axis.R, 64), Term(Axis.C, div=32))
    assert (r * 64 + c // 32 + 5).base == 5
    assert ((c ^ 16) * 4).terms == (Term(Axis.C, 4, xor=16),)
    assert ((c ^ 1) // 2).terms == (Term(Axis.C, div=2, xor=1),)
    assert (r * ROW + k).terms == (Term(Axis.R, ROW), Term(Axis.K))
    assert (2 + t * 3).base == 2


@pytest.mark.parametrize(
    "write",
    [
        lambda: (r + c) // 2,
        lambda: (c * 2) // 2,
        lambda: (c + 1) ^ 1,
        lambda: (r + c) * ROW,
        lambda: (r * ROW) * 2,
        lambda: index(token()) + index(token()),
        lambda: index(add(token(), 1)),
        lambda: axis(c + 1),
    ],
)
def test_addresses_refuse_what_cannot_be_encoded(write: object) -> None:
    with pytest.raises(ProgramError):
        write()  # type: ignore[operator]


def test_operands_come_in_order_of_use_with_indices_before_their_readers() -> None:
    model = ProgramBuilder(8)
    w = model.global_weight(4, 8, Format.F32)
    b = model.block("block")
    n = b.emit("n", 1, 1, const(1), out=Out.I32)
    x = b.emit("x", 1, 8, mul(w(index(n()) * 8 + c), b.previous(c)))
    code = b.block().code
    assert code[1].operands == (
        Operand(Kind.SLOT, 1),
        Operand(Kind.GLOBAL, 0, index=0, terms=(Term(Axis.I, 8), Term(Axis.C))),
        Operand(Kind.SLOT, 2, terms=(Term(Axis.C),)),
    )
    assert x.number == 1


def test_equal_reads_are_one_operand_and_sections_are_counted_apart() -> None:
    model = ProgramBuilder(8)
    b = model.block("block")
    x = b.emit("x", 1, 8, param(0))
    b.emit("y", 1, 8, add(ACC0, mul(x(c), x(c))), fold=Fold.DOT, k=8, body=(x(k), x(k)))
    instr = b.block().code[1]
    assert instr.body_operands == 1 and len(instr.operands) == 2
    assert instr.result == (0, 0, 0, 0) and not instr.two
    assert [tuple(op) for op in instr.finish] == [(2, 1, 1, 0), (0, 0, 2, 0)]
    assert all(operand.index == NO_INDEX for operand in instr.operands)


def test_a_result_that_is_only_read_is_copied() -> None:
    model = ProgramBuilder(8)
    b = model.block("block")
    b.emit("copy", 1, 1, token(), out=Out.I32)
    b.emit("constant", 1, 1, const(1.0))
    code = b.block().code
    assert [tuple(op) for op in code[0].finish] == [(20, 0, 0, 0)]
    assert [tuple(op) for op in code[1].finish] == [(20, 128, 128, 0)]
    assert model.pool.constants == [0x3F800000]


def test_windows_name_their_axis() -> None:
    model = ProgramBuilder(8)
    b = model.block("block")
    x = b.emit("x", 1, 8, const(1.0))
    b.emit("y", 1, model.so_far, fold=Fold.DOT, k=8, body=(x(k), x.window_c(k)))
    b.emit("z", 1, 8, fold=Fold.DOT, k=model.so_far, body=(x.window_k(c), const(1.0)), terms=1)
    code = b.block().code
    assert [o.pos for o in code[1].operands] == [Pos.HERE, Pos.WINDOW_C]
    assert [o.pos for o in code[2].operands] == [Pos.WINDOW_K]
    assert code[2].result == (0, 128, 0, 0)
    assert model.so_far == Ext(8, varies=True)


@pytest.mark.parametrize(
    ("fold", "count"), [(Fold.DOT, 1), (Fold.DOT, 3), (Fold.QDOT, 2), (Fold.MAX, 2), (Fold.ARGMAX, 0)]
)
def test_emit_refuses_a_body_of_another_size(fold: Fold, count: int) -> None:
    b = ProgramBuilder(8).block("block")
    with pytest.raises(ProgramError, match="body"):
        b.emit("x", 1, 1, fold=fold, k=32, body=[const(1.0)] * count)


def test_emit_refuses_operations_in_a_qdot() -> None:
    b = ProgramBuilder(8).block("block")
    w = b.weight(4, 32)
    with pytest.raises(ProgramError, match="qdot"):
        b.emit("x", 1, 4, fold=Fold.QDOT, k=32, body=(w(c * 32 + k), b.previous(k), add(b.previous(), 1.0)))


def test_program_follows_the_schedule() -> None:
    model = ProgramBuilder(8, params=2)
    a, b = model.block("a"), model.block("b")
    b.weight(1, 32)
    program = model.program([(a, []), (b, [Format.F16]), (b, [Format.Q8_0])])
    assert program.schedule == (0, 1, 1)
    assert program.formats == ((), (Format.F16,), (Format.Q8_0,))
    assert (program.limit, program.params) == (8, 2)


def test_address_of_a_scalar_is_its_only_element() -> None:
    assert Address() == Address((), 0, None)
