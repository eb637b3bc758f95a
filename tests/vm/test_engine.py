"""All engines give the same tokens and roots, one by one or as a batch."""

from __future__ import annotations

import pytest

from opml.errors import EngineError, InputError
from opml.vm.engine import Engine, generate, get_engine, run
from opml.vm.isa import Format
from opml.vm.reference import Fault
from opml.vm.step import Target, prove, verify
from opml.vm.trace import Trace, TraceTrees
from opml.vm.weights import Weights
from opml.vm.witness import Context
from tests.native import native_module
from tests.vm.programs import MODELS, PARAMS, llama

PROMPT = (3, 1, 2)


def engine(name: str) -> Engine:
    if name != "reference":
        native_module()
    return get_engine(name)


def roots(trace: Trace) -> tuple[bytes, list[bytes]]:
    return trace.trace_root(), [trace.position_root(t) for t in range(len(trace.tokens) - 1)]


@pytest.mark.parametrize("name", MODELS)
def test_batch_equals_one_by_one_for_the_reference(name: str) -> None:
    made = MODELS[name]()
    model = get_engine("reference").load(made.program, made.weights)
    one_by_one = generate(model, PROMPT, 4, PARAMS)
    assert roots(run(model, one_by_one.tokens, len(PROMPT), PARAMS)) == roots(one_by_one)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("other", ["soft", "native"])
def test_engine_equals_the_reference(name: str, other: str) -> None:
    made = MODELS[name]()
    expected = generate(get_engine("reference").load(made.program, made.weights), PROMPT, 4, PARAMS)
    model = engine(other).load(made.program, made.weights)
    seen: list[int] = []
    found = generate(model, PROMPT, 4, PARAMS, on_token=seen.append)
    assert found.tokens == expected.tokens and tuple(seen) == expected.tokens[len(PROMPT) :]
    assert roots(found) == roots(expected)
    assert roots(run(model, expected.tokens, len(PROMPT), PARAMS)) == roots(expected)
    for t in range(len(expected.tokens) - 1):
        assert list(found.slot_roots(t)) == list(expected.slot_roots(t))


@pytest.mark.parametrize("name", ["soft", "native"])
def test_session_that_captured_gives_no_trace(name: str) -> None:
    made = llama()
    session = engine(name).load(made.program, made.weights).session(len(PROMPT), PARAMS)
    captured = session.capture(PROMPT, 0)
    assert captured
    with pytest.raises(InputError, match="feed the tokens to a new one"):
        session.trace((*PROMPT, 0))


@pytest.mark.parametrize("name", ["soft", "native"])
def test_captured_slot_equals_the_reference(name: str) -> None:
    made = llama()
    for slot in range(len(made.layout.slots)):
        expected, found = (
            engine(n).load(made.program, made.weights).session(1, PARAMS).capture(PROMPT, slot)
            for n in ("reference", name)
        )
        assert found == expected, made.layout.slots[slot].instr.name


def test_native_trace_proves_steps() -> None:
    made = llama()
    trace = generate(engine("native").load(made.program, made.weights), PROMPT, 3, PARAMS)
    trees = TraceTrees(trace)
    context = Context.of(trees)
    for ordinal in range(len(trace.layout.committed)):
        target = Target(3, ordinal, 0)
        result, witness = prove(trees, target)
        assert verify(trace.layout, context, target, witness) == result


@pytest.mark.parametrize("name", ["reference", "soft", "native"])
def test_fault_changes_one_element_and_its_readers(name: str) -> None:
    made = llama()
    model = engine(name).load(made.program, made.weights)
    slot = next(s for s in model.layout.slots if s.instr.name == "res1")
    honest = run(model, (*PROMPT, 5, 6), len(PROMPT), PARAMS)
    faulty = run(model, (*PROMPT, 5, 6), len(PROMPT), PARAMS, [Fault(1, slot.number, 7, 0x40000000)])
    assert slot.ordinal is not None
    assert faulty.position_root(0) == honest.position_root(0)
    for ordinal in range(slot.ordinal):
        assert faulty.tensor(1, ordinal) == honest.tensor(1, ordinal)
    a, b = honest.tensor(1, slot.ordinal), faulty.tensor(1, slot.ordinal)
    assert [i for i in range(len(a)) if a[i] != b[i]] == [4 * 7 + 3]
    assert faulty.tensor(1, slot.ordinal + 1) != honest.tensor(1, slot.ordinal + 1)


@pytest.mark.parametrize("name", ["reference", "soft"])
def test_fault_in_a_virtual_slot_is_seen_by_its_readers(name: str) -> None:
    made = llama()
    model = engine(name).load(made.program, made.weights)
    slot = next(s for s in model.layout.slots if s.instr.name == "score")
    honest = run(model, (*PROMPT, 5), len(PROMPT), PARAMS)
    faulty = run(model, (*PROMPT, 5), len(PROMPT), PARAMS, [Fault(2, slot.number, 0, 1 << 30)])
    assert faulty.position_root(1) == honest.position_root(1)
    assert faulty.position_root(2) != honest.position_root(2)


def test_generate_stops_at_an_end_token_and_at_the_limit() -> None:
    made = llama()
    model = get_engine("reference").load(made.program, made.weights)
    free = generate(model, PROMPT, 100, PARAMS)
    assert len(free.tokens) == made.program.limit + 1
    ended = generate(model, PROMPT, 100, PARAMS, end_tokens=[free.tokens[len(PROMPT) + 1]])
    assert ended.tokens == free.tokens[: len(ended.tokens)]
    assert len(ended.tokens) <= len(PROMPT) + 2


def test_engine_refuses_unknown_name_and_wrong_weights() -> None:
    with pytest.raises(EngineError, match="reference, soft, native"):
        get_engine("fast")
    made, other = llama(), llama(Format.Q8_0)
    with pytest.raises(InputError, match="Q4_1"):
        get_engine("reference").load(made.program, other.weights)
    with pytest.raises(InputError, match="weights"):
        get_engine("reference").load(made.program, Weights(list(made.weights)[:-1]))


def test_run_refuses_no_output_and_too_many_positions() -> None:
    made = llama()
    model = get_engine("reference").load(made.program, made.weights)
    with pytest.raises(InputError, match="output"):
        run(model, PROMPT, len(PROMPT), PARAMS)
    with pytest.raises(InputError, match="positions"):
        run(model, [1] * (made.program.limit + 2), 3, PARAMS)
