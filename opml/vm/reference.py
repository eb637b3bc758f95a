"""The reference executor: any program, in NumPy integers, written to be read (`docs/spec.md`, One element).

Slots are computed in order, each for a batch of positions at once: a slot reads only earlier slots, at this
position or before, so that a batch gives what one position after the other gives. Positions at which a slot
has the same extents share one evaluation over the axes [position, row, column, k].
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from opml.errors import InputError
from opml.ops import softarray
from opml.ops.order import fold_argmax_array
from opml.ops.program import run_array
from opml.ops.quant import UNIT, Units, decode_units, dequantise, load_array, qdot_units, store_array
from opml.ops.softarray import U32
from opml.vm.isa import LEAF_ELEMENTS, MAX_PARAMS, POOL_BASE, ROW, Axis, Fold, Kind, Operand, Pos, Program
from opml.vm.layout import Layout, SlotInfo
from opml.vm.trace import MemoryTrace
from opml.vm.weights import Weight, Weights

STRETCH = 32
"""Terms of a dot whose bodies are evaluated together; the sums stay in order."""

Array = NDArray[Any]
Corruption = Callable[[SlotInfo, int, Array], Array]
"""(slot, position, stored elements) -> the elements that are stored instead."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Falsifies one stored element as soon as it is computed: all later readers see it, virtual slots too."""

    position: int
    slot: int
    element: int
    xor: int


def inject(faults: Iterable[Fault]) -> Corruption:
    """The corruption that applies some faults."""
    by_place: dict[tuple[int, int], list[Fault]] = {}
    for fault in faults:
        by_place.setdefault((fault.position, fault.slot), []).append(fault)

    def corrupt(slot: SlotInfo, t: int, stored: Array) -> Array:
        for fault in by_place.get((t, slot.number), ()):
            stored = stored.copy()
            bits = stored.view(f"<u{stored.dtype.itemsize}")
            bits[fault.element] ^= bits.dtype.type(fault.xor)
        return stored

    return corrupt


class _Grid:
    """The axes of one evaluation as integers that broadcast over [position, row, column, k]."""

    def __init__(self, ts: Array, rows: int, cols: int, ks: Array, k: int) -> None:
        self.ts = ts
        self.shape = (len(ts), rows, cols)
        self.extent = {Pos.WINDOW_K: k, Pos.WINDOW_C: cols}
        self.axes: dict[Axis, Array] = {
            Axis.T: ts[:, None, None, None],
            Axis.R: np.arange(rows)[None, :, None, None],
            Axis.C: np.arange(cols)[None, None, :, None],
            Axis.K: ks[None, None, None, :],
        }

    def at_k(self, ks: Array) -> _Grid:
        """The same grid over other values of k."""
        return _Grid(self.ts, self.shape[1], self.shape[2], ks, self.extent[Pos.WINDOW_K])


class Executor:
    """Runs a program position after position, or many at once, and keeps what it computed.

    Raises `InputError` for weights of other shapes, and for tokens or positions that the program can't take.
    """

    def __init__(
        self,
        layout: Layout,
        weights: Iterable[Weight],
        prompt_length: int,
        params: Sequence[int],
        corrupt: Corruption | None = None,
    ) -> None:
        self.layout = layout
        self.weights = weights if isinstance(weights, Weights) else Weights(weights)
        self.weights.check(layout)
        self.prompt_length = prompt_length
        self.params = (*params, *[0] * (MAX_PARAMS - len(params)))
        self.corrupt = corrupt
        self.tokens: list[int] = []
        self.stored: list[list[Array | None]] = [[] for _ in layout.slots]
        """`stored[slot][t]`: the elements in storage format, flat."""
        self.registers: list[list[U32 | None]] = [[] for _ in layout.slots]
        """`registers[slot][t]`: the same as readers see them."""

    def extend(self, tokens: Sequence[int]) -> None:
        """Computes the next `len(tokens)` positions as one batch."""
        start = len(self.tokens)
        if start + len(tokens) > self.layout.program.limit:
            raise InputError(f"the program has at most {self.layout.program.limit} positions")
        self.tokens += tokens
        for slot in self.layout.slots:
            self._compute(slot, range(start, len(self.tokens)))

    def sample(self, t: int = -1) -> int:
        """The token that a position yields, the last one unless told."""
        registers = self.registers[-1][t]
        assert registers is not None, "the position does not yield"
        return int(registers[0])

    def trace(self, tokens: Sequence[int]) -> MemoryTrace:
        """The trace of what was computed; `tokens` is the prompt and all of the output."""
        tensors = [
            [
                None if (x := self.stored[slot.number][t]) is None else x.tobytes()
                for slot in self.layout.committed
            ]
            for t in range(len(self.tokens))
        ]
        return MemoryTrace(self.layout, self.weights, tokens, self.prompt_length, self.params, tensors)

    # One slot ------------------------------------------------------------------------------------------

    def _compute(self, slot: SlotInfo, positions: range) -> None:
        instr = slot.instr
        stored, registers = self.stored[slot.number], self.registers[slot.number]

        def extents(t: int) -> tuple[int, ...] | None:
            if not self.layout.exists(slot, t, self.prompt_length):
                return None
            return instr.rows.at(t), instr.cols.at(t), instr.k.at(t)

        for shape, group in groupby(positions, extents):
            ts = list(group)
            if shape is None:
                stored += [None] * len(ts)
                registers += [None] * len(ts)
                continue
            rows, cols, k = shape
            grid = _Grid(np.array(ts), rows, cols, np.arange(1), k)
            result = self._evaluate(slot, grid, k)
            elements = store_array(instr.out.info, result).reshape(len(ts), rows * cols)
            for t, row in zip(ts, elements, strict=True):
                kept = self.corrupt(slot, t, row) if self.corrupt else row
                stored.append(kept)
                registers.append(load_array(instr.out.info, kept))

    def _evaluate(self, slot: SlotInfo, grid: _Grid, k: int) -> U32:
        """Registers [position, row, column] before they are stored."""
        instr = slot.instr
        accumulators = [value[..., None] for value in self._fold(slot, grid, k)]
        inputs = accumulators + self._read_all(slot, instr.finish_operands, grid)
        result = run_array(instr.finish, inputs, self.layout.program.pool)[-1]
        return np.broadcast_to(result, (*grid.shape, 1))[..., 0]

    # Folds ---------------------------------------------------------------------------------------------

    def _fold(self, slot: SlotInfo, grid: _Grid, k: int) -> list[U32]:
        """The accumulators, each [position, row, column]."""
        if slot.instr.fold == Fold.NONE:
            return []
        if slot.instr.fold == Fold.DOT:
            return self._dot(slot, grid, k)
        if slot.instr.fold == Fold.QDOT:
            return self._qdot(slot, grid, k)
        index, best = self._argmax(slot, grid, k)
        return [best] if slot.instr.fold == Fold.MAX else [index, best]

    def _body(self, slot: SlotInfo, grid: _Grid) -> Callable[[int], U32]:
        """Runs the body over the grid; gives the value of a result number, over all axes."""
        pool = self.layout.program.pool
        registers = run_array(slot.instr.body, self._read_all(slot, slot.instr.fold_operands, grid), pool)
        shape = (*grid.shape, grid.axes[Axis.K].size)

        def value(number: int) -> U32:
            found = registers[number] if number < POOL_BASE else softarray.as_u32(pool[number - POOL_BASE])
            return np.broadcast_to(found, shape)

        return value

    def _dot(self, slot: SlotInfo, grid: _Grid, k: int) -> list[U32]:
        pairs = range(2 if slot.instr.two else 1)
        total = [np.zeros(grid.shape, np.uint32) for _ in pairs]
        for block in range(0, k, LEAF_ELEMENTS):
            acc = [np.zeros(grid.shape, np.uint32) for _ in pairs]
            block_end = min(block + LEAF_ELEMENTS, k)
            for start in range(block, block_end, STRETCH):
                ks = np.arange(start, min(start + STRETCH, block_end))
                value = self._body(slot, grid.at_k(ks))
                for pair in pairs:
                    a, b = (value(number) for number in slot.instr.result[2 * pair : 2 * pair + 2])
                    for term in range(len(ks)):
                        acc[pair] = softarray.f32_fma(a[..., term], b[..., term], acc[pair])
            total = [softarray.f32_add(total[pair], acc[pair]) for pair in pairs]
        return total

    def _qdot(self, slot: SlotInfo, grid: _Grid, k: int) -> list[U32]:
        instr = slot.instr
        _, activations, scale, _ = instr.result
        results = []
        for weight in instr.qdot_weights:
            fmt = self._weight(slot, instr.operands[weight]).format.info
            total = np.zeros(grid.shape, np.uint32)
            for block in range(0, k, LEAF_ELEMENTS):
                acc = np.zeros(grid.shape, np.uint32)
                for start in range(block, min(block + LEAF_ELEMENTS, k), UNIT):
                    at_first = grid.at_k(np.array([start]))
                    along = grid.at_k(np.arange(start, start + UNIT))
                    units = self._units(slot, weight, at_first)
                    q_x = self._read(slot, instr.operands[activations], along, []).astype(np.int8)
                    d_x = self._read(slot, instr.operands[scale], at_first, [])[..., 0]
                    acc = qdot_units(fmt, units, q_x, d_x, acc)
                total = softarray.f32_add(total, acc)
            results.append(total)
        return results

    def _units(self, slot: SlotInfo, number: int, grid: _Grid) -> Units:
        """The units of a quantised weight that an operand addresses, [position, row, column]."""
        operand = slot.instr.operands[number]
        weight = self._weight(slot, operand)
        earlier = self._read_all(slot, slot.instr.operands[:number], grid) if operand.term(Axis.I) else []
        address = _address(operand, grid, weight.cols, weight.rows * weight.cols, earlier)[..., 0]
        fmt = weight.format.info
        units = decode_units(fmt, _raw_units(weight)[address // UNIT])
        return Units(units.q[..., 0, :], units.d[..., 0], units.m[..., 0])

    def _argmax(self, slot: SlotInfo, grid: _Grid, k: int) -> tuple[U32, U32]:
        value = self._body(slot, grid.at_k(np.arange(k)))
        index, best = fold_argmax_array(value(slot.instr.result[0]))
        return index.astype(np.uint32), best

    # Operands ------------------------------------------------------------------------------------------

    def _read_all(self, slot: SlotInfo, operands: Sequence[Operand], grid: _Grid) -> list[U32]:
        values: list[U32] = []
        for operand in operands:
            values.append(self._read(slot, operand, grid, values))
        return values

    def _read(self, slot: SlotInfo, operand: Operand, grid: _Grid, earlier: Sequence[U32]) -> U32:
        """Registers of an operand, of a shape that broadcasts over the grid."""
        if operand.kind == Kind.AXIS:
            return grid.axes[Axis(operand.ref)].astype(np.uint32)
        if operand.kind == Kind.PARAM:
            return softarray.as_u32(self.params[operand.ref])
        if operand.kind == Kind.TOKEN:
            return softarray.as_u32(self.tokens)[grid.axes[Axis.T]]
        if operand.kind != Kind.SLOT:
            weight = self._weight(slot, operand)
            return _elements(weight, _address(operand, grid, weight.cols, weight.rows * weight.cols, earlier))
        source = self.layout.source(slot, operand)
        rows, cols = self.layout.shape(source, int(grid.ts[0]))
        address = _address(operand, grid, cols, rows * cols, earlier)
        position = grid.axes[Axis.T]
        if operand.pos != Pos.HERE:
            window = grid.axes[Axis.K if operand.pos == Pos.WINDOW_K else Axis.C]
            position = position + 1 - grid.extent[operand.pos] + window
        first, last = int(position.min()), int(position.max())
        kept = [x for x in self.registers[source.number][first : last + 1] if x is not None]
        return softarray.as_u32(np.stack(kept)[position - first, address])

    def _weight(self, slot: SlotInfo, operand: Operand) -> Weight:
        return self.weights.tensor(self.layout.weight_number(slot, operand))


def _address(operand: Operand, grid: _Grid, cols: int, size: int, earlier: Sequence[U32]) -> Array:
    """Flat elements that an operand reads of a tensor of `size` elements in rows of `cols`, over the grid."""
    address = np.full((1, 1, 1, 1), operand.base, np.int64)
    for term in operand.terms:
        mul = cols if term.mul == ROW else term.mul
        if term.axis == Axis.I:
            value = np.clip(softarray.signed(earlier[operand.index]), 0, size // mul - 1)
        else:
            value = grid.axes[term.axis]
        address = address + mul * ((value ^ term.xor) // term.div)
    return address


def _raw_units(weight: Weight) -> NDArray[np.uint8]:
    """The stored bytes as [unit, bytes of a unit]."""
    return np.frombuffer(weight.data, np.uint8).reshape(-1, weight.format.info.unit_bytes)


def _elements(weight: Weight, address: Array) -> U32:
    """Registers of single elements: each unit that is touched is decoded once."""
    fmt = weight.format.info
    numbers, places = np.unique(address // fmt.unit, return_inverse=True)
    decoded = dequantise(fmt, _raw_units(weight)[numbers])
    return softarray.as_u32(decoded[places.reshape(address.shape), address % fmt.unit])


# Whole runs --------------------------------------------------------------------------------------------


def run(
    program: Program | Layout,
    weights: Iterable[Weight],
    tokens: Sequence[int],
    prompt_length: int,
    params: Sequence[int] = (),
    corrupt: Corruption | None = None,
) -> MemoryTrace:
    """The trace of a valid program over `tokens` (prompt and output), all positions as one batch.

    `params` are the request's 32-bit words. `corrupt` falsifies tensors as they are stored (`inject`).
    Raises `InputError` for weights of other shapes, no output token, or more positions than the limit.
    """
    if not 1 <= prompt_length < len(tokens):
        raise InputError(
            f"expected at least one prompt and one output token, found {prompt_length} of {len(tokens)}"
        )
    executor = Executor(_layout(program), weights, prompt_length, params, corrupt)
    executor.extend(tokens[:-1])
    return executor.trace(tokens)


def generate(
    program: Program | Layout,
    weights: Iterable[Weight],
    prompt: Sequence[int],
    max_output: int,
    params: Sequence[int] = (),
    end_tokens: Sequence[int] = (),
    corrupt: Corruption | None = None,
) -> MemoryTrace:
    """Samples up to `max_output` tokens after `prompt`, at least one, up to an end token or the limit.

    The prompt is one batch, then each token a step. Raises as `run`.
    """
    if not prompt or max_output < 1:
        raise InputError("expected at least one prompt token and room for one output token")
    executor = Executor(_layout(program), weights, len(prompt), params, corrupt)
    executor.extend(prompt)
    tokens = [*prompt, executor.sample()]
    room = min(max_output, executor.layout.program.limit + 1 - len(prompt))
    while len(tokens) - len(prompt) < room and tokens[-1] not in end_tokens:
        executor.extend(tokens[-1:])
        tokens.append(executor.sample())
    return executor.trace(tokens)


def _layout(program: Program | Layout) -> Layout:
    return program if isinstance(program, Layout) else Layout(program)


__all__ = ["Corruption", "Executor", "Fault", "generate", "inject", "run"]
