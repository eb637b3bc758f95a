"""P4: after any interleaving the contracts hold exactly what they owe, and in the end nothing is stuck."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from opml.chain.adapter import Revert
from opml.chain.artifacts import load_artifact
from opml.chain.records import claims_of, requests_of
from opml.dispute.types import Phase, Request
from tests.contracts.oracle import FINAL, PENDING, REJECTED
from tests.contracts.posted import Key, Posted
from tests.contracts.test_economics import next_move
from tests.contracts.test_game import EMBED, MODEL, ONE_ROUND
from tests.contracts.world import DEADLINE, FEE, GWEI, TERMS, World

PEOPLE = ("requester", "submitter", "operator", "alice", "bob", "carol", "stranger")
OPEN, ANSWERED = 1, 2
FRAUD = 1 << 40


@cache
def shared() -> World:
    return World(MODEL)


@dataclass
class Asked:
    """A request and the deposits in its price."""

    request: Request
    value: int
    finality: int


class Books(RuleBasedStateMachine):
    """Requests, right and wrong claims, games of everybody against any of them, all in random order."""

    @initialize()
    def begin(self) -> None:
        self.world = shared()
        self.world.restore()
        self.world.chain.set_base_fee(GWEI)
        self.moody, _ = self.world.chain.deploy(
            load_artifact("test/MoodyConsumer"), sender=self.world.who["deployer"]
        )
        finality = self.world.call(self.world.oracle, "price", self.world.order()) - FEE
        self.finality = finality
        self.asked = [Asked(self.world.request, FEE + finality, finality)]
        self.claims: list[Posted] = []
        self.games: list[tuple[Posted, Key]] = []
        self.nonce = 1
        for who in ("submitter", "carol"):
            self.claims.append(self.world.claim(who))
        for number, who in ((0, "alice"), (0, "bob"), (1, "alice")):
            claim = self.claims[number]
            self.games.append((claim, claim.open(who)[0]))
        for claim, key in self.games[1:]:
            claim.reveal(key)

    def try_(self, act: Callable[[], object]) -> bool:
        """Do it if the contracts admit it; they may refuse, but only by name."""
        try:
            act()
        except Revert as refusal:
            assert refusal.error in NAMES, refusal
            return False
        return True

    # What anybody may do at any time ----------------------------------------------------------------------

    @rule(callback=st.booleans())
    def ask(self, callback: bool) -> None:
        changes = {"callback": self.moody.address, "callbackGas": 50_000} if callback else {}
        order = self.world.order(nonce=self.nonce, **changes)
        value = self.world.call(self.world.oracle, "price", order)
        request, _ = self.world.ask(nonce=self.nonce, **changes)
        self.asked.append(Asked(request, value, self.finality))
        self.nonce += 1

    @rule(which=st.integers(0, 20), who=st.sampled_from(["submitter", "carol"]), end=st.booleans())
    def claim(self, which: int, who: str, end: bool) -> None:
        asked = self.asked[which % len(self.asked)]
        output = MODEL.end_tokens if end else None

        def post() -> None:
            self.claims.append(self.world.claim(who, request=asked.request, output=output))

        self.try_(post)

    @rule(which=st.integers(0, 20), who=st.sampled_from(["alice", "bob"]), salt=st.integers(0, 2))
    def open(self, which: int, who: str, salt: int) -> None:
        if not self.claims:
            return
        claim = self.claims[which % len(self.claims)]

        def start() -> None:
            self.games.append((claim, claim.open(who, salt)[0]))

        self.try_(start)

    @rule(which=st.integers(0, 20), moves=st.integers(1, 8))
    def play(self, which: int, moves: int) -> None:
        if not self.games:
            return
        claim, key = self.games[which % len(self.games)]
        if claim.claim.output_length != self.world.outputs:
            return
        spot = ONE_ROUND if which % 2 else EMBED
        for _ in range(moves):
            if claim.phase(key) >= Phase.STEP:
                return
            if not self.try_(lambda: next_move(claim, key, spot, "stranger")):
                return

    @rule(which=st.integers(0, 20))
    def play_to_the_end(self, which: int) -> None:
        self.play(which, 30)

    @rule(which=st.integers(0, 20), direct=st.sampled_from([False, False, True]))
    def prove(self, which: int, direct: bool) -> None:
        if not self.games:
            return
        claim, key = self.games[which % len(self.games)]
        who = claim._challenger(key)
        fn = "tokenProof" if direct else "step"
        arguments = claim.direct_arguments(key, fn) if direct else claim.step_arguments(key)
        self.try_(lambda: claim.send(who, "announce", key, claim.digest(who, fn, arguments)))
        self.world.send("deployer", self.world.verifier, "say", FRAUD, True)
        self.try_(lambda: claim.send(who, fn, *arguments))

    @rule(which=st.integers(0, 20), who=st.sampled_from(PEOPLE))
    def time_out(self, which: int, who: str) -> None:
        if self.games:
            claim, key = self.games[which % len(self.games)]
            self.try_(lambda: claim.timeout(key, who))

    @rule(which=st.integers(0, 20), who=st.sampled_from(PEOPLE))
    def time_out_when_due(self, which: int, who: str) -> None:
        if self.games:
            claim, key = self.games[which % len(self.games)]
            if claim.phase(key) < Phase.WON:
                self.try_(lambda: claim.timeout_when_due(key, who))

    @rule(which=st.integers(0, 20), who=st.sampled_from(PEOPLE))
    def release(self, which: int, who: str) -> None:
        if self.games:
            claim, key = self.games[which % len(self.games)]
            self.try_(lambda: claim.release(key, who))

    @rule(which=st.integers(0, 20), who=st.sampled_from(PEOPLE))
    def finalise(self, which: int, who: str) -> None:
        if self.claims:
            claim = self.claims[which % len(self.claims)]
            self.try_(lambda: claim.finalise(who))

    @rule(which=st.integers(0, 20), failing=st.booleans())
    def deliver(self, which: int, failing: bool) -> None:
        self.world.send("deployer", self.moody, "fail", failing)
        self._deliver(self.asked[which % len(self.asked)])

    def _deliver(self, asked: Asked) -> None:
        for claim in self.claims:
            if claim.request == asked.request:
                arguments = [asked.request.values(), claim.answer]
                self.try_(
                    lambda arguments=arguments: self.world.send(  # type: ignore[misc]
                        "carol", self.world.oracle, "deliver", *arguments
                    )
                )

    @rule(which=st.integers(0, 20))
    def collect(self, which: int) -> None:
        self._collect(self.asked[which % len(self.asked)])

    def _collect(self, asked: Asked) -> None:
        oracle = self.world.oracle
        cursor = self.world.call(oracle, "requestState", self.world.request_id(asked.request))["feeCursor"]
        claims = [c.claim.values() for c in self.claims if c.request == asked.request][cursor:]
        self.try_(lambda: self.world.send("bob", oracle, "collectFee", asked.request.values(), claims))

    @rule(which=st.integers(0, 20))
    def refund(self, which: int) -> None:
        self._refund(self.asked[which % len(self.asked)])

    def _refund(self, asked: Asked) -> None:
        self.try_(lambda: self.world.send("bob", self.world.oracle, "refund", asked.request.values()))

    @rule(who=st.sampled_from(PEOPLE))
    def withdraw(self, who: str) -> None:
        for contract in (self.world.oracle, self.world.game):
            self.try_(
                lambda contract=contract: self.world.send(  # type: ignore[misc]
                    who, contract, "withdraw", self.world.address(who)
                )
            )

    @rule(which=st.integers(0, 20), who=st.sampled_from(PEOPLE))
    def burn(self, which: int, who: str) -> None:
        if self.claims:
            claim = self.claims[which % len(self.claims)]
            for contract in (self.world.oracle, self.world.game):
                self.try_(
                    lambda contract=contract: self.world.send(  # type: ignore[misc]
                        who, contract, "burn", claim.id
                    )
                )

    @rule(seconds=st.sampled_from([1, 60, 300, 450, 901, 1201]))
    def wait(self, seconds: int) -> None:
        self.world.set_time(self.world.now + seconds)

    @rule(fee=st.sampled_from([1, 7 * 10**7, GWEI, 3 * GWEI + 1, TERMS.ceiling, 2 * TERMS.ceiling]))
    def price(self, fee: int) -> None:
        self.world.chain.set_base_fee(fee)

    # The books --------------------------------------------------------------------------------------------

    @invariant()
    def balances_are_what_is_owed(self) -> None:
        world = self.world
        balance = world.chain.balance
        assert balance(world.oracle.address) == self._oracle_owes() + self._credits(world.oracle)
        assert balance(world.game.address) == self._game_owes() + self._credits(world.game)

    @invariant()
    def events_tell_every_state(self) -> None:
        world = self.world
        logs = world.chain.events(world.oracle)
        for request in requests_of(logs):
            state = world.call(world.oracle, "requestState", request.id)
            found = request.status, request.delivery, request.fee_paid, request.pending
            assert found == tuple(state[name] for name in ("status", "delivery", "feePaid", "pending"))
        claims = {record.id: record.status for record in claims_of(logs)}
        assert claims == {claim.id: claim.status for claim in self.claims}

    def _credits(self, contract: object) -> int:
        names = [*PEOPLE, "deployer"]
        return sum(self.world.owed_by(contract, name) for name in names)  # type: ignore[arg-type]

    def _oracle_owes(self) -> int:
        world, owes = self.world, 0
        for claim in self.claims:
            if claim.status != FINAL:
                # Of a rejected claim what has to be burnt yet.
                owes += world.call(world.oracle, "claimState", claim.id)["bond"]
        for asked in self.asked:
            state = world.call(world.oracle, "requestState", world.request_id(asked.request))
            if state["status"] == OPEN:
                owes += asked.value
            elif state["status"] == ANSWERED:
                owes += 0 if state["feePaid"] else FEE
                owes += 0 if state["delivery"] else asked.value - FEE - asked.finality
        return owes

    def _game_owes(self) -> int:
        owes = 0
        for claim in self.claims:
            docket = claim.docket
            owes += docket["escrow"]
            open_games = [key for c, key in self.games if c is claim and claim.phase(key) < Phase.WON]
            assert docket["openGames"] == len(open_games)
            owes += len(open_games) * self.bond
            if docket["rejectedAt"]:
                owes += docket["pot"] + sum(claim.state(key)["due"] for key in open_games) * GWEI
        return owes

    @property
    def bond(self) -> int:
        return self.world.bond

    def teardown(self) -> None:
        """Everything can be brought to an end by strangers, and everybody be paid: nothing is left."""
        if not hasattr(self, "world"):
            return
        world = self.world
        world.send("deployer", self.moody, "fail", False)
        for seconds in (TERMS.window, TERMS.submitter_clock + 1, TERMS.challenger_clock + 2):
            world.set_time(world.now + seconds)
            for claim, key in self.games:
                if claim.phase(key) < Phase.WON:
                    close = claim.release if claim.docket["rejectedAt"] else claim.timeout
                    self.try_(lambda close=close, key=key: close(key, "stranger"))  # type: ignore[misc]
        assert all(claim.phase(key) >= Phase.WON for claim, key in self.games)
        for claim in self.claims:
            if claim.status == PENDING:
                claim.finalise("stranger")
            assert claim.status in (FINAL, REJECTED)
        world.set_time(max(world.now, DEADLINE + 1))
        for asked in self.asked:
            self._refund(asked)
            self._collect(asked)
            self._deliver(asked)
        self.balances_are_what_is_owed()
        for claim in self.claims:
            world.burn(claim.id)
        self.balances_are_what_is_owed()
        for who in (*PEOPLE, "deployer"):
            for contract in (world.oracle, world.game):
                with contextlib.suppress(Revert):
                    world.send(who, contract, "withdraw", world.address(who))
        assert world.chain.balance(world.oracle.address) == 0
        assert world.chain.balance(world.game.address) == 0


NAMES = {
    entry["name"]
    for interface in ("IDisputeGame", "IOpmlOracle", "ILedger")
    for entry in load_artifact(interface).abi
    if entry["type"] == "error"
}

TestBooks = Books.TestCase
TestBooks.settings = settings(
    max_examples=8,
    stateful_step_count=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
