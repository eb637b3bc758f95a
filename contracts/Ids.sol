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
