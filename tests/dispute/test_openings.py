"""The honest challenger can open every input of the disputed step under the submitter's root, and wins."""

from __future__ import annotations

import random

import pytest
import toys
from table import Table

from opml.dispute.gateway import ClaimStatus
from opml.dispute.moves import Reason, Step
from opml.vm.engine import get_engine
from opml.vm.isa import OUT_BYTES
from opml.vm.reference import Fault


@pytest.mark.parametrize("name", toys.NAMES)
def test_a_fault_in_every_committed_slot_is_proven_by_a_step(name: str) -> None:
    table = Table(toys.model(name), outputs=3)
    layout, rng = table.model.layout, random.Random(name)
    for slot in layout.committed:
        positions = [t for t in range(table.last + 1) if layout.exists(slot, t, len(table.prompt))]
        t = rng.choice(positions)
        rows, cols = layout.shape(slot, t)
        element = rng.randrange(rows * cols)
        xor = 1 << rng.randrange(8 * OUT_BYTES[slot.instr.out])
        duel = table.duel(table.own(table.run(faults=[Fault(t, slot.number, element, xor)])))
        assert duel.status == ClaimStatus.REJECTED, (slot.name, t, element, hex(xor))
        assert duel.reason == Reason.STEP, (slot.name, t, element, hex(xor), duel.refused)
        assert not duel.refused


@pytest.mark.parametrize("name", toys.NAMES)
def test_a_fault_in_every_virtual_slot_is_proven_through_its_readers(name: str) -> None:
    table = Table(toys.model(name), outputs=3)
    layout, rng, seen = table.model.layout, random.Random(name), 0
    for slot in layout.slots:
        if slot.ordinal is not None:
            continue
        rows, cols = layout.shape(slot, table.last)
        for element in rng.sample(range(rows * cols), min(8, rows * cols)):
            xor = 3 << (8 * OUT_BYTES[slot.instr.out] - 3)
            trace = table.run(faults=[Fault(table.last, slot.number, element, xor)])
            if trace.trace_root() == table.honest.trace_root():
                continue
            duel = table.duel(table.own(trace))
            assert duel.reason == Reason.STEP, (slot.name, element, duel.refused)
            seen += 1
            break
    assert seen


@pytest.mark.parametrize("name", toys.NAMES)
def test_traces_of_the_reference_engine_are_played_the_same(name: str) -> None:
    fast, slow = (Table(toys.model(name), outputs=2) for _ in range(2))
    slow.__dict__["machine"] = get_engine("reference").load(slow.model.program, slow.model.weights)
    slot = slow.model.layout.committed[len(slow.model.layout.committed) // 2]
    fault = Fault(slow.last, slot.number, 0, 1)
    duels = [table.duel(table.own(table.run(faults=[fault]))) for table in (fast, slow)]
    assert duels[0].moves == duels[1].moves and duels[1].reason == Reason.STEP


def test_every_step_of_every_element_of_the_smallest_model_is_proven() -> None:
    table = Table(toys.model("four_letters"), outputs=2)
    layout = table.model.layout
    for slot in layout.committed:
        for t in range(table.last + 1):
            if not layout.exists(slot, t, len(table.prompt)):
                continue
            rows, cols = layout.shape(slot, t)
            for element in range(rows * cols):
                for bit in range(8 * OUT_BYTES[slot.instr.out]):
                    fault = Fault(t, slot.number, element, 1 << bit)
                    duel = table.duel(table.own(table.run(faults=[fault])))
                    assert duel.reason == Reason.STEP, (slot.name, t, element, bit, duel.refused)
                    assert isinstance(duel.moves[-1], Step)
