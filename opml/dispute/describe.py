"""Games in words: where a cursor stands, what a move does, what the disputed step is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from opml.dispute.cursor import Shapes
from opml.dispute.history import History
from opml.dispute.moves import (
    Announce,
    Element,
    Leaf,
    Move,
    Open,
    OpenAt,
    Pick,
    PickTotal,
    PieceProof,
    Reason,
    Release,
    Reveal,
    RevealRoot,
    Step,
    Timeout,
    TokenProof,
    Totals,
)
from opml.dispute.state import GameState
from opml.dispute.totals import Dissection
from opml.dispute.verifier import StepTarget
from opml.vm.isa import OUT_BYTES
from opml.vm.layout import Layout, SlotInfo
from opml.vm.step import Mode
from opml.vm.trace import Cursor, Stage

LAYER = "layer"
"""Name of the blocks that are counted as layers."""


def layer_of(layout: Layout, slot: SlotInfo) -> int | None:
    """Which layer a slot belongs to, from 0; None outside the layers."""
    program = layout.program
    names = [program.blocks[block].name for block in program.schedule]
    return names[: slot.entry].count(LAYER) if names[slot.entry] == LAYER else None


def slot_text(layout: Layout, slot: SlotInfo) -> str:
    """A slot by its layer and name: `layer 17, ffn_down`."""
    name = slot.instr.name or f"instruction {slot.in_block}"
    layer = layer_of(layout, slot)
    if layer is not None:
        return f"layer {layer}, {name}"
    block = layout.program.blocks[layout.program.schedule[slot.entry]].name
    return name if block or slot.instr.name else f"entry {slot.entry}, {name}"


@dataclass(frozen=True, slots=True)
class StepDescription:
    """The disputed step: its place by name and numbers, what was claimed, what the contract computed.

    `terms` are the first and last term of a chunk (None for a whole element, or its finish). `claimed` and
    `computed` are stored bits or packed states; `computed` is None until the contract has computed it.
    """

    layer: int | None
    name: str
    position: int
    element: int
    row: int
    column: int
    mode: str
    terms: tuple[int, int] | None
    claimed: str
    computed: str | None
    text: str

    def values(self) -> Mapping[str, object]:
        """The fields as data."""
        return asdict(self)


def describe_step(
    layout: Layout, target: StepTarget, claimed: int, computed: int | None = None
) -> StepDescription:
    """The step in words: `layer 17, ffn_up, position 12, element 431: claimed 0x…, contract computed 0x…`."""
    slot = layout.committed[target.ordinal]
    _, cols = layout.shape(slot, target.position)
    width = 2 * OUT_BYTES[slot.instr.out]
    place = f"{slot_text(layout, slot)}, position {target.position}, element {target.element}"
    terms = None
    if target.mode == Mode.CHUNK:
        width = 2 * Dissection.of(slot.instr, target.position).state_bytes
        terms = target.lo, target.hi - 1
        place += f", running total over terms {target.lo} … {target.hi - 1}"
    elif target.mode == Mode.FINISH:
        place += ", from the total of its fold"

    def shown(bits: int) -> str:
        return f"0x{bits:0{width}x}"

    text = f"{place}: claimed {shown(claimed)}"
    if computed is not None:
        text += f", contract computed {shown(computed)}"
    return StepDescription(
        layer_of(layout, slot),
        slot.instr.name,
        target.position,
        target.element,
        target.element // cols,
        target.element % cols,
        target.mode.name.lower(),
        terms,
        shown(claimed),
        None if computed is None else shown(computed),
        text,
    )


def describe_game(layout: Layout, fanout: int, prompt_length: int, positions: int, story: History) -> str:
    """How a won game was decided, in words."""
    if story.won is None:
        return "not decided"
    if story.won.reason == Reason.TIMEOUT:
        return "the submitter's clock ran out"
    if story.won.reason == Reason.TOKEN:
        return "a posted token is not the one that the committed trace sampled"
    if story.won.reason == Reason.PIECE:
        return "the answer's bytes are not those of the posted tokens"
    target = story_target(Shapes(layout, prompt_length, positions), story)
    return describe_step(layout, target, story.won.claimed, story.won.computed).text


def story_target(shapes: Shapes, story: History) -> StepTarget:
    """The step that a story has come to: its place, and the terms that were picked."""
    assert story.cursor is not None
    t, ordinal = story.cursor.t, story.cursor.ordinal
    cuts = Dissection.of(shapes.slot(ordinal).instr, t)
    if not cuts.needed or not story.picks:
        return StepTarget(t, ordinal, story.element, Mode.WHOLE)
    if story.picks[0] == len(cuts.chunks):
        return StepTarget(t, ordinal, story.element, Mode.FINISH)
    chunk = cuts.chunks[story.picks[0]]
    if len(story.picks) > 1:
        chunk = cuts.inner(chunk)[story.picks[1]]
    return StepTarget(t, ordinal, story.element, Mode.CHUNK, chunk.lo, chunk.hi)


def place_text(shapes: Shapes, cursor: Cursor) -> str:
    """Where a cursor stands: `trace, 13 levels above the positions`."""
    if cursor.stage == Stage.TRACE:
        return f"trace, {cursor.height} levels above the positions"
    if cursor.stage == Stage.POSITION:
        return f"position {cursor.t}, {cursor.height} levels above its tensors"
    slot = slot_text(shapes.layout, shapes.slot(cursor.ordinal))
    if cursor.height == 0:
        return f"position {cursor.t}, {slot}, leaf {cursor.index}"
    return f"position {cursor.t}, {slot}, {cursor.height} levels above its leaves"


def levels_left(shapes: Shapes, game: GameState) -> int:
    """Levels of hashes between a game's cursor and a leaf; 0 once it is there."""
    cursor, layout = game.cursor, shapes.layout
    if game.phase > 2:
        return 0
    left = cursor.height
    if cursor.stage == Stage.TRACE:
        left += layout.position_depth
    return left


def move_text(shapes: Shapes, fanout: int, game: GameState, move: Move) -> str:
    """What a move does in a game that stands where `game` says."""
    match move:
        case Open():
            return "opens a game at the trace root"
        case OpenAt():
            return f"opens a game at a node revealed before: {place_text(shapes, move.cursor)}"
        case RevealRoot(_, children):
            return f"reveals the trace root and {len(children)} nodes below it"
        case Reveal(children):
            return f"reveals {len(children)} nodes below: {place_text(shapes, game.cursor)}"
        case Pick(i, _, siblings):
            below = Cursor(
                game.stage,
                game.height - len(siblings),
                game.index << len(siblings) | i,
                game.position,
                game.ordinal,
            )
            where = below if shapes.is_padding(below) else shapes.normal(below)
            return f"picks node {i}: {place_text(shapes, where)}"
        case Leaf(data):
            if not game.height:
                return f"opens the leaf, {len(data)} bytes: {place_text(shapes, game.cursor)}"
            slot = slot_text(shapes.layout, shapes.slot(game.ordinal))
            return f"opens the tensor, {len(data)} bytes: position {game.position}, {slot}"
        case Element(i):
            return f"names element {i} of what was opened"
        case Totals(states):
            return f"posts {len(states)} bytes of running totals, round {game.height}"
        case PickTotal(j, _, _):
            return f"picks running total {j}, round {game.height}"
        case Announce():
            return "announces its proof"
        case Step(_, witness, named):
            what = f"names element {named.i} and proves its step" if named.data else "proves the step"
            return f"{what} with {len(witness)} bytes"
        case TokenProof(_, j, _):
            return f"proves that output token {j} was not sampled"
        case PieceProof(j, _, _, _):
            return f"proves that the answer is wrong at output token {j}"
        case Timeout():
            return "closes the game: the other side's clock has run out"
        case Release():
            return "takes its bond out of a game that another one has decided"
