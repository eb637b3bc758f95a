"""What a player needs of a model: answers to requests, and its own computation over a claim's tokens."""

from __future__ import annotations

from collections.abc import Sequence

from opml.dispute.gateway import ClaimRecord, RequestRecord
from opml.dispute.own import Own, Vocabulary
from opml.dispute.players import Answer
from opml.models.model import Model
from opml.vm.commitment import vocabulary_tree
from opml.vm.engine import Engine, generate, run
from opml.vm.reference import Fault
from opml.vm.trace import Trace


class Workshop:
    """A model on an engine. Tokens are enough to compute a trace again, so that few are kept."""

    def __init__(self, model: Model, engine: Engine) -> None:
        self.model = model
        self.engine = engine
        self._latest: dict[tuple[bytes, tuple[int, ...]], Own] = {}
        self.machine = engine.load(model.program, model.weights)
        self.vocabulary = Vocabulary(model.pieces, vocabulary_tree(model.pieces))

    def trace_of(self, request: RequestRecord, output: Sequence[int], faults: Sequence[Fault] = ()) -> Trace:
        """The trace over a request's prompt and an output, as one batch."""
        tokens = (*request.prompt, *output)
        return run(self.machine, tokens, len(request.prompt), request.request.param_words, faults)

    def own_of(self, request: RequestRecord, posted: ClaimRecord) -> Own:
        """The computation that a claim should have made; the latest is kept for claims that post the same."""
        key = request.id, posted.output
        if key not in self._latest:
            own = Own.of(self.trace_of(request, posted.output), self.vocabulary)
            self._latest = {key: own}
        return self._latest[key]

    def answer(self, request: RequestRecord) -> Answer | None:
        """The answer to a request; None for a request of another model."""
        asked = request.request
        if asked.model_id != self.model.id:
            return None
        trace = generate(
            self.machine, request.prompt, asked.max_output, asked.param_words, self.model.end_tokens
        )
        return self.answer_with(trace)

    def answer_with(self, trace: Trace) -> Answer:
        """The answer that a trace stands for."""
        output = tuple(trace.tokens[trace.prompt_length :])
        pieces = tuple(self.model.pieces[token] for token in output)
        return Answer(output, pieces, Own.of(trace, self.vocabulary))


__all__ = ["Workshop"]
