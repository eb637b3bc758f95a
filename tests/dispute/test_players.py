"""Players act on what the chain shows alone: restarts, latecomers, copycats, several claims, challengers."""

from __future__ import annotations

from dataclasses import replace

import pytest
import toys
from table import CHALLENGER, LONG, SECOND, SUBMITTER, THIRD, Table

from opml.dispute import errors
from opml.dispute.arena_gateway import ArenaGateway
from opml.dispute.calldata import announcement_of, calldata_of
from opml.dispute.cheats import copied
from opml.dispute.describe import describe_game, describe_step, layer_of, story_target
from opml.dispute.faults import plant
from opml.dispute.gateway import ClaimRecord, ClaimStatus, GameRecord, RequestRecord, RequestStatus
from opml.dispute.history import History, Known, retell
from opml.dispute.moves import Announce, Open, OpenAt, PieceProof, Step, TokenProof
from opml.dispute.own import Own
from opml.dispute.players import MOST_TRACES, Answer, Closer, Player, Progress, run_to_rest
from opml.dispute.state import GameState
from opml.dispute.strategy import View, challenger_move
from opml.dispute.types import Phase, Terms
from opml.dispute.verifier import StepTarget
from opml.errors import ChainError, InputError
from opml.vm.isa import OUT_BYTES
from opml.vm.reference import Fault
from opml.vm.step import Mode


def faulty(table: Table, slot: str = "ffn_up", t: int | None = None, element: int = 0) -> Own:
    place = next(s for s in table.model.layout.slots if s.instr.name == slot)
    xor = 0x00400000 >> 8 * (4 - OUT_BYTES[place.instr.out])
    t = table.last if t is None else t
    return table.own(table.run(faults=[Fault(t, place.number, element, xor)]))


def test_players_made_anew_before_every_move_play_the_same_game() -> None:
    table = Table(toys.model("every_form"), outputs=2)
    theirs = faulty(table)
    table.submitter(table.answer(theirs)).act()
    for _ in range(60):
        table.submitter(table.answer(theirs)).act()
        table.challenger().act()
    posted = next(iter(table.arena.claim_records.values()))
    assert posted.status == ClaimStatus.REJECTED
    assert len(table.arena.game_records) == 1


def test_an_honest_claim_is_answered_paid_and_withdrawn() -> None:
    table = Table(toys.model("every_form"), outputs=2, base_fee=0)
    before = table.arena.balance(SUBMITTER)
    submitter = table.submitter()
    assert table.play([submitter, table.challenger()]) == ClaimStatus.FINAL
    record = next(iter(table.arena.request_records.values()))
    assert record.status == RequestStatus.ANSWERED
    assert record.fee_paid
    assert table.arena.balance(SUBMITTER) == before + record.request.fee
    assert submitter.withdraw() == 1
    assert submitter.withdraw() == 0
    assert table.arena.owed.get(SUBMITTER, 0) == 0


def test_a_latecomer_starts_at_the_leftmost_difference_that_was_revealed() -> None:
    table = Table(toys.model("every_form"), outputs=2, terms=Terms(fanout=2))
    submitter, first = table.submitter(table.answer(faulty(table))), table.challenger()
    submitter.act()
    first.act()
    while _state(table).phase != Phase.LEAF:
        submitter.act()
        first.act()
    told: list[Progress] = []
    second = table.challenger(SECOND, watch=told.append)
    second.act()
    assert isinstance(told[0].move, OpenAt)
    assert _state(table, 1).phase == Phase.LEAF
    assert table.play([submitter, second, first]) == ClaimStatus.REJECTED
    assert {g.state.phase for g in table.arena.game_records.values()} == {Phase.WON, Phase.RELEASED}


def _state(table: Table, number: int = 0) -> GameState:
    return list(table.arena.game_records.values())[number].state


@pytest.mark.parametrize("stop", range(1, 16, 2))
def test_a_latecomer_wins_wherever_the_first_challenger_stopped(stop: int) -> None:
    table = Table(toys.model("every_form"), outputs=3, terms=Terms(fanout=2))
    submitter = table.submitter(table.answer(faulty(table, "attn", t=2)))
    first, second = table.challenger(), table.challenger(SECOND)
    submitter.act()
    for _ in range(stop):
        first.act()
        submitter.act()
    posted = next(iter(table.arena.claim_records.values()))
    if posted.status == ClaimStatus.PENDING:
        assert run_to_rest([submitter, second]) > 0
    assert table.arena.verdict(posted.id) == ClaimStatus.REJECTED


def test_any_number_of_challengers_attack_one_claim_and_none_loses_its_bond() -> None:
    table = Table(toys.model("every_form"), outputs=2, base_fee=0)
    accounts = [bytes([n]) * 20 for n in range(16, 24)]
    submitter = table.submitter(table.answer(faulty(table)))
    challengers = [table.challenger(account) for account in accounts]
    assert table.play([submitter, *challengers]) == ClaimStatus.REJECTED
    for account in accounts:
        assert table.arena.balance(account) >= table.arena.balance(b"\x77" * 20)


def test_a_copied_proof_earns_nothing() -> None:
    table = Table(toys.model("every_form"), outputs=2)
    submitter = table.submitter(table.answer(faulty(table)))
    seen: list[Step] = []

    def eavesdropper(progress: Progress) -> None:
        if isinstance(progress.move, Step):
            seen.append(progress.move)

    honest = table.challenger(watch=eavesdropper)
    submitter.act()
    posted = next(iter(table.arena.claim_records.values()))
    key = table.arena.open(THIRD, posted.id, Open(0))
    honest.act()
    while _state(table, 1).phase != Phase.STEP:
        honest.act()
        submitter.act()
    honest.act()  # announces
    view = table.view(key, THIRD, History(), Known())
    proof = challenger_move(_view_of(table, honest, posted), table.own())
    assert isinstance(proof, Step)
    copy = copied(proof)(view, table.own())
    assert isinstance(copy, Announce)
    with pytest.raises(errors.NotAnnounced):
        table.arena.play(THIRD, key, proof)
    honest.act()
    assert seen == [proof]
    assert table.arena.dockets[posted.id].winner == CHALLENGER


def _view_of(table: Table, player: Player, posted: ClaimRecord) -> View:
    request = table.arena.request_records[posted.claim.request_id]
    _, games = player.look(request, posted, table.own().shapes)
    return next(view for record, view in games if record.key.challenger == CHALLENGER)


def test_a_wrong_claim_does_not_delay_a_right_answer_and_earns_no_fee() -> None:
    table = Table(toys.model("every_form"), outputs=2)
    wrong = table.submitter(table.answer(faulty(table)), account=THIRD)
    wrong.act()
    right = table.submitter()
    right.act()
    run_to_rest([wrong, right, table.challenger()])
    assert table.play([wrong, right, table.challenger()]) == ClaimStatus.REJECTED
    request_id = table.request.id(right.gateway.chain_id, right.gateway.oracle)
    assert table.arena.answers[request_id] == table.answer(table.own()).text
    assert table.arena.fee_paid_to[request_id] == SUBMITTER


def test_the_fee_goes_to_the_earliest_claim_that_becomes_final_with_the_answer() -> None:
    table = Table(toys.model("every_form"), outputs=2)
    first, second = table.submitter(), table.submitter(account=THIRD)
    first.act()
    second.act()
    table.arena.advance(LONG)
    second.act()
    request_id = table.request.id(first.gateway.chain_id, first.gateway.oracle)
    with pytest.raises(errors.ClaimsPending):
        table.arena.collect_fee(THIRD, request_id)
    run_to_rest([first, second])
    assert table.arena.fee_paid_to[request_id] == SUBMITTER


def test_a_submitter_leaves_alone_what_it_cannot_answer() -> None:
    table = Table(toys.model("every_form"), outputs=2)
    submitter = table.submitter()
    submitter.answer = lambda request: None
    assert submitter.act() == 0
    submitter = table.submitter()
    table.arena.time = table.request.deadline + 1
    assert submitter.act() == 0


def test_a_claim_that_cannot_be_recomputed_leaves_the_others_alone() -> None:
    table = Table(toys.model("every_form"), outputs=2)
    table.submitter(account=THIRD).act()
    table.submitter(table.answer(faulty(table))).act()
    posted = list(table.arena.claim_records.values())
    told: list[Progress] = []
    challenger = table.challenger(watch=told.append)

    def own_of(request: RequestRecord, claim: ClaimRecord) -> Own:
        if claim.id == posted[0].id:
            raise InputError("no such tokens")
        return table.own_of(request, claim)

    challenger._own_of = own_of
    assert challenger.act() == 1
    assert told[0].refused == "no such tokens"
    assert next(iter(table.arena.game_records.values())).key.claim_id == posted[1].id


@pytest.mark.parametrize("missing", [1, 2])
def test_logs_that_lag_behind_the_state_are_waited_for(missing: int, monkeypatch: pytest.MonkeyPatch) -> None:
    table = Table(toys.model("every_form"), outputs=3, terms=Terms(fanout=2))
    submitter, challenger = table.submitter(table.answer(faulty(table, "attn", t=2))), table.challenger()
    games, told = ArenaGateway.games, list[Progress]()
    challenger._watch = told.append

    def lagging(gateway: ArenaGateway, claim_id: bytes) -> list[GameRecord]:
        found = games(gateway, claim_id)
        return [replace(game, events=game.events[: max(1, len(game.events) - missing)]) for game in found]

    for _ in range(60):
        submitter.act()
        with monkeypatch.context() as patch:
            patch.setattr(ArenaGateway, "games", lagging)
            challenger.act()
        challenger.act()
    posted = next(iter(table.arena.claim_records.values()))
    assert table.arena.verdict(posted.id) == ClaimStatus.REJECTED
    waits = [p for p in told if p.refused is not None and "not all of its logs" in p.refused]
    assert len(waits) > 3
    assert challenger.refused >= len(waits)


def test_a_game_whose_logs_are_missing_is_not_opened_again(monkeypatch: pytest.MonkeyPatch) -> None:
    table = Table(toys.model("every_form"), outputs=2)
    table.submitter(table.answer(faulty(table))).act()
    challenger = table.challenger()
    assert challenger.act() == 1
    monkeypatch.setattr(ArenaGateway, "games", lambda gateway, claim_id: [])
    assert challenger.act() == 0
    assert challenger.refused == 1
    assert len(table.arena.game_records) == 1


def test_a_refusal_is_told_and_not_raised() -> None:
    table = Table(toys.model("every_form"), outputs=2)
    honest = table.answer(table.own())
    told: list[Progress] = []
    submitter = table.submitter(Answer(honest.output[:-1], honest.pieces[:-1], honest.own))
    submitter._watch = told.append
    assert submitter.act() == 0
    assert told[0].refused is not None
    assert "NoEndToken" in told[0].refused


def test_a_refused_answer_is_not_computed_again() -> None:
    table = Table(toys.model("every_form"), outputs=2)
    honest = table.answer(table.own())
    computed = 0

    def answer(request: RequestRecord) -> Answer:
        nonlocal computed
        computed += 1
        return Answer(honest.output[:-1], honest.pieces[:-1], honest.own)

    submitter = table.submitter()
    submitter.answer = answer
    assert [submitter.act() for _ in range(3)] == [0, 0, 0]
    assert (computed, submitter.refused) == (1, 3)


def test_a_claim_that_holds_is_recomputed_once_and_its_trace_let_go() -> None:
    table = Table(toys.model("every_form"), outputs=2)
    table.submitter().act()
    challenger, computed = table.challenger(), 0

    def own_of(request: RequestRecord, claim: ClaimRecord) -> Own:
        nonlocal computed
        computed += 1
        return table.own_of(request, claim)

    challenger._own_of = own_of
    assert [challenger.act() for _ in range(3)] == [0, 0, 0]
    assert computed == 1
    assert not challenger._owns


def test_a_player_keeps_few_traces() -> None:
    table = Table(toys.model("every_form"), outputs=2)
    table.submitter().act()
    posted, own = next(iter(table.arena.claim_records.values())), table.own()
    player = table.challenger()
    for number in range(MOST_TRACES):
        player._keep(bytes([number]), own)
    player.own(table.arena.request_records[posted.claim.request_id], posted)
    assert list(player._owns) == [*(bytes([n]) for n in range(1, MOST_TRACES)), posted.id]


def test_a_stranger_closes_games_for_the_fee() -> None:
    table = Table(toys.model("every_form"), outputs=2, base_fee=10**9)
    table.submitter(table.answer(faulty(table))).act()
    table.challenger().act()
    closer = Closer(ArenaGateway(table.arena, THIRD), table.own_of)
    assert closer.act() == 0
    before = table.arena.balance(THIRD)
    table.arena.advance(table.terms.submitter_clock + 1)
    assert closer.act() == 1
    assert table.arena.balance(THIRD) > before
    assert next(iter(table.arena.claim_records.values())).status == ClaimStatus.REJECTED


def test_a_challenger_that_was_offline_opens_again_but_not_for_ever() -> None:
    table = Table(toys.model("every_form"), outputs=2, terms=Terms(window=100_000, challenger_clock=10))
    submitter, challenger = table.submitter(table.answer(faulty(table))), table.challenger()
    submitter.act()
    for _ in range(5):
        challenger.act()
        submitter.act()
        table.arena.advance(20)
        submitter.act()
    assert [game.state.phase for game in table.arena.game_records.values()] == [Phase.LOST] * 3


def test_players_that_never_rest_are_stopped() -> None:
    class Restless(Closer):
        def act(self) -> int:
            return 1

    table = Table(toys.model("every_form"))
    with pytest.raises(ChainError):
        run_to_rest([Restless(ArenaGateway(table.arena, THIRD), table.own_of)], 3)


# Words -------------------------------------------------------------------------------------------------


def test_every_move_is_told_in_words() -> None:
    table = Table(toys.model("every_form"), outputs=2, terms=Terms(fanout=2))
    told: list[Progress] = []
    submitter = table.submitter(table.answer(faulty(table)))
    submitter._watch = told.append
    challenger = table.challenger(watch=told.append)
    submitter.act()
    run_to_rest([submitter, challenger])
    texts = [progress.text for progress in told]
    assert texts[0] == "posts a claim of 2 tokens"
    assert texts[1] == "opens a game at the trace root"
    assert texts[2] == "reveals the trace root and 4 nodes below it"
    assert any("opens the tensor, 1200 bytes" in text and "ffn_up" in text for text in texts)
    assert any("running totals, round 1" in text for text in texts)
    assert texts[-2] == "announces its proof"
    assert texts[-1].startswith("proves the step with")
    assert all(progress.receipt for progress in told)


def test_the_disputed_step_is_described_by_layer_name_position_and_element() -> None:
    table = Table(toys.model("llama"), (5, 9, 4), outputs=2)
    duel = table.cheat(plant(table.scenario, "3:1.ffn_down:7:0x80000000"))
    game = next(iter(table.arena.game_records.values()))
    story = retell(table.own().shapes, table.terms.fanout, game.events, Known())
    text = describe_game(table.model.layout, table.terms.fanout, 3, table.last + 1, story)
    assert duel.won is not None
    assert text == (
        f"layer 1, ffn_down, position 3, element 7: claimed 0x{duel.won.claimed:08x}, "
        f"contract computed 0x{duel.won.computed:08x}"
    )
    target = story_target(table.own().shapes, story)
    described = describe_step(table.model.layout, target, duel.won.claimed)
    assert (described.layer, described.name, described.row, described.column) == (1, "ffn_down", 0, 7)
    assert described.computed is None
    assert described.values()["position"] == 3
    assert layer_of(table.model.layout, table.model.layout.slots[0]) is None


def test_chunks_and_finishes_say_so() -> None:
    layout = toys.model("every_form").layout
    ordinal = next(s.ordinal for s in layout.committed if s.instr.name == "q")
    assert ordinal is not None
    chunk = describe_step(layout, StepTarget(1, ordinal, 3, Mode.CHUNK, 32, 64), 5, 6)
    assert chunk.text == (
        "layer 0, q, position 1, element 3, running total over terms 32 … 63: "
        "claimed 0x0000000000000005, contract computed 0x0000000000000006"
    )
    finish = describe_step(layout, StepTarget(1, ordinal, 3, Mode.FINISH), 5)
    assert "from the total of its fold" in finish.text


# What announcements hash -------------------------------------------------------------------------------


def test_calldata_of_proofs_is_what_a_transaction_carries() -> None:
    from opml.chain import abi
    from opml.chain.artifacts import load_artifact
    from opml.chain.gateway import call_of

    table = Table(toys.model("every_form"), outputs=2, exact_digests=True)
    posted = table.post()
    key = table.arena.open(CHALLENGER, posted.id, Open(3))
    artifact = load_artifact("IDisputeGame")
    for proof in (
        Step(b"\1" * 32, b"witness"),
        TokenProof(b"\2" * 32, 7, b""),
        PieceProof(1, b"answer", b"\0\6", b"w" * 99),
    ):
        function, arguments = call_of(table.request, posted.claim, key, proof)
        expected = abi.encode_call(artifact, function, arguments)
        assert calldata_of(table.request, posted.claim, key, proof) == expected
        mine = announcement_of(table.request, posted.claim, key, proof, CHALLENGER)
        assert mine != announcement_of(table.request, posted.claim, key, proof, SECOND)
        assert mine != announcement_of(
            table.request, posted.claim, key, replace(proof, witness=b"other"), CHALLENGER
        )


def test_a_whole_game_is_played_with_exact_announcements() -> None:
    table = Table(toys.model("every_form"), outputs=2, exact_digests=True)
    assert table.duel(faulty(table)).status == ClaimStatus.REJECTED
