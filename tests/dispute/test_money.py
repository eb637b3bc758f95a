"""Bonds, repayments, rewards: the properties of the economics, over random episodes in the arena.

P1 an honest submitter doesn't lose by games, P2 nor does an honest challenger of a wrong claim; P3 cheats
pay; P4 the contracts hold exactly what they owe.
"""

from __future__ import annotations

import random

import pytest
import toys
from table import CHALLENGER, FEE, LONG, SUBMITTER, Table

from opml.dispute import errors, ledger
from opml.dispute.arena import BURNT, FUNDS, GAME, ORACLE
from opml.dispute.cheats import quiet_at, random_challenger, silent_at
from opml.dispute.gateway import ClaimStatus
from opml.dispute.history import History, Known
from opml.dispute.moves import Open, Release, Timeout
from opml.dispute.players import Player, Strategy, run_to_rest
from opml.dispute.strategy import submitter_move
from opml.dispute.types import Docket, Phase, Terms
from opml.vm.reference import Fault

GWEI = 10**9
STRANGER = bytes([99]) * 20


def held(table: Table, account: bytes) -> int:
    """What a contract holds."""
    return table.arena.balances.get(account, FUNDS) - FUNDS


def check_books(table: Table) -> None:
    """P4: the game holds bonds of open games, rests of pots, dues, escrows; the oracle bonds and fees."""
    arena, owes = table.arena, 0
    for claim_id, docket in arena.dockets.items():
        standing = arena.claim_records[claim_id].status != ClaimStatus.REJECTED
        games = [g for g in arena.game_records.values() if g.key.claim_id == claim_id and g.state.is_open]
        assert docket.open_games == len(games)
        owes += docket.escrow + sum(arena.rules(claim_id).bond for _ in games)
        dues = sum(game.state.due for game in games) * ledger.DUE_UNIT
        if standing:  # the pot is part of the submitter's bond, still at the oracle
            assert docket.pot + dues == ledger.pot(arena.sizes, arena.terms)
        else:
            owes += docket.pot + dues
    assert held(table, GAME) == owes
    fees = sum(r.request.fee for r in arena.request_records.values() if not r.fee_paid)
    assert held(table, ORACLE) == sum(arena.claim_bonds.values()) + fees


def everything(table: Table) -> int:
    """Every wei that there is: nothing is made or lost."""
    arena = table.arena
    accounts = {*arena.balances, *arena.owed}
    return sum(arena.balance(account) - FUNDS for account in accounts)


def sham_strategy(rng: random.Random) -> Strategy:
    """Picks at random, perhaps silent in some phase."""
    strategy = random_challenger(random.Random(rng.random()))
    return quiet_at(rng.choice(list(Phase)[2:8]), strategy) if rng.random() < 0.5 else strategy


def close_all(table: Table) -> None:
    """Time passes; a stranger closes what has stopped."""
    arena = table.arena
    arena.advance(LONG)
    for game in list(arena.game_records.values()):
        if game.state.is_open:
            rejected = arena.dockets[game.key.claim_id].rejected_at
            arena.play(STRANGER, game.key, Release() if rejected else Timeout())
            check_books(table)


def table_of(rng: random.Random) -> Table:
    base_fee = rng.choice((0, 1, GWEI, 20 * GWEI))
    terms = Terms(fanout=rng.randint(1, 3), ceiling=20 * GWEI)
    return Table(toys.model("four_letters"), outputs=1, terms=terms, base_fee=base_fee)


@pytest.mark.parametrize("seed", range(40))
def test_an_honest_submitter_does_not_lose_by_sham_games(seed: int) -> None:
    rng = random.Random(seed)
    table = table_of(rng)
    arena, submitter = table.arena, table.submitter()
    submitter.act()
    posted = next(iter(arena.claim_records.values()))
    bond, before = arena.claim_bonds[posted.id], arena.balance(SUBMITTER)
    accounts = [bytes([32 + n]) * 20 for n in range(rng.randint(1, 6))]
    shams = [
        table.challenger(account, strategy=sham_strategy(rng), grounds=lambda posted, own: True)
        for account in accounts
    ]
    for _ in range(20):
        submitter.act()
        for sham in rng.sample(shams, len(shams)):
            sham.act()
        check_books(table)
        if rng.random() < 0.3:
            submitter.act()
            arena.advance(rng.randint(0, 100))
    submitter.act()
    close_all(table)
    arena.finalise(STRANGER, posted.id)
    assert arena.balance(SUBMITTER) >= before + bond
    for sham in shams:
        assert arena.balance(sham.gateway.account) < FUNDS
    assert held(table, GAME) == 0
    assert everything(table) == 0


@pytest.mark.parametrize("seed", range(40))
def test_an_honest_challenger_does_not_lose_and_a_cheat_pays(seed: int) -> None:
    rng = random.Random(seed)
    table = table_of(rng)
    arena = table.arena
    slot = rng.choice(table.model.layout.committed)
    theirs = table.own(table.run(faults=[Fault(table.last, slot.number, 0, 1)]))
    silent = silent_at(rng.choice((Phase.REVEAL, Phase.LEAF, Phase.TOTALS)))
    submitter = table.submitter(
        table.answer(theirs), strategy=silent if rng.random() < 0.5 else submitter_move
    )
    submitter.act()
    posted = next(iter(arena.claim_records.values()))
    bond = arena.claim_bonds[posted.id]
    honest = [table.challenger(bytes([64 + n]) * 20) for n in range(rng.randint(1, 4))]
    shams = [
        table.challenger(bytes([96 + n]) * 20, strategy=sham_strategy(rng), grounds=lambda posted, own: True)
        for n in range(rng.randint(0, 2))
    ]
    players: list[Player] = [submitter, *honest, *shams]
    for _ in range(60):
        for player in rng.sample(players, len(players)):
            player.act()
            check_books(table)
    for _ in range(2):
        run_to_rest([submitter, *honest], 100)
        arena.advance(arena.terms.submitter_clock + 1)
    run_to_rest([submitter, *honest], 100)
    close_all(table)
    assert arena.verdict(posted.id) == ClaimStatus.REJECTED
    admitted = {game.key.challenger for game in arena.game_records.values()}
    for challenger in honest:
        if challenger.gateway.account in admitted:
            assert arena.balance(challenger.gateway.account) >= FUNDS
    coalition = arena.balance(SUBMITTER) + sum(arena.balance(sham.gateway.account) for sham in shams)
    assert coalition <= FUNDS * (1 + len(shams)) - bond // 2
    check_books(table)
    arena.burn(STRANGER, posted.id)
    assert held(table, GAME) == 0
    assert held(table, ORACLE) == FEE
    assert everything(table) == 0


def test_half_of_a_lost_escrow_is_the_submitters_and_half_is_burnt() -> None:
    table = Table(toys.model("four_letters"), outputs=1, base_fee=0)
    arena, posted = table.arena, table.post()
    own = table.own()
    key = arena.open(CHALLENGER, posted.id, Open(0))
    view = table.view(key, SUBMITTER, History(), Known())
    arena.play(SUBMITTER, key, submitter_move(view, own))  # type: ignore[arg-type]
    arena.advance(LONG)
    burnt, before = held(table, BURNT), arena.balance(SUBMITTER)
    arena.play(SUBMITTER, key, Timeout())
    bond = arena.rules(posted.id).bond
    assert arena.dockets[posted.id] == Docket(pot=ledger.pot(arena.sizes, arena.terms), escrow=bond)
    arena.finalise(SUBMITTER, posted.id)
    claim_bond = ledger.submitter_bond(arena.sizes, arena.terms, len(posted.answer) + len(posted.lengths))
    assert arena.balance(SUBMITTER) - before == bond // 2 + claim_bond
    assert held(table, BURNT) - burnt == bond - bond // 2


def test_the_escrow_of_a_claim_that_is_rejected_is_burnt() -> None:
    table = Table(toys.model("four_letters"), outputs=1, base_fee=0)
    arena = table.arena
    theirs = table.own(table.run(faults=[Fault(0, 0, 0, 1)]))
    submitter = table.submitter(table.answer(theirs))
    submitter.act()
    posted = next(iter(arena.claim_records.values()))
    bond, claim_bond = arena.rules(posted.id).bond, arena.claim_bonds[posted.id]
    for account, phase in ((bytes([96]) * 20, Phase.PICK), (CHALLENGER, Phase.REVEAL)):
        key = arena.open(account, posted.id, Open(0))
        if phase == Phase.PICK:
            view = table.view(key, SUBMITTER, History(), Known())
            arena.play(SUBMITTER, key, submitter_move(view, theirs))  # type: ignore[arg-type]
        clock = arena.terms.challenger_clock if phase == Phase.PICK else arena.terms.submitter_clock
        arena.time = arena.game_records[key.id].state.moved_at + clock + 1
        arena.play(STRANGER, key, Timeout())
        arena.time = posted.claim.posted_at + 100
        assert arena.dockets[posted.id].escrow == bond
    assert arena.verdict(posted.id) == ClaimStatus.REJECTED
    burnt, accounts = held(table, BURNT), {who: arena.balance(who) for who in (SUBMITTER, CHALLENGER)}
    arena.burn(STRANGER, posted.id)
    assert held(table, BURNT) - burnt == bond + claim_bond - claim_bond // 2
    assert accounts == {who: arena.balance(who) for who in accounts}
    check_books(table)


def test_nothing_of_a_claim_that_stands_or_is_final_can_be_burnt() -> None:
    table = Table(toys.model("four_letters"), outputs=1, base_fee=0)
    arena, posted = table.arena, table.post()
    for _ in range(2):
        with pytest.raises(errors.NothingToBurn):
            arena.burn(STRANGER, posted.id)
        arena.advance(LONG)
        if arena.verdict(posted.id) == ClaimStatus.PENDING:
            arena.finalise(STRANGER, posted.id)


def test_bonds_follow_the_rules_of_sizes() -> None:
    for name in toys.NAMES:
        table = Table(toys.model(name))
        sizes, terms = table.arena.sizes, table.terms
        top = ledger.price(terms.ceiling, terms.ceiling)
        challenger = ledger.challenger_bond(sizes, terms)
        assert challenger >= (2 * ledger.reveals(sizes, terms.fanout) + ledger.CLOSE) * top + terms.margin
        reward = ledger.submitter_bond(sizes, terms, 0) // 2 - ledger.pot(sizes, terms)
        assert reward >= (ledger.proof(sizes) + ledger.CLOSE + ledger.picks(sizes, terms.fanout)) * top


def test_gas_is_repaid_first_spent_first_as_far_as_the_pot_goes() -> None:
    assert ledger.repaid(0, 10 * ledger.DUE_UNIT, 4, ledger.DUE_UNIT) == (4, 6 * ledger.DUE_UNIT)
    assert ledger.repaid(4, 3 * ledger.DUE_UNIT, 4, ledger.DUE_UNIT) == (7, 0)
    assert ledger.repaid(0, 10 * ledger.DUE_UNIT, 1, 1) == (1, 9 * ledger.DUE_UNIT)
    assert ledger.repaid(ledger.MOST_DUE, 10**20, 1, 10**9) == (ledger.MOST_DUE, 10**20)
    assert ledger.price(7, 5) == 6
