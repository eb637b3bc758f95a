"""What the events of games say of a commitment: everything a player needs beside the chain's state.

A player keeps nothing: it reads the events again and knows every node, leaf and total that was ever revealed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from opml.dispute.cursor import Shapes
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
from opml.dispute.types import ZERO32
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
        if isinstance(event, Opened):
            story.opened, story.cursor, story.path = event, event.cursor, [event.cursor]
            if event.trace_root != ZERO32:
                story.trace_root = known.trace_root = event.trace_root
        elif isinstance(event, RootRevealed):
            story.trace_root = known.trace_root = event.trace_root
            known.nodes[shapes.root()] = event.trace_root
        elif isinstance(event, Revealed):
            assert story.cursor is not None
            story.children = event.children
            record_reveal(known.nodes, story.cursor, event.children)
        elif isinstance(event, Picked):
            assert story.cursor is not None
            levels = min(fanout, story.cursor.height)
            story.cursor, story.children = shapes.child(story.cursor, levels, event.i), ()
            story.path.append(story.cursor)
        elif isinstance(event, LeafRevealed):
            assert story.cursor is not None
            story.data = known.leaves[story.cursor] = event.data
        elif isinstance(event, ElementNamed):
            story.element, story.bits = event.element, event.bits
        elif isinstance(event, TotalsPosted):
            story.postings.append(event.states)
        elif isinstance(event, TotalPicked):
            story.picks.append(event.j)
        elif isinstance(event, Announced):
            story.announced = event.digest
        elif isinstance(event, GameWon):
            story.won = event
    return story
