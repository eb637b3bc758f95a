"""The contracts on an embedded chain, each transaction repeated in the arena and compared with it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, cached_property
from typing import Any

import toys
from table import ENGINE, FEE

from opml.chain.adapter import Revert, Signer
from opml.chain.decode import address_bytes
from opml.chain.deployment import deploy
from opml.chain.gateway import ChainGateway, Order
from opml.dispute import errors
from opml.dispute.arena import Arena, RegisteredModel
from opml.dispute.faults import Scenario
from opml.dispute.gateway import ClaimRecord, ClaimStatus, Receipt, RequestRecord
from opml.dispute.moves import GameMove, Opening
from opml.dispute.own import Own, Vocabulary
from opml.dispute.players import Answer, Challenger, Player, Strategy, Submitter, run_to_rest
from opml.dispute.strategy import challenger_move, submitter_move
from opml.dispute.types import Claim, GameKey, Request, Terms
from opml.errors import ChainError, InputError
from opml.models.model import Model
from opml.vm import engine
from opml.vm.commitment import vocabulary_tree
from opml.vm.trace import Trace
from tests.remembered import RememberingChain

TERMS = Terms()
DEADLINE = 1 << 40


class World:
    """One model on one chain, with a request; `reset` goes back to where nothing was claimed."""

    def __init__(self, model: Model, prompt: Sequence[int] = (5, 9, 4, 7), outputs: int = 2) -> None:
        self.model = model
        self.prompt = tuple(token % (self.model.vocabulary_size - 1) for token in prompt)[
            : self.model.limit - 1
        ]
        self.outputs = min(outputs, self.model.limit + 1 - len(self.prompt))
        self.vocabulary = Vocabulary(self.model.pieces, vocabulary_tree(self.model.pieces))
        self.chain = RememberingChain()
        self.deployment = deploy(self.chain, self.chain.accounts[0], TERMS)
        asker = ChainGateway(self.chain, self.deployment, self.chain.accounts[1])
        model = self.model
        registered, _ = asker.register_model(
            model.encoded, model.weights_root, model.vocabulary_root, model.vocabulary_size, model.end_tokens
        )
        assert registered == model.id
        order = Order(0, model.id, 0, self.outputs, DEADLINE, fee=FEE)
        self.record, _ = asker.request(order, self.prompt)
        self.start = self.chain.snapshot()
        self.arena = self._arena()

    def _arena(self) -> Arena:
        model = self.model
        arena = Arena(
            RegisteredModel(
                model.id,
                model.layout,
                model.weights_root,
                model.vocabulary_root,
                model.vocabulary_size,
                model.end_tokens,
            ),
            TERMS,
            base_fee=self.chain.fees().base_fee,
            chain_id=self.chain.chain_id,
            oracle=address_bytes(self.deployment.addresses["OpmlOracle"]),
        )
        assert arena.request(self.record.request, self.prompt) == self.record.id
        return arena

    def reset(self) -> World:
        self.chain.revert(self.start)
        self.arena = self._arena()
        return self

    @cached_property
    def machine(self) -> engine.Model:
        return ENGINE.load(self.model.program, self.model.weights)

    @cached_property
    def honest(self) -> Trace:
        params = self.record.request.param_words
        return engine.generate(self.machine, self.prompt, self.outputs, params, self.model.end_tokens)

    @property
    def scenario(self) -> Scenario:
        return Scenario(ENGINE, self.machine, self.honest, self.vocabulary, self.model.end_tokens)

    @property
    def last(self) -> int:
        return len(self.honest.tokens) - 2

    def run(self, tokens: Sequence[int], faults: Sequence[engine.Fault] = ()) -> Trace:
        params = self.record.request.param_words
        return engine.run(self.machine, tokens, len(self.prompt), params, faults)

    def own(self, trace: Trace | None = None) -> Own:
        return Own.of(trace or self.honest, self.vocabulary)

    def own_of(self, request: RequestRecord, posted: ClaimRecord) -> Own:
        tokens = self.prompt + posted.output
        return self.own(self.honest if tokens == tuple(self.honest.tokens) else self.run(tokens))

    def answer(self, own: Own) -> Answer:
        output = tuple(own.trace.tokens[len(self.prompt) :])
        return Answer(output, tuple(self.vocabulary.pieces[token] for token in output), own)

    def gateway(self, account: int) -> Mirrored:
        return Mirrored(self, self.chain.accounts[account])

    def submitter(self, answer: Answer, strategy: Strategy = submitter_move) -> Submitter:
        return Submitter(self.gateway(2), lambda r, p: answer.own, lambda request: answer, strategy=strategy)

    def challenger(
        self, account: int = 3, strategy: Strategy = challenger_move, **options: object
    ) -> Challenger:
        return Challenger(self.gateway(account), self.own_of, strategy=strategy, **options)  # type: ignore[arg-type]

    def play(self, players: Sequence[Player], rounds: int = 2) -> ClaimStatus:
        """Play to rest, letting all clocks run out in between; the first claim's status."""
        for _ in range(rounds):
            run_to_rest(players, 100)
            self.chain.advance_time(TERMS.window + TERMS.submitter_clock + TERMS.challenger_clock)
        run_to_rest(players, 100)
        status = self.gateway(3).claims()[0].status
        assert status == next(iter(self.arena.claim_records.values())).status
        return status


class Mirrored(ChainGateway):
    """A gateway that repeats what it does in the arena, and compares states, events and refusals."""

    def __init__(self, world: World, signer: Signer) -> None:
        super().__init__(world.chain, world.deployment, signer)
        self.world = world

    def submit(
        self,
        request: Request,
        operator: bytes,
        commitment: bytes,
        output: Sequence[int],
        answer: bytes,
        lengths: bytes,
    ) -> tuple[bytes, Receipt]:
        arguments = (request, operator, commitment, output, answer, lengths)
        claim_id, receipt = self._both(
            lambda: super(Mirrored, self).submit(*arguments),
            lambda: self.world.arena.submit(self.account, *arguments),
            lambda result: result[1],
        )
        posted = self.world.arena.claim_records[claim_id]
        assert posted == next(record for record in self.claims() if record.id == claim_id)
        return claim_id, receipt

    def open(self, request: Request, claim: Claim, move: Opening) -> Receipt:
        claim_id = claim.id(self.chain_id, self.oracle)
        receipt = self._both(
            lambda: super(Mirrored, self).open(request, claim, move),
            lambda: self.world.arena.open(self.account, claim_id, move),
        )
        self._compare(claim_id)
        return receipt

    def play(self, request: Request, claim: Claim, key: GameKey, move: GameMove) -> Receipt:
        try:
            return self._both(
                lambda: super(Mirrored, self).play(request, claim, key, move),
                lambda: self.world.arena.play(self.account, key, move),
            )
        finally:
            self._compare(key.claim_id)

    def finalise(self, request: Request, claim: Claim) -> Receipt:
        claim_id = claim.id(self.chain_id, self.oracle)
        return self._both(
            lambda: super(Mirrored, self).finalise(request, claim),
            lambda: self.world.arena.finalise(self.account, claim_id),
        )

    def _both(
        self,
        real: Callable[[], Any],
        twin: Callable[[], object],
        receipt_of: Callable[[Any], Receipt] = lambda result: result,
    ) -> Any:
        """Do it on the chain, then in the arena at that time: both succeed, or refuse by the same name."""
        arena = self.world.arena
        try:
            result = real()
        except (ChainError, InputError) as refusal:
            arena.time, arena.block = self.now()
            try:
                twin()
            except errors.Refused as own:
                assert isinstance(refusal, Revert)
                assert own.error == refusal.error, (own, refusal)
            except InputError:
                pass  # a malformed witness; the contracts have errors of their own for each way
            else:
                raise AssertionError(f"the chain refused, the arena did not: {refusal}") from refusal
            raise
        receipt = receipt_of(result)
        arena.block, arena.time = receipt.block, self.chain.timestamp(receipt.block)
        twin()
        return result

    def _compare(self, claim_id: bytes) -> None:
        arena = self.world.arena
        for record in self.games(claim_id):
            mirrored = arena.game_records[record.key.id]
            assert record.state == mirrored.state
            assert record.events == tuple(mirrored.events)
        assert self.docket(claim_id) == arena.dockets[claim_id]


@cache
def world(name: str) -> World:
    """The world of a model, deployed once."""
    return World(toys.model(name))
