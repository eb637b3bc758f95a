"""A key is used, never shown."""

from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path

import pytest
from eth_account import Account

from opml.chain.keys import (
    LocalSigner,
    keystore_dir,
    read_password,
    resolve_signer,
    signer_from_keystore,
)
from opml.errors import InputError

KEY = bytes.fromhex("4c0883a69102937d6231471b5dbb6204fe5129617082792ae468d01a3f362318")
ADDRESS = "0x2c7536E3605D9C16a7a3D7b1898e529396a65c23"


def light_keystore(file: Path, password: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(Account.encrypt(KEY, password, kdf="pbkdf2", iterations=2)))


def test_signer_shows_address_only() -> None:
    signer = LocalSigner(KEY)
    assert signer.address == ADDRESS
    assert KEY.hex() not in repr(signer) and repr(signer) == f"LocalSigner({ADDRESS})"
    for leak in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError):
            leak(signer)


def test_signature_is_the_keys() -> None:
    transaction = {
        "type": 2,
        "chainId": 1,
        "nonce": 0,
        "gas": 21000,
        "value": 0,
        "data": b"",
        "to": ADDRESS,
        "maxFeePerGas": 2,
        "maxPriorityFeePerGas": 1,
    }
    assert Account.recover_transaction(LocalSigner(KEY).sign(transaction)) == ADDRESS


@pytest.mark.parametrize("key", [b"", b"\x00" * 32, b"\xff" * 32, KEY + b"\x00"])
def test_bad_key_is_refused_without_showing_it(key: bytes) -> None:
    with pytest.raises(InputError) as caught:
        LocalSigner(key)
    assert caught.value.__cause__ is None and caught.value.__suppress_context__
    assert len(key) < 32 or key.hex() not in str(caught.value)


def test_account_name_is_a_foundry_keystore(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOUNDRY_DIR", str(tmp_path))
    light_keystore(keystore_dir() / "alice", "secret")
    (tmp_path / "pw").write_text("secret\n")
    assert resolve_signer(account="alice", password_file=tmp_path / "pw").address == ADDRESS
    with pytest.raises(InputError, match=r"no key file at .*bob"):
        resolve_signer(account="bob", password_file=tmp_path / "pw")
    with pytest.raises(InputError, match="not a path"):
        resolve_signer(account="../alice", password_file=tmp_path / "pw")


def test_wrong_password_and_other_files_are_told_apart(tmp_path: Path) -> None:
    light_keystore(tmp_path / "key", "secret")
    with pytest.raises(InputError, match="the password doesn't open"):
        signer_from_keystore(tmp_path / "key", "other")
    (tmp_path / "junk").write_text("{}")
    with pytest.raises(InputError, match="not a key file"):
        signer_from_keystore(tmp_path / "junk", "secret")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="can't be read"):
        signer_from_keystore(tmp_path / "binary", "secret")
    with pytest.raises(InputError, match="no key file"):
        signer_from_keystore(tmp_path / "none", "secret")


def test_environment_key_only_when_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_KEY", "0x" + KEY.hex())
    assert resolve_signer(private_key_env="SOME_KEY").address == ADDRESS
    with pytest.raises(InputError, match="none given"):
        resolve_signer()
    with pytest.raises(InputError, match="several given"):
        resolve_signer(account="alice", private_key_env="SOME_KEY")
    monkeypatch.setenv("SOME_KEY", "zz" + KEY.hex())
    with pytest.raises(InputError) as caught:
        resolve_signer(private_key_env="SOME_KEY")
    assert KEY.hex() not in str(caught.value)
    monkeypatch.delenv("SOME_KEY")
    with pytest.raises(InputError, match="is empty"):
        resolve_signer(private_key_env="SOME_KEY")


def test_password_file_first_line_counts(tmp_path: Path) -> None:
    (tmp_path / "pw").write_text("one two\nthree\n")
    assert read_password(tmp_path / "pw", "") == "one two"
    with pytest.raises(InputError, match="can't be read"):
        read_password(tmp_path / "none", "")
