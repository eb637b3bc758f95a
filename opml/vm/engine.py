"""Engines: the same program run by different means, chosen by name, with the same bits.

    reference   Python and NumPy integers; the definition
    soft        the native interpreter on integer soft floats
    native      the native interpreter on hardware floats, after a self-test

An engine loads a model; a model starts a session, which takes tokens and gives samples, then a trace.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Protocol

import numpy as np

from opml.errors import EngineError, InputError
from opml.ops.softarray import U32
from opml.vm import reference
from opml.vm.encoding import encode
from opml.vm.isa import MAX_PARAMS, Program
from opml.vm.layout import Layout
from opml.vm.reference import Fault
from opml.vm.trace import Trace
from opml.vm.weights import Weights

ENGINES = ("reference", "soft", "native")


class Session(Protocol):
    """One run over a prompt and an output."""

    def feed(self, tokens: Sequence[int]) -> list[int]:
        """Computes the next positions as one batch; the samples of those that yield.

        Raises `InputError` for more positions than the program's limit.
        """
        ...

    def capture(self, tokens: Sequence[int], slot: int) -> bytes:
        """Computes the next positions without committing to them; what `slot` stores, virtual or not.

        The slot's bytes follow one another, position after position. A native session
        that has captured refuses to give a trace. Raises `InputError` for more positions than the program's
        limit.
        """
        ...

    def trace(self, tokens: Sequence[int]) -> Trace:
        """The trace of what was computed. `tokens`: prompt and output, one more than were fed."""
        ...


class Model(Protocol):
    """A program with its weights, ready to run."""

    @property
    def layout(self) -> Layout: ...

    @property
    def weights(self) -> Weights: ...

    def session(
        self, prompt_length: int, params: Sequence[int] = (), faults: Sequence[Fault] = ()
    ) -> Session:
        """A new run; `params` are the request's words, `faults` falsify elements as they are stored."""
        ...


class Engine(Protocol):
    """A way to run programs."""

    @property
    def name(self) -> str: ...

    def load(self, program: Program, weights: Weights) -> Model:
        """A valid program with weights of its shapes. Raises `InputError` where they do not fit."""
        ...


def run(
    model: Model,
    tokens: Sequence[int],
    prompt_length: int,
    params: Sequence[int] = (),
    faults: Sequence[Fault] = (),
) -> Trace:
    """The trace over given tokens (prompt and output), all positions as one batch."""
    if not 1 <= prompt_length < len(tokens):
        raise InputError(f"expected a prompt and an output, found {prompt_length} of {len(tokens)} tokens")
    session = model.session(prompt_length, params, faults)
    session.feed(tokens[:-1])
    return session.trace(tokens)


def generate(
    model: Model,
    prompt: Sequence[int],
    max_output: int,
    params: Sequence[int] = (),
    end_tokens: Sequence[int] = (),
    faults: Sequence[Fault] = (),
    on_token: Callable[[int], None] | None = None,
) -> Trace:
    """Samples up to `max_output` tokens after `prompt`, at least one, up to an end token or the limit.

    `on_token` is told of every token as soon as it is sampled.
    """
    if not prompt or max_output < 1:
        raise InputError("expected at least one prompt token and room for one output token")
    session = model.session(len(prompt), params, faults)
    room = min(max_output, model.layout.program.limit + 1 - len(prompt))
    tokens = list(prompt)
    fed: Sequence[int] = prompt
    while True:
        tokens.append(session.feed(fed)[-1])
        if on_token is not None:
            on_token(tokens[-1])
        if len(tokens) - len(prompt) >= room or tokens[-1] in end_tokens:
            return session.trace(tokens)
        fed = tokens[-1:]


# Reference ---------------------------------------------------------------------------------------------


class ReferenceEngine:
    """`opml.vm.reference` as an engine."""

    name = "reference"

    def load(self, program: Program, weights: Weights) -> Model:
        layout = Layout(program)
        weights.check(layout)
        return _ReferenceModel(layout, weights)


class _ReferenceModel:
    def __init__(self, layout: Layout, weights: Weights) -> None:
        self.layout = layout
        self.weights = weights

    def session(
        self, prompt_length: int, params: Sequence[int] = (), faults: Sequence[Fault] = ()
    ) -> Session:
        corrupt = reference.inject(faults) if faults else None
        return _ReferenceSession(
            reference.Executor(self.layout, self.weights, prompt_length, params, corrupt)
        )


class _ReferenceSession:
    def __init__(self, executor: reference.Executor) -> None:
        self._executor = executor

    def feed(self, tokens: Sequence[int]) -> list[int]:
        start = len(self._executor.tokens)
        self._executor.extend(tokens)
        first = max(start, self._executor.prompt_length - 1)
        return [self._executor.sample(t) for t in range(first, len(self._executor.tokens))]

    def capture(self, tokens: Sequence[int], slot: int) -> bytes:
        start = len(self._executor.tokens)
        self._executor.extend(tokens)
        stored = self._executor.stored[slot][start:]
        return b"".join(row.tobytes() for row in stored if row is not None)

    def trace(self, tokens: Sequence[int]) -> Trace:
        return self._executor.trace(tokens)


# Native ------------------------------------------------------------------------------------------------


class NativeEngine:
    """The native interpreter, `soft` or `native`, at an instruction-set level.

    Raises `EngineError` where it isn't built or can't run.
    """

    def __init__(self, name: str, threads: int = 1, level: str = "auto") -> None:
        self.name = name
        self.threads = threads
        self.level = level
        try:
            self._native: Any = importlib.import_module("opml.vm._native")
        except ImportError as error:
            raise EngineError(
                f"engine {name}: the native module is not built ({error}): install opml where a C++20 "
                "compiler is found, or choose --engine reference"
            ) from error
        if level != "auto" and level not in self._native.levels():
            raise EngineError(
                f"engine {name}: this processor or build lacks the level {level}: choose auto or one of "
                f"{', '.join(self._native.levels())}"
            )
        fault = self._native.hardware_fault(level) if name == "native" else None
        if fault is not None:
            raise EngineError(f"engine native: {fault}: choose --engine soft on this machine")

    def eval_program(self, code: bytes, operands: Sequence[U32], pool: Sequence[int]) -> U32:
        """Results of an encoded scalar program on arrays of bit patterns, an array an operand."""
        result: U32 = self._native.eval_program(
            self.name, code, np.ascontiguousarray(operands), np.array(pool, np.uint32), self.level
        )
        return result

    def load(self, program: Program, weights: Weights) -> Model:
        layout = Layout(program)
        weights.check(layout)
        data = [weight.data for weight in weights]
        try:
            machine = self._native.Machine(encode(program), data, self.name, self.threads, self.level)
        except ValueError as error:
            raise InputError(f"the native interpreter refuses the program or its weights: {error}") from error
        return _NativeModel(layout, weights, machine)


class _NativeModel:
    def __init__(self, layout: Layout, weights: Weights, machine: Any) -> None:
        self.layout = layout
        self.weights = weights
        self._machine = machine

    def session(
        self, prompt_length: int, params: Sequence[int] = (), faults: Sequence[Fault] = ()
    ) -> Session:
        placed = [(fault.position, fault.slot, fault.element, fault.xor) for fault in faults]
        words = (*params, *[0] * (MAX_PARAMS - len(params)))
        return _NativeSession(self, prompt_length, words, self._machine.new_session(list(words), placed))


class _NativeSession:
    def __init__(self, model: _NativeModel, prompt_length: int, params: Sequence[int], session: Any) -> None:
        self._model = model
        self._prompt_length = prompt_length
        self._params = params
        self._session = session

    def feed(self, tokens: Sequence[int]) -> list[int]:
        self._check_room(len(tokens))
        samples: list[int] = self._session.feed(list(tokens), self._prompt_length - 1)
        return samples

    def capture(self, tokens: Sequence[int], slot: int) -> bytes:
        self._check_room(len(tokens))
        self._session.feed(list(tokens), self._prompt_length - 1, False, slot)
        captured: bytes = self._session.captured
        return captured

    def _check_room(self, more: int) -> None:
        limit = self._model.layout.program.limit
        if self._session.length + more > limit:
            raise InputError(f"the program has at most {limit} positions")

    def trace(self, tokens: Sequence[int]) -> Trace:
        assert len(tokens) == self._session.length + 1
        if len(self._session.position_roots()) != self._session.length:
            raise InputError("a session that has captured committed to nothing: feed the tokens to a new one")
        return NativeTrace(self._model, self._session, tokens, self._prompt_length, self._params)


class NativeTrace:
    """A trace of the native interpreter: it keeps what windows read, and recomputes a position when asked."""

    KEPT_POSITIONS = 4

    def __init__(
        self,
        model: _NativeModel,
        session: Any,
        tokens: Sequence[int],
        prompt_length: int,
        params: Sequence[int],
    ) -> None:
        self.layout = model.layout
        self.weights = model.weights
        self.tokens = tuple(tokens)
        self.prompt_length = prompt_length
        self.params = tuple(params)
        self._session = session
        self._position_roots: list[bytes] = session.position_roots()
        self._recomputed: Callable[[int], dict[int, bytes]] = lru_cache(self.KEPT_POSITIONS)(
            session.recompute
        )

    def trace_root(self) -> bytes:
        root: bytes = self._session.trace_root(len(self._position_roots))
        return root

    def position_root(self, t: int) -> bytes:
        return self._position_roots[t]

    def slot_roots(self, t: int) -> list[bytes]:
        roots: list[bytes] = self._session.slot_roots(t)
        return roots

    def tensor(self, t: int, ordinal: int) -> bytes:
        slot = self.layout.committed[ordinal].number
        kept: bytes | None = self._session.kept(t, slot)
        return self._recomputed(t)[slot] if kept is None else kept


def get_engine(name: str, threads: int = 1, level: str = "auto") -> Engine:
    """The engine of that name. Raises `EngineError` for another name, or where it can't run."""
    if name == "reference":
        return ReferenceEngine()
    if name in ("soft", "native"):
        return NativeEngine(name, threads, level)
    raise EngineError(f"no engine {name}: choose one of {', '.join(ENGINES)}")


__all__ = [
    "ENGINES",
    "Engine",
    "Model",
    "NativeEngine",
    "NativeTrace",
    "ReferenceEngine",
    "Session",
    "generate",
    "get_engine",
    "run",
]
