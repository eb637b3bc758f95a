"""Programs as large as the validator admits, on the most costly data: steps stay within the bound.

Each family grows until its bound is just below the limit of gas or of bytes; the gas is the EVM's.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from opml.errors import ProgramError
from opml.ops.expr import Expr, add, const, div, fma, mul, sqrt
from opml.vm import cost
from opml.vm.builder import ACC0, ACC1, Address, BlockBuilder, ProgramBuilder, WeightRef, c, index, k
from opml.vm.engine import run
from opml.vm.isa import Fold, Format, Out, Program
from opml.vm.layout import Layout, WeightInfo
from opml.vm.step import Target, prove
from opml.vm.trace import TraceTrees
from opml.vm.validate import MAX_STEP_BYTES, MAX_STEP_GAS, validate
from opml.vm.weights import Weight, Weights
from opml.vm.witness import Context
from tests.contracts.test_step_verifier import context_of, packed, target_of, verifier
from tests.native import fast_engine
from tests.vm.programs import random_weights
from tests.vm.test_cost import targets

LIMIT = 256
HARD = (0, 1, 0x7FFFFF, 0x800000, 0x00400000, 0x80000003, 0x3F800000, 0xBF800001, 0x7F7FFFFF, 0x7F800000)
"""Zeros, subnormals, limits, infinity: what takes the longest ways through the arithmetic."""
SUBNORMAL = (1, 0x7FFFFF, 0x00400000, 0x80000003, 0x807FFFFF)


class Family:
    """A program that grows with `size`: one committed slot `step` before the sample."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.model = ProgramBuilder(LIMIT)
        self.block: BlockBuilder = self.model.block("block")
        self.formats: list[Format] = []

    def weight(self, rows: int, cols: int, fmt: Format = Format.F32) -> WeightRef:
        self.formats.append(fmt)
        return self.block.weight(rows, cols)

    def hard(self, value: Expr, count: int) -> Expr:
        """Some of the dearest operations over a value."""
        values = [value, const(1.0 + 2**-20)]
        for _ in range(count):
            op = self.rng.choice((fma, fma, div, sqrt, mul, add))
            arity = 3 if op is fma else 1 if op is sqrt else 2
            values.append(op(*(self.rng.choice(values[-3:]) for _ in range(arity))))
        return values[-1]

    def step(self, *body: Expr, fold: Fold = Fold.DOT, length: int, finish: Expr = ACC0) -> None:
        self.block.emit("step", 1, 1, finish, fold=fold, k=length, body=body)

    def done(self) -> Program:
        self.block.emit("sample", 1, 1, const(0), out=Out.I32, yields=True)
        return self.model.program([(self.block, self.formats)])


def bulk(f: Family, size: int) -> None:
    f.step(f.weight(1, size)(k), f.weight(1, size)(k), length=size)


def scalars(f: Family, size: int) -> None:
    f.step(f.hard(f.weight(1, size)(k), f.rng.randint(2, 20)), const(1.0), length=size)


def far_apart(f: Family, size: int) -> None:
    """Every term opens another leaf."""
    f.step(f.weight(1, 256 * size, f.rng.choice((Format.F16, Format.Q8_0)))(k * 256), const(1.0), length=size)


def anywhere(f: Family, size: int) -> None:
    """Every term opens a leaf that data chooses, in a deep tree."""
    chosen = f.block.emit("chosen", 1, size, f.weight(1, size, Format.I32)(c), out=Out.I32)
    f.step(f.weight(1 << 14, 256, Format.Q8_0)(index(chosen(k)) * 256 + 7), const(1.0), length=size)


def virtual(f: Family, size: int) -> None:
    """Every term folds a row of its own, whose run is one of many of the tensor."""
    inner = f.rng.choice((4, 64))
    x, rows = f.weight(1, inner), f.weight(size, inner)
    v = f.block.emit(
        "v", 1, size, f.hard(ACC0, 3), fold=Fold.DOT, k=inner, body=(rows(c * inner + k), x(k)), virtual=True
    )
    w = f.block.emit("w", 1, size, f.hard(v(c), 5), virtual=True)
    f.step(w(k), fold=Fold.MAX, length=size)


def window(f: Family, size: int) -> None:
    """Every term opens another position."""
    x = f.weight(1, 8)
    seen = [f.block.emit("seen", 1, 4, x(c + n), out=Out.I8) for n in range(f.rng.choice((1, 2)))]
    value = seen[0].window_k(Address())
    for other in seen[1:]:
        value = add(value, other.window_k(Address()))
    value = f.hard(value, min(size // 32, 60))
    body = (value, const(1.0))
    f.block.emit("step", 1, 1, ACC0, fold=Fold.DOT, k=f.model.so_far, body=body, terms=LIMIT)


def quantised(f: Family, size: int) -> None:
    length = size // 32 * 32 or 32
    fmt = f.rng.choice((Format.Q4_1, Format.Q5_1, Format.Q8_0))
    ints = f.weight(1, length, Format.I32)
    q = f.block.emit("q", 1, length, ints(c), out=Out.I8)
    d = f.block.emit("d", 1, length // 32, f.weight(1, length // 32)(c))
    body = [f.weight(1, length, fmt)(k), q(k), d(k // 32), f.weight(1, length, fmt)(k)]
    f.step(*body, fold=Fold.QDOT, length=length, finish=add(ACC0, ACC1))


def read_alone(f: Family, size: int) -> None:
    """Quantised elements that are read one by one, and many operands."""
    length = size // 32 * 32 or 32
    value = f.weight(1, length, Format.Q5_1)(k)
    for fmt in f.rng.choices((Format.Q4_1, Format.Q5_0, Format.Q8_0, Format.BF16), k=f.rng.randint(1, 8)):
        value = fma(value, f.weight(1, length, fmt)(k), const(0.5))
    f.step(value, const(1.0), length=length)


FAMILIES: dict[str, Callable[[Family, int], None]] = {
    "bulk": bulk,
    "scalars": scalars,
    "far apart": far_apart,
    "anywhere": anywhere,
    "virtual": virtual,
    "window": window,
    "quantised": quantised,
    "read alone": read_alone,
}


@pytest.mark.parametrize("weights", [1, 8])
def test_a_step_of_the_longest_schedule_stays_within_the_bound(weights: int) -> None:
    model = ProgramBuilder(4)
    block, last = model.block("block"), model.block("last")
    for _ in range(weights):
        first = block.weight(1, 1)
    block.emit("step", 1, 1, first(Address()))
    last.emit("sample", 1, 1, const(0), out=Out.I32, yields=True)
    layout = validate(model.program([*[(block, [Format.F32] * weights)] * 1_023, (last, [])]))
    trace = run(fast_engine().load(layout.program, random_weights(layout.program)), (1, 1), 1)
    ordinal = len(layout.committed) - 2
    target = Target(0, ordinal, 0)
    trees = TraceTrees(trace)
    expected, witness = prove(trees, target)
    context = context_of(layout, Context.of(trees))
    assert verifier().call("step", context, target_of(target), witness) == packed(expected)
    assert verifier().transaction_gas <= cost.step(layout, layout.committed[ordinal]).gas


def largest(write: Callable[[Family, int], None], seed: int) -> Layout:
    """The largest member of a family that is valid, to an eighth."""

    def attempt(size: int) -> Layout | None:
        family = Family(seed)
        write(family, size)
        try:
            return validate(family.done())
        except ProgramError:
            return None

    size, found = 32, None
    while size < 1 << 15 and (bigger := attempt(size)) is not None:
        size, found = 2 * size, bigger
    assert found is not None
    for eighth in range(5, 8):
        found = attempt(size * eighth // 8) or found
    return found


def weight(info: WeightInfo, values: tuple[int, ...], rng: np.random.Generator) -> Weight:
    """A weight of such values; quantised ones of any bytes, indices of any rows."""
    count = info.rows * info.cols
    data: npt.NDArray[np.generic]
    if info.format == Format.I32:
        data = rng.integers(0, 1 << 14, count, dtype=np.uint32)
    elif info.format == Format.F32:
        data = rng.choice(np.array(values, np.uint32), count)
    else:
        form = info.format.info
        data = rng.integers(0, 256, count // form.unit * form.unit_bytes, dtype=np.uint8)
        if form.quantised and values is SUBNORMAL:  # scale and minimum, too: the dearest units
            units = data.reshape(-1, form.unit_bytes)
            units[:, : 4 if form.minimum else 2] &= 0x83
    return Weight(info.rows, info.cols, info.format, data.tobytes())


@pytest.mark.parametrize("values", [HARD, SUBNORMAL], ids=["hard", "subnormal"])
@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("name", FAMILIES)
def test_the_largest_steps_stay_within_the_bound(name: str, seed: int, values: tuple[int, ...]) -> None:
    layout = largest(FAMILIES[name], seed)
    slot = next(s for s in layout.committed if s.instr.name == "step")
    bound = cost.step(layout, slot)
    assert bound.gas > MAX_STEP_GAS // 2 or bound.bytes > MAX_STEP_BYTES // 2, (name, bound)
    rng = np.random.default_rng(seed)
    weights = Weights([weight(info, values, rng) for info in layout.weights])
    prompt = LIMIT if name == "window" else 1
    trace = run(fast_engine().load(layout.program, weights), [1] * (prompt + 1), prompt)
    trees = TraceTrees(trace)
    context = context_of(layout, Context.of(trees))
    steps = targets(trace, slot, prompt - 1, 0)
    for target in {steps[0], steps[-1]}:
        expected, witness = prove(trees, target)
        found = verifier().call("step", context, target_of(target), witness, gas=1 << 24)
        assert found == packed(expected)
        assert len(witness) <= bound.bytes
        assert verifier().transaction_gas <= bound.gas, (name, target)
