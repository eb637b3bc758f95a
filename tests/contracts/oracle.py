"""What tests do on the oracle, by name."""

from __future__ import annotations

from opml.chain.adapter import Contract, Receipt
from opml.chain.artifacts import load_artifact
from opml.dispute.types import Request
from tests.contracts.posted import Posted
from tests.contracts.test_game import MODEL
from tests.contracts.world import TERMS, World

END = MODEL.end_tokens[0]
PENDING, FINAL, REJECTED = 1, 2, 3


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


def consumer(world: World, name: str, *args: object) -> Contract:
    contract, _ = world.chain.deploy(load_artifact(name), list(args), sender=world.who["requester"])
    return contract


def ask_for(world: World, contract: Contract, gas: int = 100_000) -> Request:
    request, _ = world.ask(nonce=8, callback=contract.address, callbackGas=gas)
    return request
