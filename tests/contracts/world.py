"""All contracts on an embedded chain, with a verifier that says what a test tells it, and moves by name.

world = World(every_form())
claim = world.claim()
game = claim.open()
claim.descend(game, Spot(t, ordinal, element))
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

from opml.chain.adapter import Contract, Receipt, Revert, Signer
from opml.chain.artifacts import load_artifact
from opml.chain.decode import claim_of, request_of, terms_values, tokens_bytes
from opml.dispute.own import Own, Vocabulary
from opml.dispute.types import Request, Terms, commitment_of, lengths_of
from opml.models.model import Model
from opml.vm import engine
from opml.vm.commitment import vocabulary_tree
from opml.vm.keccak import keccak256
from tests.contracts.posted import Posted
from tests.native import fast_engine
from tests.remembered import RememberingChain

GWEI = 10**9
FEE = 10**15
TERMS = Terms(window=3600, submitter_clock=1200, challenger_clock=900, ceiling=20 * GWEI)
DEADLINE = 1_800_000_000
BURN = "0x000000000000000000000000000000000000dEaD"

ENGINE = fast_engine()


class World:
    """The contracts, one registered model and a request; `snapshot` and `restore` undo."""

    def __init__(
        self,
        model: Model,
        prompt: Sequence[int] = (1, 2),
        outputs: int = 4,
        terms: Terms = TERMS,
        base_fee: int = GWEI,
    ) -> None:
        self.model, self.prompt, self.outputs, self.terms = model, tuple(prompt), outputs, terms
        self.chain = RememberingChain(base_fee=base_fee)
        names = ("deployer", "requester", "submitter", "operator", "alice", "bob", "carol", "stranger")
        self.who: Mapping[str, Signer] = dict(zip(names, self.chain.accounts, strict=False))
        self.deployment = self._deploy()
        self.request = self._ask()
        machine = ENGINE.load(model.program, model.weights)
        self.trace = engine.generate(machine, prompt, outputs, self.request.param_words, model.end_tokens)
        self.own = Own.of(self.trace, Vocabulary(model.pieces, vocabulary_tree(model.pieces)))
        self.start = self.chain.snapshot()

    def _deploy(self) -> dict[str, Receipt]:
        receipts: dict[str, Receipt] = {}

        def put(name: str, *args: object) -> Contract:
            contract, receipts[name] = self.chain.deploy(
                load_artifact(name), list(args), sender=self.who["deployer"]
            )
            return contract

        self.verifier = put("test/MockVerifier")
        parts = [put("ProgramValidator").address, put("StepCost").address]
        self.registry = put("ModelRegistry", *parts)
        self.rules = put("GameRules")
        self.oracle = put(
            "OpmlOracle",
            self.registry.address,
            self.verifier.address,
            self.rules.address,
            terms_values(self.terms),
        )
        self.game = Contract(self.chain.call(self.oracle, "game"), load_artifact("DisputeGame"))
        return receipts

    def _ask(self) -> Request:
        model, program_hash = self.model, keccak256(self.model.encoded)
        self.send("deployer", self.registry, "publish", model.encoded)
        self.send("deployer", self.registry, "validate", program_hash, 1 << 16)
        self.send(
            "deployer",
            self.registry,
            "register",
            program_hash,
            model.weights_root,
            model.vocabulary_root,
            model.vocabulary_size,
            list(model.end_tokens),
            "",
        )
        return self.ask()[0]

    # Sending ---------------------------------------------------------------------------------------------

    def send(self, who: str, contract: Contract, fn: str, *args: object, value: int = 0) -> Receipt:
        return self.chain.transact(contract, fn, list(args), sender=self.who[who], value=value)

    def call(self, contract: Contract, fn: str, *args: object, sender: str | None = None) -> Any:
        return self.chain.call(contract, fn, list(args), sender=self.address(sender) if sender else None)

    def address(self, who: str) -> str:
        return self.who[who].address

    def restore(self) -> None:
        """Back to the request without a claim."""
        self.chain.revert(self.start)

    def set_time(self, timestamp: int) -> None:
        """The next transaction's block has this timestamp."""
        self.chain._chain.header = self.chain._chain.header.copy(timestamp=timestamp)

    @property
    def now(self) -> int:
        """Time of the next transaction."""
        return int(self.chain._chain.header.timestamp)

    # Requests and claims ---------------------------------------------------------------------------------

    def order(self, **changes: object) -> list[object]:
        fields: dict[str, object] = {
            "nonce": 0,
            "modelId": self.model.id,
            "params": 0,
            "maxOutput": self.outputs,
            "deadline": DEADLINE,
            "callback": "0x" + "00" * 20,
            "callbackGas": 0,
            "fee": FEE,
        }
        return list((fields | changes).values())

    def ask(self, value: int | None = None, **changes: object) -> tuple[Request, Receipt]:
        order = self.order(**changes)
        price = self.call(self.oracle, "price", order) if value is None else value
        prompt = tokens_bytes(self.prompt)
        receipt = self.send("requester", self.oracle, "request", order, prompt, value=price)
        return request_of(receipt.event("Requested").args["request"]), receipt

    def claim(
        self,
        who: str = "submitter",
        request: Request | None = None,
        output: Sequence[int] | None = None,
        answer: bytes | None = None,
        lengths: bytes | None = None,
        commitment: bytes | None = None,
        value: int | None = None,
    ) -> Posted:
        """Post a claim; what isn't given is right."""
        request = request or self.request
        output = self.trace.tokens[len(self.prompt) :] if output is None else output
        pieces = [self.model.pieces[token] for token in output if token < len(self.model.pieces)]
        answer = b"".join(pieces) if answer is None else answer
        lengths = lengths_of(pieces) if lengths is None else lengths
        account = bytes.fromhex(self.address(who)[2:])
        request_id = self.request_id(request)
        if commitment is None:
            commitment = commitment_of(self.own.trace_root, account, request_id)
        bond = value
        if bond is None:
            bond = self.call(self.game, "submitterBond", self.model.id, len(answer) + len(lengths))
        receipt = self.send(
            who,
            self.oracle,
            "submit",
            request.values(),
            self.address("operator"),
            commitment,
            tokens_bytes(output),
            answer,
            lengths,
            value=bond,
        )
        event = receipt.event("Claimed").args
        return Posted(self, request, claim_of(event["claim"]), event["claimId"], bond, receipt)

    def request_id(self, request: Request) -> bytes:
        return request.id(self.chain.chain_id, bytes.fromhex(self.oracle.address[2:]))

    @property
    def bond(self) -> int:
        """A challenger's bond."""
        return int(self.call(self.game, "challengerBond", self.model.id))

    def owed(self, who: str) -> int:
        """What both contracts owe to an account."""
        return int(self.owed_by(self.oracle, who) + self.owed_by(self.game, who))

    def owed_by(self, contract: Contract, who: str) -> int:
        return int(self.call(contract, "owed", self.address(who)))

    def burn(self, claim_id: bytes) -> None:
        """Burn what a rejected claim has lost, wherever there is something."""
        for contract in (self.oracle, self.game):
            with contextlib.suppress(Revert):
                self.send("stranger", contract, "burn", claim_id)

    @property
    def burnt(self) -> int:
        return self.chain.balance(BURN) - 1  # what the embedded chain begins with
