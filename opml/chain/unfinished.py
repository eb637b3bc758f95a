"""What an interrupted `opml deploy` has put on a chain, kept until the deployment file is written."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path

from eth_utils.address import is_checksum_address

from opml.chain.adapter import Chain, Contract
from opml.chain.artifacts import load_artifact
from opml.file_output import write_whole
from opml.json_input import parse_json, read_text

KEPT = {
    "StepVerifier": {},
    "ProgramValidator": {},
    "StepCost": {},
    "GameRules": {},
    "ModelRegistry": {"validator": "ProgramValidator", "cost": "StepCost"},
}
"""Contracts whose like can be told on a chain, in the order of `CONTRACTS`, with the immutables of each. The
oracle after them has terms besides, and is deployed again."""
_FORMAT = "opml deployment 1, unfinished"
_MAX_BYTES = 1 << 16


class Unfinished:
    """A file beside the deployment file: addresses by contract, and the block before them, on one chain."""

    def __init__(self, deployment: Path, chain: Chain) -> None:
        self.file = deployment.with_name(deployment.name + ".unfinished")
        self._chain = chain
        self.block = chain.block_number()
        self.addresses: dict[str, str] = {}
        try:
            content = parse_json(read_text(self.file, _MAX_BYTES))
            block, addresses = content["block"], content["contracts"]
            if (content["format"], content["chainId"]) != (_FORMAT, chain.chain_id):
                return
            if type(block) is not int or not 0 <= block <= self.block:
                return
            for name in KEPT:
                if not self._holds(name, addresses[name]):
                    return
                self.block, self.addresses[name] = block, addresses[name]
        except (OSError, ValueError, TypeError, KeyError):
            return  # what can't be read is as good as not deployed

    def keep(self, addresses: Mapping[str, str]) -> None:
        """Write the file; a full disk only costs that these are deployed again."""
        content = {
            "format": _FORMAT,
            "chainId": self._chain.chain_id,
            "block": self.block,
            "contracts": {name: addresses[name] for name in KEPT if name in addresses},
        }
        with contextlib.suppress(OSError):
            write_whole(self.file, (json.dumps(content, indent=2) + "\n").encode())

    def remove(self) -> None:
        """The deployment file holds it all."""
        with contextlib.suppress(OSError):
            self.file.unlink()

    def _holds(self, name: str, address: object) -> bool:
        """Whether the chain has the contract there, made with the addresses read before."""
        if not isinstance(address, str) or not is_checksum_address(address):
            return False
        artifact = load_artifact(name)
        expected, code = artifact.deployed_bytecode, self._chain.code_at(address)
        if not KEPT[name]:
            return code == expected
        # Where immutables go, the artifact has zeros.
        if len(code) != len(expected) or any(e not in (0, c) for e, c in zip(expected, code, strict=True)):
            return False
        contract = Contract(address, artifact)
        return all(self._chain.call(contract, f) == self.addresses[of] for f, of in KEPT[name].items())


__all__ = ["KEPT", "Unfinished"]
