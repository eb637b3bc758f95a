"""What can be done in a game, and what a game has said so far: calls and events of `IDisputeGame`, as values.

Names are the contract's. A move doesn't say who sends it, nor which game it is for: see
`opml.dispute.gateway`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from opml.vm.trace import Cursor

# Moves -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Open:
    """Challenge a claim from the trace root, with a bond."""

    salt: int


@dataclass(frozen=True, slots=True)
class OpenAt:
    """Challenge a claim from a node proven under its trace root: siblings lowest first, through all trees."""

    salt: int
    trace_root: bytes
    cursor: Cursor
    node: bytes
    siblings: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class RevealRoot:
    """The first reveal of a game: the trace root and its children."""

    trace_root: bytes
    children: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Reveal:
    """The nodes `span(height, fanout)` levels below the node."""

    children: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Pick:
    """Go on at child i, proven by its siblings below the node, lowest first."""

    i: int
    child: bytes
    siblings: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Leaf:
    """The stored bytes of the leaf, or of the whole tensor where it is small."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Element:
    """Element i of what was opened is wrong: `data` is the leaf that holds it, proven by its siblings."""

    i: int
    data: bytes
    siblings: tuple[bytes, ...] = ()


NOTHING = Element(0, b"")


@dataclass(frozen=True, slots=True)
class Totals:
    """The states of the fold, big-endian."""

    states: bytes


@dataclass(frozen=True, slots=True)
class PickTotal:
    """Chunk j is wrong; in round 1, j = number of states: the finish is. `before` is the game's word when the
    states were posted."""

    j: int
    before: bytes
    states: bytes


@dataclass(frozen=True, slots=True)
class Step:
    """The proof that the element or state is not what the machine computes; `named` is the element where it
    wasn't named before."""

    trace_root: bytes
    witness: bytes
    named: Element = NOTHING


@dataclass(frozen=True, slots=True)
class TokenProof:
    """The proof that output token j is not the committed sample."""

    trace_root: bytes
    j: int
    witness: bytes


@dataclass(frozen=True, slots=True)
class PieceProof:
    """The proof that the answer's bytes of output token j are not its piece of the vocabulary."""

    j: int
    answer: bytes
    lengths: bytes
    witness: bytes


Proof = Step | TokenProof | PieceProof


@dataclass(frozen=True, slots=True)
class Announce:
    """Announces a proof that is to be sent in a later block: `keccak256(calldata ‖ sender)`."""

    digest: bytes


@dataclass(frozen=True, slots=True)
class Timeout:
    """Decide a game whose side to move has used up its clock."""


@dataclass(frozen=True, slots=True)
class Release:
    """Take bond and due out of a game against a claim that another game has rejected."""


Opening = Open | OpenAt
GameMove = (
    RevealRoot
    | Reveal
    | Pick
    | Leaf
    | Element
    | Totals
    | PickTotal
    | Announce
    | Step
    | TokenProof
    | PieceProof
    | Timeout
    | Release
)
Move = Opening | GameMove


# Events ------------------------------------------------------------------------------------------------


class Reason(IntEnum):
    """How a game was decided."""

    STEP = 0
    TOKEN = 1
    PIECE = 2
    TIMEOUT = 3


@dataclass(frozen=True, slots=True)
class Opened:
    """A game began; `trace_root` and `node` are zero where the first reveal still has to give them."""

    game_id: bytes
    claim_id: bytes
    challenger: bytes
    salt: int
    trace_root: bytes
    cursor: Cursor
    node: bytes


@dataclass(frozen=True, slots=True)
class RootRevealed:
    game_id: bytes
    trace_root: bytes


@dataclass(frozen=True, slots=True)
class Revealed:
    game_id: bytes
    children: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Picked:
    game_id: bytes
    i: int
    child: bytes


@dataclass(frozen=True, slots=True)
class LeafRevealed:
    game_id: bytes
    data: bytes


@dataclass(frozen=True, slots=True)
class ElementNamed:
    """`element` is the flat number in the tensor, `bits` its stored bits, zero-extended."""

    game_id: bytes
    element: int
    bits: int


@dataclass(frozen=True, slots=True)
class TotalsPosted:
    game_id: bytes
    round: int
    states: bytes


@dataclass(frozen=True, slots=True)
class TotalPicked:
    game_id: bytes
    round: int
    j: int


@dataclass(frozen=True, slots=True)
class Announced:
    game_id: bytes
    digest: bytes


@dataclass(frozen=True, slots=True)
class GameWon:
    """The claim is wrong; `computed` and `claimed` are those of the step, or 0."""

    game_id: bytes
    claim_id: bytes
    reason: Reason
    computed: int
    claimed: int


@dataclass(frozen=True, slots=True)
class GameLost:
    game_id: bytes
    claim_id: bytes


@dataclass(frozen=True, slots=True)
class GameReleased:
    game_id: bytes
    claim_id: bytes


GameEvent = (
    Opened
    | RootRevealed
    | Revealed
    | Picked
    | LeafRevealed
    | ElementNamed
    | TotalsPosted
    | TotalPicked
    | Announced
    | GameWon
    | GameLost
    | GameReleased
)
