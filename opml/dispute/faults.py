"""Named faults: what a cheating submitter may do to its claim, on any program that has what they falsify.

    cheat = plant(scenario, "rotary")          # or plant(scenario, "12:17.ffn_down:431:0x80000000")

A `Cheat` is everything needed to post the wrong claim and to play on from it. Where a program lacks what a
fault is about (a NaN, a tie), `plant` raises `InputError` saying so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import chain

from opml.dispute.bent import bent_element, two_roundings
from opml.dispute.cheats import (
    BrokenNodes,
    RandomRoot,
    bent_totals,
    silent_at,
    standing_for,
)
from opml.dispute.own import Own
from opml.dispute.places import find_slot, flip_parts, parse_flip
from opml.dispute.scenario import (
    SIGN,
    Cheat,
    Scenario,
    answer_of,
    element_count,
    flipped,
    lacking,
    sign_flip,
    slot_named,
    stored_bits,
)
from opml.dispute.totals import Dissection
from opml.dispute.types import Phase
from opml.errors import InputError
from opml.vm.commitment import Tag
from opml.vm.engine import run
from opml.vm.isa import OUT_BYTES, Fold, Out
from opml.vm.layout import SlotInfo
from opml.vm.reference import Fault as Flip
from opml.vm.trace import Cursor, Stage
from opml.vm.weights import Weight, Weights

# Slots by name -----------------------------------------------------------------------------------------


def _sign_of(*names: str, last: bool = False) -> Callable[[Scenario, str], Cheat]:
    """Flips the sign of the first (or last) element that isn't zero of a named slot at the last position."""

    def plant_it(s: Scenario, name: str) -> Cheat:
        slot = slot_named(s.layout, *names)
        count = element_count(s.layout, slot, s.last)
        order = range(count - 1, -1, -1) if last else range(count)
        if slot.ordinal is None:
            return _visible(s, name, slot, order)
        for element in order:
            if stored_bits(s.honest, slot, s.last, element) & (SIGN[OUT_BYTES[slot.instr.out]] - 1):
                return flipped(s, name, [sign_flip(s, slot, element=element)])
        return flipped(s, name, [sign_flip(s, slot, element=count - 1 if last else 0)])

    return plant_it


def _visible(s: Scenario, name: str, slot: SlotInfo, order: Sequence[int]) -> Cheat:
    """Falsifies an element of a virtual slot that some reader sees."""
    for element in order[:64]:
        flip = sign_flip(s, slot, element=element)
        if s.run(s.honest.tokens, [flip]).trace_root() != s.honest.trace_root():
            return flipped(s, name, [flip])
    raise lacking(f"reader that would see a fault in {slot.instr.name}")


def _product(s: Scenario) -> SlotInfo:
    """The committed product with the longest fold, in the middle of the model."""
    folds = [
        slot
        for slot in s.layout.committed
        if slot.instr.fold in (Fold.DOT, Fold.QDOT) and not slot.instr.k.varies
    ]
    if not folds:
        raise lacking("matrix product")
    longest = max(slot.instr.k.n for slot in folds)
    found = [slot for slot in folds if slot.instr.k.n == longest]
    return found[len(found) // 2]


def _product_block(which: str) -> Callable[[Scenario, str], Cheat]:
    """The sum goes wrong in the first, middle or last block of 256; totals and element follow from it."""

    def plant_it(s: Scenario, name: str) -> Cheat:
        slot = _product(s)
        blocks = -(-slot.instr.k.n // 256)
        block = {"first": 0, "middle": blocks // 2, "last": blocks - 1}[which]
        return _bent(s, name, slot, block)

    return plant_it


def _bent(s: Scenario, name: str, slot: SlotInfo, block: int) -> Cheat:
    assert slot.ordinal is not None
    for element in range(min(64, element_count(s.layout, slot, s.last))):
        bits, states = bent_element(s.honest, s.last, slot.ordinal, element, block)
        xor = bits ^ stored_bits(s.honest, slot, s.last, element)
        if xor:
            totals = {(s.last, slot.ordinal, element): states} if states else {}
            return flipped(s, name, [Flip(s.last, slot.number, element, xor)], bent_totals(totals))
    raise lacking(f"element of {slot.instr.name} that a wrong block changes")


def _product_row(last: bool) -> Callable[[Scenario, str], Cheat]:
    def plant_it(s: Scenario, name: str) -> Cheat:
        slot = _product(s)
        element = element_count(s.layout, slot, s.last) - 1 if last else 0
        return flipped(s, name, [sign_flip(s, slot, element=element)])

    return plant_it


def _bent_sum(*names: str) -> Callable[[Scenario, str], Cheat]:
    """A sum that goes wrong in its first block, at the last position, which has the most predecessors."""

    def plant_it(s: Scenario, name: str) -> Cheat:
        return _bent(s, name, slot_named(s.layout, *names), 0)

    return plant_it


def _moved(*names: str) -> Callable[[Scenario, str], Cheat]:
    """The tensor of the position before in place of this one's."""

    def plant_it(s: Scenario, name: str) -> Cheat:
        slot, t = slot_named(s.layout, *names), s.last
        if t == 0:
            raise lacking("earlier position")
        flips = [
            Flip(t, slot.number, element, xor)
            for element in range(element_count(s.layout, slot, t))
            if (xor := stored_bits(s.honest, slot, t, element) ^ stored_bits(s.honest, slot, t - 1, element))
        ]
        return flipped(s, name, flips or [sign_flip(s, slot)])

    return plant_it


# Inputs ------------------------------------------------------------------------------------------------


def _other_token(s: Scenario, token: int) -> int:
    """A token that ends nothing, other than a given one."""
    size = len(s.vocabulary.pieces)
    for other in chain(range(token + 1, size), range(token)):
        if other not in s.end_tokens and s.vocabulary.pieces[other] != s.vocabulary.pieces[token]:
            return other
    raise lacking("second token in its vocabulary")


def _embedding_row(s: Scenario, name: str) -> Cheat:
    """The embedding of another token."""
    slot, t = s.layout.slots[0], s.last
    other = _other_token(s, s.honest.tokens[t])
    probe = run(s.model, (other, other), 1, s.honest.params)
    flips = [
        Flip(t, slot.number, element, xor)
        for element in range(element_count(s.layout, slot, t))
        if (xor := stored_bits(s.honest, slot, t, element) ^ stored_bits(probe, slot, 0, element))
    ]
    if not flips:
        raise lacking("other embedding")
    return flipped(s, name, flips)


def _other_prompt(s: Scenario, name: str) -> Cheat:
    """The trace of another prompt, for the request's."""
    other = _other_token(s, s.prompt[0])
    trace = s.run((other, *s.honest.tokens[1:]))
    text = f"prompt token 0 is {s.prompt[0]}, the trace was run on {other}"
    return Cheat(name, text, answer_of(s, trace))


def _weight_bit(s: Scenario, name: str) -> Cheat:
    """One bit of a weight: the high byte of the first scale (or element) of a tensor of the middle layer."""
    weights = s.model.weights
    order = (len(weights) // 2, *range(len(weights) - 1, -1, -1))
    for number in order:
        weight: Weight = weights.tensor(number)
        info = weight.format.info
        data = bytearray(weight.data)
        data[1 if info.unit > 1 else info.unit_bytes - 1] ^= 0x04
        tensors = list(weights)
        tensors[number] = replace(weight, data=bytes(data))
        other = s.engine.load(s.layout.program, Weights(tensors))
        trace = s.run(s.honest.tokens, model=other)
        if trace.trace_root() != s.honest.trace_root():
            return Cheat(name, f"one bit of weight tensor {number}", answer_of(s, trace))
    raise lacking("weight that matters")


# Values that need the right model -----------------------------------------------------------------------


def _find(s: Scenario, wanted: Callable[[int], bool]) -> tuple[SlotInfo, int, int, int]:
    """(slot, position, element, bits) of a committed f32 element with wanted bits."""
    for t in range(s.last, -1, -1):
        for slot in s.layout.committed:
            if slot.instr.out != Out.F32 or not s.layout.exists(slot, t, s.honest.prompt_length):
                continue
            data = s.honest.tensor(t, slot.ordinal or 0)
            for element in range(len(data) // 4):
                bits = int.from_bytes(data[4 * element : 4 * element + 4], "little")
                if wanted(bits):
                    return slot, t, element, bits
    raise lacking("such value")


def _nan_payload(s: Scenario, name: str) -> Cheat:
    """A NaN that is not the canonical one."""
    try:
        slot, t, element, _ = _find(s, lambda bits: bits & 0x7FFFFFFF > 0x7F800000)
    except InputError:
        raise lacking("NaN") from None
    return flipped(s, name, [Flip(t, slot.number, element, 1)])


def _flushed(s: Scenario, name: str) -> Cheat:
    """A subnormal flushed to zero."""
    try:
        slot, t, element, bits = _find(s, lambda bits: 0 < bits & 0x7FFFFFFF < 0x00800000)
    except InputError:
        raise lacking("subnormal") from None
    return flipped(s, name, [Flip(t, slot.number, element, bits & 0x7FFFFFFF)])


def _two_roundings(s: Scenario, name: str) -> Cheat:
    """An element whose fma are a product and a sum, each rounded."""
    for slot in s.layout.committed:
        if slot.instr.fold not in (Fold.DOT, Fold.QDOT):
            continue
        for t in range(s.last, -1, -1):
            if not s.layout.exists(slot, t, s.honest.prompt_length):
                continue
            for element in range(min(8, element_count(s.layout, slot, t))):
                xor = two_roundings(s.honest, t, slot.ordinal or 0, element) ^ stored_bits(
                    s.honest, slot, t, element
                )
                if xor:
                    return flipped(s, name, [Flip(t, slot.number, element, xor)])
    raise lacking("sum that a second rounding changes")


def _logits(s: Scenario, name: str) -> Cheat:
    """The largest logit with its sign flipped; where logits are virtual, their readers see it."""
    slot = slot_named(s.layout, "logits")
    sampled = stored_bits(s.honest, s.layout.committed[-1], s.last, 0)
    return flipped(s, name, [sign_flip(s, slot, element=sampled)])


def _arg_max(s: Scenario, name: str) -> Cheat:
    """Another token in place of the sampled one: of two that tie, the later. Totals say so from there on."""
    slot = s.layout.committed[-1]
    sampled = stored_bits(s.honest, slot, s.last, 0)
    other, ordinal = _other_token(s, sampled), len(s.layout.committed) - 1
    cuts = Dissection.of(slot.instr, s.last)
    totals: dict[tuple[int, int, int], tuple[int, ...]] = {}
    if cuts.needed and slot.instr.fold == Fold.ARGMAX:
        own = Own.of(s.honest, s.vocabulary)
        right = own.totals(s.last, ordinal, 0)
        wrong = right[-1] >> 32 << 32 | other
        states = [
            wrong if chunk.hi > other else state for chunk, state in zip(cuts.chunks, right, strict=True)
        ]
        totals = {(s.last, ordinal, 0): tuple(states)}
    return flipped(s, name, [Flip(s.last, slot.number, 0, sampled ^ other)], bent_totals(totals))


# Tokens and answer --------------------------------------------------------------------------------------


def _token(s: Scenario, name: str) -> Cheat:
    """A posted token other than the sampled one; the trace is right for the posted tokens."""
    j = max(0, len(s.output) - 2) if len(s.output) > 1 else 0
    output = list(s.output)
    output[j] = _other_token(s, output[j])
    trace = s.run((*s.prompt, *output))
    return Cheat(name, f"output token {j} is {output[j]}, sampled was {s.output[j]}", answer_of(s, trace))


def _answer_text(s: Scenario, name: str) -> Cheat:
    """An answer whose text isn't that of its tokens."""
    honest = answer_of(s, s.honest)
    for j, piece in enumerate(honest.pieces):
        if piece:
            pieces = list(honest.pieces)
            pieces[j] = bytes([piece[0] ^ 0x20, *piece[1:]])
            text = f"the text of output token {j} is {pieces[j]!r}, its piece is {piece!r}"
            return Cheat(name, text, replace(honest, pieces=tuple(pieces)))
    raise lacking("text in its answer")


def _cut_short(s: Scenario, name: str) -> Cheat:
    """Output without its last token."""
    if len(s.output) < 2:
        raise lacking("second output token")
    trace = s.run(s.honest.tokens[:-1])
    return Cheat(name, "the output stops one token early", answer_of(s, trace), refused=True)


def _going_on(s: Scenario, name: str) -> Cheat:
    """Output with one token too many."""
    tokens = (*s.honest.tokens, s.output[-1])
    if len(tokens) - 1 > s.layout.program.limit:
        raise lacking("position left")
    return Cheat(name, "the output goes on for one token more", answer_of(s, s.run(tokens)), refused=True)


# Commitment ---------------------------------------------------------------------------------------------


def _padding(s: Scenario, name: str) -> Cheat:
    """A padding node that isn't the hash of nothing."""
    own = Own.of(s.honest, s.vocabulary)
    shapes, layout = own.shapes, s.layout
    places = [Cursor(Stage.TRACE, 0, shapes.positions)] if shapes.positions < 1 << shapes.trace_depth else []
    committed = len(layout.committed)
    if committed < 1 << layout.position_depth:
        places.append(Cursor(Stage.POSITION, 0, committed, 0))
    if not places:
        raise lacking("padding in its trees")
    nodes = BrokenNodes(own, places[0], bytes([Tag.TENSOR_LEAF]) + b"not nothing")
    answer = replace(answer_of(s, s.honest), own=standing_for(own, nodes))
    return Cheat(name, "a padding node of the trace is not the hash of nothing", answer)


def _random_root(s: Scenario, name: str) -> Cheat:
    """A root that nobody can open."""
    own = standing_for(Own.of(s.honest, s.vocabulary), RandomRoot())
    answer = replace(answer_of(s, s.honest), own=own)
    return Cheat(name, "a random root, which nobody can open", answer)


def _silent(phase: Phase) -> Callable[[Scenario, str], Cheat]:
    """A wrong element, and no word in one phase."""

    def plant_it(s: Scenario, name: str) -> Cheat:
        slot = s.layout.committed[-1]
        if phase == Phase.TOTALS:
            dissected = [x for x in s.layout.committed if s.layout.dissected(x, s.last)]
            if not dissected:
                raise lacking("fold that is dissected")
            slot = dissected[len(dissected) // 2]
        width = OUT_BYTES[slot.instr.out]
        cheat = flipped(s, name, [Flip(s.last, slot.number, 0, 1 if width == 4 else SIGN[width])])
        text = f"{cheat.text}; silent in phase {phase.name.lower()}"
        return replace(cheat, strategy=silent_at(phase), text=text)

    return plant_it


FAULTS: Mapping[str, tuple[str, Callable[[Scenario, str], Cheat]]] = {
    "embedding": ("embedding row of another token", _embedding_row),
    "prompt": ("token sequence that isn't the request's prompt", _other_prompt),
    "weight": ("one bit of a weight", _weight_bit),
    "norm": ("sum of a norm", _bent_sum("rms", "norm")),
    "virtual": ("a virtual tensor, seen through its readers", _sign_of("score", "logits")),
    "activation-q": ("quantised activation", _sign_of("q8", "attn_norm.q", "ffn_norm.q", "q8.q")),
    "activation-d": ("scale of quantised activations", _sign_of("d")),
    "product-first": ("matrix product, first block", _product_block("first")),
    "product-middle": ("matrix product, middle block", _product_block("middle")),
    "product-last": ("matrix product, last block", _product_block("last")),
    "row-first": ("matrix product, first row", _product_row(last=False)),
    "row-last": ("matrix product, last row", _product_row(last=True)),
    "rotary": ("rotary position", _sign_of("q", "k")),
    "score": ("attention score", _sign_of("score")),
    "softmax-max": ("maximum of the soft-max", _sign_of("score.max")),
    "softmax-exp": ("exponential of the soft-max", _sign_of("score.exp")),
    "softmax-sum": ("sum of the soft-max", _bent_sum("score.sum")),
    "value-sum": ("sum of values over many predecessors", _bent_sum("attn")),
    "key": ("key taken from another position", _moved("k")),
    "value": ("value taken from another position", _moved("v")),
    "residual": ("residual connection", _sign_of("attn_output", "ffn_down", "mix", last=True)),
    "activation": ("activation of the feed-forward", _sign_of("ffn_gated", "ffn_up", last=True)),
    "logits": ("logits", _logits),
    "argmax": ("arg-max, of two that tie the later", _arg_max),
    "token": ("posted token other than the sampled one", _token),
    "answer": ("answer text that isn't the tokens' text", _answer_text),
    "cut-short": ("output cut short of its end", _cut_short),
    "going-on": ("output going on after its end", _going_on),
    "padding": ("padding that is not zero", _padding),
    "nan": ("NaN with another payload", _nan_payload),
    "denormal": ("a denormal flushed to zero", _flushed),
    "fma": ("fma done as two roundings", _two_roundings),
    "random-root": ("random root that nobody can open", _random_root),
    "silent-reveal": ("silence when asked to reveal", _silent(Phase.REVEAL)),
    "silent-leaf": ("silence when asked for a leaf", _silent(Phase.LEAF)),
    "silent-totals": ("silence when asked for running totals", _silent(Phase.TOTALS)),
}
"""Name → what it is, and how it is planted."""


def check_fault(fault: str) -> None:
    """Raises `InputError` for an unknown name or a malformed place: what is wrong on any run."""
    if ":" in fault:
        flip_parts(fault)
    elif fault not in FAULTS:
        raise InputError(
            f"no fault {fault!r}: choose one of {', '.join(FAULTS)}, or position:slot:element:xor-mask"
        )


def plant(scenario: Scenario, fault: str) -> Cheat:
    """The cheat of a named fault, or of `position:slot:element:xor-mask`.

    Raises `InputError` for an unknown name, a place that isn't there, or a fault this run has no occasion
    for.
    """
    check_fault(fault)
    if ":" in fault:
        flip = parse_flip(scenario.layout, scenario.honest.prompt_length, scenario.last, fault)
        return flipped(scenario, fault, [flip])
    return FAULTS[fault][1](scenario, fault)


__all__ = ["FAULTS", "Cheat", "Scenario", "check_fault", "find_slot", "parse_flip", "plant"]
