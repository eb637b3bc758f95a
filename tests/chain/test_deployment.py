"""A deployment file is what `save` wrote, of this chain, or refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from opml.chain.deployment import CONTRACTS, GAME, Deployment
from opml.chain.embedded import CHAIN_ID, EmbeddedChain
from opml.errors import ChainError, InputError

ADDRESS = "0x2c7536E3605D9C16a7a3D7b1898e529396a65c23"
GOOD = Deployment(CHAIN_ID, 7, dict.fromkeys((*CONTRACTS, GAME), ADDRESS))


def test_deployment_round_trips_through_its_file(tmp_path: Path) -> None:
    GOOD.save(tmp_path / "d.json")
    assert Deployment.load(tmp_path / "d.json") == GOOD


@pytest.mark.parametrize(
    "change",
    [
        {"format": "opml deployment 2"},
        {"chainId": "1"},
        {"chainId": True},
        {"chainId": 10**400},
        {"block": None},
        {"contracts": {}},
        {"contracts": []},
        {"contracts": dict.fromkeys((*CONTRACTS, GAME), ADDRESS.lower())},
        {"contracts": dict.fromkeys((*CONTRACTS, GAME), 7)},
    ],
)
def test_changed_file_is_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    GOOD.save(tmp_path / "d.json")
    content = json.loads((tmp_path / "d.json").read_text())
    (tmp_path / "d.json").write_text(json.dumps(content | change))
    with pytest.raises(InputError, match="is no deployment file"):
        Deployment.load(tmp_path / "d.json")


@pytest.mark.parametrize("text", ["", "[]", "null", "\xff", "{"])
def test_other_file_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "d.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError, match="is no deployment file"):
        Deployment.load(tmp_path / "d.json")


def test_missing_file_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="opml deploy"):
        Deployment.load(tmp_path / "none.json")


def test_deployment_of_another_chain_is_refused() -> None:
    chain = EmbeddedChain(accounts=1)
    with pytest.raises(ChainError, match=r"on chain 1, the RPC answers for chain 31337"):
        Deployment(1, 0, GOOD.addresses).check(chain)
    with pytest.raises(ChainError, match=r"there is no StepVerifier at 0x2c75"):
        GOOD.check(chain)
