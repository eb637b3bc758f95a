"""The properties of the economics, attacked on the contracts (P4: `test_accounts`)."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from dataclasses import replace

import pytest

from opml.chain.adapter import Receipt, Revert
from opml.dispute import ledger
from opml.dispute.types import Phase
from tests.contracts.oracle import FINAL, REJECTED
from tests.contracts.posted import Key, Posted, Spot
from tests.contracts.test_game import EMBED, MODEL, ONE_ROUND, states
from tests.contracts.world import FEE, GWEI, TERMS, World

FRAUD = 1 << 40


@pytest.fixture(scope="module")
def shared() -> World:
    return World(MODEL)


@pytest.fixture
def world(shared: World) -> Iterator[World]:
    shared.restore()
    shared.chain.set_base_fee(GWEI)
    yield shared


def wealth(world: World, *who: str) -> int:
    """What accounts have and are owed."""
    return sum(world.chain.balance(world.address(name)) + world.owed(name) for name in who)


def any_fee(world: World, rng: random.Random) -> None:
    world.chain.set_base_fee(rng.choice([GWEI, 3 * GWEI, 10 * GWEI, TERMS.ceiling]))


def next_move(claim: Posted, key: Key, spot: Spot, submitter: str = "submitter") -> Receipt | None:
    """The next right move of either side; None where the proof is due."""
    phase = claim.phase(key)
    if phase == Phase.REVEAL:
        return claim.reveal(key, who=submitter)
    if phase == Phase.LEAF:
        return claim.leaf(key, who=submitter)
    if phase == Phase.TOTALS:
        data = states(claim, spot, 1)
        return claim.send("operator", "totals", key, claim.claim.values(), data)
    if phase == Phase.TOTAL_PICK:
        data = states(claim, spot, 1)
        who = claim._challenger(key)
        return claim.send(who, "pickTotal", key, 0, claim.bits(spot).to_bytes(32, "big"), data)
    if phase == Phase.STEP:
        return None
    (receipt,) = claim.descend_once(key, spot)
    return receipt


@pytest.mark.parametrize("seed", range(6))
def test_p1_an_honest_submitter_never_loses_by_sham_games(world: World, seed: int) -> None:
    rng = random.Random(seed)
    claim = world.claim()
    start = wealth(world, "submitter", "operator")
    posted_at = claim.claim.posted_at
    for salt in range(rng.randint(1, 3)):
        any_fee(world, rng)
        key, _ = claim.open(who=rng.choice(["alice", "bob"]), salt=salt)
        moves = rng.randint(0, 12)
        while claim.phase(key) in (Phase.REVEAL, Phase.LEAF, Phase.TOTALS) or moves > 0:
            moves -= 1
            any_fee(world, rng)
            who = rng.choice(["submitter", "submitter", "stranger"])
            if next_move(claim, key, ONE_ROUND, who) is None:
                break
        any_fee(world, rng)
        claim.timeout_when_due(key, who=rng.choice(["submitter", "stranger"]))
        assert claim.phase(key) == Phase.LOST
        assert wealth(world, "submitter", "operator") >= start
    world.set_time(max(world.now, posted_at + TERMS.window))
    claim.finalise()
    assert claim.status == FINAL
    assert wealth(world, "submitter", "operator") >= start + claim.bond + FEE


@pytest.mark.parametrize("seed", range(6))
def test_p2_p3_honest_challengers_never_lose_and_a_cheat_pays(world: World, seed: int) -> None:
    """The coalition plays sham games of its own, to drain the pot or to win the reward itself."""
    rng = random.Random(seed)
    coalition = ["submitter", "operator", "bob", "stranger"]
    honest = ["alice", "carol"]
    own, others = wealth(world, *coalition), {name: wealth(world, name) for name in honest}
    claim = world.claim()
    keys = [claim.open(who=name, salt=0)[0] for name in rng.sample(["alice", "carol", "bob"], 3)]
    keys.append(claim.open(who="bob", salt=1)[0])
    while claim.status != REJECTED:
        any_fee(world, rng)
        key = rng.choice(keys)
        if next_move(claim, key, EMBED) is None:
            if not claim.state(key)["announcedAt"]:
                claim.announce(key)
            else:
                claim.step(key, FRAUD)
    late = [key for key in keys if claim.state(key)["announcedAt"] and claim.phase(key) == Phase.STEP]
    for key in keys:
        any_fee(world, rng)
        if claim.phase(key) >= Phase.WON:
            continue
        if key in late:
            claim.step(key, FRAUD)
        else:
            claim.release(key)
        assert claim.phase(key) == Phase.RELEASED
    for name in honest:
        assert wealth(world, name) >= others[name], name
    assert own - wealth(world, *coalition) >= claim.bond // 2
    world.burn(claim.id)
    assert claim.docket["pot"] == claim.docket["openGames"] == claim.docket["escrow"] == 0


def test_p3_a_sham_game_costs_its_margin_and_gas(world: World) -> None:
    claim = world.claim()
    before = wealth(world, "alice")
    key, opened = claim.open()
    claim.reveal(key)
    claim.timeout_when_due(key)
    world.set_time(claim.claim.posted_at + TERMS.window)
    claim.finalise()
    assert before - wealth(world, "alice") >= TERMS.margin + opened.cost


def test_p3_a_coalition_that_defeats_itself_still_burns_half(world: World) -> None:
    coalition = ("submitter", "bob")
    before = wealth(world, *coalition)
    claim = world.claim()
    key, _ = claim.open(who="bob")
    claim.timeout_when_due(key, who="bob")
    assert before - wealth(world, *coalition) >= claim.bond // 2
    world.burn(claim.id)
    assert world.burnt == claim.bond // 2
    assert before - wealth(world, *coalition) >= claim.bond // 2


def test_p5_a_claim_is_decided_by_window_and_both_clocks(world: World) -> None:
    """A game that is opened in the last second and in which both sides use up their clocks."""
    claim = world.claim()
    latest = claim.claim.posted_at + TERMS.window + TERMS.submitter_clock + TERMS.challenger_clock
    world.set_time(claim.claim.posted_at + TERMS.window - 1)
    key, _ = claim.open(value=world.bond)
    rng = random.Random(5)
    while True:
        state = claim.state(key)
        submitters = Phase(state["phase"]) in (Phase.REVEAL, Phase.LEAF, Phase.TOTALS)
        left = (TERMS.submitter_clock if submitters else TERMS.challenger_clock) - state[
            "usedSubmitter" if submitters else "usedChallenger"
        ]
        if state["phase"] == Phase.STEP:
            break
        world.set_time(max(world.now, state["movedAt"] + rng.randint(0, left // 3)))
        next_move(claim, key, EMBED)
    claim.timeout_when_due(key)
    assert world.chain.timestamp() <= latest
    claim.finalise()


def test_p6_an_outsider_delays_by_one_clock_and_a_reply_however_many_games(world: World) -> None:
    claim = world.claim()
    world.chain.block_time = 1
    try:
        bond = world.bond
        world.set_time(claim.claim.posted_at + TERMS.window - 8)
        keys = [claim.open(who="bob", salt=salt, value=bond)[0] for salt in range(4)]
        for key in keys:
            claim.reveal(key)
        replied = world.chain.timestamp()
        world.set_time(replied + TERMS.challenger_clock + 1)
        for key in keys:
            claim.timeout(key)
        claim.finalise()
        assert world.chain.timestamp() <= replied + TERMS.challenger_clock + 10
    finally:
        world.chain.block_time = 12


def test_half_of_the_bond_is_lost_and_only_the_burn_address_can_get_it(world: World) -> None:
    claim = world.claim()
    key, _ = claim.open()
    claim.timeout_when_due(key)
    lost = claim.bond - claim.bond // 2
    people = ("submitter", "operator", "alice", "deployer")
    for who in people:
        for contract in (world.oracle, world.game):
            with contextlib.suppress(Revert):
                world.send(who, contract, "withdraw", world.address(who))
    assert world.chain.balance(world.oracle.address) == lost + world.request.fee + deposit(world)
    assert world.burnt == 0
    receipt = world.send("stranger", world.oracle, "burn", claim.id)
    assert receipt.event("Burnt").args["amount"] == lost == world.burnt
    with pytest.raises(Revert) as refusal:
        world.send("stranger", world.oracle, "burn", claim.id)
    assert refusal.value.error == "NothingToBurn"


def deposit(world: World) -> int:
    return int(world.call(world.oracle, "price", world.order())) - world.request.fee


@pytest.mark.parametrize("final", [False, True])
def test_nothing_of_a_claim_that_stands_or_is_final_can_be_burnt(world: World, final: bool) -> None:
    claim = world.claim()
    key, _ = claim.open()
    claim.reveal(key)
    claim.timeout_when_due(key)
    assert claim.docket["escrow"] > 0
    if final:
        world.set_time(claim.claim.posted_at + TERMS.window)
        claim.finalise()
    for contract in (world.oracle, world.game):
        for claim_id in (claim.id, bytes(32)):
            with pytest.raises(Revert) as refusal:
                world.send("submitter", contract, "burn", claim_id)
            assert refusal.value.error == "NothingToBurn"


def test_a_whole_game_leaves_the_burn_address_alone(world: World) -> None:
    """A transfer to an account that is new on a chain would cost the dispute 25,000 gas more."""
    claim = world.claim()
    first, _ = claim.open(who="bob")
    claim.reveal(first)
    claim.timeout_when_due(first)
    key, _ = claim.open()
    claim.descend(key, EMBED)
    claim.announce(key)
    receipt = claim.step(key, FRAUD)
    assert claim.status == REJECTED
    assert "Burnt" not in [log.event for log in receipt.logs]
    assert world.burnt == 0


def test_dues_are_repaid_first_spent_first() -> None:
    """When the pot runs dry, who spent later gets less; nobody's due shrinks afterwards."""
    world = World(MODEL, terms=replace(TERMS, challengers=1))
    world.chain.set_base_fee(TERMS.ceiling)
    claim = world.claim()
    pot = None
    keys = []
    for salt in range(60):
        key, _ = claim.open(who="bob", salt=salt)
        keys.append(key)
        pot = claim.docket["pot"]
        if pot < GWEI:
            break
    dues = [claim.state(key)["due"] for key in keys]
    assert pot is not None and pot < GWEI
    price = ledger.price(TERMS.ceiling, TERMS.ceiling)
    assert dues[0] * GWEI == (ledger.OPEN + ledger.DOCKET) * price
    assert all(due * GWEI == ledger.OPEN * price for due in dues[1:-1])
    assert dues[-1] * GWEI < ledger.OPEN * price
    key, _ = claim.open(who="alice")
    assert claim.state(key)["due"] == 0
    before = wealth(world, "alice")
    claim.timeout_when_due(keys[0])
    claim.release(key)
    # Beyond the pot a challenger loses gas, never its bond.
    assert wealth(world, "alice") >= before + world.bond - 200_000 * (TERMS.ceiling + GWEI)


def test_a_lost_game_gives_its_due_back_to_the_pot(world: World) -> None:
    claim = world.claim()
    key, _ = claim.open()
    full = claim.docket["pot"] + claim.state(key)["due"] * GWEI
    claim.reveal(key)
    claim.pick_towards(key, EMBED)
    claim.reveal(key)
    claim.timeout_when_due(key)
    assert claim.docket["pot"] == full


def test_the_escrow_goes_half_to_the_submitter_of_a_final_claim(world: World) -> None:
    claim = world.claim()
    key, _ = claim.open()
    claim.reveal(key)
    claim.timeout_when_due(key)
    escrow, before = claim.docket["escrow"], world.owed_by(world.game, "submitter")
    charged = (ledger.REVEAL_ROOT + 8 * ledger.REVEAL_CHILD) * ledger.price(GWEI, TERMS.ceiling)
    assert before == charged
    assert escrow == world.bond - charged - ledger.CLOSE * ledger.price(GWEI, TERMS.ceiling)
    world.set_time(claim.claim.posted_at + TERMS.window)
    claim.finalise()
    assert world.owed_by(world.game, "submitter") - before == escrow // 2
    assert world.burnt == escrow - escrow // 2


def test_the_escrow_of_a_rejected_claim_is_burnt(world: World) -> None:
    claim = world.claim()
    first, _ = claim.open(who="bob")
    second, _ = claim.open()
    claim.reveal(first)
    claim.timeout_when_due(first)
    escrow = claim.docket["escrow"]
    assert escrow > 0
    claim.timeout_when_due(second)
    assert claim.docket["escrow"] == escrow
    world.burn(claim.id)
    assert claim.docket["escrow"] == 0
    assert world.burnt == claim.bond - claim.bond // 2 + escrow


def test_a_copied_proof_earns_nothing(world: World) -> None:
    """A passer-by who sees the proof in the pool cannot use it in a game of its own."""
    claim = world.claim()
    key, _ = claim.open()
    copy, _ = claim.open(who="bob")
    claim.announce(key, "tokenProof", claim.direct_arguments(key, "tokenProof"))
    world.send("deployer", world.verifier, "say", 0, True)
    for arguments in (claim.direct_arguments(key, "tokenProof"), claim.direct_arguments(copy, "tokenProof")):
        with pytest.raises(Revert) as refusal:
            claim.send("bob", "tokenProof", *arguments)
        assert refusal.value.error in ("NotTheChallenger", "NotAnnounced")
    claim.send("alice", "tokenProof", *claim.direct_arguments(key, "tokenProof"))


def test_whoever_posts_a_reveal_the_submitter_is_credited(world: World) -> None:
    claim = world.claim()
    for salt, who in enumerate(("submitter", "stranger")):
        key, _ = claim.open(salt=salt)
        claim.reveal(key, who=who)
        before = world.owed_by(world.game, "submitter")
        claim.timeout_when_due(key)
        assert world.owed_by(world.game, "submitter") > before


def test_the_rest_of_the_pot_waits_for_the_last_game_and_nobody_can_hold_it_back(world: World) -> None:
    claim = world.claim()
    won, _ = claim.open()
    held, _ = claim.open(who="bob")
    claim.timeout_when_due(won)
    rejected = world.chain.timestamp()
    rest = claim.docket["pot"]
    assert rest > 0
    before = world.owed_by(world.game, "alice")
    world.set_time(rejected + TERMS.challenger_clock + 1)
    claim.release(held, who="alice")
    assert claim.docket["pot"] == 0
    # Alice gets the rest and, as it was she who released, the gas of that.
    assert world.owed_by(world.game, "alice") == before + rest
    assert world.owed_by(world.game, "bob") >= world.bond
