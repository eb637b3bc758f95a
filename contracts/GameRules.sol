// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Cursor, Element, IDisputeGame, Stage} from "./interfaces/IDisputeGame.sol";
import {IGameRules, TensorAt} from "./interfaces/IGameRules.sol";
import {Sizes} from "./interfaces/IModelRegistry.sol";
import {GameState, Target} from "./GameState.sol";
import {Merkle} from "./Merkle.sol";
import {ProgramLib} from "./ProgramLib.sol";
import {TensorInfo, TensorLib} from "./TensorLib.sol";

/// @title What of a game follows from the program alone.
/// @notice Nothing is taken from a caller that can be derived: depths, lengths and counts come from the stored program.
/// @dev A contract of its own only because of EIP-170. Its errors are the game's.
contract GameRules is IGameRules {
    /// @dev A tensor of at most so many bytes is opened at once: below this its bytes cost less than one more reveal and pick.
    uint256 internal constant WHOLE_BYTES = 4096;

    /// @inheritdoc IGameRules
    function tree(TensorAt calldata tensor)
        external
        view
        override
        returns (uint256 depth, uint256 leaves, bool whole, uint256 entries)
    {
        TensorInfo memory info;
        (info, entries) = _info(tensor);
        return (info.depth, info.leaves, _whole(info), entries);
    }

    /// @inheritdoc IGameRules
    function leaf(TensorAt calldata tensor, uint256 height, uint256 index, bytes32 node, bytes calldata data)
        external
        view
        override
        returns (uint256 entries)
    {
        TensorInfo memory info;
        (info, entries) = _info(tensor);
        uint256 expected = _elements(info, height, index) * info.elementBytes;
        if (data.length != expected) revert IDisputeGame.WrongLeafLength(expected, data.length);
        bytes32 root = Merkle.leaves(Merkle.LEAF_TENSOR, data, ProgramLib.LEAF_ELEMENTS * info.elementBytes, height);
        if (root != node) revert IDisputeGame.WrongNode(node, root);
    }

    /// @inheritdoc IGameRules
    function element(TensorAt calldata tensor, uint256 height, uint256 index, bytes32 node, Element calldata named)
        external
        view
        override
        returns (uint256 number, uint256 bits, bool dissected, uint256 entries)
    {
        TensorInfo memory info;
        (info, entries) = _info(tensor);
        uint256 count = _elements(info, height, index);
        uint256 i = named.i;
        if (i >= count) revert IDisputeGame.NoSuchElement(i, count);
        if (named.siblings.length != height) {
            revert IDisputeGame.WrongSiblingCount(height, named.siblings.length);
        }
        bytes32 root = Merkle.leaf(Merkle.LEAF_TENSOR, named.data);
        root = Merkle.root(Merkle.NODE_TENSOR, root, i / ProgramLib.LEAF_ELEMENTS, named.siblings);
        // INVARIANT: what is under the node has the right length, since it was opened.
        if (root != node) revert IDisputeGame.WrongNode(node, root);

        number = (index << height) * ProgramLib.LEAF_ELEMENTS + i;
        uint256 offset = i % ProgramLib.LEAF_ELEMENTS * info.elementBytes;
        for (uint256 n; n < info.elementBytes; ++n) {
            bits |= uint256(uint8(named.data[offset + n])) << 8 * n;
        }
        dissected = info.termsPerStep != 0 && info.k > info.termsPerStep;
    }

    /// @inheritdoc IGameRules
    function statesBytes(TensorAt calldata tensor, uint256 round, bytes32 word)
        external
        view
        override
        returns (uint256 length, uint256 entries)
    {
        TensorInfo memory info;
        (info, entries) = _info(tensor);
        (uint256 count,,) = _chunks(info, round, word);
        // In round 2 the last state is the one that was picked in round 1.
        length = 4 * info.accumulators * (round == 1 ? count : count - 1);
    }

    /// @inheritdoc IGameRules
    function chunk(TensorAt calldata tensor, uint256 round, bytes32 word, uint256 j, bytes calldata states)
        external
        view
        override
        returns (bytes32 next, uint256 mode, bool again, uint256 entries)
    {
        TensorInfo memory info;
        (info, entries) = _info(tensor);
        Target memory target;
        (uint256 count, uint256 size, uint256 first) = _chunks(info, round, word);
        uint256 width = 4 * info.accumulators;
        uint256 choices = round == 1 ? count + 1 : count;
        if (j >= choices) revert IDisputeGame.NoSuchTotal(j, choices);
        if (round == 1 && j == count) {
            target.priorTotal = _state(states, count - 1, width);
            target.claimed = uint64(uint256(word));
            return (GameState.packTarget(target), 2, false, entries);
        }

        Target memory outer = GameState.unpackTarget(word);
        uint256 lo = first + j * size;
        uint256 end = round == 1 ? info.k : outer.hi;
        target.lo = uint32(lo);
        target.hi = uint32(lo + size < end ? lo + size : end);
        uint64 prior = j == 0 ? 0 : _state(states, j - 1, width);
        if (round == 1) {
            // Chunks of round 1 begin at a block of 256, or the whole fold is one block.
            _setPrior(target, info, prior, lo % ProgramLib.LEAF_ELEMENTS == 0);
            target.claimed = _state(states, j, width);
            again = _twoRounds(info);
        } else {
            target.priorTotal = outer.priorTotal;
            if (j != 0) _setPrior(target, info, prior, false);
            target.claimed = j + 1 == count ? outer.claimed : _state(states, j, width);
        }
        return (GameState.packTarget(target), 1, again, entries);
    }

    /// @inheritdoc IGameRules
    function rootAbove(
        address program,
        Sizes calldata sizes,
        uint256 promptLength,
        uint256 positions,
        Cursor calldata cursor,
        bytes32 node,
        bytes32[] calldata siblings
    ) external view override returns (bytes32 root, uint256 leaves, bool whole) {
        uint256 trace = Merkle.clog2(positions);
        uint256 slots = Merkle.clog2(sizes.committed);
        root = node;
        if (cursor.stage == Stage.Trace) {
            _checkNode(cursor, trace, positions);
            if (siblings.length != trace - cursor.height) {
                revert IDisputeGame.WrongSiblingCount(trace - cursor.height, siblings.length);
            }
            return (Merkle.root(Merkle.NODE_TRACE, root, cursor.index, siblings), positions, false);
        }

        if (cursor.position >= positions) revert IDisputeGame.Padding(cursor.position, positions);
        uint256 own;
        leaves = cursor.position + 1 >= promptLength ? sizes.committed : sizes.always;
        if (cursor.stage == Stage.Tensor) {
            if (cursor.ordinal >= leaves) revert IDisputeGame.Padding(cursor.ordinal, leaves);
            (TensorInfo memory info,) = _info(program, cursor.ordinal, cursor.position);
            leaves = info.leaves;
            _checkNode(cursor, info.depth, leaves);
            own = info.depth - cursor.height;
            whole = own == 0 && _whole(info);
        } else {
            _checkNode(cursor, slots, leaves);
            slots -= cursor.height;
        }
        if (siblings.length != own + slots + trace) {
            revert IDisputeGame.WrongSiblingCount(own + slots + trace, siblings.length);
        }
        root = Merkle.root(Merkle.NODE_TENSOR, root, cursor.index, siblings[:own]);
        root = Merkle.root(
            Merkle.NODE_POSITION,
            root,
            cursor.stage == Stage.Tensor ? cursor.ordinal : cursor.index,
            siblings[own:own + slots]
        );
        root = Merkle.root(Merkle.NODE_TRACE, root, cursor.position, siblings[own + slots:]);
    }

    function _checkNode(Cursor calldata cursor, uint256 depth, uint256 leaves) private pure {
        if (cursor.height > depth || uint256(cursor.index) >> (depth - cursor.height) != 0) {
            revert IDisputeGame.NoSuchNode(cursor.index, cursor.height, depth);
        }
        uint256 first = uint256(cursor.index) << cursor.height;
        if (first >= leaves) revert IDisputeGame.Padding(first, leaves);
    }

    function _info(TensorAt calldata tensor) private view returns (TensorInfo memory, uint256) {
        return _info(tensor.program, tensor.ordinal, tensor.position);
    }

    function _info(address program, uint256 ordinal, uint256 position)
        private
        view
        returns (TensorInfo memory, uint256)
    {
        return TensorLib.info(program, ordinal, position);
    }

    /// @dev Elements below a node that isn't padding.
    function _elements(TensorInfo memory info, uint256 height, uint256 index) private pure returns (uint256) {
        uint256 most = ProgramLib.LEAF_ELEMENTS << height;
        uint256 left = info.rows * info.cols - index * most;
        return left < most ? left : most;
    }

    function _whole(TensorInfo memory info) private pure returns (bool) {
        return info.rows * info.cols * info.elementBytes <= WHOLE_BYTES;
    }

    // Running totals (docs/spec.md#52-running-totals)

    /// @dev Chunks of a round, the terms that one carries, and the term that the first begins with.
    function _chunks(TensorInfo memory info, uint256 round, bytes32 word)
        private
        pure
        returns (uint256 count, uint256 size, uint256 lo)
    {
        uint256 hi = info.k;
        size = info.termsPerStep;
        if (round == 1) {
            if (_twoRounds(info)) size = ProgramLib.LEAF_ELEMENTS;
        } else {
            Target memory outer = GameState.unpackTarget(word);
            lo = outer.lo;
            hi = outer.hi;
        }
        count = (hi - lo + size - 1) / size;
    }

    function _twoRounds(TensorInfo memory info) private pure returns (bool) {
        return info.termsPerStep < ProgramLib.LEAF_ELEMENTS && info.k > ProgramLib.LEAF_ELEMENTS;
    }

    /// @dev Within a block a sum goes on from the accumulator. A maximum knows no blocks: it goes on from the best so far.
    function _setPrior(Target memory target, TensorInfo memory info, uint64 prior, bool boundary) private pure {
        bool sum = info.fold == ProgramLib.FOLD_DOT || info.fold == ProgramLib.FOLD_QDOT;
        if (boundary || !sum) target.priorTotal = prior;
        if (!boundary) target.priorAcc = prior;
    }

    function _state(bytes calldata states, uint256 i, uint256 width) private pure returns (uint64) {
        bytes calldata state = states[i * width:(i + 1) * width];
        return width == 8 ? uint64(bytes8(state)) : uint64(uint32(bytes4(state)));
    }
}
