"""Requests, claims and the state of a game, as the chain holds them (docs/spec.md#4.3, docs/spec.md#6).

Addresses are 20 bytes, digests 32; amounts are wei, times are seconds of `block.timestamp`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from opml.vm.keccak import keccak256

ZERO32 = b"\0" * 32
NOBODY = b"\0" * 20
GAME_DOMAIN = keccak256(b"opml.game.1")

REQUEST_TYPES = "address,uint64,bytes32,bytes32,uint32,uint256,uint32,uint64,address,uint32,uint256"
CLAIM_TYPES = "bytes32,address,address,bytes32,bytes32,uint32,bytes32,bytes32,uint64"


class Phase(IntEnum):
    """Phases of a game, in the order of docs/spec.md#6.2; 0 is a game that does not exist."""

    NONE = 0
    REVEAL = 1
    PICK = 2
    LEAF = 3
    ELEMENT = 4
    TOTALS = 5
    TOTAL_PICK = 6
    STEP = 7
    WON = 8
    LOST = 9
    RELEASED = 10


SUBMITTER_PHASES = frozenset({Phase.REVEAL, Phase.LEAF, Phase.TOTALS})
CHALLENGER_PHASES = frozenset({Phase.PICK, Phase.ELEMENT, Phase.TOTAL_PICK, Phase.STEP})


@dataclass(frozen=True, slots=True)
class Terms:
    """Parameters of a deployment (`IDisputeGame.Terms`).

    Seconds of the window and of a side's clock in one game; 2^fanout children a reveal; challengers whose gas
    the pot can repay; the base fee in wei up to which nobody honest loses; wei that a winner gets beyond its
    gas, and that a groundless game costs beyond its gas.
    """

    window: int = 3600
    submitter_clock: int = 3600
    challenger_clock: int = 3600
    fanout: int = 5
    challengers: int = 4
    ceiling: int = 20 * 10**9
    incentive: int = 10**15
    margin: int = 10**15


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked of the oracle; `params` holds eight u32 words, word 0 on top."""

    requester: bytes
    nonce: int
    model_id: bytes
    prompt_root: bytes
    prompt_length: int
    params: int
    max_output: int
    deadline: int
    callback: bytes
    callback_gas: int
    fee: int

    @property
    def param_words(self) -> tuple[int, ...]:
        """The eight parameter words (docs/spec.md#4.3)."""
        return tuple(self.params >> 32 * (7 - i) & 0xFFFFFFFF for i in range(8))

    def values(self) -> tuple[object, ...]:
        """The fields in the order of the ABI struct."""
        return (
            self.requester,
            self.nonce,
            self.model_id,
            self.prompt_root,
            self.prompt_length,
            self.params,
            self.max_output,
            self.deadline,
            self.callback,
            self.callback_gas,
            self.fee,
        )

    def id(self, chain_id: int, oracle: bytes) -> bytes:
        """Digest that names the request on one chain and oracle."""
        return _content_id("opml.request.1", chain_id, oracle, REQUEST_TYPES, self.values())


@dataclass(frozen=True, slots=True)
class Claim:
    """A posted answer, bound to its trace by `commitment`."""

    request_id: bytes
    submitter: bytes
    operator: bytes
    commitment: bytes
    output_root: bytes
    output_length: int
    answer_hash: bytes
    lengths_hash: bytes
    posted_at: int

    def values(self) -> tuple[object, ...]:
        """The fields in the order of the ABI struct."""
        return (
            self.request_id,
            self.submitter,
            self.operator,
            self.commitment,
            self.output_root,
            self.output_length,
            self.answer_hash,
            self.lengths_hash,
            self.posted_at,
        )

    def id(self, chain_id: int, oracle: bytes) -> bytes:
        """Digest that names the claim on one chain and oracle."""
        return _content_id("opml.claim.1", chain_id, oracle, CLAIM_TYPES, self.values())


def _content_id(tag: str, chain_id: int, oracle: bytes, types: str, values: tuple[object, ...]) -> bytes:
    from eth_abi.abi import encode as abi_encode  # takes 0.15 s to load, which `opml run` need not wait for

    struct = f"({types})"
    return keccak256(
        abi_encode(
            ["bytes32", "uint256", "address", struct], [keccak256(tag.encode()), chain_id, oracle, values]
        )
    )


def commitment_of(trace_root: bytes, submitter: bytes, request_id: bytes) -> bytes:
    """What a claim posts of its trace root: nobody else can use it, nobody can read it."""
    return keccak256(trace_root + submitter + request_id)


def game_id_of(claim_id: bytes, challenger: bytes, salt: int) -> bytes:
    """Digest that names a game."""
    return keccak256(GAME_DOMAIN + claim_id + challenger.rjust(32, b"\0") + salt.to_bytes(32, "big"))


def lengths_of(pieces: Sequence[bytes]) -> bytes:
    """A u16, big-endian, for the piece of each output token."""
    return b"".join(len(piece).to_bytes(2, "big") for piece in pieces)


@dataclass(frozen=True, slots=True)
class GameKey:
    """Which game: `gameId` is the hash of these."""

    claim_id: bytes
    challenger: bytes
    salt: int

    @property
    def id(self) -> bytes:
        return game_id_of(self.claim_id, self.challenger, self.salt)


@dataclass(frozen=True, slots=True)
class Docket:
    """What all games against one claim share (`IDisputeGame.Docket`); amounts in wei."""

    pot: int = 0
    escrow: int = 0
    open_games: int = 0
    rejected_at: int = 0
    winner: bytes = NOBODY
