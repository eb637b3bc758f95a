// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

using TensorFields for Tensor global;
using OperandFields for Operand global;
using FrameFields for Frame global;

/// @dev A tensor under one of the roots. Like the other types here it is a record of words in memory, held by its address: a
/// struct would be allocated anew by every function that returns one.
type Tensor is uint256;

/// @dev A decoded operand of a frame.
type Operand is uint256;

/// @dev A decoded instruction of one slot at the machine's position, with room for one evaluation.
type Frame is uint256;

library TensorFields {
    /// @dev Bytes of a record; the numbers of the words that `put` sets.
    uint256 internal constant SIZE = 0x200;
    uint256 internal constant DEPTH = 7;
    uint256 internal constant ROOT = 9;
    uint256 internal constant RUNS = 10;
    uint256 internal constant LAST_RUN = 11;
    uint256 internal constant HOT_FIRST = 13;
    uint256 internal constant HOT_COUNT = 14;
    uint256 internal constant HOT_BASE = 15;

    function forest(Tensor x) internal pure returns (uint256 v) {
        assembly ("memory-safe") {
            v := mload(x)
        }
    }

    /// @dev The ordinal of a slot, or a weight's number in the weights tree.
    function name(Tensor x) internal pure returns (uint256 v) {
        assembly ("memory-safe") {
            v := mload(add(x, 0x20))
        }
    }

    function position(Tensor x) internal pure returns (uint256 v) {
        assembly ("memory-safe") {
            v := mload(add(x, 0x40))
        }
    }

    /// @dev Elements of a row; rows share no leaf.
    function length(Tensor x) internal pure returns (uint256 v) {
        assembly ("memory-safe") {
            v := mload(add(x, 0x60))
        }
    }

    function unit(Tensor x) internal pure returns (uint256 v) {
        assembly ("memory-safe") {
            v := mload(add(x, 0x80))
        }
    }

    function unitBytes(Tensor x) internal pure returns (uint256 v) {
        assembly ("memory-safe") {
            v := mload(add(x, 0xa0))
        }
    }

    /// @dev Leaves of a row.
    function perRow(Tensor x) internal pure returns (uint256 v) {
        assembly ("memory-safe") {
            v := mload(add(x, 0xc0))
        }
    }

    function depth(Tensor x) internal pure returns (uint256 v) {
        assembly ("memory-safe") {
            v := mload(add(x, 0xe0))
        }
    }

    /// @dev How an element is loaded: a tensor format (weights of 0 … 3 have the same ones), or 16 + a quantised weight format.
    function format(Tensor x) internal pure returns (uint256 v) {
        assembly ("memory-safe") {
            v := mload(add(x, 0x100))
        }
    }

    /// @dev 0 until it was opened.
    function root(Tensor x) internal pure returns (uint256 v) {
        assembly ("memory-safe") {
            v := mload(add(x, 0x120))
        }
    }

    /// @dev The first run, 0 for none.
    function runs(Tensor x) internal pure returns (uint256 v) {
        assembly ("memory-safe") {
            v := mload(add(x, 0x140))
        }
    }

    function lastRun(Tensor x) internal pure returns (uint256 v) {
        assembly ("memory-safe") {
            v := mload(add(x, 0x160))
        }
    }

    /// @dev The next tensor of the same bucket, 0 for none.
    function next(Tensor x) internal pure returns (uint256 v) {
        assembly ("memory-safe") {
            v := mload(add(x, 0x180))
        }
    }

    /// @dev Elements held by the run opened last: the first one, and how many.
    function hotFirst(Tensor x) internal pure returns (uint256 v) {
        assembly ("memory-safe") {
            v := mload(add(x, 0x1a0))
        }
    }

    function hotCount(Tensor x) internal pure returns (uint256 v) {
        assembly ("memory-safe") {
            v := mload(add(x, 0x1c0))
        }
    }

    /// @dev The base of that run.
    function hotBase(Tensor x) internal pure returns (uint256 v) {
        assembly ("memory-safe") {
            v := mload(add(x, 0x1e0))
        }
    }

    /// @notice Set the word number `n` of the record.
    function put(Tensor x, uint256 n, uint256 v) internal pure {
        assembly ("memory-safe") {
            mstore(add(x, shl(5, n)), v)
        }
    }
}

library OperandFields {
    /// @dev Bytes of a record; the numbers of the words that `put` sets.
    uint256 internal constant SIZE = 0x1c0;
    uint256 internal constant RUN_BASE = 10;
    uint256 internal constant RUN_AT = 11;

    function kind(Operand x) internal pure returns (uint256 v) {
        assembly ("memory-safe") {
            v := mload(x)
        }
    }

    /// @dev STORED: the tensor; WINDOW…: the slot's ordinal; VIRTUAL: the frame; WORD: the value; AXIS: the axis.
    function value(Operand x) internal pure returns (uint256 v) {
        assembly ("memory-safe") {
            v := mload(add(x, 0x20))
        }
    }

    /// @dev As `Tensor`'s.
    function format(Operand x) internal pure returns (uint256 v) {
        assembly ("memory-safe") {
            v := mload(add(x, 0x40))
        }
    }

    function index(Operand x) internal pure returns (uint256 v) {
        assembly ("memory-safe") {
            v := mload(add(x, 0x60))
        }
    }

    function base(Operand x) internal pure returns (uint256 v) {
        assembly ("memory-safe") {
            v := mload(add(x, 0x80))
        }
    }

    function terms(Operand x) internal pure returns (uint256 v) {
        assembly ("memory-safe") {
            v := mload(add(x, 0xa0))
        }
    }

    function termsAt(Operand x) internal pure returns (uint256 v) {
        assembly ("memory-safe") {
            v := mload(add(x, 0xc0))
        }
    }

    /// @dev Row length of the tensor that is read.
    function row(Operand x) internal pure returns (uint256 v) {
        assembly ("memory-safe") {
            v := mload(add(x, 0xe0))
        }
    }

    /// @dev Elements of the tensor that is read.
    function size(Operand x) internal pure returns (uint256 v) {
        assembly ("memory-safe") {
            v := mload(add(x, 0x100))
        }
    }

    /// @dev Bool: it is opened by runs along k.
    function byRun(Operand x) internal pure returns (bool v) {
        assembly ("memory-safe") {
            v := mload(add(x, 0x120))
        }
    }

    /// @dev The base of the run opened last, and the address at its first term.
    function runBase(Operand x) internal pure returns (uint256 v) {
        assembly ("memory-safe") {
            v := mload(add(x, 0x140))
        }
    }

    function runAt(Operand x) internal pure returns (uint256 v) {
        assembly ("memory-safe") {
            v := mload(add(x, 0x160))
        }
    }

    /// @dev Bool: its value may change with k.
    function varies(Operand x) internal pure returns (bool v) {
        assembly ("memory-safe") {
            v := mload(add(x, 0x180))
        }
    }

    /// @dev Bytes from one term's element to the next one's in a run, 0 where that isn't so.
    function stride(Operand x) internal pure returns (uint256 v) {
        assembly ("memory-safe") {
            v := mload(add(x, 0x1a0))
        }
    }

    /// @notice Set the word number `n` of the record.
    function put(Operand x, uint256 n, uint256 v) internal pure {
        assembly ("memory-safe") {
            mstore(add(x, shl(5, n)), v)
        }
    }
}

library FrameFields {
    /// @dev Bytes of a record; the numbers of the words that `put` sets.
    uint256 internal constant SIZE = 0x300;
    uint256 internal constant BODY_AT = 15;
    uint256 internal constant FINISH_AT = 16;
    uint256 internal constant OPERANDS_AT = 18;
    uint256 internal constant REGS = 19;
    uint256 internal constant AXES = 20;
    uint256 internal constant PLAIN = 21;
    uint256 internal constant WINDOWS = 22;
    uint256 internal constant NEXT = 23;

    function slot(Frame x) internal pure returns (uint256 v) {
        assembly ("memory-safe") {
            v := mload(x)
        }
    }

    function fold(Frame x) internal pure returns (uint256 v) {
        assembly ("memory-safe") {
            v := mload(add(x, 0x20))
        }
    }

    function out(Frame x) internal pure returns (uint256 v) {
        assembly ("memory-safe") {
            v := mload(add(x, 0x40))
        }
    }

    /// @dev Bool: two accumulators.
    function two(Frame x) internal pure returns (bool v) {
        assembly ("memory-safe") {
            v := mload(add(x, 0x60))
        }
    }

    function accumulators(Frame x) internal pure returns (uint256 v) {
        assembly ("memory-safe") {
            v := mload(add(x, 0x80))
        }
    }

    function a0(Frame x) internal pure returns (uint256 v) {
        assembly ("memory-safe") {
            v := mload(add(x, 0xa0))
        }
    }

    function b0(Frame x) internal pure returns (uint256 v) {
        assembly ("memory-safe") {
            v := mload(add(x, 0xc0))
        }
    }

    function a1(Frame x) internal pure returns (uint256 v) {
        assembly ("memory-safe") {
            v := mload(add(x, 0xe0))
        }
    }

    function b1(Frame x) internal pure returns (uint256 v) {
        assembly ("memory-safe") {
            v := mload(add(x, 0x100))
        }
    }

    function rows(Frame x) internal pure returns (uint256 v) {
        assembly ("memory-safe") {
            v := mload(add(x, 0x120))
        }
    }

    function cols(Frame x) internal pure returns (uint256 v) {
        assembly ("memory-safe") {
            v := mload(add(x, 0x140))
        }
    }

    function k(Frame x) internal pure returns (uint256 v) {
        assembly ("memory-safe") {
            v := mload(add(x, 0x160))
        }
    }

    function bodyOperands(Frame x) internal pure returns (uint256 v) {
        assembly ("memory-safe") {
            v := mload(add(x, 0x180))
        }
    }

    function bodyOps(Frame x) internal pure returns (uint256 v) {
        assembly ("memory-safe") {
            v := mload(add(x, 0x1a0))
        }
    }

    function finishOps(Frame x) internal pure returns (uint256 v) {
        assembly ("memory-safe") {
            v := mload(add(x, 0x1c0))
        }
    }

    function bodyAt(Frame x) internal pure returns (uint256 v) {
        assembly ("memory-safe") {
            v := mload(add(x, 0x1e0))
        }
    }

    function finishAt(Frame x) internal pure returns (uint256 v) {
        assembly ("memory-safe") {
            v := mload(add(x, 0x200))
        }
    }

    function operands(Frame x) internal pure returns (uint256 v) {
        assembly ("memory-safe") {
            v := mload(add(x, 0x220))
        }
    }

    /// @dev Memory address of the operands, one after the other.
    function operandsAt(Frame x) internal pure returns (uint256 v) {
        assembly ("memory-safe") {
            v := mload(add(x, 0x240))
        }
    }

    /// @dev Memory address of the registers, the pool after them.
    function regs(Frame x) internal pure returns (uint256 v) {
        assembly ("memory-safe") {
            v := mload(add(x, 0x260))
        }
    }

    /// @dev Memory address of the words r, c, k, t.
    function axes(Frame x) internal pure returns (uint256 v) {
        assembly ("memory-safe") {
            v := mload(add(x, 0x280))
        }
    }

    /// @dev Bool: a dot of stored floats that are consecutive in k, without body operations.
    function plain(Frame x) internal pure returns (bool v) {
        assembly ("memory-safe") {
            v := mload(add(x, 0x2a0))
        }
    }

    /// @dev Bool: some of them are in windows over c.
    function windows(Frame x) internal pure returns (bool v) {
        assembly ("memory-safe") {
            v := mload(add(x, 0x2c0))
        }
    }

    /// @dev The next frame, 0 for none.
    function next(Frame x) internal pure returns (uint256 v) {
        assembly ("memory-safe") {
            v := mload(add(x, 0x2e0))
        }
    }

    /// @notice Set the word number `n` of the record.
    function put(Frame x, uint256 n, uint256 v) internal pure {
        assembly ("memory-safe") {
            mstore(add(x, shl(5, n)), v)
        }
    }
}
