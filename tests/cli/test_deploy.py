"""An interrupted `opml deploy` goes on where it stopped, and trusts its file no further than the chain."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from opml.chain.artifacts import Artifact
from opml.chain.deployment import CONTRACTS, Deployment
from opml.chain.gateway import ChainGateway
from opml.chain.unfinished import KEPT
from opml.cli.options import ChainOptions, KeyOptions
from opml.errors import ChainError
from tests.remembered import RememberingChain


class Breaking(RememberingChain):
    """A chain that fails before the deployment of a contract, and notes what it deploys."""

    breaks: str | None = None

    def __init__(self) -> None:
        super().__init__(accounts=1)
        self.names: list[str] = []

    def deploy(self, artifact: Artifact, args: Any = (), **options: Any) -> Any:
        if artifact.name == self.breaks:
            raise ChainError("no RPC answered: the line is cut")
        self.names.append(artifact.name)
        return super().deploy(artifact, args, **options)


@pytest.fixture
def chain(monkeypatch: pytest.MonkeyPatch) -> Breaking:
    chain = Breaking()
    monkeypatch.setattr(ChainOptions, "connect", lambda self: chain)
    monkeypatch.setattr(KeyOptions, "signer", lambda self: chain.accounts[0])
    return chain


@pytest.fixture
def interrupted(opml: Any, chain: Breaking, tmp_path: Path) -> Callable[[str], Path]:
    """Interrupts a deployment before a contract; the file that is left."""

    def interrupt(name: str) -> Path:
        chain.breaks = name
        result = opml("deploy", "--deployment", tmp_path / "d.json")
        assert isinstance(result.exception, ChainError) and not (tmp_path / "d.json").exists()
        assert ("call it again" in result.stderr) == (name != "StepVerifier")
        chain.breaks = None
        chain.names.clear()
        return tmp_path / "d.json.unfinished"

    return interrupt


@pytest.mark.parametrize("name", list(CONTRACTS))
def test_goes_on_where_it_stopped(
    opml: Any, chain: Breaking, interrupted: Callable[[str], Path], tmp_path: Path, name: str
) -> None:
    start = chain.block_number()
    unfinished = interrupted(name)
    held = json.loads(unfinished.read_text())["contracts"] if unfinished.exists() else {}
    result = opml("deploy", "--deployment", tmp_path / "d.json", "--window", "7m", "--json")
    made = json.loads(result.stdout)
    assert chain.names == list(CONTRACTS)[list(CONTRACTS).index(name) :] == list(made["gas"])
    assert held.items() <= made["contracts"].items() and not unfinished.exists()
    deployment = Deployment.load(tmp_path / "d.json")
    assert deployment.block == start
    deployment.check(chain)
    assert ChainGateway(chain, deployment).terms().window == 7 * 60


def test_kept_are_all_before_the_oracle() -> None:
    assert [*KEPT, "OpmlOracle"] == list(CONTRACTS)
    for name, immutables in KEPT.items():
        assert set(immutables.values()) == set(CONTRACTS[name])


def swapped(content: dict[str, Any]) -> None:
    held = content["contracts"]
    held["StepVerifier"], held["GameRules"] = held["GameRules"], held["StepVerifier"]


def other_chain(content: dict[str, Any]) -> None:
    content["chainId"] = 1


def later_block(content: dict[str, Any]) -> None:
    content["block"] = 10**6


def no_address(content: dict[str, Any]) -> None:
    content["contracts"]["StepVerifier"] = 7


def no_contracts(content: dict[str, Any]) -> None:
    content["contracts"] = []


@pytest.mark.parametrize("change", [swapped, other_chain, later_block, no_address, no_contracts])
def test_file_that_does_not_fit_the_chain_is_left_aside(
    opml: Any, chain: Breaking, interrupted: Callable[[str], Path], tmp_path: Path, change: Any
) -> None:
    unfinished = interrupted("OpmlOracle")
    content = json.loads(unfinished.read_text())
    change(content)
    unfinished.write_text(json.dumps(content))
    opml.json("deploy", "--deployment", tmp_path / "d.json")
    assert chain.names == list(CONTRACTS)


@pytest.mark.parametrize("text", ["", "[]", "{", "null", '{"format": 1}', "[" * 100_000])
def test_damaged_file_is_left_aside(opml: Any, chain: Breaking, tmp_path: Path, text: str) -> None:
    (tmp_path / "d.json.unfinished").write_text(text)
    opml.json("deploy", "--deployment", tmp_path / "d.json")
    assert chain.names == list(CONTRACTS)


def test_registry_of_another_validator_is_left_aside(
    opml: Any, chain: Breaking, interrupted: Callable[[str], Path], tmp_path: Path
) -> None:
    unfinished = interrupted("OpmlOracle")
    before = json.loads(unfinished.read_text())
    unfinished.unlink()
    interrupted("OpmlOracle")
    mixed = json.loads(unfinished.read_text())
    mixed["contracts"]["ModelRegistry"] = before["contracts"]["ModelRegistry"]
    unfinished.write_text(json.dumps(mixed))
    opml.json("deploy", "--deployment", tmp_path / "d.json")
    assert chain.names == ["ModelRegistry", "OpmlOracle"]


def test_chain_that_was_reset_gets_all_contracts(
    opml: Any, chain: Breaking, interrupted: Callable[[str], Path], tmp_path: Path
) -> None:
    fresh = chain.snapshot()
    interrupted("GameRules")
    chain.revert(fresh)
    opml.json("deploy", "--deployment", tmp_path / "d.json")
    assert chain.names == list(CONTRACTS)
