"""A second implementation, written from `docs/spec.md` alone, agrees with the engines on every bit."""

from __future__ import annotations

import random
from collections import Counter

import numpy as np
import pytest

from opml.models import shapes
from opml.ops import softarray
from opml.ops.table import OPS
from opml.vm.commitment import weights_tree
from opml.vm.encoding import encode
from opml.vm.engine import get_engine, run
from opml.vm.isa import Format, Program
from opml.vm.weights import Weights
from tests.vm import second_machine, second_numbers
from tests.vm.random_programs import SPECIAL, hostile_weights, random_program

ENGINES = ("reference", "soft", "native")
SMALL = shapes.Size(dim=32, hidden=64, heads=2, groups=1, head=16, layers=1, vocabulary=24, limit=6)
FAMILIES = {
    "four letters": shapes.four_letters,
    "gpt2 of F16": lambda: shapes.gpt2(Format.F16, SMALL),
    "gpt2 of Q4_1": lambda: shapes.gpt2(Format.Q4_1, SMALL),
    "gemma3 of Q5_0": lambda: shapes.gemma3(Format.Q5_0, SMALL),
    "mixture of Q4_0": lambda: shapes.mixture(Format.Q4_0, SMALL),
    "mixture of Q8_0": lambda: shapes.mixture(Format.Q8_0, SMALL),
}


def check(program: Program, weights: Weights, rng: random.Random, vocabulary: int) -> None:
    """Same weights root and trace root from the encoded program, whoever computes."""
    second = second_machine.Program(encode(program))
    stored = [bytes(weights.tensor(n).data) for n in range(len(second.weights))]
    roots = [weights.tensor_tree(n).root for n in range(len(stored))]
    assert second_machine.weights_root(second, stored) == weights_tree(roots).root
    length = rng.randint(1, min(3, program.limit))
    prompt = [rng.randrange(vocabulary) for _ in range(length)]
    params = [rng.choice(SPECIAL) for _ in range(program.params)]
    session = second_machine.Session(second, stored, prompt, params)
    session.generate(rng.randint(1, min(3, program.limit + 1 - length)))
    for name in ENGINES:
        trace = run(get_engine(name).load(program, weights), session.tokens, length, params)
        assert trace.trace_root() == session.trace_root(), name


@pytest.mark.parametrize("name", FAMILIES)
def test_families_of_models_have_the_same_roots(name: str) -> None:
    model = FAMILIES[name]()
    check(model.program, model.weights, random.Random(1), model.vocabulary_size)


@pytest.mark.parametrize("seed", range(20))
def test_random_programs_have_the_same_roots(seed: int) -> None:
    rng = random.Random(seed)
    program = random_program(rng)
    check(program, hostile_weights(rng, program), rng, 1 << 32 if seed % 4 == 0 else 24)


def test_random_programs_are_of_every_kind() -> None:
    programs = [random_program(random.Random(seed)) for seed in range(20)]
    code = [instr for program in programs for instr in program.blocks[0].code]
    folds, outs = Counter(x.fold for x in code), Counter(x.out for x in code)
    assert len(folds) == 5 and len(outs) == 5
    assert any(x.virtual for x in code)
    operands = [operand for x in code for operand in x.operands]
    assert (
        len({operand.kind for operand in operands}) == 6 and len({operand.pos for operand in operands}) == 3
    )
    assert any(operand.index != 0xFF for operand in operands)


@pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)
def test_scalar_operations_have_the_same_bits(op: object) -> None:
    name, arity, function = second_numbers.OPS[op.code]  # type: ignore[attr-defined]
    assert (name, arity) == (op.name, op.arity)  # type: ignore[attr-defined]
    rng = random.Random(name)
    drawn = [[rng.choice((*SPECIAL, rng.getrandbits(32))) for _ in range(2_000)] for _ in range(arity)]
    code = bytes([op.code, *range(arity), *[0] * (3 - arity)])  # type: ignore[attr-defined]
    expected = [function(*values) for values in zip(*drawn, strict=True)]
    for engine in ("soft", "native"):
        found = get_engine(engine).eval_program(code, [np.array(a, np.uint32) for a in drawn], [])
        assert list(found) == expected, engine


def test_formats_of_storage_have_the_same_bits() -> None:
    rng = random.Random(1)
    every = np.arange(1 << 16, dtype=np.uint16)
    assert list(softarray.f32_from_f16(every)) == [second_numbers.f16(h) for h in range(1 << 16)]
    words = [
        rng.choice((*SPECIAL, rng.getrandbits(32), rng.randrange(0x33000000, 0x48000000)))
        for _ in range(9_999)
    ]
    for code, narrow in ((1, softarray.f16_from_f32), (2, softarray.bf16_from_f32)):
        stored = b"".join(second_numbers.store(code, word) for word in words)
        assert narrow(np.array(words, np.uint32)).astype("<u2").tobytes() == stored
