"""Running totals computed together are those that the scalar walk gives."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from opml.cli.folds import Folds
from opml.dispute.own import walk_states
from opml.dispute.totals import Chunk
from opml.models.model import Model, load_model
from opml.models.shapes import SHAPES
from opml.vm.engine import get_engine, run
from opml.vm.isa import Fold
from opml.vm.trace import Trace

TOKENS = (5, 9, 2, 7, 7, 1, 30, 4, 11, 6)
PARAMS = (0x3F000000, 0xC0000000, 77, 0)


def models(tiny_file: Path) -> Iterator[Model]:
    yield load_model(tiny_file)
    for name, make in SHAPES.items():
        if name != "four letters":  # too small to have a fold worth it
            yield make()


def traces(tiny_file: Path) -> Iterator[Trace]:
    for model in models(tiny_file):
        machine = get_engine("reference").load(model.program, model.weights)
        yield run(machine, TOKENS, 4, PARAMS)


def folded(trace: Trace, t: int) -> Iterator[tuple[int, int, int]]:
    """(ordinal, element, length) of the folds that are computed together."""
    for ordinal, slot in enumerate(trace.layout.committed):
        length = slot.instr.k.at(t)
        if slot.instr.fold not in (Fold.NONE, Fold.QDOT) and length <= 400:
            rows, cols = trace.layout.shape(slot, t)
            yield from ((ordinal, element, length) for element in {0, rows * cols - 1})


def cut(lo: int, hi: int, stride: int) -> list[Chunk]:
    return [Chunk(a, min(a + stride, hi)) for a in range(lo, hi, stride)]


@pytest.mark.parametrize("stride", [1, 4, 256])
def test_states_are_those_of_the_scalar_walk(tiny_file: Path, stride: int) -> None:
    t = len(TOKENS) - 2
    for trace in traces(tiny_file):
        folds = Folds()
        tried = list(folded(trace, t))
        assert len(tried) > 2
        for ordinal, element, length in tried:
            chunks = cut(0, length, stride)
            expected = walk_states(trace, t, ordinal, element, chunks, ())
            assert folds(trace, t, ordinal, element, chunks, ()) == expected


def test_states_go_on_from_a_total(tiny_file: Path) -> None:
    t = len(TOKENS) - 2
    for trace in traces(tiny_file):
        folds = Folds()
        for ordinal, element, length in folded(trace, t):
            if length <= 256:
                continue
            (first,) = walk_states(trace, t, ordinal, element, cut(0, 256, 256), ())
            chunks = cut(256, length, 16)
            expected = walk_states(trace, t, ordinal, element, chunks, first)
            assert folds(trace, t, ordinal, element, chunks, first) == expected
