"""Arrays from `.npz` files that others wrote.

`numpy.load` allocates what a header claims before it reads, and leaves by a dozen kinds of exceptions; this
reads the entries that are wanted, each held to its own size, and refuses everything else as `ValueError`.
"""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

_HEADERS: Final = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


def read_npz(file: Path, wanted: Mapping[str, int]) -> dict[str, NDArray[Any]]:
    """The arrays of these names that the file has, each of at most so many bytes.

    Raises `ValueError` for a damaged file, `OSError` for one that can't be read.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            there = set(archive.namelist())
            return {
                name: _read(archive, name, most) for name, most in wanted.items() if f"{name}.npy" in there
            }
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as problem:
        raise ValueError(str(problem) or "it is empty or damaged") from None


def _read(archive: zipfile.ZipFile, name: str, most: int) -> NDArray[Any]:
    with archive.open(f"{name}.npy") as stream:
        shape, by_columns, dtype = _header(stream)
        size = math.prod(shape) * dtype.itemsize
        if dtype.hasobject or min(shape, default=0) < 0 or size > most:
            raise ValueError(f"{name} is {dtype}{list(shape)}, numbers of {most:,} bytes are expected")
        data = stream.read(size)
        if len(data) != size or stream.read(1):
            raise ValueError(f"{name} has another size than the {size:,} bytes that its header states")
    return np.ndarray(shape, dtype, data, order="F" if by_columns else "C")


def _header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    try:
        version = npy.read_magic(stream)
        if version not in _HEADERS:
            raise ValueError(f"version {version}, expected {' or '.join(map(str, _HEADERS))}")
        shape, by_columns, dtype = _HEADERS[version](stream)
    except (TypeError, MemoryError, RecursionError, SyntaxError) as problem:
        raise ValueError(f"a damaged header: {problem}") from None
    return shape, by_columns, dtype


__all__ = ["read_npz"]
