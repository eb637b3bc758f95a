"""Running totals of a disputed fold, many terms at once.

`opml.dispute.own.walk_states` evaluates term by term, which takes minutes where a term is itself a product,
as in the arg-max over 49,152 virtual logits. Here a whole virtual tensor is computed once, by the reference
executor, and the fold walks over its elements. Same numbers; quantised products, which are short, are walked.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from opml.dispute.own import walk_states
from opml.dispute.totals import Chunk
from opml.ops import softfloat
from opml.ops.order import fold_argmax_array
from opml.ops.quant import load_array, store_array
from opml.ops.softarray import U32
from opml.vm.isa import LEAF_ELEMENTS, Axis, Fold, Pos
from opml.vm.layout import SlotInfo
from opml.vm.reference import Executor, _Grid
from opml.vm.step import State
from opml.vm.trace import Trace


class Folds:
    """An `opml.dispute.own.FoldStates`. Keeps what it computed of the latest trace and position."""

    def __init__(self) -> None:
        self._latest: tuple[Trace, int, _Elements] | None = None

    def __call__(
        self, trace: Trace, t: int, ordinal: int, element: int, chunks: Sequence[Chunk], start: State
    ) -> Sequence[State]:
        slot = trace.layout.committed[ordinal]
        if slot.instr.fold == Fold.QDOT or not chunks:
            return walk_states(trace, t, ordinal, element, chunks, start)
        if self._latest is None or self._latest[0] is not trace or self._latest[1] != t:
            self._latest = trace, t, _Elements(trace)
        return self._latest[2].states(slot, t, element, chunks, start)


class _Elements(Executor):
    """The reference executor over a trace: committed tensors are read, virtual ones computed when needed."""

    def __init__(self, trace: Trace) -> None:
        super().__init__(trace.layout, trace.weights, trace.prompt_length, trace.params)
        self.tokens = list(trace.tokens)
        self.trace_read = trace
        self.registers = [_Lazy(self, slot) for slot in trace.layout.slots]  # type: ignore[misc]

    def tensor(self, slot: SlotInfo, t: int) -> U32:
        """The registers of a slot at position t, flat."""
        fmt = slot.instr.out.info
        if slot.ordinal is not None:
            stored: NDArray[Any] = np.frombuffer(self.trace_read.tensor(t, slot.ordinal), fmt.dtype)
        else:
            rows, cols = self.layout.shape(slot, t)
            k = slot.instr.k.at(t)
            grid = _Grid(np.array([t]), rows, cols, np.arange(1), k)
            stored = store_array(fmt, self._evaluate(slot, grid, k)).reshape(-1)
        return load_array(fmt, stored)

    def states(
        self, slot: SlotInfo, t: int, element: int, chunks: Sequence[Chunk], start: State
    ) -> list[State]:
        """The state after each of consecutive chunks; `start` is the total before them."""
        _, cols = self.layout.shape(slot, t)
        ks = np.arange(chunks[0].lo, chunks[-1].hi)
        point = _Point(t, element // cols, element % cols, cols, ks, slot.instr.k.at(t))
        value = self._body(slot, point)
        if slot.instr.fold == Fold.DOT:
            numbers = slot.instr.result[: 4 if slot.instr.two else 2]
            columns = [value(number).reshape(-1).tolist() for number in numbers]
            return _sums(columns, chunks, start, slot.instr.k.at(t))
        values = value(slot.instr.result[0]).reshape(-1)
        return _bests(values, chunks, start, indexed=slot.instr.fold == Fold.ARGMAX)


class _Lazy:
    """`Executor.registers` of one slot: computed when read, then kept."""

    def __init__(self, elements: _Elements, slot: SlotInfo) -> None:
        self._elements = elements
        self._slot = slot
        self._known: dict[int, U32] = {}

    def __getitem__(self, positions: slice) -> list[U32]:
        return [self._at(t) for t in range(positions.start, positions.stop)]

    def _at(self, t: int) -> U32:
        if t not in self._known:
            self._known[t] = self._elements.tensor(self._slot, t)
        return self._known[t]


class _Point(_Grid):
    """The axes of one element."""

    def __init__(self, t: int, r: int, c: int, cols: int, ks: NDArray[Any], k: int) -> None:
        super().__init__(np.array([t]), 1, 1, ks, k)
        self._place = t, r, c, cols
        self.extent[Pos.WINDOW_C] = cols
        self.axes[Axis.R] = np.full((1, 1, 1, 1), r)
        self.axes[Axis.C] = np.full((1, 1, 1, 1), c)

    def at_k(self, ks: NDArray[Any]) -> _Point:
        return _Point(*self._place, ks, self.extent[Pos.WINDOW_K])


def _sums(
    columns: Sequence[Sequence[int]], chunks: Sequence[Chunk], start: State, length: int
) -> list[State]:
    """Sums of products: `columns` are a0, b0 (a1, b1) of every term."""
    zero = (0,) * (len(columns) // 2)
    total, acc = start or zero, zero
    states = []
    for chunk in chunks:
        for k in range(chunk.lo, chunk.hi):
            at = k - chunks[0].lo
            acc = tuple(
                softfloat.f32_fma(columns[2 * i][at], columns[2 * i + 1][at], acc[i]) for i in range(len(acc))
            )
            if (k + 1) % LEAF_ELEMENTS == 0 or k + 1 == length:
                total = tuple(softfloat.f32_add(a, b) for a, b in zip(total, acc, strict=True))
                acc = zero
        closed = chunk.hi % LEAF_ELEMENTS == 0 or chunk.hi == length
        states.append(total if closed else acc)
    return states


def _bests(values: U32, chunks: Sequence[Chunk], start: State, *, indexed: bool) -> list[State]:
    """Maxima: (value, index) where `indexed`, else (value,)."""
    best = start
    states: list[State] = []
    for chunk in chunks:
        part = values[chunk.lo - chunks[0].lo : chunk.hi - chunks[0].lo]
        if best:
            part = np.concatenate([np.array([best[0]], np.uint32), part])
        index, value = fold_argmax_array(part)
        if best and index == 0:
            where = best[1] if indexed else 0
        else:
            where = chunk.lo + int(index) - (1 if best else 0)
        best = (int(value), where) if indexed else (int(value),)
        states.append(best)
    return states


__all__ = ["Folds"]
