"""A table to play at: an arena with a model, a request on it, and the players around."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

from opml.dispute import errors
from opml.dispute.arena import CHAIN_ID, ORACLE, Arena, RegisteredModel
from opml.dispute.arena_gateway import ArenaGateway
from opml.dispute.faults import Cheat, Scenario
from opml.dispute.gateway import ClaimRecord, ClaimStatus, RequestRecord
from opml.dispute.history import History, Known, tell
from opml.dispute.moves import GameMove, GameWon, Open, Reason, Timeout
from opml.dispute.own import Own, Vocabulary
from opml.dispute.players import Answer, Challenger, Player, Strategy, Submitter, run_to_rest
from opml.dispute.strategy import View, challenger_move, expired, submitter_move
from opml.dispute.types import GameKey, Phase, Request, Terms, commitment_of, lengths_of
from opml.errors import InputError
from opml.models.model import Model
from opml.vm import engine
from opml.vm.commitment import tokens_tree, vocabulary_tree
from opml.vm.reference import Fault
from opml.vm.trace import Trace
from tests.native import fast_engine

REQUESTER = b"\x01" * 20
SUBMITTER = b"\x02" * 20
CHALLENGER = b"\x03" * 20
SECOND = b"\x04" * 20
THIRD = b"\x05" * 20
FEE = 10**15
ENGINE = fast_engine()
LONG = 10_000


@dataclass
class Duel:
    """How one game went: its phases in order, what was refused, and its end."""

    status: ClaimStatus
    phase: Phase
    won: GameWon | None
    moves: list[GameMove] = field(default_factory=list)
    phases: list[Phase] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    @property
    def reason(self) -> Reason | None:
        return self.won.reason if self.won else None


class Table:
    """One model, one request of a prompt; `honest` is the right trace of the right answer."""

    def __init__(
        self,
        model: Model,
        prompt: Sequence[int] = (0, 2),
        outputs: int = 2,
        terms: Terms | None = None,
        base_fee: int = 10**9,
        exact_digests: bool = False,
        params: Sequence[int] = (),
    ) -> None:
        self.model, self.prompt, self.outputs = model, tuple(prompt), outputs
        self.vocabulary = Vocabulary(model.pieces, vocabulary_tree(model.pieces))
        self.registered = RegisteredModel(
            model.id,
            model.layout,
            model.weights_root,
            self.vocabulary.tree.root,
            model.vocabulary_size,
            model.end_tokens,
        )
        self.terms = terms or Terms()
        packed = sum(word << 32 * (7 - i) for i, word in enumerate(params))
        self.request = Request(
            REQUESTER,
            0,
            model.id,
            tokens_tree(prompt).root,
            len(prompt),
            packed,
            outputs,
            2**40,
            b"\0" * 20,
            0,
            FEE,
        )
        self.base_fee, self.exact_digests = base_fee, exact_digests
        self.fresh()

    def fresh(self) -> Arena:
        """A new chain with the request on it."""
        self.arena = Arena(
            self.registered, self.terms, base_fee=self.base_fee, exact_digests=self.exact_digests
        )
        self.arena.request(self.request, self.prompt)
        return self.arena

    @cached_property
    def machine(self) -> engine.Model:
        return ENGINE.load(self.model.program, self.model.weights)

    @cached_property
    def honest(self) -> Trace:
        return engine.generate(
            self.machine, self.prompt, self.outputs, self.request.param_words, self.model.end_tokens
        )

    @property
    def scenario(self) -> Scenario:
        return Scenario(ENGINE, self.machine, self.honest, self.vocabulary, self.model.end_tokens)

    @property
    def last(self) -> int:
        """The last position."""
        return len(self.honest.tokens) - 2

    def run(self, tokens: Sequence[int] | None = None, faults: Sequence[Fault] = ()) -> Trace:
        """A trace over given tokens, perhaps a falsified one."""
        return engine.run(
            self.machine, tokens or self.honest.tokens, len(self.prompt), self.request.param_words, faults
        )

    def own(self, trace: Trace | None = None) -> Own:
        """The computation behind a trace, the honest one by default."""
        return Own.of(trace or self.honest, self.vocabulary)

    def own_of(self, request: RequestRecord, posted: ClaimRecord) -> Own:
        """The honest computation over a claim's tokens."""
        tokens = self.prompt + posted.output
        return self.own(self.honest if tokens == self.honest.tokens else self.run(tokens))

    def answer(self, own: Own) -> Answer:
        """The answer of a trace."""
        output = tuple(own.trace.tokens[len(self.prompt) :])
        return Answer(output, tuple(self.vocabulary.pieces[token] for token in output), own)

    # Players -------------------------------------------------------------------------------------------

    def submitter(
        self,
        answer: Answer | None = None,
        account: bytes = SUBMITTER,
        strategy: Strategy = submitter_move,
        operator: bytes = b"\0" * 20,
    ) -> Submitter:
        """A submitter that posts an answer (the honest one by default) and stands for it."""
        mine = answer or self.answer(self.own())
        return Submitter(
            ArenaGateway(self.arena, account),
            lambda request, posted: mine.own,
            lambda request: mine,
            strategy=strategy,
            operator=operator,
        )

    def challenger(self, account: bytes = CHALLENGER, **options: object) -> Challenger:
        """A challenger, honest unless its options say otherwise."""
        return Challenger(ArenaGateway(self.arena, account), self.own_of, **options)  # type: ignore[arg-type]

    def play(self, players: Sequence[Player], rounds: int = 3) -> ClaimStatus:
        """Play to rest, letting all clocks run out in between; the first claim's status."""
        for _ in range(rounds):
            run_to_rest(players, 200)
            self.arena.advance(LONG)
        run_to_rest(players, 200)
        return next(iter(self.arena.claim_records.values())).status

    def post(self, answer: Answer | None = None, account: bytes = SUBMITTER) -> ClaimRecord:
        """Post a claim; the record."""
        mine = answer or self.answer(self.own())
        commitment = commitment_of(mine.own.trace_root, account, self.request.id(CHAIN_ID, ORACLE))
        claim_id = self.arena.submit(
            account, self.request, b"\0" * 20, commitment, mine.output, mine.text, lengths_of(mine.pieces)
        )
        return self.arena.claim_records[claim_id]

    # One game, without the players' machinery ----------------------------------------------------------

    def view(self, key: GameKey, account: bytes, story: History, known: Known) -> View:
        """A game as an account sees it."""
        arena = self.arena
        posted = arena.claim_records[key.claim_id]
        return View(
            arena.terms,
            posted,
            key,
            arena.game_records[key.id].state,
            story,
            known,
            account,
            arena.time,
            arena.block,
            bool(arena.dockets[key.claim_id].rejected_at),
            lambda proof: arena.digest(self.request, posted.claim, key, proof, account),
        )

    def duel(
        self,
        theirs: Own | Answer,
        mine: Own | None = None,
        submits: Strategy = submitter_move,
        challenges: Strategy = challenger_move,
    ) -> Duel:
        """A claim is posted and challenged on a fresh chain; whoever has nothing to move runs out of time."""
        arena = self.fresh()
        answer = theirs if isinstance(theirs, Answer) else self.answer(theirs)
        posted = self.post(answer)
        mine = mine or self.own_of(arena.request_records[posted.claim.request_id], posted)
        key = arena.open(CHALLENGER, posted.id, Open(0))
        story, known, told = History(), Known(), 0
        result = Duel(ClaimStatus.PENDING, Phase.NONE, None)
        while True:
            game = arena.game_records[key.id]
            for event in game.events[told:]:
                tell(mine.shapes, arena.terms.fanout, story, event, known)
            told = len(game.events)
            if not game.state.is_open:
                break
            result.phases.append(game.state.phase)
            view = self.view(key, CHALLENGER, story, known)
            if expired(view):
                arena.play(CHALLENGER, key, Timeout())
                continue
            sender = SUBMITTER if game.state.submitters_turn else CHALLENGER
            # A direct proof may come in either side's turn.
            move = challenges(view, mine) if sender == CHALLENGER else None
            if sender == SUBMITTER:
                move = submits(self.view(key, SUBMITTER, story, known), answer.own)
                if move is None or view.game.phase == Phase.REVEAL:
                    early = challenges(view, mine)
                    if early is not None:
                        sender, move = CHALLENGER, early
            if move is None:
                arena.advance(LONG)
                continue
            try:
                arena.play(sender, key, move)
                result.moves.append(move)
            except (errors.Refused, InputError) as refusal:
                result.refused.append(refusal.error if isinstance(refusal, errors.Refused) else "InputError")
                arena.advance(LONG)
        result.phase, result.won = game.state.phase, story.won
        result.status = arena.claim_records[posted.id].status
        return result

    def cheat(self, cheat: Cheat) -> Duel:
        """A duel against a planted fault."""
        return self.duel(cheat.answer, submits=cheat.strategy)
