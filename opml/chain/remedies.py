"""What to do about each refusal of a contract, by the name of its custom error."""

from __future__ import annotations

_REMEDIES: dict[str, str] = {
    "OutOfGas": "give the transaction more gas (a transaction may use 16,777,216)",
    "Panic": "this is a bug in the contract or a call with impossible arguments; report it",
    "Reverted": "check the contract's address, the value sent and the gas limit",
}


def remedy_for(error: str) -> str:
    """One sentence, or "" where the error's own values say enough."""
    return _REMEDIES.get(error, "")


__all__ = ["remedy_for"]
