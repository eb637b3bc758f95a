"""Writes programs the way a model is written: tensors are called with addresses, scalars are expressions.

    model = ProgramBuilder(limit=64)
    embedding = model.global_weight(vocabulary, dim, Format.Q8_0)
    first = model.block("embed")
    first.emit("embed", 1, dim, embedding(index(token()) * dim + c))
    layer = model.block("layer")
    x, up = layer.previous, layer.weight(hidden, dim)
    layer.emit("up", 1, hidden, fold=Fold.DOT, k=dim, body=(x(k), up(c * dim + k)))
    program = model.program([(first, []), (layer, [Format.F32]), (layer, [Format.F16])])

An address is linear in the axes `r c k t`: `r * ROW + c // 32`, `c ^ 1`, `index(token()) * dim + c`. Scalar
expressions are those of `opml.ops.expr`; `ACC0` and `ACC1` are the results of the fold.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from opml.errors import ProgramError
from opml.ops.expr import Expr, Pool, leaf, leaves_of, lower, lower_single
from opml.vm.isa import (
    NO_INDEX,
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


@dataclass(frozen=True, slots=True)
class Address:
    """A flat element, linear in the axes; build it from `r`, `c`, `k`, `t`, `index(...)` and integers."""

    terms: tuple[Term, ...] = ()
    base: int = 0
    index: Read | None = None

    def __add__(self, other: Address | int) -> Address:
        if isinstance(other, int):
            return replace(self, base=self.base + other)
        if self.index is not None and other.index is not None:
            raise ProgramError("an address has at most one index operand; use two instructions")
        return Address(self.terms + other.terms, self.base + other.base, self.index or other.index)

    __radd__ = __add__

    def __mul__(self, factor: int) -> Address:
        if factor == ROW:
            if self.base or len(self.terms) != 1 or self.terms[0].mul != 1:
                raise ProgramError("only a single term can be multiplied by ROW")
            return replace(self, terms=(replace(self.terms[0], mul=ROW),))
        if any(term.mul == ROW for term in self.terms):
            raise ProgramError("a term of ROW cannot be multiplied further")
        return replace(
            self,
            terms=tuple(replace(term, mul=term.mul * factor) for term in self.terms),
            base=self.base * factor,
        )

    def _single(self, what: str) -> Term:
        if self.base or len(self.terms) != 1 or self.terms[0].mul != 1 or self.terms[0].div != 1:
            raise ProgramError(f"{what} applies to a single axis")
        return self.terms[0]

    def __floordiv__(self, divisor: int) -> Address:
        return replace(self, terms=(replace(self._single("division"), div=divisor),))

    def __xor__(self, mask: int) -> Address:
        return replace(self, terms=(replace(self._single("xor"), xor=mask),))


r, c, k, t = (Address((Term(axis),)) for axis in (Axis.R, Axis.C, Axis.K, Axis.T))
HERE = Address()
"""The address of a scalar: element 0."""


@dataclass(frozen=True, slots=True)
class Read:
    """The key of an operand's expression: what is read, where. `target` is a slot's number in its block."""

    kind: Kind
    target: int = 0
    address: Address = HERE
    pos: Pos = Pos.HERE


@dataclass(frozen=True, slots=True)
class Accumulator:
    """The key of a fold's result in a finish expression."""

    number: int


ACC0 = leaf(Accumulator(0))
ACC1 = leaf(Accumulator(1))


def token() -> Expr:
    """The token at this position."""
    return leaf(Read(Kind.TOKEN))


def param(number: int) -> Expr:
    """A parameter word of the request."""
    return leaf(Read(Kind.PARAM, number))


def axis(which: Address) -> Expr:
    """The value of an axis, as an integer: `axis(c)`."""
    return leaf(Read(Kind.AXIS, which._single("axis").axis))


def index(value: Expr) -> Address:
    """The axis that runs over an operand's value: a token, or a read of an i32 slot."""
    if not isinstance(value.key, Read):
        raise ProgramError("an index is a token or an element of an i32 slot, not a computed value")
    return Address((Term(Axis.I),), 0, value.key)


@dataclass(frozen=True, slots=True)
class Slot:
    """A tensor that an instruction of the same block writes (-1: the last one of the block before)."""

    number: int

    def __call__(self, address: Address = HERE) -> Expr:
        """The element at this position."""
        return leaf(Read(Kind.SLOT, self.number, address))

    def window_k(self, address: Address) -> Expr:
        """The element at the position that k counts, in the window that ends here."""
        return leaf(Read(Kind.SLOT, self.number, address, Pos.WINDOW_K))

    def window_c(self, address: Address) -> Expr:
        """The element at the position that c counts, in the window that ends here."""
        return leaf(Read(Kind.SLOT, self.number, address, Pos.WINDOW_C))


@dataclass(frozen=True, slots=True)
class WeightRef:
    """A weight of a block, or a global one; `rows` and `cols` are its shape."""

    kind: Kind
    number: int
    rows: int
    cols: int

    def __call__(self, address: Address) -> Expr:
        return leaf(Read(self.kind, self.number, address))


def _reads(exprs: Sequence[Expr]) -> list[Read]:
    """Operands of a section in order, index operands before what they index."""
    found: dict[Read, None] = {}

    def place(read: Read) -> None:
        if read.address.index is not None:
            place(read.address.index)
        found.setdefault(read)

    for key in leaves_of(exprs):
        if isinstance(key, Read):
            place(key)
    return list(found)


class BlockBuilder:
    """Instructions of one block, in order. `previous` is the tensor that the block before ends with."""

    previous = Slot(-1)

    def __init__(self, name: str, pool: Pool) -> None:
        self.name = name
        self._pool = pool
        self._code: list[Instr] = []
        self._weights: list[Shape] = []

    def weight(self, rows: int, cols: int) -> WeightRef:
        """Declares the next weight of the block; its format is given in the schedule."""
        self._weights.append(Shape(rows, cols))
        return WeightRef(Kind.WEIGHT, len(self._weights) - 1, rows, cols)

    def emit(
        self,
        name: str,
        rows: int | Ext,
        cols: int | Ext,
        finish: Expr = ACC0,
        *,
        fold: Fold = Fold.NONE,
        k: int | Ext = 0,
        body: Sequence[Expr] = (),
        out: Out = Out.F32,
        virtual: bool = False,
        yields: bool = False,
        terms: int = 0,
    ) -> Slot:
        """Appends an instruction and returns its tensor.

        `body` holds, for a dot, the two factors (four with two accumulators); for a qdot, reads of the
        weight, the int8 activations and their scale (and of the second weight); for max and argmax the value.
        """
        operands: list[Operand] = []
        number = len(self._code)
        body_code: list[ScalarOp] = []
        result, two = [0, 0, 0, 0], False
        if fold != Fold.NONE:
            expected = {Fold.DOT: (2, 4), Fold.QDOT: (3, 4)}.get(fold, (1, 1))
            if len(body) not in expected:
                raise ProgramError(
                    f"{name}: a body of {fold.name} has {expected} expressions, not {len(body)}"
                )
            two = len(body) == 4
            reads = _reads(body)
            operands = self._operands(number, reads)
            body_code, numbers = lower(body, reads, 0, self._pool)
            if fold == Fold.QDOT and body_code:
                raise ProgramError(f"{name}: a qdot reads its operands as they are, without operations")
            result[: len(numbers)] = numbers
        body_operands = len(operands)
        accumulators = 0 if fold == Fold.NONE else 2 if two or fold == Fold.ARGMAX else 1
        reads = _reads([finish])
        keys = [*(Accumulator(i) for i in range(accumulators)), *reads]
        finish_code = lower_single(finish, keys, 0, self._pool)
        self._code.append(
            Instr(
                rows=_ext(rows),
                cols=_ext(cols),
                fold=fold,
                k=_ext(k),
                out=out,
                two=two,
                yields=yields,
                virtual=virtual,
                operands=(*operands, *self._operands(number, reads)),
                body_operands=body_operands,
                body=tuple(body_code),
                result=(result[0], result[1], result[2], result[3]),
                finish=tuple(finish_code),
                terms=terms,
                name=name,
            )
        )
        return Slot(number)

    def _operands(self, number: int, reads: Sequence[Read]) -> list[Operand]:
        """The operands of the instruction `number`: slot references become distances back."""
        return [
            Operand(
                kind=read.kind,
                ref=number - read.target if read.kind == Kind.SLOT else read.target,
                pos=read.pos,
                index=NO_INDEX if read.address.index is None else reads.index(read.address.index),
                base=read.address.base,
                terms=read.address.terms,
            )
            for read in reads
        ]

    def block(self) -> Block:
        return Block(tuple(self._code), tuple(self._weights), self.name)


def _ext(extent: int | Ext) -> Ext:
    return extent if isinstance(extent, Ext) else Ext(extent)


class ProgramBuilder:
    """Blocks, global weights and constants of one program; `limit` is its most positions."""

    def __init__(self, limit: int, params: int = 4) -> None:
        self.limit = limit
        self.params = params
        self.pool = Pool()
        self._blocks: list[BlockBuilder] = []
        self._globals: list[GlobalWeight] = []

    @property
    def so_far(self) -> Ext:
        """The extent of a window over all positions up to this one: min(t + 1, limit)."""
        return Ext(self.limit, varies=True)

    def global_weight(self, rows: int, cols: int, fmt: Format) -> WeightRef:
        self._globals.append(GlobalWeight(rows, cols, fmt))
        return WeightRef(Kind.GLOBAL, len(self._globals) - 1, rows, cols)

    def block(self, name: str) -> BlockBuilder:
        self._blocks.append(BlockBuilder(name, self.pool))
        return self._blocks[-1]

    def program(self, schedule: Sequence[tuple[BlockBuilder, Sequence[Format]]]) -> Program:
        """The program that runs these blocks in order, each with the formats of its weights."""
        return Program(
            blocks=tuple(block.block() for block in self._blocks),
            schedule=tuple(self._blocks.index(block) for block, _ in schedule),
            formats=tuple(tuple(formats) for _, formats in schedule),
            pool=tuple(self.pool.constants),
            globals=tuple(self._globals),
            limit=self.limit,
            params=self.params,
        )


__all__ = [
    "ACC0",
    "ACC1",
    "HERE",
    "Accumulator",
    "Address",
    "BlockBuilder",
    "ProgramBuilder",
    "Read",
    "Slot",
    "WeightRef",
    "axis",
    "c",
    "index",
    "k",
    "param",
    "r",
    "t",
    "token",
]
