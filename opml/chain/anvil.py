"""Anvil: a fast local chain in a process of its own, where it is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from opml.chain.adapter import BLOCK_GAS_LIMIT, BURN_ADDRESS
from opml.chain.keys import LocalSigner
from opml.chain.rpc import Patience, RpcChain
from opml.errors import ChainError, InputError

MNEMONIC = "test test test test test test test test test test test junk"
_START_SECONDS = 20.0


def find_anvil(extra: Sequence[Path] = ()) -> Path | None:
    """The anvil on PATH, else in one of the `extra` folders; None where there is none."""
    found = shutil.which("anvil")
    if found is None and extra:
        found = shutil.which("anvil", path=os.pathsep.join(str(folder) for folder in extra))
    return Path(found) if found else None


def require_anvil() -> Path:
    """The anvil on PATH; `InputError` where there is none."""
    found = find_anvil()
    if found is None:
        raise InputError(
            "anvil is not on PATH: install it (`npm install -g @foundry-rs/anvil`, or foundryup), "
            "or use the embedded chain"
        )
    return found


class AnvilChain(RpcChain):
    """A `Chain` and `LocalChain` on a running anvil.

    accounts   how many of anvil's funded accounts to offer as signers
    """

    def __init__(self, url: str, *, accounts: int = 20) -> None:
        super().__init__(url, patience=Patience(inclusion=60.0, poll=0.05))
        self._accounts = development_accounts(accounts)

    @property
    def accounts(self) -> Sequence[LocalSigner]:
        return self._accounts

    def advance_time(self, seconds: int) -> None:
        if seconds < 1:
            raise InputError(f"time only goes forward: advance_time({seconds}) needs at least 1 second")
        self.request("evm_setNextBlockTimestamp", hex(self.timestamp() + seconds))
        self.mine()

    def mine(self, blocks: int = 1) -> None:
        target = self.block_number() + blocks
        for _ in range(blocks):
            self.request("evm_mine")
        self.wait_for_block(target)

    def set_base_fee(self, wei: int) -> None:
        """The base fee of the next block; later ones follow EIP-1559."""
        self.request("anvil_setNextBlockBaseFeePerGas", hex(wei))

    def snapshot(self) -> Any:
        """Anvil forgets a snapshot when it is reverted to: `revert` takes it again."""
        return {"id": self.request("evm_snapshot")}

    def revert(self, snapshot: Any) -> None:
        if not self.request("evm_revert", snapshot["id"]):
            raise ChainError(
                f"anvil doesn't know the snapshot {snapshot['id']}: it was restarted, or it is older"
            )
        snapshot["id"] = self.request("evm_snapshot")


def development_accounts(count: int) -> tuple[LocalSigner, ...]:
    """Signers of the well-known development mnemonic, `m/44'/60'/0'/0/i`. Never put real money there."""
    from eth_account.hdaccount import key_from_seed, seed_from_mnemonic

    seed = seed_from_mnemonic(MNEMONIC, "")
    return tuple(LocalSigner(key_from_seed(seed, f"m/44'/60'/0'/0/{i}")) for i in range(count))


class Anvil:
    """An anvil process: `with Anvil.start() as anvil: anvil.chain()`. Ends with the block."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, log: Path) -> None:
        self._process = process
        self.port = port
        self.log = log

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @classmethod
    def start(
        cls,
        *,
        binary: Path | None = None,
        block_time: int | None = None,
        base_fee: int = 10**9,
        accounts: int = 20,
        timestamp: int | None = None,
        state: Path | None = None,
    ) -> Self:
        """Start on a free port and wait until it answers.

        Raises `InputError` when anvil isn't installed, `ChainError` when it doesn't come up.
        """
        program = binary or require_anvil()
        folder = Path(tempfile.mkdtemp(prefix="opml-anvil-"))
        log = folder / "anvil.log"
        command = [
            str(program),
            "--host=127.0.0.1",
            "--port=0",
            f"--accounts={accounts}",
            "--balance=1000000",
            f"--mnemonic={MNEMONIC}",
            f"--gas-limit={BLOCK_GAS_LIMIT}",
            "--enable-tx-gas-limit",
            "--hardfork=prague",
            f"--base-fee={base_fee}",
            "--no-request-size-limit",
        ]
        if block_time is not None:
            command.append(f"--block-time={block_time}")
        if timestamp is not None:
            command.append(f"--timestamp={timestamp}")
        if state is not None:
            command.append(f"--state={state}")
        with log.open("wb") as out:
            process = subprocess.Popen(
                command, stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL
            )
        anvil = cls(process, 0, log)
        try:
            anvil.port = anvil._listening()
            chain = anvil.chain(accounts=0)
            if not chain.balance(BURN_ADDRESS):  # it exists on public chains
                chain.request("anvil_setBalance", BURN_ADDRESS, "0x1")
        except ChainError:
            anvil.stop()
            raise
        return anvil

    def _listening(self) -> int:
        """The port that anvil says it listens on."""
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            for line in self.log.read_text(errors="replace").splitlines():
                if line.startswith("Listening on"):
                    return int(line.rsplit(":", 1)[1])
            time.sleep(0.01)
        tail = self.log.read_text(errors="replace")[-500:]
        raise ChainError(f"anvil did not start within {_START_SECONDS:.0f} s: {tail or 'it said nothing'}")

    def chain(self, *, accounts: int = 20) -> AnvilChain:
        """A new connection."""
        return AnvilChain(self.url, accounts=accounts)

    def stop(self) -> None:
        """End the process; harmless when it has ended already."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(5)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        shutil.rmtree(self.log.parent, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


__all__ = ["MNEMONIC", "Anvil", "AnvilChain", "development_accounts", "find_anvil", "require_anvil"]
