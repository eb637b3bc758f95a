"""Single elements computed wrongly on purpose: what a cheat claims when its arithmetic goes wrong."""

from __future__ import annotations

from opml.dispute.totals import Dissection, pack_state
from opml.ops import softfloat
from opml.vm.isa import LEAF_ELEMENTS
from opml.vm.step import Evaluation, State, _Place
from opml.vm.trace import Trace
from opml.vm.witness import Reader

BEND = 0x00C00000
"""What is flipped in a running total: its exponent's lowest bit and its significand's highest."""


def bent_element(trace: Trace, t: int, ordinal: int, element: int, block: int) -> tuple[int, tuple[int, ...]]:
    """(stored bits, packed states of round 1) of an element whose total goes wrong in a block of 256 terms.

    The states are what a submitter would post: right before the block, and following from the wrong total
    after it. There are none where the fold is not dissected.
    """
    slot = trace.layout.committed[ordinal]
    evaluation = Evaluation(trace.layout, trace.params, Reader(trace))
    place = evaluation.place(slot, t, element)
    cuts = Dissection.of(slot.instr, t)
    steps = {c.hi for c in cuts.chunks} if cuts.needed else set()
    ends = sorted({*steps, *range(LEAF_ELEMENTS, cuts.length, LEAF_ELEMENTS), cuts.length})
    total: State = ()
    acc: State = ()
    lo, bent, posted = 0, False, []
    for hi in ends:
        state = evaluation.fold(place, lo, hi, total, acc)
        if not bent and hi > block * LEAF_ELEMENTS:
            state, bent = (state[0] ^ BEND, *state[1:]), True
        if hi in steps:
            posted.append(pack_state(state))
        closed = not cuts.is_sum or hi % LEAF_ELEMENTS == 0 or hi == cuts.length
        total, acc = (state, ()) if closed else (total, state)
        lo = hi
    return evaluation.finish(place, total), tuple(posted)


class _TwoRoundings(Evaluation):
    """Computes every fma of a fold as a product, rounded, and a sum, rounded again."""

    def _dot_term(self, place: _Place, k: int, acc: State) -> State:
        values = self._body(place, k)
        return tuple(
            softfloat.f32_add(softfloat.f32_mul(values[2 * pair], values[2 * pair + 1]), held)
            for pair, held in enumerate(acc)
        )


def two_roundings(trace: Trace, t: int, ordinal: int, element: int) -> int:
    """Stored bits of an element whose fma are done as two roundings."""
    evaluation = _TwoRoundings(trace.layout, trace.params, Reader(trace))
    return evaluation.whole(evaluation.place(trace.layout.committed[ordinal], t, element))
