"""Contracts in an in-process EVM (pyrevm, Cancun): deploy an artifact, call its functions, read their gas."""

from __future__ import annotations

from typing import Any

import pytest
from eth_abi import decode, encode

from opml.chain.artifacts import load_artifact
from opml.vm.keccak import keccak256

pyrevm = pytest.importorskip("pyrevm", reason="pyrevm has no wheels for this Python")

CALLER = "0x" + "11" * 20
GAS = 1 << 28


class Reverted(Exception):
    """A call reverted; `selector` is that of the custom error."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.selector = message.partition("output: 0x")[2][:8]


def selector(signature: str) -> str:
    """The four bytes of a function or an error, as hex."""
    return keccak256(signature.encode())[:4].hex()


def abi_type(item: dict[str, Any]) -> str:
    """The canonical type of an ABI parameter."""
    kind = str(item["type"])
    if not kind.startswith("tuple"):
        return kind
    return "(" + ",".join(abi_type(part) for part in item["components"]) + ")" + kind[5:]


class Deployed:
    """One contract on a fresh EVM. `call` runs a function and changes nothing; `gas` is what it used."""

    def __init__(self, artifact: str) -> None:
        found = load_artifact(artifact)
        self.evm = pyrevm.EVM(spec_id="CANCUN")
        self.evm.set_balance(CALLER, 10**30)
        self.address = self.evm.deploy(CALLER, found.bytecode)
        self.code_size = len(found.deployed_bytecode)
        self.calldata = b""
        self.gas = 0
        self._functions = {f["name"]: f for f in found.abi if f["type"] == "function"}
        self._data_contracts = 0

    def call(self, name: str, *args: Any, gas: int = GAS) -> Any:
        """The value that a function returns (a tuple if several)."""
        function = self._functions[name]
        inputs = [abi_type(item) for item in function["inputs"]]
        outputs = [abi_type(item) for item in function["outputs"]]
        head = bytes.fromhex(selector(f"{name}({','.join(inputs)})"))
        self.calldata = head + encode(inputs, args)
        try:
            raw = self.evm.message_call(CALLER, self.address, calldata=self.calldata, gas=gas, is_static=True)
        except RuntimeError as problem:
            raise Reverted(str(problem)) from None
        self.gas = self.evm.result.gas_used
        values = decode(outputs, bytes(raw))
        return values[0] if len(values) == 1 else values

    @property
    def execution_gas(self) -> int:
        """Gas of the last call without that of a transaction and its calldata."""
        return self.gas - 21_000 - sum(16 if byte else 4 for byte in self.calldata)

    @property
    def transaction_gas(self) -> int:
        """Gas of the last call as a transaction: EIP-7623 sets a floor by the calldata."""
        tokens = sum(4 if byte else 1 for byte in self.calldata)
        return max(self.gas, 21_000 + 10 * tokens)

    def data_contract(self, data: bytes) -> str:
        """The address of a new contract whose code is 0x00 and these bytes."""
        self._data_contracts += 1
        address = "0x" + (0xDA7A << 32 | self._data_contracts).to_bytes(20, "big").hex()
        self.evm.insert_account_info(address, pyrevm.AccountInfo(code=b"\0" + data))
        return address
