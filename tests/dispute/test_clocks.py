"""The transition table: clocks and the window, to the second."""

from __future__ import annotations

import pytest
import toys
from match import PHASES, TERMS, first_reveal, match
from table import CHALLENGER, SECOND, SUBMITTER, THIRD, Table

from opml.dispute import errors
from opml.dispute.moves import (
    Open,
    Timeout,
)
from opml.dispute.types import SUBMITTER_PHASES, Phase


@pytest.mark.parametrize("phase", PHASES)
def test_a_move_counts_iff_the_seconds_used_are_within_the_clock(phase: Phase) -> None:
    for late in (0, 1):
        game = match().until(phase)
        move = game.next()
        state = game.table.arena.game_records[game.key.id].state
        submitters = phase in SUBMITTER_PHASES
        used = state.used_submitter if submitters else state.used_challenger
        clock = TERMS.submitter_clock if submitters else TERMS.challenger_clock
        game.table.arena.time = state.moved_at + clock - used + late
        if late:
            with pytest.raises(errors.ClockExpired):
                game.play(move)
            game.play(Timeout(), THIRD)
            assert game.phase == (Phase.WON if submitters else Phase.LOST)
        else:
            with pytest.raises(errors.ClockRunning):
                game.play(Timeout(), THIRD)
            game.play(move)


def test_a_clock_runs_over_all_moves_of_a_side() -> None:
    game = match()
    for _ in range(2):
        game.table.arena.advance(40)
        game.play(game.next())
        game.play(game.next())
    move = game.next()
    game.table.arena.advance(40)
    with pytest.raises(errors.ClockExpired):
        game.play(move)


def test_an_announcement_does_not_stop_the_clock() -> None:
    game = match().until(Phase.STEP)
    moved_at = game.table.arena.game_records[game.key.id].state.moved_at
    game.play(game.next())
    assert game.table.arena.game_records[game.key.id].state.moved_at == moved_at
    proof = game.next()
    game.table.arena.advance(TERMS.challenger_clock)
    with pytest.raises(errors.ClockExpired):
        game.play(proof)


def test_a_game_opens_iff_the_window_is_open() -> None:
    table = Table(toys.model("four_letters"), terms=TERMS)
    posted = table.post()
    table.arena.time = posted.claim.posted_at + TERMS.window - 1
    table.arena.open(CHALLENGER, posted.id, Open(0))
    table.arena.time = posted.claim.posted_at + TERMS.window
    with pytest.raises(errors.WindowClosed):
        table.arena.open(SECOND, posted.id, Open(0))


def test_a_claim_is_final_iff_the_window_is_over_and_no_game_is_open() -> None:
    table = Table(toys.model("four_letters"), terms=TERMS)
    posted = table.post()
    key = table.arena.open(CHALLENGER, posted.id, Open(0))
    table.arena.time = posted.claim.posted_at + TERMS.window - 1
    with pytest.raises(errors.WindowOpen):
        table.arena.finalise(SUBMITTER, posted.id)
    table.arena.time += 1
    with pytest.raises(errors.GamesOpen):
        table.arena.finalise(SUBMITTER, posted.id)
    table.arena.time = posted.claim.posted_at + 2
    table.arena.play(SUBMITTER, key, first_reveal(table.own()))
    table.arena.time = posted.claim.posted_at + TERMS.window
    table.arena.play(THIRD, key, Timeout())
    table.arena.finalise(SUBMITTER, posted.id)
    with pytest.raises(errors.ClaimNot):
        table.arena.finalise(SUBMITTER, posted.id)
    with pytest.raises(errors.GameOver):
        table.arena.play(THIRD, key, Timeout())
