"""What a game looks up of a tensor in the stored program is what the whole program says."""

from __future__ import annotations

import pytest

from opml.dispute.cursor import WHOLE_BYTES
from opml.dispute.totals import Dissection
from opml.vm.commitment import Tag, leaf_hash
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
            width = OUT_BYTES[slot.instr.out]
            whole = leaves.length * width <= WHOLE_BYTES
            assert rules.call("tree", at) == (leaves.depth, leaves.count, whole, entries)
            last = leaves.count - 1
            data = bytes(n % 251 for n in range((leaves.length - 256 * last) * width))
            node = leaf_hash(Tag.TENSOR_LEAF, data)
            assert rules.call("leaf", at, 0, last, node, data) == entries
            cuts = Dissection.of(slot.instr, t)
            number, bits, dissected, _ = rules.call("element", at, 0, last, node, (0, data, []))
            assert (number, bits) == (256 * last, int.from_bytes(data[:width], "little"))
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
