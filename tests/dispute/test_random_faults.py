"""Any bit of any tensor at any position: the cheater loses, whatever the fan-out and its totals."""

from __future__ import annotations

import toys
from hypothesis import given, settings
from hypothesis import strategies as st
from table import Table

from opml.dispute.cheats import lying_totals
from opml.dispute.gateway import ClaimStatus
from opml.dispute.moves import Reason
from opml.dispute.strategy import submitter_move
from opml.dispute.types import Terms
from opml.vm.isa import OUT_BYTES
from opml.vm.reference import Fault

_TABLES: dict[tuple[str, int, int, int], Table] = {}


def table_of(data: st.DataObject) -> Table:
    """A table of any model, prompt, length and fan-out."""
    name = data.draw(st.sampled_from(toys.NAMES))
    room = toys.model(name).limit
    prompt = data.draw(st.integers(1, min(4, room - 1)))
    outputs = data.draw(st.integers(1, min(3, room + 1 - prompt)))
    key = name, prompt, outputs, data.draw(st.integers(1, 6))
    if key not in _TABLES:
        tokens = [token % (toys.model(name).vocabulary_size - 1) for token in range(1, prompt + 1)]
        _TABLES[key] = Table(toys.model(name), tokens, outputs, Terms(fanout=key[3]))
    return _TABLES[key]


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_any_flipped_bit_loses(data: st.DataObject) -> None:
    table = table_of(data)
    layout = table.model.layout
    t = data.draw(st.integers(0, table.last), label="position")
    slots = [slot for slot in layout.slots if layout.exists(slot, t, len(table.prompt))]
    slot = data.draw(st.sampled_from(slots), label="slot")
    rows, cols = layout.shape(slot, t)
    element = data.draw(st.integers(0, rows * cols - 1), label="element")
    xor = data.draw(st.integers(1, (1 << 8 * OUT_BYTES[slot.instr.out]) - 1), label="xor")
    trace = table.run(faults=[Fault(t, slot.number, element, xor)])
    if trace.trace_root() == table.honest.trace_root():
        assert slot.ordinal is None
        return
    strategy = submitter_move
    if data.draw(st.booleans(), label="lies about totals"):
        strategy = lying_totals(
            data.draw(st.integers(0, 400)), data.draw(st.integers(1, 2**32 - 1)), data.draw(st.integers(1, 2))
        )
    duel = table.duel(table.own(trace), submits=strategy)
    assert duel.status == ClaimStatus.REJECTED
    assert duel.reason == Reason.STEP, duel.refused


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_any_two_faults_lose(data: st.DataObject) -> None:
    table = table_of(data)
    layout, faults = table.model.layout, []
    for _ in range(2):
        t = data.draw(st.integers(0, table.last))
        slots = [slot for slot in layout.committed if layout.exists(slot, t, len(table.prompt))]
        slot = data.draw(st.sampled_from(slots))
        rows, cols = layout.shape(slot, t)
        mask = (1 << 8 * OUT_BYTES[slot.instr.out]) - 1
        faults.append(
            Fault(t, slot.number, data.draw(st.integers(0, rows * cols - 1)), data.draw(st.integers(1, mask)))
        )
    trace = table.run(faults=faults)
    if trace.trace_root() != table.honest.trace_root():
        assert table.duel(table.own(trace)).reason == Reason.STEP
