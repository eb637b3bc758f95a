"""The committed ABI and byte code of the contracts, read from `opml/chain/artifacts/*.json`.

A file holds `{contractName, abi, bytecode, deployedBytecode}`, byte code as 0x-hex without link references.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Any

from opml.errors import InputError


@dataclass(frozen=True, slots=True, eq=False)
class Artifact:
    """One compiled contract: name, ABI entries, creation code and runtime code."""

    name: str
    abi: tuple[Mapping[str, Any], ...]
    bytecode: bytes = field(repr=False)
    deployed_bytecode: bytes = field(repr=False)

    @classmethod
    def from_json(cls, data: Mapping[str, Any], source: str) -> Artifact:
        """Read the four fields; `InputError` names what is missing or is no byte code."""
        try:
            return cls(
                name=str(data["contractName"]),
                abi=tuple(data["abi"]),
                bytecode=bytes.fromhex(str(data["bytecode"]).removeprefix("0x")),
                deployed_bytecode=bytes.fromhex(str(data["deployedBytecode"]).removeprefix("0x")),
            )
        except KeyError as missing:
            raise InputError(
                f"{source}: no field {missing} in the artifact: build the contracts again"
            ) from None
        except (TypeError, ValueError) as problem:
            raise InputError(
                f"{source}: not a linked artifact ({problem}): build the contracts again"
            ) from None


@cache
def load_artifact(name: str) -> Artifact:
    """The artifact of one of our contracts (`test/NAME`: a test harness); `InputError` when there is none."""
    file = resources.files("opml.chain").joinpath("artifacts", *f"{name}.json".split("/"))
    if not file.is_file():
        have = ", ".join(artifact_names()) or "none"
        raise InputError(
            f"no contract {name!r} in the package (it has: {have}): rebuild the contracts, "
            "or install the package again"
        )
    return Artifact.from_json(json.loads(file.read_text(encoding="utf-8")), f"{name}.json")


def artifact_names() -> list[str]:
    """Names of all contracts in the package, sorted."""
    folder = resources.files("opml.chain").joinpath("artifacts")
    if not folder.is_dir():
        return []
    return sorted(f.name.removesuffix(".json") for f in folder.iterdir() if f.name.endswith(".json"))


__all__ = ["Artifact", "artifact_names", "load_artifact"]
