"""The transition table: what a move has to hold, each refusal by its name."""

from __future__ import annotations

from dataclasses import replace

import pytest
import toys
from match import TERMS, announced, bent, match
from table import CHALLENGER, SUBMITTER, Table

from opml.dispute import errors
from opml.dispute.cheats import BrokenNodes, pick_at, standing_for, total_at
from opml.dispute.history import History, Known, tell
from opml.dispute.moves import (
    Announce,
    Element,
    Leaf,
    Open,
    Pick,
    PickTotal,
    Reveal,
    RevealRoot,
    Step,
    Totals,
)
from opml.dispute.strategy import element_at, submitter_move
from opml.dispute.types import Phase, Terms
from opml.dispute.verifier import StepTarget
from opml.errors import InputError
from opml.vm.commitment import E0, Tag
from opml.vm.step import Mode
from opml.vm.trace import Cursor, Stage


def test_the_first_reveal_gives_the_trace_root_that_was_committed_to() -> None:
    game = match()
    first = game.next()
    assert isinstance(first, RevealRoot)
    with pytest.raises(errors.RootUnknown):
        game.play(Reveal(first.children))
    with pytest.raises(errors.WrongTraceRoot):
        game.play(replace(first, trace_root=bent(first.trace_root)))
    with pytest.raises(errors.WrongTraceRoot):
        game.play(RevealRoot(game.mine.trace_root, first.children))
    game.play(first)
    game.play(game.next())
    with pytest.raises(errors.RootKnown):
        game.play(first)


def test_a_reveal_has_the_right_number_of_children_that_fold_to_the_node() -> None:
    game = match()
    first = game.next()
    assert isinstance(first, RevealRoot)
    for children in (first.children[:-1], (*first.children, E0), ()):
        with pytest.raises(errors.WrongChildCount):
            game.play(replace(first, children=children))
    with pytest.raises(errors.WrongNode):
        game.play(replace(first, children=(bent(first.children[0]), *first.children[1:])))
    with pytest.raises(errors.WrongNode):
        game.play(replace(first, children=first.children[::-1]))


def test_a_reveal_whose_padding_is_not_nothing_is_refused() -> None:
    table = Table(toys.model("every_form"), outputs=2, terms=TERMS)
    own = table.own()
    place = Cursor(Stage.TRACE, 0, own.shapes.positions)
    broken = standing_for(own, BrokenNodes(own, place, bytes([Tag.TRACE]) + bytes(64)))
    duel = table.duel(broken, mine=own)
    assert "NotPadding" in duel.refused


def test_a_pick_is_a_child_that_exists_and_is_proven() -> None:
    game = match().until(Phase.PICK)
    right = game.next()
    assert isinstance(right, Pick)
    with pytest.raises(errors.NoSuchChild):
        game.play(replace(right, i=4))
    for siblings in (right.siblings[:-1], (*right.siblings, E0)):
        with pytest.raises(errors.WrongSiblingCount):
            game.play(replace(right, siblings=siblings))
    for wrong in (
        replace(right, child=bent(right.child)),
        replace(right, i=right.i ^ 1),
        replace(right, siblings=right.siblings[::-1]),
    ):
        with pytest.raises(errors.WrongNode):
            game.play(wrong)


def test_padding_cannot_be_picked() -> None:
    game = match().until(Phase.PICK)
    with pytest.raises(errors.Padding):
        game.play(pick_at(game.view(), 3))


def test_a_slot_that_a_position_lacks_cannot_be_picked() -> None:
    table = Table(toys.model("four_letters"), outputs=1, terms=Terms(fanout=8))
    posted = table.post()
    key = table.arena.open(CHALLENGER, posted.id, Open(0))
    own, story, known = table.own(), History(), Known()
    table.arena.play(SUBMITTER, key, submitter_move(table.view(key, SUBMITTER, story, known), own))  # type: ignore[arg-type]
    for event in table.arena.game_records[key.id].events:
        tell(own.shapes, 8, story, event, known)
    table.arena.play(CHALLENGER, key, pick_at(table.view(key, CHALLENGER, story, known), 0))
    children = own.nodes.children(table.arena.game_records[key.id].state.cursor, 3)
    table.arena.play(SUBMITTER, key, Reveal(children))
    for event in table.arena.game_records[key.id].events[3:]:
        tell(own.shapes, 8, story, event, known)
    with pytest.raises(errors.Padding):
        table.arena.play(CHALLENGER, key, pick_at(table.view(key, CHALLENGER, story, known), 6))


def test_a_leaf_has_the_bytes_of_its_elements() -> None:
    game = match().until(Phase.LEAF)
    right = game.next()
    assert isinstance(right, Leaf)
    for data in (right.data[:-1], right.data + b"\0", b""):
        with pytest.raises(errors.WrongLeafLength):
            game.play(Leaf(data))
    with pytest.raises(errors.WrongNode):
        game.play(Leaf(bent(right.data)))


def test_an_element_is_named_in_the_leaf_that_was_opened() -> None:
    game = match().until(Phase.ELEMENT)
    right = game.next()
    assert isinstance(right, Element)
    with pytest.raises(errors.WrongNode):
        game.play(replace(right, data=bent(right.data)))
    with pytest.raises(errors.NoSuchElement):
        game.play(replace(right, i=300))
    with pytest.raises(errors.WrongNode):
        game.play(replace(right, i=256))
    for siblings in ((), (*right.siblings, E0)):
        with pytest.raises(errors.WrongSiblingCount):
            game.play(replace(right, siblings=siblings))
    with pytest.raises(errors.WrongNode):
        game.play(replace(right, siblings=(bent(right.siblings[0]),)))


@pytest.mark.parametrize(("slot", "reveals"), [("ffn_up", 0), ("embed", 0), ("wide", 2)])
def test_a_tensor_of_at_most_4096_bytes_is_opened_whole(slot: str, reveals: int) -> None:
    game = match(slot, element=7)
    counted = 0
    while game.phase != Phase.ELEMENT:
        state = game.table.arena.game_records[game.key.id].state
        counted += state.phase == Phase.REVEAL and state.stage == Stage.TENSOR
        game.play(game.next())
    assert counted == reveals


def test_an_element_whose_fold_fits_a_step_is_named_with_its_proof() -> None:
    game = match("wide", element=1_099).until(Phase.ELEMENT)
    announcement = game.next()
    assert isinstance(announcement, Announce)
    game.play(announcement)
    proof = game.next()
    assert isinstance(proof, Step)
    assert proof.named.i == 1_099 - 1_024
    game.play(proof)
    assert game.phase == Phase.WON
    game.view()
    assert game.story.element == 1_099
    assert game.story.won is not None
    assert game.story.won.claimed == game.story.bits


def test_an_element_that_is_dissected_is_not_proven_in_one_step() -> None:
    game = match("ffn_up").until(Phase.ELEMENT)
    named = game.next()
    assert isinstance(named, Element)
    with pytest.raises(errors.WrongPhase):
        announced(game, Step(game.theirs.trace_root, b"", named))
    assert game.phase == Phase.ELEMENT


def test_a_proof_that_names_a_right_element_decides_nothing() -> None:
    game = match("wide", element=5).until(Phase.ELEMENT)
    game.play(game.next())
    proof = game.next()
    assert isinstance(proof, Step)
    other = element_at(game.view(), game.mine, 6)
    target = StepTarget(game.table.last, game.view().game.ordinal, 6, Mode.WHOLE)
    _, witness = game.mine.step_witness(target, game.known.nodes)
    with pytest.raises(errors.NotFraud):
        announced(game, replace(proof, witness=witness, named=other))
    with pytest.raises(InputError):
        announced(game, replace(proof, witness=witness[:-1], named=other))
    assert game.phase == Phase.ELEMENT
    announced(game, proof)
    assert game.phase == Phase.WON


def test_totals_are_exactly_those_of_the_chunks() -> None:
    game = match().until(Phase.TOTALS)
    right = game.next()
    assert isinstance(right, Totals)
    assert len(right.states) == 4 * 4
    for states in (right.states[:-1], right.states + b"\0" * 4, b""):
        with pytest.raises(errors.WrongStatesLength):
            game.play(Totals(states))


def test_a_total_is_picked_among_those_that_were_posted() -> None:
    game = match().until(Phase.TOTAL_PICK)
    right = game.next()
    assert isinstance(right, PickTotal)
    assert right.j == 4  # the states are right, the finish isn't
    with pytest.raises(errors.NoSuchTotal):
        game.play(replace(right, j=5))
    for wrong in (
        replace(right, states=bent(right.states)),
        replace(right, before=bent(right.before)),
        replace(right, before=right.before + right.states[:4], states=right.states[4:]),
    ):
        with pytest.raises(errors.WrongStates):
            game.play(wrong)


def test_round_two_has_no_finish() -> None:
    game = match("ffn_down").until(Phase.TOTAL_PICK)
    first = total_at(game.view(), game.mine, 0)
    game.play(first)
    assert game.phase == Phase.TOTALS
    game.play(game.next())
    second = total_at(game.view(), game.mine, 0)
    assert len(second.states) == 7 * 4
    with pytest.raises(errors.NoSuchTotal):
        game.play(replace(second, j=8))
    game.play(replace(second, j=7))
    assert game.phase == Phase.STEP


def test_the_last_block_may_be_too_short_to_post_anything_for() -> None:
    game = match("sample")
    game.until(Phase.TOTAL_PICK)
    move = total_at(game.view(), game.mine, 1)
    game.play(move)
    states = game.next()
    assert isinstance(states, Totals)
    assert len(states.states) == (-(-44 // 4) - 1) * 8
