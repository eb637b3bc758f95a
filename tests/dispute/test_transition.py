"""The transition table, rule by rule: phases, senders, clocks, contents, each refusal by its name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
import toys
from table import CHALLENGER, SECOND, SUBMITTER, THIRD, Table

from opml.dispute import errors
from opml.dispute.cheats import BrokenNodes, pick_at, standing_for, total_at
from opml.dispute.cursor import at, span
from opml.dispute.history import History, Known, tell
from opml.dispute.moves import (
    Announce,
    Element,
    GameMove,
    Leaf,
    Open,
    OpenAt,
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
from opml.dispute.own import Own
from opml.dispute.players import Answer
from opml.dispute.strategy import View, challenger_move, element_at, submitter_move
from opml.dispute.transition import TABLE
from opml.dispute.types import SUBMITTER_PHASES, GameKey, Phase, Terms
from opml.dispute.verifier import StepTarget
from opml.errors import InputError
from opml.vm.commitment import E0, Tag
from opml.vm.reference import Fault
from opml.vm.step import Mode
from opml.vm.trace import Cursor, Stage

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


ALL_MOVES: tuple[GameMove, ...] = (
    RevealRoot(E0, ()),
    Reveal(()),
    Pick(0, E0, ()),
    Leaf(b""),
    Element(0, b""),
    Totals(b""),
    PickTotal(0, E0, b""),
    Step(E0, b""),
)
PHASES = (
    Phase.REVEAL,
    Phase.PICK,
    Phase.LEAF,
    Phase.ELEMENT,
    Phase.TOTALS,
    Phase.TOTAL_PICK,
    Phase.STEP,
)


@pytest.mark.parametrize("phase", PHASES)
def test_a_move_of_another_phase_is_refused(phase: Phase) -> None:
    game = match().until(phase)
    before = game.table.arena.game_records[game.key.id].state
    for move in ALL_MOVES:
        owner, _ = TABLE[type(move)]
        if owner != phase and not (isinstance(move, Step) and phase == Phase.STEP):
            with pytest.raises((errors.WrongPhase, errors.NotAnnounced)):
                game.play(move)
    assert game.table.arena.game_records[game.key.id].state == before


@pytest.mark.parametrize("phase", [Phase.PICK, Phase.ELEMENT, Phase.TOTAL_PICK])
def test_nobody_moves_for_a_challenger(phase: Phase) -> None:
    game = match().until(phase)
    for sender in (SUBMITTER, SECOND):
        with pytest.raises(errors.NotTheChallenger):
            game.play(game.next(), sender)


@pytest.mark.parametrize("phase", PHASES)
def test_nobody_announces_or_proves_in_anothers_game(phase: Phase) -> None:
    game = match().until(phase)
    for move in (Announce(E0), Step(E0, b""), TokenProof(E0, 0, b""), PieceProof(0, b"", b"", b"")):
        with pytest.raises(errors.NotTheChallenger):
            game.play(move, SECOND)


@pytest.mark.parametrize("phase", [Phase.REVEAL, Phase.LEAF])
def test_anybody_may_post_what_hashes_can_check(phase: Phase) -> None:
    game = match().until(phase)
    game.play(game.next(), THIRD)
    assert game.phase not in SUBMITTER_PHASES


def test_only_the_submitters_side_posts_totals() -> None:
    game = match().until(Phase.TOTALS)
    with pytest.raises(errors.NotTheSubmitter):
        game.play(game.next(), THIRD)
    with pytest.raises(errors.NotTheSubmitter):
        game.play(game.next(), b"\0" * 20)
    game.play(game.next(), SUBMITTER)


def test_an_operator_posts_totals_for_the_submitter() -> None:
    table = Table(toys.model("every_form"), outputs=2)
    number = next(s.number for s in table.model.layout.slots if s.instr.name == "ffn_up")
    answer = table.answer(table.own(table.run(faults=[Fault(table.last, number, 0, 1)])))
    submitter = table.submitter(answer, operator=THIRD)
    submitter.act()
    operator = table.submitter(answer, account=THIRD)
    operator.answer = lambda request: None
    posted = next(iter(table.arena.claim_records.values()))
    assert posted.claim.operator == THIRD
    challenger = table.challenger()
    for _ in range(40):
        challenger.act()
        for request in table.arena.request_records.values():
            operator.defend(request, posted)
    assert table.arena.claim_records[posted.id].status.name == "REJECTED"


# Clocks ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("phase", PHASES)
def test_a_move_counts_iff_the_seconds_used_are_within_the_clock(phase: Phase) -> None:
    for late in (0, 1):
        game = match().until(phase)
        move = game.next()
        state = game.table.arena.game_records[game.key.id].state
        submitters = phase in SUBMITTER_PHASES
        used = state.used_submitter if submitters else state.used_challenger
        clock = TERMS.submitter_clock if submitters else TERMS.challenger_clock
        game.table.arena.time = state.moved_at + clock - used + late
        if late:
            with pytest.raises(errors.ClockExpired):
                game.play(move)
            game.play(Timeout(), THIRD)
            assert game.phase == (Phase.WON if submitters else Phase.LOST)
        else:
            with pytest.raises(errors.ClockRunning):
                game.play(Timeout(), THIRD)
            game.play(move)


def test_a_clock_runs_over_all_moves_of_a_side() -> None:
    game = match()
    for _ in range(2):
        game.table.arena.advance(40)
        game.play(game.next())
        game.play(game.next())
    move = game.next()
    game.table.arena.advance(40)
    with pytest.raises(errors.ClockExpired):
        game.play(move)


def test_an_announcement_does_not_stop_the_clock() -> None:
    game = match().until(Phase.STEP)
    moved_at = game.table.arena.game_records[game.key.id].state.moved_at
    game.play(game.next())
    assert game.table.arena.game_records[game.key.id].state.moved_at == moved_at
    proof = game.next()
    game.table.arena.advance(TERMS.challenger_clock)
    with pytest.raises(errors.ClockExpired):
        game.play(proof)


def test_a_game_opens_iff_the_window_is_open() -> None:
    table = Table(toys.model("four_letters"), terms=TERMS)
    posted = table.post()
    table.arena.time = posted.claim.posted_at + TERMS.window - 1
    table.arena.open(CHALLENGER, posted.id, Open(0))
    table.arena.time = posted.claim.posted_at + TERMS.window
    with pytest.raises(errors.WindowClosed):
        table.arena.open(SECOND, posted.id, Open(0))


def test_a_claim_is_final_iff_the_window_is_over_and_no_game_is_open() -> None:
    table = Table(toys.model("four_letters"), terms=TERMS)
    posted = table.post()
    key = table.arena.open(CHALLENGER, posted.id, Open(0))
    table.arena.time = posted.claim.posted_at + TERMS.window - 1
    with pytest.raises(errors.WindowOpen):
        table.arena.finalise(SUBMITTER, posted.id)
    table.arena.time += 1
    with pytest.raises(errors.GamesOpen):
        table.arena.finalise(SUBMITTER, posted.id)
    table.arena.time = posted.claim.posted_at + 2
    table.arena.play(SUBMITTER, key, first_reveal(table.own()))
    table.arena.time = posted.claim.posted_at + TERMS.window
    table.arena.play(THIRD, key, Timeout())
    table.arena.finalise(SUBMITTER, posted.id)
    with pytest.raises(errors.ClaimNot):
        table.arena.finalise(SUBMITTER, posted.id)
    with pytest.raises(errors.GameOver):
        table.arena.play(THIRD, key, Timeout())


# Contents ----------------------------------------------------------------------------------------------


def bent(value: bytes) -> bytes:
    return bytes([value[0] ^ 1]) + value[1:]


def test_the_first_reveal_gives_the_trace_root_that_was_committed_to() -> None:
    game = match()
    first = game.next()
    assert isinstance(first, RevealRoot)
    with pytest.raises(errors.RootUnknown):
        game.play(Reveal(first.children))
    with pytest.raises(errors.WrongTraceRoot):
        game.play(replace(first, trace_root=bent(first.trace_root)))
    with pytest.raises(errors.WrongTraceRoot):
        game.play(RevealRoot(game.mine.trace_root, first.children))
    game.play(first)
    game.play(game.next())
    with pytest.raises(errors.RootKnown):
        game.play(first)


def test_a_reveal_has_the_right_number_of_children_that_fold_to_the_node() -> None:
    game = match()
    first = game.next()
    assert isinstance(first, RevealRoot)
    for children in (first.children[:-1], (*first.children, E0), ()):
        with pytest.raises(errors.WrongChildCount):
            game.play(replace(first, children=children))
    with pytest.raises(errors.WrongNode):
        game.play(replace(first, children=(bent(first.children[0]), *first.children[1:])))
    with pytest.raises(errors.WrongNode):
        game.play(replace(first, children=first.children[::-1]))


def test_a_reveal_whose_padding_is_not_nothing_is_refused() -> None:
    table = Table(toys.model("every_form"), outputs=2, terms=TERMS)
    own = table.own()
    place = Cursor(Stage.TRACE, 0, own.shapes.positions)
    broken = standing_for(own, BrokenNodes(own, place, bytes([Tag.TRACE]) + bytes(64)))
    duel = table.duel(broken, mine=own)
    assert "NotPadding" in duel.refused


def test_a_pick_is_a_child_that_exists_and_is_proven() -> None:
    game = match().until(Phase.PICK)
    right = game.next()
    assert isinstance(right, Pick)
    with pytest.raises(errors.NoSuchChild):
        game.play(replace(right, i=4))
    for siblings in (right.siblings[:-1], (*right.siblings, E0)):
        with pytest.raises(errors.WrongSiblingCount):
            game.play(replace(right, siblings=siblings))
    for wrong in (
        replace(right, child=bent(right.child)),
        replace(right, i=right.i ^ 1),
        replace(right, siblings=right.siblings[::-1]),
    ):
        with pytest.raises(errors.WrongNode):
            game.play(wrong)


def test_padding_cannot_be_picked() -> None:
    game = match().until(Phase.PICK)
    with pytest.raises(errors.Padding):
        game.play(pick_at(game.view(), 3))


def test_a_slot_that_a_position_lacks_cannot_be_picked() -> None:
    table = Table(toys.model("four_letters"), outputs=1, terms=Terms(fanout=8))
    posted = table.post()
    key = table.arena.open(CHALLENGER, posted.id, Open(0))
    own, story, known = table.own(), History(), Known()
    table.arena.play(SUBMITTER, key, submitter_move(table.view(key, SUBMITTER, story, known), own))  # type: ignore[arg-type]
    for event in table.arena.game_records[key.id].events:
        tell(own.shapes, 8, story, event, known)
    table.arena.play(CHALLENGER, key, pick_at(table.view(key, CHALLENGER, story, known), 0))
    children = own.nodes.children(table.arena.game_records[key.id].state.cursor, 3)
    table.arena.play(SUBMITTER, key, Reveal(children))
    for event in table.arena.game_records[key.id].events[3:]:
        tell(own.shapes, 8, story, event, known)
    with pytest.raises(errors.Padding):
        table.arena.play(CHALLENGER, key, pick_at(table.view(key, CHALLENGER, story, known), 6))


def test_a_leaf_has_the_bytes_of_its_elements() -> None:
    game = match().until(Phase.LEAF)
    right = game.next()
    assert isinstance(right, Leaf)
    for data in (right.data[:-1], right.data + b"\0", b""):
        with pytest.raises(errors.WrongLeafLength):
            game.play(Leaf(data))
    with pytest.raises(errors.WrongNode):
        game.play(Leaf(bent(right.data)))


def test_an_element_is_named_in_the_leaf_that_was_opened() -> None:
    game = match().until(Phase.ELEMENT)
    right = game.next()
    assert isinstance(right, Element)
    with pytest.raises(errors.WrongNode):
        game.play(replace(right, data=bent(right.data)))
    with pytest.raises(errors.NoSuchElement):
        game.play(replace(right, i=300))
    with pytest.raises(errors.WrongNode):
        game.play(replace(right, i=256))
    for siblings in ((), (*right.siblings, E0)):
        with pytest.raises(errors.WrongSiblingCount):
            game.play(replace(right, siblings=siblings))
    with pytest.raises(errors.WrongNode):
        game.play(replace(right, siblings=(bent(right.siblings[0]),)))


@pytest.mark.parametrize(("slot", "reveals"), [("ffn_up", 0), ("embed", 0), ("wide", 2)])
def test_a_tensor_of_at_most_4096_bytes_is_opened_whole(slot: str, reveals: int) -> None:
    game = match(slot, element=7)
    counted = 0
    while game.phase != Phase.ELEMENT:
        state = game.table.arena.game_records[game.key.id].state
        counted += state.phase == Phase.REVEAL and state.stage == Stage.TENSOR
        game.play(game.next())
    assert counted == reveals


def test_an_element_whose_fold_fits_a_step_is_named_with_its_proof() -> None:
    game = match("wide", element=1_099).until(Phase.ELEMENT)
    announcement = game.next()
    assert isinstance(announcement, Announce)
    game.play(announcement)
    proof = game.next()
    assert isinstance(proof, Step)
    assert proof.named.i == 1_099 - 1_024
    game.play(proof)
    assert game.phase == Phase.WON
    game.view()
    assert game.story.element == 1_099
    assert game.story.won is not None
    assert game.story.won.claimed == game.story.bits


def test_an_element_that_is_dissected_is_not_proven_in_one_step() -> None:
    game = match("ffn_up").until(Phase.ELEMENT)
    named = game.next()
    assert isinstance(named, Element)
    with pytest.raises(errors.WrongPhase):
        announced(game, Step(game.theirs.trace_root, b"", named))
    assert game.phase == Phase.ELEMENT


def test_a_proof_that_names_a_right_element_decides_nothing() -> None:
    game = match("wide", element=5).until(Phase.ELEMENT)
    game.play(game.next())
    proof = game.next()
    assert isinstance(proof, Step)
    other = element_at(game.view(), game.mine, 6)
    target = StepTarget(game.table.last, game.view().game.ordinal, 6, Mode.WHOLE)
    _, witness = game.mine.step_witness(target, game.known.nodes)
    with pytest.raises(errors.NotFraud):
        announced(game, replace(proof, witness=witness, named=other))
    with pytest.raises(InputError):
        announced(game, replace(proof, witness=witness[:-1], named=other))
    assert game.phase == Phase.ELEMENT
    announced(game, proof)
    assert game.phase == Phase.WON


def test_totals_are_exactly_those_of_the_chunks() -> None:
    game = match().until(Phase.TOTALS)
    right = game.next()
    assert isinstance(right, Totals)
    assert len(right.states) == 4 * 4
    for states in (right.states[:-1], right.states + b"\0" * 4, b""):
        with pytest.raises(errors.WrongStatesLength):
            game.play(Totals(states))


def test_a_total_is_picked_among_those_that_were_posted() -> None:
    game = match().until(Phase.TOTAL_PICK)
    right = game.next()
    assert isinstance(right, PickTotal)
    assert right.j == 4  # the states are right, the finish isn't
    with pytest.raises(errors.NoSuchTotal):
        game.play(replace(right, j=5))
    for wrong in (
        replace(right, states=bent(right.states)),
        replace(right, before=bent(right.before)),
        replace(right, before=right.before + right.states[:4], states=right.states[4:]),
    ):
        with pytest.raises(errors.WrongStates):
            game.play(wrong)


def test_round_two_has_no_finish() -> None:
    game = match("ffn_down").until(Phase.TOTAL_PICK)
    first = total_at(game.view(), game.mine, 0)
    game.play(first)
    assert game.phase == Phase.TOTALS
    game.play(game.next())
    second = total_at(game.view(), game.mine, 0)
    assert len(second.states) == 7 * 4
    with pytest.raises(errors.NoSuchTotal):
        game.play(replace(second, j=8))
    game.play(replace(second, j=7))
    assert game.phase == Phase.STEP


def test_the_last_block_may_be_too_short_to_post_anything_for() -> None:
    game = match("sample")
    game.until(Phase.TOTAL_PICK)
    move = total_at(game.view(), game.mine, 1)
    game.play(move)
    states = game.next()
    assert isinstance(states, Totals)
    assert len(states.states) == (-(-44 // 4) - 1) * 8


# Proofs ------------------------------------------------------------------------------------------------


def test_a_proof_is_accepted_only_in_a_later_block_than_its_announcement() -> None:
    game = match().until(Phase.STEP)
    announcement = game.next()
    assert isinstance(announcement, Announce)
    game.play(announcement)
    proof = game.next()
    game.table.arena.block -= 1
    with pytest.raises(errors.AnnouncedInThisBlock):
        game.play(proof)
    game.table.arena.block += 1
    game.play(proof)
    assert game.phase == Phase.WON


def test_another_proof_than_the_announced_one_is_refused() -> None:
    game = match().until(Phase.STEP)
    game.play(game.next())
    proof = game.next()
    assert isinstance(proof, Step)
    with pytest.raises(errors.NotAnnounced):
        game.play(replace(proof, witness=proof.witness + b"\0"))


def announced(game: Match, proof: Step | TokenProof | PieceProof) -> None:
    game.play(Announce(game.view().digest(proof)))
    game.play(proof)


def test_a_proof_under_another_trace_root_is_refused() -> None:
    game = match().until(Phase.STEP)
    with pytest.raises(errors.WrongTraceRoot):
        announced(game, Step(game.mine.trace_root, b""))


def test_a_malformed_witness_decides_nothing() -> None:
    game = match("ffn_down").until(Phase.STEP)
    game.play(game.next())
    right = game.next()
    assert isinstance(right, Step)
    for witness in (b"", right.witness[:-1], right.witness + b"\0", bent(right.witness)):
        with pytest.raises(InputError):
            announced(game, replace(right, witness=witness))
        assert game.phase == Phase.STEP


def test_direct_proofs_against_a_right_answer_decide_nothing() -> None:
    table = Table(toys.model("every_form"), outputs=2)
    posted = table.post()
    key = table.arena.open(CHALLENGER, posted.id, Open(0))
    own = table.own()
    game = Match(table, own, own, key, History(), Known())
    for j in range(len(posted.output)):
        with pytest.raises(errors.NotFraud):
            announced(game, TokenProof(own.trace_root, j, own.token_witness(j)))
        with pytest.raises(errors.NotFraud):
            announced(game, PieceProof(j, posted.answer, posted.lengths, own.piece_witness(j)))
        with pytest.raises(errors.WrongBytes):
            announced(game, PieceProof(j, posted.answer + b"!", posted.lengths, own.piece_witness(j)))
        with pytest.raises(errors.WrongBytes):
            announced(game, PieceProof(j, posted.answer, bytes(len(posted.lengths)), own.piece_witness(j)))
    for proof in (
        TokenProof(own.trace_root, len(posted.output), own.token_witness(0)),
        TokenProof(own.trace_root, 0, own.token_witness(1)),
        TokenProof(own.trace_root, 0, own.token_witness(0)[:-1]),
        PieceProof(0, posted.answer, posted.lengths, bent(own.piece_witness(0))),
        PieceProof(0, posted.answer, posted.lengths, own.piece_witness(0)[:-32]),
    ):
        with pytest.raises(InputError):
            announced(game, proof)
    assert game.phase == Phase.REVEAL


def test_a_direct_proof_is_admitted_in_either_sides_turn() -> None:
    table = Table(toys.model("four_letters"), outputs=2, terms=TERMS)
    honest = table.answer(table.own())
    posted = table.post(Answer(honest.output, (b"?" + honest.pieces[0][1:], *honest.pieces[1:]), honest.own))
    key = table.arena.open(CHALLENGER, posted.id, Open(0))
    own = table.own()
    game = Match(table, own, own, key, History(), Known())
    game.play(first_reveal(own), SUBMITTER)
    assert game.phase == Phase.PICK
    announced(game, PieceProof(0, posted.answer, posted.lengths, own.piece_witness(0)))
    assert game.phase == Phase.WON


# Opening at a node -------------------------------------------------------------------------------------


def opening_of(own: Own, cursor: Cursor) -> OpenAt:
    siblings = tuple(own.nodes.node(sibling) for sibling in own.shapes.above(cursor))
    return OpenAt(0, own.trace_root, cursor, own.nodes.node(cursor), siblings)


def test_a_game_opens_at_any_node_under_the_trace_root() -> None:
    table = Table(toys.model("every_form"), outputs=2, terms=TERMS)
    own, posted = table.own(), table.post()
    shapes, salt = own.shapes, 0
    for stage in Stage:
        leaf = Cursor(stage, 0, 0, 1 if stage else 0, 1 if stage == Stage.TENSOR else 0)
        for height in range(shapes.depth(leaf) + 1):
            cursor = at(leaf, height, 0)
            move = replace(opening_of(own, cursor), salt=salt)
            key = table.arena.open(CHALLENGER, posted.id, move)
            state = table.arena.game_records[key.id].state
            assert state.cursor == shapes.normal(cursor)
            assert state.word == own.nodes.node(cursor)
            assert state.phase in (Phase.REVEAL, Phase.LEAF)
            salt += 1


def test_a_node_that_is_not_there_cannot_be_opened_at() -> None:
    table = Table(toys.model("every_form"), outputs=2, terms=TERMS)
    own, posted = table.own(), table.post()
    right = opening_of(own, Cursor(Stage.POSITION, 1, 0, 1))
    cases: list[tuple[type[errors.Refused], Callable[[OpenAt], OpenAt]]] = [
        (errors.WrongTraceRoot, lambda m: replace(m, trace_root=bent(m.trace_root))),
        (errors.WrongNode, lambda m: replace(m, node=bent(m.node))),
        (errors.WrongSiblingCount, lambda m: replace(m, siblings=m.siblings[:-1])),
        (errors.WrongSiblingCount, lambda m: replace(m, siblings=(*m.siblings, E0))),
        (errors.WrongNode, lambda m: replace(m, cursor=replace(m.cursor, t=0))),
        (errors.Padding, lambda m: replace(m, cursor=replace(m.cursor, t=own.shapes.positions))),
        (errors.NoSuchNode, lambda m: replace(m, cursor=replace(m.cursor, height=9))),
        (errors.NoSuchNode, lambda m: replace(m, cursor=replace(m.cursor, index=1 << 10))),
        (errors.Padding, lambda m: replace(m, cursor=replace(m.cursor, height=0, index=15))),
        (errors.Padding, lambda m: replace(m, cursor=Cursor(Stage.TENSOR, 0, 0, 0, 200))),
    ]
    for refusal, change in cases:
        with pytest.raises(refusal):
            table.arena.open(CHALLENGER, posted.id, change(right))
    table.arena.open(CHALLENGER, posted.id, right)
    with pytest.raises(errors.GameExists):
        table.arena.open(CHALLENGER, posted.id, right)


# Rejected claims ---------------------------------------------------------------------------------------


def test_a_step_that_comes_too_late_is_recorded_and_repaid() -> None:
    game = match().until(Phase.STEP)
    arena = game.table.arena
    posted = arena.claim_records[game.key.claim_id]
    other = arena.open(SECOND, posted.id, Open(0))
    game.play(game.next())
    proof = game.next()
    late = Match(game.table, game.theirs, game.mine, other, History(), Known())
    while late.phase != Phase.STEP:
        view = late.table.view(late.key, SECOND, late.story, late.known)
        late.view()
        move = (
            late.next()
            if view.game.phase in SUBMITTER_PHASES
            else challenger_move(late.view(SECOND), late.mine)
        )
        assert move is not None
        late.play(move, SUBMITTER if view.game.phase in SUBMITTER_PHASES else SECOND)
    step = challenger_move(late.view(SECOND), late.mine)
    assert isinstance(step, Announce)
    late.play(step, SECOND)
    theirs = challenger_move(late.view(SECOND), late.mine)
    assert isinstance(theirs, Step)
    game.play(proof)
    assert game.phase == Phase.WON
    for move in (Announce(E0), Timeout()):
        with pytest.raises(errors.ClaimRejectedAlready):
            late.play(move, SECOND)
    with pytest.raises(errors.ClaimRejectedAlready):
        arena.open(THIRD, posted.id, Open(0))
    late.play(theirs, SECOND)
    assert late.phase == Phase.RELEASED
    with pytest.raises(errors.GameOver):
        late.play(Release(), SECOND)


def test_a_bond_is_released_by_its_owner_at_once_and_by_others_after_its_clock() -> None:
    game = match()
    arena = game.table.arena
    with pytest.raises(errors.ClaimNotRejected):
        game.play(Release())
    others = [arena.open(account, game.key.claim_id, Open(0)) for account in (SECOND, THIRD)]
    rejected_at = arena.time + TERMS.submitter_clock + 1
    arena.time = rejected_at
    game.play(Timeout())
    arena.play(SECOND, others[0], Release())
    with pytest.raises(errors.NotReleasable):
        arena.play(CHALLENGER, others[1], Release())
    arena.time = rejected_at + TERMS.challenger_clock
    with pytest.raises(errors.NotReleasable):
        arena.play(CHALLENGER, others[1], Release())
    arena.time += 1
    arena.play(CHALLENGER, others[1], Release())


def test_states_of_pairs_take_eight_bytes() -> None:
    for slot, bytes_posted in (("q", 2 * 8), ("sample", 2 * 8), ("score.max", 3 * 4)):
        game = match(slot).until(Phase.TOTALS)
        states = game.next()
        assert isinstance(states, Totals)
        assert len(states.states) == bytes_posted
