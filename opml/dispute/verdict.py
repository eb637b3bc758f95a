"""Proofs, time-outs, and who gets what: twin of `contracts/GameVerdict.sol`."""

from __future__ import annotations

from dataclasses import replace

from opml.dispute import errors, ledger
from opml.dispute.descent import claimed_of, name_element, target_of
from opml.dispute.moves import (
    Announce,
    Announced,
    GameEvent,
    GameLost,
    GameReleased,
    GameWon,
    PieceProof,
    Proof,
    Reason,
    Release,
    Step,
    Timeout,
    TokenProof,
)
from opml.dispute.state import Call, GameState, Outcome, Rules, clock_of, repay
from opml.dispute.types import ZERO32, Docket, GameKey, Phase
from opml.vm.keccak import keccak256

ANNOUNCEMENT_SHIFT = 256 - 120


def announce(
    rules: Rules, key: GameKey, game: GameState, docket: Docket, move: Announce, call: Call
) -> Outcome:
    """Announce a step or a direct proof; doesn't stop the clock. The first of a game is repaid."""
    _enter_open(rules, key, game, call)
    if docket.rejected_at:
        raise errors.ClaimRejectedAlready(rules.claim_id)
    first = game.announced_at == 0
    short = int.from_bytes(move.digest, "big") >> ANNOUNCEMENT_SHIFT
    game = replace(game, announced_at=call.block, announcement=short)
    if first:
        game, docket = repay(rules, game, docket, ledger.ANNOUNCE, call)
    return Outcome(game, docket, (Announced(key.id, move.digest),))


def step(rules: Rules, key: GameKey, game: GameState, docket: Docket, move: Step, call: Call) -> Outcome:
    """The element or state is not what the machine computes."""
    _enter_proof(rules, key, game, move, call)
    events: tuple[GameEvent, ...] = ()
    gas = 0
    if game.phase == Phase.ELEMENT:
        # An element whose fold fits one step is named together with its proof.
        game, named, gas = name_element(rules, key, game, move.named)
        events = (named,)
    if game.phase != Phase.STEP:
        raise errors.WrongPhase(Phase.STEP, game.phase)
    rules.check_trace_root(move.trace_root)
    computed, claimed = (
        rules.judge.step(move.trace_root, target_of(game), move.witness),
        claimed_of(game.word),
    )
    # INVARIANT: a proof that fails decides nothing.
    if computed == claimed:
        raise errors.NotFraud(computed)
    if docket.rejected_at:
        gas += rules.step_gas(game.ordinal) + ledger.LATE
        outcome = _release(rules, key, game, docket, gas, call)
    else:
        game, docket = repay(rules, game, docket, gas, call)
        won = GameWon(key.id, rules.claim_id, Reason.STEP, computed, claimed)
        outcome = _win(rules, key, game, docket, won, 0, call)
    return replace(outcome, events=events + outcome.events)


def token_proof(
    rules: Rules, key: GameKey, game: GameState, docket: Docket, move: TokenProof, call: Call
) -> Outcome:
    """Output token j is not the committed sample."""
    _enter_proof(rules, key, game, move, call)
    rules.check_trace_root(move.trace_root)
    if not rules.judge.token_proof(move.trace_root, move.j, move.witness):
        raise errors.NotFraud(move.j)
    if docket.rejected_at:
        return _release(rules, key, game, docket, ledger.TOKEN_PROOF, call)
    return _win(rules, key, game, docket, GameWon(key.id, rules.claim_id, Reason.TOKEN, 0, 0), 0, call)


def piece_proof(
    rules: Rules, key: GameKey, game: GameState, docket: Docket, move: PieceProof, call: Call
) -> Outcome:
    """The answer's bytes of output token j are not its piece of the vocabulary."""
    _enter_proof(rules, key, game, move, call)
    for expected, data in ((rules.claim.answer_hash, move.answer), (rules.claim.lengths_hash, move.lengths)):
        if keccak256(data) != expected:
            raise errors.WrongBytes(expected, keccak256(data))
    if not rules.judge.piece_proof(move.j, move.answer, move.lengths, move.witness):
        raise errors.NotFraud(move.j)
    if docket.rejected_at:
        gas = ledger.PIECE_PROOF + ledger.BYTE * (len(move.answer) + len(move.lengths))
        return _release(rules, key, game, docket, gas, call)
    return _win(rules, key, game, docket, GameWon(key.id, rules.claim_id, Reason.PIECE, 0, 0), 0, call)


def timeout(
    rules: Rules, key: GameKey, game: GameState, docket: Docket, move: Timeout, call: Call
) -> Outcome:
    """Decide a game whose side to move has used up its clock; anybody may, and is paid."""
    if not game.is_open:
        raise errors.GameOver(game.phase)
    if docket.rejected_at:
        raise errors.ClaimRejectedAlready(rules.claim_id)
    used, clock = game.used(call.now), clock_of(game, rules.terms)
    # INVARIANT: a time-out iff elapsed > clock.
    if used <= clock:
        raise errors.ClockRunning(used, clock)
    price = ledger.price(call.base_fee, rules.terms.ceiling)
    if game.submitters_turn:
        fee = ledger.CLOSE_WON * price
        won = GameWon(key.id, rules.claim_id, Reason.TIMEOUT, 0, 0)
        return _win(rules, key, game, docket, won, fee, call)
    return _lose(rules, key, game, docket, ledger.CLOSE * price, call)


def release(
    rules: Rules, key: GameKey, game: GameState, docket: Docket, move: Release, call: Call
) -> Outcome:
    """Take bond and due out of a game against a claim that another game has rejected."""
    if not game.is_open:
        raise errors.GameOver(game.phase)
    if not docket.rejected_at:
        raise errors.ClaimNotRejected(rules.claim_id)
    if call.sender != key.challenger:
        # A step may be under way: it has the challenger's clock to arrive and be repaid.
        start = docket.rejected_at + rules.terms.challenger_clock + 1
        if call.now < start:
            raise errors.NotReleasable(start, call.now)
    return _release(rules, key, game, docket, ledger.RELEASE, call)


def settle(rules: Rules, docket: Docket) -> tuple[Docket, tuple[tuple[bytes, int], ...], int]:
    """(docket, credits, wei burnt) when the claim becomes final: half of the escrow is the submitter's."""
    # INVARIANT: final iff the window is over and no game is open.
    if docket.open_games:
        raise errors.GamesOpen(docket.open_games)
    half = docket.escrow // 2
    return replace(docket, escrow=0), ((rules.claim.submitter, half),), docket.escrow - half


# Entering ----------------------------------------------------------------------------------------------


def _enter_open(rules: Rules, key: GameKey, game: GameState, call: Call) -> None:
    """Any open game, as its challenger, whose clock must not be over where it runs."""
    if not game.is_open:
        raise errors.GameOver(game.phase)
    if call.sender != key.challenger:
        raise errors.NotTheChallenger(key.challenger, call.sender)
    if not game.submitters_turn and game.used(call.now) > rules.terms.challenger_clock:
        raise errors.ClockExpired(game.used(call.now), rules.terms.challenger_clock)


def _enter_proof(rules: Rules, key: GameKey, game: GameState, move: Proof, call: Call) -> None:
    _enter_open(rules, key, game, call)
    digest = int.from_bytes(rules.digest(key, move), "big") >> ANNOUNCEMENT_SHIFT
    # INVARIANT: a proof was announced by its sender in an earlier block, so that a copied one earns nothing.
    if game.announced_at == 0 or game.announcement != digest:
        raise errors.NotAnnounced(digest, game.announcement)
    if game.announced_at >= call.block:
        raise errors.AnnouncedInThisBlock(call.block)


# Settling ----------------------------------------------------------------------------------------------


def _win(
    rules: Rules, key: GameKey, game: GameState, docket: Docket, won: GameWon, fee: int, call: Call
) -> Outcome:
    """The claim is wrong. Half of its bond and its escrow are lost, the closer is paid out of the other
    half, gas is repaid as it was spent, the winner takes the rest. What the submitter spent on this game is
    its own loss."""
    due = game.due
    # Somebody has to get what is left of the pot, once the other games are over.
    winner = key.challenger if docket.open_games != 1 else docket.winner
    docket = replace(docket, rejected_at=call.now, winner=winner)
    game, docket, rest = _end(game, docket, Phase.WON)
    half = rules.submitter_bond // 2
    # INVARIANT: half = B + w and the closer's fee is below w; what B has paid or reserved stays in the game.
    own = rules.bond + due * ledger.DUE_UNIT + rest
    reward = own + half - ledger.pot(rules.sizes, rules.terms) - fee
    return Outcome(game, docket, (won,), ((key.challenger, reward), (call.sender, fee)), rejects=True)


def _lose(rules: Rules, key: GameKey, game: GameState, docket: Docket, fee: int, call: Call) -> Outcome:
    """The challenger's time is over: its bond pays the closer and the submitter's reveals; the rest waits for
    the claim's end, and never feeds a reward."""
    left = rules.bond - fee
    charged = min(game.charged * ledger.DUE_UNIT, left)
    pot = docket.pot + game.due * ledger.DUE_UNIT
    docket = replace(docket, escrow=docket.escrow + left - charged, pot=pot)
    game, docket, _ = _end(game, docket, Phase.LOST)
    credits = ((rules.claim.submitter, charged), (call.sender, fee))
    return Outcome(game, docket, (GameLost(key.id, rules.claim_id),), credits)


def _release(rules: Rules, key: GameKey, game: GameState, docket: Docket, gas: int, call: Call) -> Outcome:
    """Out of a rejected claim: the bond and what was spent, and the gas of this call as far as the pot
    goes."""
    own = rules.bond + game.due * ledger.DUE_UNIT
    game, docket = repay(rules, replace(game, due=0), docket, gas, call)
    paid = game.due * ledger.DUE_UNIT
    game, docket, rest = _end(game, docket, Phase.RELEASED)
    credits = ((key.challenger, own), (call.sender, paid), (docket.winner, rest))
    return Outcome(game, docket, (GameReleased(key.id, rules.claim_id),), credits)


def _end(game: GameState, docket: Docket, phase: Phase) -> tuple[GameState, Docket, int]:
    """Close the books of a game. The last one out of a rejected claim sets free what is left of the pot."""
    rest = 0
    docket = replace(docket, open_games=docket.open_games - 1)
    if docket.rejected_at and docket.open_games == 0:
        rest, docket = docket.pot, replace(docket, pot=0)
    game = replace(game, phase=phase, word=ZERO32, charged=0, announced_at=0, announcement=0)
    return game, docket, rest
