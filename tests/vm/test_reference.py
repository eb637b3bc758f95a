"""The reference executor on hostile data: every operation, fold, storage and weight format over raw bits."""

from __future__ import annotations

import numpy as np
import pytest

from opml.ops import softfloat
from opml.ops.expr import Expr, const
from opml.ops.table import OPS
from opml.vm.builder import ACC0, ACC1, ProgramBuilder, c, index, k, r, token
from opml.vm.engine import get_engine
from opml.vm.engine import run as run_engine
from opml.vm.isa import ROW, Fold, Format, Out, Program
from opml.vm.layout import Layout
from opml.vm.reference import run
from opml.vm.step import Target, prove, verify
from opml.vm.validate import validate
from opml.vm.weights import Weight, Weights
from opml.vm.witness import Context
from tests.native import native_module

SPECIAL = [0, 1 << 31, 1, 0x807FFFFF, 0x7F800000, 0xFF800000, 0x7FC00000, 0xFFFFFFFF, 0x7F800001, 0x3F800000]
SPECIAL += [0x7F7FFFFF, 0x00800000, 0x33800000, 0x477FF000, 0x38800000, 0x4F000000, 0xCF000000, 0x7FFFFFFF]


def hostile(rng: np.random.Generator, rows: int, cols: int, fmt: Format) -> Weight:
    """Random bytes; every other 32-bit word of an F32 or I32 tensor is a special value."""
    size = rows * cols // fmt.info.unit * fmt.info.unit_bytes
    data = rng.integers(0, 256, size, np.uint8)
    if fmt in (Format.F32, Format.I32):
        chosen = rng.choice(np.array(SPECIAL, np.uint32), size // 8)
        data.view("<u4")[: 2 * len(chosen) : 2] = chosen
    return Weight(rows, cols, fmt, data.tobytes())


def zoo(out: Out, fmt: Format) -> Program:
    """All operations, elementwise; all folds over a weight of the format; results in the storage format."""
    model = ProgramBuilder(4)
    w = model.global_weight(8, 96, fmt)
    a = model.global_weight(8, 96, Format.F32)
    b = model.block("zoo")
    x = b.emit("load", 1, 96, w(index(token()) * 96 + c), out=out)
    for op in OPS:
        reads = [x(c), a(c), a(c + 96)][: op.arity]
        b.emit(op.name, 1, 96, Expr(op.name, tuple(reads)), out=out)
    b.emit("dot", 8, 1, fold=Fold.DOT, k=96, body=(w(r * ROW + k), a(r * ROW + k)), out=out)
    body = (x(k), a(k * 8 + c), a(k), const(1.0))
    b.emit("dots", 1, 8, Expr("sub", (ACC0, ACC1)), fold=Fold.DOT, k=96, body=body, out=out)
    b.emit("max", 8, 1, fold=Fold.MAX, k=96, body=(w(r * ROW + k),), out=out)
    b.emit("argmax", 8, 1, fold=Fold.ARGMAX, k=96, body=(a(r * ROW + k),), out=Out.I32)
    b.emit("best", 8, 1, ACC1, fold=Fold.ARGMAX, k=96, body=(w(r * ROW + k),), out=out)
    if fmt.info.quantised:
        q = b.emit("q", 1, 96, a(c), out=Out.I8)
        d = b.emit("d", 1, 3, a(c + 5))
        body = (w(c * 96 + k), q(k), d(k // 32), w(c * 96 + k))
        b.emit("qdot", 1, 8, Expr("add", (ACC0, ACC1)), fold=Fold.QDOT, k=96, body=body, out=out)
    b.emit("sample", 1, 1, const(0), out=Out.I32, yields=True)
    return model.program([(b, [])])


@pytest.mark.parametrize(
    ("out", "fmt"), [(out, fmt) for i, fmt in enumerate(Format) for out in (Out(i % 5), Out((i + 2) % 5))]
)
def test_hostile_data_gives_the_same_bits_by_step_and_by_all_engines(out: Out, fmt: Format) -> None:
    program = zoo(out, fmt)
    validate(program)
    rng = np.random.default_rng(int(fmt) * 10 + int(out))
    weights = Weights([hostile(rng, w.rows, w.cols, w.format) for w in Layout(program).weights])
    tokens = (7, 2, 0)
    trace = run(program, weights, tokens, 2)
    context = Context.of(trace.trees)
    for slot in trace.layout.committed:
        size = slot.instr.out.info.bytes
        length = trace.layout.slot_leaves(slot, 1).length
        for element in {*range(min(length, 6)), length - 1}:
            target = Target(1, slot.ordinal or 0, element)
            stored = trace.tensor(1, slot.ordinal or 0)[element * size : (element + 1) * size]
            result, witness = prove(trace.trees, target)
            assert result == (int.from_bytes(stored, "little"),), slot.name
            assert verify(trace.layout, context, target, witness) == result
    for name in ("soft", "native"):
        native_module()
        model = get_engine(name).load(program, weights)
        assert run_engine(model, tokens, 2).trace_root() == trace.trace_root(), name


def folded(values: list[int], fold: Fold) -> int:
    """One fold of f32 bits by the reference executor."""
    model = ProgramBuilder(1)
    w = model.global_weight(1, len(values), Format.F32)
    b = model.block("block")
    body = (w(k), const(1.0)) if fold == Fold.DOT else (w(k),)
    b.emit("fold", 1, 1, fold=fold, k=len(values), body=body, out=Out.I32)
    b.emit("sample", 1, 1, const(0), out=Out.I32, yields=True)
    data = b"".join(value.to_bytes(4, "little") for value in values)
    program = model.program([(b, [])])
    trace = run(program, Weights([Weight(1, len(values), Format.F32, data)]), (1, 2), 1)
    return int.from_bytes(trace.tensor(0, 0), "little")


def test_dot_adds_blocks_of_256_in_order() -> None:
    rng = np.random.default_rng(5)
    values = [int(x) for x in rng.standard_normal(600).astype("<f4").view("<u4")]
    total = 0
    for start in (0, 256, 512):
        acc = 0
        for value in values[start : start + 256]:
            acc = softfloat.f32_fma(value, 0x3F800000, acc)
        total = softfloat.f32_add(total, acc)
    assert folded(values, Fold.DOT) == total
    assert folded([1 << 31] * 3, Fold.DOT) == 0  # a sum of -0 is +0


def test_max_and_argmax_order_nan_above_all_and_zeros_by_sign() -> None:
    one, nan, inf, zero, minus_zero = 0x3F800000, 0xFFC12345, 0x7F800000, 0, 1 << 31
    assert folded([one, nan, inf, nan], Fold.MAX) == 0x7FC00000
    assert folded([one, nan, inf, nan], Fold.ARGMAX) == 1
    assert folded([minus_zero, zero, zero], Fold.ARGMAX) == 1
    assert folded([minus_zero, minus_zero], Fold.MAX) == minus_zero
    assert folded([one, one, zero], Fold.ARGMAX) == 0
