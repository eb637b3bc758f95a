// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Merkle} from "./Merkle.sol";

/// @title Lists of tokens: u32 little-endian each, as in the leaves of their tree (`docs/spec.md#42-trees`).
library Tokens {
    uint256 private constant LEAF_BYTES = 1024;

    /// @notice Token i of the list; the caller has checked that it is there.
    function get(bytes calldata list, uint256 i) internal pure returns (uint256 token) {
        assembly ("memory-safe") {
            let word := shr(224, calldataload(add(list.offset, shl(2, i))))
            word := or(shl(8, and(word, 0x00ff00ff)), and(shr(8, word), 0x00ff00ff))
            token := and(or(shl(16, word), shr(16, word)), 0xffffffff)
        }
    }

    /// @notice Root of the list's tree; the list isn't empty.
    function root(bytes calldata list) internal pure returns (bytes32) {
        uint256 leaves = (list.length + LEAF_BYTES - 1) / LEAF_BYTES;
        uint256 width = 1 << Merkle.clog2(leaves);
        bytes32[] memory row = new bytes32[](width);
        for (uint256 i; i < width; ++i) {
            uint256 start = i * LEAF_BYTES;
            uint256 end = start + LEAF_BYTES;
            row[i] = i < leaves
                ? Merkle.leaf(Merkle.LEAF_TOKENS, list[start:end < list.length ? end : list.length])
                : Merkle.EMPTY;
        }
        for (; width > 1; width >>= 1) {
            for (uint256 i; i < width; i += 2) row[i / 2] = Merkle.node(Merkle.NODE_TOKENS, row[i], row[i + 1]);
        }
        return row[0];
    }
}
