"""How much of a tensor the reads of one step can touch: the integers behind `opml.vm.cost`.

A step reads an operand for one element and many terms, or, through virtual slots, for many elements. `Places`
says where elements lie: in `lines` lines of at most `span` neighbouring elements, each line starting at a
multiple of `align`. Following an operand turns the places of its reader into the places that it reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import gcd

from opml.vm.isa import LEAF_ELEMENTS, ROW, Axis, Instr, Operand, Pos
from opml.vm.layout import Leaves


@dataclass(frozen=True, slots=True)
class Places:
    """Elements of one tensor that a step reads: `reads` times, at most `distinct` different ones."""

    reads: int = 1
    distinct: int = 1
    lines: int = 1
    span: int = 1
    align: int = 1


@dataclass(frozen=True, slots=True)
class Touched:
    """What an operand's reads touch in its tensor, and by how much a line's start is known.

    `inside`: no line leaves its row, and starts in it at a multiple of `places.align`; else `places.align`
    counts from the start of the tensor.
    """

    places: Places
    inside: bool

    def leaves_of_a_line(self, leaves: Leaves) -> int:
        """The most leaves that one line touches."""
        distance, align = self.places.span - 1, self.places.align
        crossings = 0
        if leaves.rows > 1 and not self.inside:  # each row starts a leaf
            crossings, align = -(-distance // leaves.length), 1
        granule = gcd(align, LEAF_ELEMENTS)
        return (LEAF_ELEMENTS - granule + distance) // LEAF_ELEMENTS + 1 + crossings

    def read(self, reads: int) -> Touched:
        """The same, read another number of times."""
        return replace(self, places=replace(self.places, reads=reads))

    def within(self, rows: int, cols: int, varies: bool) -> Places:
        """The same as places of a slot of that shape, whose lines are cut at the ends of rows."""
        places = self.places
        if rows == 1 or varies or self.inside:
            return places
        pieces = 1 + -(-(places.span - 1) // cols)
        return Places(places.reads, places.distinct, places.lines * pieces, min(places.span, cols), 1)


def depends_on(section: Sequence[Operand], number: int, axis: Axis) -> bool:
    """Whether the place that an operand reads may change along an axis, by its index operand too."""
    operand = section[number]
    window = {Axis.K: Pos.WINDOW_K, Axis.C: Pos.WINDOW_C}.get(axis)
    if operand.pos == window or operand.term(axis) is not None:
        return True
    return operand.term(Axis.I) is not None and depends_on(section, operand.index, axis)


def follow(
    instr: Instr, section: Sequence[Operand], number: int, places: Places, terms: int, cols: int
) -> Touched:
    """What an operand with a tensor touches when `instr` is evaluated at `places`, `terms` terms each.

    `terms` is 1 for a finish; fewer than the fold's length are a chunk, which starts at a multiple of them.
    `cols` is the row length of the tensor.
    """
    operand = section[number]
    by_k = terms > 1 and depends_on(section, number, Axis.K)
    by_c, by_r = depends_on(section, number, Axis.C), depends_on(section, number, Axis.R)
    reads, distinct = places.reads * terms, places.distinct * (terms if by_k else 1)
    if by_k:
        axis, count, start = Axis.K, terms, 0 if terms == instr.k.n else terms
        lines = places.distinct if by_c else places.lines if by_r else 1
    elif by_c:
        axis, count, start = Axis.C, places.span, places.align
        lines = places.lines
    else:
        lines = places.lines if by_r else 1
        return Touched(Places(reads, lines, lines), False)
    distinct = min(distinct, lines * count)
    along = operand.term(axis)
    jumps = operand.pos == (Pos.WINDOW_K if axis == Axis.K else Pos.WINDOW_C)
    jumps = jumps or (operand.term(Axis.I) is not None and depends_on(section, operand.index, axis))
    if along is None or jumps:
        return Touched(Places(reads, distinct, distinct), False)
    if along.xor:
        count, start = count + 2 * along.xor, 1
    mul = cols if along.mul == ROW else along.mul
    if start % along.div == 0:
        distance, granule = mul * ((count - 1) // along.div), mul * (start // along.div)
    else:
        distance, granule = mul * -(-(count - 1) // along.div), mul
    others = [operand.base, *((cols if t.mul == ROW else t.mul) for t in operand.terms if t is not along)]
    extent = (instr.k if axis == Axis.K else instr.cols).n
    inside = mul * ((extent - 1) // along.div) < cols and all(amount % cols == 0 for amount in others)
    align = granule if inside else gcd(granule, *others)
    return Touched(Places(reads, distinct, lines, distance + 1, align), inside)


__all__ = ["Places", "Touched", "depends_on", "follow"]
