"""A LLaMA forward pass in float64 over dequantised weights: what a program is compared with, closely."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import gguf
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


class PlainLlama:
    """The model of a GGUF file, read and dequantised by the `gguf` package."""

    def __init__(self, path: Path) -> None:
        reader = gguf.GGUFReader(path)
        field = {name: f.contents() for name, f in reader.fields.items() if name.startswith("llama.")}
        self.tensors: dict[str, Array] = {}
        for tensor in reader.tensors:
            flat = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
            self.tensors[tensor.name] = flat.reshape([int(n) for n in tensor.shape][::-1]).astype(np.float64)
        self.layers, self.heads = field["llama.block_count"], field["llama.attention.head_count"]
        self.groups, self.eps = (
            field["llama.attention.head_count_kv"],
            field["llama.attention.layer_norm_rms_epsilon"],
        )
        self.head = field["llama.embedding_length"] // self.heads
        base = float(field["llama.rope.freq_base"])
        self.frequencies = base ** (-2.0 * np.arange(self.head // 2) / self.head)
        self.frequencies /= self.tensors.get("rope_freqs.weight", 1.0)
        if field.get("llama.rope.scaling.type") == "linear":
            self.frequencies /= field["llama.rope.scaling.factor"]

    def logits(self, tokens: Sequence[int]) -> Array:
        """positions x vocabulary."""
        x = self.tensors["token_embd.weight"][list(tokens)]
        for layer in range(self.layers):
            w = {name: self.tensors[f"blk.{layer}.{name}.weight"] for name in _NAMES}
            x = x + self._attention(self._norm(x, w["attn_norm"]), w)
            y = self._norm(x, w["ffn_norm"])
            gate = y @ w["ffn_gate"].T
            x = x + (gate / (1 + np.exp(-gate)) * (y @ w["ffn_up"].T)) @ w["ffn_down"].T
        output = self.tensors.get("output.weight", self.tensors["token_embd.weight"])
        return self._norm(x, self.tensors["output_norm.weight"]) @ output.T

    def greedy(self, prompt: Sequence[int], count: int) -> list[int]:
        """The most likely tokens after `prompt`, one after the other."""
        tokens = list(prompt)
        for _ in range(count):
            tokens.append(int(self.logits(tokens)[-1].argmax()))
        return tokens[len(prompt) :]

    def _norm(self, x: Array, gain: Array) -> Array:
        return x / np.sqrt((x**2).mean(1, keepdims=True) + self.eps) * gain

    def _attention(self, x: Array, w: dict[str, Array]) -> Array:
        n = len(x)
        q = self._turned((x @ w["attn_q"].T).reshape(n, self.heads, self.head))
        key = self._turned((x @ w["attn_k"].T).reshape(n, self.groups, self.head))
        value = (x @ w["attn_v"].T).reshape(n, self.groups, self.head)
        shared = np.arange(self.heads) // (self.heads // self.groups)
        scores = np.einsum("thd,shd->hts", q, key[:, shared]) / np.sqrt(self.head)
        scores[:, ~np.tri(n, dtype=bool)] = -np.inf
        p = np.exp(scores - scores.max(2, keepdims=True))
        p /= p.sum(2, keepdims=True)
        return np.einsum("hts,shd->thd", p, value[:, shared]).reshape(n, -1) @ w["attn_output"].T

    def _turned(self, x: Array) -> Array:
        angle = (np.arange(len(x))[:, None] * self.frequencies)[:, None, :]
        even, odd = x[..., ::2], x[..., 1::2]
        turned = np.stack(
            [even * np.cos(angle) - odd * np.sin(angle), even * np.sin(angle) + odd * np.cos(angle)], 3
        )
        return turned.reshape(x.shape)


_NAMES = [
    "attn_norm",
    "attn_q",
    "attn_k",
    "attn_v",
    "attn_output",
    "ffn_norm",
    "ffn_gate",
    "ffn_up",
    "ffn_down",
]
