"""How the fold of a disputed element is dissected (docs/spec.md#5.2).

A long fold is cut into chunks and the submitter posts the state after each: round 1 over the whole fold, round 2
over one block of 256 where a step carries less than a block. States are 4 or 8 bytes, big-endian.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from opml.vm.isa import LEAF_ELEMENTS, Fold, Instr


class Mode(IntEnum):
    """What a step computes."""

    WHOLE = 0
    CHUNK = 1
    FINISH = 2


@dataclass(frozen=True, slots=True)
class Chunk:
    """Terms lo ... hi - 1 of a fold."""

    lo: int
    hi: int


@dataclass(frozen=True, slots=True)
class Dissection:
    """The cuts of one fold: `length` terms, `carried` terms a step, states of `state_bytes` bytes."""

    length: int
    carried: int
    state_bytes: int
    ordered: bool
    """Whether the fold is a sum, with an accumulator that is closed at each block; else a maximum."""

    @staticmethod
    def of(instr: Instr, t: int) -> Dissection:
        """The cuts of an element of `instr` at position t."""
        wide = instr.two or instr.fold == Fold.ARGMAX
        return Dissection(
            length=instr.k.at(t),
            carried=instr.terms,
            state_bytes=8 if wide else 4,
            ordered=instr.fold in (Fold.DOT, Fold.QDOT),
        )

    @property
    def needed(self) -> bool:
        """Whether a step cannot carry the fold."""
        return self.carried != 0 and self.length > self.carried

    @property
    def stride(self) -> int:
        """Terms of a chunk of round 1."""
        return LEAF_ELEMENTS if self.carried < LEAF_ELEMENTS < self.length else self.carried

    @property
    def chunks(self) -> tuple[Chunk, ...]:
        """Round 1, in order: the submitter posts the state after each."""
        return _cut(0, self.length, self.stride)

    def inner(self, j: int) -> tuple[Chunk, ...]:
        """Round 2 of chunk j, in order; a single chunk where there is nothing to dissect."""
        outer = self.chunks[j]
        return _cut(outer.lo, outer.hi, self.carried) if self.stride > self.carried else (outer,)

    def is_total(self, k: int) -> bool:
        """Whether the state after k terms is a total: at a block's end, at the fold's end, at 0."""
        return not self.ordered or k % LEAF_ELEMENTS == 0 or k == self.length


def _cut(lo: int, hi: int, stride: int) -> tuple[Chunk, ...]:
    return tuple(Chunk(a, min(a + stride, hi)) for a in range(lo, hi, stride))


def first_difference(own: Sequence[int], posted: Sequence[int]) -> int | None:
    """Number of the first posted state that is not one's own; None where all agree."""
    for j, (mine, theirs) in enumerate(zip(own, posted, strict=True)):
        if mine != theirs:
            return j
    return None


def pack_states(states: Sequence[int], state_bytes: int) -> bytes:
    """States as the game carries them."""
    return b"".join(state.to_bytes(state_bytes, "big") for state in states)


def unpack_states(data: bytes, state_bytes: int) -> tuple[int, ...]:
    """The inverse of `pack_states`; the length must be a multiple of `state_bytes`."""
    return tuple(int.from_bytes(data[i : i + state_bytes], "big") for i in range(0, len(data), state_bytes))
