"""Openings: the data that a step needs, proven leaf by leaf under known roots (`docs/spec.md`, The witness).

The evaluation of a step (`opml.vm.step`) asks an `Opener` for data. The `Prover` takes it from a trace and
writes the witness; the `Verifier` takes it from the witness and checks it against the roots; the `Reader`
takes it from a trace and writes nothing. All are asked in the same order, so that no place needs to be named.

    a run of leaves     leaf bytes ... | siblings of the run, level by level
    then, at first use  siblings in the position tree | siblings in the trace tree (once a position)
                        or siblings in the weights tree, or nothing for tokens
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from opml.errors import InputError
from opml.vm.commitment import Tag, Tree, leaf_data, leaf_hash, path_root, run_root, token_bytes
from opml.vm.layout import Layout, Leaves, clog2, token_leaves
from opml.vm.trace import Trace, TraceTrees

HASH_BYTES = 32


class Forest(IntEnum):
    """The four roots under which tensors are opened."""

    TRACE = 0
    WEIGHTS = 1
    PROMPT = 2
    OUTPUT = 3


@dataclass(frozen=True, slots=True)
class TensorId:
    """A tensor under one of the roots: `number` is the ordinal of a slot (at position `t`) or of a weight."""

    forest: Forest
    number: int = 0
    t: int = 0


@dataclass(frozen=True, slots=True)
class Context:
    """What a step is checked against: the roots, the lengths in tokens, the parameter words."""

    trace_root: bytes
    weights_root: bytes
    prompt_root: bytes
    prompt_length: int
    output_root: bytes
    output_length: int
    params: tuple[int, ...]

    @property
    def positions(self) -> int:
        """Positions of the trace."""
        return self.prompt_length + self.output_length - 1

    @classmethod
    def of(cls, trees: TraceTrees) -> Context:
        """The context of a trace."""
        trace = trees.trace
        return cls(
            trace_root=trees.trace_tree.root,
            weights_root=trace.weights.root,
            prompt_root=trees.prompt_tree.root,
            prompt_length=trace.prompt_length,
            output_root=trees.output_tree.root,
            output_length=len(trace.tokens) - trace.prompt_length,
            params=trace.params,
        )


@dataclass(frozen=True, slots=True)
class Run:
    """Leaves first ... last of a tensor, opened together."""

    first: int
    last: int
    data: Sequence[bytes]


class Opener(ABC):
    """Gives stored elements; opens each leaf when it is first needed, and keeps it."""

    def __init__(self, layout: Layout, prompt_length: int, output_length: int) -> None:
        self.layout = layout
        self.prompt_length = prompt_length
        self.output_length = output_length
        self.runs: dict[TensorId, list[Run]] = {}

    def leaves(self, tensor: TensorId) -> Leaves:
        """How a tensor is cut into leaves."""
        if tensor.forest == Forest.TRACE:
            return self.layout.slot_leaves(self.layout.committed[tensor.number], tensor.t)
        if tensor.forest == Forest.WEIGHTS:
            return self.layout.weights[tensor.number].leaves
        return token_leaves(self.prompt_length if tensor.forest == Forest.PROMPT else self.output_length)

    def need(self, tensor: TensorId, first: int, last: int) -> Run:
        """The first opened run that holds the leaves first ... last; opens them if there is none."""
        opened = self.runs.setdefault(tensor, [])
        for run in opened:
            if run.first <= first and last <= run.last:
                return run
        run = Run(first, last, self.open(tensor, first, last))
        opened.append(run)
        return run

    def unit(self, tensor: TensorId, element: int) -> bytes:
        """The stored bytes of an element; for a quantised weight those of its whole unit."""
        leaves = self.leaves(tensor)
        leaf, within = leaves.place(element)
        run = self.need(tensor, leaf, leaf)
        start = within // leaves.unit * leaves.unit_bytes
        return run.data[leaf - run.first][start : start + leaves.unit_bytes]

    @abstractmethod
    def open(self, tensor: TensorId, first: int, last: int) -> list[bytes]:
        """Opens a run: the bytes of each of its leaves."""


class Reader(Opener):
    """Reads a trace without proving anything."""

    def __init__(self, trace: Trace) -> None:
        super().__init__(trace.layout, trace.prompt_length, len(trace.tokens) - trace.prompt_length)
        self.trace = trace

    def stored(self, tensor: TensorId) -> bytes | bytearray | memoryview:
        """All stored bytes of a tensor."""
        if tensor.forest == Forest.TRACE:
            return self.trace.tensor(tensor.t, tensor.number)
        if tensor.forest == Forest.WEIGHTS:
            return self.trace.weights.tensor(tensor.number).data
        prompt = self.trace.prompt_length
        tokens = self.trace.tokens
        return token_bytes(tokens[:prompt] if tensor.forest == Forest.PROMPT else tokens[prompt:])

    def open(self, tensor: TensorId, first: int, last: int) -> list[bytes]:
        leaves, stored = self.leaves(tensor), memoryview(self.stored(tensor))
        return [leaf_data(leaves, stored, leaf) for leaf in range(first, last + 1)]


class Prover(Reader):
    """Reads a trace and writes the witness of what was read."""

    def __init__(self, trees: TraceTrees) -> None:
        super().__init__(trees.trace)
        self.trees = trees
        self.witness = bytearray()
        self._tensors: set[TensorId] = set()
        self._positions: set[int] = set()

    def open(self, tensor: TensorId, first: int, last: int) -> list[bytes]:
        data = super().open(tensor, first, last)
        self._write(data)
        self._write(self._tree(tensor).run_siblings(first, last))
        if tensor not in self._tensors:
            self._tensors.add(tensor)
            if tensor.forest == Forest.TRACE:
                self._write(self.trees.position_tree(tensor.t).siblings(tensor.number))
                if tensor.t not in self._positions:
                    self._positions.add(tensor.t)
                    self._write(self.trees.trace_tree.siblings(tensor.t))
            elif tensor.forest == Forest.WEIGHTS:
                self._write(self.trace.weights.tree.siblings(tensor.number))
        return data

    def _tree(self, tensor: TensorId) -> Tree:
        if tensor.forest == Forest.TRACE:
            return self.trees.tensor_tree(tensor.t, tensor.number)
        if tensor.forest == Forest.WEIGHTS:
            return self.trace.weights.tensor_tree(tensor.number)
        return self.trees.prompt_tree if tensor.forest == Forest.PROMPT else self.trees.output_tree

    def _write(self, parts: Sequence[bytes]) -> None:
        for part in parts:
            self.witness += part


class Verifier(Opener):
    """Consumes a witness from the front and checks every opening against the roots of a context.

    Raises `InputError` where the witness is too short or leads to another root; `close` where bytes are left.
    """

    def __init__(self, layout: Layout, context: Context, witness: bytes) -> None:
        super().__init__(layout, context.prompt_length, context.output_length)
        self.context = context
        self._witness = witness
        self._at = 0
        self._roots: dict[TensorId, bytes] = {}
        self._positions: dict[int, bytes] = {}

    def take(self, size: int) -> bytes:
        """The next bytes of the witness."""
        if size > len(self._witness) - self._at:
            raise InputError(
                f"the witness has {len(self._witness)} bytes, {size} are needed at {self._at}: send it whole"
            )
        self._at += size
        return self._witness[self._at - size : self._at]

    def close(self) -> None:
        """To be called last: nothing may be left over."""
        if self._at != len(self._witness):
            raise InputError(f"{len(self._witness) - self._at} bytes of the witness are left over")

    def open(self, tensor: TensorId, first: int, last: int) -> list[bytes]:
        leaves = self.leaves(tensor)
        data = [self.take(leaves.size(leaf)) for leaf in range(first, last + 1)]
        leaf_tag, node_tag = _TAGS[tensor.forest]
        hashes = [leaf_hash(leaf_tag, leaf) for leaf in data]
        root = run_root(node_tag, leaves.depth, first, hashes, self._hash)
        if tensor in self._roots:
            self._expect(tensor, self._roots[tensor], root)
        else:
            self._roots[tensor] = root
            self._check_root(tensor, root)
        return data

    def _check_root(self, tensor: TensorId, root: bytes) -> None:
        """Climbs from a tensor's root, not seen before, to a known one."""
        context = self.context
        if tensor.forest == Forest.TRACE:
            node = self._climb(Tag.POSITION, tensor.number, root, self.layout.position_depth)
            if tensor.t in self._positions:
                self._expect(tensor, self._positions[tensor.t], node)
                return
            self._positions[tensor.t] = node
            node = self._climb(Tag.TRACE, tensor.t, node, clog2(context.positions))
            self._expect(tensor, context.trace_root, node)
        elif tensor.forest == Forest.WEIGHTS:
            node = self._climb(Tag.WEIGHTS, tensor.number, root, self.layout.weights_depth)
            self._expect(tensor, context.weights_root, node)
        else:
            known = context.prompt_root if tensor.forest == Forest.PROMPT else context.output_root
            self._expect(tensor, known, root)

    def _hash(self) -> bytes:
        return self.take(HASH_BYTES)

    def _climb(self, tag: Tag, index: int, node: bytes, depth: int) -> bytes:
        return path_root(tag, index, node, [self._hash() for _ in range(depth)])

    @staticmethod
    def _expect(tensor: TensorId, expected: bytes, found: bytes) -> None:
        if expected != found:
            raise InputError(
                f"{tensor.forest.name.lower()} tensor {tensor.number} at position {tensor.t}: "
                f"the opening gives {found.hex()}, known is {expected.hex()}: a byte of the witness is wrong"
            )


_TAGS = {
    Forest.TRACE: (Tag.TENSOR_LEAF, Tag.TENSOR),
    Forest.WEIGHTS: (Tag.WEIGHT_LEAF, Tag.WEIGHT),
    Forest.PROMPT: (Tag.TOKENS_LEAF, Tag.TOKENS),
    Forest.OUTPUT: (Tag.TOKENS_LEAF, Tag.TOKENS),
}

__all__ = ["Context", "Forest", "Opener", "Prover", "Reader", "Run", "TensorId", "Verifier"]
