"""Trees in assembly equal a plain twin; one bit changed anywhere changes the root."""

from __future__ import annotations

from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opml.vm.keccak import keccak256
from tests.contracts.revm import Deployed, Reverted, selector

hashes = st.binary(min_size=32, max_size=32)
tags = st.integers(0, 255)


@cache
def merkle() -> Deployed:
    return Deployed("test/MerkleHarness")


def plain_node(tag: int, left: bytes, right: bytes) -> bytes:
    return keccak256(bytes([tag]) + left + right)


def plain_root(tag: int, node: bytes, index: int, siblings: list[bytes]) -> bytes:
    for sibling in siblings:
        node = plain_node(tag, sibling, node) if index & 1 else plain_node(tag, node, sibling)
        index >>= 1
    return node


def plain_fold(tag: int, nodes: list[bytes]) -> bytes:
    while len(nodes) > 1:
        nodes = [plain_node(tag, *nodes[i : i + 2]) for i in range(0, len(nodes), 2)]
    return nodes[0]


def test_clog2_equals_its_definition() -> None:
    for n in [*range(300), *(x for d in range(9, 64) for x in (2**d - 1, 2**d, 2**d + 1) if x < 2**64)]:
        assert merkle().call("clog2", n) == max(0, n - 1).bit_length()


@given(tags, hashes, hashes)
def test_node_equals_the_plain_twin(tag: int, left: bytes, right: bytes) -> None:
    assert merkle().call("node", tag, left, right) == plain_node(tag, left, right)


@given(tags, st.binary(max_size=1100))
def test_leaf_equals_the_plain_twin(tag: int, data: bytes) -> None:
    assert merkle().call("leaf", tag, data) == keccak256(bytes([tag]) + data)


def test_empty_equals_its_definition() -> None:
    node = keccak256(b"\0")
    for height in range(24):
        assert merkle().call("empty", 0x11, height) == node
        node = plain_node(0x11, node, node)


@given(tags, hashes, st.integers(0, 2**40), st.lists(hashes, max_size=30))
def test_root_equals_the_plain_twin(tag: int, node: bytes, index: int, siblings: list[bytes]) -> None:
    assert merkle().call("root", tag, node, index, siblings) == plain_root(tag, node, index, siblings)


@given(tags, st.integers(0, 6).flatmap(lambda a: st.lists(hashes, min_size=2**a, max_size=2**a)))
def test_fold_equals_the_plain_twin(tag: int, nodes: list[bytes]) -> None:
    assert merkle().call("fold", tag, nodes) == plain_fold(tag, nodes)


@pytest.mark.parametrize("count", [0, 3, 6, 31])
def test_fold_refuses_a_count_that_is_no_power_of_two(count: int) -> None:
    with pytest.raises(Reverted) as refused:
        merkle().call("fold", 1, [b"\1" * 32] * count)
    assert refused.value.selector == selector("NotAPowerOfTwo(uint256)")


@given(
    st.lists(hashes, min_size=1, max_size=8),
    hashes,
    st.integers(0, 255),
    st.integers(0, 287),
    st.integers(0, 7),
)
def test_root_changes_with_any_bit(
    siblings: list[bytes], node: bytes, index: int, place: int, bit: int
) -> None:
    index %= 1 << len(siblings)
    known = merkle().call("root", 0x12, node, index, siblings)
    data = bytearray(node + b"".join(siblings))
    data[place % len(data)] ^= 1 << bit
    parts = [bytes(data[i : i + 32]) for i in range(0, len(data), 32)]
    assert merkle().call("root", 0x12, parts[0], index, parts[1:]) != known
    assert merkle().call("root", 0x13, node, index, siblings) != known


def test_constants_are_the_tags_and_the_empty_leaf_of_the_python_twin() -> None:
    from pathlib import Path

    from opml.vm.commitment import Tag

    text = (Path(__file__).parents[2] / "contracts" / "Merkle.sol").read_text(encoding="utf-8")
    names = {
        "LEAF_TENSOR": Tag.TENSOR_LEAF,
        "LEAF_WEIGHT": Tag.WEIGHT_LEAF,
        "LEAF_TOKENS": Tag.TOKENS_LEAF,
        "LEAF_PIECE": Tag.PIECE_LEAF,
        "NODE_TENSOR": Tag.TENSOR,
        "NODE_POSITION": Tag.POSITION,
        "NODE_TRACE": Tag.TRACE,
        "NODE_WEIGHT": Tag.WEIGHT,
        "NODE_WEIGHTS": Tag.WEIGHTS,
        "NODE_TOKENS": Tag.TOKENS,
        "NODE_VOCABULARY": Tag.VOCABULARY,
    }
    for name, tag in names.items():
        assert f"constant {name} = 0x{int(tag):02x};" in text
    assert f"EMPTY = 0x{keccak256(bytes([0])).hex()};" in text
