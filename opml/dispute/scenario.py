"""What faults start from, and what they end in: the right answer of a run, and a wrong claim to post."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from opml.dispute.cheats import Strategy
from opml.dispute.folds import FoldWalker
from opml.dispute.own import FoldStates, Own, Vocabulary
from opml.dispute.players import Answer
from opml.dispute.strategy import submitter_move
from opml.errors import InputError
from opml.vm.engine import Engine, Model, run
from opml.vm.isa import OUT_BYTES
from opml.vm.layout import Layout, SlotInfo
from opml.vm.reference import Fault as Flip
from opml.vm.reference import inject
from opml.vm.trace import Trace

SIGN = {1: 0x80, 2: 0x8000, 4: 0x80000000}


@dataclass(frozen=True)
class Scenario:
    """The right answer that a cheat starts from: the model, its engine, and the honest trace of a request."""

    engine: Engine
    model: Model
    honest: Trace
    vocabulary: Vocabulary
    end_tokens: tuple[int, ...]

    @property
    def layout(self) -> Layout:
        return self.model.layout

    @property
    def prompt(self) -> tuple[int, ...]:
        return tuple(self.honest.tokens[: self.honest.prompt_length])

    @property
    def output(self) -> tuple[int, ...]:
        return tuple(self.honest.tokens[self.honest.prompt_length :])

    @property
    def last(self) -> int:
        """The last position."""
        return len(self.honest.tokens) - 2

    def run(self, tokens: Sequence[int], flips: Sequence[Flip] = (), model: Model | None = None) -> Trace:
        """A trace over other tokens, with falsified elements, or of another model."""
        honest = self.honest
        return run(model or self.model, tokens, honest.prompt_length, honest.params, flips)

    def pieces(self, output: Sequence[int]) -> tuple[bytes, ...]:
        return tuple(self.vocabulary.pieces[token] for token in output)


@dataclass(frozen=True)
class Cheat:
    """A wrong claim: what is posted, the computation it stands for, how it is defended, and the fault in
    words.

    `refused` where the oracle doesn't even take the claim.
    """

    name: str
    text: str
    answer: Answer
    strategy: Strategy = submitter_move
    refused: bool = False


def lacking(what: str) -> InputError:
    return InputError(
        f"this program or run has no {what}: choose another fault (`opml demo --help` lists them)"
    )


def stored_bits(trace: Trace, slot: SlotInfo, t: int, element: int) -> int:
    """Stored bits of a committed element."""
    assert slot.ordinal is not None
    width = OUT_BYTES[slot.instr.out]
    return int.from_bytes(trace.tensor(t, slot.ordinal)[element * width : (element + 1) * width], "little")


def element_count(layout: Layout, slot: SlotInfo, t: int) -> int:
    rows, cols = layout.shape(slot, t)
    return rows * cols


def slot_named(layout: Layout, *names: str) -> SlotInfo:
    """A slot in the middle of the model of one of these names, or whose name ends with one after a dot."""
    for name in names:
        exact = [slot for slot in layout.slots if slot.instr.name == name]
        found = exact or [slot for slot in layout.slots if slot.instr.name.endswith(f".{name}")]
        if found:
            return found[len(found) // 2]
    raise lacking(f"instruction named {' or '.join(names)}")


def flipped(s: Scenario, name: str, flips: Sequence[Flip], strategy: Strategy = submitter_move) -> Cheat:
    """A claim for the right tokens, with falsified elements in its trace."""
    trace = s.run(s.honest.tokens, flips)
    if trace.trace_root() == s.honest.trace_root():
        raise lacking(f"reader that would see the fault {name!r}: it changes nothing")
    place = flips[0]
    slot = s.layout.slots[place.slot]
    where = f"{slot.instr.name or slot.number}, position {place.position}, element {place.element}"
    text = f"{where}, bits flipped by {place.xor:#x}" + (f" and {len(flips) - 1} more" if flips[1:] else "")
    answer = answer_of(s, trace)
    if any(s.layout.slots[flip.slot].ordinal is None for flip in flips):
        answer = replace(answer, own=replace(answer.own, fold_states=standing_by(trace, flips)))
    return Cheat(name, text, answer, strategy)


def standing_by(trace: Trace, flips: Sequence[Flip]) -> FoldStates:
    """Running totals over falsified virtual tensors: what a submitter posts that stands by its fault."""
    walker = FoldWalker(trace, inject(flips))
    return lambda trace, t, ordinal, element, chunks, start: walker.states(t, ordinal, element, chunks, start)


def answer_of(s: Scenario, trace: Trace) -> Answer:
    output = trace.tokens[trace.prompt_length :]
    return Answer(tuple(output), s.pieces(output), Own.of(trace, s.vocabulary))


def sign_flip(s: Scenario, slot: SlotInfo, t: int | None = None, element: int = 0) -> Flip:
    """Flips the sign of an element; in the last position unless one is given."""
    width = OUT_BYTES[slot.instr.out]
    return Flip(s.last if t is None else t, slot.number, element, SIGN[width])
