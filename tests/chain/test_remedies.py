"""Every refusal of our contracts says what to do."""

from __future__ import annotations

import pytest
from eth_utils.abi import function_signature_to_4byte_selector

from opml.chain.abi import decode_revert
from opml.chain.adapter import Known
from opml.chain.artifacts import artifact_names, load_artifact
from opml.chain.remedies import remedy_for

_OURS = ("IDisputeGame", "ILedger", "IModelRegistry", "IOpmlOracle")
INTERFACES = [name for name in artifact_names() if name in _OURS]


@pytest.mark.parametrize("interface", INTERFACES)
def test_every_error_of_an_interface_has_a_remedy(interface: str) -> None:
    errors = [entry["name"] for entry in load_artifact(interface).abi if entry["type"] == "error"]
    assert errors and [name for name in errors if not remedy_for(name)] == []


def test_error_of_a_contract_that_was_not_called_is_named() -> None:
    refused = decode_revert(Known(), function_signature_to_4byte_selector("BadTerms()"), "deployment")
    assert "BadTerms" in str(refused) and "within the contract's bounds" in str(refused)


def test_interfaces_are_in_the_package() -> None:
    assert len(INTERFACES) == 4
