"""Writing large GGUF files tensor by tensor, with the `gguf` package (dev extra); memory holds one tensor."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import numpy.typing as npt

from opml.errors import ModelFileError
from opml.models.gguf import GgufFile
from opml.models.tensor_types import TensorType

Value = bool | int | float | str | Sequence[int] | Sequence[float] | Sequence[str]


@dataclass(frozen=True, slots=True)
class Plan:
    """A tensor to come: its name, row-major shape and type."""

    name: str
    shape: tuple[int, ...]
    type: TensorType


def metadata_of(file: GgufFile) -> dict[str, Value]:
    """All metadata of a file but its alignment, as Python values."""
    return {key: _value(file, key) for key in file if key != "general.alignment"}


def _value(file: GgufFile, key: str) -> Value:
    getters: tuple[Any, ...] = (
        lambda: file.flag(key, False),
        lambda: file.integer(key, least=-(2**63)),
        lambda: file.real(key),
        lambda: file.text(key),
        lambda: file.integers(key).tolist(),
        lambda: file.reals(key).tolist(),
        lambda: file.texts(key),
    )
    for getter in getters:
        try:
            value: Value = getter()
        except ModelFileError:
            continue
        return value
    raise ModelFileError(f"{file.path}: metadata key {key} has a type that this script does not copy")


def write_stream(
    path: Path,
    metadata: Mapping[str, Value],
    plans: Sequence[Plan],
    data: Iterator[npt.NDArray[np.uint8]],
) -> None:
    """Write a file with these metadata and tensors; `data` gives each tensor's stored bytes in turn."""
    writer = gguf.GGUFWriter(path, str(metadata["general.architecture"]))
    for key, value in metadata.items():
        if key != "general.architecture":
            _add(writer, key, value)
    for plan in plans:
        kind = gguf.GGMLQuantizationType[plan.type.name]
        elements = int(np.prod(plan.shape))
        size = plan.type.byte_size(elements)
        writer.add_tensor_info(plan.name, plan.shape, np.dtype(np.float32), size, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for plan, raw in zip(plans, data, strict=True):
        assert raw.nbytes == plan.type.byte_size(int(np.prod(plan.shape))), plan.name
        writer.write_tensor_data(raw)
    writer.close()


def _add(writer: gguf.GGUFWriter, key: str, value: Value) -> None:
    match value:
        case bool():
            writer.add_bool(key, value)
        case int():
            writer.add_uint32(key, value) if 0 <= value < 2**32 else writer.add_int64(key, value)
        case float():
            writer.add_float32(key, value)
        case str():
            writer.add_string(key, value)
        case _:
            writer.add_array(key, list(value))


__all__ = ["Plan", "Value", "metadata_of", "write_stream"]
