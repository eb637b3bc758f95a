"""What the embedded chain and JSON-RPC have in common: calls of contracts become transactions."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from opml.chain import abi
from opml.chain.adapter import Contract, Known, Receipt, Signer
from opml.chain.artifacts import Artifact
from opml.errors import ChainError


class Sending(ABC):
    """`Chain.deploy` and `Chain.transact` on top of one way to send."""

    def __init__(self) -> None:
        self._known = Known()

    def deploy(
        self,
        artifact: Artifact,
        args: Sequence[Any] = (),
        *,
        sender: Signer,
        value: int = 0,
        gas: int | None = None,
    ) -> tuple[Contract, Receipt]:
        abi.learn(self._known, artifact)
        data = abi.encode_deploy(artifact, args)
        receipt = self._transact(None, data, value, sender, gas, f"deployment of {artifact.name}")
        if receipt.contract is None:
            raise ChainError(f"the node named no address for the new {artifact.name}: use another node")
        return Contract(receipt.contract, artifact), receipt

    def transact(
        self,
        contract: Contract,
        fn: str,
        args: Sequence[Any] = (),
        *,
        sender: Signer,
        value: int = 0,
        gas: int | None = None,
    ) -> Receipt:
        abi.learn(self._known, contract.artifact)
        data = abi.encode_call(contract.artifact, fn, args)
        return self._transact(contract.address, data, value, sender, gas, f"{contract.artifact.name}.{fn}")

    @abstractmethod
    def _transact(
        self, to: str | None, data: bytes, value: int, sender: Signer, gas: int | None, where: str
    ) -> Receipt:
        """Send from `sender`, wait for inclusion. `where` names it in errors."""


__all__ = ["Sending"]
