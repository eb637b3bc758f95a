"""Arrays of strangers take no more memory than they may, run nothing, and fail in one way."""

from __future__ import annotations

import contextlib
import subprocess
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from opml.npz_input import MAX_ENTRIES, MAX_HEADER_BYTES, read_npz
from tests.installed import PYTHON

WANTED = {"a": 1 << 20, "b": 64}
ARRAY = np.arange(12, dtype=np.uint8).reshape(3, 4)


def entry(header: bytes, body: bytes = b"", version: int = 1) -> bytes:
    width = 2 if version == 1 else 4
    return b"\x93NUMPY" + bytes([version, 0]) + len(header).to_bytes(width, "little") + header + body


def header(shape: str, descr: str = "'|u1'") -> bytes:
    return f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n".encode()


def pack(path: Path, *entries: tuple[str, bytes], method: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in entries:
            archive.writestr(name, data)
    return path


def refused(path: Path, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_npz(path, np.uint8, WANTED)


@pytest.mark.parametrize("write", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_that_numpy_wrote_are_read(tmp_path: Path, write: object, order: str) -> None:
    given = np.asarray(ARRAY, order=order)
    write(tmp_path / "x.npz", a=given, b=np.zeros((0, 5), np.uint8))
    found = read_npz(tmp_path / "x.npz", np.uint8, WANTED)
    assert sorted(found) == ["a", "b"]
    assert np.array_equal(found["a"], ARRAY) and found["b"].shape == (0, 5)


def test_absent_entries_are_left_out(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", b=ARRAY)
    assert list(read_npz(tmp_path / "x.npz", np.uint8, WANTED)) == ["b"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (entry(header("(2, 3)"), bytes(5)), "another size than the 6 bytes"),
        (entry(header("(2, 3)"), bytes(7)), "another size than the 6 bytes"),
        (entry(header("(1048577,)"), bytes(1)), "at most 1,048,576 bytes"),
        (entry(header("(999999999999, 999999999999)")), "at most 1,048,576 bytes"),
        (entry(header("(-1, -4)"), bytes(4)), "damaged header"),
        (entry(header("(4,)", "'<u4'"), bytes(16)), "holds '<u4', uint8"),
        (entry(header("(1,)", "'|O'"), bytes(8)), r"holds '\|O', uint8"),
        (entry(header("__import__('os').getcwd()")), "damaged header"),
        (entry(b"x" * (MAX_HEADER_BYTES + 1)), "at most 4,096 are read"),
        (entry(header("(4,)"), bytes(4), version=3), "no .npy array of version 1 or 2"),
        (b"", "no .npy array"),
        (b"\x93NUMPY\x01\x00\xff", "damaged header"),
        (b"\x93NUMPY\x01\x00\xff\x00", "damaged header"),
    ],
)
def test_lying_entry_is_refused(tmp_path: Path, data: bytes, message: str) -> None:
    refused(pack(tmp_path / "x.npz", ("a.npy", data)), message)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_archive_with_other_entries_is_refused(tmp_path: Path) -> None:
    good = entry(header("(4,)"), bytes(4))
    refused(pack(tmp_path / "x.npz", ("c.npy", good)), "unknown entry 'c'; known are a, b")
    refused(pack(tmp_path / "x.npz", ("a.npy", good), ("a", good)), "stands there twice")
    refused(pack(tmp_path / "x.npz"), "0 entries, 1 to 64")
    refused(pack(tmp_path / "x.npz", *[("a.npy", good)] * (MAX_ENTRIES + 1)), "65 entries")


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_method_that_numpy_never_packs_by_is_refused(tmp_path: Path, method: int) -> None:
    path = pack(tmp_path / "x.npz", ("a.npy", entry(header("(4,)"), bytes(4))), method=method)
    refused(path, f"packed by method {method}")


@pytest.mark.parametrize(
    "data",
    [
        entry(header("(1,)") + b" " * (200 << 20), version=2),
        entry(header("(1,)"), bytes(200 << 20)),
    ],
)
def test_entry_that_inflates_takes_no_memory(tmp_path: Path, data: bytes) -> None:
    path = pack(tmp_path / "x.npz", ("a.npy", data), method=zipfile.ZIP_DEFLATED)
    raw = bytearray(path.read_bytes())
    assert len(raw) < 1 << 20
    at = raw.index(b"PK\x01\x02") + 24
    for stated in (len(data), 1 << 20):  # the second is a lie of the directory's
        raw[at : at + 4] = stated.to_bytes(4, "little")
        path.write_bytes(raw)
        tracemalloc.start()
        with pytest.raises(ValueError, match=r"at most|another size"):
            read_npz(path, np.uint8, WANTED)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 8 << 20


@pytest.mark.parametrize("mark", ["(", "[", "{", "-", "not ", "1+", "*", "'"])
def test_nested_header_overflows_no_stack(tmp_path: Path, mark: str) -> None:
    """In a process whose recursion limit a library has raised, as py-evm does."""
    text = mark * ((MAX_HEADER_BYTES - 80) // len(mark))
    path = pack(tmp_path / "x.npz", ("a.npy", entry(header(text))))
    script = (
        "import sys, numpy\nsys.setrecursionlimit(1_000_000)\nfrom opml.npz_input import read_npz\n"
        f"try: read_npz({str(path)!r}, numpy.uint8, {WANTED})\n"
        "except ValueError as problem: assert 'damaged header' in str(problem), problem\n"
        "else: raise SystemExit('read')\n"
    )
    done = subprocess.run([*PYTHON, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, (done.returncode, done.stderr[-300:])


def test_places_that_hold_no_archive_are_refused(tmp_path: Path) -> None:
    for content in (b"", b"PK", b"PK\x05\x06" + bytes(18)):
        (tmp_path / "x.npz").write_bytes(content)
        refused(tmp_path / "x.npz", ".")
    for place in (tmp_path, tmp_path / "none.npz"):
        with pytest.raises(OSError):
            read_npz(place, np.uint8, WANTED)


@given(st.integers(0, 10**6), st.integers(1, 255), st.booleans())
def test_damaged_file_is_read_or_refused_as_a_value(
    tmp_path_factory: pytest.TempPathFactory, at: int, flip: int, packed: bool
) -> None:
    path = tmp_path_factory.mktemp("x") / "x.npz"
    (np.savez_compressed if packed else np.savez)(path, a=ARRAY, b=ARRAY)
    data = bytearray(path.read_bytes())
    data[at % len(data)] ^= flip
    path.write_bytes(data)
    with contextlib.suppress(ValueError):
        read_npz(path, np.uint8, WANTED)
