"""The moves of a game on the real contract, with a verifier that says what a test tells it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from opml.chain.adapter import Receipt, Revert
from opml.dispute.totals import Dissection
from opml.dispute.types import Phase
from opml.vm.isa import Fold
from opml.vm.trace import Cursor, Stage
from tests.contracts.posted import Key, Posted, Spot
from tests.contracts.world import TERMS, World
from tests.dispute.toys import every_form

MODEL = every_form()
LAYOUT = MODEL.layout


def ordinal(name: str) -> int:
    return next(
        slot.ordinal for slot in LAYOUT.committed if slot.instr.name == name and slot.ordinal is not None
    )


EMBED = Spot(2, ordinal("embed"), 7)
ONE_ROUND = Spot(2, ordinal("ffn_up"), 280)
ACROSS = Spot(2, ordinal("ffn_up"), 280)
"""In the second leaf of a tensor that is opened whole."""
WIDE = Spot(2, ordinal("wide"), 1_050)
"""In a tensor that is revealed down to its leaves."""
TWO_ROUNDS = Spot(2, ordinal("ffn_down"), 9)
SAMPLE = Spot(3, ordinal("sample"))


@pytest.fixture(scope="module")
def shared() -> World:
    return World(MODEL)


@pytest.fixture
def world(shared: World) -> Iterator[World]:
    shared.restore()
    yield shared


def at_phase(claim: Posted, phase: Phase, salt: int = 0) -> Key:
    """A game that has come to a phase by right moves."""
    key, _ = claim.open(salt=salt)
    if phase in (Phase.REVEAL, Phase.PICK, Phase.LEAF, Phase.ELEMENT):
        claim.descend(key, EMBED, stop=phase)
    elif phase == Phase.STEP:
        claim.descend(key, EMBED)
    else:
        claim.descend(key, ONE_ROUND)
        if phase == Phase.TOTAL_PICK:
            post(claim, key, ONE_ROUND, 1)
    assert claim.phase(key) == phase
    return key


def states(claim: Posted, spot: Spot, round_: int, picked: int = 0) -> bytes:
    """States that a submitter might post, no two alike."""
    return bytes(n % 251 + 1 for n in range(claim.states_bytes(spot, round_, picked)))


def post(claim: Posted, key: Key, spot: Spot, round_: int, picked: int = 0, who: str = "submitter") -> bytes:
    data = states(claim, spot, round_, picked)
    claim.send(who, "totals", key, claim.claim.values(), data)
    return data


def packed(word: bytes) -> tuple[int, int, int, int, int]:
    """Prior total, prior accumulator, claimed, lo, hi of a step's target."""
    n = int.from_bytes(word, "big")
    return n >> 192, n >> 128 & 2**64 - 1, n >> 64 & 2**64 - 1, n >> 32 & 2**32 - 1, n & 2**32 - 1


def test_a_descent_reaches_the_element_by_its_stored_bits(world: World) -> None:
    claim = world.claim()
    key, opened = claim.open()
    assert opened.event("Opened").args["traceRoot"] == bytes(32)
    receipts = claim.descend(key, EMBED)
    state = claim.state(key)
    assert (state["position"], state["ordinal"], state["index"]) == (EMBED.t, EMBED.ordinal, EMBED.element)
    assert (state["phase"], state["height"]) == (Phase.STEP, 0)
    assert packed(state["word"]) == (0, 0, claim.bits(EMBED), 0, 0)
    named = receipts[-1].event("ElementNamed").args
    assert (named["element"], named["bits"]) == (EMBED.element, claim.bits(EMBED))


def test_a_slot_that_yields_is_reached_where_it_exists(world: World) -> None:
    claim = world.claim()
    key, _ = claim.open()
    claim.descend(key, SAMPLE, stop=Phase.LEAF)
    assert claim.state(key)["ordinal"] == SAMPLE.ordinal


def test_a_slot_that_the_position_lacks_is_padding(world: World) -> None:
    claim = world.claim()
    key, _ = claim.open()
    with pytest.raises(Revert) as refusal:
        claim.descend(key, Spot(0, SAMPLE.ordinal))
    assert refusal.value.error == "Padding"


def test_totals_of_one_round_lead_to_a_chunk(world: World) -> None:
    claim = world.claim()
    key, _ = claim.open()
    claim.descend(key, ONE_ROUND)
    before = claim.state(key)["word"]
    assert int.from_bytes(before, "big") == claim.bits(ONE_ROUND)
    data = post(claim, key, ONE_ROUND, 1)
    claim.send("alice", "pickTotal", key, 2, before, data)
    state = claim.state(key)
    cuts = Dissection.of(LAYOUT.committed[ONE_ROUND.ordinal].instr, 2).chunks
    assert (state["phase"], state["height"]) == (Phase.STEP, 1)
    words = [int.from_bytes(data[n : n + 4], "big") for n in range(0, len(data), 4)]
    # The fold is one block: the accumulator goes on, no total was closed before.
    assert packed(state["word"]) == (0, words[1], words[2], cuts[2].lo, cuts[2].hi)


def test_totals_may_lead_to_the_finish(world: World) -> None:
    claim = world.claim()
    key, _ = claim.open()
    claim.descend(key, ONE_ROUND)
    before = claim.state(key)["word"]
    data = post(claim, key, ONE_ROUND, 1)
    claim.send("alice", "pickTotal", key, len(data) // 4, before, data)
    state = claim.state(key)
    assert (state["phase"], state["height"]) == (Phase.STEP, 2)
    assert packed(state["word"]) == (int.from_bytes(data[-4:], "big"), 0, claim.bits(ONE_ROUND), 0, 0)


@pytest.mark.parametrize(("first", "second"), [(0, 0), (0, 3), (0, 7), (1, 0), (1, 1)])
def test_totals_of_two_rounds_lead_to_a_chunk_of_a_block(world: World, first: int, second: int) -> None:
    claim = world.claim()
    key, _ = claim.open()
    claim.descend(key, TWO_ROUNDS)
    outer = post(claim, key, TWO_ROUNDS, 1)
    claim.send("alice", "pickTotal", key, first, claim.bits(TWO_ROUNDS).to_bytes(32, "big"), outer)
    state = claim.state(key)
    assert (state["phase"], state["height"]) == (Phase.TOTALS, 2)
    cuts = Dissection.of(LAYOUT.committed[TWO_ROUNDS.ordinal].instr, 2)
    block = cuts.chunks[first]
    inner = post(claim, key, TWO_ROUNDS, 2, first, who="operator")
    claim.send("alice", "pickTotal", key, second, state["word"], inner)
    state = claim.state(key)
    assert (state["phase"], state["height"]) == (Phase.STEP, 1)
    chunks = cuts.inner(block)
    outer_words = [0, *(int.from_bytes(outer[n : n + 4], "big") for n in range(0, len(outer), 4))]
    words = [0, *(int.from_bytes(inner[n : n + 4], "big") for n in range(0, len(inner), 4))]
    claimed = outer_words[first + 1] if second + 1 == len(chunks) else words[second + 1]
    chunk = chunks[second]
    assert packed(state["word"]) == (outer_words[first], words[second], claimed, chunk.lo, chunk.hi)


def test_an_argmax_goes_on_from_the_best_so_far(world: World) -> None:
    claim = world.claim()
    key, _ = claim.open()
    claim.descend(key, SAMPLE)
    assert LAYOUT.committed[SAMPLE.ordinal].instr.fold == Fold.ARGMAX
    outer = post(claim, key, SAMPLE, 1)
    claim.send("alice", "pickTotal", key, 1, claim.bits(SAMPLE).to_bytes(32, "big"), outer)
    word = claim.state(key)["word"]
    assert len(outer) == 16
    assert packed(word) == (int.from_bytes(outer[:8], "big"), 0, int.from_bytes(outer[8:], "big"), 256, 300)
    inner = post(claim, key, SAMPLE, 2, 1)
    claim.send("alice", "pickTotal", key, 2, word, inner)
    prior, _, claimed, lo, hi = packed(claim.state(key)["word"])
    assert (prior, claimed) == (int.from_bytes(inner[8:16], "big"), int.from_bytes(inner[16:24], "big"))
    assert (lo, hi) == (264, 268)


def test_open_at_starts_at_any_node_that_can_be_proven(world: World) -> None:
    claim = world.claim()
    shapes = claim.shapes
    cursors = [
        shapes.root(),
        Cursor(Stage.TRACE, 1, 1),
        shapes.normal(Cursor(Stage.TRACE, 0, 2)),
        Cursor(Stage.POSITION, 2, ONE_ROUND.ordinal >> 2, 2),
        shapes.normal(Cursor(Stage.POSITION, 0, ONE_ROUND.ordinal, 2)),
        Cursor(Stage.TENSOR, 0, 1, 2, ONE_ROUND.ordinal),
    ]
    for salt, cursor in enumerate(cursors):
        key, receipt = claim.open_at(cursor, salt=salt)
        state = claim.state(key)
        found = Cursor(state["stage"], state["height"], state["index"], state["position"], state["ordinal"])
        assert found == shapes.normal(cursor)
        assert receipt.event("Opened").args["node"] == world.own.nodes.node(cursor)
        claim.descend(key, ONE_ROUND)
        assert claim.phase(key) == Phase.TOTALS


SUBMITTERS = {
    Phase.REVEAL: lambda claim, key: claim.reveal(key),
    Phase.LEAF: lambda claim, key: claim.leaf(key),
    Phase.TOTALS: lambda claim, key: claim.send(
        "submitter", "totals", key, claim.claim.values(), states(claim, ONE_ROUND, 1)
    ),
}


def pick_first_total(claim: Posted, key: Key) -> Receipt:
    before = claim.bits(ONE_ROUND).to_bytes(32, "big")
    return claim.send("alice", "pickTotal", key, 0, before, states(claim, ONE_ROUND, 1))


def step(claim: Posted, key: Key) -> Receipt:
    return claim.step(key, 1 << 40)


CHALLENGERS: dict[Phase, Callable[[Posted, Key], Receipt]] = {
    Phase.PICK: lambda claim, key: claim.pick_towards(key, EMBED),
    Phase.ELEMENT: lambda claim, key: claim.name(key, EMBED),
    Phase.TOTAL_PICK: pick_first_total,
    Phase.STEP: step,
}


@pytest.mark.parametrize("late", [0, 1])
@pytest.mark.parametrize("phase", [*SUBMITTERS, *CHALLENGERS])
def test_a_move_counts_iff_elapsed_is_within_the_clock(world: World, phase: Phase, late: int) -> None:
    claim = world.claim()
    key = at_phase(claim, phase)
    if phase == Phase.STEP:
        claim.announce(key)
        world.send("deployer", world.verifier, "say", 1 << 40, True)
    state = claim.state(key)
    submitters = phase in SUBMITTERS
    clock = TERMS.submitter_clock if submitters else TERMS.challenger_clock
    used = state["usedSubmitter"] if submitters else state["usedChallenger"]
    wait = state["movedAt"] + clock - used + late

    def move() -> Receipt:
        if phase == Phase.STEP:
            return claim.send("alice", "step", *claim.step_arguments(key))
        return (SUBMITTERS | CHALLENGERS)[phase](claim, key)

    world.set_time(wait)
    if late:
        with pytest.raises(Revert) as refusal:
            move()
        assert refusal.value.error == "ClockExpired"
        claim.timeout(key)
        assert claim.phase(key) == (Phase.WON if submitters else Phase.LOST)
    else:
        with pytest.raises(Revert) as refusal:
            claim.timeout(key)
        assert refusal.value.error == "ClockRunning"
        move()


def test_clocks_add_up_over_moves(world: World) -> None:
    claim = world.claim()
    key, _ = claim.open()
    opened = world.chain.timestamp()
    world.set_time(opened + 100)
    claim.reveal(key)
    world.set_time(opened + 130)
    claim.pick_towards(key, EMBED)
    state = claim.state(key)
    assert (state["usedSubmitter"], state["usedChallenger"]) == (100, 30)


def test_an_announcement_does_not_stop_the_clock(world: World) -> None:
    claim = world.claim()
    key = at_phase(claim, Phase.STEP)
    before = claim.state(key)
    claim.announce(key)
    after = claim.state(key)
    assert (before["movedAt"], before["usedChallenger"]) == (after["movedAt"], after["usedChallenger"])


def test_opening_ends_with_the_window_and_finality_begins(world: World) -> None:
    claim = world.claim()
    end = claim.claim.posted_at + TERMS.window
    world.set_time(end - 1)
    with pytest.raises(Revert) as early:
        claim.finalise()
    assert early.value.error == "WindowOpen"
    bond = world.bond
    claim.open(value=bond)
    claim.timeout_when_due(claim.key())
    other = world.claim(commitment=bytes(32))
    world.set_time(other.claim.posted_at + TERMS.window)
    with pytest.raises(Revert) as late:
        other.open(value=bond)
    assert late.value.error == "WindowClosed"
    other.finalise()


def test_a_claim_with_an_open_game_does_not_become_final(world: World) -> None:
    claim = world.claim()
    claim.open()
    claim.open(who="bob")
    world.set_time(claim.claim.posted_at + TERMS.window)
    with pytest.raises(Revert) as refusal:
        claim.finalise()
    assert (refusal.value.error, refusal.value.values["openGames"]) == ("GamesOpen", 2)


@pytest.mark.parametrize("computed", [0, 1])
def test_a_step_is_fraud_iff_the_values_differ(world: World, computed: int) -> None:
    claim = world.claim()
    key = at_phase(claim, Phase.STEP)
    claim.announce(key)
    if computed:
        won = claim.step(key, claim.bits(EMBED) ^ 1).event("GameWon").args
        assert (won["computed"], won["claimed"]) == (claim.bits(EMBED) ^ 1, claim.bits(EMBED))
        assert claim.status == 3
    else:
        with pytest.raises(Revert) as refusal:
            claim.step(key, claim.bits(EMBED))
        assert refusal.value.error == "NotFraud"
        assert claim.phase(key) == Phase.STEP


def test_the_verifier_is_asked_about_what_storage_holds(world: World) -> None:
    claim = world.claim()
    key = at_phase(claim, Phase.STEP)
    claim.announce(key)
    target = claim.target_hash(EMBED, 0, (0, 0), 0, 0)
    world.send("deployer", world.verifier, "expect", claim.context_hash(), target)
    claim.step(key, claim.bits(EMBED) ^ 1)


def test_a_witness_that_the_verifier_refuses_decides_nothing(world: World) -> None:
    claim = world.claim()
    key = at_phase(claim, Phase.STEP)
    arguments = claim.step_arguments(key, witness=b"")
    claim.announce(key, arguments=arguments)
    with pytest.raises(Revert) as refusal:
        claim.send("alice", "step", *arguments)
    assert refusal.value.error == "Malformed"
    assert claim.phase(key) == Phase.STEP


@pytest.mark.parametrize("phase", [*SUBMITTERS, *CHALLENGERS])
@pytest.mark.parametrize("fn", ["tokenProof", "pieceProof"])
def test_direct_proofs_are_admitted_in_either_sides_turn(world: World, phase: Phase, fn: str) -> None:
    claim = world.claim()
    key = at_phase(claim, phase)
    arguments = claim.direct_arguments(key, fn)
    claim.announce(key, fn, arguments)
    world.send("deployer", world.verifier, "say", 0, False)
    with pytest.raises(Revert) as refusal:
        claim.send("alice", fn, *arguments)
    assert refusal.value.error == "NotFraud"
    world.send("deployer", world.verifier, "say", 0, True)
    reason = claim.send("alice", fn, *arguments).event("GameWon").args["reason"]
    assert reason == {"tokenProof": 1, "pieceProof": 2}[fn]
    assert claim.status == 3


def test_reveals_are_open_to_all_and_totals_are_not(world: World) -> None:
    claim = world.claim()
    key, _ = claim.open()
    claim.reveal(key, who="stranger")
    claim.descend(key, ONE_ROUND, stop=Phase.LEAF)
    claim.leaf(key, who="stranger")
    claim.name(key, ONE_ROUND)
    for who in ("stranger", "alice"):
        with pytest.raises(Revert) as refusal:
            post(claim, key, ONE_ROUND, 1, who=who)
        assert refusal.value.error == "NotTheSubmitter"
    post(claim, key, ONE_ROUND, 1, who="operator")


def test_games_are_content(world: World) -> None:
    claim = world.claim()
    key, receipt = claim.open(salt=5)
    assert receipt.event("Opened").args["gameId"] == claim.game_id(key)
    with pytest.raises(Revert) as refusal:
        claim.open(salt=5)
    assert refusal.value.error == "GameExists"


def test_fanout_one_is_bisection() -> None:
    world = World(MODEL, terms=replace(TERMS, fanout=1))
    claim = world.claim()
    key, _ = claim.open()
    receipts = claim.descend(key, ONE_ROUND)
    picks = sum(any(log.event == "Picked" for log in r.logs) for r in receipts)
    assert picks == 3 + LAYOUT.position_depth
    other, _ = claim.open(salt=1)
    receipts = claim.descend(other, WIDE)
    picks = sum(any(log.event == "Picked" for log in r.logs) for r in receipts)
    assert picks == 3 + LAYOUT.position_depth + 3


@pytest.mark.parametrize("spot", [EMBED, WIDE])
def test_an_element_whose_fold_fits_a_step_is_named_with_its_proof(world: World, spot: Spot) -> None:
    claim = world.claim()
    key, _ = claim.open()
    claim.descend(key, spot, stop=Phase.ELEMENT)
    arguments = claim.step_arguments(key, spot=spot)
    claim.announce(key, arguments=arguments)
    target = claim.target_hash(spot, 0, (0, 0), 0, 0)
    world.send("deployer", world.verifier, "expect", claim.context_hash(), target)
    world.send("deployer", world.verifier, "say", claim.bits(spot), True)
    with pytest.raises(Revert) as refusal:
        claim.send("alice", "step", *arguments)
    assert refusal.value.error == "NotFraud"
    assert claim.phase(key) == Phase.ELEMENT
    world.send("deployer", world.verifier, "say", claim.bits(spot) ^ 1, True)
    receipt = claim.send("alice", "step", *arguments)
    named, won = receipt.event("ElementNamed").args, receipt.event("GameWon").args
    assert (named["element"], named["bits"]) == (spot.element, claim.bits(spot))
    assert won["claimed"] == claim.bits(spot)


def test_a_dissected_element_is_not_proven_in_one_step(world: World) -> None:
    claim = world.claim()
    key, _ = claim.open()
    claim.descend(key, ONE_ROUND, stop=Phase.ELEMENT)
    arguments = claim.step_arguments(key, spot=ONE_ROUND)
    claim.announce(key, arguments=arguments)
    with pytest.raises(Revert) as refusal:
        claim.send("alice", "step", *arguments)
    assert refusal.value.error == "WrongPhase"


def test_a_named_element_is_proven_under_the_node(world: World) -> None:
    claim = world.claim()
    key, _ = claim.open()
    claim.descend(key, ACROSS, stop=Phase.ELEMENT)
    i, data, siblings = claim.named(key, ACROSS)
    for error, wrong in (
        ("WrongNode", (i - 256, data, siblings)),
        ("WrongNode", (i, data[:-4], siblings)),
        ("WrongNode", (i, data, [bytes(32)])),
        ("WrongSiblingCount", (i, data, [])),
        ("WrongSiblingCount", (i, data, [*siblings, bytes(32)])),
        ("NoSuchElement", (300, data, siblings)),
        ("NoSuchElement", (1 << 255, data, siblings)),
    ):
        with pytest.raises(Revert) as refusal:
            claim.send("alice", "element", key, wrong)
        assert refusal.value.error == error
