"""Tiny random programs in the shapes of families that have no compiler yet, and the smallest model of all.

They show that the instruction format serves more than LLaMA, and are run, committed and disputed in tests.
Sizes are those of `Size`, matrices are in the format given, weights follow from the seed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from opml.models.llama import Shape, write_attention
from opml.models.model import Model
from opml.models.parts import (
    Activations,
    attention,
    logits_and_sample,
    normed,
    output_block,
    plus,
    prepare,
    product,
    rms,
)
from opml.models.random_weights import random_weight
from opml.models.rotary import rotary_tables
from opml.ops.expr import Expr, add, and_, const, div, eq, f2i, fma, i2f, lt, mul, or_, sub
from opml.ops.functions import exp, gelu_tanh, rsqrt, silu
from opml.vm.builder import (
    ACC0,
    ACC1,
    BlockBuilder,
    ProgramBuilder,
    Slot,
    WeightRef,
    axis,
    c,
    index,
    k,
    r,
    t,
    token,
)
from opml.vm.isa import ROW, Ext, Fold, Format, Out
from opml.vm.layout import Layout
from opml.vm.weights import Weight, Weights

EPS: Final = 1e-5

Schedule = list[tuple[BlockBuilder, Sequence[Format]]]


@dataclass(frozen=True, slots=True)
class Size:
    """Sizes of a tiny model; `window` is Gemma's sliding one, `active` of `experts` are used for a token."""

    dim: int = 64
    hidden: int = 96
    heads: int = 2
    groups: int = 1
    head: int = 32
    layers: int = 2
    vocabulary: int = 64
    limit: int = 16
    window: int = 3
    experts: int = 4
    active: int = 2

    @property
    def llama(self) -> Shape:
        """The same as a LLaMA shape."""
        return Shape(
            self.layers,
            self.dim,
            self.hidden,
            self.heads,
            self.groups,
            self.head,
            self.head,
            self.vocabulary,
            EPS,
        )


def gemma3(fmt: Format = Format.Q5_0, size: Size | None = None, seed: int = 1) -> Model:
    """Norms before and after each part and on heads; halves rotated; GELU; a scaled embedding; a sliding
    window in all layers but the last."""
    s = size or Size()
    model = ProgramBuilder(s.limit)
    embedding, gain, cos, sin = _globals(model, s, Format.Q8_0)
    first = model.block("embed")
    first.emit("embed", 1, s.dim, mul(embedding(index(token()) * s.dim + c), math.sqrt(s.dim)))
    schedule: Schedule = [(first, [])]
    for window in (s.window, s.limit):
        b = _gemma3_layer(model, s, cos, sin, Ext(min(window, s.limit), varies=True))
        formats = [Format.F32, *[fmt] * 3, Format.F32, Format.F32, fmt, Format.F32, Format.F32, *[fmt] * 3]
        entry = (b, [*formats, Format.F32])
        schedule += [entry] * (s.layers - 1) if window == s.window else [entry]
    schedule.append((output_block(model, gain, embedding, s.dim, EPS, True), []))
    return _finished("gemma3", model, schedule, seed, _tables(s, halves=True))


def _gemma3_layer(
    model: ProgramBuilder, s: Size, cos: WeightRef, sin: WeightRef, window: Ext
) -> BlockBuilder:
    b = model.block("layer")
    n, hd, wide, narrow = s.dim, s.head, s.heads * s.head, s.groups * s.head
    sizes = [(1, n), (wide, n), (narrow, n), (narrow, n), (1, hd), (1, hd), (n, wide)]
    before, w_q, w_k, w_v, gain_q, gain_k, w_out = (b.weight(*size) for size in sizes)
    sizes = [(1, n), (1, n), (s.hidden, n), (s.hidden, n), (n, s.hidden), (1, n)]
    after, ffn_before, w_gate, w_up, w_down, ffn_after = (b.weight(*size) for size in sizes)
    x = b.previous
    xs = normed(b, "attn_norm", x, before, n, EPS, floats=False, quantised=True)
    row = r * (hd * n) + c * n + k

    def head(name: str, weight: WeightRef, gain: WeightRef, rows: int, out: Out) -> Slot:
        raw = product(b, f"{name}.raw", rows, hd, n, xs, (weight, row), quantised=True)
        scale = rms(b, f"{name}.rms", raw, hd, EPS, rows)
        here = mul(mul(raw(r * ROW + c), scale(r)), gain(c))
        partner = mul(mul(raw(r * ROW + (c ^ hd // 2)), scale(r)), gain(c ^ hd // 2))
        turned = fma(here, cos(t * hd + c), mul(partner, sin(t * hd + c)))
        return b.emit(name, rows, hd, turned, out=out)

    q = head("q", w_q, gain_q, s.heads, Out.F32)
    key = head("k", w_k, gain_k, s.groups, Out.BF16)
    value = product(b, "v", s.groups, hd, n, xs, (w_v, row), quantised=True, out=Out.BF16)
    attn = attention(b, q, key, value, s.heads, s.groups, hd, window)
    mixed = prepare(b, "attn", attn, wide, True)
    y = product(b, "attn_output", 1, n, wide, mixed, (w_out, c * wide + k), quantised=True)
    y = _added_norm(b, "attn_post", y, after, x, n)
    ys = normed(b, "ffn_norm", y, ffn_before, n, EPS, floats=False, quantised=True)
    gate, up = (w_gate, c * n + k), (w_up, c * n + k)
    both = mul(gelu_tanh(ACC0), ACC1)
    gated = product(b, "ffn_gated", 1, s.hidden, n, ys, gate, both, second=up, quantised=True, out=Out.F16)
    fs = prepare(b, "ffn_gated", gated, s.hidden, True)
    z = product(b, "ffn_down", 1, n, s.hidden, fs, (w_down, c * s.hidden + k), quantised=True)
    _added_norm(b, "ffn_post", z, ffn_after, y, n)
    return b


def _added_norm(b: BlockBuilder, name: str, y: Slot, gain: WeightRef, x: Slot, n: int) -> Slot:
    """x + y / rms(y) * gain."""
    scale = rms(b, f"{name}.rms", y, n, EPS)
    return b.emit(name, 1, n, fma(mul(y(c), scale()), gain(c), x(c)))


def mixture(fmt: Format = Format.Q4_0, size: Size | None = None, seed: int = 1) -> Model:
    """LLaMA's attention, then a router in f32 whose best experts' outputs are summed by their soft-max."""
    s = size or Size()
    model = ProgramBuilder(s.limit)
    embedding, gain, cos, sin = _globals(model, s, Format.F16)
    head = model.global_weight(s.vocabulary, s.dim, Format.Q4_0)
    first = model.block("embed")
    first.emit("embed", 1, s.dim, embedding(index(token()) * s.dim + c))
    b = model.block("layer")
    y = write_attention(model, b, s.llama, cos, sin, (True,) * 4)
    _experts(b, s, y)
    layer = (b, [Format.F32, *[fmt] * 4, Format.F32, Format.F32, *[fmt] * 3])
    last = output_block(model, gain, head, s.dim, EPS, True)
    return _finished("mixture", model, [(first, []), *[layer] * s.layers, (last, [])], seed, _tables(s))


def _experts(b: BlockBuilder, s: Size, y: Slot) -> Slot:
    n, hidden, experts, active = s.dim, s.hidden, s.experts, s.active
    sizes = [(1, n), (experts, n), (experts * hidden, n), (experts * hidden, n), (experts * n, hidden)]
    gain, w_router, w_gate, w_up, w_down = (b.weight(*size) for size in sizes)
    ys = normed(b, "ffn_norm", y, gain, n, EPS, floats=True, quantised=True)
    score = product(b, "router", 1, experts, n, ys, (w_router, c * n + k), quantised=False)
    tie = and_(eq(score(c), score(k)), lt(i2f(axis(k)), i2f(axis(c))))  # the lower number goes first
    beats = i2f(or_(lt(score(c), score(k)), tie))
    rank = b.emit(
        "rank", 1, experts, f2i(ACC0), fold=Fold.DOT, k=experts, body=(beats, const(1.0)), out=Out.I32
    )
    chosen = i2f(eq(i2f(rank(k)), i2f(axis(c))))
    top = b.emit("top", 1, active, fold=Fold.ARGMAX, k=experts, body=(chosen,), out=Out.I32)
    weight = b.emit("top.exp", 1, active, exp(sub(score(index(top(c))), score(index(top())))))
    total = b.emit("top.sum", 1, 1, fold=Fold.DOT, k=active, body=(weight(k), const(1.0)))
    at = index(top(r)) * (hidden * n) + c * n + k
    both = mul(silu(ACC0), ACC1)
    gated = product(
        b,
        "ffn_gated",
        active,
        hidden,
        n,
        ys,
        (w_gate, at),
        both,
        second=(w_up, at),
        quantised=True,
        out=Out.F16,
    )
    fs = prepare(b, "ffn_gated", gated, hidden, True, rows=active)
    at = index(top(r)) * (n * hidden) + c * hidden + k
    z = product(b, "ffn_down", active, n, hidden, fs, (w_down, at), quantised=True, by_row=True)
    body = (div(weight(k), total()), z(k * n + c))
    return b.emit("experts", 1, n, plus(y), fold=Fold.DOT, k=active, body=body)


def gpt2(fmt: Format = Format.Q5_1, size: Size | None = None, seed: int = 1) -> Model:
    """Learned positions, norms with mean and bias, one matrix for q, k and v, biases, GELU, output tied.

    With a format that isn't quantised, all products are plain dots.
    """
    s = size or Size()
    quantised = fmt.info.unit > 1
    model = ProgramBuilder(s.limit)
    embedding = model.global_weight(s.vocabulary, s.dim, fmt)
    places = model.global_weight(s.limit, s.dim, Format.F16)
    gain, bias = (model.global_weight(1, s.dim, Format.F32) for _ in range(2))
    first = model.block("embed")
    first.emit("embed", 1, s.dim, add(embedding(index(token()) * s.dim + c), places(t * s.dim + c)))
    b = model.block("layer")
    _gpt2_layer(model, b, s, quantised)
    f32 = Format.F32
    layer = (b, [f32, f32, fmt, f32, fmt, f32, f32, f32, fmt, f32, fmt, f32])
    last = model.block("output")
    x = _layer_norm(last, "output_norm", last.previous, gain, bias, s.dim, quantised, yields=True)
    logits_and_sample(last, x, embedding, s.dim, quantised)
    return _finished("gpt2", model, [(first, []), *[layer] * s.layers, (last, [])], seed, [])


def _gpt2_layer(model: ProgramBuilder, b: BlockBuilder, s: Size, quantised: bool) -> None:
    n, hd, wide, hidden = s.dim, s.head, s.heads * s.head, s.hidden
    sizes = [(1, n), (1, n), (3 * wide, n), (1, 3 * wide), (n, wide), (1, n)]
    gain1, bias1, w_qkv, b_qkv, w_out, b_out = (b.weight(*size) for size in sizes)
    sizes = [(1, n), (1, n), (hidden, n), (1, hidden), (n, hidden), (1, n)]
    gain2, bias2, w_up, b_up, w_down, b_down = (b.weight(*size) for size in sizes)
    x = b.previous
    xs = _layer_norm(b, "attn_norm", x, gain1, bias1, n, quantised)

    def part(name: str, number: int, out: Out) -> Slot:
        at = r * (hd * n) + c * n + k + number * wide * n
        biased = add(ACC0, b_qkv(r * hd + c + number * wide))
        return product(b, name, s.heads, hd, n, xs, (w_qkv, at), biased, quantised=quantised, out=out)

    q, key, value = part("q", 0, Out.F32), part("k", 1, Out.F16), part("v", 2, Out.F16)
    attn = attention(b, q, key, value, s.heads, s.heads, hd, model.so_far)
    mixed = prepare(b, "attn", attn, wide, quantised)
    at = (w_out, c * wide + k)
    y = product(b, "attn_output", 1, n, wide, mixed, at, add(add(ACC0, b_out(c)), x(c)), quantised=quantised)
    ys = _layer_norm(b, "ffn_norm", y, gain2, bias2, n, quantised)
    activated = gelu_tanh(add(ACC0, b_up(c)))
    up = product(
        b, "ffn_up", 1, hidden, n, ys, (w_up, c * n + k), activated, quantised=quantised, out=Out.F16
    )
    fs = prepare(b, "ffn_up", up, hidden, quantised)
    down = add(add(ACC0, b_down(c)), y(c))
    product(b, "ffn_down", 1, n, hidden, fs, (w_down, c * hidden + k), down, quantised=quantised)


def _layer_norm(
    b: BlockBuilder,
    name: str,
    x: Slot,
    gain: WeightRef,
    bias: WeightRef,
    n: int,
    quantised: bool,
    yields: bool = False,
) -> Activations:
    """(x - mean) / deviation * gain + bias."""
    ones = (x(k), const(1.0))
    mean = b.emit(f"{name}.mean", 1, 1, mul(ACC0, 1.0 / n), fold=Fold.DOT, k=n, body=ones, yields=yields)
    off = sub(x(k), mean())
    scale = rsqrt(fma(ACC0, 1.0 / n, EPS))
    inverse = b.emit(f"{name}.inv", 1, 1, scale, fold=Fold.DOT, k=n, body=(off, off), yields=yields)
    value: Expr = fma(mul(sub(x(c), mean()), inverse()), gain(c), bias(c))
    norm = b.emit(name, 1, n, value, yields=yields)
    return prepare(b, name, norm, n, quantised, yields=yields)


def four_letters(seed: int = 1) -> Model:
    """The smallest model: four tokens, four positions, one block, one head of attention whose keys are its
    values, 7 committed tensors of at most four elements. Small enough to try every bit."""
    n = vocabulary = limit = 4
    model = ProgramBuilder(limit)
    embedding = model.global_weight(vocabulary, n, Format.F32)
    b = model.block("all")
    weight = b.weight(n, n)
    x = b.emit("embed", 1, n, embedding(index(token()) * n + c))
    key = product(b, "k", 1, n, n, Activations(x), (weight, c * n + k), quantised=False, out=Out.F16)
    attn = attention(b, x, key, key, 1, 1, n, model.so_far)
    logits_and_sample(b, Activations(attn), embedding, n, False)
    return _finished("four letters", model, [(b, [Format.F32])], seed, [], b"abc.")


def _globals(model: ProgramBuilder, s: Size, fmt: Format) -> tuple[WeightRef, ...]:
    """Embedding, gain of the output norm, rotary tables."""
    shapes = [(s.vocabulary, s.dim, fmt), (1, s.dim, Format.F32), *[(s.limit, s.head, Format.F32)] * 2]
    return tuple(model.global_weight(*shape) for shape in shapes)


def _tables(s: Size, halves: bool = False) -> list[Weight]:
    tables = rotary_tables(s.limit, s.head, s.head, Fraction(10000), halves=halves)
    return [Weight(s.limit, s.head, Format.F32, table.astype("<f4").tobytes()) for table in tables]


def _finished(
    name: str,
    model: ProgramBuilder,
    schedule: Schedule,
    seed: int,
    tables: list[Weight],
    letters: bytes = b"",
) -> Model:
    """The model with random weights; `tables`, if any, are the global weights 2 and 3."""
    program = model.program(schedule)
    weights = []
    for number, info in enumerate(Layout(program).weights):
        if tables and number in (2, 3):
            weights.append(tables[number - 2])
            continue
        gain = info.rows == 1
        amplitude = 0.25 if gain else (6.0 / info.cols) ** 0.5
        stream = f"{name} {number}"
        weights.append(
            random_weight(seed, stream, info.rows, info.cols, info.format, amplitude, 1.0 if gain else 0.0)
        )
    size = program.globals[0].rows
    pieces = [bytes((letters[n],)) if letters else f"<{n}>".encode() for n in range(size)]
    return Model(name, program, Weights(weights), pieces, [size - 1])


SHAPES: Final[dict[str, Callable[[], Model]]] = {
    "gemma3": gemma3,
    "mixture": mixture,
    "gpt2": gpt2,
    "gpt2 f16": lambda: gpt2(Format.F16),
    "four letters": four_letters,
}

__all__ = ["SHAPES", "Size", "four_letters", "gemma3", "gpt2", "mixture"]
