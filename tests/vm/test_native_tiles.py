"""Products of many positions: as many as fill tiles, leave some over, or need several sets of tiles."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from opml.vm import reference
from opml.vm.encoding import encode
from opml.vm.isa import Format, Program
from opml.vm.weights import Weights
from tests.vm.test_native_attention import LEVELS, native
from tests.vm.test_native_products import VOCABULARY, one_product
from tests.vm.test_native_scales import UNIT_BYTES

# Around one tile of 16 positions and four of them, and what is left over that is worth a tile or not.
POSITIONS = [8, 9, 15, 16, 17, 24, 25, 31, 48, 56, 57, 64, 65, 72, 73, 97]
# Blocks of 8 units, with what is taken together with a block and what is not.
UNITS = [1, 7, 8, 9, 12, 13, 16, 20, 21]


def roots(program: Program, weights: Weights, tokens: list[int], engine: str, level: str) -> list[bytes]:
    """Of the trace, fed as one batch and with one thread or two."""
    found = []
    for threads in (1, 2):
        machine = native.Machine(encode(program), [w.data for w in weights], engine, threads, level)
        session = machine.new_session()
        session.feed(tokens[:-1], 0)
        found.append(session.trace_root())
    return found


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32),
    st.sampled_from([*UNIT_BYTES]),
    st.sampled_from(["ends", "any"]),
    st.sampled_from(["tame", "tiny", "mixed", "raw"]),
    st.sampled_from(UNITS),
    st.sampled_from([16, 40, 157]),
    st.sampled_from(POSITIONS),
)
def test_products_of_many_positions_are_those_of_the_soft_baseline(
    seed: int, fmt: Format, kind: str, scales: str, units: int, rows: int, positions: int
) -> None:
    """The soft engine's baseline, which takes floats one by one, is held to the reference elsewhere."""
    program, weights = one_product(seed, fmt, kind, scales, units, rows)
    tokens = [int(x) for x in np.random.default_rng(seed).integers(0, VOCABULARY, positions + 1)]
    expected = roots(program, weights, tokens, "soft", "baseline")[0]
    for level in LEVELS:
        assert roots(program, weights, tokens, "native", level) == [expected] * 2, level


@settings(max_examples=6, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([*UNIT_BYTES]), st.sampled_from(["tame", "mixed"]))
def test_products_of_many_positions_give_the_reference_root(seed: int, fmt: Format, scales: str) -> None:
    program, weights = one_product(seed, fmt, "any", scales, 10, 40)
    tokens = [int(x) for x in np.random.default_rng(seed).integers(0, VOCABULARY, 45)]
    root = reference.run(program, weights, tokens, 1).trace_root()
    for level in LEVELS:
        assert roots(program, weights, tokens, "native", level) == [root] * 2, level
