"""The arithmetic of every backend, held to float vectors.

A vector file is an `.npz` of uint32 arrays, one case a row: operands, then the result, as Berkeley TestFloat
gives them (`f32_add`, `f32_mulAdd`, ...). Entries that are no operation of the machine are left out.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from opml.errors import InputError
from opml.ops.expr import const
from opml.ops.program import Instruction, run_array
from opml.ops.quant import TENSOR_FORMAT_BY_NAME, load_array, store_array
from opml.ops.table import OP_BY_NAME
from opml.vm.builder import ProgramBuilder, c
from opml.vm.engine import NativeEngine
from opml.vm.isa import Format, Out
from opml.vm.weights import Weight, Weights

Words = NDArray[np.uint32]

OPERATIONS: dict[str, str] = {
    "f32_add": "add",
    "f32_sub": "sub",
    "f32_mul": "mul",
    "f32_div": "div",
    "f32_mulAdd": "fma",
    "f32_sqrt": "sqrt",
    "f32_eq": "eq",
    "f32_le": "le",
    "f32_lt": "lt",
    "f32_to_i32_rnear_even": "f2i",
    "i32_to_f32": "i2f",
}
"""Vector entry → scalar operation."""

CONVERSIONS: dict[str, tuple[str, bool]] = {
    "f16_to_f32": ("f16", True),
    "bf16_to_f32": ("bf16", True),
    "f32_to_f16": ("f16", False),
    "f32_to_bf16": ("bf16", False),
}
"""Vector entry → storage format, and whether it is a load."""

BACKENDS = ("reference", "soft", "native", "evm")
EVM_SAMPLE = 600
"""Cases an operation that the EVM is held to by default: evenly spread over the file."""


class Backend(Protocol):
    """One implementation of the scalar operations."""

    name: str

    def run(self, op: str, operands: Sequence[Words]) -> Words:
        """Results of an operation on arrays of bit patterns."""
        ...

    def convert(self, fmt: str, load: bool, values: Words) -> Words:
        """A load from a storage format, or a store to it."""
        ...


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the result: `cases` tried, `mismatches`, and the first of those as text."""

    operation: str
    backend: str
    cases: int
    mismatches: int
    first: str = ""


class Reference:
    """`opml.ops.softarray`: integers only."""

    name = "reference"

    def run(self, op: str, operands: Sequence[Words]) -> Words:
        code = [Instruction(OP_BY_NAME[op].code, *range(len(operands)))]
        return run_array(code, operands, [])[-1]

    def convert(self, fmt: str, load: bool, values: Words) -> Words:
        tensor = TENSOR_FORMAT_BY_NAME[fmt]
        if load:
            return load_array(tensor, values.astype(tensor.dtype))
        return store_array(tensor, values).astype(np.uint32)


class Native:
    """The native interpreter with soft or hardware floats: scalar programs, and tensors loaded and stored."""

    def __init__(self, name: str) -> None:
        self._engine = NativeEngine(name)
        self.name = name

    def run(self, op: str, operands: Sequence[Words]) -> Words:
        code = bytes([OP_BY_NAME[op].code, *range(len(operands)), 0, 0][:4])
        return self._engine.eval_program(code, operands, [])

    def convert(self, fmt: str, load: bool, values: Words) -> Words:
        held, made = (fmt, "f32") if load else ("f32", fmt)
        formats = TENSOR_FORMAT_BY_NAME[held], TENSOR_FORMAT_BY_NAME[made]
        model = ProgramBuilder(limit=1)
        block = model.block("convert")
        weight = block.weight(1, len(values))
        copy = block.emit("copy", 1, len(values), weight(c), out=Out[made.upper()])
        block.emit("sample", 1, 1, const(0), out=Out.I32, yields=True)
        program = model.program([(block, [Format[held.upper()]])])
        data = Weight(1, len(values), Format[held.upper()], values.astype(formats[0].dtype).tobytes())
        session = self._engine.load(program, Weights([data])).session(prompt_length=1)
        stored = np.frombuffer(session.capture([0], copy.number), formats[1].dtype)
        return stored.astype(np.uint32)


def backend(name: str) -> Backend:
    """A backend by name; `EngineError` when it isn't available here."""
    if name == "reference":
        return Reference()
    if name in ("soft", "native"):
        return Native(name)
    if name == "evm":
        from opml.cli.evm_backend import Evm

        return Evm()
    raise InputError(f"there is no backend {name!r}: choose among {', '.join(BACKENDS)}")


def load_vectors(file: Path | None) -> Mapping[str, Words]:
    """The arrays of a vector file (None: the one in the package), checked for type and shape."""
    if file is None:
        folder = resources.files("opml.ops").joinpath("data")
        packaged = sorted((f for f in folder.iterdir() if f.name.endswith(".npz")), key=lambda f: f.name)
        if not packaged:
            raise InputError("the package brings no float vectors: pass --vectors FILE.npz")
        with resources.as_file(packaged[0]) as path:
            return load_vectors(path)
    try:
        with np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except FileNotFoundError:
        raise InputError(f"there is no vector file {file}: check the path") from None
    except (OSError, ValueError, zipfile.BadZipFile, AttributeError) as problem:
        raise InputError(
            f"{file} is no .npz file of vectors ({problem}): pass a file of numpy.savez"
        ) from None
    for name, array in arrays.items():
        if array.ndim != 2 or array.dtype != np.uint32:
            raise InputError(
                f"{file}: {name} is {array.dtype} with {array.ndim} axes, uint32 cases by columns expected"
            )
        arity = (
            1 if name in CONVERSIONS else OP_BY_NAME[OPERATIONS[name]].arity if name in OPERATIONS else None
        )
        if arity is not None and array.shape[1] != arity + 1:
            raise InputError(
                f"{file}: {name} has {array.shape[1]} columns, {arity} operands and a result expected"
            )
    if not any(name in OPERATIONS or name in CONVERSIONS for name in arrays):
        raise InputError(
            f"{file} names no operation of the machine: it needs entries like {', '.join(OPERATIONS)}"
        )
    return arrays


def selftest(
    vectors: Mapping[str, Words],
    backends: Sequence[Backend],
    *,
    evm_sample: int | None = EVM_SAMPLE,
    on_row: Callable[[Row], None] = lambda row: None,
) -> list[Row]:
    """Run every operation of the vectors on every backend; rows in the order of the file."""
    rows = []
    for row in _rows(vectors, backends, evm_sample):
        on_row(row)
        rows.append(row)
    return rows


def _rows(vectors: Mapping[str, Words], backends: Sequence[Backend], evm_sample: int | None) -> Iterator[Row]:
    for entry, cases in vectors.items():
        for one in backends:
            some = cases
            if one.name == "evm" and evm_sample is not None and len(cases) > evm_sample:
                some = cases[np.linspace(0, len(cases) - 1, evm_sample).astype(np.intp)]
            columns = [np.ascontiguousarray(column) for column in some.T]
            *operands, expected = columns
            if entry not in OPERATIONS and entry not in CONVERSIONS:
                continue
            if not len(some):
                yield Row(entry, one.name, 0, 0)
                continue
            if entry in OPERATIONS:
                found = one.run(OPERATIONS[entry], operands)
            else:
                found = one.convert(*CONVERSIONS[entry], operands[0])
            yield _compared(entry, one.name, operands, expected, found)


def _compared(entry: str, name: str, operands: Sequence[Words], expected: Words, found: Words) -> Row:
    wrong = np.flatnonzero(expected != found)
    first = ""
    if wrong.size:
        at = int(wrong[0])
        arguments = ", ".join(f"0x{int(column[at]):08x}" for column in operands)
        first = f"{entry}({arguments}) = 0x{int(found[at]):08x}, expected 0x{int(expected[at]):08x}"
    return Row(entry, name, len(expected), int(wrong.size), first)


__all__ = [
    "BACKENDS",
    "CONVERSIONS",
    "EVM_SAMPLE",
    "OPERATIONS",
    "Backend",
    "Native",
    "Reference",
    "Row",
    "backend",
    "load_vectors",
    "selftest",
]
