"""None of these wins against a right claim: picking at random, a right element, a wrong opening, silence."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
import toys
from table import SUBMITTER, Duel, Table

from opml.dispute.cheats import (
    pick_at,
    quiet_at,
    random_challenger,
    stubborn_challenger,
    wrong_opening,
)
from opml.dispute.descent import target_of
from opml.dispute.gateway import ClaimStatus
from opml.dispute.moves import GameMove, Step
from opml.dispute.own import Own
from opml.dispute.players import Strategy
from opml.dispute.strategy import View, announced, challenger_move
from opml.dispute.types import Phase, Terms
from opml.vm.isa import OUT_BYTES
from opml.vm.reference import Fault


def attack(table: Table, strategy: Strategy) -> Duel:
    """A right claim, attacked."""
    duel = table.duel(table.own(), challenges=strategy)
    assert duel.status == ClaimStatus.PENDING
    assert duel.phase == Phase.LOST
    return duel


@pytest.mark.parametrize("name", toys.NAMES)
@pytest.mark.parametrize("fanout", [1, 3, 5])
def test_a_challenger_that_picks_at_random_loses(name: str, fanout: int) -> None:
    table = Table(toys.model(name), terms=Terms(fanout=fanout))
    for seed in range(12):
        attack(table, random_challenger(random.Random(seed)))


@pytest.mark.parametrize("name", toys.NAMES)
def test_a_challenger_that_picks_a_right_element_is_told_that_it_is_no_fraud(name: str) -> None:
    duel = attack(Table(toys.model(name)), stubborn_challenger)
    assert "NotFraud" in duel.refused
    assert Phase.STEP in duel.phases


@pytest.mark.parametrize(
    "bend",
    [
        lambda witness: b"",
        lambda witness: witness[:-1],
        lambda witness: witness + b"\0",
        lambda witness: bytes([witness[0] ^ 1]) + witness[1:],
        lambda witness: witness[:-1] + bytes([witness[-1] ^ 128]),
        lambda witness: bytes(len(witness)),
    ],
)
def test_a_challenger_that_sends_a_wrong_opening_loses(bend: Callable[[bytes], bytes]) -> None:
    duel = attack(Table(toys.model("every_form")), wrong_opening(stubborn_challenger, bend))
    assert "InputError" in duel.refused


@pytest.mark.parametrize("phase", [Phase.PICK, Phase.ELEMENT, Phase.TOTAL_PICK, Phase.STEP])
def test_a_challenger_that_goes_silent_loses(phase: Phase) -> None:
    table = Table(toys.model("every_form"), outputs=1)
    dissected = next(s for s in table.model.layout.committed if s.instr.name == "ffn_up")

    def towards(view: View, own: Own) -> GameMove | None:
        """Leads the game to a dissected fold, then on as the stubborn one does."""
        if view.game.phase != Phase.PICK:
            return stubborn_challenger(view, own)
        shift = view.game.height - view.levels
        if view.game.stage == 1:
            return pick_at(view, (dissected.ordinal or 0) >> shift & ((1 << view.levels) - 1))
        return pick_at(view, 0)

    duel = attack(table, quiet_at(phase, towards))
    assert duel.phases[-1] == phase


def test_an_honest_challenger_finds_no_ground_against_a_right_claim() -> None:
    for name in toys.NAMES:
        table = Table(toys.model(name), outputs=3)
        assert table.play([table.submitter(), table.challenger()]) == ClaimStatus.FINAL
        assert not table.arena.game_records


def test_every_element_of_the_smallest_model_withstands_a_challenge() -> None:
    """Whichever path a challenger takes through a right claim, the step at its end is no fraud."""
    table = Table(toys.model("four_letters"), outputs=2)
    layout = table.model.layout
    for t in range(table.last + 1):
        for ordinal, slot in enumerate(layout.committed):
            if not layout.exists(slot, t, len(table.prompt)):
                continue
            rows, cols = layout.shape(slot, t)
            for element in range(rows * cols):
                width = 8 * OUT_BYTES[slot.instr.out]
                lured = table.own(table.run(faults=[Fault(t, slot.number, element, 1 << width - 1)]))
                duel = table.duel(table.own(), mine=lured, challenges=misled(table, lured))
                assert duel.status == ClaimStatus.PENDING, (t, ordinal, element)
                assert "NotFraud" in duel.refused


def misled(table: Table, lured: Own) -> Strategy:
    """An honest strategy over a wrong computation; its proof is the right one."""
    right = table.own()

    def strategy(view: View, own: Own) -> GameMove | None:
        if view.game.phase != Phase.STEP:
            return challenger_move(view, lured)
        _, witness = right.step_witness(target_of(view.game), view.known.nodes)
        return announced(view, Step(view.known.trace_root, witness))

    return strategy


def test_many_groundless_challengers_lose_their_bonds_and_the_claim_becomes_final() -> None:
    table = Table(toys.model("every_form"), outputs=2)
    accounts = [bytes([n]) * 20 for n in range(16, 22)]
    before = {account: table.arena.balance(account) for account in (*accounts, SUBMITTER)}
    attackers = [
        table.challenger(
            account, strategy=random_challenger(random.Random(n)), grounds=lambda posted, own: True
        )
        for n, account in enumerate(accounts)
    ]
    assert table.play([table.submitter(), *attackers], rounds=8) == ClaimStatus.FINAL
    for account in accounts:
        assert table.arena.balance(account) < before[account]
    # P1: its gas is repaid out of their bonds, and half of what is left of these is its own.
    assert table.arena.balance(SUBMITTER) > before[SUBMITTER]
