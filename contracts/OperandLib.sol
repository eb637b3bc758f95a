// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Instr, Program, ProgramLib} from "./ProgramLib.sol";

/// @dev One decoded operand. `count` terms of 8 bytes lie at memory address `termsAt`.
struct Operand {
    uint256 kind;
    uint256 pos;
    uint256 count;
    uint256 index;
    uint256 ref;
    uint256 base;
    uint256 termsAt;
}

/// @dev mul · ((axis ^ xor) div d); `xor` is the mask itself.
struct Term {
    bool found;
    uint256 axis;
    uint256 xor;
    uint256 div;
    uint256 mul;
}

/// @dev One slot: its number, schedule entry with its word, number in the block, instruction and operands.
struct Slot {
    uint256 number;
    uint256 entry;
    uint256 word;
    uint256 inBlock;
    Instr i;
    Operand[] operands;
}

/// @title Decoder of whole slots, for the validator and the cost of a step.
library OperandLib {
    /// @notice Decode slot `number` of the program.
    function slotAt(Program memory p, uint256 number) internal pure returns (Slot memory s) {
        (uint256 entry, uint256 inBlock) = ProgramLib.locateSlot(p, number);
        return slotOf(p, entry, inBlock);
    }

    /// @notice Decode instruction `inBlock` of a schedule entry.
    function slotOf(Program memory p, uint256 entry, uint256 inBlock) internal pure returns (Slot memory s) {
        s.entry = entry;
        s.word = ProgramLib.entryWord(p, entry);
        s.inBlock = inBlock;
        s.number = ProgramLib.entrySlot(s.word) + inBlock;
        (uint256 ptr,) = ProgramLib.instrRow(s.word, inBlock);
        s.i = ProgramLib.decode(ptr);
        s.operands = new Operand[](s.i.operands);
        ptr = s.i.operandsAt;
        for (uint256 n; n < s.i.operands; ++n) {
            Operand memory o = s.operands[n];
            uint256 w = load(ptr);
            o.kind = w >> 253;
            o.pos = (w >> 251) & 3;
            o.count = (w >> 248) & 7;
            o.index = (w >> 240) & 0xff;
            o.ref = (w >> 224) & 0xffff;
            o.base = (w >> 192) & 0xffffffff;
            o.termsAt = ptr + 8;
            ptr += 8 + 8 * o.count;
        }
    }

    /// @notice Memory address of the instruction's operations: the body's, then the finish's.
    function opsAt(Slot memory s) internal pure returns (uint256 ptr) {
        if (s.operands.length == 0) return s.i.operandsAt;
        Operand memory last = s.operands[s.operands.length - 1];
        return last.termsAt + 8 * last.count;
    }

    function termAt(Operand memory o, uint256 n) internal pure returns (Term memory t) {
        uint256 w = load(o.termsAt + 8 * n);
        t.found = true;
        t.axis = w >> 248;
        // 0, or 1 + log2 of the mask
        t.xor = (1 << ((w >> 240) & 0xff)) >> 1;
        t.div = (w >> 224) & 0xffff;
        t.mul = (w >> 192) & 0xffffffff;
    }

    /// @notice The term over an axis, if there is one.
    function term(Operand memory o, uint256 axis) internal pure returns (Term memory t) {
        for (uint256 n; n < o.count; ++n) {
            if (load(o.termsAt + 8 * n) >> 248 == axis) return termAt(o, n);
        }
    }

    function has(Operand memory o, uint256 axis) internal pure returns (bool) {
        for (uint256 n; n < o.count; ++n) {
            if (load(o.termsAt + 8 * n) >> 248 == axis) return true;
        }
        return false;
    }

    function load(uint256 ptr) internal pure returns (uint256 word) {
        assembly ("memory-safe") {
            word := mload(ptr)
        }
    }
}
