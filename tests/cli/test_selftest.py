"""A backend that differs in one bit is found and named."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from opml.cli.backends import BACKENDS, Reference, Words, backend, load_vectors, selftest
from opml.cli.selftest import command
from opml.errors import EngineError, InputError

ONE, TWO, THREE, HALF = 0x3F800000, 0x40000000, 0x40400000, 0x3F000000
GOOD: dict[str, list[list[int]]] = {
    "f32_add": [[ONE, TWO, THREE], [0x7F800001, ONE, 0x7FC00000], [1, 1, 2]],
    "f32_mulAdd": [[TWO, HALF, TWO, THREE]],
    "f32_sqrt": [[0x40800000, TWO], [0x80000000, 0x80000000]],
    "f32_lt": [[ONE, TWO, 1], [0x7FC00000, TWO, 0]],
    "f32_to_i32_rnear_even": [[0x3FC00000, 2]],
    "i32_to_f32": [[0xFFFFFFFF, 0xBF800000]],
    "f16_to_f32": [[0x3C00, ONE]],
    "f32_to_bf16": [[ONE, 0x3F80]],
    "ui32_to_f32": [[3, 7]],
}


def save(path: Path, entries: dict[str, Any]) -> Path:
    np.savez(path, **{name: np.array(rows, np.uint32) for name, rows in entries.items()})
    return path


@pytest.fixture
def vectors(tmp_path: Path) -> Path:
    return save(tmp_path / "v.npz", GOOD)


class OneBitOff(Reference):
    name = "off"

    def run(self, op: str, operands: Sequence[Words]) -> Words:
        right = super().run(op, operands)
        return right ^ np.uint32(1) if op == "sqrt" else right


@pytest.mark.parametrize("name", BACKENDS)
def test_backend_agrees_with_vectors(vectors: Path, name: str) -> None:
    rows = selftest(load_vectors(vectors), [backend(name)])
    assert len(rows) == 8 and all(row.mismatches == 0 for row in rows)
    assert {row.operation: row.cases for row in rows}["f32_add"] == 3


def test_wrong_bit_is_counted_and_shown(vectors: Path) -> None:
    rows = selftest(load_vectors(vectors), [OneBitOff()])
    wrong = [row for row in rows if row.mismatches]
    assert [(row.operation, row.mismatches) for row in wrong] == [("f32_sqrt", 2)]
    assert wrong[0].first == "f32_sqrt(0x40800000) = 0x40000001, expected 0x40000000"


def test_operations_that_the_machine_lacks_are_left_out(vectors: Path) -> None:
    assert all(row.operation != "ui32_to_f32" for row in selftest(load_vectors(vectors), [Reference()]))


def test_evm_is_held_to_an_even_sample(tmp_path: Path) -> None:
    file = save(tmp_path / "v.npz", {"f32_add": [[ONE, TWO, THREE]] * 50})
    assert selftest(load_vectors(file), [backend("evm")], evm_sample=7)[0].cases == 7
    assert selftest(load_vectors(file), [backend("evm")], evm_sample=None)[0].cases == 50


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"f32_add": [[1, 2]]}, "rows of 3 columns"),
        ({"f32_add": [1, 2, 3]}, "two dimensions"),
        ({"nothing": [[1, 2]]}, "unknown entry"),
        ({"ui32_to_f32": [[1, 2]]}, "names no operation"),
    ],
)
def test_vectors_of_another_shape_are_refused(tmp_path: Path, entries: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_vectors(save(tmp_path / "v.npz", entries))


def test_file_that_is_no_npz_is_refused(tmp_path: Path) -> None:
    (tmp_path / "v.npz").write_bytes(b"hello")
    with pytest.raises(InputError, match=r"not a readable \.npz file"):
        load_vectors(tmp_path / "v.npz")
    np.save(tmp_path / "v.npy", np.array([[1, 2, 3]], np.uint32))
    with pytest.raises(InputError, match=r"not a readable \.npz file"):
        load_vectors(tmp_path / "v.npy")
    with pytest.raises(InputError, match="there is no vector file"):
        load_vectors(tmp_path / "none.npz")


@pytest.mark.parametrize("data", [b"", b"\x93NUMPY\x01\x00", b"PK\x05\x06" + bytes(18)])
def test_command_on_a_damaged_file_names_it(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "v.npz").write_bytes(data)
    run = CliRunner().invoke(command, ["--vectors", str(tmp_path / "v.npz")])
    assert isinstance(run.exception, InputError) and "v.npz" in str(run.exception)


def test_command_gives_json_and_table(vectors: Path) -> None:
    run = CliRunner().invoke(command, ["--vectors", str(vectors), "--backend", "reference", "--json"])
    assert run.exit_code == 0 and json.loads(run.output)["rows"][0]["operation"] == "f32_add"
    run = CliRunner().invoke(command, ["--vectors", str(vectors), "--backend", "reference"])
    assert run.exit_code == 0 and "f32_mulAdd" in run.output


def test_command_fails_on_any_mismatch(tmp_path: Path) -> None:
    file = save(tmp_path / "v.npz", {"f32_add": [[ONE, TWO, TWO]]})
    run = CliRunner().invoke(command, ["--vectors", str(file), "--backend", "reference"])
    assert isinstance(run.exception, EngineError) and "1 of 1 cases" in str(run.exception)
