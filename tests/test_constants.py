"""A constant has one owner: what C++ and Solidity repeat is held to the Python tables."""

from __future__ import annotations

import re
from enum import IntEnum
from pathlib import Path

import pytest

from opml.chain.adapter import BURN_ADDRESS
from opml.dispute import ledger
from opml.dispute.cursor import WHOLE_BYTES
from opml.ops.quant import WEIGHT_FORMATS
from opml.ops.table import OPS
from opml.vm import isa
from opml.vm.commitment import Tag
from opml.vm.isa import Axis, Fold, Format, Kind, Out, Pos
from opml.vm.validate import MAX_STEP_BYTES

ROOT = Path(__file__).parent.parent
NATIVE = ROOT / "opml" / "vm" / "native"
CONTRACTS = ROOT / "contracts"

PREFIXES: dict[str, type[IntEnum]] = {
    "FOLD": Fold,
    "OUT": Out,
    "FORMAT": Format,
    "KIND": Kind,
    "POS": Pos,
    "AXIS": Axis,
}


def solidity_constants(name: str) -> dict[str, int]:
    """Integer constants of a contract."""
    text = (CONTRACTS / name).read_text()
    found = re.findall(r"constant (\w+) = (0x[0-9a-fA-F]+|[\d_]+);", text)
    return {key: int(value, 0) for key, value in found}


def cpp_enum(path: str, name: str) -> list[str]:
    """Enumerators of a C++ enum whose values count from 0."""
    match = re.search(rf"enum class {name} : uint8_t \{{([^}}=]*)\}}", (NATIVE / path).read_text())
    assert match, f"{path} has no plain enum {name}"
    return [part.strip() for part in match[1].split(",") if part.strip()]


@pytest.mark.parametrize("prefix", PREFIXES)
def test_enumerations_equal_the_table_in_solidity(prefix: str) -> None:
    constants = solidity_constants("ProgramLib.sol")
    mine = {name: value for name, value in constants.items() if name.startswith(f"{prefix}_")}
    assert mine == {f"{prefix}_{member.name}": member.value for member in PREFIXES[prefix]}


def test_sizes_equal_the_table_in_solidity() -> None:
    constants = solidity_constants("ProgramLib.sol")
    assert constants["ROW"] == isa.ROW
    assert constants["NO_INDEX"] == isa.NO_INDEX
    assert constants["LEAF_ELEMENTS"] == isa.LEAF_ELEMENTS


def test_limits_of_a_step_and_a_posting_equal_the_rules_in_solidity() -> None:
    assert solidity_constants("StepCost.sol")["MOST_BYTES"] == MAX_STEP_BYTES
    assert solidity_constants("ProgramValidator.sol")["MOST_POSTING"] == MAX_STEP_BYTES


def test_small_tensors_are_the_same_in_the_game_its_bonds_and_python() -> None:
    assert solidity_constants("GameRules.sol")["WHOLE_BYTES"] == WHOLE_BYTES
    assert f"leaf({WHOLE_BYTES}, s.entries)" in (CONTRACTS / "GameGas.sol").read_text()


def test_burn_address_is_the_one_that_chains_begin_with() -> None:
    assert solidity_constants("Ledger.sol")["BURN"] == int(BURN_ADDRESS, 16)


def test_figures_of_moves_equal_the_ledger_in_solidity() -> None:
    figures = solidity_constants("GameGas.sol")
    assert len(figures) > 20
    assert figures == {name: getattr(ledger, name) for name in figures}


def test_tags_equal_the_table_in_solidity() -> None:
    constants = solidity_constants("Merkle.sol")
    tags = {value for name, value in constants.items() if name.startswith(("LEAF_", "NODE_"))}
    assert tags == {tag.value for tag in Tag} - {0}


@pytest.mark.parametrize(
    ("name", "table"),
    [
        ("Fold", Fold),
        ("Format", Out),
        ("WeightFormat", Format),
        ("Kind", Kind),
        ("Window", Pos),
        ("Axis", Axis),
    ],
)
def test_enumerations_equal_the_table_in_cpp(name: str, table: type[IntEnum]) -> None:
    aliases = {"over_k": "window_k", "over_c": "window_c"}
    names = [aliases.get(member, member) for member in cpp_enum("program.hpp", name)]
    assert names == [member.name.lower() for member in table]


def test_weight_formats_equal_the_table_in_cpp() -> None:
    match = re.search(r"constexpr uint32_t bytes\[\] = \{([\d, ]+)\}", (NATIVE / "program.hpp").read_text())
    assert match
    assert [int(part) for part in match[1].split(",")] == [fmt.unit_bytes for fmt in WEIGHT_FORMATS]


def test_scalar_operations_equal_the_table_in_cpp() -> None:
    text = "".join(path.read_text() for path in sorted(NATIVE.glob("*.hpp")))
    match = re.search(r"#define OPML_SCALAR_OPS\(X\)((?:[^\n]*\\\n)*[^\n]*)", text)
    assert match, "OPML_SCALAR_OPS is not defined"
    found = re.findall(r"X\((\w+), (\d)\)", match[1])
    plain = {"and_": "and", "or_": "or", "xor_": "xor"}
    assert [(plain.get(name, name), int(arity)) for name, arity in found] == [
        (op.name, op.arity) for op in OPS
    ]


def test_tags_equal_the_table_in_cpp() -> None:
    text = (NATIVE / "merkle.hpp").read_text()
    body = re.search(r"enum class Tag : uint8_t \{([^}]*)\}", text)
    assert body
    values = {int(value, 16) for value in re.findall(r"= (0x[0-9a-fA-F]+)", body[1])}
    assert values <= {tag.value for tag in Tag}
