"""The transition table: whose move it is, in which phase; what a rejected claim still takes."""

from __future__ import annotations

import pytest
import toys
from match import PHASES, TERMS, Match, match
from table import CHALLENGER, SECOND, SUBMITTER, THIRD, Table

from opml.dispute import errors
from opml.dispute.history import History, Known
from opml.dispute.moves import (
    Announce,
    Element,
    GameMove,
    Leaf,
    Open,
    Pick,
    PickTotal,
    PieceProof,
    Release,
    Reveal,
    RevealRoot,
    Step,
    Timeout,
    TokenProof,
    Totals,
)
from opml.dispute.strategy import challenger_move
from opml.dispute.transition import TABLE
from opml.dispute.types import SUBMITTER_PHASES, Phase
from opml.vm.commitment import E0
from opml.vm.reference import Fault

ALL_MOVES: tuple[GameMove, ...] = (
    RevealRoot(E0, ()),
    Reveal(()),
    Pick(0, E0, ()),
    Leaf(b""),
    Element(0, b""),
    Totals(b""),
    PickTotal(0, E0, b""),
    Step(E0, b""),
)


@pytest.mark.parametrize("phase", PHASES)
def test_a_move_of_another_phase_is_refused(phase: Phase) -> None:
    game = match().until(phase)
    before = game.table.arena.game_records[game.key.id].state
    for move in ALL_MOVES:
        owner, _ = TABLE[type(move)]
        if owner != phase and not (isinstance(move, Step) and phase == Phase.STEP):
            with pytest.raises((errors.WrongPhase, errors.NotAnnounced)):
                game.play(move)
    assert game.table.arena.game_records[game.key.id].state == before


@pytest.mark.parametrize("phase", [Phase.PICK, Phase.ELEMENT, Phase.TOTAL_PICK])
def test_nobody_moves_for_a_challenger(phase: Phase) -> None:
    game = match().until(phase)
    for sender in (SUBMITTER, SECOND):
        with pytest.raises(errors.NotTheChallenger):
            game.play(game.next(), sender)


@pytest.mark.parametrize("phase", PHASES)
def test_nobody_announces_or_proves_in_anothers_game(phase: Phase) -> None:
    game = match().until(phase)
    for move in (Announce(E0), Step(E0, b""), TokenProof(E0, 0, b""), PieceProof(0, b"", b"", b"")):
        with pytest.raises(errors.NotTheChallenger):
            game.play(move, SECOND)


@pytest.mark.parametrize("phase", [Phase.REVEAL, Phase.LEAF])
def test_anybody_may_post_what_hashes_can_check(phase: Phase) -> None:
    game = match().until(phase)
    game.play(game.next(), THIRD)
    assert game.phase not in SUBMITTER_PHASES


def test_only_the_submitters_side_posts_totals() -> None:
    game = match().until(Phase.TOTALS)
    with pytest.raises(errors.NotTheSubmitter):
        game.play(game.next(), THIRD)
    with pytest.raises(errors.NotTheSubmitter):
        game.play(game.next(), b"\0" * 20)
    game.play(game.next(), SUBMITTER)


def test_an_operator_posts_totals_for_the_submitter() -> None:
    table = Table(toys.model("every_form"), outputs=2)
    number = next(s.number for s in table.model.layout.slots if s.instr.name == "ffn_up")
    answer = table.answer(table.own(table.run(faults=[Fault(table.last, number, 0, 1)])))
    submitter = table.submitter(answer, operator=THIRD)
    submitter.act()
    operator = table.submitter(answer, account=THIRD)
    operator.answer = lambda request: None
    posted = next(iter(table.arena.claim_records.values()))
    assert posted.claim.operator == THIRD
    challenger = table.challenger()
    for _ in range(40):
        challenger.act()
        for request in table.arena.request_records.values():
            operator.defend(request, posted)
    assert table.arena.claim_records[posted.id].status.name == "REJECTED"


def test_a_step_that_comes_too_late_is_recorded_and_repaid() -> None:
    game = match().until(Phase.STEP)
    arena = game.table.arena
    posted = arena.claim_records[game.key.claim_id]
    other = arena.open(SECOND, posted.id, Open(0))
    game.play(game.next())
    proof = game.next()
    late = Match(game.table, game.theirs, game.mine, other, History(), Known())
    while late.phase != Phase.STEP:
        view = late.table.view(late.key, SECOND, late.story, late.known)
        late.view()
        move = (
            late.next()
            if view.game.phase in SUBMITTER_PHASES
            else challenger_move(late.view(SECOND), late.mine)
        )
        assert move is not None
        late.play(move, SUBMITTER if view.game.phase in SUBMITTER_PHASES else SECOND)
    step = challenger_move(late.view(SECOND), late.mine)
    assert isinstance(step, Announce)
    late.play(step, SECOND)
    theirs = challenger_move(late.view(SECOND), late.mine)
    assert isinstance(theirs, Step)
    game.play(proof)
    assert game.phase == Phase.WON
    for move in (Announce(E0), Timeout()):
        with pytest.raises(errors.ClaimRejectedAlready):
            late.play(move, SECOND)
    with pytest.raises(errors.ClaimRejectedAlready):
        arena.open(THIRD, posted.id, Open(0))
    late.play(theirs, SECOND)
    assert late.phase == Phase.RELEASED
    with pytest.raises(errors.GameOver):
        late.play(Release(), SECOND)


def test_a_bond_is_released_by_its_owner_at_once_and_by_others_after_its_clock() -> None:
    game = match()
    arena = game.table.arena
    with pytest.raises(errors.ClaimNotRejected):
        game.play(Release())
    others = [arena.open(account, game.key.claim_id, Open(0)) for account in (SECOND, THIRD)]
    rejected_at = arena.time + TERMS.submitter_clock + 1
    arena.time = rejected_at
    game.play(Timeout())
    arena.play(SECOND, others[0], Release())
    with pytest.raises(errors.NotReleasable):
        arena.play(CHALLENGER, others[1], Release())
    arena.time = rejected_at + TERMS.challenger_clock
    with pytest.raises(errors.NotReleasable):
        arena.play(CHALLENGER, others[1], Release())
    arena.time += 1
    arena.play(CHALLENGER, others[1], Release())


def test_states_of_pairs_take_eight_bytes() -> None:
    for slot, bytes_posted in (("q", 2 * 8), ("sample", 2 * 8), ("score.max", 3 * 4)):
        game = match(slot).until(Phase.TOTALS)
        states = game.next()
        assert isinstance(states, Totals)
        assert len(states.states) == bytes_posted
