"""Compiles a GGUF file of the LLaMA architecture to a program and its weights.

The program reads like the forward pass: embed, then for each layer norm, attention, norm, gated feed-forward,
then norm, logits, sample. A layer's block is written once for each combination of quantised and float weights
that the file has; the schedule names a block and its weights' formats for every layer.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Final, NoReturn

from opml.errors import InputError, ModelFileError
from opml.models import tensor_types
from opml.models.gguf import GgufFile, Tensor
from opml.models.parts import (
    attention,
    normed,
    output_block,
    plus,
    prepare,
    product,
    rotated,
)
from opml.models.rotary import MAX_POSITIONS, rotary_tables
from opml.ops.expr import mul
from opml.ops.functions import silu
from opml.vm.builder import ACC0, ACC1, BlockBuilder, ProgramBuilder, Slot, WeightRef, c, index, k, r, token
from opml.vm.isa import Format, Out, Program
from opml.vm.weights import Weight, Weights

ARCHITECTURE: Final = "llama"
DEFAULT_LIMIT: Final = 8192
"""Most positions of a model when none are asked for: the rotary tables grow with it."""
MATRICES: Final = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")
MAX_LAYERS: Final = 1000
MAX_WIDTH: Final = 1 << 20
MAX_HEAD: Final = 1024

Kinds = tuple[bool, ...]
"""Whether each of `MATRICES` is quantised: what a layer's block depends on."""


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes of a LLaMA model.

    `dim` of the residual, `hidden` of the feed-forward; `heads` query heads of `head` elements share `groups`
    key-value heads; `rotated` of a head's elements are turned by rotary positions.
    """

    layers: int
    dim: int
    hidden: int
    heads: int
    groups: int
    head: int
    rotated: int
    vocabulary: int
    eps: float


@dataclass(frozen=True, slots=True)
class Rotary:
    """Pair j turns by t * base^(-2j / rotated) / factors[j] / scale."""

    base: Fraction
    factors: tuple[Fraction, ...] | None = None
    scale: Fraction = Fraction(1)


@dataclass(frozen=True, slots=True)
class Compiled:
    """A program with its weights in program order."""

    program: Program
    weights: Weights
    shape: Shape


def compile_llama(file: GgufFile, limit: int | None = None) -> Compiled:
    """Program and weights of a LLaMA model for at most `limit` positions.

    Without a limit it is the file's context length, at most `DEFAULT_LIMIT`. Raises `ModelFileError` for
    another architecture, unsupported tensor types, and tensors that are missing, unknown or of a wrong shape.
    """
    architecture = file.text("general.architecture")
    file.require_tensor_types("" if architecture == ARCHITECTURE else f"architecture {architecture}")
    reader = _Reader(file)
    shape, rotary = reader.shape(), reader.rotary()
    limit = reader.limit(limit)
    layers = [reader.layer(n, shape) for n in range(shape.layers)]
    embedding = reader.matrix("token_embd.weight", shape.vocabulary, shape.dim)
    gain = reader.vector("output_norm.weight", shape.dim)
    tied = "output.weight" not in file.tensors
    output = embedding if tied else reader.matrix("output.weight", shape.vocabulary, shape.dim)
    reader.require_all_used()

    cos, sin = rotary_tables(limit, shape.head, shape.rotated, rotary.base, rotary.factors, rotary.scale)
    tables = [Weight(limit, shape.head, Format.F32, table.astype("<f4").tobytes()) for table in (cos, sin)]
    globals_ = [embedding, gain, *tables] + ([] if tied else [output])
    program = write_program(shape, limit, globals_, layers)
    return Compiled(program, Weights([*globals_, *(w for layer in layers for w in layer)]), shape)


def write_program(shape: Shape, limit: int, globals_: list[Weight], layers: list[list[Weight]]) -> Program:
    """The program for weights of these formats: embedding, output norm, cos, sin and, unless tied, output;
    then for each layer `attn_norm`, q, k, v, output, `ffn_norm`, gate, up, down."""
    model = ProgramBuilder(limit)
    embedding, gain, cos, sin, *output = (model.global_weight(w.rows, w.cols, w.format) for w in globals_)
    first = model.block("embed")
    first.emit("embed", 1, shape.dim, embedding(index(token()) * shape.dim + c))

    blocks: dict[Kinds, BlockBuilder] = {}
    schedule: list[tuple[BlockBuilder, list[Format]]] = [(first, [])]
    for layer in layers:
        kinds = tuple(_is_quantised(w) for n, w in enumerate(layer) if n not in (0, 5))
        if kinds not in blocks:
            blocks[kinds] = write_layer(model, shape, cos, sin, kinds)
        schedule.append((blocks[kinds], [w.format for w in layer]))
    last = output_block(
        model,
        gain,
        output[0] if output else embedding,
        shape.dim,
        shape.eps,
        _is_quantised(globals_[4 if output else 0]),
    )
    return model.program([*schedule, (last, [])])


def write_layer(
    model: ProgramBuilder, s: Shape, cos: WeightRef, sin: WeightRef, kinds: Kinds
) -> BlockBuilder:
    """One layer, for weights that are quantised or not as `kinds` says."""
    b = model.block("layer")
    y = write_attention(model, b, s, cos, sin, kinds[:4])
    write_feed_forward(b, s, y, kinds[4:])
    return b


def write_attention(
    model: ProgramBuilder, b: BlockBuilder, s: Shape, cos: WeightRef, sin: WeightRef, kinds: Kinds
) -> Slot:
    """Norm, q, k, v, attention and its output: the residual after them, 1 x dim."""
    q_kind, k_kind, v_kind, out_kind = kinds
    n, wide, narrow = s.dim, s.heads * s.head, s.groups * s.head
    gain, w_q, w_k, w_v, w_out = (
        b.weight(*size) for size in ((1, n), (wide, n), (narrow, n), (narrow, n), (n, wide))
    )
    x = b.previous
    inputs = (q_kind, k_kind, v_kind)
    xs = normed(b, "attn_norm", x, gain, n, s.eps, floats=not all(inputs), quantised=any(inputs))
    row = r * (s.head * n) + k  # of head r; column c adds c * n
    turn = rotated(cos, sin, s.head)
    here, pair = row + c * n, row + (c ^ 1) * n
    q = product(b, "q", s.heads, s.head, n, xs, (w_q, here), turn, second=(w_q, pair), quantised=q_kind)
    key = product(
        b, "k", s.groups, s.head, n, xs, (w_k, here), turn, second=(w_k, pair), quantised=k_kind, out=Out.F16
    )
    value = product(b, "v", s.groups, s.head, n, xs, (w_v, here), quantised=v_kind, out=Out.F16)
    attn = attention(b, q, key, value, s.heads, s.groups, s.head, model.so_far)
    mixed = prepare(b, "attn", attn, wide, out_kind)
    return product(b, "attn_output", 1, n, wide, mixed, (w_out, c * wide + k), plus(x), quantised=out_kind)


def write_feed_forward(b: BlockBuilder, s: Shape, y: Slot, kinds: Kinds) -> Slot:
    """Norm, gate and up, down: the residual after them, 1 x dim."""
    gate_kind, up_kind, down_kind = kinds
    n, hidden = s.dim, s.hidden
    gain, w_gate, w_up, w_down = (b.weight(*size) for size in ((1, n), (hidden, n), (hidden, n), (n, hidden)))
    inputs = (gate_kind, up_kind)
    ys = normed(b, "ffn_norm", y, gain, n, s.eps, floats=not all(inputs), quantised=any(inputs))
    gate_at, up_at = (w_gate, c * n + k), (w_up, c * n + k)
    if gate_kind == up_kind:
        both = mul(silu(ACC0), ACC1)
        gated = product(
            b, "ffn_gated", 1, hidden, n, ys, gate_at, both, second=up_at, quantised=up_kind, out=Out.F16
        )
    else:
        gate = product(b, "ffn_gate", 1, hidden, n, ys, gate_at, silu(ACC0), quantised=gate_kind)
        both = mul(gate(c), ACC0)
        gated = product(b, "ffn_gated", 1, hidden, n, ys, up_at, both, quantised=up_kind, out=Out.F16)
    fs = prepare(b, "ffn_gated", gated, hidden, down_kind)
    return product(b, "ffn_down", 1, n, hidden, fs, (w_down, c * hidden + k), plus(y), quantised=down_kind)


def _is_quantised(weight: Weight) -> bool:
    return weight.format.info.unit > 1


class _Reader:
    """Sizes and tensors of a file, each tensor asked for by its name and shape."""

    def __init__(self, file: GgufFile) -> None:
        self._file = file
        self._unused = set(file.tensors)

    def shape(self) -> Shape:
        """The sizes, from metadata; tensors are held to them."""
        dim = self._integer("embedding_length", most=MAX_WIDTH)
        heads = self._integer("attention.head_count", most=MAX_WIDTH)
        groups = self._integer("attention.head_count_kv", heads, most=MAX_WIDTH)
        if "llama.attention.key_length" not in self._file and dim % heads:
            self._refuse(f"an embedding of {dim} does not divide into {heads} heads")
        head = self._integer("attention.key_length", dim // heads, most=MAX_HEAD)
        rotated_ = self._integer("rope.dimension_count", head, most=MAX_HEAD)
        if heads % groups:
            self._refuse(f"{heads} heads can't share {groups} key-value heads")
        if self._integer("attention.value_length", head, most=MAX_HEAD) != head:
            self._refuse("keys and values of different lengths are not supported")
        if head % 2 or rotated_ % 2 or rotated_ > head:
            self._refuse(f"rotary positions on {rotated_} of {head} elements of a head, expected even")
        if self._file.integer("llama.expert_count", 0):
            self._refuse("a mixture of experts is not supported in the architecture llama")
        eps = self._file.real("llama.attention.layer_norm_rms_epsilon")
        if not 0.0 < eps < 1.0:
            self._refuse(f"layer_norm_rms_epsilon is {eps}, expected between 0 and 1")
        return Shape(
            layers=self._integer("block_count", most=MAX_LAYERS),
            dim=dim,
            hidden=self._integer("feed_forward_length", most=MAX_WIDTH),
            heads=heads,
            groups=groups,
            head=head,
            rotated=rotated_,
            vocabulary=self._rows("token_embd.weight"),
            eps=eps,
        )

    def rotary(self) -> Rotary:
        """Base, scale and Llama 3's factors of the rotary positions."""
        file = self._file
        kind = file.text("llama.rope.scaling.type", "none")
        scale = 1.0
        if kind == "linear":
            scale = file.real("llama.rope.scaling.factor")
        elif kind == "none":
            scale = file.real("llama.rope.scale_linear", 1.0)
        else:
            self._refuse(f"llama.rope.scaling.type is {kind!r}; supported are none and linear")
        base = file.real("llama.rope.freq_base", 10000.0)
        factors = None
        if "rope_freqs.weight" in file.tensors:
            tensor = self._take("rope_freqs.weight")
            if tensor.type != tensor_types.F32 or len(tensor.shape) != 1:
                self._refuse("rope_freqs.weight is not a vector in F32")
            factors = tuple(float(f) for f in tensor.data.view("<f4"))
            if len(factors) != self.shape().rotated // 2:
                self._refuse(f"rope_freqs.weight has {len(factors)} factors, expected one a pair")
        if not 1.0 <= base <= 2.0**32:
            self._refuse(f"llama.rope.freq_base is {base}, expected 1 to 2^32")
        for factor in (scale, *(factors or ())):
            if not 2.0**-16 <= factor * scale <= 2.0**16:
                self._refuse(f"a rotary factor is {factor}, expected 2^-16 to 2^16")
        exact = None if factors is None else tuple(map(Fraction, factors))
        return Rotary(Fraction(base), exact, Fraction(scale))

    def limit(self, asked: int | None) -> int:
        """Most positions: what is asked for, within the context that the model was made for."""
        context = self._integer("context_length", most=2**31 - 1)
        most = min(context, MAX_POSITIONS)
        if asked is None:
            return min(most, DEFAULT_LIMIT)
        if not 1 <= asked <= most:
            raise InputError(
                f"{self._file.path}: a limit of {asked} positions, expected 1 to {most}; choose one of these"
            )
        return asked

    def layer(self, n: int, s: Shape) -> list[Weight]:
        """The nine weights of layer `n` in program order."""
        wide, narrow = s.heads * s.head, s.groups * s.head
        sizes = {
            "attn_norm": (1, s.dim),
            "attn_q": (wide, s.dim),
            "attn_k": (narrow, s.dim),
            "attn_v": (narrow, s.dim),
            "attn_output": (s.dim, wide),
            "ffn_norm": (1, s.dim),
            "ffn_gate": (s.hidden, s.dim),
            "ffn_up": (s.hidden, s.dim),
            "ffn_down": (s.dim, s.hidden),
        }
        return [
            self.vector(f"blk.{n}.{name}.weight", cols)
            if name.endswith("_norm")
            else self.matrix(f"blk.{n}.{name}.weight", rows, cols)
            for name, (rows, cols) in sizes.items()
        ]

    def matrix(self, name: str, rows: int, cols: int) -> Weight:
        """A tensor of `rows` x `cols`."""
        return self._weight(name, (rows, cols))

    def vector(self, name: str, cols: int) -> Weight:
        """A tensor of `cols` elements: 1 x `cols`."""
        return self._weight(name, (cols,))

    def require_all_used(self) -> None:
        """Refuse a file with tensors that the program doesn't read: it is another model than this."""
        if self._unused:
            names = ", ".join(sorted(self._unused)[:5])
            self._refuse(f"{len(self._unused)} tensors have no place in the architecture llama: {names}")

    def _weight(self, name: str, shape: tuple[int, ...]) -> Weight:
        tensor = self._take(name)
        if tensor.shape != shape:
            self._refuse(f"tensor {name} has shape {tensor.shape}, expected {shape}")
        rows, cols = (1, *shape)[-2:]
        return Weight(rows, cols, Format[tensor.type.name], tensor.data.data)

    def _take(self, name: str) -> Tensor:
        if name not in self._file.tensors:
            self._refuse(f"tensor {name} is missing")
        self._unused.discard(name)
        return self._file.tensors[name]

    def _rows(self, name: str) -> int:
        tensor = self._take(name)
        if len(tensor.shape) != 2:
            self._refuse(f"tensor {name} has shape {tensor.shape}, expected a matrix")
        return tensor.shape[0]

    def _integer(self, name: str, default: int | None = None, *, most: int) -> int:
        return self._file.integer(f"llama.{name}", default, least=1, most=most)

    def _refuse(self, rule: str) -> NoReturn:
        raise ModelFileError(f"{self._file.path}: {rule}; use a LLaMA model as llama.cpp converts it")


__all__ = [
    "ARCHITECTURE",
    "DEFAULT_LIMIT",
    "Compiled",
    "Shape",
    "compile_llama",
    "write_attention",
    "write_program",
]
