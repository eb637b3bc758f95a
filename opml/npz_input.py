"""Arrays from `.npz` files that others wrote.

`numpy.load` allocates what a header claims before it reads, and numpy's reader of headers takes one of any
length into memory, gives it to Python's own parser and leaves by a dozen kinds of exceptions. Here every size
is held to a bound before memory is taken, a header is matched rather than evaluated, and whatever is wrong is
a `ValueError`.
"""

from __future__ import annotations

import math
import re
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

MAX_ENTRIES: Final = 64
MAX_HEADER_BYTES: Final = 4096
_LENGTH_BYTES: Final = {b"\x93NUMPY\x01\x00": 2, b"\x93NUMPY\x02\x00": 4}
_HEADER: Final = re.compile(
    rb"\{'descr': '([^']{1,40})', 'fortran_order': (True|False), "
    rb"'shape': \(((?:\d{1,12}, )*(?:\d{1,12},?)?)\),? ?\} *\n?"
)  # as numpy writes it, and the libraries that imitate it
_METHODS: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # what numpy writes

Number = TypeVar("Number", bound=np.number[Any])


def read_npz(file: str | Path, number: type[Number], wanted: Mapping[str, int]) -> dict[str, NDArray[Number]]:
    """The arrays of these names that the file has, each of at most so many bytes of numbers.

    Raises `ValueError` for a damaged file and for one with anything else in it, `OSError` for one that can't
    be opened.
    """
    with open(file, "rb") as stream:
        try:
            return _arrays(stream, number, wanted)
        except (
            zipfile.BadZipFile,
            zlib.error,
            EOFError,
            OSError,
            NotImplementedError,
            RuntimeError,
        ) as problem:
            raise ValueError(str(problem) or "it is empty or damaged") from None


def _arrays(file: IO[bytes], number: type[Number], wanted: Mapping[str, int]) -> dict[str, NDArray[Number]]:
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        if not 1 <= len(members) <= MAX_ENTRIES:
            raise ValueError(f"{len(members):,} entries, 1 to {MAX_ENTRIES} entries are expected")
        found: dict[str, NDArray[Number]] = {}
        for member in members:
            name = member.filename.removesuffix(".npy")
            if name not in wanted:
                raise ValueError(f"unknown entry {name[:80]!r}; known are {', '.join(wanted)}")
            if name in found:
                raise ValueError(f"entry {name} stands there twice")
            found[name] = _read(archive, member, name, np.dtype(number), wanted[name])
        return found


def _read(
    archive: zipfile.ZipFile, member: zipfile.ZipInfo, name: str, number: np.dtype[Any], most: int
) -> NDArray[Any]:
    if member.compress_type not in _METHODS:  # other decompressors have exceptions of their own
        raise ValueError(f"{name} is packed by method {member.compress_type}, numpy uses 0 or 8")
    if member.file_size > most + MAX_HEADER_BYTES:
        raise ValueError(f"{name} has {member.file_size:,} bytes, at most {most:,} of numbers are expected")
    with archive.open(member) as stream:
        shape, by_columns = _header(stream, name, number)
        size = math.prod(shape) * number.itemsize
        if size > most:
            raise ValueError(f"{name} has shape {list(shape)}, at most {most:,} bytes are expected")
        data = stream.read(size)
        if len(data) != size or stream.read(1):
            raise ValueError(f"{name} has another size than the {size:,} bytes that its header states")
    return np.ndarray(shape, number, data, order="F" if by_columns else "C")


def _header(stream: IO[bytes], name: str, number: np.dtype[Any]) -> tuple[tuple[int, ...], bool]:
    """The shape, and whether it is stored by columns."""
    width = _LENGTH_BYTES.get(stream.read(8))
    if width is None:
        raise ValueError(f"{name} is no .npy array of version 1 or 2")
    count = int.from_bytes(stream.read(width), "little")
    if count > MAX_HEADER_BYTES:
        raise ValueError(f"{name} has a header of {count:,} bytes, at most {MAX_HEADER_BYTES:,} are read")
    match = _HEADER.fullmatch(stream.read(count))
    if match is None:
        raise ValueError(f"{name} has a damaged header, or one that numpy.savez doesn't write")
    descr, by_columns, shape = match.groups()
    if descr.decode("latin-1") != number.str:
        raise ValueError(f"{name} holds {descr.decode('latin-1')!r}, {number} ({number.str!r}) is expected")
    return tuple(int(extent) for extent in re.findall(rb"\d+", shape)), by_columns == b"True"


__all__ = ["MAX_ENTRIES", "MAX_HEADER_BYTES", "read_npz"]
