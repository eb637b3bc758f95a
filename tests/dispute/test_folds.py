"""Running totals computed together are those of the scalar walk, bit by bit."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
import toys
from table import Table

from opml.dispute.folds import FoldWalker
from opml.dispute.own import walk_states
from opml.dispute.totals import Chunk, Dissection
from opml.vm.isa import Fold


@pytest.mark.parametrize("name", toys.NAMES)
def test_totals_are_those_of_the_scalar_walk(name: str) -> None:
    table = Table(toys.model(name), outputs=3)
    trace, layout, rng = table.honest, table.model.layout, random.Random(name)
    walker = FoldWalker(trace)
    for ordinal, slot in enumerate(layout.committed):
        if slot.instr.fold == Fold.NONE:
            continue
        t = rng.choice([t for t in range(table.last + 1) if layout.exists(slot, t, len(table.prompt))])
        rows, cols = layout.shape(slot, t)
        element, cuts = rng.randrange(rows * cols), Dissection.of(slot.instr, t)
        chunks: Sequence[Chunk] = cuts.chunks if cuts.needed else (Chunk(0, cuts.length),)
        states = walk_states(trace, t, ordinal, element, chunks, ())
        assert walker.states(t, ordinal, element, chunks, ()) == states, slot.name
        if cuts.needed and cuts.two_rounds:
            j = rng.randrange(len(chunks))
            inner, start = cuts.inner(chunks[j]), states[j - 1] if j else ()
            expected = walk_states(trace, t, ordinal, element, inner, start)
            assert walker.states(t, ordinal, element, inner, start) == expected, slot.name


def test_no_chunks_give_no_states() -> None:
    assert FoldWalker(Table(toys.model("every_form")).honest).states(0, 5, 0, (), ()) == []
