"""Our contracts on a chain, as the players of `opml.dispute` see them: typed, for one account.

`ChainGateway` implements `opml.dispute.gateway.Gateway`, and adds what a requester needs. All that it knows
it reads from the chain, so that a process may be stopped and started at any moment.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from eth_utils.crypto import keccak

from opml.chain import abi
from opml.chain.adapter import Chain, Contract, Log, Receipt, Revert, Signer
from opml.chain.decode import (
    address_bytes,
    address_text,
    cursor_values,
    docket_of,
    game_event_of,
    game_of,
    key_values,
    terms_of,
    tokens_bytes,
)
from opml.chain.deployment import Deployment
from opml.chain.records import claims_of, requests_of
from opml.dispute import gateway as seam
from opml.dispute import moves as m
from opml.dispute.types import Claim, Docket, GameKey, Request, Terms
from opml.errors import ChainError, InputError

_REORG_DEPTH = 64  # blocks that are read again on every look


@dataclass(frozen=True, slots=True)
class Order:
    """What a requester chooses; amounts in wei, `deadline` in seconds, `callback` an address or zeros."""

    nonce: int
    model_id: bytes
    params: int
    max_output: int
    deadline: int
    callback: bytes = bytes(20)
    callback_gas: int = 0
    fee: int = 0

    def values(self) -> tuple[object, ...]:
        """The fields in the order of the ABI struct."""
        return (
            self.nonce,
            self.model_id,
            self.params,
            self.max_output,
            self.deadline,
            self.callback,
            self.callback_gas,
            self.fee,
        )


class LogBook:
    """A contract's logs, oldest first. Blocks deeper than any re-org are read once."""

    def __init__(self, chain: Chain, contract: Contract, first: int) -> None:
        self._chain = chain
        self._contract = contract
        self._settled: list[Log] = []
        self._next = first
        self._first = first

    def all(self, head: int | None = None) -> list[Log]:
        """Every log up to a block, the latest where None."""
        if head is None:
            head = self._chain.block_number()
        if head < self._next - 1:  # the chain went back further than any re-org: a local chain was reset
            self._settled, self._next = [], self._first
        fresh = self._chain.events(self._contract, from_block=self._next, to_block=head)
        logs = self._settled + fresh
        deep = head - _REORG_DEPTH
        if deep >= self._next:
            self._settled = [log for log in logs if log.block <= deep]
            self._next = deep + 1
        return logs


class ChainGateway:
    """A chain with our contracts, seen and used by one account. Without a signer it only reads.

    With `model_id` it shows the requests of that model alone, and so keeps players to what they can compute.
    `on_receipt` is told the function's name and the receipt of every transaction that was mined.
    """

    def __init__(
        self,
        chain: Chain,
        deployment: Deployment,
        signer: Signer | None = None,
        *,
        model_id: bytes | None = None,
        on_receipt: Callable[[str, Receipt], None] = lambda fn, receipt: None,
    ) -> None:
        deployment.check(chain)
        self._model_id = model_id
        self._on_receipt = on_receipt
        self.chain = chain
        self.deployment = deployment
        self._signer = signer
        self._registry = deployment.contract("ModelRegistry")
        self._oracle = deployment.contract("OpmlOracle")
        self._game = deployment.contract("DisputeGame")
        self._oracle_logs = LogBook(chain, self._oracle, deployment.block)
        self._game_logs = LogBook(chain, self._game, deployment.block)

    # Who and where

    @property
    def signer(self) -> Signer:
        """Who signs; `InputError` when this gateway only reads."""
        if self._signer is None:
            raise InputError(
                "this needs a key: pass --account NAME, --keystore FILE or --private-key-env VAR"
            )
        return self._signer

    @property
    def account(self) -> bytes:
        return address_bytes(self.signer.address)

    @property
    def chain_id(self) -> int:
        return self.chain.chain_id

    @property
    def oracle(self) -> bytes:
        return address_bytes(self._oracle.address)

    def now(self) -> tuple[int, int]:
        number, timestamp = self.chain.pending()
        return timestamp, number

    # What the chain holds

    def terms(self) -> Terms:
        return terms_of(self.chain.call(self._game, "terms"))

    def submitter_bond(self, model_id: bytes, answer_bytes: int) -> int:
        return int(self.chain.call(self._game, "submitterBond", [model_id, answer_bytes]))

    def challenger_bond(self, model_id: bytes) -> int:
        return int(self.chain.call(self._game, "challengerBond", [model_id]))

    def model(self, model_id: bytes) -> Mapping[str, Any]:
        """`IModelRegistry.Model` by field; `Revert` with `UnknownModel` when nobody registered it."""
        found: Mapping[str, Any] = self.chain.call(self._registry, "model", [model_id])
        return found

    def requests(self) -> list[seam.RequestRecord]:
        return requests_of(self._oracle_logs.all(), self._model_id)

    def request_by_id(self, request_id: bytes) -> seam.RequestRecord:
        """One request, of any model; `InputError` when the oracle has none of this id."""
        for record in requests_of(self._oracle_logs.all()):
            if record.id == request_id:
                return record
        raise InputError(f"the oracle has no request 0x{request_id.hex()}: list them with `opml claims`")

    def claims(self) -> list[seam.ClaimRecord]:
        return claims_of(self._oracle_logs.all())

    def games(self, claim_id: bytes) -> list[seam.GameRecord]:
        # Events and states of one block: a move between the two questions must not show in one alone.
        head = self.chain.block_number()
        events: dict[bytes, list[m.GameEvent]] = {}
        keys: dict[bytes, GameKey] = {}
        for log in self._game_logs.all(head):
            event = game_event_of(log)
            if isinstance(event, m.Opened) and event.claim_id == claim_id:
                keys[event.game_id] = GameKey(event.claim_id, event.challenger, event.salt)
            if event is not None and event.game_id in keys:
                events.setdefault(event.game_id, []).append(event)
        return [
            game_of(key, self.chain.call(self._game, "game", [game_id], block=head), events[game_id])
            for game_id, key in keys.items()
        ]

    def docket(self, claim_id: bytes) -> Docket:
        return docket_of(self.chain.call(self._game, "docket", [claim_id]))

    def owed(self) -> int:
        return sum(self._owed(contract) for contract in (self._oracle, self._game))

    def _owed(self, contract: Contract) -> int:
        return int(self.chain.call(contract, "owed", [self.signer.address]))

    def answer_of(self, request_id: bytes) -> tuple[bytes, bytes] | None:
        """Hash of the final answer and root of its tokens; None while there is none."""
        answered, answer_hash, output_root = self.chain.call(self._oracle, "answerOf", [request_id])
        return (answer_hash, output_root) if answered else None

    # Registering and asking

    def register_model(
        self,
        program: bytes,
        weights_root: bytes,
        vocabulary_root: bytes,
        vocabulary_size: int,
        end_tokens: Sequence[int],
        uri: str = "",
    ) -> tuple[bytes, list[Receipt]]:
        """Publish, validate and register a model, leaving out what is on chain already; gives its id."""
        program_hash = bytes(keccak(program))
        receipts = []
        if int(self.chain.call(self._registry, "programOf", [program_hash]), 16) == 0:
            receipts.append(self._send(self._registry, "publish", [program]))
        validated, entries = self.chain.call(self._registry, "validation", [program_hash])
        step = entries - validated
        while validated < entries:
            try:
                receipts.append(self._send(self._registry, "validate", [program_hash, step]))
            except ChainError as error:
                # Too much for one transaction; nodes say so in many ways.
                if step == 1 or (isinstance(error, Revert) and error.error != "OutOfGas"):
                    raise
                step = (step + 1) // 2
                continue
            validated, entries = self.chain.call(self._registry, "validation", [program_hash])
        arguments = [program_hash, weights_root, vocabulary_root, vocabulary_size, list(end_tokens), uri]
        model_id: bytes = self.chain.call(self._registry, "register", arguments)
        try:
            self.model(model_id)
        except Revert as missing:
            if missing.error != "UnknownModel":
                raise
            receipts.append(self._send(self._registry, "register", arguments))
        return model_id, receipts

    def price(self, order: Order) -> int:
        """What `request` costs in wei."""
        return int(self.chain.call(self._oracle, "price", [order.values()]))

    def request(self, order: Order, prompt: Sequence[int]) -> tuple[seam.RequestRecord, Receipt]:
        """Ask, paying the price."""
        receipt = self._send(
            self._oracle, "request", [order.values(), tokens_bytes(prompt)], value=self.price(order)
        )
        (record,) = requests_of([receipt.event("Requested")])
        return record, receipt

    def refund(self, request: Request) -> seam.Receipt:
        """Take an unanswered request's value back after its deadline."""
        return _plain(self._send(self._oracle, "refund", [request.values()]))

    # Claims

    def submit(
        self,
        request: Request,
        operator: bytes,
        commitment: bytes,
        output: Sequence[int],
        answer: bytes,
        lengths: bytes,
    ) -> tuple[bytes, seam.Receipt]:
        arguments = [request.values(), operator, commitment, tokens_bytes(output), answer, lengths]
        bond = self.submitter_bond(request.model_id, len(answer) + len(lengths))
        receipt = self._send(self._oracle, "submit", arguments, value=bond)
        return receipt.event("Claimed").args["claimId"], _plain(receipt)

    def finalise(self, request: Request, claim: Claim) -> seam.Receipt:
        return _plain(self._send(self._oracle, "finalise", [request.values(), claim.values()]))

    def deliver(self, request: Request, answer: bytes) -> seam.Receipt:
        return _plain(self._send(self._oracle, "deliver", [request.values(), answer]))

    def collect_fee(self, request: Request) -> seam.Receipt:
        request_id = request.id(self.chain_id, self.oracle)
        state = self.chain.call(self._oracle, "requestState", [request_id])
        # Logs come in the order of posting, which is the order of the claims' numbers.
        posted = [record for record in self.claims() if record.claim.request_id == request_id]
        decided = []
        for record in posted[state["feeCursor"] :]:
            if record.status == seam.ClaimStatus.PENDING:
                break
            decided.append(record.claim.values())
        return _plain(self._send(self._oracle, "collectFee", [request.values(), decided]))

    def withdraw(self) -> list[seam.Receipt]:
        return [
            _plain(self._send(contract, "withdraw", [self.signer.address]))
            for contract in (self._oracle, self._game)
            if self._owed(contract)
        ]

    # Games

    def open(self, request: Request, claim: Claim, move: m.Opening) -> seam.Receipt:
        bond = self.challenger_bond(request.model_id)
        if isinstance(move, m.Open):
            arguments: list[Any] = [claim.values(), request.values(), move.salt]
            receipt = self._send(self._game, "open", arguments, value=bond)
        else:
            arguments = [
                claim.values(),
                request.values(),
                move.salt,
                move.trace_root,
                cursor_values(move.cursor),
                move.node,
                list(move.siblings),
            ]
            receipt = self._send(self._game, "openAt", arguments, value=bond)
        return _plain(receipt, receipt.event("Opened").args["gameId"])

    def play(self, request: Request, claim: Claim, key: GameKey, move: m.GameMove) -> seam.Receipt:
        function, arguments = call_of(request, claim, key, move)
        return _plain(self._send(self._game, function, arguments), key.id)

    def digest(self, request: Request, claim: Claim, key: GameKey, proof: m.Proof) -> bytes:
        function, arguments = call_of(request, claim, key, proof)
        calldata = abi.encode_call(self._game.artifact, function, arguments)
        return bytes(keccak(calldata + self.account))

    def _send(self, contract: Contract, fn: str, args: Sequence[Any], value: int = 0) -> Receipt:
        try:
            receipt = self.chain.transact(contract, fn, args, sender=self.signer, value=value)
        except Revert as refusal:
            if refusal.receipt is not None:
                self._on_receipt(fn, refusal.receipt)
            raise
        self._on_receipt(fn, receipt)
        return receipt


def call_of(request: Request, claim: Claim, key: GameKey, move: m.GameMove) -> tuple[str, list[Any]]:
    """The function of `IDisputeGame` that a move is, with its arguments."""
    game = key_values(key)
    match move:
        case m.RevealRoot(trace_root, children):
            return "revealRoot", [game, claim.values(), trace_root, list(children)]
        case m.Reveal(children):
            return "reveal", [game, list(children)]
        case m.Pick(i, child, siblings):
            return "pick", [game, i, child, list(siblings)]
        case m.Leaf(data):
            return "leaf", [game, data]
        case m.Element():
            return "element", [game, element_values(move)]
        case m.Totals(states):
            return "totals", [game, claim.values(), states]
        case m.PickTotal(j, before, states):
            return "pickTotal", [game, j, before, states]
        case m.Announce(digest):
            return "announce", [game, digest]
        case m.Step(trace_root, witness, named):
            named_values = element_values(named)
            return "step", [game, claim.values(), request.values(), trace_root, named_values, witness]
        case m.TokenProof(trace_root, j, witness):
            return "tokenProof", [game, claim.values(), request.values(), trace_root, j, witness]
        case m.PieceProof(j, answer, lengths, witness):
            return "pieceProof", [game, claim.values(), request.values(), j, answer, lengths, witness]
        case m.Timeout():
            return "timeout", [game, claim.values()]
        case m.Release():
            return "release", [game]


def element_values(named: m.Element) -> tuple[object, ...]:
    """A named element in the order of the ABI struct."""
    return (named.i, named.data, list(named.siblings))


def _plain(receipt: Receipt, game_id: bytes = b"") -> seam.Receipt:
    return seam.Receipt(receipt.gas_used, receipt.cost, receipt.block, receipt.tx_hash, game_id)


__all__ = ["ChainGateway", "LogBook", "Order", "address_text", "call_of"]
