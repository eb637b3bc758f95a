"""Random valid programs with every kind of fold, operand and address, and hostile weights for them."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

from opml.errors import ProgramError
from opml.models.random_weights import random_weight
from opml.ops.table import OPS
from opml.vm.isa import (
    ROW,
    Axis,
    Block,
    Ext,
    Fold,
    Format,
    GlobalWeight,
    Instr,
    Kind,
    Operand,
    Out,
    Pos,
    Program,
    ScalarOp,
    Shape,
    Term,
)
from opml.vm.validate import validate
from opml.vm.weights import Weight, Weights

SPECIAL = (
    *(0, 1 << 31, 0x7F800000, 0xFF800000, 0x7FC00000, 0xFFC12345, 0x7F800001),
    *(1, 0x80000001, 0x7FFFFF, 0x7F7FFFFF, 0xFF7FFFFF, 0x3F800000, 2, 5, 32),
)
"""Zeros, infinities, NaNs, the ends of the subnormal and normal ranges, and small integers."""
HALVES = (0, 0x8000, 0x7C00, 0xFC00, 0x7E01, 0xFE00, 1, 0x8001, 0x7BFF, 0xFBFF, 0x7C01)
SAMPLE_TAIL = Instr(Ext(1), Ext(1), out=Out.I32, yields=True, finish=(ScalarOp(20, 128, 128, 0),))
MOST_WORK = 3_000
"""Terms of all elements of a slot."""


class NoChoiceError(Exception):
    """What was drawn so far leaves nothing to draw from."""


@dataclass
class Maker:
    rng: random.Random
    program: Program
    """Of one block, to which slots are added."""

    @property
    def code(self) -> tuple[Instr, ...]:
        return self.program.blocks[0].code

    def with_slots(self, *more: Instr) -> Program:
        block = self.program.blocks[0]
        return replace(self.program, blocks=(replace(block, code=(*block.code, *more)),))

    def instr(self) -> Instr:
        """A candidate for the next slot; whether it is valid shows in `random_program`."""
        rng, limit = self.rng, self.program.limit
        varying = [Ext(limit, True), Ext(max(1, limit - 1), True)]
        fold = rng.choice(list(Fold))
        rows = Ext(rng.choice((1, 1, 2, 3)))
        cols = rng.choice([*map(Ext, (1, 2, 4, 33, 264)), *varying])
        lengths = [*map(Ext, (1, 8, 33, 64, 256, 257, 520)), *varying]
        if fold == Fold.QDOT:
            lengths = [Ext(n) for n in (32, 64, 96, 288, 512)]
        k = Ext(0) if fold == Fold.NONE else rng.choice(lengths)
        shape = Instr(rows, cols, fold, k, two=fold in (Fold.DOT, Fold.QDOT) and rng.random() < 0.3)
        body: list[Operand] = []
        result, code = (0, 0, 0, 0), ()
        if fold == Fold.QDOT:
            body, result = self.qdot_body(shape)
        elif fold != Fold.NONE:
            for _ in range(rng.randint(1, 4)):
                body.append(self.operand(shape, body, True))
            code = self.ops(rng.randint(0, 3), len(body))
            count = (4 if shape.two else 2) if fold == Fold.DOT else 1
            names = [self.register(len(body) + len(code)) for _ in range(count)]
            result = tuple([*names, 0, 0, 0][:4])  # type: ignore[assignment]
        finish: list[Operand] = []
        for _ in range(rng.randint(0, 3)):
            finish.append(self.operand(shape, finish, False))
        virtual = rng.random() < 0.2
        least = 6 if fold == Fold.QDOT else 1
        carried = fold != Fold.NONE and not virtual and (k.varies or rng.random() < 0.7)
        return replace(
            shape,
            out=rng.choice(list(Out)),
            virtual=virtual,
            yields=bool(self.code) and (self.code[-1].yields or rng.random() < 0.03),
            operands=(*body, *finish),
            body_operands=len(body),
            body=code,
            result=result,
            finish=self.ops(rng.randint(1, 3), shape.accumulators + len(finish)),
            terms=1 << rng.randint(least, 9) - 1 if carried else 0,
        )

    def register(self, registers: int) -> int:
        constant = 128 + self.rng.randrange(len(self.program.pool))
        return self.rng.randrange(registers) if registers and self.rng.random() < 0.85 else constant

    def ops(self, count: int, inputs: int) -> tuple[ScalarOp, ...]:
        code = []
        for done in range(count):
            op = self.rng.choice(OPS)
            operands = [self.register(inputs + done) if n < op.arity else 0 for n in range(3)]
            code.append(ScalarOp(op.code, *operands))
        return tuple(code)

    def tensor(self, kind: Kind, ref: int) -> tuple[int, Ext]:
        if kind == Kind.SLOT:
            return self.code[-ref].rows.n, self.code[-ref].cols
        weights = self.program.globals if kind == Kind.GLOBAL else self.program.blocks[0].weights
        return weights[ref].rows, Ext(weights[ref].cols)

    def is_index(self, operand: Operand) -> bool:
        integer = operand.kind == Kind.SLOT and self.code[-operand.ref].out == Out.I32
        return operand.kind == Kind.TOKEN or integer

    def operand(self, shape: Instr, earlier: list[Operand], body: bool) -> Operand:
        """Any operand: a scalar, or a tensor at an address that stays inside."""
        rng, program = self.rng, self.program
        kind = rng.choice([*Kind, Kind.SLOT, Kind.SLOT, Kind.WEIGHT])
        if (kind == Kind.SLOT and not self.code) or (kind == Kind.GLOBAL and not program.globals):
            kind = Kind.WEIGHT
        if kind in (Kind.TOKEN, Kind.PARAM, Kind.AXIS):
            count = {Kind.TOKEN: 1, Kind.PARAM: program.params, Kind.AXIS: 4}[kind]
            axes = [0, 1, 2, 3] if body else [0, 1, 3]
            return Operand(kind, rng.choice(axes) if kind == Kind.AXIS else rng.randrange(count))
        count = len(program.blocks[0].weights if kind == Kind.WEIGHT else program.globals)
        ref = rng.randint(1, min(len(self.code), 6)) if kind == Kind.SLOT else rng.randrange(count)
        rows, cols = self.tensor(kind, ref)
        extents = {Axis.R: shape.rows, Axis.C: shape.cols, Axis.T: Ext(program.limit, True)}
        if body:
            extents[Axis.K] = shape.k
        pos = Pos.HERE
        if kind == Kind.SLOT and not cols.varies and rng.random() < 0.5:
            windows = {Pos.WINDOW_C: shape.cols, Pos.WINDOW_K: shape.k if body else Ext(0)}
            pos = rng.choice([Pos.HERE, *(pos for pos, over in windows.items() if over.varies)])
        if cols.varies:
            along = [axis for axis in (Axis.C, Axis.K) if extents.get(axis) == cols]
            if not along:
                raise NoChoiceError
            first = Term(rng.choice(along))
            del extents[first.axis]
            terms = (first, *self.terms(extents, rows - 1, {ROW: 1}))
            return Operand(kind, ref, terms=terms)
        left, index, terms = rows * cols.n - 1, 0xFF, ()
        candidates = [n for n, operand in enumerate(earlier) if self.is_index(operand)]
        mul = rng.choice((1, 2, 32, cols.n))
        if candidates and rng.random() < 0.7 and rows * cols.n % mul == 0:
            index, terms, left = rng.choice(candidates), (Term(Axis.I, mul),), mul - 1
        factors = {1: 1, 2: 2, 32: 32, cols.n: cols.n}
        if pos == Pos.HERE:
            factors[ROW] = cols.n
        more = self.terms(extents, left, factors)
        left -= sum(factors[m.mul] * ((extents[m.axis].n - 1) // m.div) for m in more)
        base = rng.randint(0, left) if rng.random() < 0.3 else 0
        return Operand(kind, ref, pos, index, base, (*terms, *more))

    def terms(self, extents: dict[Axis, Ext], left: int, factors: dict[int, int]) -> tuple[Term, ...]:
        """Terms over some axes that together add at most `left`."""
        rng, terms = self.rng, []
        for axis in rng.sample(list(extents), len(extents)):
            extent, mul = extents[axis], rng.choice([1, 1, *factors] if 1 in factors else list(factors))
            div = rng.choice((1, 1, 1, 2, 3, 32, 256))
            masks = [m for m in (1, 2, 32) if not extent.varies and extent.n % (2 * m) == 0 and 1 in factors]
            mask = rng.choice([0, 0, 0, *masks])
            added = factors[mul] * ((extent.n - 1) // div)
            if extent.n and added <= left and rng.random() < 0.7:
                terms.append(Term(axis, mul, div, mask))
                left -= added
        return tuple(terms)

    def qdot_body(self, shape: Instr) -> tuple[list[Operand], tuple[int, int, int, int]]:
        rng, block, length = self.rng, self.program.blocks[0], shape.k.n
        body = [Operand(Kind.TOKEN)] if rng.random() < 0.5 else []
        indexed = bool(body)
        wide = [n for n, f in enumerate(self.program.formats[0]) if f.info.quantised]
        wide = [n for n in wide if block.weights[n].rows * block.weights[n].cols >= length]
        slots = [n for n in range(1, len(self.code) + 1) if not self.code[-n].cols.varies]
        sized = {n: self.code[-n].rows.n * self.code[-n].cols.n for n in slots}
        x = [n for n in slots if self.code[-n].out == Out.I8 and sized[n] >= length]
        d = [n for n in slots if self.code[-n].out == Out.F32 and sized[n] >= length // 32]
        if not (wide and x and d):
            raise NoChoiceError
        extents = {Axis.R: shape.rows, Axis.C: shape.cols, Axis.T: Ext(self.program.limit, True)}
        places = []
        for _ in range(1 + shape.two):
            ref = rng.choice(wide)
            cols, size = block.weights[ref].cols, block.weights[ref].rows * block.weights[ref].cols
            left, terms, index = size - length, (Term(Axis.K),), 0xFF
            if indexed and size - cols <= left:
                left, terms, index, indexed = left - size + cols, (*terms, Term(Axis.I, cols)), 0, False
            terms += tuple(
                t for t in self.terms(extents, left, {ROW: cols, 64: 64}) if t.xor == 0 or t.axis != Axis.K
            )
            places.append(len(body))
            body.append(Operand(Kind.WEIGHT, ref, index=index, terms=terms))
        for refs, div in ((x, 1), (d, 32)):
            ref = rng.choice(refs)
            left = sized[ref] - 1 - (length - 1) // div
            more = self.terms(extents, left, {1: 1, ROW: self.code[-ref].cols.n})
            places.append(len(body))
            body.append(Operand(Kind.SLOT, ref, terms=(*more, Term(Axis.K, div=div))))
        if shape.two:
            return body, (places[0], places[2], places[3], places[1])
        return body, (places[0], places[1], places[2], 0)


def sources() -> tuple[Instr, ...]:
    """An i32, an i8 and an f32 slot of mixed values, which others read as indices, activations and scales."""
    axes = (Operand(Kind.AXIS, Axis.R), Operand(Kind.AXIS, Axis.C), Operand(Kind.TOKEN))
    mix = (ScalarOp(17, 1, 129, 0), ScalarOp(15, 3, 0, 0), ScalarOp(17, 4, 2, 0), ScalarOp(21, 4, 5, 0))
    return (
        Instr(Ext(2), Ext(300), out=Out.I32, operands=axes, finish=mix),
        Instr(Ext(2), Ext(512), out=Out.I8, operands=axes, finish=mix),
        Instr(Ext(2), Ext(17), operands=axes, finish=(*mix, ScalarOp(13, 6, 0, 0))),
    )


def random_program(rng: random.Random, slots: int = 9) -> Program:
    """A valid program of one block and at most `slots` slots of moderate size."""
    formats, shapes = [], []
    for _ in range(rng.randint(2, 4)):
        formats.append(rng.choice(list(Format)))
        cols = rng.choice((32, 64, 288, 512) if formats[-1].info.quantised else (1, 5, 64, 257, 300))
        shapes.append(Shape(rng.choice((1, 2, 3, 24)), cols))
    tensors = (GlobalWeight(rng.choice((1, 3, 24)), 64, rng.choice(list(Format))),)
    pool = (0x3F800000, 0x9E3779B9, *rng.sample(SPECIAL, 6))
    block = Block(sources(), tuple(shapes))
    maker = Maker(rng, Program((block,), (0,), (tuple(formats),), pool, tensors, rng.randint(1, 6)))
    for _ in range(60 * slots):
        if len(maker.code) == slots:
            break
        try:
            candidate = maker.instr()
            work = candidate.rows.n * candidate.cols.n * max(candidate.k.n, 1)
            if work > MOST_WORK * (32 if candidate.fold == Fold.QDOT else 1):
                continue
            validate(maker.with_slots(candidate, SAMPLE_TAIL))
        except (NoChoiceError, ProgramError):
            continue
        maker.program = maker.with_slots(candidate)
    plain = [not (instr.cols.varies or instr.virtual) for instr in maker.code]
    back = plain[::-1].index(True) + 1
    token = Operand(Kind.SLOT, back)
    mix = (ScalarOp(18, 0, 129, 0), ScalarOp(15, 0, 1, 0))
    program = maker.with_slots(replace(SAMPLE_TAIL, operands=(token,), finish=mix))
    validate(program)
    return program


def hostile_weights(rng: random.Random, program: Program) -> Weights:
    """Weights of a program of one entry, some of random bytes, some with NaNs, infinities and subnormals."""
    shapes = [(w.rows, w.cols, w.format) for w in program.globals]
    for shape, fmt in zip(program.blocks[0].weights, program.formats[0], strict=True):
        shapes.append((shape.rows, shape.cols, fmt))
    tensors = []
    for number, (rows, cols, fmt) in enumerate(shapes):
        info, kind = fmt.info, rng.random()
        count = rows * cols // info.unit
        if fmt == Format.I32 or kind < 0.2:
            data = bytearray(rng.randbytes(count * info.unit_bytes))
        else:
            made = random_weight(rng.getrandbits(30), str(number), rows, cols, fmt, rng.choice((0.1, 30.0)))
            data = bytearray(made.data)
        for _ in range(4 if kind > 0.6 else 0):
            at = rng.randrange(count) * info.unit_bytes
            if fmt in (Format.F32, Format.I32):
                data[at : at + 4] = rng.choice(SPECIAL).to_bytes(4, "little")
            else:
                data[at : at + 2] = rng.choice(HALVES).to_bytes(2, "little")
        tensors.append(Weight(rows, cols, fmt, bytes(data)))
    return Weights(tensors)
