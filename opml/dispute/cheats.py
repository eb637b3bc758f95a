"""Players that don't play by the rules: strategies and commitments to lose with, for tests and
demonstrations."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import replace

from opml.dispute.cursor import STAGE_TAGS, at
from opml.dispute.descent import target_of
from opml.dispute.moves import GameMove, Pick, PickTotal, Proof, Step, Totals
from opml.dispute.nodes import Nodes, child_siblings
from opml.dispute.own import Own
from opml.dispute.strategy import (
    View,
    announced,
    before_of,
    challenger_move,
    element_at,
    submitter_move,
)
from opml.dispute.totals import Dissection, pack_states, unpack_states
from opml.dispute.types import SUBMITTER_PHASES, Phase
from opml.vm.commitment import node_hash
from opml.vm.keccak import keccak256
from opml.vm.trace import Cursor, Stage

Strategy = Callable[[View, Own], GameMove | None]

# Submitters --------------------------------------------------------------------------------------------


def silent_at(phase: Phase, otherwise: Strategy = submitter_move) -> Strategy:
    """Plays on, but never moves in one phase."""

    def strategy(view: View, own: Own) -> GameMove | None:
        return None if view.game.phase == phase else otherwise(view, own)

    return strategy


def bent_totals(bent: Mapping[tuple[int, int, int], tuple[int, ...]]) -> Strategy:
    """A submitter whose totals of round 1 for (position, ordinal, element) are these packed states."""

    def strategy(view: View, own: Own) -> GameMove | None:
        game = view.game
        states = bent.get((game.position, game.ordinal, game.index))
        if game.phase == Phase.TOTALS and game.height == 1 and states is not None:
            cuts = Dissection.of(own.shapes.slot(game.ordinal).instr, game.position)
            return Totals(pack_states(states, cuts.state_bytes))
        return submitter_move(view, own)

    return strategy


def lying_totals(at_state: int, xor: int, round_number: int = 1) -> Strategy:
    """A submitter that falsifies one state that it posts, by its number (modulo how many there are)."""

    def strategy(view: View, own: Own) -> GameMove | None:
        move, game = submitter_move(view, own), view.game
        if not isinstance(move, Totals) or game.height != round_number or not move.states:
            return move
        cuts = Dissection.of(own.shapes.slot(game.ordinal).instr, game.position)
        states = list(unpack_states(move.states, cuts.state_bytes))
        states[at_state % len(states)] ^= xor
        return Totals(pack_states(states, cuts.state_bytes))

    return strategy


class RandomRoot:
    """A commitment to nothing: a root that nobody can open."""

    def __init__(self, seed: bytes = b"random") -> None:
        self._seed = seed

    def node(self, cursor: Cursor) -> bytes:
        return keccak256(self._seed + repr(cursor).encode())

    def children(self, cursor: Cursor, levels: int) -> tuple[bytes, ...]:
        first = cursor.index << levels
        return tuple(self.node(at(cursor, cursor.height - levels, first + i)) for i in range(1 << levels))

    def leaf(self, cursor: Cursor) -> bytes:
        return self._seed


class BrokenNodes:
    """A commitment in which one preimage is another: the node at `place` is the hash of `preimage`.

    Its ancestors follow; everything else is as in `inner`. `children` below the node are those that the
    submitter can still name, whether or not they fold to it.
    """

    def __init__(self, own: Own, place: Cursor, preimage: bytes) -> None:
        self._inner = own.nodes
        self._shapes = own.shapes
        self._place = place
        self._preimage = preimage
        self._changed: dict[Cursor, bytes] = {}
        self._climb(place, keccak256(preimage))

    def _climb(self, cursor: Cursor, value: bytes) -> None:
        depth, tag = self._shapes.depth(cursor), STAGE_TAGS[cursor.stage]
        self._changed[cursor] = value
        while cursor.height < depth:
            sibling = self._inner.node(at(cursor, cursor.height, cursor.index ^ 1))
            pair = (sibling, value) if cursor.index & 1 else (value, sibling)
            cursor, value = at(cursor, cursor.height + 1, cursor.index >> 1), node_hash(tag, *pair)
            self._changed[cursor] = value
        if cursor.stage == Stage.TENSOR:
            self._climb(Cursor(Stage.POSITION, 0, cursor.ordinal, cursor.t), value)
        elif cursor.stage == Stage.POSITION:
            self._climb(Cursor(Stage.TRACE, 0, cursor.t), value)

    def node(self, cursor: Cursor) -> bytes:
        changed = self._changed.get(cursor)
        if changed is not None:
            return changed
        return self._below(cursor) or self._inner.node(cursor)

    def _below(self, cursor: Cursor) -> bytes | None:
        """A child named by the changed preimage: tag, left, right."""
        place = self._place
        same_tree = replace(place, height=0, index=0) == replace(cursor, height=0, index=0)
        if same_tree and place.height and cursor.height == place.height - 1:
            side = cursor.index - 2 * place.index
            if side in (0, 1) and len(self._preimage) == 65:
                return self._preimage[1 + 32 * side : 33 + 32 * side]
        return None

    def children(self, cursor: Cursor, levels: int) -> tuple[bytes, ...]:
        first = cursor.index << levels
        return tuple(self.node(at(cursor, cursor.height - levels, first + i)) for i in range(1 << levels))

    def leaf(self, cursor: Cursor) -> bytes:
        if cursor == self._place:
            return self._preimage[1:]
        if cursor.height == 0:
            return self._inner.leaf(cursor)
        first, count = cursor.index << cursor.height, self._shapes.leaf_count(cursor)
        numbers = range(first, min(first + (1 << cursor.height), count))
        return b"".join(self.leaf(at(cursor, 0, number)) for number in numbers)


def standing_for(own: Own, nodes: Nodes) -> Own:
    """The same computation behind another commitment."""
    return replace(own, nodes=nodes)


def preimage_of(own: Own, cursor: Cursor, leaf_tag: int) -> bytes:
    """What a node of one's own commitment is the hash of: tag and children, or tag and stored bytes."""
    if cursor.height:
        left, right = own.nodes.children(cursor, 1)
        return bytes([STAGE_TAGS[cursor.stage]]) + left + right
    return bytes([leaf_tag]) + own.nodes.leaf(cursor)


# Challengers -------------------------------------------------------------------------------------------


def random_challenger(rng: random.Random) -> Strategy:
    """Picks at random, then proves what it can."""

    def strategy(view: View, own: Own) -> GameMove | None:
        game = view.game
        if not game.is_open or game.phase in SUBMITTER_PHASES:
            return None
        if game.phase == Phase.PICK:
            count = len(view.story.children)
            return pick_at(view, rng.randrange(count))
        if game.phase == Phase.ELEMENT:
            return element_at(view, own, rng.randrange(_opened(view, own)))
        if game.phase == Phase.TOTAL_PICK:
            return total_at(view, own, rng.randrange(1 << 16))
        return announced(view, proof_of(view, own))

    return strategy


def stubborn_challenger(view: View, own: Own) -> GameMove | None:
    """Picks the first child, element and total that there is, right or wrong, and proves them."""
    game = view.game
    if not game.is_open or game.phase in SUBMITTER_PHASES:
        return None
    if game.phase == Phase.PICK:
        return pick_at(view, 0)
    if game.phase == Phase.ELEMENT:
        return element_at(view, own, 0)
    if game.phase == Phase.TOTAL_PICK:
        return total_at(view, own, 0)
    return announced(view, proof_of(view, own))


def wrong_opening(inner: Strategy, bend: Callable[[bytes], bytes]) -> Strategy:
    """Plays as `inner` does, but sends a changed witness."""

    def strategy(view: View, own: Own) -> GameMove | None:
        if view.game.phase == Phase.STEP and view.game.is_open:
            proof = proof_of(view, own)
            return announced(view, replace(proof, witness=bend(proof.witness)))
        return inner(view, own)

    return strategy


def quiet_at(phase: Phase, inner: Strategy = challenger_move) -> Strategy:
    """Plays as `inner` does, but goes silent in one phase."""
    return silent_at(phase, inner)


def pick_at(view: View, i: int) -> Pick:
    """The pick of child i."""
    children = view.story.children
    return Pick(i, children[i], child_siblings(STAGE_TAGS[view.game.stage], children, i))


def _opened(view: View, own: Own) -> int:
    """How many elements were opened."""
    return len(view.story.data) // own.shapes.element_bytes(view.game.ordinal)


def total_at(view: View, own: Own, j: int) -> PickTotal:
    """Picks state j (modulo how many there are, the finish included)."""
    cuts = Dissection.of(own.shapes.slot(view.game.ordinal).instr, view.game.position)
    states = view.story.postings[-1]
    count = len(states) // cuts.state_bytes + 1
    return PickTotal(j % count, before_of(view, cuts), states)


def proof_of(view: View, own: Own) -> Step:
    """The step that the game has come to, as the machine computes it."""
    _, witness = own.step_witness(target_of(view.game), view.known.nodes)
    return Step(view.known.trace_root, witness)


def copied(proof: Proof) -> Strategy:
    """A challenger that announces and sends somebody else's proof."""

    def strategy(view: View, own: Own) -> GameMove | None:
        return announced(view, proof) if view.game.is_open else None

    return strategy


__all__ = [
    "BrokenNodes",
    "RandomRoot",
    "Strategy",
    "bent_totals",
    "copied",
    "element_at",
    "lying_totals",
    "pick_at",
    "preimage_of",
    "proof_of",
    "quiet_at",
    "random_challenger",
    "silent_at",
    "standing_for",
    "stubborn_challenger",
    "total_at",
    "wrong_opening",
]
