"""What single fields of are changed: models of every family, and programs of few slots around one form that
the native interpreter has a kernel for; weights for any of them.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from opml.models import shapes
from opml.models.parts import attention
from opml.models.random_weights import random_weight
from opml.ops.expr import abs_, fma, i2f, imul, lt, mul, sel, shr, sub, xor
from opml.vm.builder import (
    ACC0,
    ACC1,
    BlockBuilder,
    ProgramBuilder,
    Slot,
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
from tests.vm import programs
from tests.vm.random_programs import HALVES, SPECIAL

SMALL = shapes.Size(32, 64, 2, 1, 16, 1, 24, 20)
SMALLER = programs.Size(vocabulary=24, heads=3, layers=1, limit=20)
QUANTISED = (Format.Q4_0, Format.Q4_1, Format.Q5_0, Format.Q5_1, Format.Q8_0)


def rows_of(b: BlockBuilder, table: Any, n: int, out: Out = Out.F32, rows: int = 1, **more: Any) -> Slot:
    """A slot whose elements differ from token to token."""
    return b.emit("x", rows, n, table(index(token()) * (rows * n) + r * n + c), out=out, **more)


def sampled(builder: ProgramBuilder, b: BlockBuilder, x: Slot, n: int, formats: list[Format]) -> Program:
    """The program with a sample that is the argmax of a slot with noise at the temperature."""
    z = b.emit("z", 1, n, x(c), yields=True, virtual=True)
    word = b.emit(
        "word",
        1,
        n,
        xor(imul(axis(c), 0x1E3779B9), imul(axis(t), param(2))),
        out=Out.I32,
        virtual=True,
        yields=True,
    )
    noise = b.emit("noise", 1, n, sub(i2f(shr(word(c), 8)), 8388608.0), virtual=True, yields=True)
    choice = sel(lt(z(k), param(1)), float("-inf"), fma(param(0), noise(k), z(k)))
    b.emit("sample", 1, 1, fold=Fold.ARGMAX, k=n, body=(choice,), out=Out.I32, yields=True, terms=16)
    return builder.program([(b, formats)])


def attending(rng: random.Random) -> Program:
    """Scores, soft-max and values over windows that cross multiples of 16 and of 256 positions."""
    limit = rng.choice((20, 40, 40, 100, 100, 290))
    builder = ProgramBuilder(limit)
    heads, groups, head = rng.choice(((1, 1, 16), (2, 1, 16), (3, 1, 32), (4, 2, 16), (5, 5, 16)))
    cols = (heads + 2 * groups) * head
    table = builder.global_weight(24, cols, Format.F32)
    b = builder.block("all")

    def part(first: int, n: int, out: Out) -> Slot:
        return b.emit("part", n, head, table(index(token()) * cols + r * head + c + first * head), out=out)

    formats = (Out.F16, Out.F32, Out.F16, Out.BF16)
    q, key = part(0, heads, Out.F32), part(heads, groups, rng.choice(formats))
    value = part(heads + groups, groups, rng.choice(formats))
    window = Ext(rng.choice((limit, limit - 1, 7, 16, 17, 33)) if limit > 33 else limit, varies=True)
    found = attention(b, q, key, value, heads, groups, head, window)
    return sampled(builder, b, found, heads * head, [])


def multiplying(rng: random.Random) -> Program:
    """Rows of quantised or plain weights: pairs, rows of an index, a product for each row."""
    builder, rows, n = ProgramBuilder(20), rng.choice((1, 2, 3)), rng.choice((32, 64, 288))
    quantised, cols = rng.random() < 0.6, rng.choice((16, 24, 32, 48, 160))
    table = builder.global_weight(24, rows * n, Format.F32)
    b = builder.block("all")
    wide = rng.choice((1, 3))
    w, v = b.weight(wide * rows * cols, n), b.weight(wide * rows * cols, n)
    x = rows_of(
        b, table, n, rows=rows, out=Out.F32 if quantised else rng.choice((Out.F32, Out.F16, Out.BF16))
    )
    options: dict[str, Any] = {"fold": Fold.DOT, "k": n}
    by_row = rng.random() < 0.5
    along = r * ROW + k if by_row else k
    factors: tuple[Any, ...] = (x(along),)
    if quantised:
        q8, scale = programs.quantise(b, x, n, rows=rows)
        options["fold"], factors = Fold.QDOT, (q8(along), scale(r * ROW + k // 32 if by_row else k // 32))
    at = c * n + k
    if rng.random() < 0.7:
        at = at + r * (cols * n)
    picked = index(token()) * (rows * cols * n) if wide > 1 and rng.random() < 0.7 else None
    two = rng.random() < 0.6
    first = w(at + picked if picked is not None else at)
    pair = at if rng.random() < 0.5 else (c ^ (16 if cols % 32 == 0 else 4)) * n + k
    second = (v if rng.random() < 0.5 else w)(pair)
    if quantised:
        body = (first, *factors, second) if two else (first, *factors)
    else:
        body = (first, *factors, second, *factors) if two else (first, *factors)
    finish = mul(ACC0, ACC1) if two else ACC0
    y = b.emit("y", rows, cols, finish, body=body, out=rng.choice((Out.F32, Out.F32, Out.F16)), **options)
    fmt = rng.choice(QUANTISED if quantised else (Format.F32, Format.F16, Format.BF16))
    return sampled(builder, b, y, rows * cols, [fmt, fmt])


def choosing(rng: random.Random) -> Program:
    """Maxima of runs, plain, of absolute values, and of a body that can be taken as flat."""
    builder, n, length = ProgramBuilder(20), rng.choice((1, 2, 5, 9)), rng.choice((16, 32, 33, 64))
    table = builder.global_weight(24, 2 * n * length, Format.F32)
    b = builder.block("all")
    x = rows_of(b, table, n * length, rows=2, out=rng.choice((Out.F32, Out.F16, Out.BF16)))
    at = r * ROW + c * length + k
    scale = b.emit("scale", 2, n, x(r * ROW + c * length))
    body: Any = rng.choice((abs_(x(at)), x(at), mul(x(at), scale(r * n + c)), abs_(mul(x(at), scale(c)))))
    y = b.emit("top", 2, n, fold=Fold.MAX, k=length, body=(body,), terms=rng.choice((0, 16)))
    return sampled(builder, b, y, 2 * n, [])


@lru_cache
def models() -> list[Program]:
    made = [
        shapes.gpt2(Format.F16, SMALL),
        shapes.gpt2(Format.Q4_1, SMALL),
        shapes.mixture(Format.Q8_0, SMALL),
    ]
    made += [shapes.gemma3(fmt, SMALL) for fmt in (Format.Q4_0, Format.Q5_1)] + [shapes.four_letters()]
    small = [make(s=SMALLER) for make in (programs.llama, programs.gemma3, programs.moe, programs.gpt2)]
    return [model.program for model in (*made, *small)]


def base(rng: random.Random) -> Program:
    kinds: tuple[Callable[[random.Random], Program], ...] = (attending, multiplying, choosing)
    return rng.choice(models()) if rng.random() < 0.3 else rng.choice(kinds)(rng)


def hostile(rng: random.Random, program: Program) -> Weights:
    """Weights of any program: tame, random bytes, or with NaNs, infinities and subnormals here and there."""
    tensors = []
    for number, w in enumerate(Layout(program).weights):
        unit, count, kind = w.format.info.unit_bytes, w.rows * w.cols // w.format.info.unit, rng.random()
        if w.format == Format.I32 or kind < 0.1:
            data = bytearray(rng.randbytes(count * unit))
        else:
            amplitude = rng.choice((0.0, 0.3, 1.0, 30.0))
            data = bytearray(
                random_weight(rng.getrandbits(30), str(number), w.rows, w.cols, w.format, amplitude).data
            )
        for _ in range(rng.choice((1, 4, count // 8)) if kind > 0.5 else 0):
            at = rng.randrange(count) * unit
            if w.format in (Format.F32, Format.I32):
                data[at : at + 4] = rng.choice(SPECIAL).to_bytes(4, "little")
            else:
                data[at : at + 2] = rng.choice(HALVES).to_bytes(2, "little")
        tensors.append(Weight(w.rows, w.cols, w.format, bytes(data)))
    return Weights(tensors)
