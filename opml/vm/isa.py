"""The instruction format as values: what a program is made of (`docs/spec.md`, The machine).

One instruction is one comprehension that writes one tensor:

    out[r, c] = finish(fold over k of body(operand_0[...], operand_1[...], ...), operands...)

The numbers of the enumerations are the encoding; tests hold the constants of the native engine and of the
contracts to these. `opml.vm.encoding` turns programs into bytes, `opml.vm.validate` says which ones may run,
`opml.vm.builder` is the comfortable way to write one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import IntEnum

from opml.ops.program import FIRST_CONSTANT
from opml.ops.program import Instruction as ScalarOp
from opml.ops.quant import TENSOR_FORMATS, WEIGHT_FORMATS, TensorFormat, WeightFormat
from opml.ops.table import OPS

LEAF_ELEMENTS = 256
"""Elements in a leaf of every tree, and in a block of every reduction."""
ROW = 0xFFFFFFFF
"""As `Term.mul`: the row length of the tensor addressed."""
NO_INDEX = 0xFF
"""As `Operand.index`: no term uses axis `i`."""
POOL_BASE = FIRST_CONSTANT
"""Operand numbers of a scalar operation from here on name the pool."""

MAX_BLOCKS = 64
MAX_ENTRIES = 1024
MAX_POOL = FIRST_CONSTANT
MAX_GLOBALS = 64
MAX_PARAMS = 8
MAX_WEIGHTS = 64
MAX_LIMIT = 1 << 20
MAX_LENGTH = 24_575
MAX_ELEMENTS = 1 << 31
MAX_REGISTERS = FIRST_CONSTANT
MAX_VIRTUAL_DEPTH = 8


class Fold(IntEnum):
    """How the terms of one element are reduced over k."""

    NONE = 0
    DOT = 1
    QDOT = 2
    MAX = 3
    ARGMAX = 4


class Out(IntEnum):
    """Storage format of a tensor of the trace."""

    F32 = 0
    F16 = 1
    BF16 = 2
    I32 = 3
    I8 = 4

    @property
    def info(self) -> TensorFormat:
        return TENSOR_FORMATS[self]


OUT_BYTES: tuple[int, ...] = tuple(fmt.bytes for fmt in TENSOR_FORMATS)
"""Bytes of an element, by `Out`."""


class Format(IntEnum):
    """Storage format of a weight tensor (GGUF's layouts); `opml.ops.quant.WEIGHT_FORMATS` says how."""

    F32 = 0
    F16 = 1
    BF16 = 2
    I32 = 3
    Q4_0 = 4
    Q4_1 = 5
    Q5_0 = 6
    Q5_1 = 7
    Q8_0 = 8

    @property
    def info(self) -> WeightFormat:
        return WEIGHT_FORMATS[self]


class Kind(IntEnum):
    """What an operand reads."""

    SLOT = 0
    WEIGHT = 1
    GLOBAL = 2
    TOKEN = 3
    PARAM = 4
    AXIS = 5


class Pos(IntEnum):
    """Which position a slot operand reads: this one, or the window of positions that ends here."""

    HERE = 0
    WINDOW_K = 1
    WINDOW_C = 2


class Axis(IntEnum):
    """What a term of an address runs over: row, column, fold index, position, value of an index operand."""

    R = 0
    C = 1
    K = 2
    T = 3
    I = 4  # noqa: E741


@dataclass(frozen=True, slots=True)
class Ext:
    """An extent: the constant `n`, or `min(t + 1, n)` where it varies with the position."""

    n: int
    varies: bool = False

    def at(self, t: int) -> int:
        return min(t + 1, self.n) if self.varies else self.n


@dataclass(frozen=True, slots=True)
class Term:
    """One term of an address: `mul * ((axis ^ xor) // div)`; `xor` is 0 or a power of two."""

    axis: Axis
    mul: int = 1
    div: int = 1
    xor: int = 0


@dataclass(frozen=True, slots=True)
class Operand:
    """A scalar read for each element (and term): the tensor and the flat address `base + sum of terms`.

    `ref` is how many slots back (slot), the number of the weight, global or parameter, or the axis (axis).
    `index` is the number, counted within the section (body, finish), of the operand whose value is axis `i`.
    """

    kind: Kind
    ref: int = 0
    pos: Pos = Pos.HERE
    index: int = NO_INDEX
    base: int = 0
    terms: tuple[Term, ...] = ()

    def term(self, axis: Axis) -> Term | None:
        """The term over `axis`, if there is one (a valid operand has at most one)."""
        return next((term for term in self.terms if term.axis == axis), None)


@dataclass(frozen=True, slots=True)
class Instr:
    """One instruction; see the module docstring. `name` is for people and is not encoded.

    `operands[:body_operands]` are read for every term of the fold, the others once, after it. `result` is
    a0, b0, a1, b1. `terms` is how many terms of the fold one step carries, a power of two; 0: the whole fold.
    """

    rows: Ext
    cols: Ext
    fold: Fold = Fold.NONE
    k: Ext = Ext(0)
    out: Out = Out.F32
    two: bool = False
    yields: bool = False
    virtual: bool = False
    operands: tuple[Operand, ...] = ()
    body_operands: int = 0
    body: tuple[ScalarOp, ...] = ()
    result: tuple[int, int, int, int] = (0, 0, 0, 0)
    finish: tuple[ScalarOp, ...] = ()
    terms: int = 0
    name: str = field(default="", compare=False)

    @property
    def accumulators(self) -> int:
        """How many registers the fold gives to the finish program."""
        if self.fold == Fold.NONE:
            return 0
        return 2 if self.two or self.fold == Fold.ARGMAX else 1

    @property
    def fold_operands(self) -> tuple[Operand, ...]:
        return self.operands[: self.body_operands]

    @property
    def finish_operands(self) -> tuple[Operand, ...]:
        return self.operands[self.body_operands :]

    @property
    def qdot_weights(self) -> tuple[int, ...]:
        """Operand numbers of the weights of a qdot, one for each accumulator."""
        return (self.result[0], self.result[3]) if self.two else (self.result[0],)


@dataclass(frozen=True, slots=True)
class Shape:
    """Rows and columns of a weight of a block; its format is given for each schedule entry."""

    rows: int
    cols: int


@dataclass(frozen=True, slots=True)
class GlobalWeight:
    """Shape and format of a weight that belongs to no schedule entry."""

    rows: int
    cols: int
    format: Format


@dataclass(frozen=True, slots=True)
class Block:
    """Instructions that a schedule repeats, with the weights that each entry brings along."""

    code: tuple[Instr, ...]
    weights: tuple[Shape, ...] = ()
    name: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Program:
    """A whole program: it runs once for every position below `limit`.

    `schedule` holds a block number for each entry, `formats` the formats of its weights, `pool` the 32-bit
    constants, `params` how many parameter words of the request may be read.
    """

    blocks: tuple[Block, ...]
    schedule: tuple[int, ...]
    formats: tuple[tuple[Format, ...], ...]
    pool: tuple[int, ...]
    globals: tuple[GlobalWeight, ...]
    limit: int
    params: int = 4

    def slots(self) -> Iterator[tuple[int, int, Instr]]:
        """(schedule entry, number in its block, instruction) of every slot, in order."""
        for entry, block in enumerate(self.schedule):
            for number, instr in enumerate(self.blocks[block].code):
                yield entry, number, instr


assert [fmt.name for fmt in WEIGHT_FORMATS] == [fmt.name for fmt in Format]
assert [fmt.name.upper() for fmt in TENSOR_FORMATS] == [fmt.name for fmt in Out]

OP_COUNT = len(OPS)
OP_ARITY: tuple[int, ...] = tuple(op.arity for op in OPS)
"""Registers read, by operation code."""

__all__ = [
    "LEAF_ELEMENTS",
    "MAX_BLOCKS",
    "MAX_ELEMENTS",
    "MAX_ENTRIES",
    "MAX_GLOBALS",
    "MAX_LENGTH",
    "MAX_LIMIT",
    "MAX_PARAMS",
    "MAX_POOL",
    "MAX_REGISTERS",
    "MAX_VIRTUAL_DEPTH",
    "MAX_WEIGHTS",
    "NO_INDEX",
    "OP_ARITY",
    "OP_COUNT",
    "OUT_BYTES",
    "POOL_BASE",
    "ROW",
    "Axis",
    "Block",
    "Ext",
    "Fold",
    "Format",
    "GlobalWeight",
    "Instr",
    "Kind",
    "Operand",
    "Out",
    "Pos",
    "Program",
    "ScalarOp",
    "Shape",
    "Term",
]
