"""What rounding costs: a LLaMA model in binary64 with nothing rounded on the way, then one thing at a time.

    python benchmarks/exact.py MODEL.gguf [--text FILE]... [--length 512]

For each kind of rounding, in nats with standard errors over the texts: how far the mean negative
log-likelihood is from the exact model's, and the mean Kullback-Leibler divergence of the exact distribution
of the next token from the rounded one. The divergence is what a rounding costs on average over what the model
believes; the likelihood of one text also has noise, about the root of twice the divergence a token.

`Exact.score` is what `quality.py --exact` holds both programs to.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rounds import heading, machine, table, write_json

from opml.models.gguf import GgufFile, Tensor
from opml.ops import quant

F64 = npt.NDArray[np.float64]
Rounding = Callable[[str, F64], F64]
"""The value of a place (one of `PLACES`) as it is stored there."""
PRODUCTS = ("attn_norm", "attn", "ffn_norm", "ffn_gated", "output_norm")
"""What matrix products read."""
PLACES = ("q", "k", "v", "weights", *PRODUCTS)
ROWS = 64


def exactly(place: str, x: F64) -> F64:
    """No rounding."""
    return x


def dequantised(tensor: Tensor) -> F64:
    """A tensor's elements without rounding."""
    fmt = quant.WEIGHT_FORMAT_BY_NAME[tensor.type.name]
    raw = np.asarray(tensor.data).reshape(-1)
    if not fmt.quantised:
        return quant.dequantise(fmt, raw).view(np.float32).astype(np.float64).reshape(tensor.shape)
    units = quant.decode_units(fmt, raw)
    d, m = (bits.view(np.float32).astype(np.float64)[:, None] for bits in (units.d, units.m))
    found: F64 = units.q * d + m
    return found.reshape(tensor.shape)


def log_probabilities(logits: F64) -> F64:
    """Natural logarithms of a soft-max of each row."""
    below = logits - logits.max(axis=1, keepdims=True)
    found: F64 = below - np.log(np.exp(below).sum(axis=1, keepdims=True))
    return found


@dataclass(frozen=True, slots=True)
class Score:
    """`log_probabilities`: positions x vocabulary; `nll[i]` in nats of token i + 1."""

    log_probabilities: F64
    nll: list[float]


class Exact:
    """A LLaMA model in binary64. Rotary positions are plain: no scaling."""

    def __init__(self, path: Path) -> None:
        file = GgufFile(path)
        if file.text("llama.rope.scaling.type", "none") != "none" or "rope_freqs.weight" in file.tensors:
            raise SystemExit(f"{path}: scaled rotary positions are not known here; choose another model")
        self.layers = file.integer("llama.block_count")
        self.heads = file.integer("llama.attention.head_count")
        self.groups = file.integer("llama.attention.head_count_kv", self.heads)
        self.head = file.integer("llama.embedding_length") // self.heads
        self.eps = file.real("llama.attention.layer_norm_rms_epsilon")
        self.base = file.real("llama.rope.freq_base", 10000.0)
        self._weights = {name: dequantised(tensor) for name, tensor in file.tensors.items()}
        self._output = self._weights.get("output.weight", self._weights["token_embd.weight"])

    def score(self, ids: list[int], rounded: Rounding = exactly) -> Score:
        """What the model says of a text, with values rounded as they are stored."""
        x = self._weights["token_embd.weight"][ids]
        for n in range(self.layers):
            x = self._layer(f"blk.{n}", x, rounded)
        x = rounded("output_norm", self._norm(x, "output_norm"))
        parts = [log_probabilities(x[n : n + ROWS] @ self._output.T) for n in range(0, len(ids), ROWS)]
        found = np.concatenate(parts)
        return Score(found, [float(-found[t, token]) for t, token in enumerate(ids[1:])])

    def _layer(self, name: str, x: F64, rounded: Rounding) -> F64:
        xs = rounded("attn_norm", self._norm(x, f"{name}.attn_norm"))
        q, k = (self._turned(self._product(xs, f"{name}.attn_{part}")) for part in "qk")
        v = self._product(xs, f"{name}.attn_v")
        attn = self._attention(rounded("q", q), rounded("k", k), rounded("v", v), rounded)
        y = x + self._product(rounded("attn", attn), f"{name}.attn_output")
        ys = rounded("ffn_norm", self._norm(y, f"{name}.ffn_norm"))
        gate = self._product(ys, f"{name}.ffn_gate")
        gated = gate / (1.0 + np.exp(-gate)) * self._product(ys, f"{name}.ffn_up")
        return y + self._product(rounded("ffn_gated", gated), f"{name}.ffn_down")

    def _norm(self, x: F64, name: str) -> F64:
        scale = np.sqrt((x * x).mean(axis=1, keepdims=True) + self.eps)
        found: F64 = x / scale * self._weights[f"{name}.weight"]
        return found

    def _product(self, x: F64, name: str) -> F64:
        found: F64 = x @ self._weights[f"{name}.weight"].T
        return found

    def _turned(self, x: F64) -> F64:
        """Rotary positions on pairs of neighbours."""
        pairs = x.reshape(len(x), -1, self.head // 2, 2)
        turns = self.base ** (-2.0 * np.arange(self.head // 2) / self.head)
        angles = (np.arange(len(x))[:, None] * turns)[:, None, :]
        cos, sin = np.cos(angles), np.sin(angles)
        first, second = pairs[..., 0], pairs[..., 1]
        return np.stack([first * cos - second * sin, first * sin + second * cos], axis=-1).reshape(x.shape)

    def _attention(self, q: F64, k: F64, v: F64, rounded: Rounding) -> F64:
        out = np.empty_like(q)
        later = np.triu(np.full((len(q), len(q)), -np.inf), 1)
        for n in range(self.heads):
            mine = slice(n * self.head, (n + 1) * self.head)
            group = n // (self.heads // self.groups)
            shared = slice(group * self.head, (group + 1) * self.head)
            weights = np.exp(log_probabilities(q[:, mine] @ k[:, shared].T * self.head**-0.5 + later))
            out[:, mine] = rounded("weights", weights) @ v[:, shared]
        return out


# Roundings ---------------------------------------------------------------------------------------------


def half(x: F64) -> F64:
    """The nearest f16."""
    return x.astype(np.float16).astype(np.float64)


def int8(x: F64, *, scale: Callable[[F64], F64] = lambda d: d, away: bool = False, fit: bool = False) -> F64:
    """int8 for each unit of 32, by docs/spec.md: d = amax / 127, q = nearest(x * (127 / amax)), in f32.

    `scale` rounds d; `away` rounds halves of q away from zero; `fit` takes the d that fits x best.
    """
    units = x.astype(np.float32).reshape(-1, quant.UNIT)
    top = np.abs(units).max(axis=1, keepdims=True)
    inverse = np.divide(np.float32(127), top, out=np.zeros_like(top), where=top > 0)
    scaled = units * inverse
    q = np.trunc(scaled + np.copysign(np.float32(0.5), scaled)) if away else np.rint(scaled)
    wide = q.astype(np.float64)
    d = (top / np.float32(127)).astype(np.float64)
    if fit:
        squares = (wide * wide).sum(axis=1, keepdims=True)
        d = (wide * units).sum(axis=1, keepdims=True) / np.maximum(squares, 1.0)
    found: F64 = wide * scale(d)
    return found.reshape(x.shape)


def at(places: tuple[str, ...], how: Callable[[F64], F64], otherwise: Rounding = exactly) -> Rounding:
    """A rounding of some places after another rounding."""

    def rounded(place: str, x: F64) -> F64:
        before = otherwise(place, x)
        return how(before) if place in places else before

    return rounded


STORED = ("k", "v", "attn", "ffn_gated")
"""What we store in f16."""
VARIANTS: dict[str, Rounding] = {
    "ours: K, V, attention and gated in f16, int8": at(PRODUCTS, int8, at(STORED, half)),
    "llama.cpp's: q, K, V and weights in f16, int8, d in f16": at(
        PRODUCTS, lambda x: int8(x, scale=half), at(("q", "k", "v", "weights"), half)
    ),
    "f16 alone, where ours has it": at(STORED, half),
    "f16 alone, where llama.cpp has it": at(("q", "k", "v", "weights"), half),
    "int8 alone": at(PRODUCTS, int8),
    "int8, d in f16": at(PRODUCTS, lambda x: int8(x, scale=half)),
    "int8, halves away from zero": at(PRODUCTS, lambda x: int8(x, away=True)),
    "int8, d that fits best": at(PRODUCTS, lambda x: int8(x, fit=True)),
    **{f"int8 of {place} alone": at((place,), int8) for place in PRODUCTS},
}


def measured(model: Exact, texts: dict[str, list[int]]) -> list[dict[str, Any]]:
    """For each variant and text: the likelihood's distance, and the divergence."""
    found: dict[str, dict[str, list[float]]] = {name: {"nll": [], "divergence": []} for name in VARIANTS}
    for ids in texts.values():
        exact = model.score(ids)
        for name, rounded in VARIANTS.items():
            one = model.score(ids, rounded)
            found[name]["nll"].append(float(np.mean(one.nll) - np.mean(exact.nll)))
            distances = exact.log_probabilities - one.log_probabilities
            divergence = float((np.exp(exact.log_probabilities) * distances).sum(axis=1).mean())
            found[name]["divergence"].append(divergence)
    return [{"rounding": name, **values} for name, values in found.items()]


def with_error(values: list[float]) -> str:
    """Mean and its standard error."""
    error = np.std(values, ddof=1) / np.sqrt(len(values)) if len(values) > 1 else np.nan
    return f"{np.mean(values):+.6f} ± {error:.6f}"


def main() -> None:
    from quality import ROOT, TEXTS, texts

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path)
    parser.add_argument("--text", type=Path, action="append", help="a text; may be repeated")
    parser.add_argument("--length", type=int, default=512, help="tokens of each text")
    parser.add_argument("--json", type=Path, help="write the figures there too")
    arguments = parser.parse_args()
    files = [file.resolve() for file in arguments.text or [ROOT / name for name in TEXTS]]
    ids = {name: text[: arguments.length] for name, text in texts(arguments.model, files).items()}
    facts: dict[str, Any] = {"machine": machine(), "rows": measured(Exact(arguments.model), ids)}
    write_json(arguments.json, facts)
    rows = [[row["rounding"], with_error(row["nll"]), with_error(row["divergence"])] for row in facts["rows"]]
    print(heading(facts["machine"]) + "\n")
    print(table(["rounded", "mean negative log-likelihood, less the exact one's", "divergence"], rows))


if __name__ == "__main__":
    main()
