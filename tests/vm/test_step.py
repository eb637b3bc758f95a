"""A step recomputes what the reference executor computed, bit for bit, from data that it proves."""

from __future__ import annotations

import random
from functools import cache

import pytest

from opml.errors import InputError
from opml.vm.isa import OUT_BYTES, Fold, Format
from opml.vm.layout import SlotInfo
from opml.vm.reference import Fault, inject, run
from opml.vm.step import Mode, State, Target, prove, verify
from opml.vm.trace import Cursor, MemoryTrace, Stage, TraceTrees
from opml.vm.witness import Context
from tests.vm.programs import MODELS, PARAMS, Size, llama

TOKENS = (3, 1, 2, 24, 5)
PROMPT = 3


@cache
def trace_of(name: str) -> MemoryTrace:
    model = MODELS[name]()
    return run(model.program, model.weights, TOKENS, PROMPT, PARAMS)


def stored_bits(trace: MemoryTrace, slot: SlotInfo, t: int, element: int) -> int:
    assert slot.ordinal is not None
    size = OUT_BYTES[slot.instr.out]
    return int.from_bytes(trace.tensor(t, slot.ordinal)[element * size : (element + 1) * size], "little")


def targets(trace: MemoryTrace, t: int) -> list[tuple[SlotInfo, int]]:
    """All elements of all committed slots of a position."""
    layout = trace.layout
    return [
        (slot, element)
        for slot in layout.committed
        if layout.exists(slot, t, PROMPT)
        for element in range(layout.slot_leaves(slot, t).length)
    ]


@pytest.mark.parametrize("t", [0, 3])
@pytest.mark.parametrize("name", MODELS)
def test_step_equals_the_trace_for_every_element(name: str, t: int) -> None:
    trace = trace_of(name)
    context = Context.of(trace.trees)
    for slot, element in targets(trace, t):
        assert slot.ordinal is not None
        target = Target(t, slot.ordinal, element)
        expected = (stored_bits(trace, slot, t, element),)
        result, witness = prove(trace.trees, target)
        assert result == expected, f"{slot.name} element {element}"
        assert verify(trace.layout, context, target, witness) == expected


def chunked(trace: MemoryTrace, slot: SlotInfo, t: int, element: int, size: int) -> State:
    """The total of a fold from a chain of chunk steps, each proven and verified."""
    assert slot.ordinal is not None
    context, k = Context.of(trace.trees), slot.instr.k.at(t)
    total: State = ()
    acc: State = ()
    ordered = slot.instr.fold in (Fold.MAX, Fold.ARGMAX)
    for lo in range(0, k, size):
        hi = min(lo + size, k)
        target = Target(t, slot.ordinal, element, Mode.CHUNK, lo, hi, total, acc)
        state, witness = prove(trace.trees, target)
        assert verify(trace.layout, context, target, witness) == state
        if ordered or hi == k or hi % 256 == 0:
            total, acc = state, ()
        else:
            acc = state
    return total


@pytest.mark.parametrize("name", MODELS)
def test_chunks_then_finish_equal_the_trace(name: str) -> None:
    trace, t = trace_of(name), 3
    context = Context.of(trace.trees)
    for slot in trace.layout.committed:
        if slot.instr.fold == Fold.NONE or slot.ordinal is None:
            continue
        size = 32 if slot.instr.fold == Fold.QDOT else max(1, slot.instr.terms)
        length = trace.layout.slot_leaves(slot, t).length
        for element in {0, length - 1}:
            total = chunked(trace, slot, t, element, size)
            target = Target(t, slot.ordinal, element, Mode.FINISH, total=total)
            expected = (stored_bits(trace, slot, t, element),)
            result, witness = prove(trace.trees, target)
            assert result == expected, slot.name
            assert verify(trace.layout, context, target, witness) == expected


@pytest.mark.parametrize("name", MODELS)
def test_verifier_refuses_a_witness_with_any_byte_changed(name: str) -> None:
    trace, t = trace_of(name), 3
    context = Context.of(trace.trees)
    rng = random.Random(name)
    for slot, element in rng.sample(targets(trace, t), 6):
        assert slot.ordinal is not None
        target = Target(t, slot.ordinal, element)
        _, witness = prove(trace.trees, target)
        places = range(len(witness)) if len(witness) < 400 else rng.sample(range(len(witness)), 60)
        for at in places:
            changed = bytearray(witness)
            changed[at] ^= 1 << rng.randrange(8)
            with pytest.raises(InputError):
                verify(trace.layout, context, target, bytes(changed))


@cache
def wide_trace() -> MemoryTrace:
    """Folds of several blocks, rows and tensors of several leaves."""
    model = llama(Format.Q8_0, Size(dim=320, hidden=544, heads=3, kv=1, vocabulary=600, limit=12))
    return run(model.program, model.weights, TOKENS, PROMPT, PARAMS)


def test_step_equals_the_trace_over_several_blocks_and_leaves() -> None:
    trace, rng = wide_trace(), random.Random(1)
    context = Context.of(trace.trees)
    for slot in trace.layout.committed:
        length = trace.layout.slot_leaves(slot, 3).length if slot.ordinal is not None else 0
        for element in {0, length - 1, rng.randrange(length)}:
            target = Target(3, slot.ordinal or 0, element)
            expected = (stored_bits(trace, slot, 3, element),)
            result, witness = prove(trace.trees, target)
            assert result == expected, f"{slot.name} element {element}"
            assert verify(trace.layout, context, target, witness) == expected


@pytest.mark.parametrize("size", [1, 512])
@pytest.mark.parametrize("name", ["res2", "rms", "lmax", "sample"])
def test_chunks_of_any_size_chain_over_several_blocks(name: str, size: int) -> None:
    trace, t = wide_trace(), 3
    slot = next(s for s in trace.layout.committed if s.instr.name == name)
    assert slot.ordinal is not None
    if slot.instr.fold == Fold.QDOT and size < 32:
        size = 64
    if slot.instr.fold == Fold.ARGMAX and size < 32:
        size = 128
    total = chunked(trace, slot, t, 0, size)
    result, _ = prove(trace.trees, Target(t, slot.ordinal, 0, Mode.FINISH, total=total))
    assert result == (stored_bits(trace, slot, t, 0),)


def test_overlay_leads_an_own_opening_to_the_root_of_another_trace() -> None:
    model = MODELS["llama"]()
    ordinal = next(s.ordinal for s in model.layout.committed if s.instr.name == "res1") or 0
    fault = Fault(3, model.layout.committed[ordinal].number, 4, 1)
    own = run(model.program, model.weights, TOKENS, PROMPT, PARAMS)
    theirs = run(model.program, model.weights, TOKENS, PROMPT, PARAMS, inject([fault]))
    trees, other = TraceTrees(own), theirs.trees
    for stage, t, index, tree in ((0, 0, 3, other.trace_tree), (1, 3, ordinal, other.position_tree(3))):
        for height in range(tree.depth + 1):
            for node in {index >> height, (index >> height) ^ 1} if height < tree.depth else {0}:
                trees.overlay(Cursor(Stage(stage), height, node, t), tree.node(height, node))
    result, witness = prove(trees, Target(3, ordinal, 4))
    assert result == (stored_bits(own, own.layout.committed[ordinal], 3, 4),)
    assert verify(own.layout, Context.of(other), Target(3, ordinal, 4), witness) == result
    assert result != (stored_bits(theirs, own.layout.committed[ordinal], 3, 4),)


def test_verifier_refuses_a_witness_of_another_length() -> None:
    trace = trace_of("llama")
    context, target = Context.of(trace.trees), Target(3, 2, 0)
    _, witness = prove(trace.trees, target)
    for wrong in (witness[:-1], witness + b"\0", b""):
        with pytest.raises(InputError):
            verify(trace.layout, context, target, wrong)


@pytest.mark.parametrize("field", ["trace_root", "weights_root", "prompt_root"])
def test_verifier_refuses_another_root(field: str) -> None:
    trace = trace_of("llama")
    context = Context.of(trace.trees)
    wrong = Context(**{**{f: getattr(context, f) for f in context.__slots__}, field: b"\1" * 32})
    ordinal = next(s.ordinal for s in trace.layout.committed if s.instr.name == "glu")
    target = Target(0, 0, 5) if field == "prompt_root" else Target(0, ordinal or 0, 5)
    _, witness = prove(trace.trees, target)
    with pytest.raises(InputError):
        verify(trace.layout, wrong, target, witness)
