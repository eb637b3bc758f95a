"""Weights in a mapped file: none of it stays resident, and memory that can be written is left as it is."""

from __future__ import annotations

import mmap
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from opml.ops.expr import f2i
from opml.vm.builder import ProgramBuilder, c, k
from opml.vm.encoding import encode
from opml.vm.isa import Fold, Format, Out
from tests.native import native_module
from tests.vm.programs import SMALL, Model, llama

native = native_module()
SIZE = replace(SMALL, vocabulary=40_000, limit=64)
TOKENS = [int(x) for x in np.random.default_rng(3).integers(0, SIZE.vocabulary, 39)]
"""With the position that is recomputed a multiple of those after which looked-up rows are let go."""


@pytest.fixture(scope="module")
def model() -> Model:
    return llama(s=SIZE)


def roots(model: Model, weights: Sequence[object], threads: int = 2) -> list[bytes]:
    machine = native.Machine(encode(model.program), weights, "native", threads)
    session = machine.new_session()
    session.feed(TOKENS[:-1], 3)
    session.feed(TOKENS[-1:], 3)
    assert session.recompute(5)
    return [bytes(root) for root in session.position_roots()]


def written(model: Model, path: Path) -> list[tuple[int, int]]:
    """The weights one after the other in a file; where each lies."""
    places, at = [], 0
    with path.open("wb") as file:
        for weight in model.weights:
            data = bytes(weight.data)
            places.append((at, at + len(data)))
            at += file.write(data + bytes(-len(data) % 32))
    return places


def resident(path: Path) -> int:
    """Resident bytes of a mapped file."""
    found, inside = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
            inside = line.endswith(str(path))
        elif inside and line.startswith("Rss:"):
            found += int(line.split()[1]) * 1024
    return found


def test_no_page_of_a_mapped_file_stays(model: Model, tmp_path: Path) -> None:
    path = tmp_path / "weights"
    places = written(model, path)
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        view = memoryview(mapped)
        parts = [view[begin:end] for begin, end in places]
        for part in parts:
            bytes(part)
        assert resident(path) > 1 << 20
        assert roots(model, parts) == roots(model, [weight.data for weight in model.weights])
        assert resident(path) < 1 << 18
        for part in (*parts, view):
            part.release()


def status(key: str) -> int:
    """Bytes that `/proc/self/status` gives."""
    line = next(x for x in Path("/proc/self/status").read_text().splitlines() if x.startswith(key))
    return int(line.split()[1]) * 1024


def test_a_file_is_let_go_while_it_is_packed(tmp_path: Path) -> None:
    """The peak is that of the packed weight: never are both there whole."""
    rows, n = 120_000, 256
    builder = ProgramBuilder(8)
    table, scale = builder.global_weight(1, n, Format.F32), builder.global_weight(1, n // 32, Format.F32)
    weight = builder.global_weight(rows, n, Format.Q8_0)
    b = builder.block("all")
    q = b.emit("q", 1, n, f2i(table(c)), out=Out.I8)
    d = b.emit("d", 1, n // 32, scale(c))
    y = b.emit("y", 1, rows, fold=Fold.QDOT, k=n, body=(weight(c * n + k), q(k), d(k // 32)))
    b.emit("sample", 1, 1, fold=Fold.ARGMAX, k=rows, body=(y(k),), out=Out.I32, yields=True)
    program, path, size = encode(builder.program([(b, [])])), tmp_path / "weight", rows * n // 32 * 34
    with path.open("wb") as file:
        file.truncate(size)
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        try:
            Path("/proc/self/clear_refs").write_text("5")  # the peak is what is resident now
        except OSError:
            pytest.skip("this system doesn't let a process begin its peak anew")
        before = status("VmRSS:")
        native.Machine(program, [bytes(4 * n), bytes(n // 8), mapped], "native", 2)
        assert size <= status("VmHWM:") - before < size + (24 << 20)


@pytest.mark.parametrize("access", [mmap.ACCESS_COPY, mmap.ACCESS_WRITE])
def test_writable_mappings_keep_what_was_written(model: Model, tmp_path: Path, access: int) -> None:
    path = tmp_path / "weights"
    places = written(model, path)
    path.write_bytes(bytes(path.stat().st_size))
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0, access=access) as mapped:
        view = memoryview(mapped)
        for (begin, end), weight in zip(places, model.weights, strict=True):
            view[begin:end] = bytes(weight.data)
        parts = [view[begin:end] for begin, end in places]
        assert roots(model, parts) == roots(model, [weight.data for weight in model.weights])
        assert [bytes(part) for part in parts] == [bytes(weight.data) for weight in model.weights]
        for part in (*parts, view):
            part.release()
