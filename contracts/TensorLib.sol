// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Merkle} from "./Merkle.sol";
import {ProgramLib} from "./ProgramLib.sol";

/// @dev What a game needs to know of one committed tensor at one position.
struct TensorInfo {
    uint256 rows;
    uint256 cols;
    uint256 elementBytes;
    uint256 leaves;
    uint256 depth;
    uint256 fold;
    uint256 accumulators;
    uint256 k;
    /// Terms that one step carries; 0: the whole fold.
    uint256 termsPerStep;
}

/// @title One committed tensor, looked up in a stored program (`docs/spec.md#32-encoding`).
/// @notice Without decoding the whole program as `ProgramLib` does: every move of a game that comes to a tensor pays for this.
/// @dev Unchecked arithmetic: fields of at most 32 bits, and shapes below 2^31.
library TensorLib {
    /// @notice What a game needs to know of the committed tensor `ordinal` at position t, and the program's schedule entries.
    function info(address pointer, uint256 ordinal, uint256 t)
        internal
        view
        returns (TensorInfo memory tensor, uint256 entries)
    {
        uint256 word;
        (word,,, entries) = instruction(pointer, ordinal);
        unchecked {
            uint256 fold = (word >> 240) & 7;
            uint256 terms = (word >> 168) & 0xff;
            tensor.rows = (word >> 128) & 0xffffffff;
            tensor.cols = ProgramLib.extent((word >> 96) & 0xffffffff, t);
            tensor.elementBytes = ProgramLib.outBytes((word >> 243) & 7);
            tensor.leaves = (tensor.rows * tensor.cols + ProgramLib.LEAF_ELEMENTS - 1) / ProgramLib.LEAF_ELEMENTS;
            tensor.depth = Merkle.clog2(tensor.leaves);
            tensor.fold = fold;
            bool two = (word >> 246) & 1 != 0 || fold == ProgramLib.FOLD_ARGMAX;
            tensor.accumulators = fold == ProgramLib.FOLD_NONE ? 0 : two ? 2 : 1;
            tensor.k = ProgramLib.extent((word >> 64) & 0xffffffff, t);
            tensor.termsPerStep = terms == 0 ? 0 : 1 << (terms - 1);
        }
    }

    /// @notice The first 32 bytes of the instruction of committed slot `ordinal`, its block, its number among the block's
    /// committed instructions, and the program's schedule entries.
    /// @dev Copied behind the free memory pointer, which stays: the tables up to the schedule's end, then over them the rest of
    /// the block's instruction table. That every entry's block is in the table, and every instruction in its body, is
    /// `ProgramValidator.checkEncoding`'s.
    function instruction(address pointer, uint256 ordinal)
        internal
        view
        returns (uint256 word, uint256 own, uint256 block_, uint256 entries)
    {
        assembly ("memory-safe") {
            // The code's first byte is not the program's.
            extcodecopy(pointer, 0, 1, 32)
            word := mload(0)
        }
        uint256 rowBytes = ProgramLib.BLOCK_ROW_BYTES;
        uint256 header = ProgramLib.HEADER_BYTES;
        uint256 scheduleAt;
        unchecked {
            entries = (word >> 192) & 0xffff;
            scheduleAt = header + rowBytes * ((word >> 208) & 0xff) + 4 * ((word >> 184) & 0xff)
                + ProgramLib.GLOBAL_BYTES * ((word >> 176) & 0xff);
        }

        bool found;
        own = ordinal;
        assembly ("memory-safe") {
            let ptr := mload(0x40)
            let end := add(ptr, add(scheduleAt, entries))
            extcodecopy(pointer, ptr, 1, add(scheduleAt, entries))

            // The entry whose block holds the ordinal: a word that ends with bytes 6 and 7 of a block's row ends with `committed`.
            let rows := sub(add(ptr, header), 24)
            // Most entries are one layer over and over: eight of the same block are passed at once.
            for { let at := add(ptr, scheduleAt) } lt(at, end) {} {
                let next := add(at, 8)
                let eight := shr(192, mload(at))
                if eq(eight, mul(shr(56, eight), 0x0101010101010101)) {
                    let committed := shl(3, and(mload(add(rows, mul(rowBytes, shr(56, eight)))), 0xffff))
                    if iszero(or(lt(own, committed), gt(next, end))) {
                        own := sub(own, committed)
                        at := next
                        continue
                    }
                }
                if gt(next, end) { next := end }
                for {} lt(at, next) { at := add(at, 1) } {
                    block_ := byte(0, mload(at))
                    let committed := and(mload(add(rows, mul(rowBytes, block_))), 0xffff)
                    if lt(own, committed) {
                        found := 1
                        break
                    }
                    own := sub(own, committed)
                }
                if found { break }
            }

            if found {
                // offset 32 ‖ instructions 16 ‖ committed 16 ‖ weights 8
                let row := mload(add(add(rows, 24), mul(rowBytes, block_)))
                let bodyAt := add(1, shr(224, row))
                // Ordinals ascend with the instructions, so the instruction's place is at least its ordinal.
                let skip := add(shl(3, byte(8, row)), shl(2, own))
                let size := shl(2, sub(and(shr(208, row), 0xffff), own))
                extcodecopy(pointer, ptr, add(bodyAt, skip), size)
                end := add(ptr, size)
                row := shr(224, mload(ptr))
                for {} and(lt(ptr, end), iszero(eq(and(row, 0xffff), own))) { row := shr(224, mload(ptr)) } {
                    ptr := add(ptr, 4)
                }
                extcodecopy(pointer, 0, add(bodyAt, shr(16, row)), 32)
                word := mload(0)
            }
        }
        if (!found) revert ProgramLib.NoOrdinal(ordinal, ordinal - own);
    }
}
