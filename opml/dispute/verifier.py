"""What decides a game: the step and the direct proofs, as the contract `StepVerifier` computes them.

`Judge` is twin of `IStepVerifier`; `ClaimJudge` checks against the roots of one claim with `opml.vm.step`.
Direct proofs (docs/spec.md#5.4) are written here, by the same openers as steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from opml.dispute.totals import Dissection, pack_state, unpack_state
from opml.errors import InputError
from opml.vm.commitment import Tag, Tree, leaf_hash, path_root
from opml.vm.layout import Layout, clog2
from opml.vm.step import Mode, Target, verify
from opml.vm.witness import Context, Forest, Opener, Prover, TensorId, Verifier

HASH_BYTES = 32
LENGTH_BYTES = 2


@dataclass(frozen=True, slots=True)
class StepTarget:
    """`StepTarget` of the contract: states are packed, the first word on top; 0 where there is none."""

    position: int
    ordinal: int
    element: int
    mode: Mode
    lo: int = 0
    hi: int = 0
    prior_total: int = 0
    prior_acc: int = 0

    def pack(self, claimed: int) -> bytes:
        """The game's `word`: priorTotal u64 ‖ priorAcc u64 ‖ claimed u64 ‖ lo u32 ‖ hi u32."""
        words = (self.prior_total, self.prior_acc, claimed)
        return b"".join(w.to_bytes(8, "big") for w in words) + b"".join(
            w.to_bytes(4, "big") for w in (self.lo, self.hi)
        )


def machine_target(layout: Layout, target: StepTarget) -> Target:
    """The same step for `opml.vm.step`, whose states are tuples, empty at the start of a fold."""
    cuts = Dissection.of(layout.committed[target.ordinal].instr, target.position)
    total = unpack_state(target.prior_total, cuts.state_bytes)
    acc = unpack_state(target.prior_acc, cuts.state_bytes)
    if target.mode == Mode.WHOLE:
        total, acc = (), ()
    elif target.mode == Mode.FINISH:
        acc = ()
    elif not cuts.is_sum:
        total, acc = total if target.lo else (), ()
    return Target(
        target.position, target.ordinal, target.element, target.mode, target.lo, target.hi, total, acc
    )


class Judge(Protocol):
    """Decides proofs against one claim. Raises `InputError` for a witness that is malformed: decides
    nothing."""

    def step(self, trace_root: bytes, target: StepTarget, witness: bytes) -> int:
        """What the step computes: stored bits, or a packed state."""
        ...

    def token_proof(self, trace_root: bytes, j: int, witness: bytes) -> bool:
        """Whether output token j differs from the committed sample."""
        ...

    def piece_proof(self, j: int, answer: bytes, lengths: bytes, witness: bytes) -> bool:
        """Whether the answer's slice of output token j differs from the token's piece."""
        ...


@dataclass(frozen=True)
class ClaimJudge:
    """The judge of one claim: `context` holds its roots (the trace root comes with each proof)."""

    layout: Layout
    context: Context
    vocabulary_root: bytes
    vocabulary_size: int

    def step(self, trace_root: bytes, target: StepTarget, witness: bytes) -> int:
        context = replace(self.context, trace_root=trace_root)
        return pack_state(verify(self.layout, context, machine_target(self.layout, target), witness))

    def token_proof(self, trace_root: bytes, j: int, witness: bytes) -> bool:
        self._check_output_token(j)
        verifier = Verifier(self.layout, replace(self.context, trace_root=trace_root), witness)
        sampled, posted = read_sample(verifier, j), read_output(verifier, j)
        verifier.close()
        return sampled != posted

    def piece_proof(self, j: int, answer: bytes, lengths: bytes, witness: bytes) -> bool:
        self._check_output_token(j)
        verifier = Verifier(self.layout, self.context, witness)
        token = int.from_bytes(read_output(verifier, j), "little")
        if token >= self.vocabulary_size:
            raise InputError(f"token {token} is outside the vocabulary of {self.vocabulary_size}")
        piece = verifier.take(int.from_bytes(verifier.take(LENGTH_BYTES), "big"))
        siblings = [verifier.take(HASH_BYTES) for _ in range(clog2(self.vocabulary_size))]
        verifier.close()
        root = path_root(Tag.VOCABULARY, token, leaf_hash(Tag.PIECE_LEAF, piece), siblings)
        if root != self.vocabulary_root:
            raise InputError(
                f"piece of token {token}: the opening gives {root.hex()}, known is "
                f"{self.vocabulary_root.hex()}: a byte of the witness is wrong"
            )
        return piece != slice_of(answer, lengths, j)

    def _check_output_token(self, j: int) -> None:
        if j >= self.context.output_length:
            raise InputError(f"the output has {self.context.output_length} tokens, asked for number {j}")


def slice_of(answer: bytes, lengths: bytes, j: int) -> bytes:
    """The answer's bytes of output token j, by the lengths of the pieces (u16 big-endian each)."""
    sizes = [int.from_bytes(lengths[i : i + 2], "big") for i in range(0, 2 * j + 2, 2)]
    start = sum(sizes[:j])
    return answer[start : start + sizes[j]]


def read_sample(opener: Opener, j: int) -> bytes:
    """The stored sample that output token j must equal."""
    ordinal = len(opener.layout.committed) - 1
    return opener.unit(TensorId(Forest.TRACE, ordinal, opener.prompt_length - 1 + j), 0)


def read_output(opener: Opener, j: int) -> bytes:
    """Output token j as stored."""
    return opener.unit(TensorId(Forest.OUTPUT), j)


def token_witness(prover: Prover, j: int) -> bytes:
    """The witness that output token j differs from the sample."""
    read_sample(prover, j)
    read_output(prover, j)
    return bytes(prover.witness)


def piece_witness(prover: Prover, j: int, pieces: Sequence[bytes], vocabulary: Tree) -> bytes:
    """The witness that the answer's slice of output token j differs from its piece."""
    token = int.from_bytes(read_output(prover, j), "little")
    piece = pieces[token]
    length = len(piece).to_bytes(LENGTH_BYTES, "big")
    return bytes(prover.witness) + length + piece + b"".join(vocabulary.siblings(token))
