// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @dev An encoded program in memory. Fields whose name ends in `At` are memory addresses.
struct Program {
    uint256 ptr;
    uint256 length;
    uint256 blocks;
    uint256 entries;
    uint256 poolCount;
    uint256 globals;
    uint256 params;
    uint256 limit;
    uint256 poolAt;
    uint256 globalsAt;
    uint256 scheduleAt;
    uint256 formatsAt;
    /// One packed word a schedule entry (see `ProgramLib.entry…`), then one that holds the totals.
    uint256 entriesAt;
    uint256 slots;
    uint256 committed;
    uint256 weights;
}

/// @dev One decoded instruction; extents as encoded (bit 31: varies).
struct Instr {
    uint256 fold;
    uint256 out;
    bool two;
    bool yields;
    bool isVirtual;
    uint256 operands;
    uint256 bodyOperands;
    uint256 bodyOps;
    uint256 finishOps;
    uint256 a0;
    uint256 b0;
    uint256 a1;
    uint256 b1;
    uint256 terms;
    uint256 rows;
    uint256 cols;
    uint256 k;
    /// Memory address of the first operand.
    uint256 operandsAt;
}

/// @title Decoder of programs (`docs/spec.md#32-encoding`).
/// @notice The registry validates with it and the step verifier executes with it. It checks nothing but that a read
/// stays inside the program's tables where an index comes from a caller: validation is `ProgramValidator`'s.
/// @dev Unchecked arithmetic: memory addresses, and fields of at most 32 bits.
library ProgramLib {
    error NoProgram(address pointer);
    error NoSlot(uint256 slot, uint256 slots);
    error NoOrdinal(uint256 ordinal, uint256 committed);

    uint256 internal constant FOLD_NONE = 0;
    uint256 internal constant FOLD_DOT = 1;
    uint256 internal constant FOLD_QDOT = 2;
    uint256 internal constant FOLD_MAX = 3;
    uint256 internal constant FOLD_ARGMAX = 4;

    uint256 internal constant OUT_F32 = 0;
    uint256 internal constant OUT_F16 = 1;
    uint256 internal constant OUT_BF16 = 2;
    uint256 internal constant OUT_I32 = 3;
    uint256 internal constant OUT_I8 = 4;

    uint256 internal constant FORMAT_F32 = 0;
    uint256 internal constant FORMAT_F16 = 1;
    uint256 internal constant FORMAT_BF16 = 2;
    uint256 internal constant FORMAT_I32 = 3;
    uint256 internal constant FORMAT_Q4_0 = 4;
    uint256 internal constant FORMAT_Q4_1 = 5;
    uint256 internal constant FORMAT_Q5_0 = 6;
    uint256 internal constant FORMAT_Q5_1 = 7;
    uint256 internal constant FORMAT_Q8_0 = 8;

    uint256 internal constant KIND_SLOT = 0;
    uint256 internal constant KIND_WEIGHT = 1;
    uint256 internal constant KIND_GLOBAL = 2;
    uint256 internal constant KIND_TOKEN = 3;
    uint256 internal constant KIND_PARAM = 4;
    uint256 internal constant KIND_AXIS = 5;

    uint256 internal constant POS_HERE = 0;
    uint256 internal constant POS_WINDOW_K = 1;
    uint256 internal constant POS_WINDOW_C = 2;

    uint256 internal constant AXIS_R = 0;
    uint256 internal constant AXIS_C = 1;
    uint256 internal constant AXIS_K = 2;
    uint256 internal constant AXIS_T = 3;
    uint256 internal constant AXIS_I = 4;

    uint256 internal constant ROW = 0xffffffff;
    uint256 internal constant NO_INDEX = 0xff;
    uint256 internal constant VARIES = 0x80000000;
    uint256 internal constant LEAF_ELEMENTS = 256;
    uint256 internal constant HEADER_BYTES = 20;
    uint256 internal constant BLOCK_ROW_BYTES = 10;
    uint256 internal constant GLOBAL_BYTES = 9;
    uint256 internal constant INSTR_BYTES = 24;

    /// @dev Bytes of an element by `out`, and of a unit and elements of a unit by weight format: one byte each.
    uint256 private constant OUT_BYTES = 0x0402020401 << 216;
    uint256 private constant UNIT_BYTES = 0x040202041214161822 << 184;
    uint256 private constant UNIT_ELEMENTS = 0x010101012020202020 << 184;

    /// @notice The program kept in a data contract, whose code is 0x00 ‖ program.
    function load(address pointer) internal view returns (Program memory p) {
        load(p, pointer);
    }

    /// @notice The same, into a struct that is there already.
    function load(Program memory p, address pointer) internal view {
        uint256 ptr;
        uint256 length = pointer.code.length;
        if (length < 1 + HEADER_BYTES) revert NoProgram(pointer);
        assembly ("memory-safe") {
            // One zero word after the program, so that whole words can be read at its end.
            length := sub(length, 1)
            ptr := mload(0x40)
            mstore(0x40, and(add(add(ptr, length), 0x3f), not(0x1f)))
            mstore(add(ptr, length), 0)
            extcodecopy(pointer, ptr, 1, length)
        }
        parse(p, ptr, length);
        index(p);
    }

    /// @notice Fill in the header's fields of a program of `length` bytes at memory address `at`.
    function parse(Program memory p, uint256 ptr, uint256 length) internal pure {
        unchecked {
            uint256 word;
            assembly ("memory-safe") {
                word := mload(ptr)
            }
            p.ptr = ptr;
            p.length = length;
            p.blocks = (word >> 208) & 0xff;
            p.entries = (word >> 192) & 0xffff;
            p.poolCount = (word >> 184) & 0xff;
            p.globals = (word >> 176) & 0xff;
            p.params = (word >> 168) & 0xff;
            p.limit = (word >> 128) & 0xffffffff;
            p.poolAt = ptr + HEADER_BYTES + BLOCK_ROW_BYTES * p.blocks;
            p.globalsAt = p.poolAt + 4 * p.poolCount;
            p.scheduleAt = p.globalsAt + GLOBAL_BYTES * p.globals;
            p.formatsAt = p.scheduleAt + p.entries;
        }
    }

    /// @notice Build the table of schedule entries of a parsed program.
    /// @dev A word: body's memory address (32 bits) ‖ first slot (32) ‖ first ordinal (32) ‖ first weight's number in the
    /// weights tree (32) ‖ weights (8) ‖ instructions (16). It is the word of the entry's block plus the counts of all entries
    /// before, which are kept in the same fields and never overflow them: at most 1,024 entries of 65,535.
    function index(Program memory p) internal pure {
        uint256 counts = p.globals << 128;
        assembly ("memory-safe") {
            let start := mload(p)
            let entries := mload(add(p, 0x60))
            let schedule := mload(add(p, 0x140))
            let table := mload(0x40)
            mstore(add(p, 0x180), table)
            // Beyond the table, in memory that is given back: for each block its word, and what it adds to the counts.
            let blocks := add(table, shl(5, add(entries, 1)))
            mstore(0x40, blocks)
            let to := blocks
            let row := add(start, HEADER_BYTES)
            for { let end := add(row, mul(BLOCK_ROW_BYTES, mload(add(p, 0x40)))) } lt(row, end) {
                row := add(row, BLOCK_ROW_BYTES)
            } {
                // offset u32, instructions u16, committed u16, weights u8
                let word := mload(row)
                let count := and(shr(208, word), 0xffff)
                let own := byte(8, word)
                mstore(to, or(shl(224, add(start, shr(224, word))), or(shl(120, own), shl(104, count))))
                mstore(add(to, 0x20), or(shl(192, count), or(shl(160, and(shr(192, word), 0xffff)), shl(128, own))))
                to := add(to, 0x40)
            }
            for { let end := add(schedule, entries) } lt(schedule, end) { schedule := add(schedule, 1) } {
                let own := add(blocks, shl(6, byte(0, mload(schedule))))
                mstore(table, add(mload(own), counts))
                counts := add(counts, mload(add(own, 0x20)))
                table := add(table, 0x20)
            }
            mstore(table, counts)
        }
        unchecked {
            p.slots = (counts >> 192) & 0xffffffff;
            p.committed = (counts >> 160) & 0xffffffff;
            p.weights = (counts >> 128) & 0xffffffff;
        }
    }

    function entryWord(Program memory p, uint256 entry) internal pure returns (uint256 word) {
        unchecked {
            uint256 ptr = p.entriesAt + 32 * entry;
            assembly ("memory-safe") {
                word := mload(ptr)
            }
        }
    }

    function entryBodyAt(uint256 word) internal pure returns (uint256) {
        return word >> 224;
    }

    function entrySlot(uint256 word) internal pure returns (uint256) {
        return (word >> 192) & 0xffffffff;
    }

    function entryOrdinal(uint256 word) internal pure returns (uint256) {
        return (word >> 160) & 0xffffffff;
    }

    function entryWeight(uint256 word) internal pure returns (uint256) {
        return (word >> 128) & 0xffffffff;
    }

    function entryWeights(uint256 word) internal pure returns (uint256) {
        return (word >> 120) & 0xff;
    }

    function entryInstructions(uint256 word) internal pure returns (uint256) {
        return (word >> 104) & 0xffff;
    }

    /// @notice The schedule entry of a slot, and the slot's number in that entry's block.
    function locateSlot(Program memory p, uint256 slot) internal pure returns (uint256 entry, uint256 number) {
        unchecked {
            if (slot >= p.slots) revert NoSlot(slot, p.slots);
            entry = search(p, slot, 192);
            number = slot - entrySlot(entryWord(p, entry));
        }
    }

    /// @notice The schedule entry of a committed slot, and the slot's number in that entry's block.
    function locateOrdinal(Program memory p, uint256 ordinal) internal pure returns (uint256 entry, uint256 number) {
        unchecked {
            if (ordinal >= p.committed) revert NoOrdinal(ordinal, p.committed);
            entry = search(p, ordinal, 160);
            uint256 word = entryWord(p, entry);
            uint256 own = ordinal - entryOrdinal(word);
            // Ordinals ascend with the instructions, so the instruction's number is at least its ordinal.
            number = own;
            while (true) {
                (, uint256 ptr) = instrRow(word, number);
                if (ptr == own) return (entry, number);
                ++number;
            }
        }
    }

    /// @dev The last entry whose 32-bit field at bit `shift` is at most `value`; entries without any are passed over.
    function search(Program memory p, uint256 value, uint256 shift) private pure returns (uint256 low) {
        unchecked {
            uint256 high = p.entries;
            while (high - low > 1) {
                uint256 middle = (low + high) >> 1;
                if ((entryWord(p, middle) >> shift) & 0xffffffff > value) high = middle;
                else low = middle;
            }
        }
    }

    /// @notice Memory address and ordinal (0xFFFF: virtual) of instruction `number` of an entry's block.
    function instrRow(uint256 word, uint256 number) internal pure returns (uint256 ptr, uint256 ordinal) {
        unchecked {
            uint256 bodyAt = entryBodyAt(word);
            uint256 row;
            uint256 rowAt = bodyAt + 8 * entryWeights(word) + 4 * number;
            assembly ("memory-safe") {
                row := shr(224, mload(rowAt))
            }
            return (bodyAt + (row >> 16), row & 0xffff);
        }
    }

    /// @notice Decode the 24 bytes of an instruction.
    function decode(uint256 ptr) internal pure returns (Instr memory i) {
        unchecked {
            uint256 w;
            assembly ("memory-safe") {
                w := mload(ptr)
            }
            i.fold = (w >> 240) & 7;
            i.out = (w >> 243) & 7;
            i.two = (w >> 246) & 1 != 0;
            i.yields = (w >> 247) & 1 != 0;
            i.isVirtual = (w >> 248) & 1 != 0;
            i.operands = (w >> 232) & 0xff;
            i.bodyOperands = (w >> 224) & 0xff;
            i.bodyOps = (w >> 216) & 0xff;
            i.finishOps = (w >> 208) & 0xff;
            i.a0 = (w >> 200) & 0xff;
            i.b0 = (w >> 192) & 0xff;
            i.a1 = (w >> 184) & 0xff;
            i.b1 = (w >> 176) & 0xff;
            i.terms = (w >> 168) & 0xff;
            i.rows = (w >> 128) & 0xffffffff;
            i.cols = (w >> 96) & 0xffffffff;
            i.k = (w >> 64) & 0xffffffff;
            i.operandsAt = ptr + INSTR_BYTES;
        }
    }

    /// @notice An encoded extent at position t.
    function extent(uint256 encoded, uint256 t) internal pure returns (uint256) {
        unchecked {
            uint256 n = encoded & 0x7fffffff;
            return encoded & VARIES != 0 && t + 1 < n ? t + 1 : n;
        }
    }

    /// @notice Bytes of an element of a tensor of the trace.
    function outBytes(uint256 out) internal pure returns (uint256 size) {
        assembly ("memory-safe") {
            size := byte(out, OUT_BYTES)
        }
    }

    /// @notice Elements and bytes of a unit of a weight format.
    function unitOf(uint256 format) internal pure returns (uint256 elements, uint256 size) {
        assembly ("memory-safe") {
            elements := byte(format, UNIT_ELEMENTS)
            size := byte(format, UNIT_BYTES)
        }
    }

    /// @notice Shape, format and number in the weights tree of weight `ref` of a schedule entry.
    function weightOf(Program memory p, uint256 word, uint256 ref)
        internal
        pure
        returns (uint256 rows, uint256 cols, uint256 format, uint256 number)
    {
        unchecked {
            number = entryWeight(word) + ref;
            uint256 shapeAt = entryBodyAt(word) + 8 * ref;
            uint256 formatAt = p.formatsAt + number - p.globals;
            assembly ("memory-safe") {
                let shape := mload(shapeAt)
                rows := shr(224, shape)
                cols := and(shr(192, shape), 0xffffffff)
                format := byte(0, mload(formatAt))
            }
        }
    }

    /// @notice Shape and format of a global weight; its number in the weights tree is `ref`.
    function globalOf(Program memory p, uint256 ref)
        internal
        pure
        returns (uint256 rows, uint256 cols, uint256 format)
    {
        unchecked {
            uint256 ptr = p.globalsAt + GLOBAL_BYTES * ref;
            assembly ("memory-safe") {
                let word := mload(ptr)
                rows := shr(224, word)
                cols := and(shr(192, word), 0xffffffff)
                format := byte(8, word)
            }
        }
    }
}
