"""The right root is unique: a commitment with any bit of any preimage changed loses, padding and lengths too.

Exhaustive on the smallest model, one level a reveal, so that every node is asked for by itself.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import toys
from hypothesis import given, settings
from hypothesis import strategies as st
from table import Table

from opml.dispute.cheats import BrokenNodes, standing_for
from opml.dispute.cursor import STAGE_TAGS, Shapes
from opml.dispute.gateway import ClaimStatus
from opml.dispute.own import Own
from opml.dispute.types import Terms
from opml.vm.commitment import Tag, empty
from opml.vm.trace import Cursor, Stage


def tree_nodes(shapes: Shapes, leaf: Cursor) -> Iterator[Cursor]:
    """All nodes of the tree that a leaf belongs to, padding included."""
    depth = shapes.depth(leaf)
    for height in range(depth + 1):
        for index in range(1 << depth - height):
            yield Cursor(leaf.stage, height, index, leaf.t, leaf.ordinal)


def all_places(shapes: Shapes) -> Iterator[Cursor]:
    """Every node whose preimage the right root commits to; the root of an inner tree once."""
    for place in tree_nodes(shapes, Cursor(Stage.TRACE, 0, 0)):
        if place.height or shapes.is_padding(place):
            yield place
    for t in range(shapes.positions):
        for place in tree_nodes(shapes, Cursor(Stage.POSITION, 0, 0, t)):
            if place.height or shapes.is_padding(place):
                yield place
        for ordinal in range(shapes.present(t)):
            yield from tree_nodes(shapes, Cursor(Stage.TENSOR, 0, 0, t, ordinal))


def preimage(own: Own, place: Cursor) -> bytes:
    """What the right node is the hash of."""
    tag = STAGE_TAGS[place.stage]
    if own.shapes.is_padding(place):
        below = empty(tag, place.height - 1) if place.height else b""
        return bytes([tag]) + below + below if place.height else bytes([Tag.EMPTY])
    if place.height:
        return bytes([tag]) + b"".join(own.nodes.children(place, 1))
    return bytes([Tag.TENSOR_LEAF]) + own.nodes.leaf(place)


def loses(table: Table, own: Own, place: Cursor, changed: bytes) -> bool:
    broken = standing_for(own, BrokenNodes(own, place, changed))
    return table.duel(broken, mine=own).status == ClaimStatus.REJECTED


PARTS = 8


@pytest.mark.parametrize("part", range(PARTS))
def test_any_bit_of_any_preimage_of_the_smallest_model_loses(part: int) -> None:
    table = Table(toys.model("four_letters"), (0, 2, 1), outputs=1, terms=Terms(fanout=1))
    own = table.own()
    for number, place in enumerate(all_places(own.shapes)):
        if number % PARTS != part:
            continue
        right = preimage(own, place)
        for bit in range(8 * len(right)):
            changed = bytearray(right)
            changed[bit // 8] ^= 1 << bit % 8
            assert loses(table, own, place, bytes(changed)), (place, bit)


def test_any_other_length_of_any_leaf_loses() -> None:
    table = Table(toys.model("four_letters"), (0, 2, 1), outputs=1, terms=Terms(fanout=1))
    own = table.own()
    for place in all_places(own.shapes):
        right = preimage(own, place)
        for changed in (b"", right[:-1], right[:-2], right + b"\0", right + right[1:], right[:1]):
            if changed != right:
                assert loses(table, own, place, changed), (place, changed)


def test_the_right_root_wins_whatever_the_fan_out() -> None:
    for fanout in range(1, 9):
        table = Table(toys.model("four_letters"), outputs=2, terms=Terms(fanout=fanout))
        assert table.duel(table.own()).status == ClaimStatus.PENDING


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_changed_preimage_loses_on_larger_models(data: st.DataObject) -> None:
    table = tables(data.draw(st.sampled_from(("every_form", "llama", "gpt2"))), data.draw(st.integers(1, 6)))
    own = table.own()
    shapes = own.shapes
    stage = data.draw(st.sampled_from(list(Stage)))
    t = data.draw(st.integers(0, shapes.positions - 1)) if stage != Stage.TRACE else 0
    ordinal = data.draw(st.integers(0, shapes.present(t) - 1)) if stage == Stage.TENSOR else 0
    depth = shapes.depth(Cursor(stage, 0, 0, t, ordinal))
    height = data.draw(st.integers(0 if stage == Stage.TENSOR else min(1, depth), depth))
    index = data.draw(st.integers(0, (1 << depth - height) - 1))
    place = Cursor(stage, height, index, t, ordinal)
    right = preimage(own, place)
    changed = bytearray(right)
    for _ in range(data.draw(st.integers(1, 3))):
        changed[data.draw(st.integers(0, len(right) - 1))] ^= data.draw(st.integers(1, 255))
    if bytes(changed) != right:
        assert loses(table, own, place, bytes(changed)), place


_TABLES: dict[tuple[str, int], Table] = {}


def tables(name: str, fanout: int) -> Table:
    key = name, fanout
    if key not in _TABLES:
        _TABLES[key] = Table(toys.model(name), outputs=2, terms=Terms(fanout=fanout))
    return _TABLES[key]
