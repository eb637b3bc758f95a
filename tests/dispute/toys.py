"""Tiny models to dispute: one with every form of instruction, beside those of `opml.models`."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from opml.models import shapes
from opml.models.model import Model, load_model
from opml.models.random_weights import random_weight
from opml.models.tiny import TinyLlama, write_llama
from opml.ops.expr import add, const, f2i, fma, mul, sub
from opml.ops.functions import exp
from opml.vm.builder import ACC0, ACC1, ProgramBuilder, c, index, k, r, t, token
from opml.vm.isa import ROW, Fold, Format, Out
from opml.vm.layout import Layout
from opml.vm.weights import Weights


@cache
def every_form(dim: int = 64, limit: int = 8, layers: int = 1) -> Model:
    """Attention with virtual scores, int8 activations and quantised products, two accumulators, every
    storage format, one and two rounds of totals in sums and maxima, nested virtual slots."""
    model = ProgramBuilder(limit)
    vocabulary, head = 300, dim // 2
    embedding = model.global_weight(vocabulary, dim, Format.Q8_0)
    cos = model.global_weight(limit, head, Format.F32)
    first = model.block("embed")
    first.emit("embed", 1, dim, embedding(index(token()) * dim + c))
    layer = model.block("layer")
    x = layer.previous
    gain, w_q, w_k, w_v, w_up = (
        layer.weight(*size) for size in ((1, dim), (dim, dim), (head, dim), (head, dim), (300, dim))
    )
    rms = layer.emit("norm", 1, 1, fma(ACC0, 1.0 / dim, 1e-5), fold=Fold.DOT, k=dim, body=(x(k), x(k)))
    normed = layer.emit("normed", 1, dim, mul(mul(x(c), rms()), gain(c)), virtual=True)
    amax = layer.emit("q8.amax", 1, dim // 32, fold=Fold.MAX, k=32, body=(normed(c * 32 + k),))
    d = layer.emit("q8.d", 1, dim // 32, mul(amax(c), 1.0 / 127.0))
    q8 = layer.emit("q8.q", 1, dim, f2i(mul(normed(c), 20.0)), out=Out.I8)
    here, pair = r * (head * dim) + c * dim + k, r * (head * dim) + (c ^ 1) * dim + k
    q = layer.emit(
        "q",
        2,
        head,
        fma(ACC0, cos(t * head + c), ACC1),
        fold=Fold.QDOT,
        k=dim,
        body=(w_q(here), q8(k), d(k // 32), w_q(pair)),
        terms=32,
    )
    key = layer.emit(
        "k", 1, head, fold=Fold.QDOT, k=dim, body=(w_k(c * dim + k), q8(k), d(k // 32)), out=Out.F16
    )
    value = layer.emit(
        "v", 1, head, fold=Fold.DOT, k=dim, body=(w_v(c * dim + k), normed(k)), out=Out.BF16, terms=16
    )
    score = layer.emit(
        "score",
        2,
        model.so_far,
        mul(ACC0, 0.125),
        fold=Fold.DOT,
        k=head,
        body=(q(r * ROW + k), key.window_c(k)),
        virtual=True,
    )
    largest = layer.emit(
        "score.max", 2, 1, fold=Fold.MAX, k=model.so_far, body=(score(r * ROW + k),), terms=1
    )
    weight = layer.emit("score.exp", 2, model.so_far, exp(sub(score(r * ROW + c), largest(r))), virtual=True)
    attn = layer.emit(
        "attn",
        2,
        head,
        fold=Fold.DOT,
        k=model.so_far,
        body=(weight(r * ROW + k), value.window_k(c)),
        out=Out.F16,
        terms=1,
    )
    up = layer.emit("ffn_up", 1, 300, fold=Fold.DOT, k=dim, body=(attn(k), w_up(c * dim + k)), terms=16)
    layer.emit("wide", 1, 1_100, mul(x(c // 32), 0.5))  # too large to be opened at once
    layer.emit(
        "ffn_down",
        1,
        dim,
        add(ACC0, x(c)),
        fold=Fold.DOT,
        k=300,
        body=(up(k), const(0.01)),
        terms=32,
    )
    last = model.block("output")
    y = last.previous
    logits = last.emit(
        "logits",
        1,
        vocabulary,
        fold=Fold.DOT,
        k=dim,
        body=(y(k), embedding(c * dim + k)),
        virtual=True,
        yields=True,
    )
    largest = last.emit(
        "logits.max", 1, 1, fold=Fold.MAX, k=vocabulary, body=(logits(k),), yields=True, terms=4
    )
    last.emit(
        "sample",
        1,
        1,
        fold=Fold.ARGMAX,
        k=vocabulary,
        body=(sub(logits(k), largest()),),
        out=Out.I32,
        yields=True,
        terms=4,
    )
    formats = [Format.F32, Format.Q4_1, Format.Q8_0, Format.F16, Format.F32]
    program = model.program([(first, []), *[(layer, formats)] * layers, (last, [])])
    weights = Weights(
        random_weight(1, f"every form {n}", info.rows, info.cols, info.format, 0.5)
        for n, info in enumerate(Layout(program).weights)
    )
    pieces = [b"", *(b"<%d>" % token for token in range(1, vocabulary))]
    return Model("every form", program, weights, pieces, (vocabulary - 1,))


def llama(tiny: TinyLlama | None = None, limit: int = 16) -> Model:
    """A tiny LLaMA file, compiled."""
    with TemporaryDirectory() as folder:
        model = load_model(write_llama(Path(folder) / "tiny.gguf", tiny), limit=limit)
        assert model.id  # its roots are kept with the file
        return model


@cache
def model(name: str) -> Model:
    """A tiny model by name."""
    makers = {
        "four_letters": shapes.four_letters,
        "every_form": every_form,
        "llama": llama,
        "gemma3": shapes.gemma3,
        "mixture": shapes.mixture,
        "gpt2": shapes.gpt2,
    }
    return makers[name]()


NAMES = ("four_letters", "every_form", "llama", "gemma3", "mixture", "gpt2")
