"""The players' gateway on real contracts: what it sends arrives, what it reads is what was sent."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from opml.chain.adapter import Log, Revert
from opml.chain.decode import address_bytes
from opml.chain.deployment import Deployment, deploy
from opml.chain.gateway import ChainGateway, LogBook, Order, call_of
from opml.chain.report import claim_rows, game_rows
from opml.dispute.calldata import announcement_of, calldata_of
from opml.dispute.faults import Scenario, plant
from opml.dispute.gateway import ClaimRecord, ClaimStatus, RequestRecord, RequestStatus
from opml.dispute.moves import Open, Opened, PieceProof, RevealRoot, Step, TokenProof
from opml.dispute.own import Own, Vocabulary
from opml.dispute.players import Answer, Challenger, Submitter, run_to_rest
from opml.dispute.types import Claim, GameKey, Phase, Request, Terms
from opml.errors import InputError
from opml.models.model import Model, load_model
from opml.models.tiny import write_llama
from opml.vm.commitment import vocabulary_tree
from opml.vm.engine import run
from tests.native import fast_engine

TERMS = Terms(window=1000, submitter_clock=900, challenger_clock=800, fanout=4)
PROMPT = (7, 20, 41)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return load_model(write_llama(tmp_path_factory.mktemp("tiny") / "tiny.gguf"), 32)


@dataclass
class Place:
    """A chain with the model registered on it, and computations over it."""

    chain: Any
    deployment: Deployment
    model: Model

    def gateway(self, account: int | None, **options: Any) -> ChainGateway:
        signer = None if account is None else self.chain.accounts[account]
        return ChainGateway(self.chain, self.deployment, signer, **options)

    def ask(self, nonce: int = 1, **change: Any) -> RequestRecord:
        gateway = self.gateway(1)
        now, _ = gateway.now()
        fields: dict[str, Any] = {"params": 0xFF800000 << 192, "max_output": 3, "deadline": now + 500}
        order = Order(nonce=nonce, model_id=self.model.id, fee=10**15, **(fields | change))
        record, _ = gateway.request(order, PROMPT)
        return record

    def scenario(self) -> Scenario:
        engine = fast_engine()
        machine = engine.load(self.model.program, self.model.weights)
        trace = run(machine, (*PROMPT, 0, 0, 0), len(PROMPT), (0, 0xFF800000))
        for _ in range(3):  # each round fixes one more greedy token
            sampled = [
                int.from_bytes(trace.tensor(t, len(trace.layout.committed) - 1), "little")
                for t in range(len(PROMPT) - 1, len(PROMPT) + 2)
            ]
            trace = run(machine, (*PROMPT, *sampled), len(PROMPT), (0, 0xFF800000))
        vocabulary = Vocabulary(self.model.pieces, vocabulary_tree(self.model.pieces))
        return Scenario(engine, machine, trace, vocabulary, self.model.end_tokens)


@pytest.fixture
def place(chain: Any, model: Model) -> Place:
    deployment = deploy(chain, chain.accounts[0], TERMS)
    registrar = ChainGateway(chain, deployment, chain.accounts[0])
    registered, receipts = registrar.register_model(
        model.encoded, model.weights_root, model.vocabulary_root, model.vocabulary_size, model.end_tokens
    )
    assert registered == model.id and len(receipts) >= 3
    return Place(chain, deployment, model)


def answer_of(scenario: Scenario) -> Answer:
    pieces = tuple(scenario.vocabulary.pieces[token] for token in scenario.output)
    return Answer(scenario.output, pieces, Own.of(scenario.honest, scenario.vocabulary))


def test_deployment_file_leads_back_to_the_contracts(place: Place, tmp_path: Path) -> None:
    place.deployment.save(tmp_path / "d.json")
    again = ChainGateway(place.chain, Deployment.load(tmp_path / "d.json"))
    assert again.terms() == TERMS
    assert again.model(place.model.id)["weightsRoot"] == place.model.weights_root


def test_registering_again_sends_nothing(place: Place) -> None:
    m = place.model
    registered, receipts = place.gateway(0).register_model(
        m.encoded, m.weights_root, m.vocabulary_root, m.vocabulary_size, m.end_tokens
    )
    assert registered == m.id and receipts == []


def test_unknown_model_is_refused_with_a_remedy(place: Place) -> None:
    with pytest.raises(Revert, match="opml model register") as caught:
        place.gateway(None).model(b"\x01" * 32)
    assert caught.value.error == "UnknownModel"


def test_request_is_read_back_as_it_was_asked(place: Place) -> None:
    record = place.ask()
    gateway = place.gateway(None)
    assert record.prompt == PROMPT and record.status == RequestStatus.OPEN
    assert record.id == record.request.id(gateway.chain_id, gateway.oracle)
    assert record.request.requester == address_bytes(place.chain.accounts[1].address)
    assert record.request.param_words[:2] == (0, 0xFF800000)
    assert gateway.requests() == [record] and gateway.request_by_id(record.id) == record
    assert place.gateway(None, model_id=b"\x01" * 32).requests() == []
    with pytest.raises(InputError, match="has no request"):
        gateway.request_by_id(b"\x01" * 32)


def test_refund_after_the_deadline_pays_the_price_back(place: Place) -> None:
    record = place.ask()
    asker = place.gateway(1)
    with pytest.raises(Revert, match="DeadlineNotPassed"):
        asker.refund(record.request)
    place.chain.advance_time(501)
    asker.refund(record.request)
    assert asker.owed() >= 10**15
    assert len(asker.withdraw()) == 1 and asker.owed() == 0
    assert asker.request_by_id(record.id).status == RequestStatus.REFUNDED


def test_reading_gateway_cannot_send(place: Place) -> None:
    with pytest.raises(InputError, match="--account"):
        place.gateway(None).withdraw()


def test_receipts_are_told_of(place: Place) -> None:
    seen: list[str] = []
    record = place.ask()
    place.chain.advance_time(501)
    teller = place.gateway(1, on_receipt=lambda fn, receipt: seen.append(f"{fn} {receipt.status}"))
    teller.refund(record.request)
    assert seen == ["refund True"]


def test_claim_and_game_are_read_back(place: Place) -> None:
    record = place.ask()
    answer = answer_of(place.scenario())
    submitter = Submitter(place.gateway(2), lambda r, p: answer.own, lambda r: answer)
    assert submitter.act() == 1
    reader = place.gateway(None)
    (posted,) = reader.claims()
    assert posted.status == ClaimStatus.PENDING and posted.answer == answer.text
    assert posted.output == answer.output and posted.id == posted.claim.id(reader.chain_id, reader.oracle)

    opener = place.gateway(3)
    receipt = opener.open(record.request, posted.claim, Open(5))
    (game,) = reader.games(posted.id)
    assert game.key == GameKey(posted.id, opener.account, 5) and game.key.id == receipt.game_id
    assert game.state.phase == Phase.REVEAL and isinstance(game.events[0], Opened)
    assert reader.docket(posted.id).open_games == 1
    assert submitter.act() == 1
    (game,) = reader.games(posted.id)
    assert game.state.phase == Phase.PICK and game.events[1].trace_root == answer.own.trace_root
    assert reader.games(b"\x01" * 32) == []

    (claim_row,) = claim_rows(reader)
    assert claim_row.open_games == 1 and 0 < claim_row.final_in <= TERMS.window
    (game_row,) = game_rows(reader)
    assert (game_row.to_move, game_row.phase) == ("challenger", Phase.PICK)
    assert 0 < game_row.clock_left <= TERMS.challenger_clock and len(game_row.cells()) == 8

    with pytest.raises(Revert, match="the game has moved on") as caught:
        opener.play(record.request, posted.claim, game.key, RevealRoot(b"\x01" * 32, (b"\x02" * 32,)))
    assert caught.value.error == "WrongPhase"


def test_move_between_two_questions_shows_in_neither(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    record = place.ask()
    answer = answer_of(place.scenario())
    submitter = Submitter(place.gateway(2), lambda r, p: answer.own, lambda r: answer)
    submitter.act()
    reader = place.gateway(None)
    (posted,) = reader.claims()
    place.gateway(3).open(record.request, posted.claim, Open(0))
    read = place.chain.events

    def events_then_a_move(*args: Any, **options: Any) -> list[Log]:
        found: list[Log] = read(*args, **options)
        monkeypatch.undo()
        assert submitter.act() == 1
        return found

    monkeypatch.setattr(place.chain, "events", events_then_a_move)
    (game,) = reader.games(posted.id)
    assert game.state.phase == Phase.REVEAL and len(game.events) == 1
    (game,) = reader.games(posted.id)
    assert game.state.phase == Phase.PICK and len(game.events) == 3


@pytest.mark.parametrize("fault", ["product-first", "token"])
def test_players_convict_a_wrong_claim(place: Place, fault: str) -> None:
    place.ask()
    scenario = place.scenario()
    cheat = plant(scenario, fault)
    right = answer_of(scenario)

    def own_of(request: RequestRecord, posted: ClaimRecord) -> Own:
        return Own.of(scenario.run((*request.prompt, *posted.output)), scenario.vocabulary)

    liar = Submitter(place.gateway(2), own_of, lambda r: cheat.answer, strategy=cheat.strategy)
    honest = Submitter(place.gateway(4), own_of, lambda r: right)
    challenger = Challenger(place.gateway(3), own_of)
    run_to_rest([liar, honest, challenger])
    reader = place.gateway(None)
    states = {posted.claim.submitter: posted.status for posted in reader.claims()}
    assert states == {
        liar.gateway.account: ClaimStatus.REJECTED,
        honest.gateway.account: ClaimStatus.PENDING,
    }
    assert challenger.gateway.owed() > 0
    place.chain.advance_time(TERMS.window + 1)
    run_to_rest([liar, honest, challenger])
    (request,) = reader.requests()
    assert request.status == RequestStatus.ANSWERED and request.fee_paid
    assert reader.answer_of(request.id) is not None


# Without a chain ---------------------------------------------------------------------------------------

REQUEST = Request(b"\x01" * 20, 2, b"\x03" * 32, b"\x04" * 32, 5, 6, 7, 8, bytes(20), 0, 9)
CLAIM = Claim(
    b"\x01" * 32, b"\x02" * 20, bytes(20), b"\x03" * 32, b"\x04" * 32, 5, b"\x06" * 32, b"\x07" * 32, 8
)
KEY = GameKey(b"\x05" * 32, b"\x06" * 20, 7)


@pytest.mark.parametrize(
    "proof",
    [
        Step(b"\x01" * 32, b"witness"),
        TokenProof(b"\x01" * 32, 3, b"witness"),
        PieceProof(2, b"answer", b"\x00\x06", b"witness"),
    ],
)
def test_announcement_hashes_the_calldata_that_is_sent(proof: Any) -> None:
    from opml.chain import abi
    from opml.chain.artifacts import load_artifact

    sent = abi.encode_call(load_artifact("DisputeGame"), *call_of(REQUEST, CLAIM, KEY, proof))
    assert sent == calldata_of(REQUEST, CLAIM, KEY, proof)
    sender = b"\x09" * 20
    assert announcement_of(REQUEST, CLAIM, KEY, proof, sender) == abi.keccak(sent + sender)


class FakeChain:
    """Logs by block number."""

    def __init__(self) -> None:
        self.head = 0
        self.logs: list[Log] = []
        self.asked: list[int] = []

    def block_number(self) -> int:
        return self.head

    def events(self, contract: Any, *, from_block: int, to_block: int) -> list[Log]:
        self.asked.append(from_block)
        return [log for log in self.logs if from_block <= log.block <= to_block]

    def add(self, block: int) -> None:
        self.head = block
        self.logs.append(Log("0x", "E", {}, (), b"", block, bytes([block]), 0))


def test_log_book_reads_deep_blocks_once_and_late_ones_again() -> None:
    chain: Any = FakeChain()
    book = LogBook(chain, None, 0)  # type: ignore[arg-type]
    chain.add(10)
    chain.add(100)
    assert [log.block for log in book.all()] == [10, 100]
    chain.add(101)
    assert [log.block for log in book.all()] == [10, 100, 101]
    assert chain.asked == [0, 37]
    chain.logs = [log for log in chain.logs if log.block != 100]  # a re-org drops a late block
    assert [log.block for log in book.all()] == [10, 101]


def test_log_book_starts_again_when_the_chain_was_reset() -> None:
    chain: Any = FakeChain()
    book = LogBook(chain, None, 0)  # type: ignore[arg-type]
    chain.add(10)
    chain.add(200)
    assert len(book.all()) == 2
    chain.logs, chain.head = [], 0
    chain.add(5)
    assert [log.block for log in book.all()] == [5]
