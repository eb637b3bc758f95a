"""Writing GGUF files, version 3: for tiny models and for tests of the reader.

The layout is that of `opml.models.gguf`. Metadata types follow from the Python values: bool, int (u32, or
i64 when it does not fit), float (f32), str, and lists of one of these (int lists are i32); `Typed` chooses.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from opml.models.tensor_types import TensorType

ALIGNMENT: Final = 32
_CODES: Final = {
    "u8": (0, "<B"),
    "i8": (1, "<b"),
    "u16": (2, "<H"),
    "i16": (3, "<h"),
    "u32": (4, "<I"),
    "i32": (5, "<i"),
    "f32": (6, "<f"),
    "bool": (7, "<?"),
    "string": (8, ""),
    "u64": (10, "<Q"),
    "i64": (11, "<q"),
    "f64": (12, "<d"),
}


@dataclass(frozen=True, slots=True)
class Typed:
    """A metadata value, or a list of them, of a chosen type: a key of `_CODES`."""

    type: str
    value: object


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """A tensor to write: `shape` row-major, `data` its bytes in the format `type`."""

    name: str
    shape: tuple[int, ...]
    type: TensorType
    data: bytes


def encode(metadata: Mapping[str, object], tensors: Sequence[StoredTensor], version: int = 3) -> bytes:
    """The bytes of a GGUF file with these metadata and tensors, in the order given."""
    header = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(metadata))
    header += b"".join(_string(key.encode()) + _value(value) for key, value in metadata.items())
    body = b""
    for tensor in tensors:
        sizes = tensor.shape[::-1]
        header += _string(tensor.name.encode()) + struct.pack(f"<I{len(sizes)}Q", len(sizes), *sizes)
        header += struct.pack("<IQ", tensor.type.code, len(body))
        body += _pad(tensor.data)
    return _pad(header) + body


def write(path: Path, metadata: Mapping[str, object], tensors: Sequence[StoredTensor]) -> None:
    """Write `encode(metadata, tensors)` to `path`."""
    path.write_bytes(encode(metadata, tensors))


def _value(value: object) -> bytes:
    typed = value if isinstance(value, Typed) else Typed(_type_of(value), value)
    code, layout = _CODES[typed.type]
    items = typed.value if isinstance(typed.value, list) else [typed.value]
    if typed.type == "string":
        body = b"".join(_string(i if isinstance(i, bytes) else str(i).encode()) for i in items)
    else:
        body = b"".join(struct.pack(layout, item) for item in items)
    if isinstance(typed.value, list):
        return struct.pack("<IIQ", 9, code, len(items)) + body
    return struct.pack("<I", code) + body


def _type_of(value: object) -> str:
    first = value[0] if isinstance(value, list) and value else value
    match first:
        case bool():
            return "bool"
        case int() if isinstance(value, list):
            return "i32"
        case int():
            return "u32" if 0 <= first < 2**32 else "i64"
        case float():
            return "f32"
        case str() | bytes() | []:
            return "string"
    raise TypeError(f"no GGUF type for {value!r}")


def _string(raw: bytes) -> bytes:
    return struct.pack("<Q", len(raw)) + raw


def _pad(raw: bytes) -> bytes:
    return raw + bytes(-len(raw) % ALIGNMENT)


__all__ = ["StoredTensor", "Typed", "encode", "write"]
