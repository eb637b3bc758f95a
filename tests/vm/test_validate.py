"""Each rule of the validator, with a program that breaks only that rule."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest

from opml.errors import ProgramError
from opml.ops.expr import Expr, add, const, mul
from opml.vm import cost
from opml.vm.builder import (
    ACC0,
    ACC1,
    Address,
    BlockBuilder,
    ProgramBuilder,
    Slot,
    WeightRef,
    axis,
    c,
    index,
    k,
    param,
    r,
    t,
    token,
)
from opml.vm.isa import ROW, Ext, Fold, Format, Instr, Kind, Operand, Out, Program, Shape
from opml.vm.validate import _kinds, validate
from tests.vm.programs import MODELS, Model

LIMIT = 8


@dataclass
class Bench:
    """A program in the making: `x` f32 2 x 32, `wide` f32 2 x min(t + 1, 8), `q` i8 1 x 64, `d` its scales,
    `n` i32 1 x 2; `w` is a quantised global of 40 x 64, `f` an f32 weight of 40 x 64."""

    model: ProgramBuilder
    b: BlockBuilder
    x: Slot
    wide: Slot
    q: Slot
    d: Slot
    n: Slot
    w: WeightRef
    f: WeightRef

    @property
    def window(self) -> Ext:
        return self.model.so_far

    def emit(self, rows: int | Ext, cols: int | Ext, finish: Expr = ACC0, **options: object) -> Slot:
        return self.b.emit("test", rows, cols, finish, **options)  # type: ignore[arg-type]

    def done(self) -> Program:
        self.b.emit("sample", 1, 1, const(0), out=Out.I32, yields=True)
        return self.model.program([(self.b, [Format.F32])])


def bench() -> Bench:
    model = ProgramBuilder(LIMIT)
    w = model.global_weight(40, 64, Format.Q4_1)
    b = model.block("block")
    f = b.weight(40, 64)
    x = b.emit("x", 2, 32, f(r * 64 + c))
    wide = b.emit("wide", 2, model.so_far, add(x(r * ROW), const(1.0)))
    q = b.emit("q", 1, 64, const(3), out=Out.I8)
    d = b.emit("d", 1, 2, const(0.5))
    n = b.emit("n", 1, 2, const(1), out=Out.I32)
    return Bench(model, b, x, wide, q, d, n, w, f)


Write = Callable[[Bench], object]


def dot(z: Bench, a: Expr, length: int | Ext = 32, **options: object) -> None:
    z.emit(2, 4, fold=Fold.DOT, k=length, body=(a, const(1.0)), **options)


def qdot(
    z: Bench, weight: Address, x: Address = k, d: Address = k // 32, length: int | Ext = 64, **options: object
) -> None:
    z.emit(1, 40, fold=Fold.QDOT, k=length, body=(z.w(weight), z.q(x), z.d(d)), **options)


GOOD: dict[str, Write] = {
    "plain reads": lambda z: z.emit(2, 32, mul(z.x(r * ROW + c), z.f(r * 64 + c + 3))),
    "partner": lambda z: z.emit(2, 32, z.x(r * ROW + (c ^ 16))),
    "by position": lambda z: z.emit(1, 64, z.f(t * 64 + c)),
    "varying row": lambda z: z.emit(2, z.window, z.wide(r * ROW + c)),
    "fold over a varying row": lambda z: dot(z, z.wide(r * ROW + k), z.window, terms=2),
    "window": lambda z: dot(z, z.x.window_k(c + 5), z.window, terms=1),
    "index": lambda z: z.emit(1, 64, z.f(index(z.n()) * 64 + c)),
    "index of an index": lambda z: z.emit(1, 4, z.f(index(z.n(index(z.n(c // 2)))) * 64 + c)),
    "index by token": lambda z: qdot(z, index(token()) * 64 + k),
    "quantised": lambda z: qdot(z, c * 64 + k, terms=32),
    "all scalars": lambda z: z.emit(1, 4, add(add(param(3), axis(c)), add(axis(t), token()))),
}

BAD: dict[str, tuple[int, str, Write]] = {
    "slot before the first": (2, "slots back", lambda z: z.emit(1, 1, Slot(-1)())),
    "no such parameter": (2, "param", lambda z: z.emit(1, 1, param(4))),
    "finish reads k": (2, "finish", lambda z: z.emit(1, 1, z.x(k))),
    "finish reads axis k": (2, "finish", lambda z: z.emit(1, 1, axis(k))),
    "finish reads a window over k": (2, "finish", lambda z: z.emit(1, 1, z.x.window_k(c))),
    "rows that vary": (3, "rows", lambda z: z.emit(z.window, 1, const(1.0))),
    "no columns": (3, "columns", lambda z: z.emit(1, 0, const(1.0))),
    "no rows": (3, "rows", lambda z: z.emit(0, 1, const(1.0))),
    "varying beyond the limit": (3, "vary", lambda z: z.emit(1, Ext(9, True), const(1.0))),
    "too many elements": (3, "2\\^31", lambda z: z.emit(1 << 16, 1 << 15, const(1.0))),
    "fold of no length": (3, "fold length", lambda z: dot(z, const(1.0), 0)),
    "length without a fold": (3, "fold length", lambda z: z.emit(1, 1, const(1.0), k=3)),
    "beyond the end": (4, "reaches element", lambda z: z.emit(2, 32, z.x(r * ROW + c + 1))),
    "beyond the end in a fold": (4, "reaches element", lambda z: dot(z, z.x(k), 65)),
    "beyond the end at the limit": (4, "reaches element", lambda z: z.emit(1, 64, z.f(t * 512 + c))),
    "beyond the end by division": (4, "reaches element", lambda z: z.emit(1, 130, z.x(c // 2))),
    "row beyond the end": (4, "reaches row", lambda z: z.emit(3, z.window, z.wide(r * ROW + c))),
    "xor leaves the axis": (4, "xor", lambda z: z.emit(2, 24, z.x(c ^ 16))),
    "xor of a varying axis": (4, "xor", lambda z: z.emit(1, z.window, z.x(c ^ 1))),
    "xor of the position": (4, "xor", lambda z: z.emit(1, 1, z.x(t ^ 1))),
    "an axis twice": (4, "twice", lambda z: z.emit(1, 4, z.x(c + c * 4))),
    "factor 0": (4, "at least 1", lambda z: z.emit(1, 4, z.x(c * 0))),
    "divisor 0": (4, "at least 1", lambda z: z.emit(1, 4, z.x(c // 0))),
    "part of a varying row": (5, "varying row", lambda z: z.emit(2, 1, z.wide(r * ROW))),
    "varying row from the middle": (5, "varying row", lambda z: z.emit(1, z.window, z.wide(c + 1))),
    "varying row of another extent": (5, "varying row", lambda z: z.emit(1, Ext(4, True), z.wide(c))),
    "varying row by halves": (5, "varying row", lambda z: z.emit(1, z.window, z.wide(c // 2))),
    "window over a constant axis": (6, "varies", lambda z: dot(z, z.x.window_k(c), 4)),
    "window of ROW": (6, "ROW", lambda z: dot(z, z.x.window_k(r * ROW), z.window, terms=1)),
    "window of a varying slot": (
        6,
        "every position",
        lambda z: dot(z, z.wide.window_k(c), z.window, terms=1),
    ),
    "index from a float": (8, "i32", lambda z: z.emit(1, 1, z.f(index(z.x()) * 64))),
    "index that does not divide": (8, "divide", lambda z: z.emit(1, 1, z.f(index(z.n()) * 48))),
    "index of rows": (8, "ROW", lambda z: z.emit(1, 1, z.f(index(z.n()) * ROW))),
    "index of varying rows": (8, "ROW", lambda z: z.emit(1, z.window, z.wide(index(z.n()) * ROW + c))),
    "index with more beyond it": (4, "reaches", lambda z: z.emit(1, 65, z.f(index(z.n()) * 64 + c))),
    "quantised weight not along k": (9, "along k", lambda z: qdot(z, c * 64 + k // 2)),
    "quantised weight off its unit": (9, "multiples", lambda z: qdot(z, c * 48 + k)),
    "quantised weight from the middle": (9, "multiples", lambda z: qdot(z, k + 16)),
    "length not of units": (9, "multiple", lambda z: qdot(z, c * 64 + k, length=48)),
    "length of a qdot that varies": (9, "multiple", lambda z: qdot(z, k, length=z.window, terms=32)),
    "activations not along k": (9, "activations", lambda z: qdot(z, c * 64 + k, x=k // 2)),
    "scales by another unit": (9, "scales", lambda z: qdot(z, c * 64 + k, d=k // 64)),
    "index of activations": (9, "no index", lambda z: qdot(z, k, x=index(token()) * 64 + k)),
    "index of scales": (9, "no index", lambda z: qdot(z, k, d=index(token()) * 2 + k // 32)),
    "index along k of a quantised weight": (
        9,
        "depend on k",
        lambda z: qdot(z, index(z.n(k // 32)) * 64 + k),
    ),
    "few terms of a qdot": (12, "32 terms", lambda z: qdot(z, c * 64 + k, terms=16)),
    "whole fold of varying length": (12, "needs terms", lambda z: dot(z, z.wide(r * ROW + k), z.window)),
    "totals that fit no transaction": (12, "running totals", lambda z: dot(z, z.x(c), 1 << 24, terms=1)),
    "terms without a fold": (12, "terms", lambda z: z.emit(1, 1, const(1.0), terms=1)),
    "terms of a virtual slot": (11, "virtual", lambda z: dot(z, z.x(k), virtual=True, terms=1)),
    "reads after yielding": (7, "after a yields", lambda z: (z.emit(1, 1, const(1.0), yields=True), z.x)),
}


@pytest.mark.parametrize("name", MODELS)
def test_models_are_valid(name: str) -> None:
    program = MODELS[name]().program
    assert validate(program).program is program


@pytest.mark.parametrize("name", GOOD)
def test_accepts(name: str) -> None:
    z = bench()
    GOOD[name](z)
    validate(z.done())


@pytest.mark.parametrize("name", BAD)
def test_refuses(name: str) -> None:
    rule, message, write = BAD[name]
    z = bench()
    write(z)
    if name == "reads after yielding":
        z.emit(1, 1, const(1.0))
    with pytest.raises(ProgramError, match=f"rule {rule}: .*{message}"):
        validate(z.done())


def test_refuses_a_step_that_is_too_large() -> None:
    model = ProgramBuilder(LIMIT)
    b = model.block("block")
    f = b.weight(64, 8192)
    b.emit("long", 1, 1, fold=Fold.DOT, k=8192, body=(f(k), f(k + 8192)))
    b.emit("sample", 1, 1, const(0), out=Out.I32, yields=True)
    with pytest.raises(ProgramError, match="rule 13: the worst step"):
        validate(model.program([(b, [Format.F32])]))


# What the builder cannot write -------------------------------------------------------------------------


def changed(write: Write, change: Callable[[Instr], Instr], at: int = -2) -> Program:
    """A bench with one more instruction, which is then changed."""
    z = bench()
    write(z)
    program = z.done()
    code = list(program.blocks[0].code)
    code[at] = change(code[at])
    return replace(program, blocks=(replace(program.blocks[0], code=tuple(code)),))


def operand(position: int, **changes: object) -> Callable[[Instr], Instr]:
    def change(instr: Instr) -> Instr:
        operands = list(instr.operands)
        operands[position] = replace(operands[position], **changes)  # type: ignore[arg-type]
        return replace(instr, operands=tuple(operands))

    return change


def put(**changes: object) -> Callable[[Instr], Instr]:
    return lambda instr: replace(instr, **changes)  # type: ignore[arg-type]


PLAIN, INDEXED, QUANTISED = GOOD["plain reads"], GOOD["index"], GOOD["quantised"]
DOT: Write = lambda z: dot(z, z.x(k))  # noqa: E731
SCALAR: Write = lambda z: z.emit(1, 4, param(0))  # noqa: E731

RAW: dict[str, tuple[int, Write, Callable[[Instr], Instr]]] = {
    "weight that does not exist": (2, PLAIN, operand(1, ref=1)),
    "slot zero back": (2, PLAIN, operand(0, ref=0)),
    "axis 4": (2, GOOD["all scalars"], operand(1, ref=4)),
    "token with a number": (2, GOOD["all scalars"], operand(3, ref=1)),
    "window of a weight": (10, GOOD["window"], operand(0, kind=Kind.WEIGHT, ref=0)),
    "address of a parameter": (10, SCALAR, operand(0, base=1)),
    "index without axis i": (10, PLAIN, operand(0, index=0)),
    "axis i without index": (10, INDEXED, operand(1, index=0xFF)),
    "index that comes later": (8, INDEXED, operand(1, index=1)),
    "no finish": (10, PLAIN, put(finish=())),
    "register that does not exist": (10, PLAIN, put(finish=((0, 0, 9, 0),))),
    "constant that does not exist": (10, PLAIN, put(finish=((0, 0, 255, 0),))),
    "operation that does not exist": (10, PLAIN, put(finish=((26, 0, 0, 0),))),
    "unused operand of an operation": (10, PLAIN, put(finish=((6, 0, 1, 0),))),
    "result that does not exist": (10, DOT, put(result=(5, 128, 0, 0))),
    "result constant that does not exist": (10, DOT, put(result=(0, 255, 0, 0))),
    "unused result": (10, DOT, put(result=(0, 128, 1, 0))),
    "unused weight of a qdot": (10, QUANTISED, put(result=(0, 1, 2, 1))),
    "two accumulators of a max": (
        3,
        lambda z: z.emit(1, 1, fold=Fold.MAX, k=32, body=(z.x(k),)),
        put(two=True),
    ),
    "body without a fold": (3, PLAIN, put(body=((6, 0, 0, 0),))),
    "body operands without a fold": (3, PLAIN, put(body_operands=1)),
    "result without a fold": (3, PLAIN, put(result=(1, 0, 0, 0))),
    "operations in a qdot": (9, QUANTISED, put(body=((6, 0, 0, 0),))),
    "role that is no operand of a qdot": (9, QUANTISED, put(result=(0, 1, 3, 0))),
    "activations as the scale": (9, QUANTISED, put(result=(0, 2, 1, 0))),
}


@pytest.mark.parametrize("name", RAW)
def test_refuses_raw(name: str) -> None:
    rule, write, change = RAW[name]
    with pytest.raises(ProgramError, match=f"rule {rule}:"):
        validate(changed(write, change))


def test_refuses_a_further_operand_of_a_qdot() -> None:
    def change(instr: Instr) -> Instr:
        more = Operand(Kind.TOKEN)
        read = (*instr.operands[:3], more, *instr.operands[3:])
        return replace(instr, operands=read, body_operands=4)

    with pytest.raises(ProgramError, match=r"rule 9: .*only"):
        validate(changed(QUANTISED, change))


def test_refuses_a_qdot_over_a_float_weight() -> None:
    z = bench()
    z.emit(1, 40, fold=Fold.QDOT, k=64, body=(z.f(c * 64 + k), z.q(k), z.d(k // 32)))
    with pytest.raises(ProgramError, match=r"rule 9: .*F32 is not quantised"):
        validate(z.done())


def test_refuses_a_qdot_for_one_entry_of_another_format() -> None:
    z = bench()
    w2 = z.b.weight(40, 64)
    z.emit(1, 40, fold=Fold.QDOT, k=64, body=(w2(c * 64 + k), z.q(k), z.d(k // 32)))
    z.done()
    formats = ([Format.F32, Format.Q8_0], [Format.F32, Format.F16])
    with pytest.raises(ProgramError, match=r"entry 1.*rule 9: .*F16"):
        program = z.model.program([(z.b, formats[0]), (z.b, formats[1])])
        code = tuple(replace(instr, yields=False) for instr in program.blocks[0].code)
        validate(replace(program, blocks=(replace(program.blocks[0], code=code),)))


@pytest.mark.parametrize(
    "change",
    [
        put(yields=False),
        put(virtual=True),
        put(out=Out.F32),
        put(cols=Ext(2)),
        put(rows=Ext(2)),
        put(cols=Ext(1, varies=True)),
    ],
)
def test_refuses_a_last_slot_that_is_no_sample(change: Callable[[Instr], Instr]) -> None:
    with pytest.raises(ProgramError, match="rule 7"):
        validate(changed(PLAIN, change, at=-1))


def test_refuses_a_window_over_virtual_and_yielding_slots() -> None:
    for options in ({"virtual": True}, {"yields": True}):
        z = bench()
        source = z.emit(1, 8, const(1.0), **options)
        z.emit(1, 8, fold=Fold.DOT, k=z.window, body=(source.window_k(c), const(1.0)), terms=1, yields=True)
        with pytest.raises(ProgramError, match="rule 6"):
            validate(z.done())


def test_refuses_nine_nested_virtual_slots() -> None:
    for depth in (8, 9):
        z = bench()
        slot = z.x
        for _ in range(depth):
            slot = z.emit(1, 1, add(slot(), const(1.0)), virtual=True)
        if depth == 8:
            validate(z.done())
        else:
            with pytest.raises(ProgramError, match="rule 11: virtual slots nest 9 deep"):
                validate(z.done())


def test_refuses_weights_that_are_empty_or_not_of_whole_units() -> None:
    program = bench().done()
    for shape, rule in ((Shape(0, 64), 3), (Shape(1 << 16, 1 << 15), 3)):
        block = replace(program.blocks[0], weights=(shape,))
        with pytest.raises(ProgramError, match=f"rule {rule}"):
            validate(replace(program, blocks=(block,)))
    block = replace(program.blocks[0], weights=(Shape(40, 65),))
    with pytest.raises(ProgramError, match="rule 9: rows of Q8_0"):
        validate(replace(program, blocks=(block,), formats=((Format.Q8_0,),)))


def test_refuses_an_empty_block() -> None:
    program = bench().done()
    block = replace(program.blocks[0], code=())
    with pytest.raises(ProgramError, match="rule 1"):
        validate(replace(program, blocks=(program.blocks[0], block)))


def test_two_accumulators_are_accepted_for_sums() -> None:
    z = bench()
    z.emit(1, 4, add(ACC0, ACC1), fold=Fold.DOT, k=8, body=(z.x(k), z.x(k), z.x(k + 8), const(1.0)))
    z.emit(
        1,
        40,
        add(ACC0, ACC1),
        fold=Fold.QDOT,
        k=64,
        body=(z.w(c * 64 + k), z.q(k), z.d(k // 32), z.w(c * 64 + k)),
    )
    validate(z.done())


# Repeated blocks -----------------------------------------------------------------------------------------
# Slots that are alike are checked once: an entry that differs in what it reads must still be seen.


def repeated(second: list[Format], narrow: bool) -> Program:
    """A block run twice, over 1 x 64 and then over what it ends with itself, 1 x 32 when `narrow`; then a
    sample. `second`: the formats of its weight the second time."""
    model = ProgramBuilder(LIMIT)
    first, twice, last = model.block("first"), model.block("twice"), model.block("last")
    first.emit("x", 1, 64, const(1.0))
    w = twice.weight(4, 64)
    twice.emit("q", 1, 64, const(3), out=Out.I8)
    twice.emit("d", 1, 2, const(0.5))
    q, d = Slot(0), Slot(1)
    twice.emit("y", 1, 4, fold=Fold.QDOT, k=64, body=(w(c * 64 + k), q(k), d(k // 32)))
    twice.emit("z", 1, 32 if narrow else 64, twice.previous(c + (32 if narrow else 0)))
    last.emit("sample", 1, 1, const(0), out=Out.I32, yields=True)
    return model.program([(first, []), (twice, [Format.Q4_1]), (twice, second), (last, [])])


def test_a_repeated_block_is_valid() -> None:
    validate(repeated([Format.Q8_0], narrow=False))


@pytest.mark.parametrize(
    ("second", "narrow", "rule"),
    [([Format.F32], False, 9), ([Format.Q4_1], True, 4)],
    ids=["format", "shape"],
)
def test_the_second_run_of_a_block_is_checked_too(second: list[Format], narrow: bool, rule: int) -> None:
    with pytest.raises(ProgramError, match=rf"\(entry 2 .*rule {rule}:"):
        validate(repeated(second, narrow))


@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
def test_slots_of_one_kind_cost_the_same(make: Callable[[], Model]) -> None:
    layout = validate(make().program)
    costs: dict[int, set[cost.Cost]] = {}
    for kind, slot in zip(_kinds(layout), layout.slots, strict=True):
        costs.setdefault(kind, set()).add(cost.step(layout, slot))
    assert all(len(found) == 1 for found in costs.values())
