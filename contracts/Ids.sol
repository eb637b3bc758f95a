// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Claim, Request} from "./interfaces/IOpmlOracle.sol";

/// @title Ids are hashes of content (`docs/spec.md#43-ids`), so that a reorganisation can't aim a move at something else.
library Ids {
    bytes32 private constant MODEL = keccak256("opml.model.1");
    bytes32 private constant REQUEST = keccak256("opml.request.1");
    bytes32 private constant CLAIM = keccak256("opml.claim.1");
    bytes32 private constant GAME = keccak256("opml.game.1");

    function model(
        bytes32 programHash,
        bytes32 weightsRoot,
        bytes32 vocabularyRoot,
        uint32 vocabularySize,
        uint32[] memory endTokens
    ) internal pure returns (bytes32) {
        return keccak256(
            abi.encode(
                MODEL,
                programHash,
                weightsRoot,
                vocabularyRoot,
                vocabularySize,
                keccak256(abi.encodePacked(endTokens))
            )
        );
    }

    function request(address oracle, Request memory r) internal view returns (bytes32) {
        return keccak256(abi.encode(REQUEST, block.chainid, oracle, r));
    }

    function claim(address oracle, Claim memory c) internal view returns (bytes32) {
        return keccak256(abi.encode(CLAIM, block.chainid, oracle, c));
    }

    /// @dev As `request`, of a struct as it was sent. Words with bits beyond their type give a hash that nobody stored.
    function requestSent(address oracle, Request calldata r) internal view returns (bytes32) {
        uint256 ptr;
        assembly ("memory-safe") {
            ptr := r
        }
        return words(REQUEST, oracle, ptr, 11);
    }

    /// @dev As `claim`, of a struct as it was sent.
    function claimSent(address oracle, Claim calldata c) internal view returns (bytes32) {
        uint256 ptr;
        assembly ("memory-safe") {
            ptr := c
        }
        return words(CLAIM, oracle, ptr, 9);
    }

    function game(bytes32 claimId, address challenger, uint256 salt) internal pure returns (bytes32) {
        return keccak256(abi.encode(GAME, claimId, challenger, salt));
    }

    /// @notice The data contract that a registry published as its program number `nth`: contracts count what they create from 1
    /// (EIP-161), and the address follows from creator and count. A registry creates nothing else.
    function program(address registry, uint256 nth) internal pure returns (address pointer) {
        assembly ("memory-safe") {
            // keccak256(rlp([registry, nth])): a list of 22 + n bytes, the address of 20, nth as it is below 0x80, else
            // behind its length.
            let n := add(add(lt(0x7f, nth), lt(0xff, nth)), add(lt(0xffff, nth), lt(0xffffff, nth)))
            mstore(0x00, or(or(shl(248, add(0xd6, n)), shl(240, 0x94)), shr(16, shl(96, registry))))
            mstore(0x16, shl(sub(248, shl(3, n)), or(mul(shl(shl(3, n), add(0x80, n)), lt(0, n)), nth)))
            pointer := and(keccak256(0x00, add(0x17, n)), 0xffffffffffffffffffffffffffffffffffffffff)
        }
    }

    /// @dev keccak256(abi.encode(tag, chain id, oracle, the calldata's words)).
    function words(bytes32 tag, address oracle, uint256 ptr, uint256 count) private view returns (bytes32 hash) {
        assembly ("memory-safe") {
            let free := mload(0x40)
            mstore(free, tag)
            mstore(add(free, 0x20), chainid())
            mstore(add(free, 0x40), oracle)
            calldatacopy(add(free, 0x60), ptr, shl(5, count))
            hash := keccak256(free, add(0x60, shl(5, count)))
        }
    }
}
