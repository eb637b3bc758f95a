"""The transition table: announcements, steps, direct proofs, and openings at a node."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import toys
from match import TERMS, Match, announced, bent, first_reveal, match
from table import CHALLENGER, SUBMITTER, Table

from opml.dispute import errors
from opml.dispute.cursor import at
from opml.dispute.history import History, Known
from opml.dispute.moves import (
    Announce,
    Open,
    OpenAt,
    PieceProof,
    Step,
    TokenProof,
)
from opml.dispute.own import Own
from opml.dispute.players import Answer
from opml.dispute.types import Phase
from opml.errors import InputError
from opml.vm.commitment import E0
from opml.vm.trace import Cursor, Stage


def test_a_proof_is_accepted_only_in_a_later_block_than_its_announcement() -> None:
    game = match().until(Phase.STEP)
    announcement = game.next()
    assert isinstance(announcement, Announce)
    game.play(announcement)
    proof = game.next()
    game.table.arena.block -= 1
    with pytest.raises(errors.AnnouncedInThisBlock):
        game.play(proof)
    game.table.arena.block += 1
    game.play(proof)
    assert game.phase == Phase.WON


def test_another_proof_than_the_announced_one_is_refused() -> None:
    game = match().until(Phase.STEP)
    game.play(game.next())
    proof = game.next()
    assert isinstance(proof, Step)
    with pytest.raises(errors.NotAnnounced):
        game.play(replace(proof, witness=proof.witness + b"\0"))


def test_a_proof_under_another_trace_root_is_refused() -> None:
    game = match().until(Phase.STEP)
    with pytest.raises(errors.WrongTraceRoot):
        announced(game, Step(game.mine.trace_root, b""))


def test_a_malformed_witness_decides_nothing() -> None:
    game = match("ffn_down").until(Phase.STEP)
    game.play(game.next())
    right = game.next()
    assert isinstance(right, Step)
    for witness in (b"", right.witness[:-1], right.witness + b"\0", bent(right.witness)):
        with pytest.raises(InputError):
            announced(game, replace(right, witness=witness))
        assert game.phase == Phase.STEP


def test_direct_proofs_against_a_right_answer_decide_nothing() -> None:
    table = Table(toys.model("every_form"), outputs=2)
    posted = table.post()
    key = table.arena.open(CHALLENGER, posted.id, Open(0))
    own = table.own()
    game = Match(table, own, own, key, History(), Known())
    for j in range(len(posted.output)):
        with pytest.raises(errors.NotFraud):
            announced(game, TokenProof(own.trace_root, j, own.token_witness(j)))
        with pytest.raises(errors.NotFraud):
            announced(game, PieceProof(j, posted.answer, posted.lengths, own.piece_witness(j)))
        with pytest.raises(errors.WrongBytes):
            announced(game, PieceProof(j, posted.answer + b"!", posted.lengths, own.piece_witness(j)))
        with pytest.raises(errors.WrongBytes):
            announced(game, PieceProof(j, posted.answer, bytes(len(posted.lengths)), own.piece_witness(j)))
    for proof in (
        TokenProof(own.trace_root, len(posted.output), own.token_witness(0)),
        TokenProof(own.trace_root, 0, own.token_witness(1)),
        TokenProof(own.trace_root, 0, own.token_witness(0)[:-1]),
        PieceProof(0, posted.answer, posted.lengths, bent(own.piece_witness(0))),
        PieceProof(0, posted.answer, posted.lengths, own.piece_witness(0)[:-32]),
    ):
        with pytest.raises(InputError):
            announced(game, proof)
    assert game.phase == Phase.REVEAL


def test_a_direct_proof_is_admitted_in_either_sides_turn() -> None:
    table = Table(toys.model("four_letters"), outputs=2, terms=TERMS)
    honest = table.answer(table.own())
    posted = table.post(Answer(honest.output, (b"?" + honest.pieces[0][1:], *honest.pieces[1:]), honest.own))
    key = table.arena.open(CHALLENGER, posted.id, Open(0))
    own = table.own()
    game = Match(table, own, own, key, History(), Known())
    game.play(first_reveal(own), SUBMITTER)
    assert game.phase == Phase.PICK
    announced(game, PieceProof(0, posted.answer, posted.lengths, own.piece_witness(0)))
    assert game.phase == Phase.WON


def opening_of(own: Own, cursor: Cursor) -> OpenAt:
    siblings = tuple(own.nodes.node(sibling) for sibling in own.shapes.above(cursor))
    return OpenAt(0, own.trace_root, cursor, own.nodes.node(cursor), siblings)


def test_a_game_opens_at_any_node_under_the_trace_root() -> None:
    table = Table(toys.model("every_form"), outputs=2, terms=TERMS)
    own, posted = table.own(), table.post()
    shapes, salt = own.shapes, 0
    for stage in Stage:
        leaf = Cursor(stage, 0, 0, 1 if stage else 0, 1 if stage == Stage.TENSOR else 0)
        for height in range(shapes.depth(leaf) + 1):
            cursor = at(leaf, height, 0)
            move = replace(opening_of(own, cursor), salt=salt)
            key = table.arena.open(CHALLENGER, posted.id, move)
            state = table.arena.game_records[key.id].state
            assert state.cursor == shapes.normal(cursor)
            assert state.word == own.nodes.node(cursor)
            assert state.phase in (Phase.REVEAL, Phase.LEAF)
            salt += 1


def test_a_node_that_is_not_there_cannot_be_opened_at() -> None:
    table = Table(toys.model("every_form"), outputs=2, terms=TERMS)
    own, posted = table.own(), table.post()
    right = opening_of(own, Cursor(Stage.POSITION, 1, 0, 1))
    cases: list[tuple[type[errors.Refused], Callable[[OpenAt], OpenAt]]] = [
        (errors.WrongTraceRoot, lambda m: replace(m, trace_root=bent(m.trace_root))),
        (errors.WrongNode, lambda m: replace(m, node=bent(m.node))),
        (errors.WrongSiblingCount, lambda m: replace(m, siblings=m.siblings[:-1])),
        (errors.WrongSiblingCount, lambda m: replace(m, siblings=(*m.siblings, E0))),
        (errors.WrongNode, lambda m: replace(m, cursor=replace(m.cursor, t=0))),
        (errors.Padding, lambda m: replace(m, cursor=replace(m.cursor, t=own.shapes.positions))),
        (errors.NoSuchNode, lambda m: replace(m, cursor=replace(m.cursor, height=9))),
        (errors.NoSuchNode, lambda m: replace(m, cursor=replace(m.cursor, index=1 << 10))),
        (errors.Padding, lambda m: replace(m, cursor=replace(m.cursor, height=0, index=15))),
        (errors.Padding, lambda m: replace(m, cursor=Cursor(Stage.TENSOR, 0, 0, 0, 200))),
    ]
    for refusal, change in cases:
        with pytest.raises(refusal):
            table.arena.open(CHALLENGER, posted.id, change(right))
    table.arena.open(CHALLENGER, posted.id, right)
    with pytest.raises(errors.GameExists):
        table.arena.open(CHALLENGER, posted.id, right)
