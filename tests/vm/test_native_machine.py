"""The native interpreter against the reference: the same bits for every engine, level, threads and batch."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opml.ops.expr import fma, i2f, imul, lt, sel, shr, sub
from opml.vm import reference
from opml.vm.builder import ProgramBuilder, axis, c, k, param
from opml.vm.commitment import Tag, weight_tree
from opml.vm.encoding import encode
from opml.vm.isa import Fold, Format, Out
from opml.vm.trace import MemoryTrace
from opml.vm.weights import Weight, Weights
from tests.native import native_module
from tests.vm.programs import MODELS, PARAMS, SMALL, Model, gemma3, gpt2, llama, moe, random_weight

native = native_module()
LEVELS = native.levels()
PROMPT = 5
BIGGER = replace(SMALL, dim=96, hidden=320, heads=3, kv=1, head=32, layers=2, vocabulary=300, limit=24)
QUANTISED = [Format.Q4_0, Format.Q4_1, Format.Q5_0, Format.Q5_1, Format.Q8_0]

Faults = list[tuple[int, int, int, int]]


def machine(
    model: Model, engine: str = "native", threads: int = 1, level: str = "auto", generic: bool = False
) -> native.Machine:
    return native.Machine(
        encode(model.program), [w.data for w in model.weights], engine, threads, level, generic
    )


def tokens_for(model: Model, n: int, seed: int = 1) -> list[int]:
    vocabulary = model.layout.weights[0].rows
    return [int(x) for x in np.random.default_rng(seed).integers(0, vocabulary, n)]


def expected(model: Model, tokens: list[int], faults: Faults | None = None) -> MemoryTrace:
    corrupt = reference.inject([reference.Fault(*f) for f in faults]) if faults else None
    return reference.run(model.program, model.weights, tokens, PROMPT, PARAMS, corrupt)


def assert_same(session: native.Session, trace: MemoryTrace) -> None:
    """Same roots; where they differ, says which slot of which position is the first."""
    for t, root in enumerate(session.position_roots()):
        if root == trace.position_root(t):
            continue
        found = session.recompute(t)
        for slot in trace.layout.committed:
            if slot.number in found:
                assert found[slot.number] == trace.tensor(t, slot.ordinal or 0), (t, slot.name)
        raise AssertionError(f"position {t}: same tensors, another root")
    assert session.trace_root() == trace.trace_root()


@pytest.fixture(scope="module", params=list(MODELS))
def case(request: pytest.FixtureRequest) -> tuple[Model, list[int], MemoryTrace]:
    model = MODELS[request.param]()
    tokens = tokens_for(model, 15)
    return model, tokens, expected(model, tokens)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("engine", ["soft", "native"])
def test_every_engine_and_level_gives_the_reference_root(
    case: tuple[Model, list[int], MemoryTrace], engine: str, level: str
) -> None:
    model, tokens, trace = case
    session = machine(model, engine, 2, level).new_session(list(PARAMS))
    samples = session.feed(tokens[:-1], PROMPT - 1)
    assert_same(session, trace)
    assert len(samples) == len(tokens) - PROMPT
    last = trace.layout.committed[-1].ordinal or 0
    assert samples == [
        int.from_bytes(trace.tensor(t, last), "little") for t in range(PROMPT - 1, len(tokens) - 1)
    ]


@settings(max_examples=12, deadline=None)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=14), st.sampled_from([1, 2, 3]))
def test_batch_size_and_threads_change_no_bit(
    case: tuple[Model, list[int], MemoryTrace], cuts: list[int], threads: int
) -> None:
    model, tokens, trace = case
    session = machine(model, threads=threads).new_session(list(PARAMS))
    left = tokens[:-1]
    for n in [*cuts, *[1] * len(left)]:
        if left:
            session.feed(left[:n], PROMPT - 1)
            left = left[n:]
    assert_same(session, trace)


@pytest.mark.parametrize("fmt", QUANTISED, ids=lambda f: f.name)
@pytest.mark.parametrize("engine", ["soft", "native"])
def test_larger_tensors_of_every_quantisation_give_the_reference_root(fmt: Format, engine: str) -> None:
    model = llama(fmt, BIGGER)
    tokens = tokens_for(model, 12)
    trace = expected(model, tokens)
    for level in LEVELS:
        session = machine(model, engine, 2, level).new_session(list(PARAMS))
        session.feed(tokens[:-1], PROMPT - 1)
        assert_same(session, trace)


@pytest.mark.parametrize("fmt", QUANTISED, ids=lambda f: f.name)
def test_tiles_of_any_positions_and_odd_groups_of_rows_give_the_reference_root(fmt: Format) -> None:
    """A thread's 48 rows are a pair of groups and one more; batches leave every number of positions over."""
    model = llama(fmt, replace(BIGGER, layers=1))
    tokens = tokens_for(model, 23)
    trace = expected(model, tokens)
    for level in LEVELS:
        for sizes in ([22], [13, 9], [8, 7, 5, 2], [6, 4, 3, 1, 1, 7]):
            session = machine(model, level=level).new_session(list(PARAMS))
            for start, size in zip(np.cumsum([0, *sizes]), sizes, strict=False):
                session.feed(tokens[:-1][start : start + size], PROMPT - 1)
            assert_same(session, trace)


@pytest.mark.parametrize("fmt", [Format.F32, Format.F16, Format.BF16], ids=lambda f: f.name)
def test_plain_weights_give_the_reference_root(fmt: Format) -> None:
    model = gpt2(fmt, replace(BIGGER, layers=1))
    tokens = tokens_for(model, 10)
    trace = expected(model, tokens)
    for engine in ("soft", "native"):
        for level in LEVELS:
            session = machine(model, engine, 2, level).new_session(list(PARAMS))
            session.feed(tokens[:-1], PROMPT - 1)
            assert_same(session, trace)


@pytest.mark.parametrize("make", [gemma3, moe], ids=lambda f: f.__name__)
def test_other_shapes_of_model_give_the_reference_root(make: type) -> None:
    model = make(s=replace(BIGGER, window=7))
    tokens = tokens_for(model, 20)
    trace = expected(model, tokens)
    session = machine(model, threads=2).new_session(list(PARAMS))
    session.feed(tokens[:-1], PROMPT - 1)
    assert_same(session, trace)


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_a_fault_in_any_tensor_is_seen_by_its_readers_alone(data: st.DataObject) -> None:
    model = MODELS[data.draw(st.sampled_from(list(MODELS)))]()
    tokens = tokens_for(model, 10)
    slot = data.draw(st.sampled_from(model.layout.slots))
    first = PROMPT - 1 if slot.instr.yields else 0
    t = data.draw(st.integers(first, len(tokens) - 2))
    rows, cols = model.layout.shape(slot, t)
    element = data.draw(st.integers(0, rows * cols - 1))
    bit = data.draw(st.integers(0, 8 * slot.instr.out.info.bytes - 1))
    faults = [(t, slot.number, element, 1 << bit)]
    trace = expected(model, tokens, faults)
    for step in (len(tokens), 1):
        session = machine(model).new_session(list(PARAMS), faults)
        for start in range(0, len(tokens) - 1, step):
            session.feed(tokens[:-1][start : start + step], PROMPT - 1)
        assert_same(session, trace)


def test_decode_equals_generation_by_the_reference() -> None:
    model = llama(Format.Q4_0)
    prompt = tokens_for(model, PROMPT)
    trace = reference.generate(model.program, model.weights, prompt, 8, PARAMS)
    session = machine(model).new_session(list(PARAMS))
    tokens = [*prompt, *session.feed(prompt, PROMPT - 1)]
    while len(tokens) < len(trace.tokens):
        tokens.append(session.decode(tokens[-1]))
    assert tuple(tokens) == trace.tokens
    assert session.trace_root() == trace.trace_root()
    assert session.sample(PROMPT - 1) == tokens[PROMPT]


def test_recompute_gives_slots_and_roots_of_any_position() -> None:
    model = llama()
    tokens = tokens_for(model, 12)
    trace = expected(model, tokens)
    session = machine(model).new_session(list(PARAMS))
    session.feed(tokens[:-1], PROMPT - 1)
    for t in (0, 3, 10, 4):
        found = session.recompute(t)
        for slot in trace.layout.committed:
            if trace.layout.exists(slot, t, PROMPT):
                assert found[slot.number] == trace.tensor(t, slot.ordinal or 0)
        roots = [trace.trees.position_tree(t).node(0, i) for i in range(len(trace.layout.committed))]
        assert session.slot_roots(t) == roots


@pytest.mark.parametrize("generic", [False, True])
@pytest.mark.parametrize("make", [llama, gemma3])
def test_kept_tensors_are_those_of_the_trace(make: type, generic: bool) -> None:
    model = make(s=BIGGER)
    tokens = tokens_for(model, 22)
    faults = [(3, model.layout.committed[4].number, 1, 1 << 6)]
    trace = expected(model, tokens, faults)
    session = machine(model, generic=generic).new_session(list(PARAMS), faults)
    session.feed(tokens[:-1], PROMPT - 1)
    kept = 0
    for t in range(21):
        for slot in trace.layout.committed:
            found = session.kept(t, slot.number)
            if found is not None:
                assert found == trace.tensor(t, slot.ordinal or 0)
                kept += 1
    assert kept == 21 * 2 * (len(model.program.schedule) - 2)
    with pytest.raises(IndexError):
        session.kept(21, 0)


@pytest.mark.parametrize("name", list(MODELS))
def test_fast_kernels_equal_the_generic_path(name: str) -> None:
    sizes = replace(BIGGER, dim=64, heads=5, kv=5, head=64, limit=600, hidden=576)
    model = MODELS[name](s=sizes)  # type: ignore[call-arg]
    tokens = tokens_for(model, 300)
    roots = set()
    for generic, level in [(True, "auto"), *((False, level) for level in LEVELS)]:
        session = machine(model, level=level, generic=generic, threads=2).new_session(list(PARAMS))
        session.feed(tokens[:280], 270)
        for token in tokens[280:]:
            session.feed([token], 270)
        roots.add(session.trace_root())
    assert len(roots) == 1


def test_capture_keeps_a_slot_of_every_position() -> None:
    model = llama()
    tokens = tokens_for(model, 12)
    logits = next(s for s in model.layout.slots if s.instr.name == "logits")
    session = machine(model).new_session(list(PARAMS))
    session.feed(tokens, 0, capture=logits.number)
    found = b"".join(session.recompute(t)[logits.number] for t in range(12))
    assert session.captured == found


@pytest.mark.parametrize("fmt", list(Format), ids=lambda f: f.name)
def test_tensor_root_equals_the_tree_of_a_weight(fmt: Format) -> None:
    weight = random_weight(np.random.default_rng(4), 5, 544, fmt)
    leaves = weight.leaves
    row = len(weight.data) // weight.rows
    leaf = 256 // leaves.unit * leaves.unit_bytes
    root = native.tensor_root(weight.data, weight.rows, row, leaf, Tag.WEIGHT_LEAF, Tag.WEIGHT)
    assert root == weight_tree(leaves, weight.data).root


@contextlib.contextmanager
def seconds(most: float) -> Iterator[None]:
    """Raises `TimeoutError` inside after so long, as Ctrl-C would raise `KeyboardInterrupt`."""

    def late(*_: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, most)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_damaged_program_is_refused_or_runs_within_its_memory(data: st.DataObject) -> None:
    model = MODELS[data.draw(st.sampled_from(list(MODELS)))]()
    code = bytearray(encode(model.program))
    for _ in range(data.draw(st.integers(1, 3))):
        code[data.draw(st.integers(0, len(code) - 1))] = data.draw(st.integers(0, 255))
    code = code[: data.draw(st.sampled_from([len(code), len(code) - 1]))]
    with contextlib.suppress(ValueError, TimeoutError), seconds(0.5):  # a valid program may take for ever
        session = native.Machine(bytes(code), [w.data for w in model.weights]).new_session(list(PARAMS))
        session.feed([1, 2, 3], 1)


def test_wrong_weights_are_refused() -> None:
    model = llama()
    buffers = [bytes(w.data) for w in model.weights]
    with pytest.raises(ValueError, match="weights"):
        native.Machine(encode(model.program), buffers[:-1])
    buffers[2] = buffers[2][:-1]
    with pytest.raises(ValueError, match="weight 2"):
        native.Machine(encode(model.program), buffers)


def test_more_positions_than_the_limit_are_refused() -> None:
    model = llama()
    session = machine(model).new_session(list(PARAMS))
    with pytest.raises(ValueError, match="limit"):
        session.feed([1] * (model.program.limit + 1), 0)


@pytest.mark.parametrize("temperature", [0, 0x80000000])
@pytest.mark.parametrize("name", list(MODELS))
def test_sampling_at_temperature_zero_equals_the_generic_path(name: str, temperature: int) -> None:
    model = MODELS[name]()
    tokens = tokens_for(model, 14)
    params = [temperature, *PARAMS[1:]]
    trace = reference.run(model.program, model.weights, tokens, PROMPT, tuple(params))
    for level in LEVELS:
        session = machine(model, level=level, threads=2).new_session(params)
        session.feed(tokens[:8], PROMPT - 1)
        for token in tokens[8:-1]:
            session.feed([token], PROMPT - 1)
        assert_same(session, trace)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.sampled_from([0x00000000, 0x80000000, 0xBF800000, 0x3F800000, 0x7F800000, 0x7FC00000, 0xFF800000]),
        min_size=40,
        max_size=40,
    ),
    st.sampled_from([0, 0x80000000]),
    st.integers(0, 2**32 - 1),
)
def test_sampling_at_temperature_zero_over_any_scores(z: list[int], temperature: int, seed: int) -> None:
    builder = ProgramBuilder(4)
    table = builder.global_weight(1, len(z), Format.F32)
    b = builder.block("all")
    x = b.emit("x", 1, len(z), table(c), yields=True)
    random = b.emit("random", 1, len(z), imul(axis(c), param(2)), out=Out.I32, virtual=True, yields=True)
    noise = b.emit("noise", 1, len(z), sub(i2f(shr(random(c), 8)), 8388608.0), virtual=True, yields=True)
    choice = sel(lt(x(k), param(1)), float("-inf"), fma(param(0), noise(k), x(k)))
    b.emit("sample", 1, 1, fold=Fold.ARGMAX, k=len(z), body=(choice,), out=Out.I32, yields=True, terms=1)
    program = builder.program([(b, [])])
    weights = Weights([Weight(1, len(z), Format.F32, np.array(z, "<u4").tobytes())])
    params = (temperature, 0xFF800000, seed | 1, 0)
    trace = reference.run(program, weights, [0, 0, 0], 1, params)
    session = native.Machine(encode(program), [w.data for w in weights], "native", 2).new_session(
        list(params)
    )
    session.feed([0], 0)
    session.feed([0], 0)
    assert session.trace_root() == trace.trace_root()
