"""The seam between players and a chain: what a player reads, and how it acts.

The arena (`opml.dispute.arena`) and the chain adapter implement `Gateway`. Everything a player knows comes
through it, so that a player can be stopped and started again at any moment. A gateway acts for one account.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

from opml.dispute.moves import GameEvent, GameMove, Opening, Proof
from opml.dispute.state import GameState
from opml.dispute.types import Claim, Docket, GameKey, Request, Terms


class RequestStatus(IntEnum):
    """`IOpmlOracle.RequestStatus`."""

    UNKNOWN = 0
    OPEN = 1
    ANSWERED = 2
    REFUNDED = 3


class DeliveryStatus(IntEnum):
    """`IOpmlOracle.DeliveryStatus`."""

    NONE = 0
    DELIVERED = 1
    FAILED = 2


class ClaimStatus(IntEnum):
    """`IOpmlOracle.ClaimStatus`."""

    UNKNOWN = 0
    PENDING = 1
    FINAL = 2
    REJECTED = 3


@dataclass(frozen=True, slots=True)
class RequestRecord:
    """A request as posted, with the prompt's tokens and its state now."""

    id: bytes
    request: Request
    prompt: tuple[int, ...]
    status: RequestStatus
    delivery: DeliveryStatus = DeliveryStatus.NONE
    fee_paid: bool = False
    pending: int = 0


@dataclass(frozen=True, slots=True)
class ClaimRecord:
    """A claim as posted, with the output's tokens, the answer's bytes, their lengths and its state now."""

    id: bytes
    claim: Claim
    output: tuple[int, ...]
    answer: bytes
    lengths: bytes
    status: ClaimStatus


@dataclass(frozen=True, slots=True)
class GameRecord:
    """A game as the chain holds it now, and what it has said so far, oldest first."""

    key: GameKey
    state: GameState
    events: tuple[GameEvent, ...]


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a transaction cost: gas, and wei paid for it (value not counted)."""

    gas: int
    cost: int
    block: int
    tx_hash: bytes
    game_id: bytes = b""


class Gateway(Protocol):
    """A chain with our contracts, seen and used by one account."""

    @property
    def account(self) -> bytes:
        """The address that sends, 20 bytes."""
        ...

    @property
    def chain_id(self) -> int: ...

    @property
    def oracle(self) -> bytes:
        """Address of the oracle, 20 bytes."""
        ...

    def now(self) -> tuple[int, int]:
        """Timestamp and number of the block in which a transaction sent now would be included."""
        ...

    def terms(self) -> Terms: ...

    def submitter_bond(self, model_id: bytes, answer_bytes: int) -> int:
        """Wei that a claim takes whose answer and lengths have so many bytes together."""
        ...

    def challenger_bond(self, model_id: bytes) -> int:
        """Wei that a game takes."""
        ...

    def requests(self) -> Sequence[RequestRecord]:
        """All requests, oldest first."""
        ...

    def claims(self) -> Sequence[ClaimRecord]:
        """All claims, oldest first."""
        ...

    def games(self, claim_id: bytes) -> Sequence[GameRecord]:
        """All games against a claim, oldest first."""
        ...

    def docket(self, claim_id: bytes) -> Docket: ...

    def owed(self) -> int:
        """Wei that the contracts owe to this account."""
        ...

    def submit(
        self,
        request: Request,
        operator: bytes,
        commitment: bytes,
        output: Sequence[int],
        answer: bytes,
        lengths: bytes,
    ) -> tuple[bytes, Receipt]:
        """Post a claim with its bond; gives the claim's id."""
        ...

    def open(self, request: Request, claim: Claim, move: Opening) -> Receipt:
        """Open a game with the challenger's bond; the receipt names it."""
        ...

    def play(self, request: Request, claim: Claim, key: GameKey, move: GameMove) -> Receipt:
        """A move in a game. Raises `ChainError` where the contract refuses."""
        ...

    def digest(self, request: Request, claim: Claim, key: GameKey, proof: Proof) -> bytes:
        """What announces that proof by this account: `keccak256(calldata ‖ sender)`."""
        ...

    def finalise(self, request: Request, claim: Claim) -> Receipt: ...

    def deliver(self, request: Request, answer: bytes) -> Receipt: ...

    def collect_fee(self, request: Request) -> Receipt:
        """Move the request's fee on, over all of its decided claims."""
        ...

    def withdraw(self) -> Sequence[Receipt]:
        """Pull everything that is owed to this account."""
        ...


__all__ = [
    "ClaimRecord",
    "ClaimStatus",
    "DeliveryStatus",
    "Docket",
    "GameKey",
    "GameRecord",
    "Gateway",
    "Receipt",
    "RequestRecord",
    "RequestStatus",
]
