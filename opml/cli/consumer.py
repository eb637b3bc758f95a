"""The contract that asks in the demo, and is handed the answer."""

from __future__ import annotations

from collections.abc import Sequence

from opml.chain.adapter import Chain, Contract, Receipt, Signer
from opml.chain.artifacts import load_artifact
from opml.chain.decode import tokens_bytes
from opml.chain.deployment import Deployment
from opml.chain.gateway import Order


class Consumer:
    """A deployed `contracts/examples/Questions.sol`, used by one account."""

    CALLBACK_GAS = 200_000

    def __init__(self, chain: Chain, contract: Contract, oracle: Contract, signer: Signer) -> None:
        self._chain = chain
        self._contract = contract
        self._oracle = oracle
        self._signer = signer

    @classmethod
    def deploy(cls, chain: Chain, deployment: Deployment, signer: Signer) -> tuple[Consumer, Receipt]:
        """Put the example on the chain."""
        oracle = deployment.contract("OpmlOracle")
        contract, receipt = chain.deploy(load_artifact("Questions"), [oracle.address], sender=signer)
        return cls(chain, contract, oracle, signer), receipt

    @property
    def address(self) -> str:
        return self._contract.address

    def ask(self, order: Order, prompt: Sequence[int], price: int) -> tuple[bytes, Receipt]:
        """Let the contract ask; gives the request's id."""
        arguments = [order.values(), tokens_bytes(prompt)]
        receipt = self._chain.transact(self._contract, "ask", arguments, sender=self._signer, value=price)
        return receipt.event("Requested").args["requestId"], receipt

    def answer(self, request_id: bytes) -> bytes:
        """The answer that the contract was handed; empty while it has none."""
        found: bytes = self._chain.call(self._contract, "answers", [request_id])
        return found


__all__ = ["Consumer"]
