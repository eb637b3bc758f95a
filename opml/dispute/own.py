"""What a player computes for itself of one claim: its own trace of the posted tokens, and what follows from
it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from opml.dispute.cursor import Shapes, at
from opml.dispute.folds import FoldWalker
from opml.dispute.nodes import MixedNodes, Nodes, TraceNodes
from opml.dispute.totals import Chunk, Dissection, pack_state
from opml.dispute.verifier import (
    StepTarget,
    machine_target,
    piece_witness,
    token_witness,
)
from opml.vm.commitment import Tree
from opml.vm.isa import LEAF_ELEMENTS
from opml.vm.step import Mode, State, Target, evaluate
from opml.vm.trace import Cursor, Stage, Trace, TraceTrees
from opml.vm.witness import Forest, Prover, Reader, TensorId

FoldStates = Callable[[Trace, int, int, int, Sequence[Chunk], State], Sequence[State]]
"""(trace, t, ordinal, element, chunks, state at the start) -> the state after each chunk."""


@dataclass(frozen=True)
class Vocabulary:
    """The bytes that each token adds to an answer, and their tree."""

    pieces: Sequence[bytes]
    tree: Tree


@dataclass(frozen=True)
class Own:
    """A player's own computation over a claim's tokens.

    `nodes` is the commitment that the player stands for: that of `trace`, or for a cheat another one.
    `fold_states` may be a faster engine's than `FoldWalker`.
    """

    trace: Trace
    nodes: Nodes
    trees: TraceTrees
    shapes: Shapes
    vocabulary: Vocabulary
    fold_states: FoldStates | None = None

    @staticmethod
    def of(trace: Trace, vocabulary: Vocabulary, fold_states: FoldStates | None = None) -> Own:
        """The computation behind an honest trace."""
        shapes = Shapes(trace.layout, trace.prompt_length, len(trace.tokens) - 1)
        nodes = TraceNodes(trace, shapes)
        return Own(trace, nodes, nodes.trees, shapes, vocabulary, fold_states)

    @cached_property
    def trace_root(self) -> bytes:
        return self.nodes.node(self.shapes.root())

    @cached_property
    def _folds(self) -> FoldWalker:
        return FoldWalker(self.trace)

    def totals(self, t: int, ordinal: int, element: int) -> tuple[int, ...]:
        """The states of round 1, packed."""
        return self._states(t, ordinal, element, self._cuts(t, ordinal).chunks, ())

    def inner_totals(
        self, t: int, ordinal: int, element: int, block: Chunk, prior_total: int
    ) -> tuple[int, ...]:
        """The states of round 2, packed: those after each chunk of the block but the last."""
        cuts = self._cuts(t, ordinal)
        start = machine_target(
            self.trace.layout,
            StepTarget(t, ordinal, element, Mode.CHUNK, block.lo, block.hi, prior_total),
        ).total
        return self._states(t, ordinal, element, cuts.inner(block)[:-1], start)

    def _states(
        self, t: int, ordinal: int, element: int, chunks: Sequence[Chunk], start: State
    ) -> tuple[int, ...]:
        if self.fold_states is not None:
            states = self.fold_states(self.trace, t, ordinal, element, chunks, start)
        else:
            states = self._folds.states(t, ordinal, element, chunks, start)
        return tuple(pack_state(state) for state in states)

    def _cuts(self, t: int, ordinal: int) -> Dissection:
        return Dissection.of(self.shapes.slot(ordinal).instr, t)

    # Witnesses -----------------------------------------------------------------------------------------

    def step_witness(self, target: StepTarget, revealed: Mapping[Cursor, bytes]) -> tuple[int, bytes]:
        """(what the step computes, packed; its witness under a root of which `revealed` is known)."""
        prover = MixedProver(self, revealed)
        layout = self.trace.layout
        state = evaluate(layout, self.trace.params, machine_target(layout, target), prover)
        return pack_state(state), bytes(prover.witness)

    def token_witness(self, j: int) -> bytes:
        """The witness of a token proof for output token j, under one's own root."""
        return token_witness(Prover(self.trees), j)

    def piece_witness(self, j: int) -> bytes:
        """The witness of a piece proof for output token j."""
        return piece_witness(Prover(self.trees), j, self.vocabulary.pieces, self.vocabulary.tree)


class MixedProver(Prover):
    """Opens one's own tensors under a submitter's root: siblings beside the path come from what was revealed.

    Every input of the leftmost difference lies to its left, where the submitter's nodes equal one's own.
    """

    def __init__(self, own: Own, revealed: Mapping[Cursor, bytes]) -> None:
        super().__init__(own.trees)
        self._mixed = MixedNodes(own.nodes, revealed)
        self._own = own

    def open(self, tensor: TensorId, first: int, last: int) -> list[bytes]:
        if tensor.forest != Forest.TRACE:
            return super().open(tensor, first, last)
        data = Reader.open(self, tensor, first, last)
        self._write(data)
        self._write(self.trees.tensor_tree(tensor.t, tensor.number).run_siblings(first, last))
        if tensor not in self._tensors:
            self._tensors.add(tensor)
            self._write(self._climb(Cursor(Stage.POSITION, 0, tensor.number, tensor.t)))
            if tensor.t not in self._positions:
                self._positions.add(tensor.t)
                self._write(self._climb(Cursor(Stage.TRACE, 0, tensor.t)))
        return data

    def _climb(self, leaf: Cursor) -> list[bytes]:
        depth = self._own.shapes.depth(leaf)
        return [self._mixed.node(at(leaf, h, leaf.index >> h ^ 1)) for h in range(depth)]


def walk_states(
    trace: Trace, t: int, ordinal: int, element: int, chunks: Sequence[Chunk], start: State
) -> list[State]:
    """The state after each of consecutive chunks of a fold, scalar by scalar; `start` is the total before
    them."""
    cuts = Dissection.of(trace.layout.committed[ordinal].instr, t)
    reader = Reader(trace)
    total, acc = start, State()
    states: list[State] = []
    for chunk in chunks:
        target = Target(t, ordinal, element, Mode.CHUNK, chunk.lo, chunk.hi, total, acc)
        state = evaluate(trace.layout, trace.params, target, reader)
        states.append(state)
        closed = not cuts.is_sum or chunk.hi % LEAF_ELEMENTS == 0 or chunk.hi == cuts.length
        total, acc = (state, State()) if closed else (total, state)
    return states
