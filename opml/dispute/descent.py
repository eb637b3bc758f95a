"""From the trace root down to one element, and to one chunk of its fold: twin of
`contracts/GameDescent.sol`."""

from __future__ import annotations

from dataclasses import replace

from opml.dispute import errors, ledger
from opml.dispute.cursor import STAGE_TAGS, Shapes, at, span
from opml.dispute.moves import (
    Element,
    ElementNamed,
    Leaf,
    LeafRevealed,
    Open,
    OpenAt,
    Opened,
    Opening,
    Pick,
    Picked,
    PickTotal,
    Reveal,
    Revealed,
    RevealRoot,
    RootRevealed,
    TotalPicked,
    Totals,
    TotalsPosted,
)
from opml.dispute.nodes import fold_children, leaf_hashes
from opml.dispute.state import (
    Call,
    GameState,
    Outcome,
    Rules,
    challenger_moves,
    charge,
    repay,
    submitter_moves,
)
from opml.dispute.totals import Chunk, Dissection, unpack_states
from opml.dispute.types import ZERO32, Docket, GameKey, Phase
from opml.dispute.verifier import StepTarget
from opml.vm.commitment import Tag, empty, leaf_hash, path_root
from opml.vm.isa import LEAF_ELEMENTS
from opml.vm.keccak import keccak256
from opml.vm.step import Mode
from opml.vm.trace import Cursor, Stage

# Opening -----------------------------------------------------------------------------------------------


def open_game(rules: Rules, docket: Docket, move: Opening, call: Call) -> tuple[GameKey, Outcome]:
    """A new game of the sender's. That the claim is pending, and the game new, is for the arena to check."""
    key = GameKey(rules.claim_id, call.sender, move.salt)
    # INVARIANT: a game opens iff now < window end, so that a claim is decided by window + both clocks.
    end = rules.claim.posted_at + rules.terms.window
    if call.now >= end:
        raise errors.WindowClosed(end, call.now)
    if docket.rejected_at:
        raise errors.ClaimRejectedAlready(rules.claim_id)
    if call.value != rules.bond:
        raise errors.WrongValue(rules.bond, call.value)

    shapes, gas, trace_root = rules.shapes, ledger.OPEN, ZERO32
    # A game that is over has left a bond in escrow, or a rejected claim.
    if not docket.open_games and not docket.escrow:
        gas += ledger.DOCKET
    game = GameState(phase=Phase.REVEAL, moved_at=call.now)
    if isinstance(move, Open):
        root = shapes.root()
        game = replace(game.at(root), leaves=shapes.leaf_count(root))
    else:
        _check_opening(rules, move)
        game, trace_root = _arrive(shapes, replace(game, word=move.node), move.cursor), move.trace_root
        gas += ledger.OPEN_AT + ledger.SIBLING * len(move.siblings)
        gas += ledger.ENTRY * rules.sizes.entries + _crossing(rules, move.cursor)
    game, docket = repay(rules, game, docket, gas, call)
    docket = replace(docket, open_games=docket.open_games + 1)
    event = Opened(key.id, rules.claim_id, call.sender, move.salt, trace_root, game.cursor, game.word)
    return key, Outcome(game, docket, (event,))


def _check_opening(rules: Rules, move: OpenAt) -> None:
    """The node exists, is no padding, and is proven under the trace root committed to."""
    rules.check_trace_root(move.trace_root)
    shapes, cursor = rules.shapes, move.cursor
    if cursor.stage != Stage.TRACE:
        if cursor.t >= shapes.positions:
            raise errors.Padding(cursor.t, shapes.positions)
        if cursor.stage == Stage.TENSOR and cursor.ordinal >= shapes.present(cursor.t):
            raise errors.Padding(cursor.ordinal, shapes.present(cursor.t))
    depth = shapes.depth(cursor)
    if cursor.height > depth or cursor.index >> (depth - cursor.height):
        raise errors.NoSuchNode(cursor.index, cursor.height, depth)
    _check_real(shapes, cursor)
    expected = len(shapes.above(cursor))
    if len(move.siblings) != expected:
        raise errors.WrongSiblingCount(expected, len(move.siblings))
    root = root_above(shapes, cursor, move.node, move.siblings)
    if root != move.trace_root:
        raise errors.WrongNode(move.trace_root, root)


def root_above(shapes: Shapes, cursor: Cursor, node: bytes, siblings: tuple[bytes, ...]) -> bytes:
    """The trace root above a node, through the trees between."""
    taken = 0
    while True:
        levels = shapes.depth(cursor) - cursor.height
        path = siblings[taken : taken + levels]
        node, taken = path_root(STAGE_TAGS[cursor.stage], cursor.index, node, path), taken + levels
        if cursor.stage == Stage.TRACE:
            return node
        if cursor.stage == Stage.TENSOR:
            cursor = Cursor(Stage.POSITION, 0, cursor.ordinal, cursor.t)
        else:
            cursor = Cursor(Stage.TRACE, 0, cursor.t)


def _check_real(shapes: Shapes, cursor: Cursor) -> None:
    """INVARIANT: a reveal has shown that padding is right, so that nobody can be asked to open it."""
    if shapes.is_padding(cursor):
        raise errors.Padding(cursor.index << cursor.height, shapes.leaf_count(cursor))


def _arrive(shapes: Shapes, game: GameState, cursor: Cursor) -> GameState:
    """The game at a node, in the next tree where this one was passed."""
    cursor = shapes.normal(cursor)
    phase = Phase.LEAF if shapes.is_end(cursor) else Phase.REVEAL
    return replace(game.at(cursor), leaves=shapes.leaf_count(cursor), phase=phase)


# Descending --------------------------------------------------------------------------------------------


def _span(rules: Rules, game: GameState) -> int:
    return span(game.height, rules.terms.fanout)


def reveal_root(
    rules: Rules, key: GameKey, game: GameState, docket: Docket, move: RevealRoot, call: Call
) -> Outcome:
    """The first reveal of a game: the trace root and its children."""
    if game.word != ZERO32:
        raise errors.RootKnown()
    rules.check_trace_root(move.trace_root)
    game = replace(game, word=move.trace_root)
    game = _reveal(rules, game, move.children, ledger.REVEAL_ROOT, call)
    events = (RootRevealed(key.id, move.trace_root), Revealed(key.id, move.children))
    return Outcome(game, docket, events)


def reveal(rules: Rules, key: GameKey, game: GameState, docket: Docket, move: Reveal, call: Call) -> Outcome:
    """The nodes below the node."""
    if game.word == ZERO32:
        raise errors.RootUnknown()
    game = _reveal(rules, game, move.children, ledger.REVEAL, call)
    return Outcome(game, docket, (Revealed(key.id, move.children),))


def _reveal(rules: Rules, game: GameState, children: tuple[bytes, ...], gas: int, call: Call) -> GameState:
    game = submitter_moves(rules, game, call)
    count = 1 << _span(rules, game)
    if len(children) != count:
        raise errors.WrongChildCount(count, len(children))
    tag = STAGE_TAGS[game.stage]
    root = fold_children(tag, children)[-1][0]
    if root != game.word:
        raise errors.WrongNode(game.word, root)
    # INVARIANT: the right root is unique, so a node below which no leaf is has one value only.
    height = game.height - _span(rules, game)
    for i, child in enumerate(children):
        below = at(game.cursor, height, game.index * count + i)
        if rules.shapes.is_padding(below) and child != empty(tag, height):
            raise errors.NotPadding(i, empty(tag, height), child)
    game = replace(game, phase=Phase.PICK)
    return charge(rules, game, ledger.children(gas, count), call)


def pick(rules: Rules, key: GameKey, game: GameState, docket: Docket, move: Pick, call: Call) -> Outcome:
    """Go on at a child of the node."""
    game = challenger_moves(rules, key, game, call)
    levels = _span(rules, game)
    if move.i >> levels:
        raise errors.NoSuchChild(move.i, 1 << levels)
    if len(move.siblings) != levels:
        raise errors.WrongSiblingCount(levels, len(move.siblings))
    root = path_root(STAGE_TAGS[game.stage], move.i, move.child, move.siblings)
    if root != game.word:
        raise errors.WrongNode(game.word, root)
    below = at(game.cursor, game.height - levels, game.index << levels | move.i)
    _check_real(rules.shapes, below)
    gas = ledger.PICK + _crossing(rules, below)
    game = _arrive(rules.shapes, replace(game, word=move.child), below)
    game, docket = repay(rules, game, docket, gas, call)
    return Outcome(game, docket, (Picked(key.id, move.i, move.child),))


def _crossing(rules: Rules, cursor: Cursor) -> int:
    """Gas of entering the trees below a cursor that is a leaf of its own."""
    end = rules.shapes.normal(cursor).stage
    gas = ledger.CROSS * (end - cursor.stage)
    return gas + ledger.ENTRY * rules.sizes.entries * (cursor.stage < end == Stage.TENSOR)


def leaf(rules: Rules, key: GameKey, game: GameState, docket: Docket, move: Leaf, call: Call) -> Outcome:
    """The elements below the node."""
    game = submitter_moves(rules, game, call)
    width = rules.shapes.element_bytes(game.ordinal)
    expected = rules.shapes.elements(game.cursor) * width
    if len(move.data) != expected:
        raise errors.WrongLeafLength(expected, len(move.data))
    root = fold_children(Tag.TENSOR, leaf_hashes(move.data, width, game.height))[-1][0]
    if root != game.word:
        raise errors.WrongNode(game.word, root)
    gas = ledger.leaf(expected, rules.sizes.entries)
    game = charge(rules, replace(game, phase=Phase.ELEMENT), gas, call)
    return Outcome(game, docket, (LeafRevealed(key.id, move.data),))


def element(
    rules: Rules, key: GameKey, game: GameState, docket: Docket, move: Element, call: Call
) -> Outcome:
    """An element of what was opened is wrong."""
    game = challenger_moves(rules, key, game, call)
    game, named, gas = name_element(rules, key, game, move)
    game, docket = repay(rules, game, docket, ledger.ELEMENT + gas, call)
    return Outcome(game, docket, (named,))


def name_element(
    rules: Rules, key: GameKey, game: GameState, named: Element
) -> tuple[GameState, ElementNamed, int]:
    """(game in TOTALS or STEP, event, gas of the naming) from a game in ELEMENT."""
    count = rules.shapes.elements(game.cursor)
    if named.i >= count:
        raise errors.NoSuchElement(named.i, count)
    if len(named.siblings) != game.height:
        raise errors.WrongSiblingCount(game.height, len(named.siblings))
    leaf_number, at_element = divmod(named.i, LEAF_ELEMENTS)
    root = path_root(Tag.TENSOR, leaf_number, leaf_hash(Tag.TENSOR_LEAF, named.data), named.siblings)
    # INVARIANT: what is under the node has the right length, since it was opened.
    if root != game.word:
        raise errors.WrongNode(game.word, root)
    width = rules.shapes.element_bytes(game.ordinal)
    bits = int.from_bytes(named.data[at_element * width : (at_element + 1) * width], "little")
    number = (game.index << game.height) * LEAF_ELEMENTS + named.i
    game = replace(game, index=number)
    if rules.cuts(game).needed:
        game = replace(game, phase=Phase.TOTALS, height=1, word=bits.to_bytes(32, "big"))
    else:
        target = StepTarget(game.position, game.ordinal, number, Mode.WHOLE)
        game = replace(game, phase=Phase.STEP, height=Mode.WHOLE, word=target.pack(bits))
    gas = ledger.NAME + ledger.INPUT_BYTE * len(named.data) + ledger.SIBLING * len(named.siblings)
    gas += ledger.ENTRY * rules.sizes.entries
    return game, ElementNamed(key.id, number, bits), gas


# Running totals ----------------------------------------------------------------------------------------


def totals(rules: Rules, key: GameKey, game: GameState, docket: Docket, move: Totals, call: Call) -> Outcome:
    """The states of the element's fold; from the submitter or its operator."""
    game = submitter_moves(rules, game, call)
    claim = rules.claim
    # INVARIANT: totals are not committed, so only the submitter's side can be held to them.
    if call.sender != claim.submitter and (call.sender != claim.operator or not any(claim.operator)):
        raise errors.NotTheSubmitter(claim.submitter, claim.operator, call.sender)
    cuts = rules.cuts(game)
    count = len(cuts.chunks) if game.height == 1 else len(cuts.inner(_block(game.word))) - 1
    if len(move.states) != count * cuts.state_bytes:
        raise errors.WrongStatesLength(count * cuts.state_bytes, len(move.states))
    round_number = game.height
    game = replace(game, phase=Phase.TOTAL_PICK, word=keccak256(game.word + move.states))
    gas = ledger.states(ledger.TOTALS, len(move.states), rules.sizes.entries)
    game = charge(rules, game, gas, call)
    return Outcome(game, docket, (TotalsPosted(key.id, round_number, move.states),))


def pick_total(
    rules: Rules, key: GameKey, game: GameState, docket: Docket, move: PickTotal, call: Call
) -> Outcome:
    """Chunk j is wrong; in round 1, j = number of states: the finish is."""
    game = challenger_moves(rules, key, game, call)
    actual = keccak256(move.before + move.states)
    if len(move.before) != 32 or actual != game.word:
        raise errors.WrongStates(game.word, actual)
    round_number, cuts = game.height, rules.cuts(game)
    posted = unpack_states(move.states, cuts.state_bytes)
    settle = _pick_outer if round_number == 1 else _pick_inner
    game = settle(game, cuts, move.j, move.before, posted)
    gas = ledger.states(ledger.PICK_TOTAL, len(move.states), rules.sizes.entries)
    game, docket = repay(rules, game, docket, gas, call)
    return Outcome(game, docket, (TotalPicked(key.id, round_number, move.j),))


def _pick_outer(
    game: GameState, cuts: Dissection, j: int, before: bytes, posted: tuple[int, ...]
) -> GameState:
    """Round 1: the finish, a chunk that a step carries, or a block for round 2."""
    chunks, place = cuts.chunks, (game.position, game.ordinal, game.index)
    if j > len(chunks):
        raise errors.NoSuchTotal(j, len(chunks) + 1)
    if j == len(chunks):
        target = StepTarget(*place, Mode.FINISH, prior_total=posted[-1])
        claimed = int.from_bytes(before, "big")
        return replace(game, phase=Phase.STEP, height=Mode.FINISH, word=target.pack(claimed))
    chunk, prior = chunks[j], posted[j - 1] if j else 0
    # A chunk of round 1 begins at a block of 256, or the whole fold is one block.
    total, acc = prior_states(cuts, 0, prior, chunk.lo % LEAF_ELEMENTS == 0)
    word = StepTarget(*place, Mode.CHUNK, chunk.lo, chunk.hi, total, acc).pack(posted[j])
    if cuts.two_rounds:
        return replace(game, phase=Phase.TOTALS, height=2, word=word)
    return replace(game, phase=Phase.STEP, height=Mode.CHUNK, word=word)


def _pick_inner(
    game: GameState, cuts: Dissection, j: int, before: bytes, posted: tuple[int, ...]
) -> GameState:
    """Round 2: a chunk of the block; its last state is the one that was claimed in round 1."""
    chunks = cuts.inner(_block(before))
    if j >= len(chunks):
        raise errors.NoSuchTotal(j, len(chunks))
    ends, outer = (*posted, claimed_of(before)), int.from_bytes(before[:8], "big")
    total, acc = prior_states(cuts, outer, ends[j - 1], False) if j else (outer, 0)
    place = game.position, game.ordinal, game.index
    target = StepTarget(*place, Mode.CHUNK, chunks[j].lo, chunks[j].hi, total, acc)
    return replace(game, phase=Phase.STEP, height=Mode.CHUNK, word=target.pack(ends[j]))


def prior_states(cuts: Dissection, outer: int, prior: int, boundary: bool) -> tuple[int, int]:
    """(total, accumulator) that a chunk starts with; `prior` is the state where it begins.

    Within a block a sum goes on from the accumulator. A maximum knows no blocks: it goes on from the best so
    far.
    """
    total = prior if boundary or not cuts.is_sum else outer
    return total, 0 if boundary else prior


def _block(word: bytes) -> Chunk:
    """The terms that a packed target is about."""
    return Chunk(int.from_bytes(word[24:28], "big"), int.from_bytes(word[28:32], "big"))


def claimed_of(word: bytes) -> int:
    """What a packed target claims: stored bits or a state."""
    return int.from_bytes(word[16:24], "big")


def target_of(game: GameState) -> StepTarget:
    """The step that a game in phase STEP has come to."""
    word, chunk = game.word, _block(game.word)
    return StepTarget(
        game.position,
        game.ordinal,
        game.index,
        Mode(game.height),
        chunk.lo,
        chunk.hi,
        int.from_bytes(word[:8], "big"),
        int.from_bytes(word[8:16], "big"),
    )
