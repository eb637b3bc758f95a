"""No command writes over a file unasked, and none finds out after it has paid."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from opml.chain.deployment import Deployment
from opml.chain.embedded import EmbeddedChain
from opml.cli.claim_file import Roots
from opml.cli.options import ChainOptions, KeyOptions
from opml.errors import InputError


@pytest.fixture
def chain(monkeypatch: pytest.MonkeyPatch) -> EmbeddedChain:
    """The chain that every --rpc-url leads to, with a key for every account."""
    chain = EmbeddedChain(accounts=1)
    monkeypatch.setattr(ChainOptions, "connect", lambda self: chain)
    monkeypatch.setattr(KeyOptions, "signer", lambda self: chain.accounts[0])
    return chain


def test_deployment_in_use_is_kept(opml: Any, chain: EmbeddedChain, tmp_path: Path) -> None:
    file = tmp_path / "d.json"
    first = opml.json("deploy", "--deployment", file)["contracts"]
    before, block = file.read_bytes(), chain.block_number()
    result = opml("deploy", "--deployment", file)
    assert isinstance(result.exception, InputError)
    assert f"{file} exists already" in str(result.exception) and "--force" in str(result.exception)
    assert chain.block_number() == block and file.read_bytes() == before
    assert opml.json("deploy", "--deployment", file, "--force")["contracts"] != first
    assert Deployment.load(file).addresses != first


def test_deployment_that_cannot_be_kept_is_told(
    opml: Any, chain: EmbeddedChain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(file: Path, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("opml.chain.deployment.write_whole", full)
    result = opml("deploy", "--deployment", tmp_path / "d.json", "--json")
    assert isinstance(result.exception, InputError) and "No space left" in str(result.exception)
    (tmp_path / "kept.json").write_text(result.stderr[result.stderr.index("{") :])
    assert chain.code_at(Deployment.load(tmp_path / "kept.json").addresses["OpmlOracle"])


def test_claim_that_exists_is_kept(opml: Any, tiny_file: Path, tmp_path: Path) -> None:
    claim = tmp_path / "c.json"
    run = ("run", tiny_file, "--prompt", "the", "--max-tokens", 2, "--claim", claim)
    opml.json(*run, "--sidecar")
    before = claim.read_bytes()
    result = opml(*run, "--seed", 1)
    assert isinstance(result.exception, InputError) and "c.json exists already" in str(result.exception)
    assert not result.stdout and claim.read_bytes() == before
    opml.json(*run, "--seed", 1, "--force")
    assert claim.read_bytes() != before and not Roots.path(claim).exists()


def test_sidecar_of_another_claim_is_kept(opml: Any, tiny_file: Path, tmp_path: Path) -> None:
    claim = tmp_path / "c.json"
    Roots.path(claim).write_bytes(b"precious")
    result = opml("run", tiny_file, "--prompt", "the", "--claim", claim)
    assert isinstance(result.exception, InputError) and "c.roots.npz exists already" in str(result.exception)
    assert Roots.path(claim).read_bytes() == b"precious" and not claim.exists()


def test_force_without_claim_is_a_usage_error(opml: Any, tiny_file: Path) -> None:
    assert opml("run", tiny_file, "--prompt", "the", "--force").exit_code == 2
