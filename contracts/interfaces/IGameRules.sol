// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Cursor, Element} from "./IDisputeGame.sol";
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
    /// Depth of the tensor's tree, how many leaves are not padding, and whether it is opened whole.
    function tree(TensorAt calldata tensor)
        external
        view
        returns (uint256 depth, uint256 leaves, bool whole, uint256 entries);

    /// Reverts unless `data` are the elements below a node of the tensor's tree.
    function leaf(TensorAt calldata tensor, uint256 height, uint256 index, bytes32 node, bytes calldata data)
        external
        view
        returns (uint256 entries);

    /// An element below a node: its flat number, its stored bits, and whether its fold is dissected. Reverts unless it is proven.
    function element(TensorAt calldata tensor, uint256 height, uint256 index, bytes32 node, Element calldata named)
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

    /// The trace root above a node that isn't padding, how many leaves of its tree aren't, and whether it is the root of a
    /// tensor that is opened whole.
    function rootAbove(
        address program,
        Sizes calldata sizes,
        uint256 promptLength,
        uint256 positions,
        Cursor calldata cursor,
        bytes32 node,
        bytes32[] calldata siblings
    ) external view returns (bytes32 root, uint256 leaves, bool whole);
}
