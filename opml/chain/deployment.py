"""Where our contracts are on a chain: put there, written to a file, read back and checked."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from eth_utils.address import is_checksum_address

from opml.chain.adapter import Chain, Contract, Receipt, Signer
from opml.chain.artifacts import load_artifact
from opml.chain.decode import terms_values
from opml.dispute.types import Terms
from opml.errors import ChainError, InputError
from opml.file_output import write_whole
from opml.json_input import parse_json, read_text

CONTRACTS: dict[str, tuple[str, ...]] = {
    "StepVerifier": (),
    "ProgramValidator": (),
    "StepCost": (),
    "GameRules": (),
    "ModelRegistry": ("ProgramValidator", "StepCost"),
    "OpmlOracle": ("ModelRegistry", "StepVerifier", "GameRules"),
}
"""What is deployed, in order, with the contracts that each constructor is given."""
GAME = "DisputeGame"  # the oracle brings it
_FORMAT = "opml deployment 1"
_MAX_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Deployment:
    """Addresses (checksummed) of the contracts by name, on which chain, and the block to read logs from."""

    chain_id: int
    block: int
    addresses: Mapping[str, str]

    def contract(self, name: str) -> Contract:
        """One of the contracts with its artifact."""
        return Contract(self.addresses[name], load_artifact(name))

    def check(self, chain: Chain) -> None:
        """Raises `ChainError` unless the chain is the deployment's and holds code at every address."""
        if chain.chain_id != self.chain_id:
            raise ChainError(
                f"the deployment is on chain {self.chain_id}, the RPC answers for chain {chain.chain_id}: "
                "pass the other --rpc-url, or the deployment file of this chain"
            )
        for name, address in self.addresses.items():
            if not chain.code_at(address):
                raise ChainError(
                    f"there is no {name} at {address} on chain {self.chain_id}: the deployment file is of "
                    "another chain, or the chain was reset; deploy again with `opml deploy`"
                )

    @property
    def text(self) -> str:
        """The content of a deployment file, JSON."""
        content = {
            "format": _FORMAT,
            "chainId": self.chain_id,
            "block": self.block,
            "contracts": dict(self.addresses),
        }
        return json.dumps(content, indent=2) + "\n"

    def save(self, file: Path) -> None:
        """Write as JSON."""
        try:
            write_whole(file, self.text.encode())
        except OSError as problem:
            raise InputError(
                f"{file} can't be written ({problem}): choose another place with --deployment"
            ) from None

    @classmethod
    def load(cls, file: Path) -> Deployment:
        """Read what `save` wrote; `InputError` for anything else."""
        try:
            content = parse_json(read_text(file, _MAX_BYTES))
        except FileNotFoundError:
            raise InputError(
                f"there is no deployment file {file}: make one with `opml deploy`, or pass --deployment FILE"
            ) from None
        except (OSError, ValueError) as problem:
            raise InputError(
                f"{file} is no deployment file ({problem}): pass what `opml deploy` wrote"
            ) from None
        try:
            if not isinstance(content, dict) or not isinstance(content["contracts"], dict):
                raise ValueError("an object with fields expected")
            if content["format"] != _FORMAT:
                raise ValueError(f"format {str(content['format'])[:40]!r}, {_FORMAT!r} expected")
            chain_id, block, contracts = content["chainId"], content["block"], content["contracts"]
            if not all(type(number) is int and 0 <= number < 1 << 256 for number in (chain_id, block)):
                raise ValueError("chainId and block must be whole numbers")
            for name in (*CONTRACTS, GAME):
                if not is_checksum_address(contracts[name]):
                    raise ValueError(f"{name} has no checksummed address")
        except (KeyError, TypeError, ValueError) as problem:
            what = f"no field {problem}" if isinstance(problem, KeyError) else str(problem)
            raise InputError(
                f"{file} is no deployment file ({what}): pass what `opml deploy` wrote"
            ) from None
        return cls(chain_id, block, {name: contracts[name] for name in (*CONTRACTS, GAME)})


def deploy(
    chain: Chain,
    signer: Signer,
    terms: Terms,
    on_receipt: Callable[[str, Receipt], None] = lambda name, receipt: None,
    begun: Mapping[str, str] | None = None,
    before: int | None = None,
) -> Deployment:
    """Deploy all contracts, a transaction each; the oracle brings its game with it. Raises `ChainError`.

    `begun`: addresses of the first of them, where an earlier call was interrupted; `before`: a block before
    all of them, the latest one unless given.
    """
    block = chain.block_number() if before is None else before
    addresses = dict(begun or {})
    for name, needs in CONTRACTS.items():
        if name in addresses:
            continue
        args: list[object] = [addresses[other] for other in needs]
        if name == "OpmlOracle":
            args.append(terms_values(terms))
        deployed, receipt = chain.deploy(load_artifact(name), args, sender=signer)
        addresses[name] = deployed.address
        on_receipt(name, receipt)
    addresses[GAME] = chain.call(Contract(addresses["OpmlOracle"], load_artifact("OpmlOracle")), "game")
    return Deployment(chain.chain_id, block, addresses)


__all__ = ["CONTRACTS", "GAME", "Deployment", "deploy"]
