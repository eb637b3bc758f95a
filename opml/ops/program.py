"""Scalar programs: straight lines of operations on 32-bit registers (`docs/spec.md`, Scalar programs).

The inputs are the first registers; each instruction appends one. An operand number below 128 names a
register, one of 128 or more the constant `pool[number - 128]`. Operands beyond the operation's arity are 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from numpy.typing import ArrayLike

from opml.errors import ProgramError
from opml.ops import softarray, softfloat
from opml.ops.softarray import U32
from opml.ops.table import OPS

FIRST_CONSTANT = 128
"""The lowest operand number that names a constant; also the most registers and the most constants."""


class Instruction(NamedTuple):
    """One operation of a scalar program: operation code, then three operand numbers."""

    op: int
    a: int
    b: int = 0
    c: int = 0


def check(code: Sequence[Instruction], inputs: int, pool: int) -> None:
    """Refuse a program that names an unknown operation, register or constant, or fills an unused operand.

    `inputs` and `pool` are the numbers of input registers and of constants. Raises `ProgramError`.
    """
    if inputs + len(code) > FIRST_CONSTANT or pool > FIRST_CONSTANT:
        raise ProgramError(
            f"a scalar program has at most {FIRST_CONSTANT} registers and as many constants, got "
            f"{inputs} inputs, {len(code)} operations and {pool} constants: split it over two instructions"
        )
    for n, (code_number, *operands) in enumerate(code):
        if not 0 <= code_number < len(OPS):
            raise ProgramError(f"operation {n}: code {code_number} is not one of 0 .. {len(OPS) - 1}")
        op = OPS[code_number]
        for operand in operands[: op.arity]:
            if not (0 <= operand < inputs + n or FIRST_CONSTANT <= operand < FIRST_CONSTANT + pool):
                raise ProgramError(
                    f"operation {n} ({op.name}): operand {operand} is neither one of the {inputs + n} "
                    f"earlier registers nor one of the {pool} constants from {FIRST_CONSTANT} on"
                )
        if any(operands[op.arity :]):
            raise ProgramError(f"operation {n} ({op.name}): unused operands must be 0, got {operands}")


def run_scalar(code: Sequence[Instruction], inputs: Sequence[int], pool: Sequence[int]) -> list[int]:
    """All registers, inputs first, after the program ran on bit patterns."""
    registers = list(inputs)
    for op, *operands in code:
        used = operands[: OPS[op].arity]
        arguments = [registers[n] if n < FIRST_CONSTANT else pool[n - FIRST_CONSTANT] for n in used]
        registers.append(softfloat.FUNCTIONS[op](*arguments))
    return registers


def run_array(code: Sequence[Instruction], inputs: Sequence[ArrayLike], pool: Sequence[int]) -> list[U32]:
    """All registers, inputs first, each uint32 of the broadcast shape of what it was computed from."""
    registers = [softarray.as_u32(value) for value in inputs]
    constants = [softarray.as_u32(value) for value in pool]
    for op, *operands in code:
        used = operands[: OPS[op].arity]
        arguments = [registers[n] if n < FIRST_CONSTANT else constants[n - FIRST_CONSTANT] for n in used]
        registers.append(softarray.as_u32(softarray.FUNCTIONS[op](*arguments)))
    return registers
