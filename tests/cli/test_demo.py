"""The demo on a tiny model: lies lose, a groundless challenge too, and the consumer holds the answer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from opml.errors import InputError
from tests.remembered import RememberingChain

OPTIONS = ("--prompt", "the end", "--max-tokens", 4)


@pytest.fixture(autouse=True, scope="module")
def remembering_chain() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("opml.chain.embedded.EmbeddedChain", RememberingChain)
        yield


@pytest.fixture(scope="module")
def lie(opml: Any, tiny_file: Path) -> Any:
    return opml.json("demo", "--model", tiny_file, *OPTIONS)


def test_result_has_the_keys_of_the_manual(lie: Any) -> None:
    assert {"answer", "verdict", "moves", "transactions", "gas", "step", "balances"} <= set(lie)


def test_cheating_submitter_loses(lie: Any, opml: Any, tiny_file: Path) -> None:
    assert lie["verdict"] == "challenger"
    assert lie["step"]["claimed"] != lie["step"]["computed"]
    assert lie["step"]["name"] == "ffn_down" and lie["step"]["text"] in lie["decided"]
    run = opml.json("run", tiny_file, *OPTIONS)
    assert lie["answer"] == run["answer"]


def test_moves_add_up_to_gas_and_transactions(lie: Any) -> None:
    assert sum(move["gas"] for move in lie["moves"]) == lie["gas"]
    assert len(lie["moves"]) == lie["transactions"]
    assert [move["number"] for move in lie["moves"]] == list(range(1, len(lie["moves"]) + 1))
    levels = [move["levels"] for move in lie["moves"] if move["levels"]]
    assert levels == sorted(levels, reverse=True)
    assert lie["moves"][0]["name"] == "Open" and lie["moves"][-1]["name"] == "Step"


def test_wrong_side_pays(lie: Any) -> None:
    beside_gas = {name: b["change"] + b["gasCost"] for name, b in lie["balances"].items()}
    assert beside_gas["cheat"] <= -lie["bonds"]["submitter"] // 2
    assert lie["balances"]["challenger"]["change"] > 0
    assert beside_gas["submitter"] > 0


@pytest.mark.parametrize(
    "fault",
    ["value-sum", "token", "silent-leaf", "20:1.ffn_down:31:0x80000000"],
)
def test_every_kind_of_lie_loses(opml: Any, tiny_file: Path, fault: str) -> None:
    result = opml.json("demo", "--model", tiny_file, *OPTIONS, "--fault", fault)
    assert result["verdict"] == "challenger"
    assert result["balances"]["challenger"]["change"] > 0


@pytest.mark.parametrize("fault", ["going-on"])
def test_lie_that_the_oracle_sees_is_refused_at_once(opml: Any, tiny_file: Path, fault: str) -> None:
    result = opml.json("demo", "--model", tiny_file, *OPTIONS, "--fault", fault)
    assert result["verdict"] == "challenger" and result["step"] is None and result["transactions"] == 0
    assert "OutputTooLong" in result["decided"] or "EndTokenInside" in result["decided"]


def test_groundless_challenge_costs_its_bond(opml: Any, tiny_file: Path) -> None:
    result = opml.json("demo", "--model", tiny_file, *OPTIONS, "--role", "cheating-challenger")
    assert result["verdict"] == "submitter" and result["answer"]
    assert result["step"]["claimed"] == result["step"]["computed"]
    assert any("NotFraud" in move["refused"] for move in result["moves"])
    lost = result["balances"]["cheat"]["change"]
    assert lost <= -result["bonds"]["challenger"]
    assert result["balances"]["submitter"]["change"] > 0


def test_terminal_view_tells_the_story(opml: Any, tiny_file: Path) -> None:
    run = opml("demo", "--model", tiny_file, *OPTIONS)
    assert run.exit_code == 0, run.exception
    for text in ("the lie:", "reveals", "picks node", "clocks", "verdict", "contract computed 0x", "holds:"):
        assert text in run.stdout


@pytest.mark.parametrize(
    "fault",
    [
        "nonsense",
        "",
        "1:2:3",
        "900:0:0:1",
        "0:nothing:0:1",
        "0:0:0:0",
        f"0:{'9' * 5000}:0:1",
        f"0:{'9' * 5000}.k:0:1",
        "0:٣:0:1",
    ],
)
def test_unknown_fault_is_refused_before_anything_is_deployed(
    opml: Any, tiny_file: Path, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("opml.cli.story.Story.play", lambda _: pytest.fail("the story began"))
    result = opml("demo", "--model", tiny_file, *OPTIONS, "--fault", fault)
    assert isinstance(result.exception, InputError)


def test_help_lists_the_faults(opml: Any) -> None:
    from opml.dispute.faults import FAULTS

    shown = opml("demo", "--help").stdout
    assert all(name in shown for name in FAULTS)


@pytest.mark.parametrize("fault", ["nonsense", "", "1:2:3", "1:2:3:0", "1:2:-3:4", "x:2:3:4"])
def test_fault_that_no_run_knows_is_refused_before_the_model_is_loaded(opml: Any, fault: str) -> None:
    result = opml("demo", "--model", "none.gguf", "--fault", fault)
    assert isinstance(result.exception, InputError) and "none.gguf" not in str(result.exception)


def test_fault_of_a_submitter_that_is_honest_is_refused(opml: Any) -> None:
    result = opml(
        "demo", "--model", "none.gguf", "--role", "cheating-challenger", "--fault", "product-middle"
    )
    assert result.exit_code == 2 and "leave one of the two out" in result.stderr


def test_anvil_that_is_not_there_is_said_before_the_model_is_loaded(
    opml: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    result = opml("demo", "--model", "none.gguf", "--anvil")
    assert isinstance(result.exception, InputError) and "anvil is not on PATH" in str(result.exception)


def test_more_tokens_than_positions_are_said_and_the_rest_is_played(opml: Any, tiny_file: Path) -> None:
    result = opml("demo", "--model", tiny_file, "--prompt", "the end", "--max-tokens", 10**6, "--json")
    assert result.exit_code == 0 and "output tokens" in result.stderr
    assert json.loads(result.stdout)["verdict"] == "challenger"
