"""Artifacts are read or refused with what to do."""

from __future__ import annotations

from typing import Any

import pytest

from opml.chain.artifacts import Artifact, artifact_names, load_artifact
from opml.errors import InputError

GOOD: dict[str, Any] = {"contractName": "A", "abi": [], "bytecode": "0x60", "deployedBytecode": "0x"}


def test_artifact_fields_are_read() -> None:
    artifact = Artifact.from_json(GOOD, "A.json")
    assert (artifact.name, artifact.bytecode, artifact.deployed_bytecode) == ("A", b"\x60", b"")
    assert "60" not in repr(artifact)


@pytest.mark.parametrize("field", list(GOOD))
def test_missing_field_is_named(field: str) -> None:
    with pytest.raises(InputError, match=field):
        Artifact.from_json({k: v for k, v in GOOD.items() if k != field}, "A.json")


def test_unlinked_bytecode_is_refused() -> None:
    with pytest.raises(InputError, match="not a linked artifact"):
        Artifact.from_json({**GOOD, "bytecode": "0x73__$abc$__"}, "A.json")


def test_unknown_contract_lists_those_in_the_package() -> None:
    with pytest.raises(InputError, match="no contract 'Nothing' in the package"):
        load_artifact("Nothing")


def test_packaged_artifacts_all_load() -> None:
    for name in artifact_names():
        assert load_artifact(name).name == name
