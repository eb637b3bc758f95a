"""What follows from a program alone: slots, ordinals, shapes, tree depths, leaf lengths, weight numbers.

Nothing here depends on data, so a verifier derives all of it and takes none of it from the caller.

    layout = Layout(program)
    slot = layout.committed[ordinal]                # the slot with that number in a position tree
    leaves = layout.slot_leaves(slot, t)            # its leaves at position t
    leaf, within = leaves.place(element)
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from opml.vm.isa import (
    LEAF_ELEMENTS,
    OUT_BYTES,
    Format,
    Instr,
    Kind,
    Operand,
    Program,
)


def clog2(n: int) -> int:
    """The least d with 2^d >= n, for n >= 1."""
    return (n - 1).bit_length()


@dataclass(frozen=True, slots=True)
class Leaves:
    """How a tensor is cut: `rows` that share no leaf, of `length` elements, 256 a leaf, the last shorter.

    A tensor of the trace and a list of tokens is one row. `unit` elements are stored in `unit_bytes` bytes;
    `per_row` leaves make a row, `count` the tensor, and `depth` is that of its tree.
    """

    rows: int
    length: int
    unit: int
    unit_bytes: int
    per_row: int
    count: int
    depth: int

    def place(self, element: int) -> tuple[int, int]:
        """(leaf number, element within the leaf) of a flat, row-major element."""
        row, column = divmod(element, self.length)
        return row * self.per_row + column // LEAF_ELEMENTS, column % LEAF_ELEMENTS

    def elements(self, leaf: int) -> int:
        """Elements in a leaf, 1 ... 256."""
        return min(LEAF_ELEMENTS, self.length - leaf % self.per_row * LEAF_ELEMENTS)

    def first(self, leaf: int) -> int:
        """The flat element that a leaf starts with."""
        row, number = divmod(leaf, self.per_row)
        return row * self.length + number * LEAF_ELEMENTS

    def size(self, leaf: int) -> int:
        """Bytes of a leaf."""
        return self.elements(leaf) // self.unit * self.unit_bytes

    def offset(self, leaf: int) -> int:
        """Where a leaf starts in the tensor's stored bytes."""
        return self.first(leaf) // self.unit * self.unit_bytes

    @property
    def total_bytes(self) -> int:
        return self.rows * self.length // self.unit * self.unit_bytes


@lru_cache(maxsize=1 << 16)
def cut(rows: int, length: int, unit: int, unit_bytes: int) -> Leaves:
    """The leaves of `rows` rows of `length` elements, both at least 1."""
    per_row = -(-length // LEAF_ELEMENTS)
    count = rows * per_row
    return Leaves(rows, length, unit, unit_bytes, per_row, count, clog2(count))


def token_leaves(count: int) -> Leaves:
    """The leaves of `count` >= 1 tokens."""
    return cut(1, count, 1, 4)


def weight_leaves(rows: int, cols: int, fmt: Format) -> Leaves:
    """The leaves of a weight tensor."""
    return cut(rows, cols, fmt.info.unit, fmt.info.unit_bytes)


@dataclass(frozen=True, slots=True)
class SlotInfo:
    """One slot: its number, schedule entry and instruction, its ordinal in position trees (None: virtual)."""

    number: int
    entry: int
    in_block: int
    instr: Instr
    ordinal: int | None

    @property
    def name(self) -> str:
        """For people: the instruction's name if it has one, with the schedule entry."""
        return f"entry {self.entry} {self.instr.name or f'instruction {self.in_block}'}"


@dataclass(frozen=True, slots=True)
class WeightInfo:
    """Shape and format of one tensor of the weights tree."""

    rows: int
    cols: int
    format: Format

    @property
    def leaves(self) -> Leaves:
        return weight_leaves(self.rows, self.cols, self.format)


class Layout:
    """Facts derived from a valid program.

    `slots` in order, `committed` the slots by ordinal, `weights` in the order of the weights tree,
    `entry_weights[e]` the number there of entry e's first weight; the depths of the three outer trees.
    """

    def __init__(self, program: Program) -> None:
        self.program = program
        slots: list[SlotInfo] = []
        committed: list[SlotInfo] = []
        for number, (entry, in_block, instr) in enumerate(program.slots()):
            slot = SlotInfo(number, entry, in_block, instr, None if instr.virtual else len(committed))
            slots.append(slot)
            if not instr.virtual:
                committed.append(slot)
        self.slots: tuple[SlotInfo, ...] = tuple(slots)
        self.committed: tuple[SlotInfo, ...] = tuple(committed)
        weights = [WeightInfo(g.rows, g.cols, g.format) for g in program.globals]
        first = []
        for block, formats in zip(program.schedule, program.formats, strict=True):
            first.append(len(weights))
            for shape, fmt in zip(program.blocks[block].weights, formats, strict=True):
                weights.append(WeightInfo(shape.rows, shape.cols, fmt))
        self.weights: tuple[WeightInfo, ...] = tuple(weights)
        self.entry_weights: tuple[int, ...] = tuple(first)
        self.position_depth = clog2(max(1, len(committed)))
        self.most_trace_depth = clog2(program.limit)
        self.weights_depth = clog2(max(1, len(weights)))

    # Slots ---------------------------------------------------------------------------------------------

    def source(self, slot: SlotInfo, operand: Operand) -> SlotInfo:
        """The slot that a slot operand of `slot` reads."""
        return self.slots[slot.number - operand.ref]

    def shape(self, slot: SlotInfo, t: int) -> tuple[int, int]:
        """(rows, columns) of a slot at position t."""
        return slot.instr.rows.at(t), slot.instr.cols.at(t)

    def slot_leaves(self, slot: SlotInfo, t: int) -> Leaves:
        rows, cols = self.shape(slot, t)
        return cut(1, rows * cols, 1, OUT_BYTES[slot.instr.out])

    def exists(self, slot: SlotInfo, t: int, prompt_length: int) -> bool:
        """Whether position t has the slot: all have it, save that a yields slot needs t >= prompt - 1."""
        return not slot.instr.yields or t >= prompt_length - 1

    # Weights -------------------------------------------------------------------------------------------

    def weight_number(self, slot: SlotInfo, operand: Operand) -> int:
        """Number in the weights tree of the weight or global that an operand of `slot` reads."""
        return operand.ref if operand.kind == Kind.GLOBAL else self.entry_weights[slot.entry] + operand.ref

    # Folds ---------------------------------------------------------------------------------------------

    def dissected(self, slot: SlotInfo, t: int) -> bool:
        """Whether the fold of an element is longer than a step carries (`docs/spec.md`, Running totals)."""
        return slot.instr.terms != 0 and slot.instr.k.at(t) > slot.instr.terms


__all__ = [
    "Layout",
    "Leaves",
    "SlotInfo",
    "WeightInfo",
    "clog2",
    "cut",
    "token_leaves",
    "weight_leaves",
]
