"""Claims and games as rows of a list: what an operator wants to see at a glance."""

from __future__ import annotations

from dataclasses import dataclass

from opml.chain.decode import address_text
from opml.chain.gateway import ChainGateway
from opml.dispute.gateway import ClaimStatus, GameRecord, RequestStatus
from opml.dispute.state import GameState, clock_of
from opml.dispute.types import Phase, Terms
from opml.vm.trace import Stage


@dataclass(frozen=True, slots=True)
class ClaimRow:
    """A claim, or a request without one (`claim_id` empty). Times in seconds; `final_in` counts from now."""

    request_id: bytes
    request_status: RequestStatus
    prompt_tokens: int
    fee: int
    claim_id: bytes
    submitter: str
    status: ClaimStatus
    final_in: int
    open_games: int
    answer: bytes

    def cells(self) -> tuple[str, ...]:
        """One line of a table."""
        request = (_short(self.request_id), f"{self.prompt_tokens} tokens")
        if not self.claim_id:
            return (*request, "none", self.request_status.name.lower(), "", "", "")
        wait = f"{self.final_in} s" if self.status == ClaimStatus.PENDING else ""
        text = self.answer.decode("utf-8", "replace")
        shown = text if len(text) <= 60 else text[:59] + "…"
        return (
            *request,
            f"{_short(self.claim_id)} by {self.submitter[:10]}",
            self.status.name.lower(),
            wait,
            str(self.open_games),
            repr(shown),
        )


@dataclass(frozen=True, slots=True)
class GameRow:
    """A game. `clock_left` in seconds of the side to move, negative when it ran out; `where` in words."""

    game_id: bytes
    claim_id: bytes
    challenger: str
    phase: Phase
    to_move: str
    clock_left: int
    moves: int
    where: str

    def cells(self) -> tuple[str, ...]:
        """One line of a table."""
        return (
            _short(self.game_id),
            _short(self.claim_id),
            self.challenger[:10],
            self.phase.name.lower(),
            self.to_move,
            f"{self.clock_left} s" if self.to_move else "",
            str(self.moves),
            self.where,
        )


def claim_rows(gateway: ChainGateway) -> list[ClaimRow]:
    """Every request with its claims, oldest request first."""
    terms = gateway.terms()
    now, _ = gateway.now()
    claims = gateway.claims()
    rows = []
    for request in gateway.requests():
        common = (request.id, request.status, request.request.prompt_length, request.request.fee)
        mine = [record for record in claims if record.claim.request_id == request.id]
        if not mine:
            rows.append(ClaimRow(*common, b"", "", ClaimStatus.UNKNOWN, 0, 0, b""))
        for record in mine:
            rows.append(
                ClaimRow(
                    *common,
                    claim_id=record.id,
                    submitter=address_text(record.claim.submitter),
                    status=record.status,
                    final_in=max(0, record.claim.posted_at + terms.window - now),
                    open_games=gateway.docket(record.id).open_games,
                    answer=record.answer,
                )
            )
    return rows


def game_rows(gateway: ChainGateway, claim_id: bytes | None = None) -> list[GameRow]:
    """Every game against one claim, or against all."""
    terms = gateway.terms()
    now, _ = gateway.now()
    claims = [claim_id] if claim_id else [record.id for record in gateway.claims()]
    return [_game_row(game, terms, now) for one in claims for game in gateway.games(one)]


def _game_row(game: GameRecord, terms: Terms, now: int) -> GameRow:
    state = game.state
    to_move, left = "", 0
    if state.is_open:
        to_move = "submitter" if state.submitters_turn else "challenger"
        left = clock_of(state, terms) - state.used(now)
    return GameRow(
        game_id=game.key.id,
        claim_id=game.key.claim_id,
        challenger=address_text(game.key.challenger),
        phase=state.phase,
        to_move=to_move,
        clock_left=left,
        moves=len(game.events),
        where=where_of(state),
    )


def where_of(state: GameState) -> str:
    """How far a game has come down, in words."""
    if state.phase in (Phase.TOTALS, Phase.TOTAL_PICK, Phase.STEP):
        return f"position {state.position}, slot {state.ordinal}, element {state.index}"
    if state.stage == Stage.TRACE:
        return f"{state.height} levels above the positions"
    if state.stage == Stage.POSITION:
        return f"position {state.position}, {state.height} levels above its slots"
    return f"position {state.position}, slot {state.ordinal}, {state.height} levels above its leaves"


def _short(digest: bytes) -> str:
    return f"0x{digest[:4].hex()}…"


__all__ = ["ClaimRow", "GameRow", "claim_rows", "game_rows", "where_of"]
