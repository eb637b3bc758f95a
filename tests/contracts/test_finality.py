"""Finality, fees, refunds and payouts on the real contract."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from opml.chain import abi
from opml.chain.adapter import Receipt, Revert
from opml.chain.decode import request_of, tokens_bytes
from opml.vm.keccak import keccak256
from tests.contracts.oracle import (
    END,
    answer,
    collect,
    consumer,
    over,
    refuse,
)
from tests.contracts.test_game import MODEL
from tests.contracts.world import DEADLINE, FEE, World


@pytest.fixture(scope="module")
def shared() -> World:
    return World(MODEL)


@pytest.fixture
def world(shared: World) -> Iterator[World]:
    shared.restore()
    yield shared


def test_a_final_claim_answers_and_is_paid(world: World) -> None:
    claim = world.claim()
    over(claim)
    receipt = claim.finalise()
    assert receipt.event("Answered").args["answerHash"] == keccak256(claim.answer)
    assert receipt.event("FeePaid").args["to"] == world.address("submitter")
    assert world.owed("submitter") == claim.bond + FEE
    answered = world.call(world.oracle, "answerOf", claim.claim.request_id)
    assert answered == (True, keccak256(claim.answer), claim.claim.output_root)
    with pytest.raises(Revert) as refusal:
        claim.finalise()
    assert refusal.value.error == "ClaimNot"


def test_finality_is_paid_out_of_the_request(world: World) -> None:
    claim = world.claim()
    over(claim)
    receipt = claim.finalise()
    deposit = world.call(world.oracle, "price", world.order()) - FEE
    assert world.owed("stranger") >= receipt.gas_used * world.chain.fees().base_fee
    assert world.owed("stranger") + world.owed("requester") == deposit


def test_finalise_takes_the_claims_request(world: World) -> None:
    claim = world.claim()
    over(claim)
    other, _ = world.ask(nonce=1)
    with pytest.raises(Revert) as refusal:
        replace(claim, request=other).finalise()
    assert refusal.value.error == "WrongRequest"


def test_the_fee_waits_for_an_earlier_claim_that_is_pending(world: World) -> None:
    first = world.claim()
    second = world.claim("bob")
    key, _ = first.open(who="carol")
    first.reveal(key)
    over(second)
    second.finalise()
    assert not world.call(world.oracle, "requestState", second.claim.request_id)["feePaid"]
    collect(world, first)
    assert not world.call(world.oracle, "requestState", second.claim.request_id)["feePaid"]
    first.timeout_when_due(key)
    first.finalise()
    assert world.owed_by(world.oracle, "submitter") == first.bond + FEE
    assert world.owed_by(world.oracle, "bob") == second.bond


def test_the_fee_passes_over_rejected_claims_and_other_answers(world: World) -> None:
    junk = [world.claim("carol", commitment=bytes(32), output=(END,)) for _ in range(2)]
    refuse(junk[0])
    late = world.claim("bob", output=(1, END))
    right = world.claim()
    over(right)
    right.finalise()
    late.finalise()
    with pytest.raises(Revert) as refusal:
        collect(world, late)
    assert refusal.value.error == "WrongClaimNumber"
    junk[1].finalise()
    collect(world, junk[0], junk[1], late, right)
    assert world.owed_by(world.oracle, "submitter") == right.bond + FEE
    with pytest.raises(Revert) as settled:
        collect(world, right)
    assert settled.value.error == "FeeSettled"


def test_collecting_needs_claims_of_the_request(world: World) -> None:
    with pytest.raises(Revert) as early:
        collect(world)
    assert early.value.error == "RequestNot"
    first = world.claim("bob", commitment=bytes(32))
    refuse(first)
    other, _ = world.ask(nonce=5)
    foreign = world.claim(request=other)
    claim = world.claim()
    over(claim)
    claim.finalise()
    with pytest.raises(Revert) as wrong:
        collect(world, foreign)
    assert wrong.value.error == "WrongRequest"
    with pytest.raises(Revert) as unknown:
        collect(world, claim.with_claim(posted_at=1))
    assert unknown.value.error == "ClaimNot"


def test_only_the_game_rejects(world: World) -> None:
    claim = world.claim()
    with pytest.raises(Revert) as refusal:
        world.send("alice", world.oracle, "reject", claim.id, claim.claim.request_id)
    assert refusal.value.error == "NotTheGame"


def refund(world: World) -> Receipt:
    return world.send("stranger", world.oracle, "refund", world.request.values())


def test_a_refund_needs_the_deadline_to_have_passed(world: World) -> None:
    world.set_time(DEADLINE)
    with pytest.raises(Revert) as refusal:
        refund(world)
    assert refusal.value.error == "DeadlineNotPassed"
    world.set_time(DEADLINE + 1)
    refund(world)
    assert world.owed("requester") == world.call(world.oracle, "price", world.order())
    with pytest.raises(Revert) as again:
        refund(world)
    assert again.value.error == "RequestNot"


def test_a_refund_waits_for_pending_claims(world: World) -> None:
    world.set_time(DEADLINE - 10)
    claim = world.claim(commitment=bytes(32))
    key, _ = claim.open()
    world.set_time(DEADLINE + 1)
    with pytest.raises(Revert) as refusal:
        refund(world)
    assert refusal.value.error == "ClaimsPending"
    claim.timeout_when_due(key)
    refund(world)
    assert world.owed("requester") == world.call(world.oracle, "price", world.order())


def test_an_answered_request_is_not_refunded(world: World) -> None:
    answer(world, world.request)
    world.set_time(DEADLINE + 1)
    with pytest.raises(Revert) as refusal:
        refund(world)
    assert refusal.value.error == "RequestNot"


def test_payouts_are_pulled(world: World) -> None:
    claim = answer(world, world.request)
    before = world.chain.balance(world.address("carol"))
    world.send("submitter", world.oracle, "withdraw", world.address("carol"))
    assert world.chain.balance(world.address("carol")) - before == claim.bond + FEE
    with pytest.raises(Revert) as refusal:
        world.send("submitter", world.oracle, "withdraw", world.address("carol"))
    assert refusal.value.error == "NothingOwed"
    unpayable = consumer(world, "test/Unpayable")
    with pytest.raises(Revert) as stuck:
        world.send("requester", world.oracle, "withdraw", unpayable.address)
    assert stuck.value.error == "TransferFailed"


def test_what_is_owed_is_paid_once_to_who_asks_again_meanwhile(world: World) -> None:
    answer(world, world.request)
    returner = consumer(world, "test/Returner")
    order = world.order(nonce=7)
    price = world.call(world.oracle, "price", order)
    asking = abi.encode_call(world.oracle.artifact, "request", [order, tokens_bytes(world.prompt)])
    world.send("stranger", returner, "call", world.oracle.address, price, asking, value=price)
    world.set_time(DEADLINE + 1)
    event = world.chain.events(world.oracle, "Requested")[-1].args["request"]
    world.send("stranger", world.oracle, "refund", request_of(event).values())
    held = world.chain.balance(world.oracle.address)
    world.send("stranger", returner, "withdraw", world.oracle.address)
    assert world.call(returner, "received") == price
    assert world.call(returner, "refused")
    assert world.chain.balance(world.oracle.address) == held - price
