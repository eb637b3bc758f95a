"""A game that tests stop in any phase."""

from __future__ import annotations

from dataclasses import dataclass

import toys
from table import CHALLENGER, SUBMITTER, Table

from opml.dispute.cursor import span
from opml.dispute.history import History, Known, tell
from opml.dispute.moves import (
    Announce,
    GameMove,
    Leaf,
    Open,
    PieceProof,
    Reveal,
    RevealRoot,
    Step,
    TokenProof,
    Totals,
)
from opml.dispute.own import Own
from opml.dispute.strategy import View, challenger_move, submitter_move
from opml.dispute.types import SUBMITTER_PHASES, GameKey, Phase, Terms
from opml.vm.reference import Fault

TERMS = Terms(fanout=2, submitter_clock=100, challenger_clock=90, window=200)


@dataclass
class Match:
    """A game that can be stopped in any phase: the claim is wrong in one element of a dissected fold."""

    table: Table
    theirs: Own
    mine: Own
    key: GameKey
    story: History
    known: Known
    told: int = 0

    def view(self, account: bytes = CHALLENGER) -> View:
        events = self.table.arena.game_records[self.key.id].events
        for event in events[self.told :]:
            tell(self.mine.shapes, TERMS.fanout, self.story, event, self.known)
        self.told = len(events)
        return self.table.view(self.key, account, self.story, self.known)

    @property
    def phase(self) -> Phase:
        return self.table.arena.game_records[self.key.id].state.phase

    def play(self, move: GameMove, sender: bytes | None = None) -> None:
        by_submitter = isinstance(move, (RevealRoot, Reveal, Leaf, Totals))
        self.table.arena.play(sender or (SUBMITTER if by_submitter else CHALLENGER), self.key, move)

    def next(self) -> GameMove:
        """What the side to move does next."""
        view = self.view()
        move = (
            submitter_move(view, self.theirs)
            if view.game.phase in SUBMITTER_PHASES
            else challenger_move(view, self.mine)
        )
        assert move is not None
        return move

    def until(self, phase: Phase) -> Match:
        """Play on, honestly, until the game is in a phase."""
        while self.phase != phase:
            self.play(self.next())
        return self


def match(slot: str = "ffn_up", element: int = 0, base_fee: int = 10**9) -> Match:
    table = Table(toys.model("every_form"), outputs=2, terms=TERMS, base_fee=base_fee)
    number = next(s.number for s in table.model.layout.slots if s.instr.name == slot)
    trace = table.run(faults=[Fault(table.last, number, element, 0x00400000)])
    theirs = table.own(trace)
    posted = table.post(table.answer(theirs))
    key = table.arena.open(CHALLENGER, posted.id, Open(0))
    return Match(table, theirs, table.own(), key, History(), Known())


def first_reveal(own: Own) -> RevealRoot:
    root = own.shapes.root()
    return RevealRoot(own.trace_root, own.nodes.children(root, span(root.height, TERMS.fanout)))


PHASES = (
    Phase.REVEAL,
    Phase.PICK,
    Phase.LEAF,
    Phase.ELEMENT,
    Phase.TOTALS,
    Phase.TOTAL_PICK,
    Phase.STEP,
)


def bent(value: bytes) -> bytes:
    return bytes([value[0] ^ 1]) + value[1:]


def announced(game: Match, proof: Step | TokenProof | PieceProof) -> None:
    """Announce a proof, and send it in a later block."""
    game.play(Announce(game.view().digest(proof)))
    game.play(proof)
