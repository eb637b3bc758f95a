"""Random valid programs (odd shapes, indices, nested virtual slots): step equals trace, the bound holds."""

from __future__ import annotations

import random

import pytest

from opml.errors import ProgramError
from opml.ops.expr import Expr, add, const
from opml.vm import cost
from opml.vm.builder import ACC0, Address, BlockBuilder, ProgramBuilder, Slot, WeightRef, c, index, k, r, t
from opml.vm.isa import ROW, Ext, Fold, Format, Out
from opml.vm.layout import Layout
from opml.vm.reference import run
from opml.vm.step import Mode, evaluate
from opml.vm.validate import validate
from opml.vm.witness import Prover
from tests.vm.programs import random_weights
from tests.vm.test_cost import targets
from tests.vm.test_step import stored_bits

LIMIT = 8
Source = tuple[Slot | WeightRef, int, int]
"""What can be read, its rows and its columns."""


def address(rng: random.Random, rows: int, cols: int, axes: list[Address], n: Slot) -> Address:
    """A random address, often inside a tensor of that shape."""
    found = Address(base=rng.choice([0, 0, 0, 1, cols, 32]))
    for a in rng.sample(axes, rng.randint(0, min(3, len(axes)))):
        term = a
        if rng.random() < 0.15:
            term = term ^ rng.choice([1, 2, 4])
        if rng.random() < 0.3:
            term = term // rng.choice([2, 3, 32])
        factor = rng.choice([1, 1, 1, 1, 2, 3, 32, cols, ROW])
        if factor == ROW and rng.random() < 0.5:
            factor = cols
        found = found + term * factor
    if rng.random() < 0.2:
        place = rng.choice([Address(), *axes])
        found = found + index(n(place)) * rng.choice([1, cols])
    return found


def operand(rng: random.Random, sources: list[Source], axes: list[Address], n: Slot, window: bool) -> Expr:
    source, rows, cols = rng.choice(sources)
    at = address(rng, rows, cols, axes, n)
    if isinstance(source, Slot) and window and rng.random() < 0.3:
        return source.window_k(at)
    return source(at)


def instruction(
    rng: random.Random, b: BlockBuilder, sources: list[Source], n: Slot, virtual: bool, terms_may_vary: bool
) -> Source:
    """One random instruction."""
    rows, cols = rng.choice([(1, 1), (1, 8), (1, 40), (2, 40), (3, 7), (1, 300), (2, 300)])
    fold = rng.choice([Fold.NONE, Fold.NONE, Fold.DOT, Fold.MAX])
    finish = const(0.0) if fold == Fold.NONE else ACC0
    for _ in range(rng.randint(1, 2)):
        finish = add(finish, operand(rng, sources, [r, c, t], n, False))
    if fold == Fold.NONE:
        return b.emit("x", rows, cols, finish, virtual=virtual), rows, cols
    varies = terms_may_vary and rng.random() < 0.3
    length = Ext(LIMIT, varies=True) if varies else Ext(rng.choice([1, 5, 8, 33, 64, 270]))
    terms = 0 if virtual or (not varies and rng.random() < 0.5) else rng.choice([1, 2, 4, 16, 64])
    value = operand(rng, sources, [r, c, k, k, k][:3], n, varies)
    if rng.random() < 0.5:
        value = add(value, operand(rng, sources, [c, k], n, varies))
    body = (value, const(1.0)) if fold == Fold.DOT else (value,)
    slot = b.emit("x", rows, cols, finish, fold=fold, k=length, body=body, virtual=virtual, terms=terms)
    return slot, rows, cols


def random_layout(rng: random.Random) -> Layout | None:
    """The layout of a random program, None where it is not valid."""
    model = ProgramBuilder(LIMIT)
    b = model.block("block")
    shapes = [(1, 640), (8, 64), (3, 288), (40, 32)]
    formats = [rng.choice([Format.F32, Format.Q8_0, Format.F16]) for _ in shapes]
    sources: list[Source] = [(b.weight(*shape), *shape) for shape in shapes]
    weight = sources[0][0]
    n = b.emit("n", 1, 8, weight(c), out=Out.I32)
    for rows, cols in [(1, 40), (3, 300)]:
        made = b.emit("a", rows, cols, weight(c + r), out=rng.choice([Out.F32, Out.F16]))
        sources.append((made, rows, cols))
    first = len(sources)
    try:
        for virtual in (True, True, False):
            preferred = sources[first:] * 3 + sources
            sources.append(instruction(rng, b, preferred, n, virtual, not virtual))
        b.emit("sample", 1, 1, const(0), out=Out.I32, yields=True)
        return validate(model.program([(b, formats)]))
    except ProgramError:
        return None


@pytest.mark.parametrize("seed", range(8))
def test_step_and_bound_hold_for_random_programs(seed: int) -> None:
    rng = random.Random(seed)
    tried = 0
    while tried < 25:
        layout = random_layout(rng)
        if layout is None:
            continue
        tried += 1
        trace = run(layout, random_weights(layout.program, seed), (1, 2, 3, 4, 5, 6), 2)
        slot = layout.committed[-2]
        bound = cost.step(layout, slot)
        length = layout.slot_leaves(slot, 4).length
        for element in {0, length - 1, rng.randrange(length), rng.randrange(length)}:
            for target in rng.sample(found := targets(trace, slot, 4, element), min(len(found), 6)):
                prover = Prover(trace.trees)
                result = evaluate(layout, trace.params, target, prover)
                if target.mode != Mode.CHUNK:
                    assert result == (stored_bits(trace, slot, 4, element),), (slot.instr, target)
                assert len(prover.witness) <= bound.bytes, (slot.instr, target)
