"""Ids are hashes of content: golden values, and each field counts."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
from eth_abi.abi import encode

from opml.dispute.types import (
    CLAIM_TYPES,
    REQUEST_TYPES,
    Claim,
    GameKey,
    Request,
    commitment_of,
    game_id_of,
    lengths_of,
)
from opml.vm.keccak import keccak256

ORACLE = bytes(range(20))
REQUEST = Request(b"\1" * 20, 2, b"\3" * 32, b"\4" * 32, 5, 6 << 224 | 7, 8, 9, b"\0" * 20, 11, 12)
CLAIM = Claim(b"\1" * 32, b"\2" * 20, b"\3" * 20, b"\4" * 32, b"\5" * 32, 6, b"\7" * 32, b"\x08" * 32, 9)

GOLDEN_REQUEST = "96619bb83901cd7064463fab329b4f85ca63aadd6e805fbc22f24b5a1d83b3b4"
GOLDEN_CLAIM = "d123d3a504e18220b94607e42a056367626a2218d7197d278c0250d4e6b9372f"


def test_ids_are_those_of_the_specification() -> None:
    types = ["bytes32", "uint256", "address"]
    head = [keccak256(b"opml.request.1"), 31337, ORACLE]
    expected = keccak256(encode([*types, f"({REQUEST_TYPES})"], [*head, REQUEST.values()]))
    assert REQUEST.id(31337, ORACLE) == expected
    head[0] = keccak256(b"opml.claim.1")
    assert CLAIM.id(31337, ORACLE) == keccak256(encode([*types, f"({CLAIM_TYPES})"], [*head, CLAIM.values()]))
    game = [keccak256(b"opml.game.1"), b"\1" * 32, b"\2" * 20, 3]
    assert game_id_of(b"\1" * 32, b"\2" * 20, 3) == keccak256(
        encode(["bytes32", "bytes32", "address", "uint256"], game)
    )
    assert GameKey(b"\1" * 32, b"\2" * 20, 3).id == game_id_of(b"\1" * 32, b"\2" * 20, 3)


def test_ids_do_not_change() -> None:
    assert REQUEST.id(31337, ORACLE).hex() == GOLDEN_REQUEST
    assert CLAIM.id(31337, ORACLE).hex() == GOLDEN_CLAIM


@pytest.mark.parametrize("value", [REQUEST, CLAIM])
def test_every_field_chain_and_oracle_count(value: Request | Claim) -> None:
    seen = {value.id(31337, ORACLE), value.id(1, ORACLE), value.id(31337, ORACLE[::-1])}
    for field in fields(value):
        old = getattr(value, field.name)
        new = old + 1 if isinstance(old, int) else bytes([old[0] ^ 1]) + old[1:]
        seen.add(replace(value, **{field.name: new}).id(31337, ORACLE))
    assert len(seen) == 3 + len(fields(value))


def test_parameters_are_eight_words_the_first_on_top() -> None:
    assert REQUEST.param_words == (6, 0, 0, 0, 0, 0, 0, 7)


def test_a_commitment_binds_root_submitter_and_request() -> None:
    one = commitment_of(b"\1" * 32, b"\2" * 20, b"\3" * 32)
    assert one == keccak256(b"\1" * 32 + b"\2" * 20 + b"\3" * 32)
    assert one != commitment_of(b"\1" * 32, b"\4" * 20, b"\3" * 32)


def test_lengths_are_two_bytes_a_token() -> None:
    assert lengths_of([b"", b"ab", bytes(300)]) == bytes([0, 0, 0, 2, 1, 44])
