"""Running totals of one element, its terms evaluated together: same bits as the scalar walk, much sooner.

Terms of a fold don't depend on each other, so that the reference executor evaluates their bodies as arrays;
only the sums stay in order. Tensors come from a trace: committed ones as stored, virtual ones evaluated
again, once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from opml.dispute.totals import Chunk
from opml.ops import softarray, softfloat
from opml.ops.quant import load_array, store_array
from opml.vm.isa import LEAF_ELEMENTS, Axis, Fold
from opml.vm.layout import SlotInfo
from opml.vm.reference import Corruption, Executor, _Grid
from opml.vm.step import Evaluation, State
from opml.vm.trace import Trace
from opml.vm.witness import Reader

TOGETHER = 4096
"""Terms whose bodies are evaluated together."""

Registers = NDArray[np.uint32]


class _Positions:
    """Registers of one slot by position, loaded when first asked for."""

    def __init__(self, load: Callable[[int], Registers]) -> None:
        self._load = load
        self._loaded: dict[int, Registers] = {}

    def __getitem__(self, key: int | slice) -> Any:
        if isinstance(key, slice):
            return [self[t] for t in range(key.start, key.stop)]
        if key not in self._loaded:
            self._loaded[key] = self._load(key)
        return self._loaded[key]


class FoldWalker(Executor):
    """Evaluates folds of single elements of a trace; keeps what it has loaded.

    `corrupt` falsifies virtual tensors, for a submitter that stands by its fault.
    """

    def __init__(self, trace: Trace, corrupt: Corruption | None = None) -> None:
        super().__init__(trace.layout, trace.weights, trace.prompt_length, trace.params, corrupt)
        self._trace = trace
        self.tokens = list(trace.tokens)
        self.registers = [_Positions(self._loader(slot)) for slot in trace.layout.slots]  # type: ignore[misc]
        self._scalar = Evaluation(trace.layout, trace.params, Reader(trace))

    def _loader(self, slot: SlotInfo) -> Callable[[int], Registers]:
        fmt = slot.instr.out.info

        def committed(t: int) -> Registers:
            assert slot.ordinal is not None
            stored = np.frombuffer(self._trace.tensor(t, slot.ordinal), fmt.dtype)
            return load_array(fmt, stored)

        def virtual(t: int) -> Registers:
            (rows, cols), k = self.layout.shape(slot, t), slot.instr.k.at(t)
            grid = _Grid(np.array([t]), rows, cols, np.arange(1), k)
            registers = self._evaluate(slot, grid, k).reshape(rows * cols)
            stored = store_array(fmt, registers)
            return load_array(fmt, self.corrupt(slot, t, stored) if self.corrupt else stored)

        return virtual if slot.ordinal is None else committed

    def states(
        self, t: int, ordinal: int, element: int, chunks: Sequence[Chunk], start: State
    ) -> list[State]:
        """The state after each of consecutive chunks of a fold; `start` is the total before the first."""
        slot = self.layout.committed[ordinal]
        if not chunks:
            return []
        if slot.instr.fold == Fold.QDOT:
            return self._by_units(slot, t, element, chunks, start)
        values = self._values(slot, t, element, chunks[0].lo, chunks[-1].hi)
        if slot.instr.fold == Fold.DOT:
            return _sums(values, chunks, start, slot.instr.k.at(t))
        return _best(values[0], chunks, start, slot.instr.fold == Fold.ARGMAX)

    def _values(self, slot: SlotInfo, t: int, element: int, lo: int, hi: int) -> list[list[int]]:
        """What the result names, for each term: two lists an accumulator, or one."""
        rows, cols = self.layout.shape(slot, t)
        count = {Fold.DOT: 4 if slot.instr.two else 2}.get(slot.instr.fold, 1)
        parts: list[list[Registers]] = [[] for _ in range(count)]
        for first in range(lo, hi, TOGETHER):
            ks = np.arange(first, min(first + TOGETHER, hi))
            grid = _Grid(np.array([t]), rows, cols, ks, slot.instr.k.at(t))
            grid.shape = (1, 1, 1)
            grid.axes[Axis.R] = np.array([[[[element // cols]]]])
            grid.axes[Axis.C] = np.array([[[[element % cols]]]])
            value = self._body(slot, grid)
            for part, number in zip(parts, slot.instr.result[:count], strict=True):
                part.append(softarray.as_u32(value(number)).reshape(-1))
        return [np.concatenate(part).tolist() for part in parts]

    def _by_units(
        self, slot: SlotInfo, t: int, element: int, chunks: Sequence[Chunk], start: State
    ) -> list[State]:
        """A quantised fold, by the scalar evaluation: its terms are units, and few."""
        place, total, acc = self._scalar.place(slot, t, element), start, State()
        states: list[State] = []
        for chunk in chunks:
            state = self._scalar.fold(place, chunk.lo, chunk.hi, total, acc)
            states.append(state)
            closed = chunk.hi % LEAF_ELEMENTS == 0 or chunk.hi == place.k_extent
            total, acc = (state, State()) if closed else (total, state)
        return states


def _sums(values: Sequence[list[int]], chunks: Sequence[Chunk], start: State, length: int) -> list[State]:
    zero = (0,) * (len(values) // 2)
    total, acc, first = start or zero, zero, chunks[0].lo
    states: list[State] = []
    for chunk in chunks:
        for k in range(chunk.lo, chunk.hi):
            acc = tuple(
                softfloat.f32_fma(values[2 * pair][k - first], values[2 * pair + 1][k - first], held)
                for pair, held in enumerate(acc)
            )
            if (k + 1) % LEAF_ELEMENTS == 0 or k + 1 == length:
                total = tuple(softfloat.f32_add(a, b) for a, b in zip(total, acc, strict=True))
                acc = zero
        closed = chunk.hi % LEAF_ELEMENTS == 0 or chunk.hi == length
        states.append(total if closed else acc)
    return states


def _best(values: list[int], chunks: Sequence[Chunk], start: State, indexed: bool) -> list[State]:
    best, first = start, chunks[0].lo
    states: list[State] = []
    for chunk in chunks:
        for k in range(chunk.lo, chunk.hi):
            value = softfloat.canonical(values[k - first])
            if not best or softfloat.order_key(value) > softfloat.order_key(best[0]):
                best = (value, k)
        states.append(best if indexed else best[:1])
    return states
