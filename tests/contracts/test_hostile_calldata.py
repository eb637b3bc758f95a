"""Calldata that no compiler would write: other bits in words, also beyond a type, offsets that lead
elsewhere."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from opml.chain import abi
from opml.chain.adapter import Contract, Receipt, Revert
from opml.chain.artifacts import load_artifact
from opml.chain.decode import terms_values
from opml.dispute.types import Phase
from tests.contracts.oracle import over
from tests.contracts.posted import Posted
from tests.contracts.test_game import EMBED, MODEL, ONE_ROUND, at_phase, states
from tests.contracts.world import TERMS, World

KEY_WORDS, CLAIM_WORDS, REQUEST_WORDS = 3, 9, 11


@pytest.fixture(scope="module")
def shared() -> World:
    return World(MODEL)


@pytest.fixture
def world(shared: World) -> Iterator[World]:
    shared.restore()
    yield shared


def raw(world: World, who: str, contract: Contract, data: bytes, value: int = 0) -> Receipt:
    """A transaction of these bytes."""
    return world.chain._transact(contract.address, data, value, world.who[who], None, "hostile calldata")


def bent(data: bytes, word: int, bit: int) -> bytes:
    """The call with one bit of a word of its arguments flipped; bit 0 is the highest."""
    changed = bytearray(data)
    changed[4 + 32 * word + bit // 8] ^= 0x80 >> bit % 8
    return bytes(changed)


def moves(claim: Posted) -> list[tuple[str, Contract, str, list[object], int, int]]:
    """Who sends what, with which value, and how many of the first words are of key, claim and request."""
    world = claim.world
    claims, requests = claim.claim.values(), claim.request.values()
    reveal, posting = at_phase(claim, Phase.REVEAL), at_phase(claim, Phase.TOTALS, salt=1)
    own = world.own
    children = list(own.nodes.children(claim.shapes.root(), 3))
    opening = [claims, requests, 7]
    data = states(claim, ONE_ROUND, 1)
    head = KEY_WORDS + CLAIM_WORDS
    return [
        ("bob", world.game, "open", opening, world.bond, CLAIM_WORDS + REQUEST_WORDS),
        ("stranger", world.game, "revealRoot", [reveal, claims, own.trace_root, children], 0, head + 1),
        ("submitter", world.game, "totals", [posting, claims, data], 0, head),
    ]


def test_another_bit_in_a_key_a_claim_or_a_request_is_refused(world: World) -> None:
    """Also bits beyond a type's width: a struct is its hash, and that is of the words as sent."""
    claim, rng = world.claim(), random.Random(1)
    for who, contract, fn, arguments, value, words in moves(claim):
        data = abi.encode_call(contract.artifact, fn, arguments)
        before = world.chain.snapshot()
        raw(world, who, contract, data, value)
        world.chain.revert(before)
        for word in range(words):
            for bit in (0, 1, 94, 95, 96, 223, 255, rng.randrange(256)):
                with pytest.raises(Revert):
                    raw(world, who, contract, bent(data, word, bit), value)


def test_another_bit_in_a_proof_is_refused(world: World) -> None:
    claim, rng = world.claim(), random.Random(2)
    key = at_phase(claim, Phase.ELEMENT)
    arguments = claim.step_arguments(key, spot=EMBED)
    claim.announce(key, arguments=arguments)
    world.send("deployer", world.verifier, "say", 1 << 40, True)
    data = abi.encode_call(world.game.artifact, "step", arguments)
    for _ in range(200):
        place = rng.randrange(4, len(data))
        changed = bytearray(data)
        changed[place] ^= 1 << rng.randrange(8)
        with pytest.raises(Revert):
            raw(world, "alice", world.game, bytes(changed))
    for other in (data + b"\0", data[:-1]):
        with pytest.raises(Revert):
            raw(world, "alice", world.game, other)
    raw(world, "alice", world.game, data)
    assert claim.phase(key) == Phase.WON


def test_another_bit_in_what_the_oracle_is_given_is_refused(world: World) -> None:
    claim = world.claim()
    over(claim)
    claims, requests = claim.claim.values(), claim.request.values()
    for fn, arguments, words in (
        ("finalise", [requests, claims], REQUEST_WORDS + CLAIM_WORDS),
        ("refund", [requests], REQUEST_WORDS),
        ("deliver", [requests, claim.answer], REQUEST_WORDS),
    ):
        data = abi.encode_call(world.oracle.artifact, fn, arguments)
        for word in range(words):
            for bit in (0, 95, 223, 255):
                with pytest.raises(Revert):
                    raw(world, "stranger", world.oracle, bent(data, word, bit))
    claim.finalise()


@pytest.mark.parametrize("offset", [0, 32, 1 << 32, (1 << 64) - 1, (1 << 256) - 32, (1 << 256) - 1])
def test_an_array_that_lies_elsewhere_is_refused(world: World, offset: int) -> None:
    claim = world.claim()
    key = at_phase(claim, Phase.REVEAL)
    own = world.own
    children = list(own.nodes.children(claim.shapes.root(), 3))
    data = bytearray(
        abi.encode_call(
            world.game.artifact, "revealRoot", [key, claim.claim.values(), own.trace_root, children]
        )
    )
    place = 4 + 32 * (KEY_WORDS + CLAIM_WORDS + 1)
    assert int.from_bytes(data[place : place + 32], "big") == 32 * (KEY_WORDS + CLAIM_WORDS + 2)
    data[place : place + 32] = offset.to_bytes(32, "big")
    with pytest.raises(Revert):
        raw(world, "submitter", world.game, bytes(data))
    assert claim.phase(key) == Phase.REVEAL


def test_empty_arrays_are_refused(world: World) -> None:
    claim = world.claim()
    reveal = at_phase(claim, Phase.REVEAL)
    leaf, named = at_phase(claim, Phase.LEAF, salt=1), at_phase(claim, Phase.ELEMENT, salt=2)
    posting, picking = at_phase(claim, Phase.TOTALS, salt=3), at_phase(claim, Phase.TOTAL_PICK, salt=4)
    for who, fn, arguments in (
        ("submitter", "revealRoot", [reveal, claim.claim.values(), world.own.trace_root, []]),
        ("submitter", "leaf", [leaf, b""]),
        ("alice", "element", [named, (0, b"", [])]),
        ("submitter", "totals", [posting, claim.claim.values(), b""]),
        ("alice", "pickTotal", [picking, 0, bytes(32), b""]),
    ):
        with pytest.raises(Revert) as refusal:
            claim.send(who, fn, *arguments)
        assert refusal.value.error.startswith("Wrong"), fn


def test_another_deployment_knows_nothing_of_a_claim(world: World) -> None:
    """Requests, claims and games are of one oracle on one chain: nothing is replayed elsewhere."""
    claim = world.claim()
    parts = [world.registry.address, world.verifier.address, world.rules.address]
    oracle, _ = world.chain.deploy(
        load_artifact("OpmlOracle"), [*parts, terms_values(TERMS)], sender=world.who["deployer"]
    )
    game = Contract(world.call(oracle, "game"), world.game.artifact)
    claims, requests = claim.claim.values(), claim.request.values()
    over(claim)
    for contract, fn, arguments, error, value in (
        (oracle, "finalise", [requests, claims], "ClaimNot", 0),
        (oracle, "refund", [requests], "RequestNot", 0),
        (game, "timeout", [claim.key(), claims], "GameOver", 0),
    ):
        with pytest.raises(Revert) as refusal:
            world.send("alice", contract, fn, *arguments, value=value)
        assert refusal.value.error == error
    world.set_time(claim.claim.posted_at + 1)
    for fn, arguments, error in (
        ("open", [claims, requests, 0], "WrongRequest"),
        ("revealRoot", [claim.key(), claims, world.own.trace_root, []], "WrongPhase"),
    ):
        with pytest.raises(Revert) as refusal:
            world.send("alice", game, fn, *arguments, value=world.bond if fn == "open" else 0)
        assert refusal.value.error == error


def test_a_copied_commitment_cannot_be_opened(world: World) -> None:
    """Who copies a claim from the pool of transactions has vouched for a root that it cannot name."""
    claim = world.claim()
    copy = world.claim("bob", commitment=claim.claim.commitment)
    key, _ = copy.open()
    children = list(world.own.nodes.children(copy.shapes.root(), 3))
    with pytest.raises(Revert) as refusal:
        copy.send("bob", "revealRoot", key, copy.claim.values(), world.own.trace_root, children)
    assert refusal.value.error == "WrongTraceRoot"
    copy.timeout_when_due(key)
    assert copy.phase(key) == Phase.WON


def test_a_game_does_not_decide_another_of_the_same_claim(world: World) -> None:
    """Two games of one challenger go their own ways; the claim is final only when both are over."""
    claim = world.claim()
    lost, _ = claim.open()
    claim.reveal(lost)
    kept = at_phase(claim, Phase.PICK, salt=1)
    claim.timeout_when_due(lost)
    assert (claim.phase(lost), claim.phase(kept)) == (Phase.LOST, Phase.PICK)
    over(claim)
    with pytest.raises(Revert) as refusal:
        claim.finalise()
    assert refusal.value.error == "GamesOpen"
    claim.timeout_when_due(kept)
    claim.finalise()
