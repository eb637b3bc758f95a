"""A game as the contract stores it, and what every move starts from: twin of `contracts/GameCore.sol`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from opml.dispute import errors, ledger
from opml.dispute.cursor import Shapes
from opml.dispute.moves import GameEvent, Proof
from opml.dispute.totals import Dissection
from opml.dispute.types import (
    SUBMITTER_PHASES,
    ZERO32,
    Claim,
    Docket,
    GameKey,
    Phase,
    Request,
    Terms,
    commitment_of,
)
from opml.dispute.verifier import Judge
from opml.vm.trace import Cursor, Stage


@dataclass(frozen=True)
class Rules:
    """What all games against one claim share and never changes.

    `digest` is `keccak256(calldata ‖ sender)` of a proof in a game, sent by the game's challenger.
    """

    terms: Terms
    sizes: ledger.Sizes
    shapes: Shapes
    request: Request
    claim: Claim
    claim_id: bytes
    judge: Judge
    digest: Callable[[GameKey, Proof], bytes]
    step_gas: Callable[[int], int]
    """Gas of the costliest step of a committed slot, by ordinal."""
    answer_bytes: int = 0
    """Bytes of answer and lengths together."""

    def check_trace_root(self, trace_root: bytes) -> None:
        """The trace root is the one committed to."""
        claim = self.claim
        actual = commitment_of(trace_root, claim.submitter, claim.request_id)
        if actual != claim.commitment:
            raise errors.WrongTraceRoot(claim.commitment, actual)

    def cuts(self, game: GameState) -> Dissection:
        """The dissection of the element that a game is about."""
        return Dissection.of(self.shapes.slot(game.ordinal).instr, game.position)

    @property
    def submitter_bond(self) -> int:
        """The submitter's bond in wei."""
        return ledger.submitter_bond(self.sizes, self.terms, self.answer_bytes)

    @property
    def bond(self) -> int:
        """The challenger's bond in wei."""
        return ledger.challenger_bond(self.sizes, self.terms)


@dataclass(frozen=True, slots=True)
class Call:
    """Who moves, and the block: timestamp, number and base fee in wei; `value` in wei is sent along."""

    sender: bytes
    now: int
    block: int
    base_fee: int = 0
    value: int = 0


@dataclass(frozen=True, slots=True)
class GameState:
    """`IDisputeGame.Game`, field by field.

    `height` is, in TOTALS and TOTAL_PICK, the round, in STEP the mode of the step; `index` from TOTALS on the
    flat number of the element; `leaves` those of the tree in hand that are not padding. `word` is the node
    (zero: not known yet), in TOTALS what the states are held against, in TOTAL_PICK its hash with them, in
    STEP the target.
    """

    phase: Phase = Phase.NONE
    stage: Stage = Stage.TRACE
    height: int = 0
    index: int = 0
    leaves: int = 0
    position: int = 0
    ordinal: int = 0
    used_submitter: int = 0
    used_challenger: int = 0
    moved_at: int = 0
    due: int = 0
    word: bytes = ZERO32
    charged: int = 0
    announced_at: int = 0
    announcement: int = 0

    @property
    def cursor(self) -> Cursor:
        """Where the game stands, before TOTALS."""
        return Cursor(self.stage, self.height, self.index, self.position, self.ordinal)

    @property
    def is_open(self) -> bool:
        return Phase.NONE < self.phase < Phase.WON

    @property
    def submitters_turn(self) -> bool:
        """Whether the submitter's clock runs."""
        return self.phase in SUBMITTER_PHASES

    def used(self, now: int) -> int:
        """Seconds that the side to move has used until now."""
        earlier = self.used_submitter if self.submitters_turn else self.used_challenger
        return earlier + now - self.moved_at

    def at(self, cursor: Cursor) -> GameState:
        """The game at another place."""
        return replace(
            self,
            stage=cursor.stage,
            height=cursor.height,
            index=cursor.index,
            position=cursor.t,
            ordinal=cursor.ordinal,
        )


def clock_of(game: GameState, terms: Terms) -> int:
    """Seconds that the side to move may use."""
    return terms.submitter_clock if game.submitters_turn else terms.challenger_clock


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a move does: the game, the docket, events, credits (account, wei), whether the claim is
    rejected."""

    game: GameState
    docket: Docket
    events: tuple[GameEvent, ...] = ()
    credits: tuple[tuple[bytes, int], ...] = ()
    rejects: bool = field(default=False)


# Entering a move ---------------------------------------------------------------------------------------


def enter(rules: Rules, game: GameState, docket: Docket, expected: Phase) -> None:
    """A move belongs to a phase of a game against a claim that still stands."""
    # INVARIANT: verdict before everything: a decided game or claim admits no move.
    if game.phase != expected:
        raise errors.WrongPhase(expected, game.phase)
    if docket.rejected_at:
        raise errors.ClaimRejectedAlready(rules.claim_id)


def submitter_moves(rules: Rules, game: GameState, call: Call) -> GameState:
    """The submitter's move, whoever posts it."""
    return replace(game, used_submitter=_spend(rules, game, call), moved_at=call.now)


def challenger_moves(rules: Rules, key: GameKey, game: GameState, call: Call) -> GameState:
    """The challenger's own move."""
    # INVARIANT: nobody moves for a challenger: a wrong pick loses a game.
    if call.sender != key.challenger:
        raise errors.NotTheChallenger(key.challenger, call.sender)
    return replace(game, used_challenger=_spend(rules, game, call), moved_at=call.now)


def _spend(rules: Rules, game: GameState, call: Call) -> int:
    """INVARIANT: a move counts iff elapsed <= clock, a time-out iff elapsed > clock."""
    used, clock = game.used(call.now), clock_of(game, rules.terms)
    if used > clock:
        raise errors.ClockExpired(used, clock)
    return used


# Charges -----------------------------------------------------------------------------------------------


def repay(rules: Rules, game: GameState, docket: Docket, gas: int, call: Call) -> tuple[GameState, Docket]:
    """A challenger's gas is added to its due as far as the pot goes: first spent, first repaid."""
    price = ledger.price(call.base_fee, rules.terms.ceiling)
    due, pot = ledger.repaid(game.due, docket.pot, gas, price)
    return replace(game, due=due), replace(docket, pot=pot)


def charge(rules: Rules, game: GameState, gas: int, call: Call) -> GameState:
    """What the submitter's side posts is held against the challenger's bond until the game's end."""
    units = -(-gas * ledger.price(call.base_fee, rules.terms.ceiling) // ledger.DUE_UNIT)
    return replace(game, charged=min(game.charged + units, ledger.MOST_DUE))
