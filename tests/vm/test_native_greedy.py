"""Sampling at temperature 0 by the native interpreter, which leaves the noise out where it can't matter."""

from __future__ import annotations

import numpy as np
import pytest

from opml.ops.expr import Expr, add, fma, i2f, imul, lt, neg, sel, shr, sub, xor
from opml.vm import reference
from opml.vm.builder import BlockBuilder, ProgramBuilder, Slot, WeightRef, axis, c, k, param, t
from opml.vm.encoding import encode
from opml.vm.isa import Fold, Format, Out
from opml.vm.weights import Weight, Weights
from tests.native import native_module

native = native_module()
LEVELS = native.levels()
MINUS_ZERO = 0x80000000
N = 40
POSITIONS = 32


def start(scores: list[int]) -> tuple[ProgramBuilder, BlockBuilder, Slot, Weights]:
    builder = ProgramBuilder(POSITIONS)
    table: WeightRef = builder.global_weight(1, N, Format.F32)
    b = builder.block("all")
    x = b.emit("x", 1, N, table(c), yields=True)
    return builder, b, x, Weights([Weight(1, N, Format.F32, np.array(scores, "<u4").tobytes())])


def finish(b: BlockBuilder, x: Slot, noise: Slot) -> None:
    choice = sel(lt(x(k), param(1)), float("-inf"), fma(param(0), noise(k), x(k)))
    b.emit("sample", 1, 1, fold=Fold.ARGMAX, k=N, body=(choice,), out=Out.I32, yields=True, terms=1)


def check(builder: ProgramBuilder, b: BlockBuilder, weights: Weights, level: str, temperature: int) -> None:
    program = builder.program([(b, [])])
    params = (temperature, 0xFF800000, 12345, 0)
    trace = reference.run(program, weights, [0] * (POSITIONS + 1), 1, params)
    for batch in (1, 7, POSITIONS):
        machine = native.Machine(encode(program), [w.data for w in weights], "native", 1, level)
        session = machine.new_session(list(params))
        for first in range(0, POSITIONS, batch):
            session.feed([0] * min(batch, POSITIONS - first), 0)
        assert session.trace_root() == trace.trace_root(), batch


@pytest.mark.parametrize("temperature", [0, MINUS_ZERO])
@pytest.mark.parametrize("level", LEVELS)
def test_noise_that_is_computed_late_finds_what_it_reads(level: str, temperature: int) -> None:
    """All scores are -0, so that the noise decides after all; `other` fits where `seed` was."""
    builder, b, x, weights = start([MINUS_ZERO] * N)
    drawn = imul(add(i2f(axis(t)), 1.0), 0x1E3779B9)
    seed = b.emit("seed", 1, 1, drawn, out=Out.I32, virtual=True, yields=True)
    words = xor(imul(axis(c), 0x1E3779B9), xor(seed(), param(2)))
    word = b.emit("word", 1, N, words, out=Out.I32, virtual=True, yields=True)
    noise = b.emit("noise", 1, N, sub(i2f(shr(word(c), 8)), 8388608.0), virtual=True, yields=True)
    b.emit("other", 1, 1, neg(x()), virtual=True, yields=True)
    finish(b, x, noise)
    check(builder, b, weights, level, temperature)


@pytest.mark.parametrize("shift", [8, 17, 18, 19, 20, 30, 31])
def test_noise_of_few_words_is_tried_too(shift: int) -> None:
    """Every noise is infinite or NaN, however few bits it depends on."""
    builder, b, x, weights = start([0x3F800000 + n for n in range(N)])
    word = b.emit("word", 1, N, imul(axis(c), 0x1E3779B9), out=Out.I32, virtual=True, yields=True)
    bits: Expr = i2f(shr(word(c), shift))
    noise = b.emit("noise", 1, N, sub(bits, float("inf")), virtual=True, yields=True)
    finish(b, x, noise)
    check(builder, b, weights, LEVELS[-1], 0)
