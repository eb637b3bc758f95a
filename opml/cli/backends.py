"""The arithmetic of every backend, held to float vectors.

What a vector file holds: `opml.ops.vectors`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from opml.errors import InputError
from opml.ops import vectors
from opml.ops.expr import const
from opml.ops.program import Instruction, run_array
from opml.ops.quant import TENSOR_FORMAT_BY_NAME, load_array, store_array
from opml.ops.table import OP_BY_NAME
from opml.ops.vectors import Entry
from opml.vm.builder import ProgramBuilder, c
from opml.vm.engine import NativeEngine
from opml.vm.isa import Format, Out
from opml.vm.weights import Weight, Weights

Words = NDArray[np.uint32]

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


def load_vectors(file: Path | None) -> Mapping[str, Entry]:
    """The entries of a vector file (None: the one in the package); `InputError` for anything else."""
    if file is None:
        return vectors.shipped_vectors()
    if not file.is_file():
        raise InputError(f"there is no vector file {file}: check the path")
    entries = vectors.load_vectors(file)
    if not entries:
        raise InputError(
            f"{file} names no operation of the machine: it needs entries like {', '.join(vectors.CHECKS)}"
        )
    return entries


def selftest(
    entries: Mapping[str, Entry],
    backends: Sequence[Backend],
    *,
    evm_sample: int | None = EVM_SAMPLE,
    on_row: Callable[[Row], None] = lambda row: None,
) -> list[Row]:
    """Run every operation of the vectors on every backend; rows in the order of the entries."""
    rows = []
    for row in _rows(entries, backends, evm_sample):
        on_row(row)
        rows.append(row)
    return rows


def _rows(entries: Mapping[str, Entry], backends: Sequence[Backend], evm_sample: int | None) -> Iterator[Row]:
    for name, entry in entries.items():
        for one in backends:
            operands, expected = entry.operands, entry.expected
            if one.name == "evm" and evm_sample is not None and len(expected) > evm_sample:
                chosen = np.linspace(0, len(expected) - 1, evm_sample).astype(np.intp)
                operands, expected = operands[:, chosen], expected[chosen]
            columns = [np.ascontiguousarray(column) for column in operands]
            if entry.check.kind == "op":
                found = one.run(entry.check.name, columns)
            else:
                found = one.convert(entry.check.name, entry.check.kind == "load", columns[0])
            yield _compared(name, one.name, columns, expected, found)


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
    "EVM_SAMPLE",
    "Backend",
    "Native",
    "Reference",
    "Row",
    "backend",
    "load_vectors",
    "selftest",
]
