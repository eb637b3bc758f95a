"""A claim on chain, and the moves against it by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from eth_abi.abi import encode

from opml.chain import abi
from opml.chain.adapter import Receipt
from opml.chain.decode import cursor_values
from opml.dispute.cursor import STAGE_TAGS, Shapes, span
from opml.dispute.nodes import child_siblings, leaf_hashes
from opml.dispute.totals import Dissection
from opml.dispute.types import SUBMITTER_PHASES, Claim, Phase, Request
from opml.vm.commitment import Tag
from opml.vm.isa import OUT_BYTES
from opml.vm.keccak import keccak256
from opml.vm.trace import Cursor

if TYPE_CHECKING:
    from tests.contracts.world import World

Key = tuple[bytes, str, int]


@dataclass(frozen=True)
class Spot:
    """An element of a committed tensor."""

    t: int
    ordinal: int
    element: int = 0


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
