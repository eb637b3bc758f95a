// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Openings, Witness} from "./Openings.sol";
import {Program, ProgramLib} from "./ProgramLib.sol";
import {Frame, FrameFields, Operand, OperandFields, Tensor} from "./Records.sol";

/// @dev One step: a program at one position, with a witness.
struct Machine {
    Witness witness;
    Program program;
    uint256 t;
    /// Memory address of the pool, a word a constant.
    uint256 pool;
    /// Memory address of the first of a list of frames.
    uint256 frames;
    /// Memory address of `Frames.BUFFERS` buffers, 0 until they are needed.
    uint256 buffers;
}

/// @title Decodes instructions once a step, with everything that follows from the position.
/// @dev Unchecked arithmetic: memory addresses, and counts of a validated program.
library Frames {
    uint256 internal constant STORED = 0;
    uint256 internal constant WINDOW_K = 1;
    uint256 internal constant WINDOW_C = 2;
    uint256 internal constant VIRTUAL = 3;
    uint256 internal constant WORD = 4;
    uint256 internal constant AXIS = 5;
    uint256 internal constant TOKEN = 6;

    /// @dev Bytes of a buffer: 256 unpacked floats and two words. Two for a dot product, one for activations.
    uint256 internal constant BUFFER = 0x440;
    uint256 internal constant BUFFERS = 3;

    /// @notice The machine's parts that follow from the program, once it is loaded.
    function start(Machine memory m) internal pure {
        Program memory p = m.program;
        Witness memory w = m.witness;
        w.slotCount = p.committed;
        w.weightCount = p.weights;
        uint256 pool;
        uint256 from = p.poolAt;
        uint256 count = p.poolCount;
        assembly ("memory-safe") {
            pool := mload(0x40)
            // Eight constants a word; those beyond the last are overwritten later.
            let to := pool
            for { let end := add(pool, shl(5, count)) } lt(to, end) { to := add(to, 0x100) } {
                let word := mload(from)
                mstore(to, shr(224, word))
                mstore(add(to, 0x20), and(shr(192, word), 0xffffffff))
                mstore(add(to, 0x40), and(shr(160, word), 0xffffffff))
                mstore(add(to, 0x60), and(shr(128, word), 0xffffffff))
                mstore(add(to, 0x80), and(shr(96, word), 0xffffffff))
                mstore(add(to, 0xa0), and(shr(64, word), 0xffffffff))
                mstore(add(to, 0xc0), and(shr(32, word), 0xffffffff))
                mstore(add(to, 0xe0), and(word, 0xffffffff))
                from := add(from, 0x20)
            }
            mstore(0x40, add(pool, shl(5, count)))
        }
        m.pool = pool;
    }

    /// @notice The frame of a committed slot.
    function ofOrdinal(Machine memory m, uint256 ordinal) internal pure returns (Frame) {
        (uint256 entry, uint256 number) = ProgramLib.locateOrdinal(m.program, ordinal);
        return frame(m, ProgramLib.entryWord(m.program, entry), number);
    }

    /// @dev The frame of instruction `number` of a schedule entry; made when it is asked for the first time.
    function frame(Machine memory m, uint256 entry, uint256 number) private pure returns (Frame f) {
        unchecked {
            uint256 slot = ProgramLib.entrySlot(entry) + number;
            for (uint256 known = m.frames; known != 0;) {
                f = Frame.wrap(known);
                if (f.slot() == slot) return f;
                known = f.next();
            }
            (uint256 from,) = ProgramLib.instrRow(entry, number);
            uint256 word;
            assembly ("memory-safe") {
                word := mload(from)
            }
            f = Frame.wrap(allocate(FrameFields.SIZE));
            uint256 cols = ProgramLib.extent((word >> 96) & 0xffffffff, m.t);
            uint256 k = ProgramLib.extent((word >> 64) & 0xffffffff, m.t);
            assembly ("memory-safe") {
                let fold := and(shr(240, word), 7)
                let two := and(shr(246, word), 1)
                mstore(f, slot)
                mstore(add(f, 0x20), fold)
                mstore(add(f, 0x40), and(shr(243, word), 7))
                mstore(add(f, 0x60), two)
                // Accumulators: none, one, or two (argmax, fold 4, has value and index).
                mstore(add(f, 0x80), add(lt(0, fold), or(two, eq(fold, 4))))
                // a0 b0 a1 b1
                mstore(add(f, 0xa0), byte(6, word))
                mstore(add(f, 0xc0), byte(7, word))
                mstore(add(f, 0xe0), byte(8, word))
                mstore(add(f, 0x100), byte(9, word))
                mstore(add(f, 0x120), and(shr(128, word), 0xffffffff))
                mstore(add(f, 0x140), cols)
                mstore(add(f, 0x160), k)
                // Body operands, body ops, finish ops, operands.
                mstore(add(f, 0x180), byte(3, word))
                mstore(add(f, 0x1a0), byte(4, word))
                mstore(add(f, 0x1c0), byte(5, word))
                mstore(add(f, 0x220), byte(2, word))
            }
            addRegisters(m, f);
            from = readOperands(m, f, entry, number, from + ProgramLib.INSTR_BYTES);
            f.put(FrameFields.BODY_AT, from);
            f.put(FrameFields.FINISH_AT, from + 4 * f.bodyOps());
            f.put(FrameFields.NEXT, m.frames);
            m.frames = Frame.unwrap(f);
        }
    }

    /// @dev Free memory, now taken.
    function allocate(uint256 size) private pure returns (uint256 from) {
        assembly ("memory-safe") {
            from := mload(0x40)
            mstore(0x40, add(from, size))
        }
    }

    /// @dev Room for axes and registers, with the pool where operand numbers of 128 and more find it.
    function addRegisters(Machine memory m, Frame f) private pure {
        uint256 pool = m.pool;
        uint256 bytes_ = 32 * m.program.poolCount;
        uint256 axes = allocate(0x80 + 0x1000 + bytes_);
        uint256 t = m.t;
        assembly ("memory-safe") {
            mstore(add(axes, 0x60), t)
            mcopy(add(axes, 0x1080), pool, bytes_)
        }
        unchecked {
            f.put(FrameFields.REGS, axes + 0x80);
        }
        f.put(FrameFields.AXES, axes);
    }

    /// @dev Decode the operands; returns the memory address after them.
    function readOperands(Machine memory m, Frame f, uint256 entry, uint256 number, uint256 from)
        private
        pure
        returns (uint256)
    {
        unchecked {
            uint256 count = f.operands();
            uint256 record = allocate(OperandFields.SIZE * count);
            f.put(FrameFields.OPERANDS_AT, record);
            // Bit n: body operand n may change with k.
            uint256 varying;
            bool plain = f.fold() == ProgramLib.FOLD_DOT && f.bodyOps() == 0;
            bool windows;
            for (uint256 n; n < count; ++n) {
                Operand o = Operand.wrap(record);
                record += OperandFields.SIZE;
                uint256 along;
                (from, along) = readOperand(m, o, entry, number, from);
                if (n >= f.bodyOperands()) continue;
                uint256 index = o.index();
                bool indexVaries = index != ProgramLib.NO_INDEX && (varying >> index) & 1 != 0;
                bool varies = along != 0 || o.kind() == WINDOW_K || indexVaries
                    || (o.kind() == AXIS && o.value() == ProgramLib.AXIS_K);
                if (varies) varying |= 1 << n;
                // The term over k: mul 1, no mask (`ALONG`), and div 1 too (`CONSECUTIVE`).
                bool byRun = o.kind() == STORED && along & ALONG != 0 && !indexVaries;
                uint256 format = o.format();
                uint256 stride = byRun && along & CONSECUTIVE != 0 && format < 16 ? ProgramLib.outBytes(format) : 0;
                assembly ("memory-safe") {
                    mstore(add(o, 0x120), byRun)
                    mstore(add(o, 0x180), varies)
                    mstore(add(o, 0x1a0), stride)
                }
                plain = plain && along & CONSECUTIVE != 0 && format <= ProgramLib.OUT_BF16
                    && (byRun || (o.kind() == WINDOW_C && index == ProgramLib.NO_INDEX));
                windows = windows || !byRun;
            }
            f.put(FrameFields.PLAIN, plain ? 1 : 0);
            f.put(FrameFields.WINDOWS, windows ? 1 : 0);
            return from;
        }
    }

    /// @dev What a term over k is like: it is there, bit 0, and these bits.
    uint256 private constant ALONG = 2;
    uint256 private constant CONSECUTIVE = 4;

    /// @dev Decode one operand; returns the memory address after it, and what its term over k is like (0: none).
    function readOperand(Machine memory m, Operand o, uint256 entry, uint256 number, uint256 from)
        private
        pure
        returns (uint256 end, uint256 along)
    {
        uint256 head;
        uint256 ref;
        unchecked {
            uint256 count;
            uint256 index;
            uint256 base;
            assembly ("memory-safe") {
                let word := mload(from)
                head := byte(0, word)
                count := and(head, 7)
                index := byte(1, word)
                ref := and(shr(224, word), 0xffff)
                base := and(shr(192, word), 0xffffffff)
                from := add(from, 8)
                end := add(from, shl(3, count))
                for { let term := from } lt(term, end) { term := add(term, 8) } {
                    word := shr(192, mload(term))
                    // Axis 2 is k; then mask, div, mul.
                    if eq(shr(56, word), 2) {
                        along := 1
                        if and(eq(and(word, 0xffffffff), 1), iszero(and(shr(48, word), 0xff))) {
                            along := or(3, shl(2, eq(and(shr(32, word), 0xffff), 1)))
                        }
                    }
                }
            }
            assembly ("memory-safe") {
                mstore(add(o, 0x60), index)
                mstore(add(o, 0x80), base)
                mstore(add(o, 0xa0), count)
                mstore(add(o, 0xc0), from)
            }
        }
        uint256 kind = head >> 5;
        if (kind == ProgramLib.KIND_SLOT) {
            readSlot(m, o, entry, number, ref, (head >> 3) & 3);
        } else if (kind <= ProgramLib.KIND_GLOBAL) {
            readWeight(m, o, entry, ref, kind == ProgramLib.KIND_GLOBAL);
        } else if (kind == ProgramLib.KIND_TOKEN) {
            setValue(o, TOKEN, 0);
        } else if (kind == ProgramLib.KIND_PARAM) {
            unchecked {
                setValue(o, WORD, (m.witness.params >> (32 * (7 - ref))) & 0xffffffff);
            }
        } else {
            setValue(o, AXIS, ref);
        }
    }

    /// @dev The slot `ref` back from instruction `number` of an entry: its tensor, or its frame if it is virtual.
    function readSlot(Machine memory m, Operand o, uint256 entry, uint256 number, uint256 ref, uint256 pos)
        private
        pure
    {
        unchecked {
            if (ref <= number) {
                number -= ref;
            } else {
                uint256 slot = ProgramLib.entrySlot(entry) + number - ref;
                (entry, number) = ProgramLib.locateSlot(m.program, slot);
                entry = ProgramLib.entryWord(m.program, entry);
            }
            (uint256 from, uint256 ordinal) = ProgramLib.instrRow(entry, number);
            uint256 word;
            assembly ("memory-safe") {
                word := mload(from)
            }
            uint256 out = (word >> 243) & 7;
            uint256 row = ProgramLib.extent((word >> 96) & 0xffffffff, m.t);
            uint256 size = ((word >> 128) & 0xffffffff) * row;
            setShape(o, out, row, size);
            if ((word >> 248) & 1 != 0) {
                setValue(o, VIRTUAL, Frame.unwrap(frame(m, entry, number)));
                return;
            }
            ordinal += ProgramLib.entryOrdinal(entry);
            if (pos == STORED) {
                ordinal =
                    Tensor.unwrap(Openings.traceTensor(m.witness, ordinal, m.t, size, ProgramLib.outBytes(out), out));
            }
            setValue(o, pos, ordinal);
        }
    }

    /// @dev A weight of the entry's block, or a global one.
    function readWeight(Machine memory m, Operand o, uint256 entry, uint256 ref, bool isGlobal) private pure {
        uint256 rows;
        uint256 cols;
        uint256 format;
        uint256 number = ref;
        if (isGlobal) (rows, cols, format) = ProgramLib.globalOf(m.program, ref);
        else (rows, cols, format, number) = ProgramLib.weightOf(m.program, entry, ref);
        (uint256 unit, uint256 unitBytes) = ProgramLib.unitOf(format);
        unchecked {
            if (format > ProgramLib.FORMAT_I32) format += 16;
            setShape(o, format, cols, rows * cols);
        }
        setValue(o, STORED, Tensor.unwrap(Openings.weightTensor(m.witness, number, rows, cols, unit, unitBytes, format)));
    }

    function setShape(Operand o, uint256 format, uint256 row, uint256 size) private pure {
        assembly ("memory-safe") {
            mstore(add(o, 0x40), format)
            mstore(add(o, 0xe0), row)
            mstore(add(o, 0x100), size)
        }
    }

    function setValue(Operand o, uint256 kind, uint256 value) private pure {
        assembly ("memory-safe") {
            mstore(o, kind)
            mstore(add(o, 0x20), value)
        }
    }

    // Access --------------------------------------------------------------------------------------------------------

    /// @notice Put a frame at a flat element, and at the first term, which is returned: 0. (Literals would make the compiler
    /// copy what is called with them.)
    function place(Frame f, uint256 flat) internal pure returns (uint256 k) {
        uint256 cols = f.cols();
        uint256 axes = f.axes();
        assembly ("memory-safe") {
            let r := div(flat, cols)
            mstore(axes, r)
            mstore(add(axes, 0x20), sub(flat, mul(r, cols)))
            mstore(add(axes, 0x40), k)
        }
    }

    /// @notice Put a frame at a term of its fold.
    function setK(Frame f, uint256 k) internal pure {
        uint256 axes = f.axes();
        assembly ("memory-safe") {
            mstore(add(axes, 0x40), k)
        }
    }

    /// @notice Operand n of a frame.
    function operand(Frame f, uint256 n) internal pure returns (Operand) {
        unchecked {
            return Operand.wrap(f.operandsAt() + OperandFields.SIZE * n);
        }
    }

    /// @notice The tensor that a WINDOW… operand reads at the frame's place: of position t + 1 − N + v, v the value of the
    /// axis and N its extent.
    function windowTensor(Machine memory m, Frame f, Operand o) internal pure returns (Tensor) {
        uint256 axes = f.axes();
        uint256 back;
        unchecked {
            uint256 v;
            if (o.kind() == WINDOW_K) {
                assembly ("memory-safe") {
                    v := mload(add(axes, 0x40))
                }
                back = f.k() - v;
            } else {
                assembly ("memory-safe") {
                    v := mload(add(axes, 0x20))
                }
                back = f.cols() - v;
            }
            uint256 format = o.format();
            return Openings.traceTensor(
                m.witness, o.value(), m.t + 1 - back, o.size(), ProgramLib.outBytes(format), format
            );
        }
    }

    /// @notice Memory address of the buffers.
    function buffers(Machine memory m) internal pure returns (uint256 from) {
        from = m.buffers;
        if (from == 0) {
            assembly ("memory-safe") {
                from := mload(0x40)
                mstore(0x40, add(from, mul(BUFFERS, BUFFER)))
            }
            m.buffers = from;
        }
    }
}
