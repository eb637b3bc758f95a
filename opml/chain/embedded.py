"""A chain in this process: py-evm under Prague rules, one transaction a block, a clock that we move.

Fees are real (EIP-1559 with a base fee that stays where it is set) and so are the limits of a transaction
(EIP-7825) and of a block. Nothing outlives the process.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from eth.abc import BlockHeaderAPI, ComputationAPI, SignedTransactionAPI
from eth.chains.base import MiningChain
from eth.consensus.applier import ConsensusApplier
from eth.consensus.noproof import NoProofConsensus
from eth.constants import POST_MERGE_DIFFICULTY, POST_MERGE_MIX_HASH, POST_MERGE_NONCE
from eth.db.atomic import AtomicDB
from eth.db.backends.memory import MemoryDB
from eth.exceptions import OutOfGas
from eth.exceptions import Revert as EvmRevert
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak
from eth_utils.exceptions import ValidationError

from opml.chain import abi
from opml.chain.adapter import (
    BLOCK_GAS_LIMIT,
    BURN_ADDRESS,
    TX_GAS_CAP,
    ZERO_ADDRESS,
    Contract,
    Fees,
    Log,
    Receipt,
    Revert,
    Signer,
)
from opml.chain.keys import LocalSigner
from opml.chain.quick_evm import QuickPragueVM
from opml.chain.remedies import remedy_for
from opml.chain.sending import Sending
from opml.errors import ChainError, InputError

CHAIN_ID = 31337
GWEI = 10**9
_CALL_GAS = 10**10  # a call costs nobody anything


class _SteadyFeeVM(QuickPragueVM):
    """Prague, with a base fee that doesn't decay while blocks are nearly empty."""

    @classmethod
    def validate_gas(cls, header: BlockHeaderAPI, parent_header: BlockHeaderAPI) -> None:
        """The header is ours: limit and base fee are what `EmbeddedChain` set."""


class _PragueChain(MiningChain):
    chain_id = CHAIN_ID
    vm_configuration = ConsensusApplier(NoProofConsensus).amend_vm_configuration(((0, _SteadyFeeVM),))


@dataclass(frozen=True, slots=True)
class _Snapshot:
    store: dict[bytes, bytes]
    header: Any
    logs: int
    base_fee: int


class EmbeddedChain(Sending):
    """A `Chain` and `LocalChain`.

    accounts   how many funded signers (1,000,000 ether each); their keys are derived from their number
    timestamp  of the genesis block, in seconds
    block_time seconds between blocks when nobody moves the clock
    base_fee   wei a gas, constant until `set_base_fee`
    """

    def __init__(
        self,
        *,
        accounts: int = 10,
        timestamp: int = 1_700_000_000,
        block_time: int = 12,
        base_fee: int = GWEI,
    ) -> None:
        super().__init__()
        self.block_time = block_time
        self._base_fee = base_fee
        self._logs: list[Log] = []
        self._accounts = tuple(map(_account, range(accounts)))
        self._store = MemoryDB()
        rich: Any = {"balance": 10**24, "nonce": 0, "code": b"", "storage": {}}
        # On public chains this account exists, and a transfer to it costs no new account.
        dust: Any = rich | {"balance": 1}
        self._chain: Any = _PragueChain.from_genesis(
            AtomicDB(self._store),
            {
                "coinbase": b"\x00" * 20,
                "difficulty": POST_MERGE_DIFFICULTY,
                "mix_hash": POST_MERGE_MIX_HASH,
                "nonce": POST_MERGE_NONCE,
                "extra_data": b"",
                "gas_limit": BLOCK_GAS_LIMIT,
                "timestamp": timestamp,
            },
            {_canonical(a.address): rich for a in self._accounts} | {_canonical(BURN_ADDRESS): dust},
        )
        self._next_block()

    # What the chain is

    @property
    def chain_id(self) -> int:
        return CHAIN_ID

    @property
    def accounts(self) -> Sequence[LocalSigner]:
        return self._accounts

    def block_number(self) -> int:
        return int(self._chain.header.block_number) - 1

    def timestamp(self, block: int | None = None) -> int:
        return int(self._header_of(self.block_number() if block is None else block).timestamp)

    def pending(self) -> tuple[int, int]:
        header = self._chain.header
        return int(header.block_number), int(header.timestamp)

    def balance(self, address: str) -> int:
        return int(self._chain.get_vm().state.get_balance(_canonical(address)))

    def nonce(self, address: str) -> int:
        return int(self._chain.get_vm().state.get_nonce(_canonical(address)))

    def code_at(self, address: str) -> bytes:
        return bytes(self._chain.get_vm().state.get_code(_canonical(address)))

    def fees(self) -> Fees:
        return Fees(base_fee=self._base_fee, priority_fee=GWEI // 10)

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
        data = abi.encode_call(contract.artifact, fn, args)
        header = self._chain.header
        if block is not None:
            header = self._header_of(block)
        vm = self._chain.get_vm(header)
        caller, target = _canonical(sender or ZERO_ADDRESS), _canonical(contract.address)
        code = vm.state.get_code(target)
        if value:
            vm.state.set_balance(caller, vm.state.get_balance(caller) + value)
        computation = vm.execute_bytecode(
            origin=caller,
            gas_price=0,
            gas=_CALL_GAS,
            to=target,
            sender=caller,
            value=value,
            data=data,
            code=code,
        )
        if computation.is_error:
            raise self._failure(computation, f"{contract.artifact.name}.{fn}")
        return abi.decode_result(contract, fn, bytes(computation.output), self.code_at)

    def send(self, to: str, value: int, *, sender: Signer) -> Receipt:
        return self._transact(to, b"", value, sender, None, f"transfer to {to}")

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
        topics = abi.event_topics(contract.artifact, event, filters)
        last = self.block_number() if to_block is None else to_block
        return [
            self._decoded(log)
            for log in self._logs
            if log.address == contract.address
            and from_block <= log.block <= last
            and abi.matches(topics, log.topics)
        ]

    def wait_for_block(self, number: int) -> None:
        self.mine(max(0, number - self.block_number()))

    # What only a chain of our own can do

    def advance_time(self, seconds: int) -> None:
        if seconds < 1:
            raise InputError(f"time only goes forward: advance_time({seconds}) needs at least 1 second")
        header = self._chain.header
        self._chain.header = header.copy(timestamp=self.timestamp() + seconds)
        self.mine()

    def mine(self, blocks: int = 1) -> None:
        for _ in range(blocks):
            vm = self._chain.get_vm(self._chain.header)
            self._seal(vm, vm.get_block())

    def set_base_fee(self, wei: int) -> None:
        """The base fee of the next block and those after it."""
        self._base_fee = wei
        self._chain.header = self._chain.header.copy(base_fee_per_gas=wei)

    def snapshot(self) -> _Snapshot:
        """The whole state, to be given to `revert` any number of times."""
        return _Snapshot(dict(self._store.kv_store), self._chain.header, len(self._logs), self._base_fee)

    def revert(self, snapshot: _Snapshot) -> None:
        """Back to a snapshot: state, blocks, logs and clock."""
        self._store.kv_store.clear()
        self._store.kv_store.update(snapshot.store)
        self._chain = _PragueChain(AtomicDB(self._store), snapshot.header)
        self._base_fee = snapshot.base_fee
        del self._logs[snapshot.logs :]

    # Blocks

    def _header_of(self, number: int) -> Any:
        if not 0 <= number <= self.block_number():
            raise ChainError(f"there is no block {number}: the latest is {self.block_number()}")
        return self._chain.get_canonical_block_header_by_number(number)

    def _next_block(self) -> None:
        parent = self._chain.get_canonical_head()
        self._chain.header = self._chain.create_header_from_parent(parent).copy(
            gas_limit=BLOCK_GAS_LIMIT,
            timestamp=parent.timestamp + self.block_time,
            base_fee_per_gas=self._base_fee,
        )

    def _seal(self, vm: Any, block: Any) -> None:
        self._chain.persist_block(vm.mine_block(block).block)
        self._next_block()

    def _transact(
        self, to: str | None, data: bytes, value: int, sender: Signer, gas: int | None, where: str
    ) -> Receipt:
        limit = TX_GAS_CAP if gas is None else gas
        if limit > TX_GAS_CAP:
            raise ChainError(f"{where}: a gas limit of {limit:,} is over {TX_GAS_CAP:,} (EIP-7825): split it")
        vm = self._chain.get_vm(self._chain.header)
        transaction = self._signed(vm, to, data, value, sender, limit)
        try:
            evm_receipt, computation = vm.apply_transaction(self._chain.header, transaction)
        except ValidationError as problem:
            raise ChainError(f"{where} is not a valid transaction: {problem}") from None
        if computation.is_error and gas is None:
            raise self._failure(computation, where)

        header = vm.add_receipt_to_header(self._chain.header, evm_receipt)
        number = int(header.block_number)
        block = vm.set_block_transactions_and_withdrawals(
            vm.get_block(), header, (transaction,), (evm_receipt,)
        )
        self._seal(vm, block)
        logs = []
        for index, log in enumerate(evm_receipt.logs):
            topics = [t.to_bytes(32, "big") for t in log.topics]
            logs.append(
                abi.decode_log(
                    self._known, "0x" + log.address.hex(), topics, log.data, number, transaction.hash, index
                )
            )
        self._logs.extend(logs)
        receipt = Receipt(
            tx_hash=bytes(transaction.hash),
            block=number,
            status=not computation.is_error,
            gas_used=int(evm_receipt.gas_used),
            gas_price=self.fees().base_fee + self.fees().priority_fee,
            input_size=len(data),
            sender=sender.address,
            to=to,
            contract=to_checksum_address(computation.msg.storage_address) if to is None else None,
            logs=tuple(logs),
        )
        if computation.is_error:
            raise self._failure(computation, where, receipt)
        return receipt

    def _signed(
        self, vm: Any, to: str | None, data: bytes, value: int, sender: Signer, gas: int
    ) -> SignedTransactionAPI:
        fees = self.fees()
        address = _canonical(sender.address)
        fields: dict[str, Any] = {
            "type": 2,
            "chainId": CHAIN_ID,
            "nonce": vm.state.get_nonce(address),
            "maxPriorityFeePerGas": fees.priority_fee,
            "maxFeePerGas": fees.base_fee + fees.priority_fee,
            "gas": gas,
            "value": value,
            "data": data,
        }
        if to is not None:
            fields["to"] = to
        transaction: SignedTransactionAPI = vm.get_transaction_builder().decode(sender.sign(fields))
        # Recovering the key that has just signed would take half of the time of a small transaction.
        transaction.__dict__["sender"] = address
        return transaction

    def _failure(self, computation: ComputationAPI, where: str, receipt: Receipt | None = None) -> Revert:
        error = computation.error
        if isinstance(error, EvmRevert):
            data = bytes(error.args[0]) if error.args and isinstance(error.args[0], bytes) else b""
            return abi.decode_revert(self._known, data, where, receipt)
        name = type(error).__name__
        values = {} if isinstance(error, OutOfGas) else {"reason": str(error)}
        return Revert(name, values, where=where, remedy=remedy_for(name), receipt=receipt)

    def _decoded(self, log: Log) -> Log:
        """A log again, by what is known now."""
        if log.event:
            return log
        return abi.decode_log(
            self._known, log.address, log.topics, log.data, log.block, log.tx_hash, log.index
        )


@cache
def _account(number: int) -> LocalSigner:
    return LocalSigner(keccak(b"opml embedded account %d" % number))


def _canonical(address: str) -> Any:
    raw = bytes.fromhex(address.removeprefix("0x"))
    if len(raw) != 20:
        raise InputError(f"{address} is no address: 20 bytes in hex are expected")
    return raw


__all__ = ["CHAIN_ID", "EmbeddedChain"]
