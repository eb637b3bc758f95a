"""Where things lie in a GGUF file: header and metadata walked once, tensors placed, all of it checked.

The format is drawn in `opml.models.gguf`. Every count is held against the bytes that are left before anything
is allocated.
"""

from __future__ import annotations

import math
import mmap
import struct
from array import array
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn

import numpy as np
import numpy.typing as npt

from opml.errors import ModelFileError
from opml.models import tensor_types
from opml.models.tensor_types import TensorType

MAGIC: Final = b"GGUF"
VERSIONS: Final = (2, 3)
DEFAULT_ALIGNMENT: Final = 32
MAX_ALIGNMENT: Final = 1 << 20
MAX_ENTRIES: Final = 1 << 16  # metadata keys, and tensors: far above any model, far below trouble
MAX_NAME_BYTES: Final = 256  # of a key or a tensor; ggml keeps 64 of a tensor's
MAX_ELEMENTS: Final = 1 << 40

BOOL: Final = 7
STRING: Final = 8
ARRAY: Final = 9
SCALARS: Final = {
    0: "<u1",
    1: "<i1",
    2: "<u2",
    3: "<i2",
    4: "<u4",
    5: "<i4",
    6: "<f4",
    BOOL: "<u1",
    10: "<u8",
    11: "<i8",
    12: "<f8",
}
INTEGERS: Final = (0, 1, 2, 3, 4, 5, 10, 11)
REALS: Final = (6, 12)
TYPE_NAMES: Final = (
    "u8",
    "i8",
    "u16",
    "i16",
    "u32",
    "i32",
    "f32",
    "bool",
    "string",
    "array",
    "u64",
    "i64",
    "f64",
)
_U32: Final = struct.Struct("<I")
U64: Final = struct.Struct("<Q")
FETCH_AGAIN: Final = "fetch the file again and check its SHA-256"


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor as stored.

    `shape` is row-major, the reverse of GGUF's order: `(rows, columns)` for a matrix, `(columns,)` for a
    vector.
    `data` is a read-only `uint8` view of the mapped file, `type.byte_size(elements)` bytes long.
    """

    name: str
    shape: tuple[int, ...]
    type: TensorType
    data: npt.NDArray[np.uint8]

    @property
    def elements(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)


@dataclass(frozen=True, slots=True)
class Value:
    """Where a metadata value lies: its type, for arrays the element type and count, and its first byte.

    Of strings also where each one's length stands, and their end, int64 [count + 1].
    """

    type: int
    element: int
    count: int
    start: int
    places: npt.NDArray[np.int64] | None = None


class Cursor:
    """A position in the file that never passes its end."""

    __slots__ = ("at", "buffer", "end", "path")

    def __init__(self, path: Path, buffer: mmap.mmap) -> None:
        self.path, self.buffer, self.at, self.end = path, buffer, 0, len(buffer)

    def refuse(self, rule: str, remedy: str = FETCH_AGAIN) -> NoReturn:
        raise ModelFileError(f"{self.path}: byte {self.at}: {rule}; {remedy}")

    def need(self, size: int, what: str) -> None:
        """Refuse unless `size` more bytes are there."""
        if size > self.end - self.at:
            self.refuse(f"{what} needs {size} bytes, the file ends after {self.end - self.at}")

    def u32(self, what: str) -> int:
        self.need(4, what)
        self.at += 4
        return int(_U32.unpack_from(self.buffer, self.at - 4)[0])

    def u64(self, what: str) -> int:
        self.need(8, what)
        self.at += 8
        return int(U64.unpack_from(self.buffer, self.at - 8)[0])

    def name(self, what: str) -> str:
        """A printable UTF-8 string of 1 to `MAX_NAME_BYTES` bytes: it may be shown on a terminal."""
        size = self.u64(f"the length of {what}")
        if not 1 <= size <= MAX_NAME_BYTES:
            self.refuse(f"{what} is {size} bytes long, expected 1 to {MAX_NAME_BYTES}")
        self.need(size, what)
        raw = self.buffer[self.at : self.at + size]
        self.at += size
        name = raw.decode("utf-8", "replace")
        if not name.isprintable() or "\ufffd" in name:
            self.refuse(f"{what} is {raw!r}, expected printable UTF-8")
        return name

    def strings(self, count: int, what: str) -> npt.NDArray[np.int64]:
        """Walk over `count` strings: where each one's length stands, and the end."""
        if count > (self.end - self.at) // 8:
            self.refuse(f"{what} claims {count} strings, only {self.end - self.at} bytes are left")
        buffer, unpack, at, end = self.buffer, U64.unpack_from, self.at, self.end
        places = array("q")
        for n in range(count):
            places.append(at)
            if at + 8 > end:
                self.refuse(f"{what} ends inside the length of string {n} of {count}")
            at += 8 + unpack(buffer, at)[0]
            if at > end:
                self.refuse(f"{what}: string {n} of {count} runs past the end of the file")
        places.append(at)
        self.at = at
        return np.frombuffer(places, np.int64)


def map_file(path: Path) -> mmap.mmap:
    try:
        with path.open("rb") as file:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except ValueError:
        raise ModelFileError(f"{path}: the file is empty, expected a GGUF model; {FETCH_AGAIN}") from None
    except OSError as error:
        reason = error.strerror or str(error)
        raise ModelFileError(
            f"{path}: cannot be opened: {reason}; check the path and its permissions"
        ) from None


def read_header(cursor: Cursor) -> tuple[int, int, int]:
    """Version, tensor count and metadata count."""
    cursor.need(24, "the header")
    if cursor.buffer[:4] != MAGIC:
        cursor.refuse(
            f"the file starts with {cursor.buffer[:4]!r}, expected {MAGIC!r}", "give a GGUF model file"
        )
    cursor.at = 4
    version = cursor.u32("the version")
    if version not in VERSIONS:
        known = " and ".join(map(str, VERSIONS))
        swapped = int.from_bytes(version.to_bytes(4, "little"), "big")
        found = f"{swapped}, big-endian" if swapped in VERSIONS else str(version)
        cursor.refuse(f"GGUF version {found}; read are {known}, little-endian", "convert the model again")
    tensors = cursor.u64("the tensor count")
    keys = cursor.u64("the metadata count")
    for count, what, least in ((tensors, "tensors", 32), (keys, "metadata keys", 14)):
        if count > MAX_ENTRIES:
            cursor.refuse(f"the header claims {count} {what}, expected at most {MAX_ENTRIES}")
        if count * least > cursor.end - cursor.at:
            cursor.refuse(
                f"the header claims {count} {what}, more than the {cursor.end} bytes of the file can hold"
            )
    return version, tensors, keys


def read_entry(cursor: Cursor) -> tuple[str, Value]:
    """One metadata key and where its value lies."""
    key = cursor.name("a metadata key")
    kind = cursor.u32(f"the type of {key}")
    element, count = kind, 1
    if kind == ARRAY:
        element = cursor.u32(f"the element type of {key}")
        count = cursor.u64(f"the length of {key}")
        if element == ARRAY:
            cursor.refuse(f"{key} is an array of arrays, which no supported model has")
    start, places = cursor.at, None
    if element == STRING:
        places = cursor.strings(count, key)
    elif element in SCALARS:
        dtype = np.dtype(SCALARS[element])
        cursor.need(count * dtype.itemsize, key)
        cursor.at += count * dtype.itemsize
        if element == BOOL and bool((np.frombuffer(cursor.buffer, dtype, count, start) > 1).any()):
            cursor.refuse(f"{key} holds a bool other than 0 and 1")
    else:
        cursor.refuse(f"{key} has value type {element}, expected 0 to 12")
    return key, Value(kind, element, count, start, places)


def read_tensors(cursor: Cursor, count: int, alignment: int) -> dict[str, Tensor]:
    """All tensors in file order, their data laid end to end up to the end of the file."""
    infos: dict[str, _TensorInfo] = {}
    for _ in range(count):
        info = _read_tensor_info(cursor)
        if info.name in infos:
            cursor.refuse(f"tensor {info.name} occurs twice, expected once")
        if info.offset % alignment:
            cursor.refuse(f"tensor {info.name} has offset {info.offset}, expected a multiple of {alignment}")
        infos[info.name] = info
    data = _round_up(cursor.at, alignment)

    expected, before = 0, "the header"
    for info in sorted(infos.values(), key=lambda info: info.offset):
        name, offset, end = info.name, info.offset, info.offset + info.size
        if offset < expected:
            cursor.refuse(f"tensor {name} at offset {offset} overlaps {before}, which ends at {expected}")
        if offset > expected:
            cursor.refuse(f"tensor {name} lies at offset {offset}, expected {expected}, right after {before}")
        if data + end > cursor.end:
            cursor.refuse(
                f"tensor {name} ends at byte {data + end}, the file at {cursor.end}: it is truncated"
            )
        expected, before = _round_up(end, alignment), name
    if cursor.end > max(data + expected, cursor.at):
        cursor.refuse(f"the file has {cursor.end} bytes, expected {data + expected}: bytes follow {before}")

    return {
        i.name: Tensor(
            i.name, i.shape, i.type, np.frombuffer(cursor.buffer, np.uint8, i.size, data + i.offset)
        )
        for i in infos.values()
    }


@dataclass(frozen=True, slots=True)
class _TensorInfo:
    """A tensor as the header states it: row-major shape, size in bytes, offset in the data section."""

    name: str
    shape: tuple[int, ...]
    type: TensorType
    size: int
    offset: int


def _read_tensor_info(cursor: Cursor) -> _TensorInfo:
    name = cursor.name("a tensor name")
    dimensions = cursor.u32(f"the dimensions of {name}")
    if not 1 <= dimensions <= 4:
        cursor.refuse(f"tensor {name} has {dimensions} dimensions, expected 1 to 4")
    shape = tuple(cursor.u64(f"the shape of {name}") for _ in range(dimensions))[::-1]
    elements = math.prod(shape)
    if not 1 <= elements <= MAX_ELEMENTS:
        cursor.refuse(f"tensor {name} has shape {shape}, expected 1 to {MAX_ELEMENTS} elements")
    code = cursor.u32(f"the type of {name}")
    kind = tensor_types.BY_CODE.get(code)
    if kind is None:
        known = ", ".join(t.name for t in tensor_types.SUPPORTED)
        cursor.refuse(
            f"tensor {name} has type {code}, which is unknown; supported are {known}",
            "convert or quantise the model to one of these",
        )
    if shape[-1] % kind.block:
        cursor.refuse(f"tensor {name} has {shape[-1]} columns, not a multiple of {kind.name}'s {kind.block}")
    offset = cursor.u64(f"the offset of {name}")
    return _TensorInfo(name, shape, kind, kind.byte_size(elements), offset)


def _round_up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple


__all__ = [
    "ARRAY",
    "BOOL",
    "DEFAULT_ALIGNMENT",
    "FETCH_AGAIN",
    "INTEGERS",
    "MAX_ALIGNMENT",
    "REALS",
    "SCALARS",
    "STRING",
    "TYPE_NAMES",
    "U64",
    "Cursor",
    "Tensor",
    "Value",
    "map_file",
    "read_entry",
    "read_header",
    "read_tensors",
]
