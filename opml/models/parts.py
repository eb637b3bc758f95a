"""Parts that transformer programs share: norms, quantised activations, matrix products, attention, sampling.

Each writes a few instructions into a block and returns their tensors. What is committed and what is virtual
follows one rule: commit to what is small, let readers evaluate again what is long or cheap. So scores,
exponentials, logits and noise are virtual; sums, int8 activations, their scales, K and V are committed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from opml.ops.expr import Expr, abs_, add, const, div, f2i, fma, lt, mul, sel, sub
from opml.ops.functions import INF, exp, gumbel, philox4x32_10, rsqrt
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
    k,
    param,
    r,
    t,
)
from opml.vm.isa import ROW, Ext, Fold, Out

UNIT: Final = 32
"""Elements that share a scale, in activations as in quantised weights."""
ONE_TERM: Final = 1
"""`Instr.terms`: a step carries one term, since the operands of different terms lie in different leaves."""
QDOT_STEP: Final = 1024
DOT_STEP: Final = 256
"""Terms that a step carries of a fold over elements that lie side by side, so in few leaves."""

TEMPERATURE, LOG_MIN_P, SEED, SEED_HIGH = range(4)
"""Parameter words of a request (`docs/spec.md`, Ids)."""


@dataclass(frozen=True, slots=True)
class Activations:
    """What products read: `values` in f32 or f16 for float weights, int8 `q` and scales `d` for quantised."""

    values: Slot | None
    q: Slot | None = None
    d: Slot | None = None


def terms_for(length: int, step: int) -> int:
    """`Instr.terms` of such a fold: 0, the whole of it, where that costs a step at most twice as much."""
    return 0 if length <= 2 * step else step


def rms(b: BlockBuilder, name: str, x: Slot, n: int, eps: float, rows: int = 1, yields: bool = False) -> Slot:
    """1 / sqrt(mean(x^2) + eps) of each row: `rows` x 1."""
    value = x(r * ROW + k) if rows > 1 else x(k)
    scale = rsqrt(fma(ACC0, 1.0 / n, eps))
    return b.emit(
        name,
        rows,
        1,
        scale,
        fold=Fold.DOT,
        k=n,
        body=(value, value),
        yields=yields,
        terms=terms_for(n, DOT_STEP),
    )


def normed(
    b: BlockBuilder,
    name: str,
    x: Slot,
    gain: WeightRef,
    n: int,
    eps: float,
    *,
    floats: bool,
    quantised: bool,
    yields: bool = False,
) -> Activations:
    """x / rms(x) * gain, 1 x n: committed for products with `floats`, int8 for products that are `quantised`.

    Where only the quantiser reads the norm, it computes it from x itself: two products an element.
    """
    scale = rms(b, f"{name}.rms", x, n, eps, yields=yields)

    def value(at: Address) -> Expr:
        return mul(mul(x(at), scale()), gain(at))

    if not floats:
        return quantise(b, name, value, n, yields=yields)
    norm = b.emit(name, 1, n, value(c), yields=yields)
    return prepare(b, name, norm, n, quantised, yields=yields)


def quantise(
    b: BlockBuilder,
    name: str,
    value: Callable[[Address], Expr],
    n: int,
    rows: int = 1,
    yields: bool = False,
    values: Slot | None = None,
) -> Activations:
    """int8 values and a scale for each `UNIT` of a row: d = amax / 127, q = nearest(x * (127 / amax)).

    `value` gives the element at an address; `values` is the tensor of them, if it is one.
    """

    def at(column: Address) -> Address:
        return r * ROW + column if rows > 1 else column

    units = n // UNIT
    top = b.emit(
        f"{name}.amax",
        rows,
        units,
        fold=Fold.MAX,
        k=UNIT,
        body=(abs_(value(at(c * UNIT + k))),),
        yields=yields,
    )
    d = b.emit(f"{name}.d", rows, units, div(top(at(c)), 127.0), yields=yields)
    q = f2i(mul(value(at(c)), div(127.0, top(at(c // UNIT)))))
    return Activations(values, b.emit(f"{name}.q", rows, n, q, out=Out.I8, yields=yields), d)


def prepare(
    b: BlockBuilder, name: str, x: Slot, n: int, quantised: bool, rows: int = 1, yields: bool = False
) -> Activations:
    """The activations that the products of the tensor `x` need."""
    return quantise(b, name, x, n, rows, yields, x) if quantised else Activations(x)


def product(
    b: BlockBuilder,
    name: str,
    rows: int,
    cols: int,
    n: int,
    x: Activations,
    weight: tuple[WeightRef, Address],
    finish: Expr = ACC0,
    *,
    second: tuple[WeightRef, Address] | None = None,
    quantised: bool,
    by_row: bool = False,
    out: Out = Out.F32,
    yields: bool = False,
    virtual: bool = False,
) -> Slot:
    """`rows` x `cols` dot products of length n: a weight at an address against `x`, `second` into ACC1.

    `by_row`: row r of the product reads row r of `x`, else all read its only row.
    """

    def at(column: Address) -> Address:
        return r * ROW + column if by_row else column

    pairs = [weight] if second is None else [weight, second]
    reads = [w(address) for w, address in pairs]
    if quantised:
        assert x.q is not None and x.d is not None
        body = [reads[0], x.q(at(k)), x.d(at(k // UNIT)), *reads[1:]]
        fold, terms = Fold.QDOT, terms_for(n, QDOT_STEP)
    else:
        assert x.values is not None
        body = [operand for read in reads for operand in (read, x.values(at(k)))]
        fold, terms = Fold.DOT, terms_for(n, DOT_STEP)
    return b.emit(
        name,
        rows,
        cols,
        finish,
        fold=fold,
        k=n,
        body=body,
        out=out,
        yields=yields,
        virtual=virtual,
        terms=0 if virtual else terms,
    )


def rotated(cos: WeightRef, sin: WeightRef, head: int) -> Expr:
    """A rotary pair as a finish: ACC0 is the element, ACC1 its partner; `sin` is signed; one fma."""
    return fma(ACC0, cos(t * head + c), mul(ACC1, sin(t * head + c)))


def attention(
    b: BlockBuilder, q: Slot, key: Slot, value: Slot, heads: int, groups: int, head: int, window: Ext
) -> Slot:
    """Soft-max attention of `heads` over a window of positions: heads x head, f16.

    `q` is heads x head; `key` and `value` are groups x head, a group shared by heads / groups heads.
    """
    shared = r // (heads // groups) * head
    score = b.emit(
        "score",
        heads,
        window,
        mul(ACC0, head**-0.5),
        fold=Fold.DOT,
        k=head,
        body=(q(r * ROW + k), key.window_c(shared + k)),
        virtual=True,
    )
    largest = b.emit(
        "score.max", heads, 1, fold=Fold.MAX, k=window, body=(score(r * ROW + k),), terms=ONE_TERM
    )
    weight = b.emit("score.exp", heads, window, exp(sub(score(r * ROW + c), largest(r))), virtual=True)
    total = b.emit(
        "score.sum",
        heads,
        1,
        fold=Fold.DOT,
        k=window,
        body=(weight(r * ROW + k), const(1.0)),
        terms=ONE_TERM,
    )
    return b.emit(
        "attn",
        heads,
        head,
        div(ACC0, total(r)),
        fold=Fold.DOT,
        k=window,
        body=(weight(r * ROW + k), value.window_k(shared + c)),
        out=Out.F16,
        terms=ONE_TERM,
    )


def sample(b: BlockBuilder, logits: Slot, vocabulary: int) -> Slot:
    """The next token: argmax of z + T gumbel over tokens with z >= log(min-p), where z = logit - largest.

    With T = 0 this is greedy. The noise is Philox's, keyed by (seed, t, token).
    """
    largest = b.emit(
        "logits.max", 1, 1, fold=Fold.MAX, k=vocabulary, body=(logits(k),), yields=True, terms=ONE_TERM
    )
    words = philox4x32_10(axis(c), axis(t), param(SEED), param(SEED_HIGH))
    random = b.emit("philox", 1, vocabulary, words, out=Out.I32, virtual=True, yields=True)
    noise = b.emit("gumbel", 1, vocabulary, gumbel(random(c)), virtual=True, yields=True)
    z = sub(logits(k), largest())
    choice = sel(lt(z, param(LOG_MIN_P)), -INF, fma(param(TEMPERATURE), noise(k), z))
    return b.emit(
        "sample",
        1,
        1,
        fold=Fold.ARGMAX,
        k=vocabulary,
        body=(choice,),
        out=Out.I32,
        yields=True,
        terms=ONE_TERM,
    )


def logits_and_sample(b: BlockBuilder, x: Activations, head: WeightRef, n: int, quantised: bool) -> None:
    """Logits of the normalised residual, and the sampled token. `head` is vocabulary x n.

    Logits are virtual, unless one of them is too much for a step that reads it.
    """
    at = (head, c * n + k)
    virtual = n <= (8 * QDOT_STEP if quantised else 4 * DOT_STEP)
    logits = product(b, "logits", 1, head.rows, n, x, at, quantised=quantised, yields=True, virtual=virtual)
    sample(b, logits, head.rows)


def output_block(
    model: ProgramBuilder, gain: WeightRef, head: WeightRef, n: int, eps: float, quantised: bool
) -> BlockBuilder:
    """The last block: norm, logits, sample."""
    b = model.block("output")
    floats = not quantised
    x = normed(b, "output_norm", b.previous, gain, n, eps, floats=floats, quantised=quantised, yields=True)
    logits_and_sample(b, x, head, n, quantised)
    return b


def plus(x: Slot) -> Expr:
    """A residual connection as a finish."""
    return add(ACC0, x(c))


__all__ = [
    "ONE_TERM",
    "UNIT",
    "Activations",
    "attention",
    "logits_and_sample",
    "normed",
    "output_block",
    "plus",
    "prepare",
    "product",
    "quantise",
    "rms",
    "rotated",
    "sample",
    "terms_for",
]
