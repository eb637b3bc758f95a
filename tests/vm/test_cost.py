"""The bound for a step holds for every step of the tiny models, and is not far above the largest."""

from __future__ import annotations

from functools import cache

import pytest

from opml.ops.table import OPS
from opml.vm import cost
from opml.vm.isa import Fold
from opml.vm.layout import SlotInfo
from opml.vm.reference import run
from opml.vm.step import Mode, State, Target, evaluate
from opml.vm.trace import MemoryTrace, Trace
from opml.vm.witness import Prover, Reader
from tests.vm.programs import MODELS, PARAMS

TOKENS = (3, 1, 2, 24, 5, 7)


@cache
def trace_of(name: str) -> MemoryTrace:
    model = MODELS[name]()
    return run(model.program, model.weights, TOKENS, 3, PARAMS)


def targets(trace: Trace, slot: SlotInfo, t: int, element: int) -> list[Target]:
    """All steps of an element."""
    assert slot.ordinal is not None
    if not trace.layout.dissected(slot, t):
        return [Target(t, slot.ordinal, element)]
    found = []
    total: State = ()
    acc: State = ()
    k = slot.instr.k.at(t)
    ordered = slot.instr.fold in (Fold.MAX, Fold.ARGMAX)
    for lo in range(0, k, slot.instr.terms):
        hi = min(lo + slot.instr.terms, k)
        found.append(Target(t, slot.ordinal, element, Mode.CHUNK, lo, hi, total, acc))
        state = evaluate(trace.layout, trace.params, found[-1], Reader(trace))
        total, acc = (state, ()) if ordered or hi % 256 == 0 or hi == k else (total, state)
    return [*found, Target(t, slot.ordinal, element, Mode.FINISH, total=total)]


@pytest.mark.parametrize("name", MODELS)
def test_bound_holds_for_the_witness_of_every_kind_of_step(name: str) -> None:
    trace = trace_of(name)
    for slot in trace.layout.committed:
        bound = cost.step(trace.layout, slot)
        largest = 0
        for t in (0, 2, 4):
            if not trace.layout.exists(slot, t, 3):
                continue
            length = trace.layout.slot_leaves(slot, t).length
            for element in {0, length // 3, length - 1}:
                for target in targets(trace, slot, t, element):
                    prover = Prover(trace.trees)
                    evaluate(trace.layout, trace.params, target, prover)
                    largest = max(largest, len(prover.witness))
        assert largest <= bound.bytes, slot.name
        assert bound.bytes <= 4 * largest + 512, slot.name
        assert bound.gas > cost.GAS["step"] + cost.GAS["calldata_byte"] * bound.bytes


def test_every_operation_has_a_price() -> None:
    assert len(cost.OP_GAS_BY_CODE) == len(OPS)
    assert set(cost.OP_GAS) <= {op.name for op in OPS}


def test_worst_step_is_the_largest_of_all() -> None:
    layout = trace_of("llama").layout
    worst = cost.worst_step(layout)
    assert worst.gas == max(cost.step(layout, slot).gas for slot in layout.committed)
