"""Programs near the forms that have kernels of their own: every engine and level gives the reference's bits.

OPML_NEAR_SEEDS=10000:20000 runs other seeds, as long as it takes.
"""

from __future__ import annotations

import os
import random
from dataclasses import dataclass

import pytest

from opml.vm import reference
from opml.vm.encoding import encode
from opml.vm.layout import Layout
from opml.vm.validate import validate
from opml.vm.weights import Weights
from tests.native import native_module
from tests.vm.near_patterns import mutant
from tests.vm.near_programs import base, hostile
from tests.vm.random_programs import SPECIAL

native = native_module()
LEVELS = native.levels()
FIRST, LAST = map(int, os.environ.get("OPML_NEAR_SEEDS", "0:40").split(":"))
TEMPERATURES = (0, 0x80000000, 0, 0x80000000, 1, 0x80000001, 0x3F000000, 0x7FC00001, 0x7F800000)


@dataclass(frozen=True)
class Case:
    layout: Layout
    weights: Weights
    tokens: list[int]
    yields_from: int
    params: list[int]
    faults: list[tuple[int, int, int, int]]


def case_of(rng: random.Random) -> Case:
    program = base(rng)
    validate(program)
    program = mutant(rng, program, rng.choice((0, 1, 1, 2, 3, 5)))
    layout = Layout(program)
    n = program.limit if rng.random() < 0.3 else rng.randint(1, program.limit)
    tokens = [rng.getrandbits(32) if rng.random() < 0.02 else rng.randrange(24) for _ in range(n)]
    yields_from = rng.choice((0, 0, rng.randrange(n), n - 1))
    params = [rng.choice(TEMPERATURES), rng.choice((0xFF800000, *SPECIAL))]
    params += [rng.getrandbits(32) for _ in range(6)]
    faults = []
    for _ in range(rng.randint(1, 4) if rng.random() < 0.3 else 0):
        slot, t = rng.choice(layout.slots), rng.randrange(n)
        if t >= yields_from or not slot.instr.yields:
            rows, cols = layout.shape(slot, t)
            bit = 1 << rng.randrange(8 * slot.instr.out.info.bytes)
            faults.append((t, slot.number, rng.randrange(rows * cols), bit))
    return Case(layout, hostile(rng, program), tokens, yields_from, params, faults)


def batches(rng: random.Random, n: int) -> list[int]:
    sizes = []
    while n:
        sizes.append(min(n, rng.choice((1, 2, 3, 7, 8, 9, 16, 63, 64, 65, n, n, n))))
        n -= sizes[-1]
    return sizes


@pytest.mark.parametrize("seed", range(FIRST, LAST))
def test_a_program_near_a_form_gives_the_reference_bits(seed: int) -> None:
    rng = random.Random(seed)
    case = case_of(rng)
    program, slots, n = case.layout.program, case.layout.slots, len(case.tokens)
    corrupt = reference.inject([reference.Fault(*fault) for fault in case.faults])
    executor = reference.Executor(case.layout, case.weights, case.yields_from + 1, case.params, corrupt)
    executor.extend(case.tokens)
    trace = executor.trace([*case.tokens, 0])
    expected = [trace.position_root(t) for t in range(n)]
    kernels = [("native", level, generic) for level in LEVELS for generic in (False, rng.random() < 0.4)]
    for engine, level, generic in [("soft", "auto", False), *dict.fromkeys(kernels)]:
        threads, sizes, t = rng.choice((1, 1, 2, 3)), batches(rng, n), rng.randrange(n)
        how = (seed, engine, level, generic, threads, sizes)
        data = [weight.data for weight in case.weights]
        machine = native.Machine(encode(program), data, engine, threads, level, generic)
        session = machine.new_session(case.params, case.faults)
        first = 0
        for size in sizes:
            session.feed(case.tokens[first : first + size], case.yields_from)
            first += size
        found = session.position_roots()
        differing = next((t for t in range(n) if found[t] != expected[t]), None)
        slots_of = session.recompute(t if differing is None else differing)
        t = t if differing is None else differing
        wrong = []
        for slot in slots:
            stored = executor.stored[slot.number][t]
            if stored is not None and slots_of.get(slot.number) != stored.tobytes():
                wrong.append((slot.number, slot.name))
        assert differing is None and not wrong, (how, differing, t, wrong[:3])
