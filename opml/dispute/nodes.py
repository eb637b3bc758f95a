"""Nodes of a commitment: those of one's own trace, and those that a submitter has revealed.

`MixedNodes` is a submitter's commitment as a challenger knows it: what was revealed, and one's own nodes for
everything else. To the left of the leftmost difference both are the same, and whatever lies beside the path
on the right has been revealed, so that every input of the disputed step can be opened under the submitter's
root.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping, Sequence
from typing import Protocol

from opml.dispute.cursor import STAGE_TAGS, Shapes, at
from opml.vm.commitment import Tag, empty, leaf_hash, node_hash
from opml.vm.isa import LEAF_ELEMENTS
from opml.vm.trace import Cursor, Trace, TraceTrees


class Nodes(Protocol):
    """A commitment that somebody can reveal."""

    def node(self, cursor: Cursor) -> bytes:
        """The hash at a cursor, in normal form or not."""
        ...

    def children(self, cursor: Cursor, levels: int) -> tuple[bytes, ...]:
        """The 2^levels nodes that lie `levels` levels below a cursor."""
        ...

    def leaf(self, cursor: Cursor) -> bytes:
        """The stored bytes below a node of a tensor's tree that is not padding."""
        ...


class TraceNodes:
    """The commitment to a trace."""

    def __init__(self, trace: Trace, shapes: Shapes) -> None:
        self.trace = trace
        self.shapes = shapes
        self.trees = TraceTrees(trace)

    def node(self, cursor: Cursor) -> bytes:
        return self.trees.node(cursor)

    def children(self, cursor: Cursor, levels: int) -> tuple[bytes, ...]:
        return tuple(self.trees.tree(cursor).children(cursor.height, cursor.index, levels))

    def leaf(self, cursor: Cursor) -> bytes:
        width = self.shapes.element_bytes(cursor.ordinal)
        first = cursor.index * (LEAF_ELEMENTS << cursor.height)
        data = self.trace.tensor(cursor.t, cursor.ordinal)
        return data[first * width : (first + self.shapes.elements(cursor)) * width]


def leaf_hashes(data: bytes, width: int, height: int) -> list[bytes]:
    """The 2^height leaves of a tensor whose elements of `width` bytes are opened together."""
    size = LEAF_ELEMENTS * width
    hashes = [leaf_hash(Tag.TENSOR_LEAF, data[at : at + size]) for at in range(0, len(data), size)]
    return hashes + [empty(Tag.TENSOR, 0)] * ((1 << height) - len(hashes))


def fold_children(tag: Tag, children: Sequence[bytes]) -> list[list[bytes]]:
    """Levels of the subtree over 2^n children, from the children up to the node."""
    levels = [list(children)]
    while len(levels[-1]) > 1:
        below = levels[-1]
        levels.append([node_hash(tag, below[i], below[i + 1]) for i in range(0, len(below), 2)])
    return levels


def record_reveal(known: MutableMapping[Cursor, bytes], cursor: Cursor, children: Sequence[bytes]) -> None:
    """Adds a reveal under `cursor`, intermediate nodes included, to what is known of a commitment."""
    for down, level in enumerate(reversed(fold_children(STAGE_TAGS[cursor.stage], children))):
        for i, value in enumerate(level):
            known[at(cursor, cursor.height - down, (cursor.index << down) + i)] = value


def child_siblings(tag: Tag, children: Sequence[bytes], i: int) -> tuple[bytes, ...]:
    """What proves child i of 2^n under their node, lowest first."""
    return tuple(level[(i >> h) ^ 1] for h, level in enumerate(fold_children(tag, children)[:-1]))


class MixedNodes:
    """A submitter's commitment as a challenger knows it."""

    def __init__(self, own: Nodes, revealed: Mapping[Cursor, bytes]) -> None:
        self.own = own
        self.revealed = revealed

    def node(self, cursor: Cursor) -> bytes:
        known = self.revealed.get(cursor)
        return self.own.node(cursor) if known is None else known

    def children(self, cursor: Cursor, levels: int) -> tuple[bytes, ...]:
        height, first = cursor.height - levels, cursor.index << levels
        return tuple(self.node(at(cursor, height, first + i)) for i in range(1 << levels))

    def leaf(self, cursor: Cursor) -> bytes:
        return self.own.leaf(cursor)
