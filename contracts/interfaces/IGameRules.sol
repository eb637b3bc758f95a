// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Cursor} from "./IDisputeGame.sol";
import {Sizes} from "./IModelRegistry.sol";

/// The committed tensor `ordinal` at a position, under a program.
struct TensorAt {
    address program;
    uint256 ordinal;
    uint256 position;
}

/// What of a game follows from the program alone (docs/spec.md, The game). Stateless; every answer tells the number of schedule
/// entries that were read for it, since that sets the gas.
interface IGameRules {
    /// Depth of the tensor's tree and how many leaves are not padding.
    function tree(TensorAt calldata tensor) external view returns (uint256 depth, uint256 leaves, uint256 entries);

    /// Bytes of a leaf of the tensor.
    function leafBytes(TensorAt calldata tensor, uint256 leaf) external view returns (uint256 length, uint256 entries);

    /// Element i of a leaf: its flat number, its stored bits, and whether its fold is dissected.
    function element(TensorAt calldata tensor, uint256 leaf, uint256 i, bytes calldata data)
        external
        view
        returns (uint256 number, uint256 bits, bool dissected, uint256 entries);

    /// Bytes of the states of a round, given the game's word.
    function statesBytes(TensorAt calldata tensor, uint256 round, bytes32 word)
        external
        view
        returns (uint256 length, uint256 entries);

    /// The word after chunk j was picked, the mode of the step, and whether another round comes first.
    function chunk(TensorAt calldata tensor, uint256 round, bytes32 word, uint256 j, bytes calldata states)
        external
        view
        returns (bytes32 next, uint256 mode, bool again, uint256 entries);

    /// The trace root above a node that isn't padding, and how many leaves of its tree aren't.
    function rootAbove(
        address program,
        Sizes calldata sizes,
        uint256 promptLength,
        uint256 positions,
        Cursor calldata cursor,
        bytes32 node,
        bytes32[] calldata siblings
    ) external view returns (bytes32 root, uint256 leaves);
}
