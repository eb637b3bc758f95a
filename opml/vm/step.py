"""One step of a program, scalar by scalar: the twin of the contract that decides (`docs/spec.md`, One step).

The evaluation is written once, over an `Opener`. With a `Prover` it yields the witness, with a `Verifier` it
checks one. What is opened, and when, follows from the order in which scalars are read here: that order is
part of the specification.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from opml.ops import softfloat
from opml.ops.program import run_scalar
from opml.ops.quant import UNIT, element, load, qdot_unit, store
from opml.vm.isa import LEAF_ELEMENTS, POOL_BASE, ROW, Axis, Fold, Kind, Operand, Pos
from opml.vm.layout import Layout, SlotInfo
from opml.vm.reach import depends_on
from opml.vm.trace import TraceTrees
from opml.vm.witness import Context, Forest, Opener, Prover, TensorId, Verifier

State = tuple[int, ...]
"""A running total: a u32 for each accumulator (dot, qdot), (value,) for max, (value, index) for argmax."""


class Mode(IntEnum):
    """What a step computes: an element, a chunk of its fold, or the element from the whole fold's total."""

    WHOLE = 0
    CHUNK = 1
    FINISH = 2


@dataclass(frozen=True, slots=True)
class Target:
    """The place of a step: element `element` of committed slot `ordinal` at position `t`.

    A chunk folds the terms lo ... hi - 1 from (total, acc): `total` is the state at the last boundary of a
    block at or before lo, `acc` the accumulators since then (`docs/spec.md`, Running totals); empty is the
    start. For max and argmax `total` is the best so far, empty at 0. A finish starts from `total`, the state
    after all terms.
    """

    t: int
    ordinal: int
    element: int
    mode: Mode = Mode.WHOLE
    lo: int = 0
    hi: int = 0
    total: State = ()
    acc: State = ()


@dataclass(frozen=True, slots=True)
class _Place:
    """One element of one slot at one position, with the slot's extents there."""

    slot: SlotInfo
    t: int
    r: int
    c: int
    cols: int
    k_extent: int

    def axis(self, axis: Axis, k: int) -> int:
        return (self.r, self.c, k, self.t)[axis]


class Evaluation:
    """Evaluates elements of a valid program with data from an opener."""

    def __init__(self, layout: Layout, params: Sequence[int], opener: Opener) -> None:
        self.layout = layout
        self.params = params
        self.opener = opener
        self._virtual: dict[tuple[int, int, int], int] = {}

    def place(self, slot: SlotInfo, t: int, flat: int) -> _Place:
        """The place of a flat element."""
        _, cols = self.layout.shape(slot, t)
        return _Place(slot, t, flat // cols, flat % cols, cols, slot.instr.k.at(t))

    def whole(self, place: _Place) -> int:
        """The stored bits of an element."""
        instr = place.slot.instr
        total = () if instr.fold == Fold.NONE else self.fold(place, 0, place.k_extent, (), ())
        return self.finish(place, total)

    def finish(self, place: _Place, total: State) -> int:
        """The stored bits of an element from the total of its fold."""
        instr = place.slot.instr
        accumulators = total[::-1] if instr.fold == Fold.ARGMAX else total
        inputs = [*accumulators, *self._read_all(place, instr.finish_operands, 0)]
        register = run_scalar(instr.finish, inputs, self.layout.program.pool)[-1]
        return store(instr.out.info, register)

    # Folds ---------------------------------------------------------------------------------------------

    def fold(self, place: _Place, lo: int, hi: int, total: State, acc: State) -> State:
        """The state after the terms lo ... hi - 1; see `Target`."""
        self._open_runs(place, lo, hi)
        fold = place.slot.instr.fold
        if fold in (Fold.MAX, Fold.ARGMAX):
            return self._best(place, lo, hi, total)
        zero = (0,) * place.slot.instr.accumulators
        total, acc = total or zero, acc or zero
        step, term = (UNIT, self._qdot_unit) if fold == Fold.QDOT else (1, self._dot_term)
        for k in range(lo, hi, step):
            acc = term(place, k, acc)
            if _closes(k + step, place.k_extent):
                total = tuple(softfloat.f32_add(a, b) for a, b in zip(total, acc, strict=True))
                acc = zero
        return total if _closes(hi, place.k_extent) else acc

    def _open_runs(self, place: _Place, lo: int, hi: int) -> None:
        """Opens together what the terms read along k."""
        operands = place.slot.instr.fold_operands
        for operand in operands:
            tensor = self._tensor(place, operand)
            along = operand.term(Axis.K)
            if tensor is None or operand.pos != Pos.HERE or along is None:
                continue
            if along.mul != 1 or along.xor != 0:
                continue
            if operand.term(Axis.I) and depends_on(operands, operand.index, Axis.K):
                continue
            leaves = self.opener.leaves(tensor)
            first, _ = leaves.place(self._address(place, operands, operand, lo))
            last, _ = leaves.place(self._address(place, operands, operand, hi - 1))
            self.opener.need(tensor, first, last)

    def _body(self, place: _Place, k: int) -> list[int]:
        """The values that the result names, for one term."""
        instr, pool = place.slot.instr, self.layout.program.pool
        registers = run_scalar(instr.body, self._read_all(place, instr.fold_operands, k), pool)
        count = {Fold.DOT: 4 if instr.two else 2}.get(instr.fold, 1)
        return [
            registers[number] if number < POOL_BASE else pool[number - POOL_BASE]
            for number in instr.result[:count]
        ]

    def _dot_term(self, place: _Place, k: int, acc: State) -> State:
        values = self._body(place, k)
        return tuple(
            softfloat.f32_fma(values[2 * pair], values[2 * pair + 1], held) for pair, held in enumerate(acc)
        )

    def _qdot_unit(self, place: _Place, k: int, acc: State) -> State:
        instr = place.slot.instr
        operands = instr.fold_operands
        formats, units = [], []
        for number in instr.qdot_weights:
            operand = operands[number]
            weight = self.layout.weight_number(place.slot, operand)
            address = self._address(place, operands, operand, k)
            formats.append(self.layout.weights[weight].format.info)
            units.append(self.opener.unit(TensorId(Forest.WEIGHTS, weight), address))
        _, activations, scale, _ = instr.result
        q_x = [softfloat.signed(self._read(place, operands, activations, k + i)) for i in range(UNIT)]
        d_x = self._read(place, operands, scale, k)
        return tuple(
            qdot_unit(fmt, unit, q_x, d_x, held) for fmt, unit, held in zip(formats, units, acc, strict=True)
        )

    def _best(self, place: _Place, lo: int, hi: int, best: State) -> State:
        """The best of the terms and of `best`, which is empty before the first; the lowest index wins."""
        for k in range(lo, hi):
            value = softfloat.canonical(self._body(place, k)[0])
            if not best or softfloat.order_key(value) > softfloat.order_key(best[0]):
                best = (value, k)
        return best if place.slot.instr.fold == Fold.ARGMAX else best[:1]

    # Operands ------------------------------------------------------------------------------------------

    def _read_all(self, place: _Place, operands: Sequence[Operand], k: int) -> list[int]:
        return [self._read(place, operands, number, k) for number in range(len(operands))]

    def _read(self, place: _Place, operands: Sequence[Operand], number: int, k: int) -> int:
        """The register of one operand of a section."""
        operand = operands[number]
        if operand.kind == Kind.AXIS:
            return place.axis(Axis(operand.ref), k)
        if operand.kind == Kind.PARAM:
            return self.params[operand.ref]
        if operand.kind == Kind.TOKEN:
            return self.token(place.t)
        address = self._address(place, operands, operand, k)
        if operand.kind != Kind.SLOT:
            weight = self.layout.weight_number(place.slot, operand)
            fmt = self.layout.weights[weight].format.info
            return element(
                fmt, self.opener.unit(TensorId(Forest.WEIGHTS, weight), address), address % fmt.unit
            )
        source = self.layout.source(place.slot, operand)
        t = place.t
        if operand.pos == Pos.WINDOW_K:
            t += 1 - place.k_extent + k
        elif operand.pos == Pos.WINDOW_C:
            t += 1 - place.cols + place.c
        return self._slot_element(source, t, address)

    def _slot_element(self, source: SlotInfo, t: int, address: int) -> int:
        """The register of an element of a slot: opened, or for a virtual one evaluated."""
        if source.ordinal is not None:
            stored = self.opener.unit(TensorId(Forest.TRACE, source.ordinal, t), address)
            return load(source.instr.out.info, int.from_bytes(stored, "little"))
        key = (source.number, t, address)
        if key not in self._virtual:
            self._virtual[key] = load(source.instr.out.info, self.whole(self.place(source, t, address)))
        return self._virtual[key]

    def token(self, t: int) -> int:
        """Token t of prompt and output."""
        prompt = self.opener.prompt_length
        tensor = TensorId(Forest.PROMPT) if t < prompt else TensorId(Forest.OUTPUT)
        return int.from_bytes(self.opener.unit(tensor, t if t < prompt else t - prompt), "little")

    def _tensor(self, place: _Place, operand: Operand) -> TensorId | None:
        """The committed tensor that an operand reads at this position, if it does."""
        if operand.kind in (Kind.WEIGHT, Kind.GLOBAL):
            return TensorId(Forest.WEIGHTS, self.layout.weight_number(place.slot, operand))
        if operand.kind != Kind.SLOT:
            return None
        ordinal = self.layout.source(place.slot, operand).ordinal
        return None if ordinal is None else TensorId(Forest.TRACE, ordinal, place.t)

    def _address(self, place: _Place, operands: Sequence[Operand], operand: Operand, k: int) -> int:
        """The flat element that an operand reads; its index operand is read on the way."""
        address = operand.base
        for term in operand.terms:
            rows, cols = self._shape(place, operand)
            mul = cols if term.mul == ROW else term.mul
            if term.axis == Axis.I:
                value = softfloat.signed(self._read(place, operands, operand.index, k))
                value = max(0, min(value, rows * cols // mul - 1))
            else:
                value = place.axis(term.axis, k)
            address += mul * ((value ^ term.xor) // term.div)
        return address

    def _shape(self, place: _Place, operand: Operand) -> tuple[int, int]:
        if operand.kind == Kind.SLOT:
            return self.layout.shape(self.layout.source(place.slot, operand), place.t)
        weight = self.layout.weights[self.layout.weight_number(place.slot, operand)]
        return weight.rows, weight.cols


def _closes(k: int, k_extent: int) -> bool:
    """Whether a block of 256, or the fold, ends before term k."""
    return k % LEAF_ELEMENTS == 0 or k == k_extent


# Steps -------------------------------------------------------------------------------------------------


def evaluate(layout: Layout, params: Sequence[int], target: Target, opener: Opener) -> State:
    """What a step computes: the state after a chunk, or (stored bits,) for a whole element and a finish.

    Raises what the opener raises.
    """
    evaluation = Evaluation(layout, params, opener)
    place = evaluation.place(layout.committed[target.ordinal], target.t, target.element)
    if target.mode == Mode.CHUNK:
        return evaluation.fold(place, target.lo, target.hi, target.total, target.acc)
    if target.mode == Mode.FINISH:
        return (evaluation.finish(place, target.total),)
    return (evaluation.whole(place),)


def prove(trees: TraceTrees, target: Target) -> tuple[State, bytes]:
    """(what the step computes from a trace, the witness that lets anybody check it)."""
    prover = Prover(trees)
    result = evaluate(trees.trace.layout, trees.trace.params, target, prover)
    return result, bytes(prover.witness)


def verify(layout: Layout, context: Context, target: Target, witness: bytes) -> State:
    """What the step computes from a witness, with every byte of it checked against the context's roots.

    Raises `InputError` for a witness that is cut short, too long, or leads to another root.
    """
    verifier = Verifier(layout, context, witness)
    result = evaluate(layout, context.params, target, verifier)
    verifier.close()
    return result


__all__ = ["Evaluation", "Mode", "State", "Target", "evaluate", "prove", "verify"]
