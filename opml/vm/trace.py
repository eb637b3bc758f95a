"""A trace: every committed tensor of a run, as the players of the game see it.

`Trace` is the protocol that all of them use, whether tensors are kept (`MemoryTrace`) or recomputed
on demand. `TraceTrees` gives the nodes of its trees: children for reveals, siblings for openings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from typing import Protocol

from opml.vm.commitment import E0, Tree, position_tree, tensor_tree, tokens_tree, trace_tree
from opml.vm.layout import Layout
from opml.vm.weights import Weights


class Trace(Protocol):
    """A run of `layout.program` over `tokens` (prompt and output): positions 0 ... len(tokens) - 2."""

    @property
    def layout(self) -> Layout: ...

    @property
    def weights(self) -> Weights: ...

    @property
    def tokens(self) -> tuple[int, ...]: ...

    @property
    def prompt_length(self) -> int: ...

    @property
    def params(self) -> tuple[int, ...]: ...

    def trace_root(self) -> bytes:
        """The root over all positions, 32 bytes."""
        ...

    def position_root(self, t: int) -> bytes:
        """The root over the committed slots of position t, 32 bytes."""
        ...

    def slot_roots(self, t: int) -> Sequence[bytes]:
        """The roots of the committed slots of position t by ordinal, `E0` for those it lacks."""
        ...

    def tensor(self, t: int, ordinal: int) -> bytes:
        """The stored bytes of a committed slot at position t, which must have it (`Layout.exists`)."""
        ...


class MemoryTrace:
    """A trace whose tensors are all kept: `tensors[t][ordinal]`, None where position t lacks the slot."""

    def __init__(
        self,
        layout: Layout,
        weights: Weights,
        tokens: Sequence[int],
        prompt_length: int,
        params: Sequence[int],
        tensors: Sequence[Sequence[bytes | None]],
    ) -> None:
        assert len(tensors) == len(tokens) - 1
        self.layout = layout
        self.weights = weights
        self.tokens = tuple(tokens)
        self.prompt_length = prompt_length
        self.params = tuple(params)
        self.tensors = tensors

    @cached_property
    def trees(self) -> TraceTrees:
        return TraceTrees(self)

    def trace_root(self) -> bytes:
        return self.trees.trace_tree.root

    def position_root(self, t: int) -> bytes:
        return self.trees.position_tree(t).root

    def slot_roots(self, t: int) -> list[bytes]:
        slots = enumerate(self.layout.committed)
        exists = self.layout.exists
        return [
            self.trees.tensor_tree(t, ordinal).root if exists(slot, t, self.prompt_length) else E0
            for ordinal, slot in slots
        ]

    def tensor(self, t: int, ordinal: int) -> bytes:
        data = self.tensors[t][ordinal]
        assert data is not None, f"position {t} lacks slot {ordinal}"
        return data


class Stage(IntEnum):
    """The tree that a cursor stands in."""

    TRACE = 0
    POSITION = 1
    TENSOR = 2


@dataclass(frozen=True, slots=True)
class Cursor:
    """A node under a trace root (`docs/spec.md`, Cursor): `height` above the leaves of its stage's tree.

    `t` is meaningful from stage POSITION on, `ordinal` at stage TENSOR.
    """

    stage: Stage
    height: int
    index: int
    t: int = 0
    ordinal: int = 0


class TraceTrees:
    """The trees of a trace, computed when first asked for, and kept."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self._positions: dict[int, Tree] = {}
        self._tensors: dict[tuple[int, int], Tree] = {}

    @cached_property
    def trace_tree(self) -> Tree:
        """The tree over the roots of all positions."""
        positions = range(len(self.trace.tokens) - 1)
        return trace_tree([self.trace.position_root(t) for t in positions])

    def position_tree(self, t: int) -> Tree:
        """The tree over the tensor roots of position t."""
        if t not in self._positions:
            self._positions[t] = position_tree(self.trace.slot_roots(t))
        return self._positions[t]

    def tensor_tree(self, t: int, ordinal: int) -> Tree:
        """The tree of one committed slot at position t."""
        if (t, ordinal) not in self._tensors:
            layout = self.trace.layout
            leaves = layout.slot_leaves(layout.committed[ordinal], t)
            self._tensors[t, ordinal] = tensor_tree(leaves, self.trace.tensor(t, ordinal))
        return self._tensors[t, ordinal]

    @cached_property
    def prompt_tree(self) -> Tree:
        """The tree of the prompt's tokens."""
        return tokens_tree(self.trace.tokens[: self.trace.prompt_length])

    @cached_property
    def output_tree(self) -> Tree:
        """The tree of the output's tokens."""
        return tokens_tree(self.trace.tokens[self.trace.prompt_length :])

    def tree(self, cursor: Cursor) -> Tree:
        """The tree that a cursor stands in."""
        if cursor.stage == Stage.TRACE:
            return self.trace_tree
        if cursor.stage == Stage.POSITION:
            return self.position_tree(cursor.t)
        return self.tensor_tree(cursor.t, cursor.ordinal)

    def overlay(self, cursor: Cursor, node: bytes) -> None:
        """Puts a revealed hash of another trace in the place of one's own: openings then lead to its root."""
        self.tree(cursor).overlay[cursor.height, cursor.index] = node

    def node(self, cursor: Cursor) -> bytes:
        """The hash that a cursor stands on."""
        return self.tree(cursor).node(cursor.height, cursor.index)

    def children(self, cursor: Cursor, a: int) -> list[bytes]:
        """The 2^min(a, height) nodes below a cursor that a reveal posts."""
        return self.tree(cursor).children(cursor.height, cursor.index, min(a, cursor.height))


def children(trace: Trace, cursor: Cursor, a: int) -> list[bytes]:
    """`TraceTrees.children` of a trace for one call; keep a `TraceTrees` for more."""
    return TraceTrees(trace).children(cursor, a)


__all__ = ["Cursor", "MemoryTrace", "Stage", "Trace", "TraceTrees", "children"]
