from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from opml.errors import ProgramError
from opml.ops.program import Instruction, check, run_array, run_scalar
from opml.ops.table import OP_BY_NAME, OPS
from tests.ops.bits import floats

ADD, FMA, OR = (OP_BY_NAME[name].code for name in ("add", "fma", "or"))


@st.composite
def programs(draw: st.DrawFn) -> tuple[list[Instruction], list[int], list[int]]:
    """Any valid program with its inputs and pool."""
    inputs = draw(st.lists(floats, min_size=1, max_size=4))
    pool = draw(st.lists(floats, max_size=4))
    code: list[Instruction] = []
    for _ in range(draw(st.integers(0, 12))):
        op = draw(st.sampled_from(OPS))
        names = [*range(len(inputs) + len(code)), *range(128, 128 + len(pool))]
        operands = [draw(st.sampled_from(names)) for _ in range(op.arity)]
        code.append(Instruction(op.code, *operands))
    return code, inputs, pool


@given(programs())
def test_array_run_equals_scalar_run(program: tuple[list[Instruction], list[int], list[int]]) -> None:
    code, inputs, pool = program
    check(code, len(inputs), len(pool))
    registers = run_scalar(code, inputs, pool)
    assert registers[: len(inputs)] == inputs and len(registers) == len(inputs) + len(code)
    arrays = run_array(code, [np.array([x, x], np.uint32) for x in inputs], pool)
    assert [np.broadcast_to(a, 2).tolist() for a in arrays] == [[r, r] for r in registers]


def test_an_operand_of_128_or_more_reads_the_pool() -> None:
    code = [Instruction(ADD, 0, 129), Instruction(ADD, 1, 128)]
    assert run_scalar(code, [0x3F800000], [0x3F800000, 0x40000000])[1:] == [0x40400000, 0x40800000]


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ([Instruction(26, 0)], "code 26"),
        ([Instruction(ADD, 0, 1)], "operand 1"),
        ([Instruction(ADD, 0, 0), Instruction(ADD, 2, 0)], "operand 2"),
        ([Instruction(ADD, 0, 129)], "operand 129"),
        ([Instruction(ADD, 0, -1)], "operand -1"),
        ([Instruction(ADD, 0, 0, 1)], "unused operands"),
        ([Instruction(OP_BY_NAME["neg"].code, 0, 0, 128)], "unused operands"),
        ([Instruction(FMA, 0, 0, 1)], "operand 1"),
        ([Instruction(OR, 0, 0)] * 128, "at most 128 registers"),
    ],
)
def test_an_invalid_program_is_refused(code: list[Instruction], message: str) -> None:
    with pytest.raises(ProgramError, match=message):
        check(code, inputs=1, pool=1)


def test_the_largest_program_is_accepted() -> None:
    check([Instruction(OR, 0, 255)] * 127, inputs=1, pool=128)
    with pytest.raises(ProgramError, match="constants"):
        check([], inputs=1, pool=129)
