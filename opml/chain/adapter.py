"""One adapter, two chains behind it: the protocol that everything above `opml.chain` speaks.

`opml.chain.embedded.EmbeddedChain` runs an EVM in this process, `opml.chain.rpc.RpcChain` speaks JSON-RPC.
Both encode, decode and name errors alike (`opml.chain.abi`), and both follow one rule for a transaction
that reverts: without an explicit gas limit it is tried first and never sent; with one it is sent, and mined
as failed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from opml.chain.artifacts import Artifact
from opml.errors import ChainError

TX_GAS_CAP = 16_777_216  # EIP-7825
BLOCK_GAS_LIMIT = 36_000_000
ZERO_ADDRESS = "0x" + "00" * 20
BURN_ADDRESS = "0x000000000000000000000000000000000000dEaD"
"""Where contracts send what they burn (`contracts/Ledger.sol`)."""


@dataclass(frozen=True, slots=True)
class Contract:
    """A deployed contract: its checksummed address and the artifact that explains it."""

    address: str
    artifact: Artifact


@dataclass(frozen=True, slots=True)
class Log:
    """A decoded event. `event` is "" (and `args` empty) where no known ABI explains it."""

    address: str
    event: str
    args: Mapping[str, Any]
    topics: tuple[bytes, ...]
    data: bytes
    block: int
    tx_hash: bytes
    index: int


@dataclass(frozen=True, slots=True)
class Receipt:
    """A mined transaction: `gas_used` in gas, `gas_price` in wei, `input_size` in bytes of calldata."""

    tx_hash: bytes
    block: int
    status: bool
    gas_used: int
    gas_price: int
    input_size: int
    sender: str
    to: str | None
    contract: str | None
    logs: tuple[Log, ...] = ()

    @property
    def cost(self) -> int:
        """What the sender paid for gas, in wei."""
        return self.gas_used * self.gas_price

    def event(self, name: str) -> Log:
        """The only log of this event; `ChainError` when there is none."""
        found = [log for log in self.logs if log.event == name]
        if not found:
            seen = ", ".join(log.event or "?" for log in self.logs) or "none"
            raise ChainError(
                f"transaction 0x{self.tx_hash.hex()} emitted no {name} (it emitted: {seen}): "
                "the contract at this address is another one; check the deployment file"
            )
        return found[0]


@dataclass(frozen=True, slots=True)
class Fees:
    """Prices of gas in wei: the base fee of the next block and the tip that gets a transaction in."""

    base_fee: int
    priority_fee: int


class Revert(ChainError):
    """A contract refused. `error` is the custom error's name, `values` its arguments by name, `data` the raw
    revert data; `receipt` is set when the refusal was mined, and paid for."""

    def __init__(
        self,
        error: str,
        values: Mapping[str, Any],
        *,
        where: str,
        data: bytes = b"",
        remedy: str = "",
        receipt: Receipt | None = None,
    ) -> None:
        self.error = error
        self.values: dict[str, Any] = dict(values)
        self.where = where
        self.data = data
        self.remedy = remedy
        self.receipt = receipt
        shown = ", ".join(f"{name}={render(value)}" for name, value in self.values.items())
        mined = f" (mined in 0x{receipt.tx_hash.hex()}, {receipt.gas_used:,} gas)" if receipt else ""
        super().__init__(f"{where} was refused{mined}: {error}({shown}){': ' + remedy if remedy else ''}")


class Signer(Protocol):
    """Somebody who can sign: an address and a signature, nothing else can be asked of it."""

    @property
    def address(self) -> str: ...

    def sign(self, transaction: Mapping[str, Any]) -> bytes:
        """The signed transaction, encoded as `eth_sendRawTransaction` takes it."""
        ...


class Chain(Protocol):
    """A chain that holds our contracts. Amounts are wei, times are seconds, addresses are checksummed hex."""

    @property
    def chain_id(self) -> int: ...

    def block_number(self) -> int:
        """Number of the latest block."""
        ...

    def timestamp(self, block: int | None = None) -> int:
        """Timestamp of a block (the latest where None)."""
        ...

    def pending(self) -> tuple[int, int]:
        """Number and timestamp of the block in which a transaction sent now would be included; a chain that
        others mine gives its best guess."""
        ...

    def balance(self, address: str) -> int: ...

    def nonce(self, address: str) -> int:
        """Number of the account's next transaction."""
        ...

    def code_at(self, address: str) -> bytes: ...

    def fees(self) -> Fees: ...

    def deploy(
        self,
        artifact: Artifact,
        args: Sequence[Any] = (),
        *,
        sender: Signer,
        value: int = 0,
        gas: int | None = None,
    ) -> tuple[Contract, Receipt]: ...

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
        """Result of a function without a transaction: one value, or a tuple of several; structs are dicts.

        With `block` the state after that block; else the state a transaction sent now would meet.
        Raises `Revert` when the contract refuses.
        """
        ...

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
        """Send, wait for inclusion, decode. Raises `Revert` when the contract refuses, `ChainError` when the
        chain cannot be reached or does not include the transaction in time."""
        ...

    def send(self, to: str, value: int, *, sender: Signer) -> Receipt:
        """A plain transfer."""
        ...

    def events(
        self,
        contract: Contract,
        event: str | None = None,
        filters: Mapping[str, Any] | None = None,
        *,
        from_block: int = 0,
        to_block: int | None = None,
    ) -> list[Log]:
        """Logs of a contract, oldest first: of one event or all, filtered by values of indexed arguments."""
        ...

    def wait_for_block(self, number: int) -> None:
        """Return when the latest block is at least `number`."""
        ...


@runtime_checkable
class LocalChain(Protocol):
    """What only a chain of our own can do: the embedded one and anvil."""

    @property
    def accounts(self) -> Sequence[Signer]:
        """Funded signers."""
        ...

    def advance_time(self, seconds: int) -> None:
        """The next block, mined at once, is at least this much later."""
        ...

    def mine(self, blocks: int = 1) -> None: ...

    def snapshot(self) -> Any: ...

    def revert(self, snapshot: Any) -> None: ...


@dataclass(frozen=True, slots=True)
class Known:
    """What a chain knows to decode with: errors by selector, events by topic, over all artifacts seen."""

    errors: dict[bytes, Mapping[str, Any]] = field(default_factory=dict)
    events: dict[bytes, Mapping[str, Any]] = field(default_factory=dict)


def render(value: Any) -> str:
    """A decoded value as people write it: bytes in hex, the rest plain."""
    if isinstance(value, bytes):
        return "0x" + value.hex()
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{k}: {render(v)}" for k, v in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(render(v) for v in value) + "]"
    return str(value)


__all__ = [
    "BLOCK_GAS_LIMIT",
    "BURN_ADDRESS",
    "TX_GAS_CAP",
    "ZERO_ADDRESS",
    "Chain",
    "Contract",
    "Fees",
    "Known",
    "LocalChain",
    "Log",
    "Receipt",
    "Revert",
    "Signer",
    "render",
]
