"""All contracts on an embedded chain, with a verifier that says what a test tells it, and moves by name.

world = World(every_form())
claim = world.claim()
game = claim.open()
claim.descend(game, Spot(t, ordinal, element))
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from eth_abi.abi import encode

from opml.chain import abi
from opml.chain.adapter import Contract, Receipt, Revert, Signer
from opml.chain.artifacts import load_artifact
from opml.chain.decode import claim_of, cursor_values, request_of, terms_values, tokens_bytes
from opml.chain.embedded import EmbeddedChain
from opml.dispute.cursor import STAGE_TAGS, Shapes, span
from opml.dispute.nodes import child_siblings, leaf_hashes
from opml.dispute.own import Own, Vocabulary
from opml.dispute.totals import Dissection
from opml.dispute.types import SUBMITTER_PHASES, Claim, Phase, Request, Terms, commitment_of, lengths_of
from opml.models.model import Model
from opml.vm import engine
from opml.vm.commitment import Tag, vocabulary_tree
from opml.vm.isa import OUT_BYTES
from opml.vm.keccak import keccak256
from opml.vm.trace import Cursor

GWEI = 10**9
FEE = 10**15
TERMS = Terms(window=3600, submitter_clock=1200, challenger_clock=900, ceiling=20 * GWEI)
DEADLINE = 1_800_000_000
BURN = "0x000000000000000000000000000000000000dEaD"

Key = tuple[bytes, str, int]


@dataclass(frozen=True)
class Spot:
    """An element of a committed tensor."""

    t: int
    ordinal: int
    element: int = 0


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
        self.chain = EmbeddedChain(base_fee=base_fee)
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


ENGINE = engine.get_engine("reference")


@dataclass
class Posted:
    """A claim on chain and the moves against it; `own` is what its submitter reveals."""

    world: World
    request: Request
    claim: Claim
    id: bytes
    bond: int
    receipt: Receipt

    @property
    def answer(self) -> bytes:
        found: bytes = self.receipt.event("Claimed").args["answer"]
        return found

    @property
    def lengths(self) -> bytes:
        found: bytes = self.receipt.event("Claimed").args["lengths"]
        return found

    @property
    def shapes(self) -> Shapes:
        return Shapes(self.world.model.layout, self.request.prompt_length, self.positions)

    @property
    def positions(self) -> int:
        return self.request.prompt_length + self.claim.output_length - 1

    @property
    def status(self) -> int:
        return int(self.world.call(self.world.oracle, "claimState", self.id)["status"])

    @property
    def docket(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.world.call(self.world.game, "docket", self.id)
        return found

    def key(self, who: str = "alice", salt: int = 0) -> Key:
        return (self.id, self.world.address(who), salt)

    def game_id(self, key: Key) -> bytes:
        found: bytes = self.world.call(self.world.game, "gameIdOf", key)
        return found

    def state(self, key: Key) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.world.call(self.world.game, "game", self.game_id(key))
        return found

    def phase(self, key: Key) -> Phase:
        return Phase(self.state(key)["phase"])

    def send(self, who: str, fn: str, *args: object, value: int = 0) -> Receipt:
        return self.world.send(who, self.world.game, fn, *args, value=value)

    # Moves -----------------------------------------------------------------------------------------------

    def open(self, who: str = "alice", salt: int = 0, value: int | None = None) -> tuple[Key, Receipt]:
        bond = self.world.bond if value is None else value
        receipt = self.send(who, "open", self.claim.values(), self.request.values(), salt, value=bond)
        return self.key(who, salt), receipt

    def open_at(self, cursor: Cursor, who: str = "alice", salt: int = 0) -> tuple[Key, Receipt]:
        own = self.world.own
        siblings = [own.nodes.node(c) for c in self.shapes.above(cursor)]
        receipt = self.send(
            who,
            "openAt",
            self.claim.values(),
            self.request.values(),
            salt,
            own.trace_root,
            cursor_values(cursor),
            own.nodes.node(cursor),
            siblings,
            value=self.world.bond,
        )
        return self.key(who, salt), receipt

    def cursor(self, key: Key) -> Cursor:
        """Where a game stands."""
        s = self.state(key)
        return Cursor(s["stage"], s["height"], s["index"], s["position"], s["ordinal"])

    def reveal(self, key: Key, who: str = "submitter") -> Receipt:
        """The honest reveal, of whatever is asked for."""
        own, cursor = self.world.own, self.cursor(key)
        levels = span(cursor.height, self.world.terms.fanout)
        children = list(own.nodes.children(cursor, levels))
        if self.state(key)["word"] == bytes(32):
            return self.send(who, "revealRoot", key, self.claim.values(), own.trace_root, children)
        return self.send(who, "reveal", key, children)

    def pick_towards(self, key: Key, spot: Spot) -> Receipt:
        """The pick that leads to an element."""
        own, cursor = self.world.own, self.cursor(key)
        levels = span(cursor.height, self.world.terms.fanout)
        shapes = self.shapes
        leaf = (spot.t, spot.ordinal, spot.element // 256)[cursor.stage]
        i = (leaf >> (cursor.height - levels)) - (cursor.index << levels)
        children = own.nodes.children(cursor, levels)
        siblings = list(child_siblings(STAGE_TAGS[shapes.normal(cursor).stage], children, i))
        return self.send(self._challenger(key), "pick", key, i, children[i], siblings)

    def _challenger(self, key: Key) -> str:
        return next(name for name, signer in self.world.who.items() if signer.address == key[1])

    def leaf(self, key: Key, who: str = "submitter") -> Receipt:
        return self.send(who, "leaf", key, self.world.own.nodes.leaf(self.cursor(key)))

    def name(self, key: Key, spot: Spot) -> Receipt:
        return self.send(self._challenger(key), "element", key, self.named(key, spot))

    def named(self, key: Key, spot: Spot) -> tuple[int, bytes, list[bytes]]:
        """An element of what was opened, and what proves it."""
        cursor = self.cursor(key)
        width = self.shapes.element_bytes(spot.ordinal)
        data, size = self.world.own.nodes.leaf(cursor), 256 * width
        number = spot.element - (cursor.index << cursor.height) * 256
        siblings = child_siblings(Tag.TENSOR, leaf_hashes(data, width, cursor.height), number // 256)
        return number, data[number // 256 * size : (number // 256 + 1) * size], list(siblings)

    def descend(self, key: Key, spot: Spot, stop: Phase = Phase.STEP) -> list[Receipt]:
        """Honest moves of both sides towards an element, until the phase is `stop` or totals are due."""
        receipts = []
        while self.phase(key) not in (stop, Phase.TOTALS, Phase.STEP):
            receipts += self.descend_once(key, spot)
        return receipts

    def descend_once(self, key: Key, spot: Spot) -> list[Receipt]:
        """The next honest move towards an element."""
        phase = self.phase(key)
        if phase == Phase.REVEAL:
            return [self.reveal(key)]
        if phase == Phase.PICK:
            return [self.pick_towards(key, spot)]
        return [self.leaf(key) if phase == Phase.LEAF else self.name(key, spot)]

    def states_bytes(self, spot: Spot, round_: int, picked: int = 0) -> int:
        """Bytes of the states of a round, the second after chunk `picked`."""
        cuts = Dissection.of(self.shapes.slot(spot.ordinal).instr, spot.t)
        if round_ == 1:
            return len(cuts.chunks) * cuts.state_bytes
        return (len(cuts.inner(cuts.chunks[picked])) - 1) * cuts.state_bytes

    def bits(self, spot: Spot) -> int:
        """Stored bits of an element in the trace."""
        size = OUT_BYTES[self.shapes.slot(spot.ordinal).instr.out]
        data = self.world.trace.tensor(spot.t, spot.ordinal)
        return int.from_bytes(data[spot.element * size : (spot.element + 1) * size], "little")

    # Proofs ----------------------------------------------------------------------------------------------

    def step_arguments(self, key: Key, witness: bytes = b"w", spot: Spot | None = None) -> list[object]:
        """Arguments of a step; with `spot`, of one that names its element."""
        named = (0, b"", []) if spot is None else self.named(key, spot)
        return [key, self.claim.values(), self.request.values(), self.world.own.trace_root, named, witness]

    def digest(self, who: str, fn: str, arguments: Sequence[object]) -> bytes:
        data = abi.encode_call(self.world.game.artifact, fn, arguments)
        return keccak256(data + bytes.fromhex(self.world.address(who)[2:]))

    def announce(self, key: Key, fn: str = "step", arguments: Sequence[object] | None = None) -> Receipt:
        who = self._challenger(key)
        arguments = self.step_arguments(key) if arguments is None else arguments
        return self.send(who, "announce", key, self.digest(who, fn, arguments))

    def step(self, key: Key, computed: int) -> Receipt:
        """A step for which the verifier computes `computed`, announced before."""
        self.world.send("deployer", self.world.verifier, "say", computed, True)
        return self.send(self._challenger(key), "step", *self.step_arguments(key))

    def timeout(self, key: Key, who: str = "stranger") -> Receipt:
        return self.send(who, "timeout", key, self.claim.values())

    def timeout_when_due(self, key: Key, who: str = "stranger") -> Receipt:
        """Wait until the side to move has used up its clock, and close the game."""
        state, terms = self.state(key), self.world.terms
        submitters = Phase(state["phase"]) in SUBMITTER_PHASES
        clock = terms.submitter_clock if submitters else terms.challenger_clock
        used = state["usedSubmitter"] if submitters else state["usedChallenger"]
        self.world.set_time(max(self.world.now, state["movedAt"] + clock - used + 1))
        return self.timeout(key, who)

    def direct_arguments(self, key: Key, fn: str, witness: bytes = b"w") -> list[object]:
        """Arguments of a direct proof about output token 1."""
        head = [key, self.claim.values(), self.request.values()]
        if fn == "tokenProof":
            return [*head, self.world.own.trace_root, 1, witness]
        return [*head, 1, self.answer, self.lengths, witness]

    def context_hash(self) -> bytes:
        """Hash of the `StepContext` that a verifier must be given for a step, which needs no vocabulary."""
        world, claim, request = self.world, self.claim, self.request
        program = world.call(world.registry, "model", world.model.id)["program"]
        return keccak256(
            encode(
                [
                    "address",
                    *["bytes32"] * 2,
                    "uint32",
                    *["bytes32"] * 2,
                    "uint32",
                    "bytes32",
                    "uint32",
                    "uint256",
                ],
                [
                    program,
                    world.model.weights_root,
                    bytes(32),
                    0,
                    world.own.trace_root,
                    request.prompt_root,
                    request.prompt_length,
                    claim.output_root,
                    claim.output_length,
                    request.params,
                ],
            )
        )

    def target_hash(self, spot: Spot, mode: int, prior: tuple[int, int], lo: int, hi: int) -> bytes:
        """Hash of the `StepTarget` that a verifier must be given."""
        values = [spot.t, spot.ordinal, spot.element, mode, lo, hi, *prior]
        return keccak256(encode(["uint32"] * 3 + ["uint8"] + ["uint32"] * 2 + ["uint64"] * 2, values))

    def release(self, key: Key, who: str | None = None) -> Receipt:
        return self.send(who or self._challenger(key), "release", key)

    def finalise(self, who: str = "stranger") -> Receipt:
        return self.world.send(who, self.world.oracle, "finalise", self.request.values(), self.claim.values())

    def with_claim(self, **changes: object) -> Posted:
        return replace(self, claim=replace(self.claim, **changes))  # type: ignore[arg-type]
