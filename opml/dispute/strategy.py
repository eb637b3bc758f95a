"""What an honest player does next: pure functions of what the chain shows and of one's own computation.

A submitter reveals what is asked of it. A challenger picks the *leftmost* difference, always: then every
input of the disputed step lies to the left of it, equals its own, and can be opened under the submitter's
root.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from opml.dispute.cursor import STAGE_TAGS, at, span
from opml.dispute.descent import target_of
from opml.dispute.gateway import ClaimRecord
from opml.dispute.history import History, Known
from opml.dispute.moves import (
    Announce,
    Element,
    GameMove,
    Leaf,
    Open,
    OpenAt,
    Opening,
    Pick,
    PickTotal,
    PieceProof,
    Proof,
    Release,
    Reveal,
    RevealRoot,
    Step,
    Timeout,
    TokenProof,
    Totals,
)
from opml.dispute.nodes import MixedNodes, child_siblings, leaf_hashes
from opml.dispute.own import Own
from opml.dispute.state import GameState, clock_of
from opml.dispute.totals import Chunk, Dissection, first_difference, pack_states, unpack_states
from opml.dispute.types import ZERO32, GameKey, Phase, Terms, commitment_of
from opml.dispute.verdict import ANNOUNCEMENT_SHIFT
from opml.dispute.verifier import StepTarget, slice_of
from opml.vm.commitment import Tag
from opml.vm.isa import LEAF_ELEMENTS
from opml.vm.step import Mode


@dataclass(frozen=True)
class View:
    """One game as a player sees it: the chain's state, its story, what is known of the commitment, and the
    time.

    `now` and `block` are those of the block in which a move made now would be included; `rejected`: another
    game has decided the claim. `digest` gives what announces a proof of this player's.
    """

    terms: Terms
    posted: ClaimRecord
    key: GameKey
    game: GameState
    story: History
    known: Known
    account: bytes
    now: int
    block: int
    rejected: bool
    digest: Callable[[Proof], bytes]

    @property
    def levels(self) -> int:
        """Levels that a reveal here goes down."""
        return span(self.game.height, self.terms.fanout)


# Submitter ---------------------------------------------------------------------------------------------


def submitter_move(view: View, own: Own) -> GameMove | None:
    """The next move of the submitter, or of who posts its reveals for it; None where it has none."""
    game = view.game
    if not game.is_open or view.rejected:
        return None
    if expired(view):
        return None if game.submitters_turn else Timeout()
    if game.phase == Phase.REVEAL:
        children = own.nodes.children(game.cursor, view.levels)
        return RevealRoot(own.trace_root, children) if game.word == ZERO32 else Reveal(children)
    if game.phase == Phase.LEAF:
        return Leaf(own.nodes.leaf(game.cursor))
    if game.phase == Phase.TOTALS:
        return Totals(own_totals(game, own))
    return None


def own_totals(game: GameState, own: Own) -> bytes:
    """The states that one's own trace gives for the round that a game in TOTALS is in."""
    cuts = Dissection.of(own.shapes.slot(game.ordinal).instr, game.position)
    place = game.position, game.ordinal, game.index
    if game.height == 1:
        states = own.totals(*place)
    else:
        block, prior = block_of(game.word)
        states = own.inner_totals(*place, block, prior)
    return pack_states(states, cuts.state_bytes)


def block_of(word: bytes) -> tuple[Chunk, int]:
    """(terms of the block, total before it) that round 2 is about, from the game's word."""
    lo, hi = (int.from_bytes(word[i : i + 4], "big") for i in (24, 28))
    return Chunk(lo, hi), int.from_bytes(word[:8], "big")


def expired(view: View) -> bool:
    """Whether the side to move has used up its clock."""
    return view.game.used(view.now) > clock_of(view.game, view.terms)


# Challenger: is there a ground? ------------------------------------------------------------------------


class Ground(Enum):
    """Why a claim is wrong."""

    TRACE = "the trace differs"
    TOKEN = "a posted token is not the sampled one"
    PIECE = "the answer's bytes are not those of the tokens"


@dataclass(frozen=True, slots=True)
class Objection:
    """A ground, and the output token that it is about (0 for the trace)."""

    ground: Ground
    j: int = 0


def objection(posted: ClaimRecord, own: Own) -> Objection | None:
    """What is wrong with a claim; None where nothing is.

    Where its commitment is one's own root the trace is right, and only tokens and answer can be wrong.
    """
    claim, trace = posted.claim, own.trace
    if commitment_of(own.trace_root, claim.submitter, claim.request_id) != claim.commitment:
        return Objection(Ground.TRACE)
    sampled = len(trace.layout.committed) - 1
    for j, token in enumerate(posted.output):
        stored = trace.tensor(trace.prompt_length - 1 + j, sampled)
        if int.from_bytes(stored, "little") != token:
            return Objection(Ground.TOKEN, j)
    for j, token in enumerate(posted.output):
        if slice_of(posted.answer, posted.lengths, j) != own.vocabulary.pieces[token]:
            return Objection(Ground.PIECE, j)
    return None


def opening(own: Own, known: Known, salt: int) -> Opening:
    """How to open a game: at the leftmost difference as far down as nodes have been revealed."""
    shapes, cursor = own.shapes, own.shapes.root()
    if known.trace_root == ZERO32 or known.trace_root == own.trace_root:
        return Open(salt)
    seen = {**known.nodes, cursor: known.trace_root}
    while cursor.height:
        below = [at(cursor, cursor.height - 1, 2 * cursor.index + side) for side in (0, 1)]
        different = [child for child in below if seen.get(child, b"") != own.nodes.node(child)]
        if not all(child in seen for child in below) or not different:
            break
        cursor = shapes.normal(different[0])
        if different[0] in seen:
            seen[cursor] = seen[different[0]]
    if cursor == shapes.root():
        return Open(salt)
    mixed = MixedNodes(own.nodes, known.nodes)
    siblings = tuple(mixed.node(sibling) for sibling in shapes.above(cursor))
    return OpenAt(salt, known.trace_root, cursor, seen[cursor], siblings)


# Challenger: moves -------------------------------------------------------------------------------------


def challenger_move(view: View, own: Own) -> GameMove | None:
    """The next move of an honest challenger in a game of its own; None where it has to wait, or has no
    ground."""
    game = view.game
    if not game.is_open or view.key.challenger != view.account:
        return None
    if view.rejected:
        return Release()
    reason = objection(view.posted, own)
    if reason is not None and reason.ground != Ground.TRACE:
        return announced(view, direct_proof(view, own, reason))
    if expired(view):
        return Timeout() if game.submitters_turn else None
    if game.phase == Phase.PICK:
        return pick(view, own)
    if game.phase == Phase.ELEMENT:
        named = element(view, own)
        return named and name(view, own, named)
    if game.phase == Phase.TOTAL_PICK:
        return pick_total(view, own)
    if game.phase == Phase.STEP:
        return announced(view, step(view, own))
    return None


def direct_proof(view: View, own: Own, reason: Objection) -> Proof:
    """The proof of a wrong token or a wrong piece of the answer."""
    if reason.ground == Ground.TOKEN:
        return TokenProof(own.trace_root, reason.j, own.token_witness(reason.j))
    posted = view.posted
    return PieceProof(reason.j, posted.answer, posted.lengths, own.piece_witness(reason.j))


def announced(view: View, proof: Proof) -> GameMove | None:
    """The proof where it was announced in an earlier block, else its announcement."""
    game, digest = view.game, view.digest(proof)
    if not game.announced_at or game.announcement != int.from_bytes(digest, "big") >> ANNOUNCEMENT_SHIFT:
        return Announce(digest)
    return proof if game.announced_at < view.block else None


def pick(view: View, own: Own) -> Pick | None:
    """The leftmost child that differs from one's own."""
    mine = own.nodes.children(view.game.cursor, view.levels)
    for i, (own_child, child) in enumerate(zip(mine, view.story.children, strict=True)):
        if own_child != child:
            tag = STAGE_TAGS[view.game.stage]
            return Pick(i, child, child_siblings(tag, view.story.children, i))
    return None


def element(view: View, own: Own) -> Element | None:
    """The leftmost element that differs from one's own."""
    game, theirs = view.game, view.story.data
    mine = own.nodes.leaf(game.cursor)
    width = own.shapes.element_bytes(game.ordinal)
    for i in range(len(mine) // width):
        if mine[i * width : (i + 1) * width] != theirs[i * width : (i + 1) * width]:
            return element_at(view, own, i)
    return None


def element_at(view: View, own: Own, i: int) -> Element:
    """Element i of what was opened, and what proves it."""
    game, theirs = view.game, view.story.data
    width = own.shapes.element_bytes(game.ordinal)
    size, number = LEAF_ELEMENTS * width, i // LEAF_ELEMENTS
    siblings = child_siblings(Tag.TENSOR, leaf_hashes(theirs, width, game.height), number)
    return Element(i, theirs[number * size : (number + 1) * size], siblings)


def name(view: View, own: Own, named: Element) -> GameMove | None:
    """Name an element: together with the proof where its fold fits one step, else by itself."""
    game = view.game
    if Dissection.of(own.shapes.slot(game.ordinal).instr, game.position).needed:
        return named
    number = (game.index << game.height) * LEAF_ELEMENTS + named.i
    target = StepTarget(game.position, game.ordinal, number, Mode.WHOLE)
    _, witness = own.step_witness(target, view.known.nodes)
    return announced(view, Step(view.known.trace_root, witness, named))


def pick_total(view: View, own: Own) -> PickTotal:
    """The first state that differs from one's own; where none does, the finish, or the block's last chunk."""
    game, story = view.game, view.story
    cuts = Dissection.of(own.shapes.slot(game.ordinal).instr, game.position)
    place = game.position, game.ordinal, game.index
    before, states = before_of(view, cuts), story.postings[-1]
    posted = unpack_states(states, cuts.state_bytes)
    if game.height == 1:
        mine = own.totals(*place)
    else:
        block, prior = block_of(before)
        mine = own.inner_totals(*place, block, prior)
    wrong = first_difference(mine, posted)
    return PickTotal(len(posted) if wrong is None else wrong, before, states)


def before_of(view: View, cuts: Dissection) -> bytes:
    """The game's word when the states in hand were posted: the element's bits, or the block's target."""
    bits = view.story.bits
    if view.game.height == 1:
        return bits.to_bytes(32, "big")
    posted = unpack_states(view.story.postings[0], cuts.state_bytes)
    j = view.story.picks[0]
    chunk, prior = cuts.chunks[j], posted[j - 1] if j else 0
    assert chunk.lo % LEAF_ELEMENTS == 0
    words = (prior, 0, posted[j])
    return b"".join(word.to_bytes(8, "big") for word in words) + b"".join(
        term.to_bytes(4, "big") for term in (chunk.lo, chunk.hi)
    )


def step(view: View, own: Own) -> Step:
    """The proof by a step, opened under the submitter's root."""
    trace_root = view.known.trace_root
    _, witness = own.step_witness(target_of(view.game), view.known.nodes)
    return Step(trace_root, witness)


# Anybody -----------------------------------------------------------------------------------------------


def closing_move(view: View) -> GameMove | None:
    """What anybody may do to a game that has stopped, and is paid for."""
    if not view.game.is_open:
        return None
    if view.rejected:
        return Release() if view.key.challenger == view.account else None
    return Timeout() if expired(view) else None
