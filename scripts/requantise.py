"""Write a GGUF model in another tensor type: what benchmarks compare types with.

    python scripts/requantise.py MODEL.gguf OUT.gguf --type Q4_0 [--embedding Q8_0]

Matrices are dequantised to f32 and quantised by the `gguf` package (dev extra); vectors stay f32. The
embedding keeps its type unless `--embedding` says otherwise or `--type` is a float type. A model quantised
twice is a little worse than one quantised once: it serves to compare engines on one file, not to be used.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import gguf
import numpy as np
import numpy.typing as npt
from gguf_stream import Plan, metadata_of, write_stream

from opml.models import tensor_types
from opml.models.gguf import GgufFile, Tensor
from opml.models.tensor_types import TensorType

EMBEDDINGS = ("token_embd.weight", "output.weight")
FILE_TYPES = {"F32": 0, "F16": 1, "Q4_0": 2, "Q4_1": 3, "Q8_0": 7, "Q5_0": 8, "Q5_1": 9, "BF16": 32}
"""`general.file_type` as llama.cpp numbers it."""
TYPES = {kind.name: kind for kind in tensor_types.SUPPORTED}


def planned(tensor: Tensor, kind: TensorType, embedding: TensorType | None) -> TensorType:
    """The type that a tensor will have."""
    if len(tensor.shape) < 2:
        return tensor_types.F32
    if tensor.name in EMBEDDINGS and kind in tensor_types.QUANTISED:
        return embedding or tensor.type
    return kind


def requantised(tensor: Tensor, kind: TensorType) -> npt.NDArray[np.uint8]:
    """The stored bytes of a tensor in another type."""
    if tensor.type == kind:
        return tensor.data
    rows = tensor.data.reshape(*tensor.shape[:-1], -1)
    single = gguf.quants.dequantize(rows, gguf.GGMLQuantizationType[tensor.type.name])
    raw = gguf.quants.quantize(single, gguf.GGMLQuantizationType[kind.name])
    return np.ascontiguousarray(raw).reshape(-1).view(np.uint8)


def requantise(source: Path, target: Path, kind: TensorType, embedding: TensorType | None = None) -> None:
    """Write `source` to `target` with matrices of type `kind`."""
    file = GgufFile(source)
    kinds = {name: planned(tensor, kind, embedding) for name, tensor in file.tensors.items()}
    plans = [Plan(name, tensor.shape, kinds[name]) for name, tensor in file.tensors.items()]

    def data() -> Iterator[npt.NDArray[np.uint8]]:
        for name, tensor in file.tensors.items():
            yield requantised(tensor, kinds[name])

    metadata = metadata_of(file) | {"general.file_type": FILE_TYPES[kind.name]}
    write_stream(target, metadata, plans, data())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--type", choices=TYPES, required=True)
    parser.add_argument("--embedding", choices=TYPES)
    arguments = parser.parse_args()
    embedding = TYPES[arguments.embedding] if arguments.embedding else None
    requantise(arguments.model, arguments.out, TYPES[arguments.type], embedding)
    print(f"{arguments.out}: {arguments.out.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
