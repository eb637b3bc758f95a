"""The game as one table of transitions, twin of `contracts/DisputeGame.sol`.

    phase        who                   move                next
    REVEAL       anybody (submitter)   RevealRoot, Reveal  PICK
    PICK         challenger            Pick                REVEAL, or LEAF
    LEAF         anybody (submitter)   Leaf                ELEMENT
    ELEMENT      challenger            Element             TOTALS where the fold is dissected, else STEP
    TOTALS       submitter, operator   Totals              TOTAL_PICK
    TOTAL_PICK   challenger            PickTotal           TOTALS (round 2), or STEP
    STEP         challenger            Step                WON, announced before
    any          challenger            TokenProof, PieceProof   WON, announced before
    any          anybody               Timeout             WON or LOST
    any          anybody               Release             RELEASED, once the claim is rejected

`apply` is pure: it gives what follows, or raises the contract's error of the same name
(`opml.dispute.errors`), or `InputError` for a witness that is malformed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from opml.dispute import descent, verdict
from opml.dispute.descent import open_game
from opml.dispute.moves import (
    Announce,
    Element,
    GameMove,
    Leaf,
    Pick,
    PickTotal,
    PieceProof,
    Release,
    Reveal,
    RevealRoot,
    Step,
    Timeout,
    TokenProof,
    Totals,
)
from opml.dispute.state import Call, GameState, Outcome, Rules, enter
from opml.dispute.types import Docket, GameKey, Phase

Handler = Callable[[Rules, GameKey, GameState, Docket, Any, Call], Outcome]

TABLE: Mapping[type, tuple[Phase | None, Handler]] = {
    RevealRoot: (Phase.REVEAL, descent.reveal_root),
    Reveal: (Phase.REVEAL, descent.reveal),
    Pick: (Phase.PICK, descent.pick),
    Leaf: (Phase.LEAF, descent.leaf),
    Element: (Phase.ELEMENT, descent.element),
    Totals: (Phase.TOTALS, descent.totals),
    PickTotal: (Phase.TOTAL_PICK, descent.pick_total),
    Announce: (None, verdict.announce),
    Step: (None, verdict.step),
    TokenProof: (None, verdict.token_proof),
    PieceProof: (None, verdict.piece_proof),
    Timeout: (None, verdict.timeout),
    Release: (None, verdict.release),
}
"""Move → the only phase in which a game takes it (None: its handler says), and what it does."""


def apply(rules: Rules, key: GameKey, game: GameState, docket: Docket, move: GameMove, call: Call) -> Outcome:
    """What a move does to a game and to its claim's docket."""
    phase, handler = TABLE[type(move)]
    if phase is not None:
        enter(rules, game, docket, phase)
    return handler(rules, key, game, docket, move, call)


__all__ = ["TABLE", "apply", "open_game"]
