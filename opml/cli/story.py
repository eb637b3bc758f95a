"""The demo: a whole dispute, from deployment to the consumer holding the answer, on one chain.

    story = Story(chain, workshop, settings, watch)
    result = story.play()

Everything happens through the contracts, by the same players that `opml submit` and `opml challenge` run.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from opml.chain.adapter import Chain, LocalChain, Receipt
from opml.chain.decode import address_bytes
from opml.chain.deployment import deploy
from opml.chain.gateway import ChainGateway, Order
from opml.cli.consumer import Consumer
from opml.cli.engines import pack_params
from opml.cli.story_facts import Balance, Move, Result, Settings, Watcher
from opml.cli.workshop import Workshop
from opml.dispute.cheats import stubborn_challenger
from opml.dispute.cursor import Shapes
from opml.dispute.descent import target_of
from opml.dispute.describe import StepDescription, describe_game, describe_step, levels_left, story_target
from opml.dispute.faults import Cheat, Scenario, plant
from opml.dispute.gateway import ClaimRecord, ClaimStatus, GameRecord, RequestRecord
from opml.dispute.history import History, Known, retell
from opml.dispute.moves import Reason
from opml.dispute.players import Answer, Challenger, Player, Progress, Submitter, run_to_rest
from opml.dispute.state import GameState
from opml.dispute.types import Phase
from opml.errors import ChainError


class PlayChain(Chain, LocalChain, Protocol):
    """A chain whose clock we move."""


class Story:
    """Plays it once on a fresh chain."""

    def __init__(self, chain: PlayChain, workshop: Workshop, settings: Settings, watch: Watcher) -> None:
        self.chain = chain
        self.workshop = workshop
        self.settings = settings
        self.watch = watch
        self._receipts: list[tuple[str, Receipt]] = []
        self._setup: dict[str, int] = {}
        self._moves: list[Move] = []
        self._at_step: GameState | None = None
        self._gateways: dict[str, ChainGateway] = {}
        self._in_dispute = False
        self._refusal = ""
        names = ("deployer", "requester", "submitter", "cheat", "challenger")
        self._signers = dict(zip(names, chain.accounts, strict=False))
        self._before = {name: chain.balance(signer.address) for name, signer in self._signers.items()}

    def play(self) -> Result:
        """Raises `InputError` for a fault that this run has no occasion for."""
        request, consumer = self._ask()
        honest = self._answer(request)
        if self.settings.attacked:
            story, cheat = self._attack(request), None
        else:
            story, cheat = self._defend(request, honest.answer_kept)
        self._finish(honest, consumer)
        return self._result(request, consumer, story, cheat)

    # Chapters ------------------------------------------------------------------------------------------

    def _ask(self) -> tuple[RequestRecord, Consumer]:
        s, chain = self.settings, self.chain
        self.watch.chapter("Contracts and model")
        self.deployment = deploy(chain, self._signers["deployer"], s.terms, self._deployed)
        deployer = self._gateway("deployer")
        model = self.workshop.model
        _, receipts = deployer.register_model(
            model.encoded, model.weights_root, model.vocabulary_root, model.vocabulary_size, model.end_tokens
        )
        for n, receipt in enumerate(receipts):
            last = "register model" if n == len(receipts) - 1 else "validate program"
            self._prepared(last if n else "publish program", receipt)
        self.watch.line(f"model id 0x{model.id.hex()}")

        self.watch.chapter("A contract asks")
        consumer, receipt = Consumer.deploy(chain, self.deployment, self._signers["requester"])
        self._deployed("consumer", receipt)
        now, _ = deployer.now()
        order = Order(
            nonce=1,
            model_id=model.id,
            params=pack_params(s.params),
            max_output=s.max_output,
            deadline=now + 24 * 3600,
            callback=address_bytes(consumer.address),
            callback_gas=consumer.callback_gas(s.max_output),
            fee=s.fee,
        )
        request_id, receipt = consumer.ask(order, s.prompt, deployer.price(order))
        self._deployed("request", receipt)
        return deployer.request_by_id(request_id), consumer

    def _answer(self, request: RequestRecord) -> _Honest:
        self.watch.chapter("An honest answer")
        honest = _Honest(self._gateway("submitter"), self.workshop, self._watching("submitter"))
        if not honest.act():
            raise ChainError("the honest claim was not accepted: look at the line above")
        text = honest.answer_kept.text.decode("utf-8", "replace")
        self.watch.line(f"answer {text!r}, trace root 0x{honest.answer_kept.own.trace_root.hex()}")
        return honest

    def _defend(self, request: RequestRecord, honest: Answer) -> tuple[GameRecord | None, Cheat]:
        """A wrong claim, challenged by an honest challenger."""
        self.watch.chapter("A cheat posts a wrong claim")
        model = self.workshop.model
        cheat = plant(
            Scenario(
                self.workshop.engine,
                self.workshop.machine,
                honest.own.trace,
                self.workshop.vocabulary,
                tuple(model.end_tokens),
            ),
            self.settings.fault,
        )
        self.watch.line(f"the lie: {cheat.text}")
        liar = Submitter(
            self._gateway("cheat"),
            lambda request, posted: cheat.answer.own,
            lambda request: cheat.answer,
            self._watching("cheat"),
            strategy=cheat.strategy,
        )
        if not liar.act():
            return None, cheat
        self.watch.chapter("The dispute")
        self._in_dispute = True
        challenger = Challenger(
            self._gateway("challenger"), self.workshop.own_of, self._watching("challenger")
        )
        wrong = self._claim_of(liar)
        self._play_out([challenger, liar], wrong)
        self._in_dispute = False
        self._withdraw(challenger, liar)
        return self._game_of(wrong), cheat

    def _attack(self, request: RequestRecord) -> GameRecord | None:
        """An honest claim, challenged without ground."""
        self.watch.chapter("A cheating challenger attacks the honest claim")
        self._in_dispute = True
        attacked: set[bytes] = set()

        def once(posted: ClaimRecord, own: object) -> bool:
            first = posted.id not in attacked
            attacked.add(posted.id)
            return first

        attacker = Challenger(
            self._gateway("cheat"),
            self.workshop.own_of,
            self._watching("cheat"),
            strategy=stubborn_challenger,
            grounds=once,
        )
        defender = Submitter(
            self._gateway("submitter"),
            self.workshop.own_of,
            lambda request: None,
            self._watching("submitter"),
        )
        right = self._claim_of(defender)
        self._play_out([attacker, defender], right)
        self._in_dispute = False
        self._withdraw(attacker, defender)
        return self._game_of(right)

    def _play_out(self, players: list[Player], claim: bytes) -> None:
        """Until every game against a claim is decided; who is silent loses its time."""
        gateway = self._gateway("deployer")
        terms = self.settings.terms
        while True:
            run_to_rest(players)
            open_games = [game for game in gateway.games(claim) if game.state.is_open]
            if not open_games:
                return
            game = open_games[0].state
            clock = terms.submitter_clock if game.submitters_turn else terms.challenger_clock
            now, _ = gateway.now()
            left = max(1, clock - game.used(now) + 1)
            self.watch.line(f"nobody moves: {left} s pass, until the clock of the side to move has run out")
            self.chain.advance_time(left)

    def _finish(self, honest: _Honest, consumer: Consumer) -> None:
        self.watch.chapter("Finality")
        gateway = self._gateway("deployer")
        now, _ = gateway.now()
        posted = next(p for p in gateway.claims() if p.id == self._claim_of(honest))
        left = posted.claim.posted_at + self.settings.terms.window - now
        if left > 0:
            self.watch.line(f"{left} s pass, until the challenge window of the honest claim is over")
            self.chain.advance_time(left)
        run_to_rest([honest])
        self._withdraw(honest)
        receipt = consumer.collect()
        if receipt is not None:
            self._received("collect", receipt)

    # Pieces --------------------------------------------------------------------------------------------

    def _gateway(self, name: str) -> ChainGateway:
        if name not in self._gateways:
            self._gateways[name] = ChainGateway(
                self.chain, self.deployment, self._signers[name], on_receipt=self._received
            )
        return self._gateways[name]

    def _received(self, fn: str, receipt: Receipt) -> None:
        self._receipts.append((fn, receipt))

    def _deployed(self, what: str, receipt: Receipt) -> None:
        """A transaction of the setup that no gateway sent."""
        self._received(what, receipt)
        self._prepared(what, receipt)

    def _prepared(self, what: str, receipt: Receipt) -> None:
        self._setup[what] = self._setup.get(what, 0) + receipt.gas_used
        self.watch.setup(what, receipt)

    def _watching(self, who: str) -> Callable[[Progress], None]:
        def tell(progress: Progress) -> None:
            move = self._move(who, progress)
            if self._in_dispute and progress.move is not None:
                self._moves.append(move)
            elif move.refused:
                self._refusal = move.refused
            self.watch.move(move)

        return tell

    def _move(self, who: str, progress: Progress) -> Move:
        terms = self.settings.terms
        state = self._state_of(progress)
        calldata = self._receipts[-1][1].input_size if progress.receipt else 0
        left_submitter = terms.submitter_clock - state.used_submitter
        left_challenger = terms.challenger_clock - state.used_challenger
        return Move(
            number=len(self._moves) + 1 if self._in_dispute and progress.move is not None else 0,
            who=who,
            name=type(progress.move).__name__ if progress.move else "",
            text=progress.text,
            gas=progress.receipt.gas if progress.receipt else 0,
            cost=progress.receipt.cost if progress.receipt else 0,
            calldata=calldata,
            levels=levels_left(self._shapes(progress.claim_id), state) if state.is_open else 0,
            submitter_clock=left_submitter,
            challenger_clock=left_challenger,
            refused=progress.refused or "",
        )

    def _state_of(self, progress: Progress) -> GameState:
        if not progress.game_id:
            return GameState()
        for game in self._gateway("deployer").games(progress.claim_id):
            if game.key.id == progress.game_id:
                if game.state.phase == Phase.STEP:
                    self._at_step = game.state
                return game.state
        return GameState()

    def _shapes(self, claim_id: bytes) -> Shapes:
        posted = next(p for p in self._gateway("deployer").claims() if p.id == claim_id)
        prompt = len(self.settings.prompt)
        return Shapes(self.workshop.model.layout, prompt, prompt + len(posted.output) - 1)

    def _claim_of(self, player: Player) -> bytes:
        account = player.gateway.account
        return next(p.id for p in player.gateway.claims() if p.claim.submitter == account)

    def _game_of(self, claim: bytes) -> GameRecord | None:
        games = self._gateway("deployer").games(claim)
        return games[0] if games else None

    def _withdraw(self, *players: Player) -> None:
        for player in players:
            player.withdraw()

    # The end -------------------------------------------------------------------------------------------

    def _result(
        self, request: RequestRecord, consumer: Consumer, game: GameRecord | None, cheat: Cheat | None
    ) -> Result:
        gateway = self._gateway("deployer")
        claims = {p.id: p for p in gateway.claims()}
        if game is None:
            verdict, decided, step = "challenger", f"the oracle took no such claim: {self._refusal}", None
        else:
            posted = claims[game.key.claim_id]
            verdict = "challenger" if posted.status == ClaimStatus.REJECTED else "submitter"
            decided, step = self._decided(game, posted)
        balances = {
            name: Balance(
                before=self._before[name],
                after=self.chain.balance(signer.address),
                gas_cost=sum(r.cost for _, r in self._receipts if r.sender == signer.address),
            )
            for name, signer in self._signers.items()
        }
        answer = consumer.answer(request.id)
        model_id, posted_bytes = request.request.model_id, len(answer)
        return Result(
            answer=answer.decode("utf-8", "replace"),
            verdict=verdict,
            decided=decided,
            cheat=cheat.text if cheat else "challenges a right claim, always picking what comes first",
            moves=tuple(self._moves),
            step=step,
            balances=balances,
            bonds={
                "submitter": gateway.submitter_bond(model_id, posted_bytes),
                "challenger": gateway.challenger_bond(model_id),
            },
            setup=self._setup,
            total_transactions=len(self._receipts),
            total_gas=sum(r.gas_used for _, r in self._receipts),
        )

    def _decided(self, game: GameRecord, posted: ClaimRecord) -> tuple[str, StepDescription | None]:
        shapes = self._shapes(posted.id)
        layout, fanout = self.workshop.model.layout, self.settings.terms.fanout
        history = retell(shapes, fanout, game.events, Known())
        positions = shapes.positions
        if history.won is not None:
            text = describe_game(layout, fanout, shapes.prompt_length, positions, history)
            return text, self._step(history, shapes)
        if game.state.phase == Phase.LOST:
            return "the challenger's clock ran out: it could prove nothing", self._untouched()
        return "the claim stands", None

    def _step(self, history: History, shapes: Shapes) -> StepDescription | None:
        won = history.won
        if won is None or won.reason != Reason.STEP:
            return None
        target = story_target(shapes, history)
        return describe_step(self.workshop.model.layout, target, won.claimed, won.computed)

    def _untouched(self) -> StepDescription | None:
        """The step that a groundless challenge came to: the contract computed what was claimed."""
        if self._at_step is None:
            return None
        claimed = int.from_bytes(self._at_step.word[16:24], "big")
        computed = any("NotFraud" in move.refused for move in self._moves)
        target = target_of(self._at_step)
        return describe_step(self.workshop.model.layout, target, claimed, claimed if computed else None)


class _Honest(Submitter):
    """A submitter that keeps the answer it gave."""

    answer_kept: Answer

    def __init__(self, gateway: ChainGateway, workshop: Workshop, watch: Callable[[Progress], None]) -> None:
        def answer(request: RequestRecord) -> Answer | None:
            found = workshop.answer(request)
            if found is not None:
                self.answer_kept = found
            return found

        super().__init__(gateway, workshop.own_of, answer, watch)


__all__ = ["PlayChain", "Story"]
