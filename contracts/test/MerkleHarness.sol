// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Merkle} from "../Merkle.sol";

/// @notice Opens `Merkle` to tests.
contract MerkleHarness {
    function clog2(uint256 n) external pure returns (uint256) {
        return Merkle.clog2(n);
    }

    function node(uint256 tag, bytes32 left, bytes32 right) external pure returns (bytes32) {
        return Merkle.node(tag, left, right);
    }

    function leaf(uint256 tag, bytes calldata data) external pure returns (bytes32) {
        return Merkle.leaf(tag, data);
    }

    function empty(uint256 tag, uint256 height) external pure returns (bytes32) {
        return Merkle.empty(tag, height);
    }

    function root(uint256 tag, bytes32 hash, uint256 index, bytes32[] calldata siblings)
        external
        pure
        returns (bytes32)
    {
        return Merkle.root(tag, hash, index, siblings);
    }

    function fold(uint256 tag, bytes32[] calldata nodes) external pure returns (bytes32) {
        return Merkle.fold(tag, nodes);
    }
}
