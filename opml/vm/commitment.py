"""Trees of hashes over tensors, traces, weights, tokens and vocabularies (`docs/spec.md`, Commitments).

Every tree is binary, of a depth that follows from shapes alone, and padded on the right with the hashes of
nothing: E(0) = H(0x00), E(i+1) = node(tag, E(i), E(i)). A tensor of 600 f32 elements has 3 leaves, depth 2:

    height 2                        root = H(0x11 | n0 | n1)
                                   /                        \\
    height 1        n0 = H(0x11 | h0 | h1)          n1 = H(0x11 | h2 | E0)
                      /               \\               /               \\
    height 0   h0 = H(0x01|b0)   h1 = H(0x01|b1)  h2 = H(0x01|b2)   E0 = H(0x00)
                      |                |               |
    leaves     b0: elements        b1: 256 ...      b2: 512 ... 599,
               0 ... 255,              511            352 bytes
               1,024 bytes

A *run* is a stretch of leaves, opened together. The run 1 ... 2 above is proven by their bytes and two
siblings, in the order of need: h0 (left of the odd first leaf), E0 (right of the even last one); the next
level holds both n0 and n1, so the root follows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from enum import IntEnum
from functools import cache
from itertools import pairwise

import numpy as np

from opml.errors import InputError
from opml.vm.isa import LEAF_ELEMENTS
from opml.vm.keccak import DIGEST_BYTES, hash_many, keccak256
from opml.vm.layout import Leaves, clog2, token_leaves

Buffer = bytes | bytearray | memoryview


class Tag(IntEnum):
    """First byte of what is hashed: a domain for every kind of leaf and node."""

    EMPTY = 0x00
    TENSOR_LEAF = 0x01
    WEIGHT_LEAF = 0x02
    TOKENS_LEAF = 0x03
    PIECE_LEAF = 0x04
    TENSOR = 0x11
    POSITION = 0x12
    TRACE = 0x13
    WEIGHT = 0x14
    WEIGHTS = 0x15
    TOKENS = 0x16
    VOCABULARY = 0x17


MODEL_DOMAIN = keccak256(b"opml.model.1")
MAX_END_TOKENS = 16

_PREFIX = tuple(bytes([tag]) for tag in range(0x18))


def leaf_hash(tag: Tag, data: Buffer) -> bytes:
    """H(tag | data)."""
    return keccak256(_PREFIX[tag] + data)


def node_hash(tag: Tag, left: bytes, right: bytes) -> bytes:
    """H(tag | left | right)."""
    return keccak256(_PREFIX[tag] + left + right)


E0 = keccak256(_PREFIX[Tag.EMPTY])
"""The leaf of nothing."""


@cache
def empty(tag: Tag, height: int) -> bytes:
    """The node at `height` over nothing but padding."""
    return E0 if height == 0 else node_hash(tag, empty(tag, height - 1), empty(tag, height - 1))


class Tree:
    """A padded tree over leaf hashes: only nodes that have a real leaf are kept.

    `count` real leaves, `depth` levels above them (at least clog2(count)). `overlay[height, index]` holds
    hashes of somebody else's tree: where they are known, they take the place of one's own.
    """

    __slots__ = ("count", "depth", "levels", "overlay", "tag")

    def __init__(self, tag: Tag, leaves: Sequence[bytes] | bytes, depth: int) -> None:
        """`leaves`: the hashes of the leaves, a list or one after the other."""
        level = leaves if isinstance(leaves, bytes) else b"".join(leaves)
        self.tag, self.count, self.depth = tag, len(level) // DIGEST_BYTES, depth
        assert self.count <= 1 << depth
        self.overlay: dict[tuple[int, int], bytes] = {}
        self.levels: list[bytes] = [level]
        for height in range(depth):
            if len(level) // DIGEST_BYTES & 1:
                level += empty(tag, height)
            level = hash_many(tag, np.frombuffer(level, np.uint8).reshape(-1, 2 * DIGEST_BYTES))
            self.levels.append(level)

    @property
    def root(self) -> bytes:
        return self.node(self.depth, 0)

    def node(self, height: int, index: int) -> bytes:
        """The node `index` at `height` above the leaves, padding included."""
        if (height, index) in self.overlay:
            return self.overlay[height, index]
        start = DIGEST_BYTES * index
        return self.levels[height][start : start + DIGEST_BYTES] or empty(self.tag, height)

    def is_padding(self, height: int, index: int) -> bool:
        """Whether a node has no real leaf."""
        return index << height >= self.count

    def children(self, height: int, index: int, down: int) -> list[bytes]:
        """The 2^down nodes that lie `down` levels below the node `index` at `height`."""
        return [self.node(height - down, (index << down) + i) for i in range(1 << down)]

    def siblings(self, index: int, height: int = 0, levels: int | None = None) -> list[bytes]:
        """Siblings on the way up from a node, one a level, over `levels` levels (all: up to the root)."""
        last = self.depth if levels is None else height + levels
        return [self.node(h, (index >> (h - height)) ^ 1) for h in range(height, last)]

    def run_siblings(self, first: int, last: int) -> list[bytes]:
        """What proves the leaves first ... last, in the order in which `run_root` needs it."""
        found = []
        for height in range(self.depth):
            if first & 1:
                found.append(self.node(height, first - 1))
            if not last & 1:
                found.append(self.node(height, last + 1))
            first, last = first >> 1, last >> 1
        return found


def path_root(tag: Tag, index: int, node: bytes, siblings: Iterable[bytes]) -> bytes:
    """The root above the node number `index`, from its siblings upwards."""
    for sibling in siblings:
        node = node_hash(tag, sibling, node) if index & 1 else node_hash(tag, node, sibling)
        index >>= 1
    return node


def run_root(
    tag: Tag, depth: int, first: int, hashes: Sequence[bytes], sibling: Callable[[], bytes]
) -> bytes:
    """The root above the leaves `first` ... with these hashes; `sibling` gives what is needed, in order."""
    level = list(hashes)
    for _ in range(depth):
        if first & 1:
            level.insert(0, sibling())
        if len(level) & 1:
            level.append(sibling())
        level = [node_hash(tag, level[i], level[i + 1]) for i in range(0, len(level), 2)]
        first >>= 1
    return level[0]


# The trees of the specification ------------------------------------------------------------------------


def leaf_data(leaves: Leaves, data: Buffer, leaf: int) -> bytes:
    """The stored bytes of one leaf of a tensor whose stored bytes are `data`."""
    start = leaves.offset(leaf)
    return bytes(data[start : start + leaves.size(leaf)])


def data_tree(node_tag: Tag, leaf_tag: Tag, leaves: Leaves, data: Buffer) -> Tree:
    """The tree over a tensor's stored bytes. Raises `InputError` where their number is not the shape's."""
    if len(data) != leaves.total_bytes:
        raise InputError(f"a tensor of this shape has {leaves.total_bytes} bytes, found {len(data)}")
    rows = np.frombuffer(data, np.uint8).reshape(leaves.rows, -1)
    whole = leaves.length // LEAF_ELEMENTS
    full = LEAF_ELEMENTS // leaves.unit * leaves.unit_bytes
    hashes = np.empty((leaves.rows, leaves.per_row, DIGEST_BYTES), np.uint8)
    for first, last, size in ((0, whole, full), (whole, leaves.per_row, rows.shape[1] - whole * full)):
        if first < last:
            messages = rows[:, first * full : first * full + (last - first) * size].reshape(-1, size)
            digests = np.frombuffer(hash_many(leaf_tag, messages), np.uint8)
            hashes[:, first:last] = digests.reshape(leaves.rows, last - first, DIGEST_BYTES)
    return Tree(node_tag, hashes.tobytes(), leaves.depth)


def tensor_tree(leaves: Leaves, data: Buffer) -> Tree:
    """The tree of one tensor of the trace (`Layout.slot_leaves`)."""
    return data_tree(Tag.TENSOR, Tag.TENSOR_LEAF, leaves, data)


def weight_tree(leaves: Leaves, data: Buffer) -> Tree:
    """The tree of one weight tensor (`opml.vm.layout.weight_leaves`)."""
    return data_tree(Tag.WEIGHT, Tag.WEIGHT_LEAF, leaves, data)


def position_tree(tensor_roots: Sequence[bytes]) -> Tree:
    """The tree of one position: the roots of its committed slots, `E0` where it lacks one."""
    return Tree(Tag.POSITION, tensor_roots, clog2(max(1, len(tensor_roots))))


def trace_tree(position_roots: Sequence[bytes]) -> Tree:
    """The tree of a trace, over all its positions."""
    return Tree(Tag.TRACE, position_roots, clog2(len(position_roots)))


def weights_tree(tensor_roots: Sequence[bytes]) -> Tree:
    """The tree of all weight tensors: globals, then those of each schedule entry."""
    return Tree(Tag.WEIGHTS, tensor_roots, clog2(max(1, len(tensor_roots))))


def token_bytes(tokens: Sequence[int]) -> bytes:
    """Tokens as stored: 4 little-endian bytes each. Raises `InputError` for one that isn't a u32."""
    for token in tokens:
        if not 0 <= token < 1 << 32:
            raise InputError(f"a token is a number of 32 bits, found {token}")
    return b"".join(token.to_bytes(4, "little") for token in tokens)


def tokens_tree(tokens: Sequence[int]) -> Tree:
    """The tree of at least one token."""
    if not tokens:
        raise InputError("a list of tokens that is committed to has at least one token")
    return data_tree(Tag.TOKENS, Tag.TOKENS_LEAF, token_leaves(len(tokens)), token_bytes(tokens))


def vocabulary_tree(pieces: Sequence[bytes]) -> Tree:
    """The tree of the bytes that each token adds to an answer."""
    if not pieces:
        raise InputError("a vocabulary has at least one token")
    hashes = [leaf_hash(Tag.PIECE_LEAF, piece) for piece in pieces]
    return Tree(Tag.VOCABULARY, hashes, clog2(len(pieces)))


# Ids ---------------------------------------------------------------------------------------------------


def model_id(
    program: bytes,
    weights_root: bytes,
    vocabulary_root: bytes,
    vocabulary_size: int,
    end_tokens: Sequence[int],
) -> bytes:
    """The id under which a model is registered (`docs/spec.md`, Ids); `program` is the encoded program.

    Raises `InputError` unless the 1 ... 16 end tokens ascend and lie in the vocabulary.
    """
    ascending = all(a < b for a, b in pairwise(end_tokens))
    inside = all(0 <= token < vocabulary_size for token in end_tokens)
    if not 1 <= len(end_tokens) <= MAX_END_TOKENS or not ascending or not inside:
        raise InputError(
            f"end tokens: expected 1 to {MAX_END_TOKENS}, ascending, below {vocabulary_size}; "
            f"found {list(end_tokens)}"
        )
    ends = keccak256(b"".join(token.to_bytes(32, "big") for token in end_tokens))
    words = [
        MODEL_DOMAIN,
        keccak256(program),
        weights_root,
        vocabulary_root,
        vocabulary_size.to_bytes(32, "big"),
        ends,
    ]
    return keccak256(b"".join(words))


__all__ = [
    "E0",
    "MAX_END_TOKENS",
    "Tag",
    "Tree",
    "data_tree",
    "empty",
    "leaf_data",
    "leaf_hash",
    "model_id",
    "node_hash",
    "path_root",
    "position_tree",
    "run_root",
    "tensor_tree",
    "token_bytes",
    "tokens_tree",
    "trace_tree",
    "vocabulary_tree",
    "weight_tree",
    "weights_tree",
]
