// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title The trees of `docs/spec.md#4-commitments`.
/// @notice `leaf(tag, bytes) = keccak256(tag ‖ bytes)`, `node(tag, l, r) = keccak256(tag ‖ l ‖ r)`; a tree over n
/// leaves has depth `clog2(n)` and is padded on the right with `E(0) = keccak256(0x00)`,
/// `E(i + 1) = node(tag, E(i), E(i))`.
///
///            root = node(n0, n1)           A path of leaf 2 is: leaf 3, then n0 (lowest sibling first).
///           /                   \          The subtree of height 2 is revealed as its children
///      n0 = node(l0, l1)   n1 = node(l2, l3)   [l0, l1, l2, l3], which fold to the root.
library Merkle {
    error NotAPowerOfTwo(uint256 count);

    uint256 internal constant LEAF_TENSOR = 0x01;
    uint256 internal constant LEAF_WEIGHT = 0x02;
    uint256 internal constant LEAF_TOKENS = 0x03;
    uint256 internal constant LEAF_PIECE = 0x04;
    uint256 internal constant NODE_TENSOR = 0x11;
    uint256 internal constant NODE_POSITION = 0x12;
    uint256 internal constant NODE_TRACE = 0x13;
    uint256 internal constant NODE_WEIGHT = 0x14;
    uint256 internal constant NODE_WEIGHTS = 0x15;
    uint256 internal constant NODE_TOKENS = 0x16;
    uint256 internal constant NODE_VOCABULARY = 0x17;

    /// @dev keccak256(0x00): a leaf that is not there.
    bytes32 internal constant EMPTY = 0xbc36789e7a1e281436464229828f817d6612f7b477d66591ff96a9e064bcc98a;

    /// @notice The least d with 2^d ≥ n; 0 for n = 0.
    function clog2(uint256 n) internal pure returns (uint256 d) {
        assembly ("memory-safe") {
            n := sub(n, lt(0, n))
            d := shl(5, lt(0xffffffff, n))
            d := or(d, shl(4, lt(0xffff, shr(d, n))))
            d := or(d, shl(3, lt(0xff, shr(d, n))))
            d := or(d, shl(2, lt(0xf, shr(d, n))))
            d := or(d, shl(1, lt(0x3, shr(d, n))))
            d := or(d, lt(0x1, shr(d, n)))
            // d is the number of n − 1's highest bit; one more, unless n − 1 is 0
            d := add(d, lt(0, n))
        }
    }

    /// @notice The parent of two nodes.
    function node(uint256 tag, bytes32 left, bytes32 right) internal pure returns (bytes32 hash) {
        assembly ("memory-safe") {
            // The tag's byte is the last of word 0; the free memory pointer's word is put back.
            let free := mload(0x40)
            mstore(0x00, tag)
            mstore(0x20, left)
            mstore(0x40, right)
            hash := keccak256(0x1f, 0x41)
            mstore(0x40, free)
        }
    }

    /// @notice The hash of a leaf of these bytes.
    function leaf(uint256 tag, bytes calldata data) internal pure returns (bytes32 hash) {
        assembly ("memory-safe") {
            let free := mload(0x40)
            mstore8(free, tag)
            calldatacopy(add(free, 1), data.offset, data.length)
            hash := keccak256(free, add(data.length, 1))
        }
    }

    /// @notice The root of height `height` over the leaves of this data, the last shorter, at least one and at most 2^height of them.
    function leaves(uint256 tag, bytes calldata data, uint256 size, uint256 height) internal pure returns (bytes32 hash) {
        assembly ("memory-safe") {
            // Behind the row of hashes: the tag, and the bytes of a leaf.
            let row := add(mload(0x40), 0x20)
            let buffer := add(row, shl(5, shl(height, 1)))
            mstore8(buffer, tag)
            let to := row
            for { let from := 0 } lt(from, data.length) { from := add(from, size) } {
                let length := sub(data.length, from)
                if gt(length, size) { length := size }
                calldatacopy(add(buffer, 1), add(data.offset, from), length)
                mstore(to, keccak256(buffer, add(length, 1)))
                to := add(to, 0x20)
            }
            for {} lt(to, buffer) { to := add(to, 0x20) } { mstore(to, EMPTY) }
        }
        return foldRow(NODE_TENSOR, 1 << height);
    }

    /// @notice `E(height)`: the root of a subtree of that height in which nothing is.
    function empty(uint256 tag, uint256 height) internal pure returns (bytes32 hash) {
        hash = EMPTY;
        for (uint256 i; i < height; ++i) hash = node(tag, hash, hash);
    }

    /// @notice The root above a node, from its siblings, lowest first; `index` is the node's number on its level.
    function root(uint256 tag, bytes32 hash, uint256 index, bytes32[] calldata siblings)
        internal
        pure
        returns (bytes32)
    {
        assembly ("memory-safe") {
            let free := mload(0x40)
            mstore(0x00, tag)
            let end := add(siblings.offset, shl(5, siblings.length))
            for { let at := siblings.offset } lt(at, end) { at := add(at, 0x20) } {
                // The node goes to 0x20 if it is a left child, else to 0x40; its sibling to the other.
                let side := shl(5, and(index, 1))
                mstore(add(0x20, side), hash)
                mstore(sub(0x40, side), calldataload(at))
                hash := keccak256(0x1f, 0x41)
                index := shr(1, index)
            }
            mstore(0x40, free)
        }
        return hash;
    }

    /// @notice The root of a whole subtree from its 2^a nodes a levels below, in order.
    function fold(uint256 tag, bytes32[] calldata nodes) internal pure returns (bytes32 hash) {
        uint256 count = nodes.length;
        if (count == 0 || count & (count - 1) != 0) revert NotAPowerOfTwo(count);
        assembly ("memory-safe") {
            calldatacopy(add(mload(0x40), 0x20), nodes.offset, shl(5, count))
        }
        return foldRow(tag, count);
    }

    /// @dev The root over the 2^a nodes that lie a word behind the free memory pointer, in order.
    function foldRow(uint256 tag, uint256 count) private pure returns (bytes32 hash) {
        assembly ("memory-safe") {
            let row := add(mload(0x40), 0x20)
            // One level a round: pair i of the row becomes word i of the next row, in place. The tag goes to the byte before a
            // pair, which belongs to nothing, or to the pair before.
            for {} gt(count, 2) { count := shr(1, count) } {
                let at := sub(row, 1)
                let end := add(at, shl(5, count))
                let to := row
                for {} lt(at, end) { at := add(at, 0x80) } {
                    mstore8(at, tag)
                    mstore(to, keccak256(at, 0x41))
                    let second := add(at, 0x40)
                    mstore8(second, tag)
                    mstore(add(to, 0x20), keccak256(second, 0x41))
                    to := add(to, 0x40)
                }
            }
            hash := mload(row)
            if eq(count, 2) {
                mstore8(sub(row, 1), tag)
                hash := keccak256(sub(row, 1), 0x41)
            }
        }
    }
}
