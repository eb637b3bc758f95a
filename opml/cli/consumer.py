"""The contract that asks in the demo, and is handed the answer."""

from __future__ import annotations

from collections.abc import Sequence

from opml.chain.adapter import Chain, Contract, Receipt, Signer
from opml.chain.artifacts import load_artifact
from opml.chain.decode import tokens_bytes
from opml.chain.deployment import Deployment
from opml.chain.gateway import Order
from opml.dispute.limits import MOST_CALLBACK_GAS


class Consumer:
    """A deployed `contracts/examples/Questions.sol`, used by one account."""

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

    @staticmethod
    def callback_gas(max_output: int) -> int:
        """Enough to store an answer of that many tokens, at most 8 bytes each."""
        return min(MOST_CALLBACK_GAS, 100_000 + 6_000 * max_output)

    def collect(self) -> Receipt | None:
        """Fetch what is left of the deposits for finality and delivery; None where nothing is."""
        if not self._chain.call(self._oracle, "owed", [self.address]):
            return None
        receiver = self._signer.address
        return self._chain.transact(self._contract, "collect", [receiver], sender=self._signer)

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
