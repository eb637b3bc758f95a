"""Vectors are read as hostile."""

from __future__ import annotations

import contextlib
import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from opml.errors import InputError
from opml.ops.vectors import CHECKS, UNUSED, load_vectors, shipped_vectors

ROWS = np.array([[0x3F800000, 0x3F800000, 0x40000000]], np.uint32)


def write(path: Path, **entries: np.ndarray) -> Path:
    np.savez_compressed(path, **entries)
    return path


def member(path: Path, name: str, data: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(name, data)
    return path


def npy(header_shape: str, body: bytes, descr: str = "'<u4'") -> bytes:
    header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {header_shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + body


def test_shipped_vectors_hold_every_check() -> None:
    vectors = shipped_vectors()
    assert list(vectors) == list(CHECKS)
    assert sum(len(entry.expected) for entry in vectors.values()) > 150_000


def test_a_good_file_loads_in_both_memory_orders(tmp_path: Path) -> None:
    many = np.repeat(ROWS, 3, axis=0)
    path = write(tmp_path / "v.npz", f32_add=np.asfortranarray(many), f32_sub=many, ui32_to_f32=many[:, :2])
    vectors = load_vectors(path)
    assert list(vectors) == ["f32_add", "f32_sub"] and "ui32_to_f32" in UNUSED
    for entry in vectors.values():
        assert entry.operands.shape == (2, 3) and entry.expected.tolist() == [0x40000000] * 3


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"f32_add": ROWS.astype(np.int64)}, "uint32"),
        ({"f32_add": ROWS[0]}, "two dimensions"),
        ({"f32_add": ROWS[:, :2]}, "3 columns"),
        ({"f32_add": ROWS[:0]}, "3 columns"),
        ({"f64_add": ROWS}, "unknown entry 'f64_add'"),
        ({"f32_to_f16": ROWS[:, :2]}, "16 bits"),
        ({"f16_to_f32": ROWS[:, :2]}, "16 bits"),
        ({}, "1 to 64 entries"),
    ],
)
def test_a_file_that_breaks_a_rule_is_refused(tmp_path: Path, entries: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_vectors(write(tmp_path / "v.npz", **entries))


@pytest.mark.parametrize(
    "data",
    [
        npy("(1000000000, 3)", b""),
        npy("(-1, -3)", bytes(12)),
        npy("(2, 3)", bytes(12)),
        npy("(1, 3)", bytes(12), descr="'|O'"),
        npy("__import__('os').getcwd()", bytes(12)),
        b"\x93NUMPY\x09\x00" + bytes(40),
        b"",
        b"\x93NUMPY\x01\x00\xff\xff",
    ],
)
def test_a_lying_header_is_refused(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(InputError):
        load_vectors(member(tmp_path / "v.npz", "f32_add.npy", data))


def test_a_pickle_is_refused(tmp_path: Path) -> None:
    stream = io.BytesIO()
    np.save(stream, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match="uint32"):
        load_vectors(member(tmp_path / "v.npz", "f32_add.npy", stream.getvalue()))


def test_an_entry_that_inflates_too_far_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "v.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("f32_add.npy", bytes((64 << 20) + 1))
    with pytest.raises(InputError, match="at most"):
        load_vectors(path)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_an_entry_that_stands_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "v.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("f32_add.npy", npy("(1, 3)", bytes(12)))
        archive.writestr("f32_add.npy", npy("(1, 3)", bytes(12)))
    with pytest.raises(InputError, match="twice"):
        load_vectors(path)


def test_a_missing_file_or_one_that_is_no_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.npz").write_text("no archive")
    for name in ("missing.npz", "text.npz", "."):
        with pytest.raises(InputError):
            load_vectors(tmp_path / name)


@given(st.integers(0, 10**6), st.integers(1, 255))
def test_a_damaged_file_loads_or_raises_input_error(tmp_path_factory, at: int, flip: int) -> None:
    path = write(tmp_path_factory.mktemp("v") / "v.npz", f32_add=ROWS)
    data = bytearray(path.read_bytes())
    data[at % len(data)] ^= flip
    path.write_bytes(data)
    with contextlib.suppress(InputError):
        load_vectors(path)
