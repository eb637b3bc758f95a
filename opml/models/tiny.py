"""Tiny random models for tests: GGUF files of the LLaMA architecture.

    path = write_llama(folder / "tiny.gguf", TinyLlama(tensor_types.Q4_1))
    model = load_model(path, limit=16)

Every size, tensor type and seed can be chosen; the same arguments give the same bytes everywhere.
`opml.models.shapes` makes programs in the shapes of other families.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import numpy as np

from opml.models import tensor_types
from opml.models.gguf_writer import StoredTensor, encode
from opml.models.random_weights import random_weight
from opml.models.tensor_types import TensorType
from opml.models.tokenizer import spelled
from opml.vm.isa import Format

CONTROL: Final = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
MERGES: Final = ("t h", "th e", "Ġ a", "i n", "Ġ the", "a n", "e r", "o n", "Ġ w", "r e")
TEMPLATE: Final = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>' + '\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


@dataclass(frozen=True, slots=True)
class TinyLlama:
    """What a tiny LLaMA file looks like.

    `kind` is the tensor type of matrices, `kinds` overrides it by tensor name or by the name without
    `blk.N.` and `.weight`; norms are F32. `factors`: Llama 3's rotary factors. `tied`: no output matrix.
    `patches`: bytes to put into a tensor by name and offset, for a NaN, a subnormal number or a tie.
    """

    kind: TensorType = tensor_types.Q4_1
    kinds: Mapping[str, TensorType] = field(default_factory=dict)
    embedding: TensorType = tensor_types.Q8_0
    layers: int = 2
    dim: int = 64
    hidden: int = 96
    heads: int = 4
    groups: int = 2
    vocabulary: int = 300
    context: int = 64
    tied: bool = True
    factors: bool = False
    rope_base: float = 10000.0
    seed: int = 1
    metadata: Mapping[str, object] = field(default_factory=dict)
    patches: Mapping[str, Mapping[int, bytes]] = field(default_factory=dict)


def llama_bytes(tiny: TinyLlama) -> bytes:
    """The bytes of the GGUF file."""
    tensors = [_patched(tensor, tiny.patches.get(tensor.name, {})) for tensor in _tensors(tiny)]
    return encode(_metadata(tiny) | dict(tiny.metadata), tensors)


def write_llama(path: Path, tiny: TinyLlama | None = None) -> Path:
    """Write the file and return its path."""
    path.write_bytes(llama_bytes(tiny or TinyLlama()))
    return path


def _metadata(tiny: TinyLlama) -> dict[str, object]:
    tokens = vocabulary(tiny.vocabulary)
    return {
        "general.architecture": "llama",
        "general.name": f"tiny {tiny.kind.name}",
        "llama.block_count": tiny.layers,
        "llama.context_length": tiny.context,
        "llama.embedding_length": tiny.dim,
        "llama.feed_forward_length": tiny.hidden,
        "llama.attention.head_count": tiny.heads,
        "llama.attention.head_count_kv": tiny.groups,
        "llama.attention.layer_norm_rms_epsilon": 1e-5,
        "llama.rope.dimension_count": tiny.dim // tiny.heads,
        "llama.rope.freq_base": tiny.rope_base,
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "smollm",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": [3 if token in CONTROL else 1 for token in tokens],
        "tokenizer.ggml.merges": list(MERGES),
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.eot_token_id": 0,
        "tokenizer.chat_template": TEMPLATE,
    }


def vocabulary(size: int) -> list[str]:
    """`size` token texts: control tokens, single bytes (the likely ones first), merges, then fillers."""
    likely = [*range(0x61, 0x7B), 0x20, 0x0A, *range(0x41, 0x5B), *range(0x21, 0x41)]
    order = likely + [byte for byte in range(256) if byte not in likely]
    texts = [*CONTROL, *(spelled(byte) for byte in order), *(pair.replace(" ", "") for pair in MERGES)]
    fillers = (f"filler{n}" for n in range(size))
    return [*texts, *fillers][:size]


def _tensors(tiny: TinyLlama) -> list[StoredTensor]:
    dim, hidden, head = tiny.dim, tiny.hidden, tiny.dim // tiny.heads
    narrow = tiny.groups * head
    tensors = [_matrix(tiny, "token_embd.weight", tiny.vocabulary, dim, tiny.embedding, 1.0)]
    for layer in range(tiny.layers):
        sizes = {
            "attn_q": (dim, dim),
            "attn_k": (narrow, dim),
            "attn_v": (narrow, dim),
            "attn_output": (dim, dim),
            "ffn_gate": (hidden, dim),
            "ffn_up": (hidden, dim),
            "ffn_down": (dim, hidden),
        }
        tensors.append(_vector(tiny, f"blk.{layer}.attn_norm.weight"))
        tensors.append(_vector(tiny, f"blk.{layer}.ffn_norm.weight"))
        tensors += [
            _matrix(tiny, f"blk.{layer}.{name}.weight", rows, cols, tiny.kind, (6.0 / cols) ** 0.5)
            for name, (rows, cols) in sizes.items()
        ]
    tensors.append(_vector(tiny, "output_norm.weight"))
    if not tiny.tied:
        tensors.append(_matrix(tiny, "output.weight", tiny.vocabulary, dim, tiny.embedding, 1.0))
    if tiny.factors:
        factors = (1.0 + np.arange(head // 2) * 0.75).astype("<f4")
        tensors.append(StoredTensor("rope_freqs.weight", factors.shape, tensor_types.F32, factors.tobytes()))
    return tensors


def _matrix(
    tiny: TinyLlama, name: str, rows: int, cols: int, kind: TensorType, amplitude: float
) -> StoredTensor:
    short = name.removesuffix(".weight").split(".")[-1]
    kind = tiny.kinds.get(name, tiny.kinds.get(short, kind))
    weight = random_weight(tiny.seed, name, rows, cols, Format[kind.name], amplitude)
    return StoredTensor(name, (rows, cols), kind, bytes(weight.data))


def _vector(tiny: TinyLlama, name: str) -> StoredTensor:
    weight = random_weight(tiny.seed, name, 1, tiny.dim, Format.F32, 0.25, 1.0)
    return StoredTensor(name, (tiny.dim,), tensor_types.F32, bytes(weight.data))


def _patched(tensor: StoredTensor, patches: Mapping[int, bytes]) -> StoredTensor:
    data = bytearray(tensor.data)
    for offset, patch in patches.items():
        data[offset : offset + len(patch)] = patch
    return replace(tensor, data=bytes(data))


__all__ = ["TinyLlama", "llama_bytes", "vocabulary", "write_llama"]
