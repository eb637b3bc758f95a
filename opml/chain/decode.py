"""Events and structs of the contracts as the dataclasses of `opml.dispute`, and back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from eth_utils.address import to_checksum_address

from opml.chain.adapter import Log
from opml.dispute import moves as m
from opml.dispute.gateway import GameRecord
from opml.dispute.state import GameState
from opml.dispute.types import Claim, Docket, GameKey, Phase, Request, Terms
from opml.vm.trace import Cursor, Stage

Args = Mapping[str, Any]


def address_bytes(address: str) -> bytes:
    """20 bytes of a hex address."""
    return bytes.fromhex(address.removeprefix("0x"))


def address_text(address: bytes) -> str:
    """Checksummed hex of 20 bytes."""
    return str(to_checksum_address(address))


def tokens_of(data: bytes) -> tuple[int, ...]:
    """Token ids from the chain's form, u32 little-endian each."""
    return tuple(int.from_bytes(data[i : i + 4], "little") for i in range(0, len(data), 4))


def tokens_bytes(tokens: Sequence[int]) -> bytes:
    """Token ids as the chain takes them, u32 little-endian each."""
    return b"".join(token.to_bytes(4, "little") for token in tokens)


def request_of(struct: Args) -> Request:
    """`IOpmlOracle.Request`."""
    return Request(
        requester=address_bytes(struct["requester"]),
        nonce=struct["nonce"],
        model_id=struct["modelId"],
        prompt_root=struct["promptRoot"],
        prompt_length=struct["promptLength"],
        params=struct["params"],
        max_output=struct["maxOutput"],
        deadline=struct["deadline"],
        callback=address_bytes(struct["callback"]),
        callback_gas=struct["callbackGas"],
        fee=struct["fee"],
    )


def claim_of(struct: Args) -> Claim:
    """`IOpmlOracle.Claim`."""
    return Claim(
        request_id=struct["requestId"],
        submitter=address_bytes(struct["submitter"]),
        operator=address_bytes(struct["operator"]),
        commitment=struct["commitment"],
        output_root=struct["outputRoot"],
        output_length=struct["outputLength"],
        answer_hash=struct["answerHash"],
        lengths_hash=struct["lengthsHash"],
        posted_at=struct["postedAt"],
    )


def cursor_of(struct: Args) -> Cursor:
    """`IDisputeGame.Cursor`."""
    return Cursor(
        Stage(struct["stage"]), struct["height"], struct["index"], struct["position"], struct["ordinal"]
    )


def cursor_values(cursor: Cursor) -> tuple[int, ...]:
    """A cursor in the order of the ABI struct."""
    return (int(cursor.stage), cursor.height, cursor.index, cursor.t, cursor.ordinal)


def terms_of(struct: Args) -> Terms:
    """`IDisputeGame.Terms`."""
    return Terms(
        window=struct["window"],
        submitter_clock=struct["submitterClock"],
        challenger_clock=struct["challengerClock"],
        fanout=struct["fanout"],
        challengers=struct["challengers"],
        ceiling=struct["ceiling"],
        incentive=struct["incentive"],
        margin=struct["margin"],
    )


def terms_values(terms: Terms) -> tuple[int, ...]:
    """Terms in the order of the ABI struct."""
    return (
        terms.window,
        terms.submitter_clock,
        terms.challenger_clock,
        terms.fanout,
        terms.challengers,
        terms.ceiling,
        terms.incentive,
        terms.margin,
    )


def docket_of(struct: Args) -> Docket:
    """`IDisputeGame.Docket`."""
    return Docket(
        pot=struct["pot"],
        escrow=struct["escrow"],
        open_games=struct["openGames"],
        rejected_at=struct["rejectedAt"],
        winner=address_bytes(struct["winner"]),
    )


def game_of(key: GameKey, struct: Args, events: Sequence[m.GameEvent]) -> GameRecord:
    """`IDisputeGame.Game` with the game's events."""
    return GameRecord(
        key=key,
        state=GameState(
            phase=Phase(struct["phase"]),
            stage=Stage(struct["stage"]),
            height=struct["height"],
            index=struct["index"],
            leaves=struct["leaves"],
            position=struct["position"],
            ordinal=struct["ordinal"],
            used_submitter=struct["usedSubmitter"],
            used_challenger=struct["usedChallenger"],
            moved_at=struct["movedAt"],
            due=struct["due"],
            word=struct["word"],
            charged=struct["charged"],
            announced_at=struct["announcedAt"],
            announcement=struct["announcement"],
        ),
        events=tuple(events),
    )


def key_values(key: GameKey) -> tuple[object, ...]:
    """A game's key in the order of the ABI struct."""
    return (key.claim_id, key.challenger, key.salt)


_EVENTS: dict[str, Callable[[Args], m.GameEvent]] = {
    "Opened": lambda a: m.Opened(
        game_id=a["gameId"],
        claim_id=a["claimId"],
        challenger=address_bytes(a["challenger"]),
        salt=a["salt"],
        trace_root=a["traceRoot"],
        cursor=cursor_of(a["cursor"]),
        node=a["node"],
    ),
    "RootRevealed": lambda a: m.RootRevealed(a["gameId"], a["traceRoot"]),
    "Revealed": lambda a: m.Revealed(a["gameId"], tuple(a["children"])),
    "Picked": lambda a: m.Picked(a["gameId"], a["i"], a["child"]),
    "LeafRevealed": lambda a: m.LeafRevealed(a["gameId"], a["data"]),
    "ElementNamed": lambda a: m.ElementNamed(a["gameId"], a["element"], a["bits"]),
    "TotalsPosted": lambda a: m.TotalsPosted(a["gameId"], a["round"], a["states"]),
    "TotalPicked": lambda a: m.TotalPicked(a["gameId"], a["round"], a["j"]),
    "Announced": lambda a: m.Announced(a["gameId"], a["digest"]),
    "GameWon": lambda a: m.GameWon(
        a["gameId"], a["claimId"], m.Reason(a["reason"]), a["computed"], a["claimed"]
    ),
    "GameLost": lambda a: m.GameLost(a["gameId"], a["claimId"]),
    "GameReleased": lambda a: m.GameReleased(a["gameId"], a["claimId"]),
}


def game_event_of(log: Log) -> m.GameEvent | None:
    """A log of the game contract as an event; None for what isn't about one game (credits, withdrawals)."""
    make = _EVENTS.get(log.event)
    return make(log.args) if make else None


__all__ = [
    "address_bytes",
    "address_text",
    "claim_of",
    "cursor_of",
    "cursor_values",
    "docket_of",
    "game_event_of",
    "game_of",
    "key_values",
    "request_of",
    "terms_of",
    "terms_values",
    "tokens_bytes",
    "tokens_of",
]
