"""What the Solidity sources state: constants and enumerations, read as text."""

from __future__ import annotations

import re
from pathlib import Path

from opml.vm.keccak import keccak256

CONTRACTS = Path(__file__).parents[1] / "contracts"
SOURCES = sorted([*CONTRACTS.glob("*.sol"), *CONTRACTS.glob("interfaces/*.sol")])

_NUMBER = re.compile(r"[0-9a-fA-FxX<*()+ -]+")


def source(name: str) -> str:
    """A contract's text without its comments."""
    return re.sub(r"//[^\n]*|/\*.*?\*/", "", (CONTRACTS / name).read_text(encoding="utf-8"), flags=re.DOTALL)


def constants(name: str) -> dict[str, int]:
    """The constants of a file, every one; of several with one name the last."""
    found = re.findall(r"\bconstant\s+(\w+)\s*=\s*([^;]+);", source(name))
    return {key: value_of(expression) for key, expression in found}


def value_of(expression: str) -> int:
    """The value of a constant's expression: numbers, shifts, powers, gwei, and the hash of a text."""
    text = " ".join(expression.split())
    if hashed := re.fullmatch(r'keccak256\("([^"]*)"\)', text):
        return int.from_bytes(keccak256(hashed[1].encode()), "big")
    plain = text.replace("_", "").replace(" gwei", " * 10**9")
    assert _NUMBER.fullmatch(plain), f"not a number: {text}"
    value = eval(plain, {"__builtins__": {}})
    assert isinstance(value, int)
    return value


def enumeration(name: str, enum: str) -> dict[str, int]:
    """The members of an enumeration, `TotalPick` as `TOTAL_PICK`."""
    match = re.search(rf"\benum {enum} \{{([^}}]*)\}}", source(name))
    assert match, f"{name} has no enum {enum}"
    members = [part.strip() for part in match[1].split(",")]
    return {re.sub(r"(?<=[a-z])(?=[A-Z])", "_", member).upper(): n for n, member in enumerate(members)}


def packed(values: list[int]) -> int:
    """A table of one byte each, the first in the highest byte of a word."""
    return int.from_bytes(bytes(values).ljust(32, b"\0"), "big")
