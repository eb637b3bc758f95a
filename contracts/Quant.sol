// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Float32} from "./Float32.sol";
import {ProgramLib} from "./ProgramLib.sol";
import {Window} from "./Window.sol";

/// @title Quantised weights: units of 32 in GGUF's layouts (`docs/spec.md#14-formats-of-weights`).
/// @notice A unit is d (f16), m (f16, formats with a minimum), fifth bits (u32, formats of five bits), then 16 bytes of nibbles
/// (elements 0 … 15 low, 16 … 31 high) or 32 signed bytes.
library Quant {
    /// @notice One element of a unit at memory address `unit`: `fma(i2f(q), d, m)`.
    function element(uint256 format, uint256 unit, uint256 i) internal pure returns (uint256) {
        (uint256 q, uint256 d, uint256 m) = decode(format, unit, i);
        // i2f of |q| < 256: the leading bit by a perfect hash.
        assembly ("memory-safe") {
            let negative := shr(31, q)
            if negative { q := sub(0x100000000, q) }
            if q {
                let n := byte(
                    and(0x1f, shr(q, 0x8421084210842108cc6318c6db6d54be)),
                    0x0706060506020504060203020504030106050205030304010505030400000000
                )
                q := or(shl(31, negative), add(shl(23, add(n, 126)), shl(sub(23, n), q)))
            }
        }
        if (m != 0) return Float32.fma(q, d, m);
        // q · d is exact: eight bits by eleven, and not below 2^-24. Plus +0 it is itself, or +0.
        q = Float32.mul(q, d);
        return q == Float32.SIGN ? 0 : q;
    }

    /// @dev The signed integer of element i as a 32-bit word, the f32 of d and of m (+0 without a minimum).
    function decode(uint256 format, uint256 unit, uint256 i) internal pure returns (uint256 q, uint256 d, uint256 m) {
        uint256 minimum;
        assembly ("memory-safe") {
            let word := mload(unit)
            d := or(byte(0, word), shl(8, byte(1, word)))
            minimum := or(eq(format, 5), eq(format, 7))
            let from := add(unit, shl(minimum, 2))
            switch eq(format, 8)
            case 1 { q := and(signextend(0, byte(0, mload(add(from, i)))), 0xffffffff) }
            default {
                let fifth := 0
                if gt(format, 5) {
                    let bits := mload(from)
                    bits := or(or(byte(0, bits), shl(8, byte(1, bits))), or(shl(16, byte(2, bits)), shl(24, byte(3, bits))))
                    fifth := shl(4, and(shr(i, bits), 1))
                    from := add(from, 4)
                }
                q := and(shr(shl(2, gt(i, 15)), byte(0, mload(add(from, and(i, 15))))), 15)
                q := or(q, fifth)
                // Q4_0 is offset by 8, Q5_0 by 16.
                q := and(sub(q, add(shl(3, eq(format, 4)), shl(4, eq(format, 6)))), 0xffffffff)
            }
            if minimum { m := or(byte(2, word), shl(8, byte(3, word))) }
        }
        d = Float32.fromF16(d);
        if (minimum != 0) m = Float32.fromF16(m);
    }

    /// @notice The exact `I1 = Σ q_w · q_x` and `I2 = Σ q_x` of a unit, signed words; x are 32 int8 at a memory address.
    /// @dev Sixteen products in one multiplication: with lanes of 16 bits, `Σ w_i 2^(16 (15 − i)) · Σ x_i 2^(16 i)` mod 2^256 has
    /// `Σ w_i x_i` in its highest lane, over a rest whose magnitude is below half a lane. So one factor has its lanes in reverse
    /// order. Lanes are signed integers that borrow from each other, which the product undoes.
    ///
    /// Bounds of a lane: nibbles are in −16 … 15 (Q5_1, 0 … 31, is taken as −16 … 15 and 16 · I2 added), x in −128 … 127; sixteen
    /// products sum to −32,512 … 32,768, fifteen to at most 30,720 in magnitude. 32,512 is added for the time of the extraction.
    function integers(uint256 format, uint256 unit, uint256 x) internal pure returns (uint256 i1, uint256 i2) {
        assembly ("memory-safe") {
            x := xor(mload(x), 0x8080808080808080808080808080808080808080808080808080808080808080)
            switch eq(format, 8)
            case 1 {
                // Products of int8: lanes of 32 bits, eight a multiplication, four of them summed.
                let w := xor(mload(add(unit, 2)), 0x8080808080808080808080808080808080808080808080808080808080808080)
                // The eight lanes of x in reverse order.
                x := or(shl(128, x), shr(128, x))
                x := or(and(shr(64, x), 0x0000000000000000ffffffffffffffff0000000000000000ffffffffffffffff), shl(64, and(x, 0x0000000000000000ffffffffffffffff0000000000000000ffffffffffffffff)))
                x := or(and(shr(32, x), 0x00000000ffffffff00000000ffffffff00000000ffffffff00000000ffffffff), shl(32, and(x, 0x00000000ffffffff00000000ffffffff00000000ffffffff00000000ffffffff)))
                i1 := mul(sub(and(w, 0x000000ff000000ff000000ff000000ff000000ff000000ff000000ff000000ff), 0x0000008000000080000000800000008000000080000000800000008000000080), sub(and(x, 0x000000ff000000ff000000ff000000ff000000ff000000ff000000ff000000ff), 0x0000008000000080000000800000008000000080000000800000008000000080))
                i1 := add(i1, mul(sub(and(shr(8, w), 0x000000ff000000ff000000ff000000ff000000ff000000ff000000ff000000ff), 0x0000008000000080000000800000008000000080000000800000008000000080), sub(and(shr(8, x), 0x000000ff000000ff000000ff000000ff000000ff000000ff000000ff000000ff), 0x0000008000000080000000800000008000000080000000800000008000000080)))
                i1 := add(i1, mul(sub(and(shr(16, w), 0x000000ff000000ff000000ff000000ff000000ff000000ff000000ff000000ff), 0x0000008000000080000000800000008000000080000000800000008000000080), sub(and(shr(16, x), 0x000000ff000000ff000000ff000000ff000000ff000000ff000000ff000000ff), 0x0000008000000080000000800000008000000080000000800000008000000080)))
                i1 := add(i1, mul(sub(and(shr(24, w), 0x000000ff000000ff000000ff000000ff000000ff000000ff000000ff000000ff), 0x0000008000000080000000800000008000000080000000800000008000000080), sub(and(shr(24, x), 0x000000ff000000ff000000ff000000ff000000ff000000ff000000ff000000ff), 0x0000008000000080000000800000008000000080000000800000008000000080)))
                i1 := sar(224, add(i1, shl(223, 1)))
            }
            default {
                // Even elements 0, 2 … 30 from the top, and odd ones.
                let even := sub(and(shr(8, x), 0x00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff), 0x0080008000800080008000800080008000800080008000800080008000800080)
                x := sub(and(x, 0x00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff), 0x0080008000800080008000800080008000800080008000800080008000800080)

                let minimum := or(eq(format, 5), eq(format, 7))
                if minimum { i2 := sar(240, add(mul(add(even, x), 0x0001000100010001000100010001000100010001000100010001000100010001), shl(239, 1))) }

                // The 16 bytes of nibbles: bytes 0, 2 … 14 in the high half, 1, 3 … 15 in the low half, then each half reversed.
                let from := add(unit, shl(minimum, 2))
                let five := gt(format, 5)
                let w := shr(128, mload(add(from, shl(2, five))))
                w := or(shl(128, and(shr(8, w), 0x00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff)), and(w, 0x00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff))
                w := or(and(shr(64, w), 0x0000000000000000ffffffffffffffff0000000000000000ffffffffffffffff), shl(64, and(w, 0x0000000000000000ffffffffffffffff0000000000000000ffffffffffffffff)))
                w := or(and(shr(32, w), 0x00000000ffffffff00000000ffffffff00000000ffffffff00000000ffffffff), shl(32, and(w, 0x00000000ffffffff00000000ffffffff00000000ffffffff00000000ffffffff)))
                w := or(and(shr(16, w), 0x0000ffff0000ffff0000ffff0000ffff0000ffff0000ffff0000ffff0000ffff), shl(16, and(w, 0x0000ffff0000ffff0000ffff0000ffff0000ffff0000ffff0000ffff0000ffff)))
                // Elements 30, 28 … 0 (high nibbles, then low ones) and 31, 29 … 1.
                let wEven := and(or(and(shr(4, w), shl(128, not(0))), shr(128, w)), 0x000f000f000f000f000f000f000f000f000f000f000f000f000f000f000f000f)
                let wOdd := and(or(shl(124, w), and(w, shr(128, not(0)))), 0x000f000f000f000f000f000f000f000f000f000f000f000f000f000f000f000f)
                let offset := shl(3, eq(format, 4))
                if five {
                    // Fifth bits: lane b from the bottom takes bit 2b (even) or 2b + 1 (odd), broadcast as two halves of 16 bits and
                    // moved to bit 15 by a carry.
                    let bits := mload(from)
                    bits := or(
                        mul(or(byte(0, bits), shl(8, byte(1, bits))), 0x00010001000100010001000100010001),
                        shl(128, mul(or(byte(2, bits), shl(8, byte(3, bits))), 0x00010001000100010001000100010001))
                    )
                    wEven := or(wEven, shr(11, and(add(and(bits, 0x4000100004000100004000100004000140001000040001000040001000040001), 0x400070007c007f007fc07ff07ffc7fff400070007c007f007fc07ff07ffc7fff), 0x8000800080008000800080008000800080008000800080008000800080008000)))
                    wOdd := or(wOdd, shr(11, and(add(and(bits, 0x8000200008000200008000200008000280002000080002000080002000080002), 0x0000600078007e007f807fe07ff87ffe0000600078007e007f807fe07ff87ffe), 0x8000800080008000800080008000800080008000800080008000800080008000)))
                    offset := 16
                }
                offset := mul(offset, 0x0001000100010001000100010001000100010001000100010001000100010001)
                // 32,512 in the highest lane, and half of it to round the rest away.
                let bias := shl(239, 65025)
                i1 := add(
                    shr(240, add(mul(sub(wEven, offset), even), bias)), shr(240, add(mul(sub(wOdd, offset), x), bias))
                )
                i1 := sub(i1, 65024)
                if eq(format, 7) { i1 := add(i1, shl(4, i2)) }
            }
        }
    }

    /// @notice The accumulator after `count` units of a quantised dot product within a block: with `s = mul(d_w, d_x)`,
    /// `acc = fma(i2f(I1), s, acc)`, then with a minimum `acc = fma(m_w, mul(d_x, i2f(I2)), acc)`.
    /// @param w memory address of the first unit; x of its int8 activations; d of its scale, an f32 stored little-endian
    function fold(uint256 format, uint256 w, uint256 x, uint256 d, uint256 count, uint256 acc)
        internal
        pure
        returns (uint256)
    {
        (, uint256 size) = ProgramLib.unitOf(format);
        // Unchecked: memory addresses.
        unchecked {
            uint256 end = d + (count << 2);
            for (; d < end; d += 4) {
                (uint256 word, bool ok) = Window.unpack(acc);
                if (ok) {
                    (w, x, d, word) = run(format, w, x, d, end, word);
                    acc = Window.pack(word);
                    if (d == end) break;
                }
                acc = unitAny(format, w, x, scale(d), acc);
                w += size;
                x += 32;
            }
        }
        return acc;
    }

    /// @dev Units from d to `end` into a window's word, up to one that doesn't fit; the addresses reached, and the word.
    function run(uint256 format, uint256 w, uint256 x, uint256 d, uint256 end, uint256 word)
        private
        pure
        returns (uint256, uint256, uint256, uint256)
    {
        (, uint256 size) = ProgramLib.unitOf(format);
        // Unchecked: memory addresses.
        unchecked {
            uint256 k = Window.LOWEST;
            for (; d < end; d += 4) {
                (uint256 i1, uint256 i2) = integers(format, w, x);
                uint256 next;
                bool ok;
                (next, k, ok) = unitInWindow(format, w, d, i1, i2, word, k);
                if (!ok) break;
                word = next;
                w += size;
                x += 32;
            }
        }
        return (w, x, d, word);
    }

    /// @notice The f32 stored little-endian at a memory address, a NaN made canonical.
    function scale(uint256 d) internal pure returns (uint256 value) {
        assembly ("memory-safe") {
            let word := mload(d)
            value := or(or(byte(0, word), shl(8, byte(1, word))), or(shl(16, byte(2, word)), shl(24, byte(3, word))))
            if gt(and(value, 0x7fffffff), 0x7f800000) { value := 0x7fc00000 }
        }
    }

    /// @notice One unit with `Float32`, for any numbers; dX is an f32.
    function unitAny(uint256 format, uint256 w, uint256 x, uint256 dX, uint256 acc) internal pure returns (uint256) {
        (uint256 i1, uint256 i2) = integers(format, w, x);
        (, uint256 dW, uint256 mW) = decode(format, w, 0);
        acc = Float32.fma(Float32.fromInt(i1 & 0xffffffff), Float32.mul(dW, dX), acc);
        if (format == ProgramLib.FORMAT_Q4_1 || format == ProgramLib.FORMAT_Q5_1) {
            acc = Float32.fma(mW, Float32.mul(dX, Float32.fromInt(i2 & 0xffffffff)), acc);
        }
        return acc;
    }

    /// @dev One unit added to a window's word, which was last rounded at bit `hint`; also its own bit. `ok` is false where a number isn't normal or a product not in the window.
    function unitInWindow(uint256 format, uint256 w, uint256 d, uint256 i1, uint256 i2, uint256 a, uint256 hint)
        private
        pure
        returns (uint256 sum, uint256 k, bool ok)
    {
        assembly ("memory-safe") {
            /// The sum rounded to 24 bits, from the last one's bit and with its own (see `Window`); `good` is 0 where it
            /// rounds to a zero that isn't one.
            function round(s, last) -> z, bit, good {
                good := 1
                // Near: the leading bit of the flipped x is at 20 … 24, or at 25 … 29. (A table of floor(log2 y) + 1 by byte y.)
                let x := sar(last, s)
                x := xor(x, sar(255, x))
                bit := byte(shr(20, x), 0x0001020203030303040404040404040405050505050505050505050505050505)
                last := sub(last, 4)
                if iszero(bit) {
                    bit := byte(shr(25, x), 0x0001020203030303040404040404040405050505050505050505050505050505)
                    last := add(last, 5)
                }
                if or(iszero(bit), slt(add(bit, last), 12)) {
                    // Far, or low: find the leading bit of |s|.
                    last := sar(255, s)
                    x := sub(xor(s, last), last)
                    // Not 0, nor at most 1,024.
                    good := or(iszero(x), lt(1024, x))
                    bit := shl(7, lt(0xffffffffffffffffffffffffffffffff, x))
                    bit := or(bit, shl(6, lt(0xffffffffffffffff, shr(bit, x))))
                    bit := or(bit, shl(5, lt(0xffffffff, shr(bit, x))))
                    bit := or(bit, shl(4, lt(0xffff, shr(bit, x))))
                    bit := or(bit, shl(3, lt(0xff, shr(bit, x))))
                    bit := or(
                        bit,
                        byte(
                            and(0x1f, shr(shr(bit, x), 0x8421084210842108cc6318c6db6d54be)),
                            0x0706060506020504060203020504030106050205030304010505030400000000
                        )
                    )
                    // 23 below the leading bit, at least LOWEST = 11.
                    bit := mul(sub(bit, 34), sgt(bit, 34))
                    last := 11
                }
                bit := add(bit, last)
                let mask := shl(bit, not(0))
                z := and(add(add(s, not(sar(1, mask))), and(shr(bit, s), 1)), mask)
            }

            let word := mload(w)
            let half := or(byte(0, word), shl(8, byte(1, word)))
            // d_x, little-endian.
            let dX := mload(d)
            dX := or(or(byte(0, dX), shl(8, byte(1, dX))), or(shl(16, byte(2, dX)), shl(24, byte(3, dX))))
            let expX := and(shr(23, dX), 0xff)
            let expW := and(shr(10, half), 0x1f)
            ok := and(lt(sub(expW, 1), 30), lt(sub(expX, 1), 254))
            let sigX := or(and(dX, 0x7fffff), 0x800000)

            // s = mul(d_w, d_x): 11 bits by 24 lead at bit 33 or 34; normalised to 34, eleven are rounded off.
            let sig := mul(or(and(half, 0x3ff), 0x400), sigX)
            let top := shr(34, sig)
            sig := shl(iszero(top), sig)
            sig := shr(11, add(add(sig, 0x3ff), and(shr(11, sig), 1)))
            // s = sig · 2^(exp − 150); I1 · s is shifted left by exp + 10, which must be at most 191 and exp at least 1.
            let shift := sub(add(add(expW, expX), top), 5)
            ok := and(ok, lt(sub(shift, 11), 181))
            // The sign of s: 1 or −1.
            sig := mul(sig, sub(1, shl(1, xor(shr(15, half), shr(31, dX)))))
            let good
            sum, k, good := round(add(a, shl(shift, mul(i1, sig))), hint)
            ok := and(ok, good)

            if or(eq(format, 5), eq(format, 7)) {
                half := or(byte(2, word), shl(8, byte(3, word)))
                expW := and(shr(10, half), 0x1f)
                ok := and(ok, lt(expW, 31))
                // m_w is not rounded, so it need not be normal.
                let sigW := sub(and(half, 0x7fff), shl(10, sub(expW, lt(0, expW))))
                expW := add(expW, iszero(expW))
                if and(lt(0, sigW), iszero(iszero(i2))) {
                    // t = mul(d_x, i2f(I2)): |I2| ≤ 4,096, the product leads at bit 23 … 36. One zero is appended, so that at least
                    // one bit is rounded off.
                    let sign := sar(255, i2)
                    sig := mul(sigX, shl(1, sub(xor(i2, sign), sign)))
                    let bits := shl(3, lt(0xff, shr(24, sig)))
                    bits := or(
                        bits,
                        byte(
                            and(0x1f, shr(shr(add(bits, 24), sig), 0x8421084210842108cc6318c6db6d54be)),
                            0x0706060506020504060203020504030106050205030304010505030400000000
                        )
                    )
                    let rounded := add(bits, 1)
                    sig := shr(rounded, add(add(sig, sub(shl(bits, 1), 1)), and(shr(rounded, sig), 1)))
                    // t = sig · 2^(expX + bits − 150), its exponent at most 254; m_w · t is shifted by expW + expX + bits − 15.
                    expX := add(expX, bits)
                    shift := sub(add(expW, expX), 15)
                    ok := and(ok, and(lt(expX, 255), lt(shift, 192)))
                    sig := mul(mul(sig, sigW), sub(1, shl(1, and(1, xor(xor(shr(15, half), shr(31, dX)), sign)))))
                    sum, k, good := round(add(sum, shl(shift, sig)), k)
                    ok := and(ok, good)
                }
            }
        }
    }
}
