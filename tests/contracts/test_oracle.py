"""Requests and claims that the oracle takes, and those that it refuses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache

import pytest

from opml.chain import abi
from opml.chain.adapter import Revert
from opml.chain.artifacts import load_artifact
from opml.chain.decode import tokens_bytes
from opml.vm.commitment import tokens_tree
from opml.vm.keccak import keccak256
from tests.contracts.oracle import (
    END,
    PENDING,
    answer,
)
from tests.contracts.test_game import MODEL
from tests.contracts.world import DEADLINE, FEE, World
from tests.dispute.toys import every_form


@pytest.fixture(scope="module")
def shared() -> World:
    return World(MODEL)


@pytest.fixture
def world(shared: World) -> Iterator[World]:
    shared.restore()
    yield shared


def test_a_request_is_its_content(world: World) -> None:
    request, receipt = world.ask(nonce=1)
    event = receipt.event("Requested").args
    assert event["requestId"] == world.request_id(request)
    assert event["prompt"] == tokens_bytes(world.prompt)
    assert request.prompt_root == tokens_tree(world.prompt).root
    assert request.prompt_length == len(world.prompt)
    assert world.call(world.oracle, "requestIdOf", request.values()) == world.request_id(request)
    assert world.call(world.oracle, "requestState", world.request_id(request))["status"] == 1


@pytest.mark.parametrize("count", [1, 255, 256, 257, 600])
def test_the_root_of_a_prompt_is_the_tokens_tree(count: int) -> None:
    world = long_world()
    world.restore()
    tokens = [n * 7 % 299 for n in range(count)]
    order = world.order(nonce=count, maxOutput=1)
    price = world.call(world.oracle, "price", order)
    receipt = world.send("requester", world.oracle, "request", order, tokens_bytes(tokens), value=price)
    assert receipt.event("Requested").args["request"]["promptRoot"] == tokens_tree(tokens).root


@cache
def long_world() -> World:
    """A world whose model takes long prompts."""
    return World(every_form(limit=1024))


CALLBACK = "0x" + "11" * 20

REQUESTS: dict[str, tuple[str, Callable[[World], object]]] = {
    "too little": ("WrongValue", lambda w: w.ask(value=FEE, nonce=1)),
    "no tokens": ("WrongTokens", lambda w: ask_bytes(w, b"")),
    "half a token": ("WrongTokens", lambda w: ask_bytes(w, b"\1\0\0\0\1\0")),
    "beyond the vocabulary": ("TokenOutOfVocabulary", lambda w: ask_bytes(w, tokens_bytes([1, 300]))),
    "byte order": ("TokenOutOfVocabulary", lambda w: ask_bytes(w, b"\0\0\0\1")),
    "more than the limit": ("OutputLimit", lambda w: w.ask(nonce=1, maxOutput=8)),
    "no output": ("OutputLimit", lambda w: w.ask(nonce=1, maxOutput=0)),
    "a deadline that has passed": ("DeadlinePassed", lambda w: w.ask(nonce=1, deadline=w.now - 1)),
    "too much callback gas": (
        "CallbackGas",
        lambda w: w.ask(nonce=1, callback=CALLBACK, callbackGas=10_000_001),
    ),
    "callback gas for nobody": ("CallbackGas", lambda w: w.ask(nonce=1, callbackGas=1)),
    "an unknown model": ("UnknownModel", lambda w: w.ask(nonce=1, modelId=b"\1" * 32)),
    "the same again": ("RequestExists", lambda w: w.ask()),
}


def ask_bytes(world: World, prompt: bytes) -> None:
    order = world.order(nonce=1)
    price = world.call(world.oracle, "price", order)
    world.send("requester", world.oracle, "request", order, prompt, value=price)


@pytest.mark.parametrize("name", REQUESTS)
def test_a_request_is_refused(world: World, name: str) -> None:
    error, act = REQUESTS[name]
    with pytest.raises(Revert) as refusal:
        act(world)
    assert refusal.value.error == error


def test_the_longest_output_and_the_last_second_are_accepted(world: World) -> None:
    world.ask(nonce=1, maxOutput=7)
    world.ask(nonce=2, deadline=world.now)


def test_a_claim_is_its_content(world: World) -> None:
    claim = world.claim()
    output = world.trace.tokens[len(world.prompt) :]
    assert claim.claim.output_root == tokens_tree(output).root
    assert claim.claim.answer_hash == keccak256(claim.answer)
    assert claim.claim.lengths_hash == keccak256(claim.lengths)
    assert claim.claim.posted_at == world.chain.timestamp()
    assert claim.id == claim.claim.id(world.chain.chain_id, bytes.fromhex(world.oracle.address[2:]))
    assert world.call(world.oracle, "claimIdOf", claim.claim.values()) == claim.id
    state = world.call(world.oracle, "claimState", claim.id)
    assert (state["status"], state["number"], state["bond"]) == (PENDING, 0, claim.bond)


def after_deadline(world: World) -> None:
    world.set_time(DEADLINE + 1)
    world.claim()


def after_answer(world: World) -> None:
    answer(world, world.request)
    world.claim("bob")


def same_claim_at_once(world: World) -> None:
    batch, _ = world.chain.deploy(load_artifact("test/Batch"), sender=world.who["deployer"])
    output = world.trace.tokens[len(world.prompt) :]
    pieces = [world.model.pieces[token] for token in output]
    data = abi.encode_call(
        world.oracle.artifact,
        "submit",
        [
            world.request.values(),
            "0x" + "00" * 20,
            bytes(32),
            tokens_bytes(output),
            b"".join(pieces),
            b"".join(len(piece).to_bytes(2, "big") for piece in pieces),
        ],
    )
    total = len(b"".join(pieces)) + 2 * len(pieces)
    bond = world.call(world.game, "submitterBond", world.model.id, total)
    calls = [data, data]
    world.send("deployer", batch, "run", world.oracle.address, [bond] * len(calls), calls, value=2 * bond)


CLAIMS: dict[str, tuple[str, Callable[[World], object]]] = {
    "another bond": ("WrongValue", lambda w: w.claim(value=1)),
    "an unknown request": ("RequestNot", lambda w: w.claim(request=replace(w.request, nonce=7))),
    "after the deadline": ("DeadlinePassed", after_deadline),
    "after the answer": ("RequestNot", after_answer),
    "no output": ("WrongTokens", lambda w: w.claim(output=())),
    "beyond the vocabulary": ("TokenOutOfVocabulary", lambda w: w.claim(output=(1, 2, 300))),
    "too long": ("OutputTooLong", lambda w: w.claim(output=(1, 2, 3, 4, 5))),
    "cut short": ("NoEndToken", lambda w: w.claim(output=(1, 2))),
    "going on": ("EndTokenInside", lambda w: w.claim(output=(1, END, 2))),
    "twice an end": ("EndTokenInside", lambda w: w.claim(output=(END, END))),
    "a length missing": ("WrongLengths", lambda w: w.claim(lengths=b"\0\1")),
    "another sum": ("WrongAnswerLength", lambda w: w.claim(answer=b"x")),
    "the same claim at once": ("ClaimExists", same_claim_at_once),
    "too long a text": ("AnswerTooLong", lambda w: w.claim(answer=bytes(80_000))),
}


@pytest.mark.parametrize("name", CLAIMS)
def test_a_claim_is_refused(world: World, name: str) -> None:
    error, act = CLAIMS[name]
    with pytest.raises(Revert) as refusal:
        act(world)
    assert refusal.value.error == error


@pytest.mark.parametrize("output", [(END,), (1, END), (1, 2, 3, END), (1, 2, 3, 4)])
def test_an_output_ends_with_an_end_token_or_at_the_limit(world: World, output: tuple[int, ...]) -> None:
    assert world.claim(output=output).status == PENDING


def test_every_error_of_the_interface_has_a_case() -> None:
    elsewhere = {
        "AlreadyDelivered",
        "ClaimNot",
        "ClaimsPending",
        "DeadlineNotPassed",
        "FeeSettled",
        "NoCallback",
        "NotEnoughGas",
        "NotTheGame",
        "WindowOpen",
        "WrongAnswer",
        "WrongClaimNumber",
        "WrongRequest",
    }
    cases = {error for error, _ in [*REQUESTS.values(), *CLAIMS.values()]}
    errors = {entry["name"] for entry in load_artifact("IOpmlOracle").abi if entry["type"] == "error"}
    assert errors == (cases & errors) | elsewhere
