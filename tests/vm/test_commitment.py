"""Trees, padding, runs and ids against values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from opml.errors import InputError
from opml.vm.commitment import (
    E0,
    Tag,
    Tree,
    empty,
    leaf_hash,
    model_id,
    node_hash,
    path_root,
    run_root,
    tensor_tree,
    tokens_tree,
    trace_tree,
    vocabulary_tree,
    weight_tree,
)
from opml.vm.isa import Format
from opml.vm.keccak import hash_many, keccak256, portable_hash_many, portable_keccak256
from opml.vm.layout import cut, weight_leaves


def tree_of(count: int, depth: int) -> Tree:
    return Tree(Tag.TENSOR, [bytes([i]) * 32 for i in range(count)], depth)


def test_keccak_known_answers() -> None:
    empty_hash = "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470"
    abc = "4e03657aea45a94fc7d47ba826c8d667c0d1e6e33a64a036ec44f58fa12d6c45"
    for function in (keccak256, portable_keccak256):
        assert function(b"").hex() == empty_hash
        assert function(b"abc").hex() == abc


@given(st.binary(min_size=1, max_size=300), st.integers(1, 3))
def test_hash_many_equals_one_by_one(data: bytes, rows: int) -> None:
    messages = np.frombuffer(data * rows, np.uint8).reshape(rows, -1)
    expected = portable_keccak256(b"\7" + data) * rows
    assert hash_many(7, messages) == portable_hash_many(7, messages) == expected


def test_worked_example_of_the_docstring() -> None:
    data = bytes(i % 251 for i in range(2400))
    leaves = cut(1, 600, 1, 4)
    assert (leaves.count, leaves.depth) == (3, 2)
    h = [keccak256(b"\1" + data[1024 * i : 1024 * i + 1024]) for i in range(3)]
    n0 = keccak256(b"\x11" + h[0] + h[1])
    n1 = keccak256(b"\x11" + h[2] + keccak256(b"\0"))
    tree = tensor_tree(leaves, data)
    assert tree.root == keccak256(b"\x11" + n0 + n1)
    assert tree.root.hex() == "3cc9755172c715d725a418a8919e4ece46b424415dde3b618be70c5d00376e85"
    assert tree.run_siblings(1, 2) == [h[0], E0]


def test_padding_is_built_from_nothing_with_the_tag_of_the_tree() -> None:
    assert keccak256(b"\0") == E0 == empty(Tag.TENSOR, 0)
    for tag in (Tag.TENSOR, Tag.TRACE):
        assert empty(tag, 2) == node_hash(tag, empty(tag, 1), empty(tag, 1))
    assert empty(Tag.TENSOR, 1) != empty(Tag.TRACE, 1)
    tree = tree_of(1, 3)
    assert tree.node(2, 1) == empty(Tag.TENSOR, 2)
    assert tree.is_padding(0, 1) and tree.is_padding(2, 1) and not tree.is_padding(2, 0)


@pytest.mark.parametrize("count", range(1, 9))
def test_path_and_every_run_lead_to_the_root(count: int) -> None:
    tree = tree_of(count, 3)
    leaves = [bytes([i]) * 32 for i in range(count)]
    for first in range(count):
        assert path_root(Tag.TENSOR, first, leaves[first], tree.siblings(first)) == tree.root
        for last in range(first, count):
            siblings = tree.run_siblings(first, last)
            needed = iter(siblings)
            found = run_root(Tag.TENSOR, 3, first, leaves[first : last + 1], lambda: next(needed))  # noqa: B023
            assert found == tree.root
            assert next(needed, None) is None


def test_children_fold_to_their_node() -> None:
    tree = tree_of(5, 3)
    for down in range(4):
        for height in range(down, 4):
            for index in range(1 << (3 - height)):
                level = tree.children(height, index, down)
                while len(level) > 1:
                    level = [node_hash(Tag.TENSOR, *level[i : i + 2]) for i in range(0, len(level), 2)]
                assert level == [tree.node(height, index)]


def test_overlay_replaces_a_node_in_openings() -> None:
    tree = tree_of(4, 2)
    tree.overlay[1, 1] = b"\xff" * 32
    assert tree.siblings(0)[1] == b"\xff" * 32


@pytest.mark.parametrize(("rows", "cols"), [(3, 64), (2, 256), (2, 320), (1, 32)])
@pytest.mark.parametrize("fmt", [Format.F16, Format.Q4_1])
def test_weight_leaves_never_cross_a_row(rows: int, cols: int, fmt: Format) -> None:
    leaves = weight_leaves(rows, cols, fmt)
    data = bytes(i % 253 for i in range(leaves.total_bytes))
    row_bytes, full = leaves.total_bytes // rows, 256 // leaves.unit * leaves.unit_bytes
    hashes = [
        leaf_hash(Tag.WEIGHT_LEAF, data[row * row_bytes : (row + 1) * row_bytes][at : at + full])
        for row in range(rows)
        for at in range(0, row_bytes, full)
    ]
    assert len(hashes) == leaves.count
    assert weight_tree(leaves, data).root == Tree(Tag.WEIGHT, hashes, leaves.depth).root


@given(st.integers(1, 4), st.integers(1, 700))
def test_leaves_cover_every_element_once(rows: int, length: int) -> None:
    leaves = cut(rows, length, 1, 4)
    elements = [leaves.first(leaf) + i for leaf in range(leaves.count) for i in range(leaves.elements(leaf))]
    assert elements == list(range(rows * length))
    for element in {0, length - 1, rows * length - 1}:
        leaf, within = leaves.place(element)
        assert leaves.first(leaf) + within == element
        assert leaves.offset(leaf) == 4 * leaves.first(leaf)


def test_data_of_another_length_is_refused() -> None:
    with pytest.raises(InputError, match="2400 bytes"):
        tensor_tree(cut(1, 600, 1, 4), bytes(2399))


def test_tokens_and_vocabulary() -> None:
    tokens = list(range(300))
    stored = b"".join(token.to_bytes(4, "little") for token in tokens)
    leaves = [keccak256(b"\3" + stored[:1024]), keccak256(b"\3" + stored[1024:])]
    assert tokens_tree(tokens).root == keccak256(b"\x16" + leaves[0] + leaves[1])
    assert vocabulary_tree([b"a", b""]).root == keccak256(b"\x17" + keccak256(b"\4a") + keccak256(b"\4"))
    for wrong in ([], [1 << 32], [-1]):
        with pytest.raises(InputError):
            tokens_tree(wrong)
    with pytest.raises(InputError):
        vocabulary_tree([])


def test_trace_tree_has_the_depth_of_its_positions() -> None:
    assert trace_tree([bytes(32)]).depth == 0
    assert trace_tree([bytes(32)] * 1000).depth == 10


def test_model_id_changes_with_each_part() -> None:
    parts: dict[str, object] = {
        "program": b"p",
        "weights_root": bytes(32),
        "vocabulary_root": bytes(31) + b"\1",
        "vocabulary_size": 100,
        "end_tokens": (2, 5),
    }
    changes = {
        "program": b"q",
        "weights_root": b"\1" * 32,
        "vocabulary_root": bytes(32),
        "vocabulary_size": 101,
        "end_tokens": (2,),
    }
    golden = "cd60480e4724daed174c837fc06eb129612b0496a57ce290f2fadd9403cc9c70"
    assert model_id(**parts).hex() == golden  # type: ignore[arg-type]
    ids = {model_id(**parts)}  # type: ignore[arg-type]
    for part, value in changes.items():
        ids.add(model_id(**{**parts, part: value}))  # type: ignore[arg-type]
    assert len(ids) == 6


@pytest.mark.parametrize("ends", [(), (2, 2), (5, 2), (100,), tuple(range(17))])
def test_model_id_refuses_end_tokens(ends: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="end tokens"):
        model_id(b"p", bytes(32), bytes(32), 100, ends)
