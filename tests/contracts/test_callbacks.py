"""Answers delivered to contracts, and pulled by them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from opml.chain.adapter import Revert
from opml.chain.decode import request_of, tokens_bytes
from tests.contracts.oracle import (
    answer,
    ask_for,
    consumer,
    deliver,
)
from tests.contracts.test_game import MODEL
from tests.contracts.world import World


@pytest.fixture(scope="module")
def shared() -> World:
    return World(MODEL)


@pytest.fixture
def world(shared: World) -> Iterator[World]:
    shared.restore()
    yield shared


def test_a_consumer_is_handed_the_text(world: World) -> None:
    questions = consumer(world, "Questions", world.oracle.address)
    order = world.order(nonce=4, callback=questions.address, callbackGas=200_000)
    price = world.call(world.oracle, "price", order)
    receipt = world.send("requester", questions, "ask", order, tokens_bytes(world.prompt), value=price)
    request = request_of(receipt.event("Requested").args["request"])
    claim = answer(world, request)
    sent = deliver(world, request, claim.answer)
    assert world.call(questions, "answers", claim.claim.request_id) == claim.answer
    assert world.owed("stranger") >= sent.gas_used * world.chain.fees().base_fee
    before = world.chain.balance(world.address("bob"))
    world.send("requester", questions, "collect", world.address("bob"))
    assert world.chain.balance(world.address("bob")) > before
    for error, call in {
        "NotTheOracle": lambda: world.send("alice", questions, "onAnswer", bytes(32), b""),
        "NotTheAsker": lambda: world.send("alice", questions, "ask", order, b"", value=0),
        "NotMyCallback": lambda: world.send("requester", questions, "ask", world.order(), b"", value=0),
    }.items():
        with pytest.raises(Revert) as refusal:
            call()
        assert refusal.value.error == error


def test_a_consumer_pulls_the_text(world: World) -> None:
    reader = consumer(world, "Reader", world.oracle.address)
    request_id = world.request_id(world.request)
    with pytest.raises(Revert) as early:
        world.send("alice", reader, "bring", request_id, b"")
    assert early.value.error == "NotAnswered"
    claim = answer(world, world.request)
    with pytest.raises(Revert) as wrong:
        world.send("alice", reader, "bring", request_id, claim.answer + b"!")
    assert wrong.value.error == "WrongText"
    world.send("alice", reader, "bring", request_id, claim.answer)
    assert world.call(reader, "texts", request_id) == claim.answer


def test_a_callback_happens_once_with_the_promised_gas(world: World) -> None:
    moody = consumer(world, "test/MoodyConsumer")
    request = ask_for(world, moody, 100_000)
    claim = answer(world, request)
    deliver(world, request, claim.answer)
    assert world.call(moody, "calls") == 1
    assert 99_000 < world.call(moody, "gasGiven") <= 100_000
    with pytest.raises(Revert) as refusal:
        deliver(world, request, claim.answer)
    assert refusal.value.error == "AlreadyDelivered"


@pytest.mark.parametrize("gas", [150_000, 180_000, 200_000, 230_000, 260_000])
def test_a_callback_never_gets_less_than_promised(world: World, gas: int) -> None:
    moody = consumer(world, "test/MoodyConsumer")
    request = ask_for(world, moody, 100_000)
    claim = answer(world, request)
    try:
        deliver(world, request, claim.answer, gas)
    except Revert as refusal:
        assert refusal.error in ("NotEnoughGas", "OutOfGas")
        assert world.call(moody, "calls") == 0
        assert world.call(world.oracle, "requestState", claim.claim.request_id)["delivery"] == 0
    else:
        assert world.call(moody, "gasGiven") > 99_000


def test_a_callback_that_fails_can_be_tried_again_and_is_paid_once(world: World) -> None:
    moody = consumer(world, "test/MoodyConsumer")
    request = ask_for(world, moody)
    claim = answer(world, request)
    world.send("requester", moody, "fail", True)
    before = world.owed("stranger")
    deliver(world, request, claim.answer).event("CallbackFailed")
    paid = world.owed("stranger") - before
    assert paid > 0
    deliver(world, request, claim.answer).event("CallbackFailed")
    world.send("requester", moody, "fail", False)
    deliver(world, request, claim.answer).event("Delivered")
    assert world.owed("stranger") == before + paid
    assert world.call(world.oracle, "requestState", claim.claim.request_id)["delivery"] == 1


def test_a_callback_cannot_be_entered_again_nor_bomb_the_caller(world: World) -> None:
    greedy = consumer(world, "test/GreedyConsumer", world.oracle.address)
    request = ask_for(world, greedy, 300_000)
    claim = answer(world, request)
    world.send("alice", greedy, "prepare", request.values(), claim.answer)
    deliver(world, request, claim.answer)
    assert world.call(greedy, "refused") is True


@pytest.mark.parametrize(
    ("error", "changed"),
    [("WrongAnswer", "answer"), ("NoCallback", "callback"), ("RequestNot", "unanswered")],
)
def test_a_delivery_is_refused(world: World, error: str, changed: str) -> None:
    moody = consumer(world, "test/MoodyConsumer")
    request = ask_for(world, moody)
    text = b""
    if changed != "unanswered":
        claim = answer(world, request)
        text = claim.answer + (b"!" if changed == "answer" else b"")
    if changed == "callback":
        request = world.request
        text = answer(world, request).answer
    with pytest.raises(Revert) as refusal:
        deliver(world, request, text)
    assert refusal.value.error == error
