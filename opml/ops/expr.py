"""Expressions that become scalar programs: an immutable graph, built by one function for each operation.

    y = fma(leaf("x"), const(2.0), const(1.0))
    code, (result,) = lower([y], leaves=["x"], first_register=0, pool=Pool())

A leaf stands for an input register and is named by any hashable key. `lower` emits equal sub-expressions once
and in a fixed order, depth first, operands from left to right, so that equal expressions give equal bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field

from opml.errors import ProgramError
from opml.ops.program import FIRST_CONSTANT, Instruction
from opml.ops.softfloat import EXP_OFFSET, F32_INF, F32_NAN, MASK32, norm_round_pack
from opml.ops.table import OP_BY_NAME, OPS


def f32_from_double(value: float) -> int:
    """f32 bits nearest to a Python float, ties to even, computed from the double's bits; NaN canonical."""
    bits = int.from_bytes(struct.pack(">d", value), "big")
    sign, exp, sig = bits >> 63, bits >> 52 & 0x7FF, bits & ((1 << 52) - 1)
    if exp == 0x7FF:
        return F32_NAN if sig else sign << 31 | F32_INF
    if exp == 0:
        return norm_round_pack(sign, EXP_OFFSET - 1074, sig)
    return norm_round_pack(sign, EXP_OFFSET + exp - 1075, sig | 1 << 52)


@dataclass(frozen=True, slots=True, eq=False)
class Expr:
    """One node: an operation on operands, a leaf (`key`), or a constant (`bits`). Compared by identity."""

    op: str
    operands: tuple[Expr, ...] = ()
    key: Hashable = None
    bits: int = 0


Value = Expr | float | int
"""What an operation accepts: an expression, a float (rounded once to f32), or an int (32 bits, wrapping)."""


def leaf(key: Hashable) -> Expr:
    """The input register of that key."""
    return Expr("leaf", key=key)


def const(value: float | int) -> Expr:
    """A constant: a float is rounded once to f32, an int gives its low 32 bits as they are.

    Raises `ProgramError` for an int outside -2^31 .. 2^32 - 1.
    """
    if isinstance(value, float):
        return Expr("const", bits=f32_from_double(value))
    if not -(1 << 31) <= value <= MASK32:
        raise ProgramError(f"a constant has 32 bits, got {value}: write a float as {value}.0")
    return Expr("const", bits=value & MASK32)


def _apply(name: str, *values: Value) -> Expr:
    operands = tuple(v if isinstance(v, Expr) else const(v) for v in values)
    assert len(operands) == OP_BY_NAME[name].arity
    return Expr(name, operands)


def add(a: Value, b: Value) -> Expr:
    return _apply("add", a, b)


def sub(a: Value, b: Value) -> Expr:
    return _apply("sub", a, b)


def mul(a: Value, b: Value) -> Expr:
    return _apply("mul", a, b)


def div(a: Value, b: Value) -> Expr:
    return _apply("div", a, b)


def sqrt(a: Value) -> Expr:
    return _apply("sqrt", a)


def fma(a: Value, b: Value, c: Value) -> Expr:
    return _apply("fma", a, b, c)


def neg(a: Value) -> Expr:
    return _apply("neg", a)


def abs_(a: Value) -> Expr:
    return _apply("abs", a)


def min_(a: Value, b: Value) -> Expr:
    return _apply("min", a, b)


def max_(a: Value, b: Value) -> Expr:
    return _apply("max", a, b)


def lt(a: Value, b: Value) -> Expr:
    return _apply("lt", a, b)


def le(a: Value, b: Value) -> Expr:
    return _apply("le", a, b)


def eq(a: Value, b: Value) -> Expr:
    return _apply("eq", a, b)


def i2f(a: Value) -> Expr:
    return _apply("i2f", a)


def f2i(a: Value) -> Expr:
    return _apply("f2i", a)


def iadd(a: Value, b: Value) -> Expr:
    return _apply("iadd", a, b)


def isub(a: Value, b: Value) -> Expr:
    return _apply("isub", a, b)


def imul(a: Value, b: Value) -> Expr:
    return _apply("imul", a, b)


def imulhi(a: Value, b: Value) -> Expr:
    return _apply("imulhi", a, b)


def and_(a: Value, b: Value) -> Expr:
    return _apply("and", a, b)


def or_(a: Value, b: Value) -> Expr:
    return _apply("or", a, b)


def xor(a: Value, b: Value) -> Expr:
    return _apply("xor", a, b)


def shl(a: Value, b: Value) -> Expr:
    return _apply("shl", a, b)


def shr(a: Value, b: Value) -> Expr:
    return _apply("shr", a, b)


def sar(a: Value, b: Value) -> Expr:
    return _apply("sar", a, b)


def sel(a: Value, b: Value, c: Value) -> Expr:
    return _apply("sel", a, b, c)


def leaves_of(exprs: Sequence[Expr]) -> list[Hashable]:
    """The keys of all leaves below `exprs`, each once, in the order in which `lower` meets them."""
    keys: dict[Hashable, None] = {}
    seen: set[int] = set()

    def visit(expr: Expr) -> None:
        if id(expr) in seen:
            return
        seen.add(id(expr))
        if expr.op == "leaf":
            keys.setdefault(expr.key)
        for operand in expr.operands:
            visit(operand)

    for expr in exprs:
        visit(expr)
    return list(keys)


@dataclass(slots=True)
class Pool:
    """The distinct 32-bit constants of a whole program, in order of first use; at most 128."""

    constants: list[int] = field(default_factory=list)

    def operand(self, bits: int) -> int:
        """The operand number of a constant, added if new. `ProgramError` when the pool is full."""
        if bits not in self.constants:
            if len(self.constants) == FIRST_CONSTANT:
                raise ProgramError(
                    f"a program has at most {FIRST_CONSTANT} distinct constants, 0x{bits:08x} is one more: "
                    "use fewer or read them from a weight"
                )
            self.constants.append(bits)
        return FIRST_CONSTANT + self.constants.index(bits)


def lower(
    exprs: Sequence[Expr], leaves: Sequence[Hashable], first_register: int, pool: Pool
) -> tuple[list[Instruction], list[int]]:
    """(code, operand number of each expression's result).

    `leaves[i]` is register `first_register + i`; the code appends registers after those. A result that is a
    leaf or a constant costs nothing here (see `lower_single`). Raises `ProgramError` for a leaf not in
    `leaves`, and for more than 128 registers.
    """
    number = {key: first_register + i for i, key in enumerate(leaves)}
    next_register = first_register + len(leaves)
    code: list[Instruction] = []
    emitted: dict[Instruction, int] = {}
    known: dict[int, int] = {}

    def visit(expr: Expr) -> int:
        if id(expr) in known:
            return known[id(expr)]
        if expr.op == "const":
            result = pool.operand(expr.bits)
        elif expr.op == "leaf":
            if expr.key not in number:
                raise ProgramError(f"leaf {expr.key!r} is not among the inputs {list(leaves)}")
            result = number[expr.key]
        else:
            operands = [visit(operand) for operand in expr.operands]
            instruction = Instruction(OP_BY_NAME[expr.op].code, *operands)
            if instruction not in emitted:
                emitted[instruction] = next_register + len(code)
                code.append(instruction)
            result = emitted[instruction]
        known[id(expr)] = result
        return result

    results = [visit(expr) for expr in exprs]
    if next_register + len(code) > FIRST_CONSTANT:
        raise ProgramError(
            f"a scalar program has at most {FIRST_CONSTANT} registers, this one needs "
            f"{next_register + len(code)}: split it over two instructions"
        )
    return code, results


def lower_single(
    expr: Expr, leaves: Sequence[Hashable], first_register: int, pool: Pool
) -> list[Instruction]:
    """The code of one expression, its result the last register; a leaf or constant is copied by `or x x`."""
    code, (result,) = lower([expr], leaves, first_register, pool)
    if not code:
        code.append(Instruction(OP_BY_NAME["or"].code, result, result))
    return code


def describe(code: Sequence[Instruction], first: int, pool: Sequence[int]) -> list[str]:
    """One readable line for each instruction, as `r5 = fma r0 r1 0x3f800000`; r`first` is the first new."""
    lines = []
    for n, (op, *operands) in enumerate(code):
        used = operands[: OPS[op].arity]
        names = [f"r{o}" if o < FIRST_CONSTANT else f"0x{pool[o - FIRST_CONSTANT]:08x}" for o in used]
        lines.append(f"r{first + n} = {OPS[op].name} {' '.join(names)}")
    return lines
