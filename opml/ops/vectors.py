"""Float test vectors: an `.npz` of uint32 arrays, one case a row, the operands' bits and then the result's.

The cases that ship with the package come from Berkeley TestFloat 3e (round to nearest even). NaN results are
canonical. A file is read as hostile.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from opml.errors import InputError
from opml.npz_input import MAX_HEADER_BYTES, read_npz
from opml.ops import softarray, softfloat
from opml.ops.quant import TENSOR_FORMAT_BY_NAME, load, load_array, store, store_array
from opml.ops.softarray import U32
from opml.ops.table import OP_BY_NAME, Op

MAX_ENTRY_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class Check:
    """What an entry tests: `kind` "op" and an operation, or "load" or "store" and a tensor format."""

    kind: str
    name: str
    operands: int
    operand_bits: int = 32
    result_bits: int = 32

    @property
    def op(self) -> Op:
        """The operation of a check of kind "op"."""
        return OP_BY_NAME[self.name]

    def scalar(self, operands: list[int]) -> int:
        """The result's bits by `opml.ops.softfloat`."""
        if self.kind == "op":
            return softfloat.FUNCTIONS[self.op.code](*operands)
        convert = load if self.kind == "load" else store
        return convert(TENSOR_FORMAT_BY_NAME[self.name], operands[0])

    def array(self, operands: U32) -> U32:
        """The results' bits by `opml.ops.softarray`; operands are uint32 [operands, cases]."""
        if self.kind == "op":
            return softarray.as_u32(softarray.FUNCTIONS[self.op.code](*operands))
        storage = TENSOR_FORMAT_BY_NAME[self.name]
        if self.kind == "load":
            return load_array(storage, operands[0].astype(storage.dtype))
        return store_array(storage, operands[0]).astype(np.uint32)


def _op(name: str) -> Check:
    return Check("op", name, OP_BY_NAME[name].arity)


CHECKS: dict[str, Check] = {
    "f32_add": _op("add"),
    "f32_sub": _op("sub"),
    "f32_mul": _op("mul"),
    "f32_div": _op("div"),
    "f32_sqrt": _op("sqrt"),
    "f32_mulAdd": _op("fma"),
    "f32_lt": _op("lt"),
    "f32_le": _op("le"),
    "f32_eq": _op("eq"),
    "i32_to_f32": _op("i2f"),
    "f32_to_i32_rnear_even": _op("f2i"),
    "f16_to_f32": Check("load", "f16", 1, operand_bits=16),
    "bf16_to_f32": Check("load", "bf16", 1, operand_bits=16),
    "f32_to_f16": Check("store", "f16", 1, result_bits=16),
    "f32_to_bf16": Check("store", "bf16", 1, result_bits=16),
}
"""What each entry of a file tests."""

UNUSED = {"f32_to_i32_rminMag", "ui32_to_f32"}
"""Entries that a file may hold, of operations that the machine lacks."""


@dataclass(frozen=True, slots=True)
class Entry:
    """The cases of one operation: `operands` uint32 [operands, cases], `expected` uint32 [cases]."""

    name: str
    check: Check
    operands: U32
    expected: U32


def shipped_vectors() -> dict[str, Entry]:
    """The vectors that ship with the package."""
    with resources.as_file(resources.files("opml.ops") / "data" / "testfloat_f32.npz") as path:
        return load_vectors(path)


def load_vectors(path: str | Path) -> dict[str, Entry]:
    """Read and check a file of vectors; entries in the order of `CHECKS`, unused ones left out.

    Raises `InputError` if the file can't be read or breaks a rule of the format.
    """
    most = MAX_ENTRY_BYTES - MAX_HEADER_BYTES
    try:
        found = read_npz(path, np.uint32, dict.fromkeys([*CHECKS, *sorted(UNUSED)], most))
    except (OSError, ValueError) as problem:
        raise InputError(
            f"{path}: not a readable .npz file of float vectors ({problem}); fetch it again, "
            "or write it with numpy.savez"
        ) from None
    for name, rows in found.items():
        if rows.ndim != 2:
            raise InputError(f"{path}: {name}: an array of two dimensions is expected, found {rows.shape}")
    return {name: _entry(path, name, check, found[name]) for name, check in CHECKS.items() if name in found}


def _entry(path: str | Path, name: str, check: Check, rows: NDArray[np.uint32]) -> Entry:
    columns = check.operands + 1
    if rows.shape[1] != columns or not len(rows):
        raise InputError(
            f"{path}: {name}: expected rows of {columns} columns ({check.operands} operands and the result), "
            f"found shape {rows.shape}"
        )
    operands, expected = np.ascontiguousarray(rows[:, :-1].T), np.ascontiguousarray(rows[:, -1])
    for values, bits in ((operands, check.operand_bits), (expected, check.result_bits)):
        if int(values.max()) >> bits:
            raise InputError(f"{path}: {name}: found 0x{int(values.max()):x} where {bits} bits were expected")
    return Entry(name, check, operands, expected)
