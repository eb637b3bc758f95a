"""What a game looks up of a tensor in the stored program is what the whole program says."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence

import pytest

from opml.dispute import ledger
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


def two_blocks(schedule: Sequence[int]) -> bytes:
    """A program, which nobody validated, of two blocks with one committed instruction of 64 elements each."""
    body = struct.pack(">HH", 4, 0) + struct.pack(">H10B3I", *[0] * 11, 1, 64, 0)
    at, length = 40 + len(schedule), 40 + len(schedule) + 2 * len(body)
    header = b"opml" + struct.pack(">2BH4B2I", 1, 2, len(schedule), 0, 0, 0, 0, 8, length)
    rows = [struct.pack(">IHH2B", at + n * len(body), 1, 1, 0, 0) for n in range(2)]
    return header + b"".join(rows) + bytes(schedule) + body * 2


SCHEDULES: Mapping[str, Callable[[int], int]] = {
    "one block": lambda i: 0,
    "layers after an embedding": lambda i: int(i > 0),
    "alternating": lambda i: i & 1,
    "one of eight": lambda i: int(i % 8 == 7),
    "one of nine": lambda i: int(i % 9 == 8),
}


@pytest.mark.parametrize("entries", [1, 7, 8, 9, 31, 64, 1024])
@pytest.mark.parametrize("kind", SCHEDULES)
def test_a_lookup_is_right_and_within_its_figure_an_entry_in_any_schedule(
    rules: Deployed, kind: str, entries: int
) -> None:
    schedule = [SCHEDULES[kind](i) for i in range(entries)]
    first = rules.data_contract(two_blocks(schedule[:1]))
    rules.call("tree", (first, 0, 0))
    least = rules.gas
    program = rules.data_contract(two_blocks(schedule))
    for ordinal in {0, *range(max(0, entries - 17), entries)}:
        assert rules.call("tree", (program, ordinal, 0)) == (0, 1, True, entries)
        assert rules.gas - least <= ledger.ENTRY * entries
    with pytest.raises(Reverted) as refused:
        rules.call("tree", (program, entries, 0))
    assert refused.value.selector == selector("NoOrdinal(uint256,uint256)")


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
