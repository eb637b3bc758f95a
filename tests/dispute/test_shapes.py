"""Moving through trees, and cutting folds: what follows from shapes alone."""

from __future__ import annotations

from itertools import pairwise

import pytest
import toys
from hypothesis import given
from hypothesis import strategies as st
from table import Table

from opml.dispute.cursor import STAGE_TAGS, Shapes, at, is_leaf
from opml.dispute.descent import root_above
from opml.dispute.ledger import Sizes
from opml.dispute.nodes import MixedNodes, child_siblings, fold_children, record_reveal
from opml.dispute.totals import (
    Chunk,
    Dissection,
    first_difference,
    pack_state,
    pack_states,
    unpack_state,
    unpack_states,
)
from opml.vm.commitment import Tag, path_root
from opml.vm.trace import Cursor, Stage


@pytest.mark.parametrize("name", toys.NAMES)
@pytest.mark.parametrize("levels", [1, 2, 5])
def test_every_leaf_is_reached_from_the_root_by_picks(name: str, levels: int) -> None:
    table = Table(toys.model(name))
    shapes, reached = table.own().shapes, set()

    def descend(cursor: Cursor) -> None:
        if is_leaf(cursor):
            reached.add((cursor.t, cursor.ordinal, cursor.index))
            return
        span = min(levels, cursor.height)
        for i in range(1 << span):
            if not shapes.is_padding(at(cursor, cursor.height - span, (cursor.index << span) + i)):
                descend(shapes.child(cursor, span, i))

    descend(shapes.root())
    assert reached == {
        (t, ordinal, leaf)
        for t in range(shapes.positions)
        for ordinal in range(shapes.present(t))
        for leaf in range(shapes.leaves_of(t, ordinal).count)
    }


def test_siblings_above_a_node_lead_to_the_trace_root() -> None:
    own = Table(toys.model("llama"), (5, 9, 4), outputs=2).own()
    shapes = own.shapes
    for cursor in (
        Cursor(Stage.TRACE, 2, 0),
        Cursor(Stage.TRACE, 0, 3),
        Cursor(Stage.POSITION, 3, 2, 1),
        Cursor(Stage.POSITION, 0, 7, 2),
        Cursor(Stage.TENSOR, 0, 0, 3, 9),
    ):
        siblings = tuple(own.nodes.node(sibling) for sibling in shapes.above(cursor))
        assert root_above(shapes, cursor, own.nodes.node(cursor), siblings) == own.trace_root


def test_a_position_without_a_slot_is_not_passed() -> None:
    shapes = Shapes(toys.model("four_letters").layout, 3, 3)
    assert shapes.present(0) == 5
    assert shapes.present(2) == 7
    assert shapes.is_padding(Cursor(Stage.POSITION, 0, 5, 0))
    assert not shapes.is_padding(Cursor(Stage.POSITION, 0, 5, 2))


@given(st.integers(0, 6), st.data())
def test_revealed_children_prove_each_of_themselves(levels: int, data: st.DataObject) -> None:
    children = [bytes([n]) * 32 for n in range(1 << levels)]
    root = fold_children(Tag.TRACE, children)[-1][0]
    i = data.draw(st.integers(0, len(children) - 1))
    siblings = child_siblings(Tag.TRACE, children, i)
    assert len(siblings) == levels
    assert path_root(Tag.TRACE, i, children[i], siblings) == root


def test_a_reveal_makes_all_nodes_between_known() -> None:
    own = Table(toys.model("llama"), (5, 9, 4), outputs=2).own()
    known: dict[Cursor, bytes] = {}
    cursor = Cursor(Stage.POSITION, 6, 0, 1)
    record_reveal(known, cursor, own.nodes.children(cursor, 3))
    assert len(known) == 1 + 2 + 4 + 8
    assert all(own.nodes.node(place) == value for place, value in known.items())
    other = {place: bytes(32) for place in known}
    mixed = MixedNodes(own.nodes, other)
    assert mixed.children(cursor, 1) == (bytes(32), bytes(32))
    assert mixed.children(Cursor(Stage.POSITION, 6, 0, 2), 1) == own.nodes.children(
        Cursor(Stage.POSITION, 6, 0, 2), 1
    )


def test_tags_of_the_three_trees_differ() -> None:
    assert len(set(STAGE_TAGS.values())) == 3


@given(st.integers(1, 3000), st.integers(0, 11), st.booleans(), st.booleans())
def test_chunks_cover_a_fold_in_order(length: int, log: int, wide: bool, is_sum: bool) -> None:
    cuts = Dissection(length, 1 << log, 8 if wide else 4, is_sum)
    if not cuts.needed:
        assert length <= 1 << log
        assert cuts.largest_posting == 0
        return
    chunks = cuts.chunks
    assert chunks[0].lo == 0
    assert chunks[-1].hi == length
    assert all(a.hi == b.lo for a, b in pairwise(chunks))
    assert len(chunks) * cuts.state_bytes <= cuts.largest_posting
    for block in chunks:
        inner = cuts.inner(block) if cuts.two_rounds else (block,)
        assert inner[0].lo == block.lo
        assert inner[-1].hi == block.hi
        # A step carries at most that many terms, and a chunk never crosses a block of 256.
        assert all(0 < chunk.hi - chunk.lo <= cuts.carried for chunk in inner)
        if cuts.carried < 256:
            assert all(chunk.lo // 256 == (chunk.hi - 1) // 256 for chunk in inner)
        assert (len(inner) - 1) * cuts.state_bytes <= cuts.largest_posting or not cuts.two_rounds


@given(st.lists(st.integers(0, 2**64 - 1), max_size=20))
def test_states_are_packed_and_unpacked(states: list[int]) -> None:
    assert unpack_states(pack_states(states, 8), 8) == tuple(states)
    for state in states:
        assert pack_state(unpack_state(state, 8)) == state


def test_the_first_difference_is_the_leftmost() -> None:
    assert first_difference((1, 2, 3), (1, 9, 9)) == 1
    assert first_difference((1, 2), (1, 2)) is None
    assert Dissection(300, 32, 4, True).inner(Chunk(256, 300)) == (Chunk(256, 288), Chunk(288, 300))


def test_sizes_are_those_of_the_layout() -> None:
    layout = toys.model("four_letters").layout
    assert Sizes.of(layout, 7) == Sizes(7, 5, 0, 1, 4, 7, 32)
