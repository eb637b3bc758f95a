"""What the events of games say of a commitment: everything a player needs beside the chain's state.

A player keeps nothing: it reads the events again and knows every node, leaf and total that was ever revealed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from opml.dispute.cursor import Shapes, span
from opml.dispute.moves import (
    Announced,
    ElementNamed,
    GameEvent,
    GameWon,
    LeafRevealed,
    Opened,
    Picked,
    Revealed,
    RootRevealed,
    TotalPicked,
    TotalsPosted,
)
from opml.dispute.nodes import record_reveal
from opml.dispute.state import GameState
from opml.dispute.types import ZERO32, Phase
from opml.vm.trace import Cursor


@dataclass(slots=True)
class Known:
    """What is known of a claim's commitment from all of its games: the trace root, nodes, leaves."""

    trace_root: bytes = ZERO32
    nodes: dict[Cursor, bytes] = field(default_factory=dict)
    leaves: dict[Cursor, bytes] = field(default_factory=dict)


@dataclass(slots=True)
class History:
    """One game, retold: the node it is at, what was last revealed there, and the dissection so far.

    `children` are those of the cursor, `data` the bytes of the leaf; empty before they are revealed.
    `postings` are the states of rounds 1 and 2, `picks` the chunks picked. `path` are the cursors that the
    game has stood at.
    """

    opened: Opened | None = None
    trace_root: bytes = ZERO32
    cursor: Cursor | None = None
    children: tuple[bytes, ...] = ()
    data: bytes = b""
    element: int = 0
    bits: int = 0
    postings: list[bytes] = field(default_factory=list)
    picks: list[int] = field(default_factory=list)
    path: list[Cursor] = field(default_factory=list)
    announced: bytes = b""
    won: GameWon | None = None


def retell(shapes: Shapes, fanout: int, events: Iterable[GameEvent], known: Known) -> History:
    """The history of a game from its events, oldest first; what they reveal is added to `known`."""
    story = History()
    for event in events:
        tell(shapes, fanout, story, event, known)
    return story


def is_told(story: History, game: GameState) -> bool:
    """Whether a history has come to the state of its game: a node may know a state before its logs."""
    match game.phase:
        case Phase.PICK:
            return story.cursor == game.cursor and len(story.children) > 0
        case Phase.ELEMENT:
            return story.cursor == game.cursor and len(story.data) > 0
        case Phase.TOTAL_PICK:
            return len(story.postings) == len(story.picks) + 1
        case Phase.STEP:
            return len(story.postings) == len(story.picks)
        case _:
            return True


def tell(shapes: Shapes, fanout: int, story: History, event: GameEvent, known: Known) -> None:
    """Adds the next event to a game's history, and what it reveals to `known`."""
    match event:
        case Opened():
            story.opened, story.cursor, story.path = event, event.cursor, [event.cursor]
            if event.trace_root != ZERO32:
                story.trace_root = known.trace_root = event.trace_root
        case RootRevealed(_, trace_root):
            story.trace_root = known.trace_root = trace_root
            known.nodes[shapes.root()] = trace_root
        case Revealed(_, children):
            assert story.cursor is not None
            story.children = children
            record_reveal(known.nodes, story.cursor, children)
        case Picked(_, i, _):
            assert story.cursor is not None
            levels = span(story.cursor.height, fanout)
            story.cursor, story.children = shapes.child(story.cursor, levels, i), ()
            story.path.append(story.cursor)
        case LeafRevealed(_, data):
            assert story.cursor is not None
            story.data = known.leaves[story.cursor] = data
        case ElementNamed(_, element, bits):
            story.element, story.bits = element, bits
        case TotalsPosted(_, _, states):
            story.postings.append(states)
        case TotalPicked(_, _, j):
            story.picks.append(j)
        case Announced(_, digest):
            story.announced = digest
        case GameWon():
            story.won = event
        case _:
            pass
