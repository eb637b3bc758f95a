"""The one table of scalar operations (`docs/spec.md`, Scalar operations).

A register holds 32 bits. Float operations read them as IEEE 754 binary32, integer operations as a two's
complement or unsigned integer that wraps around. The C++ and Solidity constants are generated from `OPS`.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Op:
    """One scalar operation: its byte in an encoded program, its name, how many registers it reads."""

    code: int
    name: str
    arity: int
    doc: str


OPS: tuple[Op, ...] = (
    Op(0, "add", 2, "f32: a + b"),
    Op(1, "sub", 2, "f32: a - b"),
    Op(2, "mul", 2, "f32: a * b"),
    Op(3, "div", 2, "f32: a / b"),
    Op(4, "sqrt", 1, "f32: square root of a; of -0 it is -0"),
    Op(5, "fma", 3, "f32: a * b + c, rounded once"),
    Op(6, "neg", 1, "f32: -a; NaN becomes canonical"),
    Op(7, "abs", 1, "f32: |a|; NaN becomes canonical"),
    Op(8, "min", 2, "f32: IEEE 754-2019 minimum: NaN wins, -0 < +0"),
    Op(9, "max", 2, "f32: IEEE 754-2019 maximum: NaN wins, -0 < +0"),
    Op(10, "lt", 2, "integer 1 if a < b as f32, else 0; quiet, false with NaN"),
    Op(11, "le", 2, "integer 1 if a <= b as f32, else 0; quiet, false with NaN"),
    Op(12, "eq", 2, "integer 1 if a == b as f32, else 0; quiet, false with NaN"),
    Op(13, "i2f", 1, "f32 nearest to the signed integer a, ties to even"),
    Op(14, "f2i", 1, "signed integer nearest to the f32 a, ties to even, saturating; 0 for NaN"),
    Op(15, "iadd", 2, "a + b mod 2^32"),
    Op(16, "isub", 2, "a - b mod 2^32"),
    Op(17, "imul", 2, "a * b mod 2^32"),
    Op(18, "imulhi", 2, "upper 32 bits of the unsigned product a * b"),
    Op(19, "and", 2, "bitwise and"),
    Op(20, "or", 2, "bitwise or"),
    Op(21, "xor", 2, "bitwise exclusive or"),
    Op(22, "shl", 2, "a shifted left by b mod 32"),
    Op(23, "shr", 2, "a shifted right by b mod 32, zeros enter"),
    Op(24, "sar", 2, "a shifted right by b mod 32, copies of the sign enter"),
    Op(25, "sel", 3, "raw bits: b if a is not zero, else c"),
)

OP_BY_NAME: dict[str, Op] = {op.name: op for op in OPS}

__all__ = ["OPS", "OP_BY_NAME", "Op"]
