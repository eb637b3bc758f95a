"""Keys, as `cast wallet` keeps them. A key never appears in a log, a repr or an error."""

from __future__ import annotations

import getpass
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from opml.chain.adapter import Signer
from opml.errors import InputError
from opml.json_input import parse_json, read_text

_MAX_BYTES = 1 << 16
"""Of a key file, and of a password file."""


class LocalSigner:
    """A signer whose key is in this process's memory. Shows its address only."""

    __slots__ = ("_account",)

    def __init__(self, key: bytes) -> None:
        from eth_account import Account

        try:
            self._account = Account.from_key(key)
        except Exception:  # the cause would carry the key
            _refuse("the private key is not 32 bytes below the order of secp256k1: check where it comes from")

    @property
    def address(self) -> str:
        """Checksummed address."""
        return str(self._account.address)

    def sign(self, transaction: Mapping[str, Any]) -> bytes:
        """Sign and encode an EIP-1559 transaction given in the fields of JSON-RPC."""
        return bytes(self._account.sign_transaction(dict(transaction)).raw_transaction)

    def __repr__(self) -> str:
        return f"LocalSigner({self.address})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a signer is not copied or pickled")


def _refuse(message: str) -> NoReturn:
    raise InputError(message) from None


def keystore_dir() -> Path:
    """Where `cast wallet import` keeps key files: `$FOUNDRY_DIR/keystores`, else `~/.foundry/keystores`."""
    return Path(os.environ.get("FOUNDRY_DIR", Path.home() / ".foundry")) / "keystores"


def signer_from_keystore(file: Path, password: str) -> LocalSigner:
    """Decrypt a key file (Web3 secret storage, version 3).

    Raises `InputError` when the file can't be read, isn't a key file, or the password is another one.
    """
    from eth_account import Account

    try:
        content = parse_json(read_text(file, _MAX_BYTES))
    except FileNotFoundError:
        _refuse(f"no key file at {file}: make one with `cast wallet import NAME`, or name another file")
    except (OSError, ValueError):
        _refuse(f"{file} can't be read as a key file (Web3 secret storage version 3): name another one")
    try:
        key = bytes(Account.decrypt(content, password))
    except ValueError as problem:
        if "MAC" in str(problem):
            _refuse(f"the password doesn't open {file}: try again")
        _refuse(f"{file} is not a key file of version 3: make one with `cast wallet import NAME`")
    except Exception:
        _refuse(f"{file} is not a key file of version 3: make one with `cast wallet import NAME`")
    return LocalSigner(key)


def read_password(password_file: Path | None, prompt: str) -> str:
    """The first line of the password file, or what is typed at the prompt (never echoed)."""
    if password_file is not None:
        try:
            text = read_text(password_file, _MAX_BYTES)
        except (OSError, ValueError) as problem:
            _refuse(f"password file {password_file} can't be read ({type(problem).__name__}): check the path")
        return text.splitlines()[0] if text else ""
    try:
        return getpass.getpass(prompt)
    except EOFError:
        _refuse("no password given and no terminal to ask at: pass --password-file FILE")


def resolve_signer(
    *,
    account: str | None = None,
    keystore: Path | None = None,
    password_file: Path | None = None,
    private_key_env: str | None = None,
) -> Signer:
    """The signer that the options of the command line name; exactly one source must be given.

    `account` is a file name in `keystore_dir()`, `keystore` a path, `private_key_env` the *name* of an
    environment variable that holds a hex key. Raises `InputError`.
    """
    sources = [s for s in (account, keystore, private_key_env) if s is not None]
    if len(sources) != 1:
        given = "several" if sources else "none"
        _refuse(
            f"one key is needed, {given} given: use --account NAME, --keystore FILE or --private-key-env VAR"
        )
    if private_key_env is not None:
        text = os.environ.get(private_key_env)
        if not text:
            _refuse(
                f"environment variable {private_key_env} is empty: export the key in it, or use --account"
            )
        try:
            key = bytes.fromhex(text.strip().removeprefix("0x"))
        except ValueError:
            _refuse(f"environment variable {private_key_env} holds no hex key: 64 hex digits are expected")
        return LocalSigner(key)
    file = keystore
    if file is None:
        assert account is not None
        if Path(account).name != account:
            _refuse(f"--account takes a name in {keystore_dir()}, not a path: use --keystore FILE")
        file = keystore_dir() / account
    if not file.is_file():
        _refuse(f"no key file at {file}: make one with `cast wallet import NAME`, or name another file")
    return signer_from_keystore(file, read_password(password_file, f"password of {file}: "))


__all__ = [
    "LocalSigner",
    "keystore_dir",
    "read_password",
    "resolve_signer",
    "signer_from_keystore",
]
