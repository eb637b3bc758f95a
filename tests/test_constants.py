"""A constant has one owner: what C++ repeats is held to the Python tables.

Solidity: `tests/test_solidity_constants.py`.
"""

from __future__ import annotations

import re
from enum import IntEnum
from pathlib import Path

import pytest

from opml.cli.options import LEVELS, MOST_THREADS
from opml.ops.quant import WEIGHT_FORMATS
from opml.ops.table import OPS
from opml.vm.commitment import Tag
from opml.vm.isa import Axis, Fold, Format, Kind, Out, Pos

ROOT = Path(__file__).parent.parent
NATIVE = ROOT / "opml" / "vm" / "native"


def cpp_enum(path: str, name: str) -> list[str]:
    """Enumerators of a C++ enum whose values count from 0."""
    match = re.search(rf"enum class {name} : uint8_t \{{([^}}=]*)\}}", (NATIVE / path).read_text())
    assert match, f"{path} has no plain enum {name}"
    return [part.strip() for part in match[1].split(",") if part.strip()]


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


def test_most_threads_equal_the_native_modules() -> None:
    assert f"threads > {MOST_THREADS})" in (NATIVE / "bindings.cpp").read_text()


def test_levels_equal_those_in_cpp() -> None:
    source = (NATIVE / "kernels.hpp").read_text()
    names = re.search(r"kLevelNames\[\] = \{([^}]*)\}", source)
    assert names, "kernels.hpp names no levels"
    assert tuple(re.findall(r'"(\w+)"', names[1])) == LEVELS
    assert tuple(cpp_enum("kernels.hpp", "Level")) == LEVELS
