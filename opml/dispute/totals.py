"""How the fold of a disputed element is dissected (docs/spec.md#5.2).

A long fold is cut into chunks and the submitter posts the state after each: round 1 over the whole fold,
round 2 over one block of 256 where a step carries less than a block. States are 4 or 8 bytes, big-endian.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from opml.vm.isa import LEAF_ELEMENTS, Fold, Instr


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
    is_sum: bool
    """Whether blocks are closed into a total; a maximum has one state all along."""

    @staticmethod
    def of(instr: Instr, t: int) -> Dissection:
        """The cuts of an element of `instr` at position t."""
        wide = instr.two or instr.fold == Fold.ARGMAX
        return Dissection(
            length=instr.k.at(t),
            carried=instr.terms,
            state_bytes=8 if wide else 4,
            is_sum=instr.fold in (Fold.DOT, Fold.QDOT),
        )

    @property
    def needed(self) -> bool:
        """Whether a step cannot carry the fold."""
        return self.carried != 0 and self.length > self.carried

    @property
    def two_rounds(self) -> bool:
        """Whether round 1 cuts into blocks of 256, and round 2 one of them."""
        return self.carried < LEAF_ELEMENTS < self.length

    @property
    def chunks(self) -> tuple[Chunk, ...]:
        """Round 1, in order: the submitter posts the state after each."""
        return _cut(0, self.length, LEAF_ELEMENTS if self.two_rounds else self.carried)

    def inner(self, block: Chunk) -> tuple[Chunk, ...]:
        """Round 2, in order: the submitter posts the state after each but the last."""
        return _cut(block.lo, block.hi, self.carried)

    @property
    def largest_posting(self) -> int:
        """Bytes of the larger of the two postings; 0 where nothing is dissected."""
        if not self.needed:
            return 0
        inner = len(self.inner(self.chunks[0])) - 1 if self.two_rounds else 0
        return max(len(self.chunks), inner) * self.state_bytes


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


def pack_state(state: Sequence[int]) -> int:
    """A state of the machine (`opml.vm.step.State`) as one number, the first word on top."""
    packed = 0
    for word in state:
        packed = packed << 32 | word
    return packed


def unpack_state(packed: int, state_bytes: int) -> tuple[int, ...]:
    """The inverse of `pack_state`."""
    return tuple(packed >> 32 * i & 0xFFFFFFFF for i in reversed(range(state_bytes // 4)))
