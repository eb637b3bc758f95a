// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {DotProduct} from "./DotProduct.sol";
import {Float32} from "./Float32.sol";
import {Frames, Machine} from "./Frames.sol";
import {Openings, Witness} from "./Openings.sol";
import {ProgramLib} from "./ProgramLib.sol";
import {Quant} from "./Quant.sol";
import {Frame, Operand, OperandFields, Tensor} from "./Records.sol";
import {ScalarProgram} from "./ScalarProgram.sol";

/// @title Evaluates elements of a program's slots at one position (`docs/spec.md#34-one-element`).
/// @notice The twin of `opml/vm/step.py`: the order in which scalars are read is the order in which the witness is consumed.
/// A virtual operand is evaluated again at each read. A slot is never evaluated inside itself, since operands are earlier, so
/// that its frame's registers and axes serve one evaluation at a time.
/// @dev Unchecked arithmetic: memory addresses, and counts and indices of a validated program, all below 2^32.
library Evaluator {
    uint256 private constant BLOCK = 256;
    uint256 private constant UNIT = 32;

    // Elements ------------------------------------------------------------------------------------------------------

    /// @notice The stored bits of a flat element.
    function element(Machine memory m, Frame f, uint256 flat) internal pure returns (uint256) {
        uint256 s0 = Frames.place(f, flat);
        uint256 s1 = s0;
        if (f.fold() != ProgramLib.FOLD_NONE) (s0, s1) = fold(m, f, s0, f.k(), s0, s0, s0, s0);
        return finish(m, f, s0, s1);
    }

    /// @notice The stored bits of the element at the frame's place, from the state of its whole fold.
    function finish(Machine memory m, Frame f, uint256 s0, uint256 s1) internal pure returns (uint256) {
        uint256 regs = f.regs();
        uint256 first = f.accumulators();
        if (f.fold() == ProgramLib.FOLD_ARGMAX) (s0, s1) = (s1, s0); // the index, then the value
        assembly ("memory-safe") {
            mstore(regs, s0)
            mstore(add(regs, 0x20), s1)
        }
        uint256 from = f.bodyOperands();
        uint256 count;
        unchecked {
            count = f.operands() - from;
        }
        for (uint256 i; i < count; ++i) {
            uint256 value = read(m, f, from, i);
            unchecked {
                set(regs, first + i, value);
            }
        }
        unchecked {
            return store(f.out(), ScalarProgram.run(f.finishAt(), f.finishOps(), regs, first + count));
        }
    }

    // Folds ---------------------------------------------------------------------------------------------------------

    /// @notice The state after the terms lo … hi − 1 at the frame's place, from a total and the accumulators since the last
    /// block boundary. For max and argmax the total is the best so far, none at lo = 0.
    function fold(
        Machine memory m,
        Frame f,
        uint256 lo,
        uint256 hi,
        uint256 total0,
        uint256 total1,
        uint256 acc0,
        uint256 acc1
    ) internal pure returns (uint256, uint256) {
        openRuns(m, f, lo, hi);
        if (f.fold() > ProgramLib.FOLD_QDOT) return best(m, f, lo, hi, total0, total1);
        bool fast = f.fold() == ProgramLib.FOLD_QDOT ? qdotReady(f) : dotReady(m, f, lo, hi);
        uint256 extent = f.k();
        uint256 k = lo;
        while (true) {
            uint256 end;
            unchecked {
                // The end of k's block, of the fold, or of the terms asked for.
                end = (k | (BLOCK - 1)) + 1;
                if (end > hi) end = hi;
            }
            (acc0, acc1) = segment(m, f, lo, k, end, acc0, acc1, fast);
            k = end;
            if (k & (BLOCK - 1) == 0 || k == extent) {
                total0 = Float32.add(total0, acc0);
                acc0 = 0;
                if (f.two()) {
                    total1 = Float32.add(total1, acc1);
                    acc1 = 0;
                }
                if (k == hi) return (total0, total1);
            } else if (k == hi) {
                return (acc0, acc1);
            }
        }
        // Not reached: the loop returns at hi.
        return (0, 0);
    }

    /// @dev The accumulators after the terms k … end − 1 of one block.
    function segment(
        Machine memory m,
        Frame f,
        uint256 lo,
        uint256 k,
        uint256 end,
        uint256 acc0,
        uint256 acc1,
        bool fast
    ) private pure returns (uint256, uint256) {
        if (f.fold() == ProgramLib.FOLD_QDOT) {
            return fast ? qdotRun(f, lo, k, end, acc0, acc1) : qdotUnits(m, f, k, end, acc0, acc1);
        }
        return fast ? dotRun(m, f, lo, k, end, acc0, acc1) : dotTerms(m, f, lo, k, end, acc0, acc1);
    }

    /// @dev Before the terms: open together what they read along k, and note it in the operands.
    function openRuns(Machine memory m, Frame f, uint256 lo, uint256 hi) private pure {
        uint256 count = f.bodyOperands();
        for (uint256 i; i < count; ++i) {
            Operand o = Frames.operand(f, i);
            if (!o.byRun()) continue;
            unchecked {
                Frames.setK(f, hi - 1);
            }
            uint256 lastAt = flatAddress(m, f, 0, o);
            Frames.setK(f, lo);
            uint256 firstAt = flatAddress(m, f, 0, o);
            Tensor x = Tensor.wrap(o.value());
            o.put(OperandFields.RUN_BASE, Openings.need(m.witness, x, Openings.leafOf(x, firstAt), Openings.leafOf(x, lastAt)));
            o.put(OperandFields.RUN_AT, firstAt);
        }
    }

    // Dot -----------------------------------------------------------------------------------------------------------

    /// @dev Whether the terms are plain runs of stored floats: then all of them are opened here, in the order in which the
    /// first term would, and nothing is left to be opened by a later term.
    function dotReady(Machine memory m, Frame f, uint256 lo, uint256 hi) private pure returns (bool) {
        if (!f.plain()) return false;
        uint256 count = f.bodyOperands();
        if (f.windows()) {
            // An operand of another position is opened leaf by leaf, so that it must lie in one.
            for (uint256 i; i < count; ++i) {
                Operand o = Frames.operand(f, i);
                if (o.byRun()) continue;
                unchecked {
                    Frames.setK(f, hi - 1);
                }
                uint256 lastAt = flatAddress(m, f, 0, o);
                Frames.setK(f, lo);
                o.put(OperandFields.RUN_AT, flatAddress(m, f, 0, o));
                if (o.runAt() >> 8 != lastAt >> 8) return false;
            }
            for (uint256 i; i < count; ++i) {
                Operand o = Frames.operand(f, i);
                if (o.byRun()) continue;
                Tensor x = Frames.windowTensor(m, f, o);
                o.put(OperandFields.RUN_BASE, Openings.need(m.witness, x, o.runAt() >> 8, o.runAt() >> 8));
            }
        }
        return true;
    }

    /// @dev Terms k … end − 1 of plain runs.
    function dotRun(
        Machine memory m,
        Frame f,
        uint256 lo,
        uint256 k,
        uint256 end,
        uint256 acc0,
        uint256 acc1
    ) private pure returns (uint256, uint256) {
        unchecked {
            // Of each pair, the first value goes to the first buffer and the second to the second one.
            uint256 n = end - k;
            uint256 buffers = Frames.buffers(m);
            k -= lo;
            unpackPair(f, f.a0(), f.b0(), k, n, buffers);
            acc0 = DotProduct.fold(buffers, buffers + Frames.BUFFER, n, acc0);
            if (f.two()) {
                unpackPair(f, f.a1(), f.b1(), k, n, buffers);
                acc1 = DotProduct.fold(buffers, buffers + Frames.BUFFER, n, acc1);
            }
            return (acc0, acc1);
        }
    }

    /// @dev Unpack n values of two result registers, from a run's term `from` on, into two buffers.
    function unpackPair(Frame f, uint256 first, uint256 second, uint256 from, uint256 n, uint256 to) private pure {
        for (uint256 i; i < 2; ++i) {
            uint256 register = i == 0 ? first : second;
            unchecked {
                if (register >= ScalarProgram.POOL) {
                    DotProduct.unpackConstant(get(f.regs(), register), n, to);
                } else {
                    Operand o = Frames.operand(f, register);
                    uint256 format = o.format();
                    uint256 start = from + o.runAt();
                    if (format == ProgramLib.OUT_F32) DotProduct.unpackF32(o.runBase() + 4 * start, n, to);
                    else if (format == ProgramLib.OUT_F16) DotProduct.unpackF16(o.runBase() + 2 * start, n, to);
                    else DotProduct.unpackBF16(o.runBase() + 2 * start, n, to);
                }
                to += Frames.BUFFER;
            }
        }
    }

    /// @dev Terms k … end − 1, each read and run by itself.
    function dotTerms(
        Machine memory m,
        Frame f,
        uint256 lo,
        uint256 k,
        uint256 end,
        uint256 acc0,
        uint256 acc1
    ) private pure returns (uint256, uint256) {
        uint256 regs = f.regs();
        for (; k < end; ++k) {
            term(m, f, lo, k);
            acc0 = Float32.fma(get(regs, f.a0()), get(regs, f.b0()), acc0);
            if (f.two()) acc1 = Float32.fma(get(regs, f.a1()), get(regs, f.b1()), acc1);
        }
        return (acc0, acc1);
    }

    /// @dev Read the body's operands at k and run the body. What lies in a run is read without looking for it; after the
    /// first term, lo, what doesn't depend on k is still in its register.
    function term(Machine memory m, Frame f, uint256 lo, uint256 k) private pure {
        uint256 regs = f.regs();
        uint256 count = f.bodyOperands();
        Frames.setK(f, k);
        for (uint256 i; i < count; ++i) {
            Operand o = Frames.operand(f, i);
            uint256 stride = o.stride();
            if (stride != 0) {
                unchecked {
                    set(regs, i, load(o.format(), littleEndian(o.runBase() + stride * (o.runAt() + k - lo))));
                }
            } else if (k == lo || o.varies()) {
                set(regs, i, read(m, f, 0, i));
            }
        }
        ScalarProgram.run(f.bodyAt(), f.bodyOps(), regs, count);
    }

    // Quantised dot -------------------------------------------------------------------------------------------------

    /// @dev Whether weights, activations and scales all are runs.
    function qdotReady(Frame f) private pure returns (bool) {
        return Frames.operand(f, f.a0()).byRun() && Frames.operand(f, f.b0()).byRun() && Frames.operand(f, f.a1()).byRun()
            && (!f.two() || Frames.operand(f, f.b1()).byRun());
    }

    /// @dev Units of the terms k … end − 1, all of them in runs.
    function qdotRun(Frame f, uint256 lo, uint256 k, uint256 end, uint256 acc0, uint256 acc1)
        private
        pure
        returns (uint256, uint256)
    {
        unchecked {
            Operand o = Frames.operand(f, f.b0());
            uint256 x = o.runBase() + o.runAt() + (k - lo);
            o = Frames.operand(f, f.a1());
            uint256 d = o.runBase() + 4 * (o.runAt() + (k - lo) / UNIT);
            uint256 count = (end - k) / UNIT;
            o = Frames.operand(f, f.a0());
            uint256 w = Openings.unitIn(Tensor.wrap(o.value()), o.runBase(), o.runAt() + (k - lo));
            acc0 = Quant.fold(o.format() - 16, w, x, d, count, acc0);
            if (f.two()) {
                o = Frames.operand(f, f.b1());
                w = Openings.unitIn(Tensor.wrap(o.value()), o.runBase(), o.runAt() + (k - lo));
                acc1 = Quant.fold(o.format() - 16, w, x, d, count, acc1);
            }
            return (acc0, acc1);
        }
    }

    /// @dev Units of the terms k … end − 1, read one by one: weight, second weight, activations, scale.
    function qdotUnits(Machine memory m, Frame f, uint256 k, uint256 end, uint256 acc0, uint256 acc1)
        private
        pure
        returns (uint256, uint256)
    {
        uint256 x = Frames.buffers(m) + 2 * Frames.BUFFER;
        while (k < end) {
            Frames.setK(f, k);
            uint256 w0 = unitOf(m, f, f.a0());
            uint256 w1 = f.two() ? unitOf(m, f, f.b1()) : 0;
            for (uint256 i; i < UNIT; ++i) {
                unchecked {
                    Frames.setK(f, k + i);
                }
                uint256 value = read(m, f, 0, f.b0());
                assembly ("memory-safe") {
                    mstore8(add(x, i), value)
                }
            }
            Frames.setK(f, k);
            uint256 d = read(m, f, 0, f.a1());
            acc0 = Quant.unitAny(Frames.operand(f, f.a0()).format() - 16, w0, x, d, acc0);
            if (f.two()) acc1 = Quant.unitAny(Frames.operand(f, f.b1()).format() - 16, w1, x, d, acc1);
            unchecked {
                k += UNIT;
            }
        }
        return (acc0, acc1);
    }

    /// @dev Memory address of the weight unit that an operand names at the frame's place.
    function unitOf(Machine memory m, Frame f, uint256 number) private pure returns (uint256) {
        Operand o = Frames.operand(f, number);
        return Openings.unitAddress(m.witness, Tensor.wrap(o.value()), flatAddress(m, f, 0, o));
    }

    // Max and argmax ------------------------------------------------------------------------------------------------

    /// @dev The best of a value (none at lo = 0) and of the terms lo … hi − 1, with its index; the lowest index wins.
    function best(Machine memory m, Frame f, uint256 lo, uint256 hi, uint256 value, uint256 index)
        private
        pure
        returns (uint256, uint256)
    {
        uint256 regs = f.regs();
        // 0 is below every key.
        uint256 key = lo == 0 ? 0 : Float32.orderKey(value);
        for (uint256 k = lo; k < hi; ++k) {
            term(m, f, lo, k);
            uint256 candidate = Float32.canonical(get(regs, f.a0()));
            uint256 candidateKey = Float32.orderKey(candidate);
            if (candidateKey > key) (key, value, index) = (candidateKey, candidate, k);
        }
        return (value, index);
    }

    // Operands ------------------------------------------------------------------------------------------------------

    /// @dev The register of operand `number` of the section that starts at operand `section`, at the frame's place.
    function read(Machine memory m, Frame f, uint256 section, uint256 number) private pure returns (uint256) {
        Operand o;
        unchecked {
            o = Frames.operand(f, section + number);
        }
        uint256 kind = o.kind();
        if (kind <= Frames.VIRTUAL) {
            uint256 flat = flatAddress(m, f, section, o);
            if (kind == Frames.VIRTUAL) return load(o.format(), element(m, Frame.wrap(o.value()), flat));
            Tensor x = kind == Frames.STORED ? Tensor.wrap(o.value()) : Frames.windowTensor(m, f, o);
            uint256 from = Openings.unitAddress(m.witness, x, flat);
            uint256 format = o.format();
            if (format < 16) {
                // Little-endian; `load` takes as many of the bits as the format has.
                return load(format, littleEndian(from));
            }
            unchecked {
                return Quant.element(format - 16, from, flat & (UNIT - 1));
            }
        }
        if (kind == Frames.WORD) return o.value();
        if (kind == Frames.AXIS) return get(f.axes(), o.value());
        return token(m.witness, m.t);
    }

    /// @notice Token t of prompt and output.
    function token(Witness memory w, uint256 t) internal pure returns (uint256) {
        uint256 forest = Openings.PROMPT;
        uint256 count = w.promptLength;
        unchecked {
            if (t >= count) {
                t -= count;
                forest = Openings.OUTPUT;
                count = w.outputLength;
            }
        }
        return littleEndian(Openings.unitAddress(w, Openings.tokens(w, forest, count), t));
    }

    /// @notice The u32 stored little-endian at a memory address.
    function littleEndian(uint256 from) internal pure returns (uint256 value) {
        assembly ("memory-safe") {
            let word := mload(from)
            value := or(or(byte(0, word), shl(8, byte(1, word))), or(shl(16, byte(2, word)), shl(24, byte(3, word))))
        }
    }

    /// @dev The flat element that an operand reads at the frame's place: `base + Σ mul · ((axis ^ mask) div d)`.
    function flatAddress(Machine memory m, Frame f, uint256 section, Operand o)
        private
        pure
        returns (uint256 flat)
    {
        // The value of axis i, clamped below once the term's mul is known.
        uint256 value;
        if (o.index() != ProgramLib.NO_INDEX) value = read(m, f, section, o.index());
        uint256 axes = f.axes();
        assembly ("memory-safe") {
            // base, termsAt, terms, row, size
            flat := mload(add(o, 0x80))
            let from := mload(add(o, 0xc0))
            let row := mload(add(o, 0xe0))
            for { let end := add(from, shl(3, mload(add(o, 0xa0)))) } lt(from, end) { from := add(from, 8) } {
                let encoded := mload(from)
                let axis := byte(0, encoded)
                let factor := and(shr(192, encoded), 0xffffffff)
                if eq(factor, 0xffffffff) { factor := row }
                switch lt(axis, 4)
                case 1 {
                    // A mask of 0, or 2^(x − 1).
                    axis := xor(mload(add(axes, shl(5, axis))), shr(1, shl(byte(1, encoded), 1)))
                    flat := add(flat, mul(factor, div(axis, and(shr(224, encoded), 0xffff))))
                }
                default {
                    // A signed integer, clamped to 0 … size / mul − 1; no mask, no division.
                    let limit := sub(div(mload(add(o, 0x100)), factor), 1)
                    let index := value
                    if gt(index, 0x7fffffff) { index := 0 }
                    if gt(index, limit) { index := limit }
                    flat := add(flat, mul(factor, index))
                }
            }
        }
    }

    // Registers and storage -----------------------------------------------------------------------------------------

    function get(uint256 regs, uint256 n) private pure returns (uint256 value) {
        assembly ("memory-safe") {
            value := mload(add(regs, shl(5, n)))
        }
    }

    function set(uint256 regs, uint256 n, uint256 value) private pure {
        assembly ("memory-safe") {
            mstore(add(regs, shl(5, n)), value)
        }
    }

    /// @dev Stored bits of a register in a tensor's format.
    function store(uint256 out, uint256 register) private pure returns (uint256 bits) {
        if (out == ProgramLib.OUT_F32) return Float32.canonical(register);
        if (out == ProgramLib.OUT_F16) return Float32.toF16(register);
        if (out == ProgramLib.OUT_BF16) return Float32.toBF16(register);
        if (out == ProgramLib.OUT_I32) return register;
        assembly ("memory-safe") {
            // i8: saturated to −128 … 127.
            bits := signextend(3, register)
            if sgt(bits, 127) { bits := 127 }
            if slt(bits, sub(0, 128)) { bits := sub(0, 128) }
            bits := and(bits, 0xff)
        }
    }

    /// @dev The register of stored bits, the low ones of a word of 32.
    function load(uint256 format, uint256 bits) private pure returns (uint256 register) {
        if (format == ProgramLib.OUT_F32) return Float32.canonical(bits);
        if (format == ProgramLib.OUT_F16) return Float32.fromF16(bits & 0xffff);
        if (format == ProgramLib.OUT_BF16) return Float32.fromBF16(bits & 0xffff);
        if (format == ProgramLib.OUT_I32) return bits;
        assembly ("memory-safe") {
            register := and(signextend(0, bits), 0xffffffff)
        }
    }
}
