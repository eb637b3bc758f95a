"""A chain in Python: oracle and games with time, accounts and gas, to play whole disputes in milliseconds.

The game is `opml.dispute.transition`; here is what surrounds it: requests, claims, finality, fees, who owns
what. Every transaction is a block of its own. Gas is the flat figures of `opml.dispute.ledger`, paid at the
base fee.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from opml.dispute import errors, ledger
from opml.dispute.calldata import announcement_of
from opml.dispute.cursor import Shapes
from opml.dispute.gateway import (
    ClaimRecord,
    ClaimStatus,
    Receipt,
    RequestRecord,
    RequestStatus,
)
from opml.dispute.moves import (
    Announce,
    Element,
    GameEvent,
    GameMove,
    Leaf,
    OpenAt,
    Opening,
    Pick,
    PickTotal,
    PieceProof,
    Proof,
    Release,
    Reveal,
    RevealRoot,
    Timeout,
    TokenProof,
    Totals,
)
from opml.dispute.state import Call, GameState, Outcome, Rules
from opml.dispute.transition import apply, open_game
from opml.dispute.types import Claim, Docket, GameKey, Phase, Request, Terms
from opml.dispute.verdict import settle
from opml.dispute.verifier import ClaimJudge
from opml.vm.commitment import tokens_tree
from opml.vm.cost import step as step_cost
from opml.vm.cost import worst_step
from opml.vm.keccak import keccak256
from opml.vm.layout import Layout
from opml.vm.witness import Context

FUNDS = 10**24
CHAIN_ID = 31337
ORACLE = b"\x0a" * 20
GAME = b"\x0b" * 20
BURNT = b"\xff" * 20


@dataclass(frozen=True)
class RegisteredModel:
    """What the registry holds of a model."""

    id: bytes
    layout: Layout
    weights_root: bytes
    vocabulary_root: bytes
    vocabulary_size: int
    end_tokens: tuple[int, ...]

    @cached_property
    def sizes(self) -> ledger.Sizes:
        """What bonds are computed from."""
        return ledger.Sizes.of(self.layout, worst_step(self.layout).gas)


@dataclass(slots=True)
class _Game:
    key: GameKey
    state: GameState
    events: list[GameEvent] = field(default_factory=list)


class Arena:
    """The state of the chain. Amounts are wei, times seconds; `period` passes with each block."""

    def __init__(
        self,
        model: RegisteredModel,
        terms: Terms | None = None,
        *,
        base_fee: int = 10**9,
        period: int = 1,
        exact_digests: bool = True,
        chain_id: int = CHAIN_ID,
        oracle: bytes = ORACLE,
    ) -> None:
        self.model = model
        self.chain_id = chain_id
        self.oracle = oracle
        self.terms = terms or Terms()
        self.base_fee = base_fee
        self.period = period
        self.exact_digests = exact_digests
        self.time = 1_700_000_000
        self.block = 1
        self.sizes = model.sizes
        self.balances: dict[bytes, int] = {}
        self.owed: dict[bytes, int] = {}
        self.request_records: dict[bytes, RequestRecord] = {}
        self.claim_records: dict[bytes, ClaimRecord] = {}
        self.claim_bonds: dict[bytes, int] = {}
        self.fee_paid_to: dict[bytes, bytes] = {}
        self.answers: dict[bytes, bytes] = {}
        self.dockets: dict[bytes, Docket] = {}
        self.game_records: dict[bytes, _Game] = {}
        self._rules: dict[bytes, Rules] = {}

    # Money ---------------------------------------------------------------------------------------------

    def balance(self, account: bytes) -> int:
        """What an account holds and is owed."""
        return self.balances.get(account, FUNDS) + self.owed.get(account, 0)

    def _move(self, source: bytes, target: bytes, amount: int) -> None:
        self.balances[source] = self.balances.get(source, FUNDS) - amount
        self.balances[target] = self.balances.get(target, FUNDS) + amount

    def _credit(self, holder: bytes, account: bytes, amount: int) -> None:
        self.balances[holder] = self.balances.get(holder, FUNDS) - amount
        self.owed[account] = self.owed.get(account, 0) + amount

    def mine(self, sender: bytes, gas: int) -> Receipt:
        """A block with one transaction of the sender's."""
        cost = gas * self.base_fee
        self._move(sender, BURNT, cost)
        receipt = Receipt(gas, cost, self.block, keccak256(b"tx" + self.block.to_bytes(8, "big")))
        self.block += 1
        self.time += self.period
        return receipt

    def advance(self, seconds: int) -> None:
        """Time passes."""
        self.time += seconds

    # Oracle --------------------------------------------------------------------------------------------

    def request(self, request: Request, prompt: Sequence[int]) -> bytes:
        """Ask; the fee is put down."""
        if request.prompt_root != tokens_tree(prompt).root or request.prompt_length != len(prompt):
            raise errors.WrongTokens(len(prompt))
        request_id = request.id(self.chain_id, self.oracle)
        if request_id in self.request_records:
            raise errors.RequestExists(request_id)
        self._move(request.requester, self.oracle, request.fee)
        record = RequestRecord(request_id, request, tuple(prompt), RequestStatus.OPEN)
        self.request_records[request_id] = record
        self.mine(request.requester, 100_000)
        return request_id

    def submit(
        self,
        sender: bytes,
        request: Request,
        operator: bytes,
        commitment: bytes,
        output: Sequence[int],
        answer: bytes,
        lengths: bytes,
    ) -> bytes:
        """Post a claim with its bond. Refuses output that stops early, goes on, or isn't in the
        vocabulary."""
        request_id = request.id(self.chain_id, self.oracle)
        record = self.request_records.get(request_id)
        if record is None or record.status != RequestStatus.OPEN:
            raise errors.RequestNot(RequestStatus.OPEN, record.status if record else RequestStatus.UNKNOWN)
        if self.time > request.deadline:
            raise errors.DeadlinePassed(request.deadline, self.time)
        self._check_output(request, output)
        if len(lengths) != 2 * len(output):
            raise errors.WrongLengths(2 * len(output), len(lengths))
        total = sum(int.from_bytes(lengths[i : i + 2], "big") for i in range(0, len(lengths), 2))
        if total != len(answer):
            raise errors.WrongAnswerLength(total, len(answer))
        claim = Claim(
            request_id,
            sender,
            operator,
            commitment,
            tokens_tree(output).root,
            len(output),
            keccak256(answer),
            keccak256(lengths),
            self.time,
        )
        claim_id = claim.id(self.chain_id, self.oracle)
        if claim_id in self.claim_records:
            raise errors.ClaimExists(claim_id)
        bond = ledger.submitter_bond(self.sizes, self.terms, len(answer) + len(lengths))
        self._move(sender, self.oracle, bond)
        posted = ClaimRecord(claim_id, claim, tuple(output), answer, lengths, ClaimStatus.PENDING)
        self.claim_records[claim_id], self.claim_bonds[claim_id] = posted, bond
        self._update_request(request_id, pending=record.pending + 1)
        self.mine(sender, 200_000)
        return claim_id

    def _check_output(self, request: Request, output: Sequence[int]) -> None:
        if not 1 <= len(output) <= request.max_output:
            raise errors.OutputTooLong(len(output), request.max_output)
        for i, token in enumerate(output):
            if token >= self.model.vocabulary_size:
                raise errors.TokenOutOfVocabulary(i, token, self.model.vocabulary_size)
            if token in self.model.end_tokens and i + 1 < len(output):
                raise errors.EndTokenInside(i, token)
        if output[-1] not in self.model.end_tokens and len(output) != request.max_output:
            raise errors.NoEndToken(len(output), request.max_output)

    def _update_request(self, request_id: bytes, **changes: object) -> None:
        record = self.request_records[request_id]
        self.request_records[request_id] = replace(record, **changes)  # type: ignore[arg-type]

    def finalise(self, sender: bytes, claim_id: bytes) -> None:
        """Make a claim final once its window is over and no game is open."""
        posted = self.claim_records[claim_id]
        if posted.status != ClaimStatus.PENDING:
            raise errors.ClaimNot(ClaimStatus.PENDING, posted.status)
        end = posted.claim.posted_at + self.terms.window
        if self.time < end:
            raise errors.WindowOpen(end, self.time)
        docket, credits, burnt = settle(self.rules(claim_id), self.dockets.get(claim_id, Docket()))
        self.dockets[claim_id] = docket
        for account, amount in credits:
            self._credit(GAME, account, amount)
        self._move(GAME, BURNT, burnt)
        self._credit(self.oracle, posted.claim.submitter, self.claim_bonds.pop(claim_id))
        self.claim_records[claim_id] = replace(posted, status=ClaimStatus.FINAL)
        self._decided(posted, final=True)
        self.mine(sender, 150_000)

    def burn(self, sender: bytes, claim_id: bytes) -> None:
        """Burn what a rejected claim has lost, at both contracts; anybody may."""
        if self.claim_records[claim_id].status != ClaimStatus.REJECTED:
            raise errors.NothingToBurn(claim_id)
        self._move(self.oracle, BURNT, self.claim_bonds.pop(claim_id))
        docket = self.dockets[claim_id]
        self._move(GAME, BURNT, docket.escrow)
        self.dockets[claim_id] = replace(docket, escrow=0)
        self.mine(sender, 100_000)

    def _decided(self, posted: ClaimRecord, final: bool) -> None:
        request_id = posted.claim.request_id
        record = self.request_records[request_id]
        self._update_request(request_id, pending=record.pending - 1)
        if final and record.status == RequestStatus.OPEN:
            self._update_request(request_id, status=RequestStatus.ANSWERED)
            self.answers[request_id] = posted.answer

    def collect_fee(self, sender: bytes, request_id: bytes) -> None:
        """The fee goes to the earliest-posted claim that became final with the final answer: earlier claims
        that are still pending are waited for, rejected ones are skipped."""
        record = self.request_records[request_id]
        if record.status != RequestStatus.ANSWERED:
            raise errors.RequestNot(RequestStatus.ANSWERED, record.status)
        if record.fee_paid:
            raise errors.FeeSettled(request_id)
        for posted in self.claim_records.values():
            if posted.claim.request_id != request_id or posted.status == ClaimStatus.REJECTED:
                continue
            if posted.status == ClaimStatus.PENDING:
                raise errors.ClaimsPending(record.pending)
            if posted.answer == self.answers[request_id]:
                self._credit(self.oracle, posted.claim.submitter, record.request.fee)
                self._update_request(request_id, fee_paid=True)
                self.fee_paid_to[request_id] = posted.claim.submitter
                break
        self.mine(sender, 80_000)

    def withdraw(self, account: bytes) -> None:
        """Pull what is owed."""
        amount = self.owed.pop(account, 0)
        self.balances[account] = self.balances.get(account, FUNDS) + amount
        self.mine(account, 40_000)

    # Games ---------------------------------------------------------------------------------------------

    def rules(self, claim_id: bytes) -> Rules:
        """The rules of the games against a claim."""
        if claim_id not in self._rules:
            posted, model = self.claim_records[claim_id], self.model
            claim = posted.claim
            request = self.request_records[claim.request_id].request
            context = Context(
                trace_root=b"",
                weights_root=model.weights_root,
                prompt_root=request.prompt_root,
                prompt_length=request.prompt_length,
                output_root=claim.output_root,
                output_length=claim.output_length,
                params=request.param_words,
            )
            positions = request.prompt_length + claim.output_length - 1
            self._rules[claim_id] = Rules(
                terms=self.terms,
                sizes=self.sizes,
                shapes=Shapes(model.layout, request.prompt_length, positions),
                request=request,
                claim=claim,
                claim_id=claim_id,
                judge=ClaimJudge(model.layout, context, model.vocabulary_root, model.vocabulary_size),
                digest=lambda key, proof: self.digest(request, claim, key, proof, key.challenger),
                step_gas=lambda ordinal: step_cost(model.layout, model.layout.committed[ordinal]).gas,
                answer_bytes=len(posted.answer) + len(posted.lengths),
            )
        return self._rules[claim_id]

    def digest(self, request: Request, claim: Claim, key: GameKey, proof: Proof, sender: bytes) -> bytes:
        """What announces a proof."""
        if self.exact_digests:
            return announcement_of(request, claim, key, proof, sender)
        return keccak256(repr((key.id, proof)).encode() + sender)

    def _call(self, sender: bytes, value: int = 0) -> Call:
        return Call(sender, self.time, self.block, self.base_fee, value)

    def open(self, sender: bytes, claim_id: bytes, move: Opening) -> GameKey:
        """Open a game with the challenger's bond."""
        posted = self.claim_records.get(claim_id)
        if posted is None:
            raise errors.UnknownClaim(claim_id)
        rules = self.rules(claim_id)
        fresh = claim_id not in self.dockets
        docket = self.dockets.get(claim_id, Docket(pot=ledger.pot(self.sizes, self.terms)))
        key, outcome = open_game(rules, docket, move, self._call(sender, rules.bond))
        if key.id in self.game_records:
            raise errors.GameExists(key.id)
        if fresh and posted.status != ClaimStatus.PENDING:
            raise errors.UnknownClaim(claim_id)
        self._move(sender, GAME, rules.bond)
        self.game_records[key.id] = _Game(key, GameState())
        self._settle(posted, key, outcome)
        siblings = len(move.siblings) if isinstance(move, OpenAt) else 0
        self.mine(sender, ledger.OPEN + ledger.SIBLING * siblings)
        return key

    def play(self, sender: bytes, key: GameKey, move: GameMove) -> Receipt:
        """A move in a game. Raises `errors.Refused`, or `InputError` for a malformed witness; nothing changes
        then."""
        game = self.game_records.get(key.id)
        if game is None:
            raise errors.WrongPhase(Phase.REVEAL, Phase.NONE)
        rules, docket = self.rules(key.claim_id), self.dockets[key.claim_id]
        gas = self.gas_of(game.state, move)
        outcome = apply(rules, key, game.state, docket, move, self._call(sender))
        self._settle(self.claim_records[key.claim_id], key, outcome)
        return replace(self.mine(sender, gas), game_id=key.id)

    def _settle(self, posted: ClaimRecord, key: GameKey, outcome: Outcome) -> None:
        game = self.game_records[key.id]
        game.state = outcome.game
        game.events += outcome.events
        self.dockets[key.claim_id] = outcome.docket
        if outcome.rejects:
            half = self.claim_bonds[posted.id] // 2
            self._move(self.oracle, GAME, half)
            self.claim_bonds[posted.id] -= half
            self.claim_records[posted.id] = replace(posted, status=ClaimStatus.REJECTED)
            self._decided(posted, final=False)
        for account, amount in outcome.credits:
            self._credit(GAME, account, amount)

    def gas_of(self, game: GameState, move: GameMove) -> int:
        """The flat figure that a move is paid for."""
        match move:
            case RevealRoot(_, children):
                return ledger.children(ledger.REVEAL_ROOT, len(children))
            case Reveal(children):
                return ledger.children(ledger.REVEAL, len(children))
            case Pick():
                return ledger.PICK
            case Leaf(data):
                return ledger.leaf(len(data), self.sizes.entries)
            case Element():
                return ledger.ELEMENT + self._naming(move)
            case Totals(states):
                return ledger.states(ledger.TOTALS, len(states), self.sizes.entries)
            case PickTotal(_, _, states):
                return ledger.states(ledger.PICK_TOTAL, len(states), self.sizes.entries)
            case Announce():
                return ledger.ANNOUNCE
            case TokenProof():
                return ledger.TOKEN_PROOF
            case PieceProof():
                return ledger.PIECE_PROOF
            case Timeout():
                return ledger.CLOSE
            case Release():
                return ledger.RELEASE
            case _:
                cost = step_cost(self.model.layout, self.model.layout.committed[game.ordinal]).gas
                return cost + (self._naming(move.named) if game.phase == Phase.ELEMENT else 0)

    def _naming(self, named: Element) -> int:
        proof = ledger.INPUT_BYTE * len(named.data) + ledger.SIBLING * len(named.siblings)
        return ledger.NAME + proof + ledger.ENTRY * self.sizes.entries

    def verdict(self, claim_id: bytes) -> ClaimStatus:
        """Status of a claim."""
        return self.claim_records[claim_id].status
