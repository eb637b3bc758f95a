"""Write a GGUF file of the LLaMA architecture with random weights, of any size: for benchmarks.

    python scripts/random_model.py OUT.gguf --shape 7b [--type Q4_0] [--layers N] [--seed N]

Shapes: 1b as Llama 3.2 1B (tied output), 7b as Llama 2 7B, 135m as SmolLM2. Tensors are written one after the
other, so memory stays below the largest of them. The output matrix (the embedding where they are tied) has
type Q8_0 unless `--output` says otherwise. Speed and sizes mean something, the text that comes out does not.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from gguf_stream import Plan, Value, write_stream

from opml.models import tensor_types
from opml.models.random_weights import random_weight
from opml.models.tensor_types import TensorType
from opml.models.tiny import CONTROL, MERGES, vocabulary
from opml.vm.isa import Format

TYPES = {kind.name: kind for kind in tensor_types.SUPPORTED}


@dataclass(frozen=True, slots=True)
class Size:
    """Sizes of a LLaMA model, as in `opml.models.llama.Shape`."""

    layers: int
    dim: int
    hidden: int
    heads: int
    groups: int
    vocabulary: int
    tied: bool
    context: int
    rope_base: float = 10000.0


SIZES = {
    "135m": Size(30, 576, 1536, 9, 3, 49152, True, 8192, 100000.0),
    "1b": Size(16, 2048, 8192, 32, 8, 128256, True, 8192, 500000.0),
    "7b": Size(32, 4096, 11008, 32, 32, 32000, False, 4096),
}


def planned(size: Size, kind: TensorType, output: TensorType) -> list[Plan]:
    """The tensors of a model, matrices of type `kind`."""
    narrow = size.dim // size.heads * size.groups
    sizes = {
        "attn_q": (size.dim, size.dim),
        "attn_k": (narrow, size.dim),
        "attn_v": (narrow, size.dim),
        "attn_output": (size.dim, size.dim),
        "ffn_gate": (size.hidden, size.dim),
        "ffn_up": (size.hidden, size.dim),
        "ffn_down": (size.dim, size.hidden),
    }
    rows = (size.vocabulary, size.dim)
    plans = [Plan("token_embd.weight", rows, output if size.tied else kind)]
    for layer in range(size.layers):
        norms = ("attn_norm", "ffn_norm")
        plans += [Plan(f"blk.{layer}.{name}.weight", (size.dim,), tensor_types.F32) for name in norms]
        plans += [Plan(f"blk.{layer}.{name}.weight", shape, kind) for name, shape in sizes.items()]
    plans.append(Plan("output_norm.weight", (size.dim,), tensor_types.F32))
    return plans if size.tied else [*plans, Plan("output.weight", rows, output)]


def weights(plans: list[Plan], seed: int) -> Iterator[npt.NDArray[np.uint8]]:
    """Stored bytes of each tensor: norms around 1, matrices that keep the variance of what they multiply."""
    for plan in plans:
        rows, cols = (1, *plan.shape)[-2:]
        if len(plan.shape) == 1:
            weight = random_weight(seed, plan.name, 1, cols, Format.F32, 0.25, 1.0)
        else:
            weight = random_weight(seed, plan.name, rows, cols, Format[plan.type.name], (3.0 / cols) ** 0.5)
        yield np.frombuffer(weight.data, np.uint8)


def metadata(name: str, size: Size) -> dict[str, Value]:
    """What a loader needs to know: sizes, and a vocabulary of fillers."""
    tokens = vocabulary(size.vocabulary)
    return {
        "general.architecture": "llama",
        "general.name": f"random {name}",
        "llama.block_count": size.layers,
        "llama.context_length": size.context,
        "llama.embedding_length": size.dim,
        "llama.feed_forward_length": size.hidden,
        "llama.attention.head_count": size.heads,
        "llama.attention.head_count_kv": size.groups,
        "llama.attention.layer_norm_rms_epsilon": 1e-5,
        "llama.rope.dimension_count": size.dim // size.heads,
        "llama.rope.freq_base": size.rope_base,
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "smollm",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": [3 if token in CONTROL else 1 for token in tokens],
        "tokenizer.ggml.merges": list(MERGES),
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("--shape", choices=SIZES, default="1b")
    parser.add_argument("--type", choices=TYPES, default="Q4_0")
    parser.add_argument("--output", choices=TYPES, default="Q8_0", help="type of the output matrix")
    parser.add_argument("--layers", type=int, help="instead of the shape's own number")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    size = SIZES[arguments.shape]
    if arguments.layers:
        size = replace(size, layers=arguments.layers)
    plans = planned(size, TYPES[arguments.type], TYPES[arguments.output])
    write_stream(arguments.out, metadata(arguments.shape, size), plans, weights(plans, arguments.seed))
    print(f"{arguments.out}: {arguments.out.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
