"""What a game looks up of a tensor in the stored program is what the whole program says."""

from __future__ import annotations

import pytest

from opml.dispute.totals import Dissection
from opml.vm.isa import OUT_BYTES
from tests.contracts.revm import Deployed, Reverted, selector
from tests.dispute.toys import every_form


@pytest.fixture(scope="module")
def rules() -> Deployed:
    return Deployed("GameRules")


@pytest.mark.parametrize("layers", [1, 6])
def test_a_lookup_says_of_every_tensor_what_the_layout_says(rules: Deployed, layers: int) -> None:
    model = every_form(limit=1024, layers=layers)
    layout, entries = model.layout, len(model.program.schedule)
    program = rules.data_contract(model.encoded)
    for slot in layout.committed:
        for t in (0, 2, 1023):
            at = (program, slot.ordinal, t)
            leaves = layout.slot_leaves(slot, t)
            assert rules.call("tree", at) == (leaves.depth, leaves.count, entries)
            elements = leaves.length - 256 * (leaves.count - 1)
            size = elements * OUT_BYTES[slot.instr.out]
            assert rules.call("leafBytes", at, leaves.count - 1) == (size, entries)
            cuts = Dissection.of(slot.instr, t)
            dissected = rules.call("element", at, 0, 0, bytes(1024))[2]
            assert dissected == cuts.needed
            if dissected:
                states = len(cuts.chunks) * cuts.state_bytes
                assert rules.call("statesBytes", at, 1, bytes(32)) == (states, entries)


def test_an_ordinal_beyond_the_program_is_refused(rules: Deployed) -> None:
    model = every_form(layers=1)
    program = rules.data_contract(model.encoded)
    count = len(model.layout.committed)
    for ordinal in (count, count + 1, 1 << 255):
        with pytest.raises(Reverted) as refused:
            rules.call("tree", (program, ordinal, 0))
        assert refused.value.selector == selector("NoOrdinal(uint256,uint256)")


def test_no_program_has_no_ordinal(rules: Deployed) -> None:
    with pytest.raises(Reverted) as refused:
        rules.call("tree", ("0x" + "99" * 20, 0, 0))
    assert refused.value.selector == selector("NoOrdinal(uint256,uint256)")
