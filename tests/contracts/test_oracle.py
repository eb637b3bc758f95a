"""Requests, claims, finality, fees, callbacks and refunds on the real contract."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache

import pytest

from opml.chain import abi
from opml.chain.adapter import Contract, Receipt, Revert
from opml.chain.artifacts import load_artifact
from opml.chain.decode import request_of, tokens_bytes
from opml.dispute.types import Request
from opml.vm.commitment import tokens_tree
from opml.vm.keccak import keccak256
from tests.contracts.test_game import MODEL
from tests.contracts.world import DEADLINE, FEE, TERMS, Posted, World
from tests.dispute.toys import every_form

END = MODEL.end_tokens[0]
PENDING, FINAL, REJECTED = 1, 2, 3


@pytest.fixture(scope="module")
def shared() -> World:
    return World(MODEL)


@pytest.fixture
def world(shared: World) -> Iterator[World]:
    shared.restore()
    yield shared


def over(claim: Posted) -> None:
    """The claim's window is over."""
    claim.world.set_time(max(claim.world.now, claim.claim.posted_at + TERMS.window))


def refuse(claim: Posted, who: str = "alice") -> None:
    """Have a claim rejected, by the silence of its submitter."""
    key, _ = claim.open(who=who)
    claim.timeout_when_due(key)


def collect(world: World, *claims: Posted, request: Request | None = None) -> Receipt:
    values = [claim.claim.values() for claim in claims]
    return world.send("stranger", world.oracle, "collectFee", (request or world.request).values(), values)


def deliver(world: World, request: Request, answer: bytes, gas: int | None = None) -> Receipt:
    arguments = [request.values(), answer]
    return world.chain.transact(world.oracle, "deliver", arguments, sender=world.who["stranger"], gas=gas)


def answer(world: World, request: Request) -> Posted:
    claim = world.claim(request=request)
    over(claim)
    claim.finalise()
    return claim


# Requests ------------------------------------------------------------------------------------------------


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


# Claims --------------------------------------------------------------------------------------------------


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


# Finality and fee ----------------------------------------------------------------------------------------


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


# Refunds -------------------------------------------------------------------------------------------------


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


# Callbacks -----------------------------------------------------------------------------------------------


def consumer(world: World, name: str, *args: object) -> Contract:
    contract, _ = world.chain.deploy(load_artifact(name), list(args), sender=world.who["requester"])
    return contract


def ask_for(world: World, contract: Contract, gas: int = 100_000) -> Request:
    request, _ = world.ask(nonce=8, callback=contract.address, callbackGas=gas)
    return request


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


# Payouts -------------------------------------------------------------------------------------------------


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
