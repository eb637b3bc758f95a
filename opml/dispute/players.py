"""Players: the loops that look at a chain, decide by a strategy, and act. All they need is on chain.

challenger = Challenger(gateway, own_of)
while not done:
    challenger.act()        # one pass over all claims; gives how many transactions it sent
    sleep(...)
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from opml.dispute.cursor import Shapes
from opml.dispute.describe import move_text
from opml.dispute.gateway import (
    ClaimRecord,
    ClaimStatus,
    DeliveryStatus,
    GameRecord,
    Gateway,
    Receipt,
    RequestRecord,
    RequestStatus,
)
from opml.dispute.history import History, Known, is_told, retell
from opml.dispute.moves import GameMove, Move, Proof
from opml.dispute.own import Own
from opml.dispute.state import GameState
from opml.dispute.strategy import (
    View,
    challenger_move,
    closing_move,
    objection,
    opening,
    submitter_move,
)
from opml.dispute.types import Terms, commitment_of, lengths_of
from opml.errors import ChainError, InputError

OwnOf = Callable[[RequestRecord, ClaimRecord], Own]
"""Recomputes a claim; dear, so players keep what it gives."""
MOST_TRACES = 4
"""Computations that a player keeps: each holds the keys and values of its whole sequence."""
Strategy = Callable[[View, Own], GameMove | None]
MOST_GAMES = 3
"""Games that one challenger opens against a claim, should it lose some by being offline."""


@dataclass(frozen=True)
class Progress:
    """What a player has just done. `game` is the state before the move (None outside games); `refused` says
    why a transaction was not accepted (None where it was)."""

    who: str
    account: bytes
    claim_id: bytes
    text: str
    move: Move | None = None
    game: GameState | None = None
    game_id: bytes = b""
    receipt: Receipt | None = None
    now: int = 0
    terms: Terms | None = None
    refused: str | None = None


Watch = Callable[[Progress], None]


@dataclass(frozen=True)
class Answer:
    """An answer to a request: output tokens, the piece of each, the trace behind it."""

    output: tuple[int, ...]
    pieces: tuple[bytes, ...]
    own: Own

    @property
    def text(self) -> bytes:
        return b"".join(self.pieces)


class LogsLag(ChainError):
    """A node gives the state of a game, but not all of the logs that led to it."""


class Player(ABC):
    """What submitters and challengers share: looking, sending, telling."""

    role = "player"

    def __init__(self, gateway: Gateway, own_of: OwnOf, watch: Watch | None = None) -> None:
        self.gateway = gateway
        self._own_of = own_of
        self._watch = watch or (lambda progress: None)
        self._owns: dict[bytes, Own] = {}  # the latest last
        self.refused = 0  # transactions, so far

    @abstractmethod
    def act(self) -> int:
        """One pass over everything; how many transactions were sent."""

    def own(self, request: RequestRecord, posted: ClaimRecord) -> Own:
        """This player's computation over a claim's tokens; made again where it was needed long ago."""
        own = self._owns.pop(posted.id, None) or self._own_of(request, posted)
        self._keep(posted.id, own)
        return own

    def _keep(self, claim_id: bytes, own: Own) -> None:
        self._owns[claim_id] = own
        while len(self._owns) > MOST_TRACES:
            del self._owns[next(iter(self._owns))]

    def look(
        self, request: RequestRecord, posted: ClaimRecord, shapes: Shapes
    ) -> tuple[Known, list[tuple[GameRecord, View]]]:
        """All games against a claim as this player sees them, and what they have revealed together.

        Raises `LogsLag`: the next look finds them.
        """
        gateway, terms, known = self.gateway, self.gateway.terms(), Known()
        records = gateway.games(posted.id)
        stories = [retell(shapes, terms.fanout, record.events, known) for record in records]
        for record, story in zip(records, stories, strict=True):
            if not is_told(story, record.state):
                raise LogsLag(
                    f"game 0x{record.key.id.hex()}: the node has its state but not all of its logs yet"
                )
        rejected = bool(gateway.docket(posted.id).rejected_at)
        now, block = gateway.now()
        return known, [
            (record, self._view(request, posted, record, story, known, terms, now, block, rejected))
            for record, story in zip(records, stories, strict=True)
        ]

    def _view(
        self,
        request: RequestRecord,
        posted: ClaimRecord,
        record: GameRecord,
        story: History,
        known: Known,
        terms: Terms,
        now: int,
        block: int,
        rejected: bool,
    ) -> View:
        def digest(proof: Proof) -> bytes:
            return self.gateway.digest(request.request, posted.claim, record.key, proof)

        return View(
            terms=terms,
            posted=posted,
            key=record.key,
            game=record.state,
            story=story,
            known=known,
            account=self.gateway.account,
            now=now,
            block=block,
            rejected=rejected,
            digest=digest,
        )

    def play(self, request: RequestRecord, view: View, shapes: Shapes, move: GameMove) -> int:
        """Send a move; 1 if it was accepted."""
        text = move_text(shapes, view.terms.fanout, view.game, move)
        return self.send(
            lambda: self.gateway.play(request.request, view.posted.claim, view.key, move),
            view.posted.id,
            text,
            move,
            view,
        )

    def send(
        self,
        transaction: Callable[[], Receipt],
        claim_id: bytes,
        text: str,
        move: Move | None = None,
        view: View | None = None,
    ) -> int:
        """Send a transaction and tell of it; 1 if it was accepted. A refusal is told, not raised: somebody
        may have been faster, and the next look decides anew."""
        game = view.game if view else None
        game_id = view.key.id if view else b""
        refused, receipt = None, None
        try:
            receipt = transaction()
        except (ChainError, InputError) as error:
            refused = str(error)
            self.refused += 1
        self._watch(
            Progress(
                self.role,
                self.gateway.account,
                claim_id,
                text,
                move,
                game,
                game_id or (receipt.game_id if receipt else b""),
                receipt,
                self.gateway.now()[0],
                view.terms if view else None,
                refused,
            )
        )
        return int(refused is None)

    def apart(self, posted: ClaimRecord, act: Callable[[], int]) -> int:
        """What `act` sends about a claim; a lag there is told of and leaves other claims alone."""
        try:
            return act()
        except LogsLag as lag:
            self.refused += 1
            text = "waits for the node's logs"
            self._watch(Progress(self.role, self.gateway.account, posted.id, text, refused=str(lag)))
            return 0

    def withdraw(self) -> int:
        """Pull what is owed to this account."""
        return len(self.gateway.withdraw()) if self.gateway.owed() else 0


class Challenger(Player):
    """Recomputes every claim, challenges wrong ones, plays to the verdict.

    `strategy` is an honest one unless a test says otherwise; `grounds` decides whether to open a game at all.
    """

    role = "challenger"

    def __init__(
        self,
        gateway: Gateway,
        own_of: OwnOf,
        watch: Watch | None = None,
        *,
        strategy: Strategy = challenger_move,
        grounds: Callable[[ClaimRecord, Own], bool] | None = None,
    ) -> None:
        super().__init__(gateway, own_of, watch)
        self.strategy = strategy
        self.grounds = grounds or (lambda posted, own: objection(posted, own) is not None)
        self._hold: set[bytes] = set()  # claims without an objection: nothing is ever to be done about them

    def act(self) -> int:
        requests = {record.id: record for record in self.gateway.requests()}
        sent = 0
        for posted in self.gateway.claims():
            request = requests.get(posted.claim.request_id)
            if request is not None and self._concerned(posted):
                sent += self._try_on(request, posted)
        return sent

    def _try_on(self, request: RequestRecord, posted: ClaimRecord) -> int:
        """`act_on`, where a claim that cannot be recomputed is told of and leaves the others alone."""
        try:
            return self.apart(posted, lambda: self.act_on(request, posted))
        except InputError as error:
            text = "cannot recompute the claim"
            self._watch(Progress(self.role, self.gateway.account, posted.id, text, refused=str(error)))
            return 0

    def _concerned(self, posted: ClaimRecord) -> bool:
        """Whether there may be something to do about a claim."""
        if posted.status == ClaimStatus.PENDING:
            return posted.claim.submitter != self.gateway.account
        return posted.status == ClaimStatus.REJECTED and any(
            record.state.is_open and record.key.challenger == self.gateway.account
            for record in self.gateway.games(posted.id)
        )

    def act_on(self, request: RequestRecord, posted: ClaimRecord) -> int:
        """Whatever is next about one claim."""
        if posted.id in self._hold:
            return 0
        own = self.own(request, posted)
        known, games = self.look(request, posted, own.shapes)
        mine = [view for record, view in games if record.key.challenger == self.gateway.account]
        sent = 0
        attacks = self.grounds(posted, own)
        if not attacks and not mine:
            self._hold.add(posted.id)
            self._owns.pop(posted.id)
            return 0
        if self._may_open(posted, mine) and attacks:
            shown = sum(record.state.is_open for record, _ in games)
            if self.gateway.docket(posted.id).open_games > shown:  # one of them may be this player's
                raise LogsLag(f"claim 0x{posted.id.hex()}: the node has a game but not all of its logs yet")
            move = opening(own, known, len(mine))
            text = move_text(own.shapes, self.gateway.terms().fanout, GameState(), move)
            return self.send(
                lambda: self.gateway.open(request.request, posted.claim, move), posted.id, text, move
            )
        for view in mine:
            move_ = self.strategy(view, own)
            if move_ is not None:
                sent += self.play(request, view, own.shapes, move_)
        return sent

    def _may_open(self, posted: ClaimRecord, mine: Sequence[View]) -> bool:
        now, _ = self.gateway.now()
        return (
            posted.status == ClaimStatus.PENDING
            and now < posted.claim.posted_at + self.gateway.terms().window
            and not any(view.game.is_open for view in mine)
            and len(mine) < MOST_GAMES
        )


class Submitter(Player):
    """Answers requests, defends its claims, finalises them, delivers answers and takes its fees.

    `answer` computes an answer, or None to leave a request alone. A claim is recomputed from its tokens when
    it has to be defended, so that nothing need be kept.
    """

    role = "submitter"

    def __init__(
        self,
        gateway: Gateway,
        own_of: OwnOf,
        answer: Callable[[RequestRecord], Answer | None],
        watch: Watch | None = None,
        *,
        operator: bytes = b"\0" * 20,
        strategy: Strategy = submitter_move,
    ) -> None:
        super().__init__(gateway, own_of, watch)
        self.answer = answer
        self.operator = operator
        self.strategy = strategy
        self._unposted: dict[bytes, Answer] = {}  # by request: the latest that was refused, for the next try

    def act(self) -> int:
        requests = {record.id: record for record in self.gateway.requests()}
        mine = [p for p in self.gateway.claims() if p.claim.submitter == self.gateway.account]
        answered = {posted.claim.request_id for posted in mine}
        sent = 0
        for request in requests.values():
            now, _ = self.gateway.now()
            if (
                request.status == RequestStatus.OPEN
                and request.id not in answered
                and now <= request.request.deadline
            ):
                sent += self.answer_request(request)
        for posted in mine:
            if posted.claim.request_id in requests:
                tend = partial(self.tend, requests[posted.claim.request_id], posted)
                sent += self.apart(posted, tend)
        return sent

    def answer_request(self, request: RequestRecord) -> int:
        """Post a claim for a request."""
        answer = self._unposted.pop(request.id, None) or self.answer(request)
        if answer is None:
            return 0
        own = answer.own
        commitment = commitment_of(own.trace_root, self.gateway.account, request.id)

        def transaction() -> Receipt:
            claim_id, receipt = self.gateway.submit(
                request.request,
                self.operator,
                commitment,
                answer.output,
                answer.text,
                lengths_of(answer.pieces),
            )
            self._keep(claim_id, own)
            return receipt

        sent = self.send(transaction, b"", f"posts a claim of {len(answer.output)} tokens")
        if not sent:
            self._unposted = {request.id: answer}
        return sent

    def tend(self, request: RequestRecord, posted: ClaimRecord) -> int:
        """Defend a claim, finalise it, deliver its answer, collect its fee."""
        if posted.status == ClaimStatus.PENDING:
            return self.defend(request, posted)
        if posted.status != ClaimStatus.FINAL or request.status != RequestStatus.ANSWERED:
            return 0
        sent = 0
        if any(request.request.callback) and request.delivery == DeliveryStatus.NONE:
            sent += self.send(
                lambda: self.gateway.deliver(request.request, posted.answer), posted.id, "delivers the answer"
            )
        if not request.fee_paid and not request.pending:
            sent += self.send(
                lambda: self.gateway.collect_fee(request.request), posted.id, "collects the fee"
            )
        return sent

    def defend(self, request: RequestRecord, posted: ClaimRecord) -> int:
        """Answer every game against a pending claim; finalise it when its time has come."""
        sent = 0
        records = self.gateway.games(posted.id)
        if any(record.state.is_open for record in records):
            own = self.own(request, posted)
            _, games = self.look(request, posted, own.shapes)
            for _, view in games:
                move = self.strategy(view, own)
                if move is not None:
                    sent += self.play(request, view, own.shapes, move)
            return sent
        now, _ = self.gateway.now()
        if now >= posted.claim.posted_at + self.gateway.terms().window:
            sent += self.send(
                lambda: self.gateway.finalise(request.request, posted.claim),
                posted.id,
                "makes the claim final",
            )
        return sent


class Closer(Player):
    """Closes games that have stopped, for the fee that the contract pays for it."""

    role = "closer"

    def act(self) -> int:
        requests = {record.id: record for record in self.gateway.requests()}
        sent = 0
        for posted in self.gateway.claims():
            request = requests.get(posted.claim.request_id)
            if request is None or posted.status != ClaimStatus.PENDING:
                continue
            own = self.own(request, posted)
            for _, view in self.look(request, posted, own.shapes)[1]:
                move = closing_move(view)
                if move is not None:
                    sent += self.play(request, view, own.shapes, move)
        return sent


def run_to_rest(players: Sequence[Player], most: int = 1000) -> int:
    """Let players act in turn until none has anything to do; how many transactions they sent.

    Raises `ChainError` after `most` rounds, which means that two of them never come to an end.
    """
    total = 0
    for _ in range(most):
        sent = sum(player.act() for player in players)
        if not sent:
            return total
        total += sent
    raise ChainError(f"after {most} rounds players are still moving: look at the games with `opml games`")
