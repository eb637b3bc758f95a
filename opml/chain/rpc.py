"""Any chain behind JSON-RPC: nonces, EIP-1559 fees, gas, inclusion, re-orgs and refusals."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak

from opml.chain import abi
from opml.chain.adapter import TX_GAS_CAP, ZERO_ADDRESS, Contract, Fees, Log, Receipt, Revert, Signer
from opml.chain.sending import Sending
from opml.chain.transport import RpcError, Transport
from opml.errors import ChainError

_GWEI = 10**9
_LOG_CHUNK = 5_000  # blocks a query; halved when a node finds it too many
_RESENDS = 3
_KNOWN_ALREADY = (
    "already known",
    "already imported",
    "known transaction",
    "already in mempool",
    "already exists",
)
_STALE_NONCE = ("nonce too low", "nonce is too low", "invalid nonce", "replacement transaction underpriced")
_NO_FUNDS = ("insufficient funds", "insufficient balance")
_NO_PENDING = ("pending", "unknown block", "invalid block")


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait for a transaction.

    inclusion      seconds until it is given up
    bump_after     seconds until it is sent again with fees a quarter higher
    confirmations  blocks that must be on top of it before it counts; a re-org until then is waited out
    poll           seconds between looks
    """

    inclusion: float = 300.0
    bump_after: float = 60.0
    confirmations: int = 0
    poll: float = 0.25


class RpcChain(Sending):
    """A `Chain` over JSON-RPC. One process may use one key at a time; several keys are no problem."""

    def __init__(
        self,
        urls: str | Sequence[str],
        *,
        timeout: float = 30.0,
        patience: Patience = Patience(),
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        super().__init__()
        self._rpc = Transport([urls] if isinstance(urls, str) else urls, timeout=timeout, sleep=sleep)
        self._patience = patience
        self._clock = clock
        self._sleep = sleep
        self._log_chunk = _LOG_CHUNK
        self._chain_id = int(self.request("eth_chainId"), 16)

    def request(self, method: str, *params: Any) -> Any:
        """A raw JSON-RPC request, for what the adapter doesn't cover."""
        return self._rpc.request(method, *params)

    # What the chain is

    @property
    def chain_id(self) -> int:
        return self._chain_id

    def block_number(self) -> int:
        return int(self.request("eth_blockNumber"), 16)

    def timestamp(self, block: int | None = None) -> int:
        return int(self._block("latest" if block is None else hex(block))["timestamp"], 16)

    def pending(self) -> tuple[int, int]:
        try:
            block = self._block("pending")
        except RpcError:
            block = self._block("latest")
            return int(block["number"], 16) + 1, int(block["timestamp"], 16) + 1
        return int(block["number"], 16), int(block["timestamp"], 16)

    def balance(self, address: str) -> int:
        return int(self.request("eth_getBalance", to_checksum_address(address), "latest"), 16)

    def nonce(self, address: str) -> int:
        return int(self.request("eth_getTransactionCount", to_checksum_address(address), "pending"), 16)

    def code_at(self, address: str) -> bytes:
        return _bytes(self.request("eth_getCode", to_checksum_address(address), "latest"))

    def fees(self) -> Fees:
        base = self._block("latest").get("baseFeePerGas")
        if base is None:
            raise ChainError(
                f"chain {self.chain_id} has no base fee (EIP-1559), which bonds are sized by: use another"
            )
        try:
            tip = int(self.request("eth_maxPriorityFeePerGas"), 16)
        except RpcError:
            tip = _GWEI
        return Fees(base_fee=int(base, 16), priority_fee=tip)

    def _block(self, tag: str) -> Any:
        block = self.request("eth_getBlockByNumber", tag, False)
        if block is None:
            raise ChainError(f"the node has no block {tag}: it is behind, or no such block exists")
        return block

    # Calls and transactions

    def call(
        self,
        contract: Contract,
        fn: str,
        args: Sequence[Any] = (),
        *,
        sender: str | None = None,
        value: int = 0,
        block: int | None = None,
    ) -> Any:
        abi.learn(self._known, contract.artifact)
        message = {
            "from": sender or ZERO_ADDRESS,
            "to": contract.address,
            "data": "0x" + abi.encode_call(contract.artifact, fn, args).hex(),
            "value": hex(value),
        }
        where = f"{contract.artifact.name}.{fn}"
        if block is not None:
            result = self._tried("eth_call", message, where, hex(block))
        else:
            result = self._on_pending("eth_call", message, where)
        return abi.decode_result(contract, fn, _bytes(result), self.code_at)

    def send(self, to: str, value: int, *, sender: Signer) -> Receipt:
        return self._transact(to_checksum_address(to), b"", value, sender, None, f"transfer to {to}")

    def events(
        self,
        contract: Contract,
        event: str | None = None,
        filters: Mapping[str, Any] | None = None,
        *,
        from_block: int = 0,
        to_block: int | None = None,
    ) -> list[Log]:
        abi.learn(self._known, contract.artifact)
        topics = [
            None if t is None else "0x" + t.hex() for t in abi.event_topics(contract.artifact, event, filters)
        ]
        last = self.block_number() if to_block is None else to_block
        found: list[Log] = []
        start = from_block
        while start <= last:
            stop = min(last, start + self._log_chunk - 1)
            query = {
                "address": contract.address,
                "fromBlock": hex(start),
                "toBlock": hex(stop),
                "topics": topics,
            }
            try:
                answer = self.request("eth_getLogs", query)
            except RpcError:
                if stop == start:
                    raise
                self._log_chunk = max(1, (stop - start + 1) // 2)
                continue
            found.extend(self._log(entry) for entry in answer if not entry.get("removed"))
            start = stop + 1
        return found

    def wait_for_block(self, number: int) -> None:
        deadline = self._clock() + self._patience.inclusion
        while self.block_number() < number:
            if self._clock() > deadline:
                raise ChainError(
                    f"block {number} didn't come in {self._patience.inclusion:.0f} s: is the chain alive?"
                )
            self._sleep(self._patience.poll)

    # A transaction, from estimate to receipt

    def _tried(self, method: str, message: Mapping[str, Any], where: str, tag: str) -> Any:
        """`eth_call` or `eth_estimateGas`, with a refusal of the contract as `Revert`."""
        try:
            return self.request(method, dict(message), tag)
        except RpcError as error:
            data = _revert_data(error)
            if data is None:
                raise
            raise abi.decode_revert(self._known, data, where) from None

    def _on_pending(self, method: str, message: Mapping[str, Any], where: str) -> Any:
        """In the block to come, where "in a later block" is met already; else in the latest."""
        try:
            return self._tried(method, message, where, "pending")
        except RpcError as error:
            if not any(word in error.message.lower() for word in _NO_PENDING):
                raise
            return self._tried(method, message, where, "latest")

    def _gas_limit(self, message: Mapping[str, Any], where: str) -> int:
        try:
            needed = int(self._on_pending("eth_estimateGas", message, where), 16)
        except RpcError as error:
            if not any(word in error.message.lower() for word in _NO_FUNDS):
                raise
            raise _not_sent(error, where, message["from"]) from None
        if needed > TX_GAS_CAP:
            raise ChainError(f"{where} needs {needed:,} gas, over {TX_GAS_CAP:,} (EIP-7825): split it")
        return min(TX_GAS_CAP, needed * 5 // 4 + 10_000)

    def _transact(
        self, to: str | None, data: bytes, value: int, sender: Signer, gas: int | None, where: str
    ) -> Receipt:
        message: dict[str, Any] = {"from": sender.address, "value": hex(value), "data": "0x" + data.hex()}
        if to is not None:
            message["to"] = to
        if gas is None:
            gas = self._gas_limit(message, where)
        elif gas > TX_GAS_CAP:
            raise ChainError(f"{where}: a gas limit of {gas:,} is over {TX_GAS_CAP:,} (EIP-7825): split it")
        fees = self.fees()
        fields: dict[str, Any] = {
            "type": 2,
            "chainId": self.chain_id,
            "gas": gas,
            "value": value,
            "data": data,
            "maxPriorityFeePerGas": fees.priority_fee,
            "maxFeePerGas": 2 * fees.base_fee + fees.priority_fee,
        }
        if to is not None:
            fields["to"] = to
        fields, raw = self._submit(fields, sender, where)
        found = self._include(fields, raw, sender, where)
        receipt = self._receipt(found, to, sender, data)
        if not receipt.status:
            raise self._failure(message, receipt, gas, where)
        return receipt

    def _submit(self, fields: dict[str, Any], sender: Signer, where: str) -> tuple[dict[str, Any], bytes]:
        """Sign with a fresh nonce and send; a nonce that was used in the meantime is replaced."""
        for attempt in range(_RESENDS):
            fields = {**fields, "nonce": self.nonce(sender.address)}
            raw = sender.sign(fields)
            try:
                self._broadcast(raw)
                return fields, raw
            except RpcError as error:
                stale = any(word in error.message.lower() for word in _STALE_NONCE)
                if not stale or attempt == _RESENDS - 1:
                    raise _not_sent(error, where, sender.address) from None
        raise AssertionError("unreachable")

    def _broadcast(self, raw: bytes) -> None:
        try:
            self.request("eth_sendRawTransaction", "0x" + raw.hex())
        except RpcError as error:
            if not any(word in error.message.lower() for word in _KNOWN_ALREADY):
                raise

    def _include(self, fields: dict[str, Any], raw: bytes, sender: Signer, where: str) -> Any:
        """Wait until one of the versions of a transaction is mined and confirmed."""
        versions = {keccak(raw): raw}
        start = self._clock()
        bump_at = start + self._patience.bump_after
        pause = 0.005
        while True:
            for digest in versions:
                found = self.request("eth_getTransactionReceipt", "0x" + digest.hex())
                if found is not None and self._confirmed(found):
                    return found
            now = self._clock()
            if now - start > self._patience.inclusion:
                names = ", ".join("0x" + d.hex() for d in versions)
                raise ChainError(
                    f"{where} was not included in {self._patience.inclusion:.0f} s ({names}): "
                    "it may still be; look there before sending it again"
                )
            if now > bump_at:
                bump_at = now + self._patience.bump_after
                fields = {
                    **fields,
                    "maxPriorityFeePerGas": fields["maxPriorityFeePerGas"] * 5 // 4 + 1,
                    "maxFeePerGas": fields["maxFeePerGas"] * 5 // 4 + 1,
                }
                raw = sender.sign(fields)
                try:
                    self._broadcast(raw)
                    versions[keccak(raw)] = raw
                except RpcError:
                    continue  # an earlier version was mined just now, or the node wants no more for it
            self._sleep(pause)
            pause = min(self._patience.poll, pause * 2)

    def _confirmed(self, found: Any) -> bool:
        block = int(found["blockNumber"], 16)
        return (
            self._patience.confirmations == 0 or self.block_number() >= block + self._patience.confirmations
        )

    def _receipt(self, found: Any, to: str | None, sender: Signer, data: bytes) -> Receipt:
        created = found.get("contractAddress")
        return Receipt(
            tx_hash=_bytes(found["transactionHash"]),
            block=int(found["blockNumber"], 16),
            status=int(found["status"], 16) == 1,
            gas_used=int(found["gasUsed"], 16),
            gas_price=int(found.get("effectiveGasPrice", "0x0"), 16),
            input_size=len(data),
            sender=sender.address,
            to=to,
            contract=to_checksum_address(created) if to is None and created else None,
            logs=tuple(self._log(entry) for entry in found["logs"]),
        )

    def _failure(self, message: Mapping[str, Any], receipt: Receipt, gas: int, where: str) -> Revert:
        """Why a mined transaction failed: ask again on the state before its block."""
        try:
            self._tried("eth_call", {**message, "gas": hex(gas)}, where, hex(receipt.block - 1))
        except Revert as revert:
            return abi.decode_revert(self._known, revert.data, where, receipt)
        except ChainError:
            pass
        if receipt.gas_used >= gas * 63 // 64:
            return Revert("OutOfGas", {"limit": gas}, where=where, remedy="give it more gas", receipt=receipt)
        return Revert(
            "Reverted",
            {"reason": "the state changed between the check and the block"},
            where=where,
            remedy="look at the chain again and decide anew",
            receipt=receipt,
        )

    def _log(self, entry: Any) -> Log:
        return abi.decode_log(
            self._known,
            entry["address"],
            [_bytes(t) for t in entry["topics"]],
            _bytes(entry["data"]),
            int(entry["blockNumber"], 16),
            _bytes(entry["transactionHash"]),
            int(entry["logIndex"], 16),
        )

    def with_patience(self, **changes: Any) -> None:
        """Change fields of `Patience`."""
        self._patience = replace(self._patience, **changes)


def _bytes(text: str) -> bytes:
    return bytes.fromhex(text.removeprefix("0x"))


def _revert_data(error: RpcError) -> bytes | None:
    """Revert data in a node's error; None when the error isn't a revert. Nodes nest it differently."""
    data: Any = error.data
    while isinstance(data, dict):
        data = (
            data.get("data")
            or data.get("result")
            or next((v for v in data.values() if isinstance(v, dict)), None)
        )
    if isinstance(data, str):
        text = data.removeprefix("Reverted ").removeprefix("0x")
        try:
            return bytes.fromhex(text)
        except ValueError:
            return b"" if "revert" in error.message.lower() else None
    return b"" if error.code == 3 or "revert" in error.message.lower() else None


def _not_sent(error: RpcError, where: str, sender: str) -> ChainError:
    text = error.message.lower()
    if any(word in text for word in _NO_FUNDS):
        return ChainError(
            f"{where} was not sent: {sender} can't pay value and gas ({error.message}): fund it"
        )
    return ChainError(f"{where} was not sent: {error.message} (code {error.code}): correct it and try again")


__all__ = ["Patience", "RpcChain"]
