"""Quantised and float products over any scales and weights give the reference root at every level."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from opml.vm import reference
from opml.vm.encoding import encode
from opml.vm.isa import Format
from opml.vm.weights import Weight, Weights
from tests.vm.programs import PARAMS, gpt2, llama
from tests.vm.test_native_attention import LEVELS, native, words

UNIT_BYTES = {Format.Q4_0: 18, Format.Q4_1: 20, Format.Q5_0: 22, Format.Q5_1: 24, Format.Q8_0: 34}
HALVES = [0, 0x8000, 1, 0x83FF, 0x0400, 0x3C00, 0x7BFF, 0x7C00, 0xFC00, 0x7E00, 0x7D01]


def damaged(weight: Weight, rng: np.random.Generator, share: float) -> Weight:
    """The weight with some of its scales and minima, or of its elements, replaced by special or raw ones."""
    if weight.format in UNIT_BYTES:
        halves = np.frombuffer(weight.data, "<u2").reshape(-1, UNIT_BYTES[weight.format] // 2).copy()
        columns = 2 if weight.format in (Format.Q4_1, Format.Q5_1) else 1
        special = rng.choice(np.array([*HALVES, *rng.integers(0, 1 << 16, 8)]), (len(halves), columns))
        hit = rng.random((len(halves), columns)) < share
        halves[:, :columns] = np.where(hit, special, halves[:, :columns])
        return Weight(weight.rows, weight.cols, weight.format, halves.astype("<u2").tobytes())
    if weight.format is Format.F32:
        found = np.frombuffer(weight.data, "<u4")
        hit = rng.random(found.size) < share / 8
        data = np.where(hit, words(int(rng.integers(1 << 30)), found.size, "raw"), found).astype("<u4")
        return Weight(weight.rows, weight.cols, weight.format, data.tobytes())
    return weight


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([*UNIT_BYTES, Format.F32]), st.sampled_from([0.002, 0.05]))
def test_products_over_any_scales_give_the_reference_root(seed: int, fmt: Format, share: float) -> None:
    rng = np.random.default_rng(seed)
    model = gpt2(fmt) if fmt is Format.F32 else llama(fmt)
    weights = Weights([damaged(weight, rng, share) for weight in model.weights])
    tokens = [int(x) for x in rng.integers(0, model.layout.weights[0].rows, 11)]
    root = reference.run(model.program, weights, tokens, 2, PARAMS).trace_root()
    for engine in ("soft", "native"):
        for level in LEVELS:
            machine = native.Machine(encode(model.program), [w.data for w in weights], engine, 2, level)
            session = machine.new_session(list(PARAMS))
            session.feed(tokens[:6], 1)
            for t in tokens[6:-1]:
                session.feed([t], 1)
            assert session.trace_root() == root, (engine, level)
