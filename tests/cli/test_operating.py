"""A player's loop goes on when the chain is away, and tells what it does."""

from __future__ import annotations

from typing import Any

import pytest

from opml.cli.operating import facts_of, line_of, operate
from opml.dispute.gateway import Receipt
from opml.dispute.moves import Reveal
from opml.dispute.players import Progress
from opml.dispute.state import GameState
from opml.dispute.types import Phase, Terms
from opml.errors import ChainError, InputError


class Stop(Exception):
    pass


class ScriptedPlayer:
    def __init__(self, *script: Any) -> None:
        self.script = list(script)
        self.withdrawals = 0
        self.refused = 0

    def act(self) -> int:
        if not self.script:
            raise Stop
        step = self.script.pop(0)
        if step == "refused":
            self.refused += 1
            return 0
        if isinstance(step, Exception):
            raise step
        return int(step)

    def withdraw(self) -> int:
        self.withdrawals += 1
        return 0


def loop(player: Any, *, once: bool) -> tuple[list[float], list[str]]:
    slept: list[float] = []
    told: list[str] = []
    try:
        operate(player, once=once, interval=3.0, sleep=slept.append, tell=told.append)
    except Stop:
        assert not once
    return slept, told


def test_once_stops_when_nothing_is_left() -> None:
    player = ScriptedPlayer(2, 1, 0)
    assert loop(player, once=True) == ([], []) and player.withdrawals == 1


def test_idle_player_sleeps_and_looks_again() -> None:
    player = ScriptedPlayer(1, 0, 1, 0)
    assert loop(player, once=False)[0] == [3.0, 3.0]


def test_chain_that_is_away_is_waited_for() -> None:
    slept, told = loop(ScriptedPlayer(ChainError("no RPC answered"), 0), once=False)
    assert slept == [3.0, 3.0] and "no RPC answered; trying again in 3 s" in told[0]


def test_chain_that_is_away_ends_a_single_pass() -> None:
    with pytest.raises(ChainError):
        loop(ScriptedPlayer(ChainError("no RPC answered")), once=True)


def test_single_pass_without_work_says_so() -> None:
    assert loop(ScriptedPlayer(0), once=True)[1] == ["nothing was done"]
    assert loop(ScriptedPlayer(2, 0), once=True)[1] == []


def test_single_pass_that_ends_refused_fails() -> None:
    with pytest.raises(ChainError, match="refused"):
        loop(ScriptedPlayer(1, "refused"), once=True)
    assert loop(ScriptedPlayer("refused", 0), once=False) == ([3.0, 3.0], [])


def test_other_errors_are_not_swallowed() -> None:
    with pytest.raises(InputError):
        loop(ScriptedPlayer(InputError("no key")), once=False)


def progress(**change: Any) -> Progress:
    fields: dict[str, Any] = {
        "who": "submitter",
        "account": b"\x01" * 20,
        "claim_id": b"\xab" * 32,
        "text": "reveals 4 nodes",
        "move": Reveal((b"",)),
        "game": GameState(phase=Phase.REVEAL, moved_at=100),
        "game_id": b"\xcd" * 32,
        "receipt": Receipt(1234, 5, 6, b"\x07" * 32),
        "now": 160,
        "terms": Terms(submitter_clock=100),
    }
    return Progress(**(fields | change))


def test_line_names_claim_gas_and_clock() -> None:
    line = line_of(progress())
    assert "claim 0xabababab… reveals 4 nodes, 1,234 gas, 40 s left" in line


def test_line_of_a_refusal_says_why() -> None:
    assert "refused: because" in line_of(progress(receipt=None, refused="because"))


def test_facts_are_plain_data() -> None:
    facts = facts_of(progress())
    assert facts["move"] == "Reveal" and facts["gas"] == 1234 and facts["claim"] == "0x" + "ab" * 32
