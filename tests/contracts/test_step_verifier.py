"""The contract computes every step as its Python twin does, from the same witness and from no other."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from functools import cache

import pytest

from opml.dispute.verifier import piece_witness, token_witness
from opml.vm import cost
from opml.vm.commitment import vocabulary_tree
from opml.vm.encoding import encode
from opml.vm.isa import Fold
from opml.vm.layout import Layout
from opml.vm.reference import run
from opml.vm.step import Mode, State, Target, prove
from opml.vm.trace import Trace, TraceTrees
from opml.vm.witness import Context, Prover
from tests.contracts.revm import Deployed, Reverted, selector
from tests.dispute.toys import every_form
from tests.vm.programs import MODELS, random_weights
from tests.vm.test_cost import targets as steps_of
from tests.vm.test_cost_random import random_layout
from tests.vm.test_step import PROMPT, TOKENS, targets, trace_of, wide_trace

VOCABULARY_ROOT = b"\7" * 32
EMPTY_STEP = 22_000
"""Gas of a step apart from what it computes: it is in the bound's constant."""


@cache
def verifier() -> Deployed:
    return Deployed("StepVerifier")


_PROGRAMS: dict[int, tuple[Layout, str]] = {}


def data_contract(layout: Layout) -> str:
    """The address of a program; of the same layout, the same one."""
    known = _PROGRAMS.get(id(layout))
    if known is None:
        known = _PROGRAMS[id(layout)] = layout, verifier().data_contract(encode(layout.program))
    return known[1]


def packed(state: State) -> int:
    """The number that the contract takes and returns for a state."""
    return 0 if not state else state[0] if len(state) == 1 else state[0] << 32 | state[1]


def context_of(
    layout: Layout, context: Context, vocabulary_root: bytes = VOCABULARY_ROOT
) -> tuple[object, ...]:
    params = sum(word << 32 * (7 - i) for i, word in enumerate(context.params))
    return (
        data_contract(layout),
        context.weights_root,
        vocabulary_root,
        40,
        context.trace_root,
        context.prompt_root,
        context.prompt_length,
        context.output_root,
        context.output_length,
        params,
    )


def target_of(target: Target) -> tuple[int, ...]:
    place = (target.t, target.ordinal, target.element, int(target.mode), target.lo, target.hi)
    return (*place, packed(target.total), packed(target.acc))


def on_chain(layout: Layout, context: Context, target: Target, witness: bytes) -> int:
    return int(verifier().call("step", context_of(layout, context), target_of(target), witness))


def check(trace: Trace, trees: TraceTrees, target: Target) -> State:
    """The state or the stored bits, by both twins; a step that the game asks for is within the bound."""
    expected, witness = prove(trees, target)
    found = on_chain(trace.layout, Context.of(trees), target, witness)
    slot = trace.layout.committed[target.ordinal]
    assert found == packed(expected), f"{slot.name} {target}"
    if target.mode != Mode.WHOLE or not trace.layout.dissected(slot, target.t):
        bound = cost.step(trace.layout, slot)
        own = bound.gas - cost.GAS["step"] - cost.GAS["calldata_byte"] * bound.bytes
        assert verifier().execution_gas - EMPTY_STEP <= own, f"{slot.name} {target}"
        assert verifier().transaction_gas <= bound.gas
    return expected


@pytest.mark.parametrize("t", [0, 2, 3])
@pytest.mark.parametrize("name", MODELS)
def test_contract_computes_every_element(name: str, t: int) -> None:
    trace = trace_of(name)
    for slot, element in targets(trace, t):
        assert slot.ordinal is not None
        check(trace, trace.trees, Target(t, slot.ordinal, element))


def chain(trace: Trace, ordinal: int, t: int, element: int, size: int) -> Iterator[Target]:
    """All chunks of a fold, each from the state of the one before, then the finish."""
    slot = trace.layout.committed[ordinal]
    k, total, acc = slot.instr.k.at(t), (), ()
    ordered = slot.instr.fold in (Fold.MAX, Fold.ARGMAX)
    for lo in range(0, k, size):
        hi = min(lo + size, k)
        target = Target(t, ordinal, element, Mode.CHUNK, lo, hi, total, acc)
        yield target
        state, _ = prove(trace.trees, target)
        total, acc = (state, ()) if ordered or hi == k or hi % 256 == 0 else (total, state)
    yield Target(t, ordinal, element, Mode.FINISH, total=total)


@pytest.mark.parametrize("name", MODELS)
def test_contract_computes_every_chunk_and_finish(name: str) -> None:
    trace, t = trace_of(name), 3
    for slot in trace.layout.committed:
        if slot.instr.fold == Fold.NONE or slot.ordinal is None:
            continue
        size = slot.instr.terms or (32 if slot.instr.fold == Fold.QDOT else 1)
        for target in chain(trace, slot.ordinal, t, trace.layout.slot_leaves(slot, t).length - 1, size):
            check(trace, trace.trees, target)


def test_contract_computes_steps_over_several_blocks_and_leaves() -> None:
    trace, rng = wide_trace(), random.Random(1)
    for slot in trace.layout.committed:
        if slot.ordinal is None or trace.layout.dissected(slot, 3):
            continue
        length = trace.layout.slot_leaves(slot, 3).length
        for element in {0, length - 1, rng.randrange(length)}:
            check(trace, trace.trees, Target(3, slot.ordinal, element))


@pytest.mark.parametrize("size", [64, 512])
@pytest.mark.parametrize("name", ["res2", "rms"])
def test_contract_computes_chunks_of_any_size_over_several_blocks(name: str, size: int) -> None:
    trace = wide_trace()
    slot = next(s for s in trace.layout.committed if s.instr.name == name)
    assert slot.ordinal is not None
    for target in chain(trace, slot.ordinal, 3, 0, size):
        check(trace, trace.trees, target)


def test_contract_computes_every_form_of_instruction() -> None:
    model = every_form()
    trace = run(model.program, model.weights, TOKENS, PROMPT)
    rng = random.Random(2)
    for slot in trace.layout.committed:
        for t in (0, 3):
            if slot.ordinal is None or not trace.layout.exists(slot, t, PROMPT):
                continue
            length = trace.layout.slot_leaves(slot, t).length
            for element in {0, length - 1, rng.randrange(length)}:
                steps = steps_of(trace, slot, t, element)
                for target in rng.sample(steps, min(6, len(steps))):
                    check(trace, trace.trees, target)


@pytest.mark.parametrize("seed", range(6))
def test_contract_computes_steps_of_random_programs_within_the_bound(seed: int) -> None:
    rng, tried = random.Random(seed), 0
    while tried < 12:
        layout = random_layout(rng)
        if layout is None:
            continue
        tried += 1
        trace = run(layout, random_weights(layout.program, seed), (1, 2, 3, 4, 5, 6), 2)
        slot = layout.committed[-2]
        length = layout.slot_leaves(slot, 4).length
        for element in {0, length - 1, rng.randrange(length)}:
            steps = steps_of(trace, slot, 4, element)
            for target in rng.sample(steps, min(5, len(steps))):
                check(trace, trace.trees, target)


# Hostile witnesses --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MODELS)
def test_contract_refuses_a_witness_with_any_byte_changed(name: str) -> None:
    trace, t = trace_of(name), 3
    context = Context.of(trace.trees)
    rng = random.Random(name)
    for slot, element in rng.sample(targets(trace, t), 8):
        assert slot.ordinal is not None
        target = Target(t, slot.ordinal, element)
        _, witness = prove(trace.trees, target)
        places = range(len(witness)) if len(witness) < 500 else rng.sample(range(len(witness)), 120)
        for place in places:
            changed = bytearray(witness)
            changed[place] ^= 1 << rng.randrange(8)
            with pytest.raises(Reverted) as refused:
                on_chain(trace.layout, context, target, bytes(changed))
            assert refused.value.selector == selector("WrongRoot(uint256,uint256,uint256,bytes32,bytes32)")


def test_contract_refuses_a_witness_of_another_length() -> None:
    trace = trace_of("llama")
    context, target = Context.of(trace.trees), Target(3, 2, 0)
    _, witness = prove(trace.trees, target)
    for wrong in (witness[:-1], witness[:-32], witness + b"\0", witness + bytes(32), b"", witness[1:]):
        with pytest.raises(Reverted):
            on_chain(trace.layout, context, target, wrong)
    with pytest.raises(Reverted) as refused:
        on_chain(trace.layout, context, target, witness + b"\0")
    assert refused.value.selector == selector("WitnessLength(uint256,uint256)")


@pytest.mark.parametrize("field", ["trace_root", "weights_root", "prompt_root", "output_root"])
def test_contract_refuses_another_root(field: str) -> None:
    trace = trace_of("llama")
    context = Context.of(trace.trees)
    ordinal = next(s.ordinal for s in trace.layout.committed if s.instr.name == "glu") or 0
    target = {"prompt_root": Target(0, 0, 5), "output_root": Target(3, 0, 5)}.get(
        field, Target(0, ordinal, 5)
    )
    _, witness = prove(trace.trees, target)
    on_chain(trace.layout, context, target, witness)
    with pytest.raises(Reverted):
        on_chain(trace.layout, replace(context, **{field: b"\1" * 32}), target, witness)


def test_contract_computes_another_place_from_no_foreign_witness() -> None:
    """A witness for one element is refused for one that reads other leaves, and for another position."""
    trace = trace_of("llama")
    context = Context.of(trace.trees)
    ordinal = next(s.ordinal for s in trace.layout.committed if s.instr.name == "res1") or 0
    _, witness = prove(trace.trees, Target(3, ordinal, 4))
    for target in (Target(2, ordinal, 4), Target(3, ordinal + 1, 4), Target(3, ordinal, 5)):
        with pytest.raises(Reverted):
            on_chain(trace.layout, context, target, witness)


@pytest.mark.parametrize(
    "wrong, error",
    [
        ({"mode": 3}, "NoMode(uint256)"),
        ({"element": 1 << 20}, "NoElement(uint256,uint256)"),
        ({"ordinal": 9_999}, "NoOrdinal(uint256,uint256)"),
        ({"mode": 1, "lo": 0, "hi": 33}, "NoChunk(uint256,uint256,uint256)"),
        ({"mode": 1, "lo": 0, "hi": 4_096}, "NoChunk(uint256,uint256,uint256)"),
        ({"mode": 1, "lo": 32, "hi": 32}, "NoChunk(uint256,uint256,uint256)"),
        ({"mode": 1, "lo": 1, "hi": 32}, "NoChunk(uint256,uint256,uint256)"),
    ],
)
def test_contract_refuses_a_target_that_is_none(wrong: dict[str, int], error: str) -> None:
    trace = trace_of("llama")
    context = Context.of(trace.trees)
    ordinal = next(s.ordinal for s in trace.layout.committed if s.instr.name == "res2") or 0
    fields = {"t": 3, "ordinal": ordinal, "element": 0, "mode": 0, "lo": 0, "hi": 0, "total": 0, "acc": 0}
    with pytest.raises(Reverted) as refused:
        verifier().call("step", context_of(trace.layout, context), tuple({**fields, **wrong}.values()), b"")
    assert refused.value.selector == selector(error)


def test_contract_refuses_an_address_without_a_program() -> None:
    trace = trace_of("llama")
    context = context_of(trace.layout, Context.of(trace.trees))
    with pytest.raises(Reverted) as refused:
        verifier().call("step", ("0x" + "77" * 20, *context[1:]), target_of(Target(0, 0, 0)), b"")
    assert refused.value.selector == selector("NoProgram(address)")


# Direct proofs ------------------------------------------------------------------------------------------


def test_token_proof_tells_a_posted_token_from_the_sample() -> None:
    trace = trace_of("llama")
    context = Context.of(trace.trees)
    on = context_of(trace.layout, context)
    for j in range(context.output_length):
        witness = token_witness(Prover(trace.trees), j)
        sampled = int.from_bytes(trace.tensor(PROMPT - 1 + j, len(trace.layout.committed) - 1)[:4], "little")
        assert verifier().call("tokenProof", on, j, witness) == (sampled != trace.tokens[PROMPT + j])
        with pytest.raises(Reverted):
            verifier().call("tokenProof", on, j, witness[:-1])
    with pytest.raises(Reverted) as refused:
        verifier().call("tokenProof", on, context.output_length, b"")
    assert refused.value.selector == selector("NoOutput(uint256,uint256)")


def test_piece_proof_tells_a_slice_of_the_answer_from_the_piece() -> None:
    trace = trace_of("llama")
    pieces = [bytes([65 + i]) * (i % 4) for i in range(40)]
    tree = vocabulary_tree(pieces)
    context = Context.of(trace.trees)
    on = context_of(trace.layout, context, tree.root)
    output = trace.tokens[PROMPT:]
    right = [pieces[token] for token in output]
    lengths = b"".join(len(piece).to_bytes(2, "big") for piece in right)
    for j in range(len(output)):
        witness = piece_witness(Prover(trace.trees), j, pieces, tree)
        assert not verifier().call("pieceProof", on, j, b"".join(right), lengths, witness)
        wrong = b"".join(b"!" * len(piece) if i == j else piece for i, piece in enumerate(right))
        assert verifier().call("pieceProof", on, j, wrong, lengths, witness) == (right[j] != b"")
        longer = bytearray(lengths)
        longer[2 * j + 1] += 1
        answer = b"".join(piece + b"." * (i == j) for i, piece in enumerate(right))
        assert verifier().call("pieceProof", on, j, answer, bytes(longer), witness)
        for place in range(len(witness)):
            changed = bytearray(witness)
            changed[place] ^= 1
            with pytest.raises(Reverted):
                verifier().call("pieceProof", on, j, b"".join(right), lengths, bytes(changed))
    with pytest.raises(Reverted) as refused:
        verifier().call("pieceProof", on, 1, b"", lengths[:3], b"")
    assert refused.value.selector == selector("NoLength(uint32,uint256)")


def test_the_path_of_a_piece_is_as_long_as_the_vocabulary_tree_is_deep() -> None:
    """A subtree is no piece, nor is what a shorter or longer path leads to."""
    trace = trace_of("llama")
    pieces = [bytes([65 + i]) for i in range(40)]
    tree = vocabulary_tree(pieces)
    witness = piece_witness(Prover(trace.trees), 0, pieces, tree)
    answer, lengths = b"?" * len(trace.tokens[PROMPT:]), b"\0\1" * len(trace.tokens[PROMPT:])
    assert verifier().call(
        "pieceProof",
        context_of(trace.layout, Context.of(trace.trees), tree.root),
        0,
        answer,
        lengths,
        witness,
    )
    for size in (1, 20, 32, 65, 1 << 20):
        on = list(context_of(trace.layout, Context.of(trace.trees), tree.root))
        on[3] = size
        with pytest.raises(Reverted):
            verifier().call("pieceProof", tuple(on), 0, answer, lengths, witness)
    on = context_of(trace.layout, Context.of(trace.trees), tree.root)
    for changed in (witness[:-32], witness + bytes(32)):
        with pytest.raises(Reverted):
            verifier().call("pieceProof", on, 0, answer, lengths, changed)


def test_piece_that_ends_beyond_the_answer_is_not_the_piece() -> None:
    trace = trace_of("llama")
    pieces = [b"abc"] * 40
    tree = vocabulary_tree(pieces)
    on = context_of(trace.layout, Context.of(trace.trees), tree.root)
    witness = piece_witness(Prover(trace.trees), 1, pieces, tree)
    lengths = b"\0\3" * len(trace.tokens[PROMPT:])
    assert verifier().call("pieceProof", on, 1, b"abcab", lengths, witness)
    assert not verifier().call("pieceProof", on, 1, b"abcabc", lengths, witness)


# Limits -------------------------------------------------------------------------------------------------


def test_contract_is_small_enough() -> None:
    assert verifier().code_size <= 24_576
