"""Moving through a commitment, and what follows from shapes alone (docs/spec.md#6.1).

    shapes = Shapes(layout, prompt_length, positions)
    cursor = shapes.root()                      # the trace root
    cursor = shapes.child(cursor, levels, i)    # descendant i, `levels` levels below
    is_leaf(cursor)                             # a leaf of a tensor

A pick that reaches a leaf of the trace or of a position enters the next tree, and a tree of depth 0 is passed
at once: such a cursor is in normal form.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from opml.vm.commitment import Tag
from opml.vm.isa import LEAF_ELEMENTS, OUT_BYTES
from opml.vm.layout import Layout, Leaves, SlotInfo, clog2
from opml.vm.trace import Cursor, Stage

STAGE_TAGS: Mapping[Stage, Tag] = {
    Stage.TRACE: Tag.TRACE,
    Stage.POSITION: Tag.POSITION,
    Stage.TENSOR: Tag.TENSOR,
}


def is_leaf(cursor: Cursor) -> bool:
    """Whether this is a leaf of a tensor, whose preimage is elements."""
    return cursor.stage == Stage.TENSOR and cursor.height == 0


WHOLE_BYTES = 4096
"""A tensor of at most so many bytes is opened at once."""


def span(height: int, fanout: int) -> int:
    """Levels that a reveal at this height goes down: as few reveals as the fan-out admits, and even ones."""
    return -(-height // -(-height // fanout)) if height else 0


def at(cursor: Cursor, height: int, index: int) -> Cursor:
    """Another node of the tree that a cursor stands in; not normalised."""
    return replace(cursor, height=height, index=index)


@dataclass(frozen=True)
class Shapes:
    """The trees of one claim: `positions` = prompt + output - 1 position roots under the trace root."""

    layout: Layout
    prompt_length: int
    positions: int

    @property
    def trace_depth(self) -> int:
        """Depth of the tree over the positions."""
        return clog2(self.positions)

    def slot(self, ordinal: int) -> SlotInfo:
        """The committed slot with that number."""
        return self.layout.committed[ordinal]

    def leaves_of(self, t: int, ordinal: int) -> Leaves:
        """How a committed tensor is cut into leaves."""
        return self.layout.slot_leaves(self.slot(ordinal), t)

    def element_bytes(self, ordinal: int) -> int:
        """Bytes of a stored element of a committed tensor."""
        return OUT_BYTES[self.slot(ordinal).instr.out]

    def is_end(self, cursor: Cursor) -> bool:
        """Whether what lies below a node in normal form is opened by its elements: a leaf of a tensor, or the
        root of a small one."""
        if cursor.stage != Stage.TENSOR:
            return False
        leaves = self.leaves_of(cursor.t, cursor.ordinal)
        small = leaves.length * self.element_bytes(cursor.ordinal) <= WHOLE_BYTES
        return cursor.height == 0 or (small and cursor.height == leaves.depth)

    def elements(self, cursor: Cursor) -> int:
        """Elements below a node of a tensor's tree that is not padding."""
        most = LEAF_ELEMENTS << cursor.height
        return min(most, self.leaves_of(cursor.t, cursor.ordinal).length - cursor.index * most)

    def present(self, t: int) -> int:
        """Committed slots that a position has: all, or all before the first that yields."""
        return len(self.layout.committed) if t >= self.prompt_length - 1 else self._always

    @cached_property
    def _always(self) -> int:
        return sum(not slot.instr.yields for slot in self.layout.committed)

    def depth(self, cursor: Cursor) -> int:
        """Depth of the tree that a cursor stands in."""
        if cursor.stage == Stage.TRACE:
            return self.trace_depth
        if cursor.stage == Stage.POSITION:
            return self.layout.position_depth
        return self.leaves_of(cursor.t, cursor.ordinal).depth

    def leaf_count(self, cursor: Cursor) -> int:
        """Leaves of that tree that are not padding."""
        if cursor.stage == Stage.TRACE:
            return self.positions
        if cursor.stage == Stage.POSITION:
            return self.present(cursor.t)
        return self.leaves_of(cursor.t, cursor.ordinal).count

    def is_padding(self, cursor: Cursor) -> bool:
        """Whether a node lies wholly beyond the real leaves of its tree."""
        return cursor.index << cursor.height >= self.leaf_count(cursor)

    def root(self) -> Cursor:
        """The trace root."""
        return Cursor(Stage.TRACE, self.trace_depth, 0)

    def normal(self, cursor: Cursor) -> Cursor:
        """The same node, named in the innermost tree that it is the root of; it must not be padding."""
        if cursor.height == 0 and cursor.stage == Stage.TRACE:
            cursor = Cursor(Stage.POSITION, self.layout.position_depth, 0, cursor.index)
        # A position without a slot is not passed: its reveal has to show that nothing is there.
        if cursor.height == 0 and cursor.stage == Stage.POSITION and self.present(cursor.t):
            depth = self.leaves_of(cursor.t, cursor.index).depth
            cursor = Cursor(Stage.TENSOR, depth, 0, cursor.t, cursor.index)
        return cursor

    def child(self, cursor: Cursor, levels: int, i: int) -> Cursor:
        """Descendant `i` of a node, `levels` levels below it, in normal form; it must not be padding."""
        return self.normal(at(cursor, cursor.height - levels, (cursor.index << levels) + i))

    def above(self, cursor: Cursor) -> list[Cursor]:
        """The siblings from a node up to the trace root, through all trees, lowest first."""
        path = _siblings(cursor, self.depth(cursor))
        if cursor.stage == Stage.TENSOR:
            inner = Cursor(Stage.POSITION, 0, cursor.ordinal, cursor.t)
            path += _siblings(inner, self.layout.position_depth)
        if cursor.stage != Stage.TRACE:
            path += _siblings(Cursor(Stage.TRACE, 0, cursor.t), self.trace_depth)
        return path


def _siblings(cursor: Cursor, depth: int) -> list[Cursor]:
    return [at(cursor, h, cursor.index >> (h - cursor.height) ^ 1) for h in range(cursor.height, depth)]
