"""Tiny random models in the shapes of LLaMA, Gemma 3, a mixture of experts and GPT-2, to test the machine."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from opml.ops.expr import (
    Expr,
    Value,
    abs_,
    add,
    and_,
    const,
    div,
    eq,
    f2i,
    fma,
    i2f,
    iadd,
    imul,
    imulhi,
    isub,
    lt,
    max_,
    min_,
    mul,
    neg,
    or_,
    sar,
    sel,
    shl,
    shr,
    sqrt,
    sub,
    xor,
)
from opml.vm.builder import (
    ACC0,
    ACC1,
    Address,
    BlockBuilder,
    ProgramBuilder,
    Slot,
    WeightRef,
    axis,
    c,
    index,
    k,
    param,
    r,
    t,
    token,
)
from opml.vm.isa import ROW, Ext, Fold, Format, Out, Program
from opml.vm.layout import Layout
from opml.vm.weights import Weight, Weights

EPS = 1e-5


@dataclass(frozen=True)
class Model:
    program: Program
    weights: Weights

    @property
    def layout(self) -> Layout:
        return Layout(self.program)


@dataclass(frozen=True)
class Size:
    dim: int = 32
    hidden: int = 64
    heads: int = 2
    kv: int = 1
    head: int = 32
    layers: int = 1
    vocabulary: int = 40
    limit: int = 16
    window: int = 3
    experts: int = 4
    active: int = 2


SMALL = Size()


# Random weights ----------------------------------------------------------------------------------------


def random_weight(rng: np.random.Generator, rows: int, cols: int, fmt: Format) -> Weight:
    """Values of about unit size in any format."""
    info = fmt.info
    if fmt == Format.F32:
        data = (rng.standard_normal(rows * cols) / 4).astype("<f4").tobytes()
    elif fmt == Format.F16:
        data = (rng.standard_normal(rows * cols) / 4).astype("<f2").tobytes()
    elif fmt == Format.BF16:
        data = (rng.standard_normal(rows * cols).astype("<f4").view("<u4") >> 16).astype("<u2").tobytes()
    elif fmt == Format.I32:
        data = rng.integers(0, 1 << 32, rows * cols, np.uint32).astype("<u4").tobytes()
    else:
        units = rng.integers(0, 256, (rows * cols // info.unit, info.unit_bytes), np.uint8)
        scales = 2 if info.minimum else 1
        d = (rng.standard_normal((len(units), scales)) / (256 if info.bits == 8 else 32)).astype("<f2")
        units[:, : 2 * scales] = d.view(np.uint8)
        data = units.tobytes()
    return Weight(rows, cols, fmt, data)


def random_weights(program: Program, seed: int = 1) -> Weights:
    rng = np.random.default_rng(seed)
    return Weights([random_weight(rng, w.rows, w.cols, w.format) for w in Layout(program).weights])


# Scalar functions, accurate enough for a test ----------------------------------------------------------


def exp(x: Value) -> Expr:
    x = min_(max_(x, -80.0), 80.0)
    n = f2i(mul(x, math.log2(math.e)))
    y = fma(i2f(n), -math.log(2), x)
    p = const(1 / 720)
    for coefficient in (1 / 120, 1 / 24, 1 / 6, 0.5, 1.0, 1.0):
        p = fma(p, y, coefficient)
    return mul(p, shl(iadd(n, 127), 23))


def log(x: Value) -> Expr:
    e = sar(isub(x, 0x3F3504F3), 23)
    f = sub(isub(x, shl(e, 23)), 1.0)
    p = const(0.1)
    for coefficient in (-0.16, 0.2, -0.25, 1 / 3, -0.5, 1.0):
        p = fma(p, f, coefficient)
    return fma(i2f(e), math.log(2), mul(p, f))


def silu(x: Expr) -> Expr:
    return div(x, add(1.0, exp(neg(x))))


def noise() -> Expr:
    """A cheap hash of column, position and seed, as Gumbel noise."""
    x = xor(imul(axis(c), 0x9E3779B9 - (1 << 32)), iadd(imul(axis(t), 0x85EBCA6B - (1 << 32)), param(2)))
    x = xor(imulhi(x, 0xC2B2AE35 - (1 << 32)), imul(x, 0xC2B2AE35 - (1 << 32)))
    return neg(log(neg(log(mul(i2f(or_(shr(x, 8), 1)), 2.0**-24)))))


# Parts of a model --------------------------------------------------------------------------------------


def rms(b: BlockBuilder, x: Slot, n: int, rows: int = 1, name: str = "rms", yields: bool = False) -> Slot:
    v = x(r * ROW + k)
    scale = div(1.0, sqrt(fma(ACC0, 1.0 / n, EPS)))
    return b.emit(name, rows, 1, scale, fold=Fold.DOT, k=n, body=(v, v), yields=yields)


def quantise(
    b: BlockBuilder, x: Slot, n: int, rows: int = 1, virtual: bool = False, yields: bool = False
) -> tuple[Slot, Slot]:
    top = b.emit(
        "amax", rows, n // 32, fold=Fold.MAX, k=32, body=(abs_(x(r * ROW + c * 32 + k)),), yields=yields
    )
    scale = b.emit("scale", rows, n // 32, div(top(r * ROW + c), 127.0), virtual=virtual, yields=yields)
    value = f2i(mul(x(r * ROW + c), div(127.0, top(r * ROW + c // 32))))
    return b.emit("i8", rows, n, value, out=Out.I8, virtual=virtual, yields=yields), scale


def qdot(
    b: BlockBuilder,
    name: str,
    rows: int,
    cols: int,
    n: int,
    operands: tuple[Slot, Slot],
    weight: WeightRef,
    at: Address,
    finish: Expr = ACC0,
    second: Address | None = None,
    other: WeightRef | None = None,
    by_row: bool = False,
    **options: object,
) -> Slot:
    q, d = operands
    x = (q(r * ROW + k), d(r * ROW + k // 32)) if by_row else (q(k), d(k // 32))
    body = [weight(at), *x] + ([(other or weight)(second)] if second is not None else [])
    return b.emit(name, rows, cols, finish, fold=Fold.QDOT, k=n, body=body, **options)  # type: ignore[arg-type]


def attention(b: BlockBuilder, s: Size, q: Slot, key: Slot, value: Slot, window: int) -> Slot:
    n, group, hd = Ext(window, varies=True), s.heads // s.kv, s.head
    score = b.emit(
        "score",
        s.heads,
        n,
        mul(ACC0, hd**-0.5),
        fold=Fold.DOT,
        k=hd,
        body=(q(r * ROW + k), key.window_c(r // group * hd + k)),
        virtual=True,
    )
    top = b.emit("smax", s.heads, 1, fold=Fold.MAX, k=n, body=(score(r * ROW + k),), terms=2)
    e = b.emit("exp", s.heads, n, exp(sub(score(r * ROW + c), top(r))), virtual=True)
    total = b.emit("ssum", s.heads, 1, fold=Fold.DOT, k=n, body=(e(r * ROW + k), const(1.0)), terms=1)
    body = (e(r * ROW + k), value.window_k(r // group * hd + c))
    return b.emit(
        "attn", s.heads, hd, div(ACC0, total(r)), fold=Fold.DOT, k=n, body=body, out=Out.F16, terms=2
    )


def sampler(b: BlockBuilder, s: Size, norm: Slot, head: WeightRef) -> None:
    operands = quantise(b, norm, s.dim, yields=True)
    logits = qdot(
        b, "logits", 1, s.vocabulary, s.dim, operands, head, c * s.dim + k, virtual=True, yields=True
    )
    top = b.emit("lmax", 1, 1, fold=Fold.MAX, k=s.vocabulary, body=(logits(k),), yields=True, terms=16)
    gumbel = b.emit("gumbel", 1, s.vocabulary, noise(), virtual=True, yields=True)
    z = sub(logits(k), top())
    choice = sel(lt(z, param(1)), float("-inf"), fma(param(0), gumbel(k), z))
    b.emit(
        "sample",
        1,
        1,
        fold=Fold.ARGMAX,
        k=s.vocabulary,
        body=(choice,),
        out=Out.I32,
        yields=True,
        terms=16,
    )


def final(model: ProgramBuilder, s: Size, gain: WeightRef, head: WeightRef) -> BlockBuilder:
    z = model.block("output")
    scale = rms(z, z.previous, s.dim, yields=True)
    x = z.previous
    norm = z.emit("norm", 1, s.dim, mul(mul(x(c), scale()), gain(c)), virtual=True, yields=True)
    sampler(z, s, norm, head)
    return z


def normed(b: BlockBuilder, x: Slot, gain: WeightRef, n: int) -> Slot:
    scale = rms(b, x, n)
    return b.emit("norm", 1, n, mul(mul(x(c), scale()), gain(c)), virtual=True)


# Models ------------------------------------------------------------------------------------------------


def llama(fmt: Format = Format.Q4_1, s: Size = SMALL, embedding: Format = Format.Q8_0) -> Model:
    """Rotary pairs and gate with up by two accumulators; scores and logits virtual."""
    model = ProgramBuilder(s.limit)
    emb = model.global_weight(s.vocabulary, s.dim, embedding)
    gain, cos, sin = (model.global_weight(*shape, Format.F32) for shape in _shared(s))
    first = model.block("embed")
    first.emit("embed", 1, s.dim, emb(index(token()) * s.dim + c))
    b = model.block("layer")
    names = [(1, s.dim), (s.heads * s.head, s.dim), (s.kv * s.head, s.dim), (s.kv * s.head, s.dim)]
    g1, wq, wk, wv = (b.weight(*shape) for shape in names)
    wo, g2 = b.weight(s.dim, s.heads * s.head), b.weight(1, s.dim)
    gate, up, down = b.weight(s.hidden, s.dim), b.weight(s.hidden, s.dim), b.weight(s.dim, s.hidden)
    x, n, hd = b.previous, s.dim, s.head
    q8 = quantise(b, normed(b, x, g1, n), n)
    turn = fma(ACC0, cos(t * hd + c), mul(ACC1, sin(t * hd + c)))
    row = lambda column: r * (hd * n) + column * n + k  # noqa: E731
    q = qdot(b, "q", s.heads, hd, n, q8, wq, row(c), turn, row(c ^ 1))
    key = qdot(b, "k", s.kv, hd, n, q8, wk, row(c), turn, row(c ^ 1), out=Out.F16)
    value = qdot(b, "v", s.kv, hd, n, q8, wv, row(c), out=Out.F16)
    a = quantise(b, attention(b, s, q, key, value, s.limit), hd, rows=s.heads)
    y = qdot(b, "res1", 1, n, s.heads * hd, a, wo, c * (s.heads * hd) + k, add(ACC0, x(c)))
    q2 = quantise(b, normed(b, y, g2, n), n, virtual=True)
    at = c * n + k
    f = qdot(b, "glu", 1, s.hidden, n, q2, gate, at, mul(silu(ACC0), ACC1), at, up, out=Out.F16)
    qdot(
        b, "res2", 1, n, s.hidden, quantise(b, f, s.hidden), down, c * s.hidden + k, add(ACC0, y(c)), terms=32
    )
    z = final(model, s, gain, emb)
    formats = [Format.F32, fmt, fmt, fmt, fmt, Format.F32, fmt, fmt, fmt]
    return _model(model, [(first, []), *[(b, formats)] * s.layers, (z, [])])


def gemma3(fmt: Format = Format.Q5_0, s: Size = SMALL) -> Model:
    """Norms on heads, halves rotated, a sliding window and a whole one by two blocks, norms after a part."""
    model = ProgramBuilder(s.limit)
    emb = model.global_weight(s.vocabulary, s.dim, Format.Q8_0)
    gain, cos, sin = (model.global_weight(*shape, Format.F32) for shape in _shared(s))
    first = model.block("embed")
    first.emit("embed", 1, s.dim, mul(emb(index(token()) * s.dim + c), math.sqrt(s.dim)))
    blocks: list[tuple[BlockBuilder, Sequence[Format]]] = [(first, [])]
    for window in (s.window, s.limit):
        b = model.block("layer")
        n, hd, x = s.dim, s.head, b.previous
        g1, wq, wk, wv = (
            b.weight(*shape) for shape in [(1, n), (s.heads * hd, n), (s.kv * hd, n), (s.kv * hd, n)]
        )
        gq, wo, g2, up, down = (
            b.weight(*shape) for shape in [(1, hd), (n, s.heads * hd), (1, n), (s.hidden, n), (n, s.hidden)]
        )
        q8 = quantise(b, normed(b, x, g1, n), n, virtual=True)

        def head(
            name: str,
            w: WeightRef,
            rows: int,
            out: Out,
            b: BlockBuilder = b,
            q8: tuple[Slot, Slot] = q8,
            gq: WeightRef = gq,
            n: int = n,
            hd: int = hd,
        ) -> Slot:
            raw = qdot(b, name + ".raw", rows, hd, n, q8, w, r * (hd * n) + c * n + k)
            scale = rms(b, raw, hd, rows)
            value = lambda at: mul(mul(raw(r * ROW + at), scale(r)), gq(at))  # noqa: E731
            turned = fma(value(c), cos(t * hd + c), mul(value(c ^ (hd // 2)), sin(t * hd + c)))
            return b.emit(name, rows, hd, turned, out=out)

        q, key = head("q", wq, s.heads, Out.F32), head("k", wk, s.kv, Out.BF16)
        value = qdot(b, "v", s.kv, hd, n, q8, wv, r * (hd * n) + c * n + k, out=Out.BF16)
        a = quantise(b, attention(b, s, q, key, value, window), hd, rows=s.heads)
        y = qdot(b, "wo", 1, n, s.heads * hd, a, wo, c * (s.heads * hd) + k)
        post = rms(b, y, n)
        y = b.emit("res1", 1, n, fma(mul(y(c), post()), g2(c), x(c)))
        f = qdot(b, "up", 1, s.hidden, n, quantise(b, y, n), up, c * n + k, silu(ACC0))
        qdot(b, "res2", 1, n, s.hidden, quantise(b, f, s.hidden), down, c * s.hidden + k, add(ACC0, y(c)))
        blocks.append((b, [Format.F32, fmt, fmt, fmt, Format.F32, fmt, Format.F32, fmt, fmt]))
    blocks.append((final(model, s, gain, emb), []))
    return _model(model, blocks)


def moe(fmt: Format = Format.Q4_0, s: Size = SMALL) -> Model:
    """A router in f32, experts by the value of an i32 slot; no attention."""
    model = ProgramBuilder(s.limit)
    emb = model.global_weight(s.vocabulary, s.dim, Format.F16)
    gain = model.global_weight(1, s.dim, Format.BF16)
    head = model.global_weight(s.vocabulary, s.dim, Format.Q4_0)
    first = model.block("embed")
    first.emit("embed", 1, s.dim, emb(index(token()) * s.dim + c))
    b = model.block("experts")
    n, ff, x = s.dim, s.hidden, b.previous
    router = b.weight(s.experts, n)
    gate, up = b.weight(s.experts * ff, n), b.weight(s.experts * ff, n)
    down = b.weight(s.experts * n, ff)
    score = b.emit("router", 1, s.experts, fold=Fold.DOT, k=n, body=(x(k), router(c * n + k)))
    tie = and_(eq(score(c), score(k)), lt(i2f(axis(k)), i2f(axis(c))))
    beats = i2f(or_(lt(score(c), score(k)), tie))
    rank = b.emit(
        "rank", 1, s.experts, f2i(ACC0), fold=Fold.DOT, k=s.experts, body=(beats, const(1.0)), out=Out.I32
    )
    found = i2f(eq(i2f(rank(k)), i2f(axis(c))))
    top = b.emit("top", 1, s.active, fold=Fold.ARGMAX, k=s.experts, body=(found,), out=Out.I32)
    e = b.emit("weight", 1, s.active, exp(sub(score(index(top(c))), score(index(top())))))
    total = b.emit("sum", 1, 1, fold=Fold.DOT, k=s.active, body=(e(k), const(1.0)))
    q8 = quantise(b, x, n)
    at = index(top(r)) * (ff * n) + c * n + k
    f = qdot(b, "glu", s.active, ff, n, q8, gate, at, mul(silu(ACC0), ACC1), at, up)
    fq = quantise(b, f, ff, rows=s.active)
    at = index(top(r)) * (n * ff) + c * ff + k
    y = qdot(b, "expert", s.active, n, ff, fq, down, at, by_row=True)
    b.emit("res", 1, n, add(ACC0, x(c)), fold=Fold.DOT, k=s.active, body=(div(e(k), total()), y(k * n + c)))
    z = final(model, s, gain, head)
    return _model(model, [(first, []), *[(b, [Format.F32, fmt, fmt, fmt])] * s.layers, (z, [])])


def gpt2(fmt: Format = Format.F16, s: Size = SMALL) -> Model:
    """Learned positions, mean and variance, biases; plain dots over weights that aren't quantised."""
    model = ProgramBuilder(s.limit)
    emb = model.global_weight(s.vocabulary, s.dim, Format.F32)
    places = model.global_weight(s.limit, s.dim, Format.F16)
    gain = model.global_weight(1, s.dim, Format.F32)
    head = model.global_weight(s.vocabulary, s.dim, Format.Q5_1)
    first = model.block("embed")
    first.emit("embed", 1, s.dim, add(emb(index(token()) * s.dim + c), places(t * s.dim + c)))
    b = model.block("layer")
    n, hd, x = s.dim, s.head, b.previous
    wide = s.heads * hd
    gain1, bias1, wqkv, bqkv, wo = (
        b.weight(*shape) for shape in [(1, n), (1, n), (3 * wide, n), (1, 3 * wide), (n, wide)]
    )
    mean = b.emit("mean", 1, 1, mul(ACC0, 1.0 / n), fold=Fold.DOT, k=n, body=(x(k), const(1.0)))
    d = sub(x(k), mean())
    inv = b.emit("inv", 1, 1, div(1.0, sqrt(fma(ACC0, 1.0 / n, EPS))), fold=Fold.DOT, k=n, body=(d, d))
    norm = b.emit("ln", 1, n, fma(mul(sub(x(c), mean()), inv()), gain1(c), bias1(c)), virtual=True)

    def part(name: str, j: int, out: Out) -> Slot:
        return b.emit(
            name,
            s.heads,
            hd,
            add(ACC0, bqkv(r * hd + c + j * wide)),
            fold=Fold.DOT,
            k=n,
            body=(norm(k), wqkv(r * (hd * n) + c * n + k + j * wide * n)),
            out=out,
            terms=8,
        )

    q, key, value = part("q", 0, Out.F32), part("k", 1, Out.F16), part("v", 2, Out.F16)
    attn = attention(b, Size(**{**s.__dict__, "kv": s.heads}), q, key, value, s.limit)
    b.emit("res", 1, n, add(ACC0, x(c)), fold=Fold.DOT, k=wide, body=(attn(k), wo(c * wide + k)))
    z = final(model, s, gain, head)
    return _model(
        model, [(first, []), *[(b, [Format.F32, Format.BF16, fmt, Format.F32, fmt])] * s.layers, (z, [])]
    )


def _shared(s: Size) -> list[tuple[int, int]]:
    """The final gain and the rotary tables."""
    return [(1, s.dim), (s.limit, s.head), (s.limit, s.head)]


def _model(model: ProgramBuilder, schedule: Sequence[tuple[BlockBuilder, Sequence[Format]]]) -> Model:
    program = model.program(schedule)
    return Model(program, random_weights(program))


MODELS: dict[str, Callable[[], Model]] = {"llama": llama, "gemma3": gemma3, "moe": moe, "gpt2": gpt2}
PARAMS = (0x3F000000, 0xFF800000, 12345, 0)
"""Temperature 0.5, min-p off, a seed."""
