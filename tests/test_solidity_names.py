"""Enumerations, structs, errors, events and functions are called in Python as in the contracts."""

from __future__ import annotations

import inspect
from enum import IntEnum
from typing import Any

import pytest
from eth_abi.grammar import parse

from opml.chain import decode, records, remedies
from opml.chain.artifacts import artifact_names, load_artifact
from opml.dispute import calldata, errors
from opml.dispute.cursor import Stage
from opml.dispute.gateway import ClaimStatus, DeliveryStatus, RequestStatus
from opml.dispute.moves import Reason
from opml.dispute.types import CLAIM_TYPES, REQUEST_TYPES, Phase
from tests.solidity import enumeration

GAME, ORACLE, LEDGER = (load_artifact(name) for name in ("IDisputeGame", "IOpmlOracle", "ILedger"))
OF_THE_EVM = {"OutOfGas", "Panic", "Reverted"}
REFUSALS = {
    name: kind
    for name, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, errors.Refused) and kind is not errors.Refused
}
NOT_MIRRORED = {"BadTerms", "NotTheOracle"}
"""Refusals of the game that no player can meet."""


def named(kind: str, *artifacts: Any) -> dict[str, dict[str, Any]]:
    return {entry["name"]: entry for a in artifacts for entry in a.abi if entry["type"] == kind}


def spelled(component: dict[str, Any]) -> str:
    """A type with its tuples written out, as in a signature."""
    if not component["type"].startswith("tuple"):
        return str(component["type"])
    inner = ",".join(spelled(part) for part in component["components"])
    return f"({inner}){component['type'].removeprefix('tuple')}"


@pytest.mark.parametrize(
    ("interface", "table"),
    [
        ("IDisputeGame", Phase),
        ("IDisputeGame", Stage),
        ("IDisputeGame", Reason),
        ("IOpmlOracle", RequestStatus),
        ("IOpmlOracle", ClaimStatus),
        ("IOpmlOracle", DeliveryStatus),
    ],
)
def test_enumerations_equal_the_interfaces(interface: str, table: type[IntEnum]) -> None:
    stated = enumeration(f"interfaces/{interface}.sol", table.__name__)
    assert stated == {member.name: member.value for member in table}


def test_structs_have_the_types_of_the_abi() -> None:
    finalise = named("function", ORACLE)["finalise"]["inputs"]
    assert [spelled(part) for part in finalise] == [f"({REQUEST_TYPES})", f"({CLAIM_TYPES})"]


def test_refusals_of_the_mirror_are_errors_of_the_contracts() -> None:
    stated = named("error", GAME, ORACLE, LEDGER)
    assert set(REFUSALS) <= set(stated)
    assert set(named("error", GAME)) - set(REFUSALS) == NOT_MIRRORED


def test_remedies_are_for_errors_that_exist() -> None:
    contracts = [load_artifact(name) for name in artifact_names() if "/" not in name]
    assert set(remedies._REMEDIES) <= set(named("error", *contracts)) | OF_THE_EVM


def test_events_of_a_game_are_all_read() -> None:
    stated = {
        name
        for name, entry in named("event", GAME).items()
        if any(part["name"] == "gameId" for part in entry["inputs"])
    }
    assert stated == set(decode._EVENTS)


def test_events_of_a_request_are_all_read() -> None:
    read = {
        *records._DELIVERIES,
        *records._CLAIM_ENDS,
        *records._REQUEST_ENDS,
        "Requested",
        "Claimed",
        "FeePaid",
    }
    assert {name for name in named("event", ORACLE) if name not in named("event", LEDGER)} == read


def test_proofs_are_encoded_for_the_functions_of_the_abi() -> None:
    functions = named("function", GAME)
    for name, tail in calldata._TAILS.values():
        types = [spelled(part) for part in functions[name]["inputs"]]
        assert types == calldata._HEAD + tail and all(parse(text) for text in types)
