// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Float32} from "./Float32.sol";
import {Window} from "./Window.sol";

/// @title The inner loop of a dot product: `acc = fma(a[k], b[k], acc)` for consecutive k.
/// @notice Eight elements a word. An operand is first unpacked from storage format into words of eight big-endian f32
/// (`unpackF32`, `unpackF16`, `unpackBF16`); `fold` then takes the fields of all eight lanes apart at once and keeps the
/// accumulator in a `Window`. A group of eight that holds a NaN, an infinity, or a product outside the window is folded by
/// `Float32.fma`, one by one.
/// @dev Constants that repeat in each 32-bit lane are written out. Lane arithmetic never carries into the next lane; where that is
/// not obvious the bound is stated.
library DotProduct {
    /// @notice The accumulator after n terms. a and b are memory addresses of unpacked words, filled up with zeros.
    function fold(uint256 a, uint256 b, uint256 n, uint256 acc) internal pure returns (uint256) {
        // Unchecked: memory addresses, and a count that is compared with the lanes of each group before it is lowered.
        unchecked {
            uint256 last = a + (n << 2);
            uint256 end = a + ((n + 7) >> 3 << 5);
            while (a < end) {
                (uint256 word, bool ok) = Window.unpack(acc);
                if (ok) {
                    uint256 before = a;
                    (a, word) = run(a, b - a, end, word);
                    b += a - before;
                    acc = Window.pack(word);
                    if (a == end) break;
                }
                // Lanes beyond n are zeros: fma(0, 0, acc) is not acc where acc is −0, so they are left out.
                uint256 groupEnd = a + 32;
                for (; a < groupEnd; a += 4) {
                    if (a < last) acc = Float32.fma(lane(a), lane(b), acc);
                    b += 4;
                }
            }
        }
        return acc;
    }

    /// @dev The f32 at a lane's address.
    function lane(uint256 from) private pure returns (uint256 value) {
        assembly ("memory-safe") {
            value := shr(224, mload(from))
        }
    }

    /// @dev Fold groups from address `group` to `end` into a window's word; b is `delta` above a. Stops before a group that
    /// doesn't fit and returns its address.
    function run(uint256 group, uint256 delta, uint256 end, uint256 a) private pure returns (uint256 reached, uint256 sum) {
        assembly ("memory-safe") {
            /// The number k of the last kept bit of a sum s, from a former one and the flipped x = s >> k. Word 0x20 is set where
            /// the sum would round to a zero.
            function place(s, k, x) -> bit {
                // Near: the leading bit of the flipped x is at 20 … 24. (A table of floor(log2 y) + 1 by byte y.)
                x := byte(shr(20, x), 0x0001020203030303040404040404040405050505050505050505050505050505)
                bit := sub(add(k, x), 4)
                if or(iszero(x), slt(bit, 12)) {
                    // Far, or low: find the leading bit of |s|.
                    bit := k
                    let m := sar(255, s)
                    m := sub(xor(s, m), m)
                    if m {
                        if lt(m, 1025) { mstore(0x20, 1) }
                        bit := shl(7, lt(0xffffffffffffffffffffffffffffffff, m))
                        bit := or(bit, shl(6, lt(0xffffffffffffffff, shr(bit, m))))
                        bit := or(bit, shl(5, lt(0xffffffff, shr(bit, m))))
                        bit := or(bit, shl(4, lt(0xffff, shr(bit, m))))
                        bit := or(bit, shl(3, lt(0xff, shr(bit, m))))
                        bit := or(
                            bit,
                            byte(
                                and(0x1f, shr(shr(bit, m), 0x8421084210842108cc6318c6db6d54be)),
                                0x0706060506020504060203020504030106050205030304010505030400000000
                            )
                        )
                        // 23 below the leading bit, at least LOWEST = 11.
                        bit := sub(bit, 34)
                        bit := add(11, mul(bit, sgt(bit, 0)))
                    }
                }
            }

            let k := place(a, 11, 0)
            let mask := shl(k, not(0))
            let half := not(sar(1, mask))
            mstore(0x20, 0)
            for {} lt(group, end) {} {
                let sigA := mload(group)
                let sigB := mload(add(group, delta))
                let shifts
                {
                    let negative := and(xor(sigA, sigB), 0x8000000080000000800000008000000080000000800000008000000080000000)
                    let magA := and(sigA, 0x7fffffff7fffffff7fffffff7fffffff7fffffff7fffffff7fffffff7fffffff)
                    let magB := and(sigB, 0x7fffffff7fffffff7fffffff7fffffff7fffffff7fffffff7fffffff7fffffff)
                    let expA := and(shr(23, magA), 0x000000ff000000ff000000ff000000ff000000ff000000ff000000ff000000ff)
                    let expB := and(shr(23, magB), 0x000000ff000000ff000000ff000000ff000000ff000000ff000000ff000000ff)
                    // As if no exponent were 0.
                    sigA := or(and(magA, 0x007fffff007fffff007fffff007fffff007fffff007fffff007fffff007fffff), 0x0080000000800000008000000080000000800000008000000080000000800000)
                    sigB := or(and(magB, 0x007fffff007fffff007fffff007fffff007fffff007fffff007fffff007fffff), 0x0080000000800000008000000080000000800000008000000080000000800000)
                    shifts := add(expA, expB)
                    let checked := 0x00001f0000001f0000001f0000001f0000001f0000001f0000001f0000001f00
                    // Bit 8 of a lane: not 0 (of expA, of expB); 255, a NaN or an infinity.
                    let someA := and(add(expA, 0x000000ff000000ff000000ff000000ff000000ff000000ff000000ff000000ff), 0x0000010000000100000001000000010000000100000001000000010000000100)
                    let someB := and(add(expB, 0x000000ff000000ff000000ff000000ff000000ff000000ff000000ff000000ff), 0x0000010000000100000001000000010000000100000001000000010000000100)
                    let odd := and(or(add(expA, 0x0000000100000001000000010000000100000001000000010000000100000001), add(expB, 0x0000000100000001000000010000000100000001000000010000000100000001)), 0x0000010000000100000001000000010000000100000001000000010000000100)
                    if xor(and(someA, someB), 0x0000010000000100000001000000010000000100000001000000010000000100) {
                        // An exponent of 0 counts as 1 and has no hidden bit.
                        someA := xor(someA, 0x0000010000000100000001000000010000000100000001000000010000000100)
                        someB := xor(someB, 0x0000010000000100000001000000010000000100000001000000010000000100)
                        sigA := xor(sigA, shl(15, someA))
                        sigB := xor(sigB, shl(15, someB))
                        shifts := add(shifts, add(shr(8, someA), shr(8, someB)))
                        // Bit 31 of a lane: not zero. A zero has no sign here (its two's complement would carry), and a
                        // product of zero may have any shift.
                        magA := add(magA, 0x7fffffff7fffffff7fffffff7fffffff7fffffff7fffffff7fffffff7fffffff)
                        negative := and(negative, magA)
                        checked := mul(and(shr(31, and(magA, add(magB, 0x7fffffff7fffffff7fffffff7fffffff7fffffff7fffffff7fffffff7fffffff))), 0x0000000100000001000000010000000100000001000000010000000100000001), 0x1f00)
                    }
                    // Two's complement of the negative lanes of a.
                    sigA := add(xor(sigA, sub(shl(1, negative), shr(31, negative))), shr(31, negative))
                    // 0x1000 + shift: expA + expB − 140. It must be 0 … 191: the high byte stays 0x10 with 0 and 64 added.
                    shifts := add(shifts, 0x00000f7400000f7400000f7400000f7400000f7400000f7400000f7400000f74)
                    let outside := or(xor(shifts, 0x0000100000001000000010000000100000001000000010000000100000001000), xor(add(shifts, 0x0000004000000040000000400000004000000040000000400000004000000040), 0x0000100000001000000010000000100000001000000010000000100000001000))
                    if or(and(outside, checked), odd) { break }
                }
                mstore(0x00, a)
                let s
                let x
                // element 0
                s := add(a, shl(byte(3, shifts), mul(sar(224, sigA), shr(224, sigB))))
                x := sar(k, s)
                if xor(shr(23, xor(x, sar(255, x))), 1) {
                    k := place(s, k, xor(x, sar(255, x)))
                    mask := shl(k, not(0))
                    half := not(sar(1, mask))
                    x := sar(k, s)
                }
                a := and(add(add(s, half), and(x, 1)), mask)
                // element 1
                s := add(a, shl(byte(7, shifts), mul(sar(224, shl(32, sigA)), and(shr(192, sigB), 0xffffffff))))
                x := sar(k, s)
                if xor(shr(23, xor(x, sar(255, x))), 1) {
                    k := place(s, k, xor(x, sar(255, x)))
                    mask := shl(k, not(0))
                    half := not(sar(1, mask))
                    x := sar(k, s)
                }
                a := and(add(add(s, half), and(x, 1)), mask)
                // element 2
                s := add(a, shl(byte(11, shifts), mul(sar(224, shl(64, sigA)), and(shr(160, sigB), 0xffffffff))))
                x := sar(k, s)
                if xor(shr(23, xor(x, sar(255, x))), 1) {
                    k := place(s, k, xor(x, sar(255, x)))
                    mask := shl(k, not(0))
                    half := not(sar(1, mask))
                    x := sar(k, s)
                }
                a := and(add(add(s, half), and(x, 1)), mask)
                // element 3
                s := add(a, shl(byte(15, shifts), mul(sar(224, shl(96, sigA)), and(shr(128, sigB), 0xffffffff))))
                x := sar(k, s)
                if xor(shr(23, xor(x, sar(255, x))), 1) {
                    k := place(s, k, xor(x, sar(255, x)))
                    mask := shl(k, not(0))
                    half := not(sar(1, mask))
                    x := sar(k, s)
                }
                a := and(add(add(s, half), and(x, 1)), mask)
                // element 4
                s := add(a, shl(byte(19, shifts), mul(sar(224, shl(128, sigA)), and(shr(96, sigB), 0xffffffff))))
                x := sar(k, s)
                if xor(shr(23, xor(x, sar(255, x))), 1) {
                    k := place(s, k, xor(x, sar(255, x)))
                    mask := shl(k, not(0))
                    half := not(sar(1, mask))
                    x := sar(k, s)
                }
                a := and(add(add(s, half), and(x, 1)), mask)
                // element 5
                s := add(a, shl(byte(23, shifts), mul(sar(224, shl(160, sigA)), and(shr(64, sigB), 0xffffffff))))
                x := sar(k, s)
                if xor(shr(23, xor(x, sar(255, x))), 1) {
                    k := place(s, k, xor(x, sar(255, x)))
                    mask := shl(k, not(0))
                    half := not(sar(1, mask))
                    x := sar(k, s)
                }
                a := and(add(add(s, half), and(x, 1)), mask)
                // element 6
                s := add(a, shl(byte(27, shifts), mul(sar(224, shl(192, sigA)), and(shr(32, sigB), 0xffffffff))))
                x := sar(k, s)
                if xor(shr(23, xor(x, sar(255, x))), 1) {
                    k := place(s, k, xor(x, sar(255, x)))
                    mask := shl(k, not(0))
                    half := not(sar(1, mask))
                    x := sar(k, s)
                }
                a := and(add(add(s, half), and(x, 1)), mask)
                // element 7
                s := add(a, shl(byte(31, shifts), mul(signextend(3, sigA), and(sigB, 0xffffffff))))
                x := sar(k, s)
                if xor(shr(23, xor(x, sar(255, x))), 1) {
                    k := place(s, k, xor(x, sar(255, x)))
                    mask := shl(k, not(0))
                    half := not(sar(1, mask))
                    x := sar(k, s)
                }
                a := and(add(add(s, half), and(x, 1)), mask)
                // A sum that rounds to zero: this group is done over, from what was before it.
                if mload(0x20) {
                    a := mload(0x00)
                    break
                }
                group := add(group, 0x20)
            }
            reached := group
            sum := a
        }
    }

    // Unpacking -----------------------------------------------------------------------------------------------------

    /// @notice Unpack n little-endian f32 from memory address `from` to words at `to`; lanes beyond n become 0.
    function unpackF32(uint256 from, uint256 n, uint256 to) internal pure {
        assembly ("memory-safe") {
            // Two words a round: one may be written beyond the last, where there is room for it.
            let end := add(to, shl(5, shr(3, add(n, 7))))
            for {} lt(to, end) { to := add(to, 0x40) } {
                let w := mload(from)
                let v := mload(add(from, 0x20))
                w := or(shl(8, and(w, 0x00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff)), and(shr(8, w), 0x00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff))
                v := or(shl(8, and(v, 0x00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff)), and(shr(8, v), 0x00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff))
                mstore(to, or(shl(16, and(w, 0x0000ffff0000ffff0000ffff0000ffff0000ffff0000ffff0000ffff0000ffff)), and(shr(16, w), 0x0000ffff0000ffff0000ffff0000ffff0000ffff0000ffff0000ffff0000ffff)))
                mstore(add(to, 0x20), or(shl(16, and(v, 0x0000ffff0000ffff0000ffff0000ffff0000ffff0000ffff0000ffff0000ffff)), and(shr(16, v), 0x0000ffff0000ffff0000ffff0000ffff0000ffff0000ffff0000ffff0000ffff)))
                from := add(from, 0x40)
            }
            to := end
            // The lanes beyond n of the last word.
            let extra := and(sub(0, n), 7)
            if extra {
                extra := shl(5, extra)
                mstore(sub(to, 0x20), shl(extra, shr(extra, mload(sub(to, 0x20)))))
            }
        }
    }

    /// @notice Unpack n little-endian bf16, as `unpackF32`.
    function unpackBF16(uint256 from, uint256 n, uint256 to) internal pure {
        assembly ("memory-safe") {
            for { let end := add(to, shl(5, shr(3, add(n, 7)))) } lt(to, end) { to := add(to, 0x20) } {
                let w := shr(128, mload(from))
                w := and(or(shl(64, w), w), 0x0000000000000000ffffffffffffffff0000000000000000ffffffffffffffff)
                w := and(or(shl(32, w), w), 0x00000000ffffffff00000000ffffffff00000000ffffffff00000000ffffffff)
                w := and(or(shl(16, w), w), 0x0000ffff0000ffff0000ffff0000ffff0000ffff0000ffff0000ffff0000ffff)
                mstore(to, or(shl(24, and(w, 0x000000ff000000ff000000ff000000ff000000ff000000ff000000ff000000ff)), shl(8, and(w, 0x0000ff000000ff000000ff000000ff000000ff000000ff000000ff000000ff00))))
                from := add(from, 0x10)
            }
            let extra := and(sub(0, n), 7)
            if extra {
                extra := shl(5, extra)
                mstore(sub(to, 0x20), shl(extra, shr(extra, mload(sub(to, 0x20)))))
            }
        }
    }

    /// @notice Unpack n little-endian f16, as `unpackF32`.
    function unpackF16(uint256 from, uint256 n, uint256 to) internal pure {
        uint256 end;
        uint256 extra;
        // Unchecked: memory addresses, and minus n mod 8.
        unchecked {
            end = to + ((n + 7) >> 3 << 5);
            extra = (0 - n) & 7;
        }
        while (to != end) {
            uint256 w;
            uint256 odd;
            assembly ("memory-safe") {
                w := shr(128, mload(from))
                from := add(from, 0x10)
                to := add(to, 0x20)
                // Lanes beyond n, at the low end of the last eight halves.
                if and(eq(to, end), lt(0, extra)) { w := shl(shl(4, extra), shr(shl(4, extra), w)) }
                w := and(or(shl(64, w), w), 0x0000000000000000ffffffffffffffff0000000000000000ffffffffffffffff)
                w := and(or(shl(32, w), w), 0x00000000ffffffff00000000ffffffff00000000ffffffff00000000ffffffff)
                w := and(or(shl(16, w), w), 0x0000ffff0000ffff0000ffff0000ffff0000ffff0000ffff0000ffff0000ffff)
                w := or(shl(8, and(w, 0x000000ff000000ff000000ff000000ff000000ff000000ff000000ff000000ff)), shr(8, and(w, 0x0000ff000000ff000000ff000000ff000000ff000000ff000000ff000000ff00)))
                let mag := and(w, 0x00007fff00007fff00007fff00007fff00007fff00007fff00007fff00007fff)
                // Bit 15: not zero; of an exponent above 0; of an exponent of 31.
                let present := and(add(mag, 0x00007fff00007fff00007fff00007fff00007fff00007fff00007fff00007fff), 0x0000800000008000000080000000800000008000000080000000800000008000)
                odd := or(xor(present, and(add(mag, 0x00007c0000007c0000007c0000007c0000007c0000007c0000007c0000007c00), 0x0000800000008000000080000000800000008000000080000000800000008000)), and(add(mag, 0x0000040000000400000004000000040000000400000004000000040000000400), 0x0000800000008000000080000000800000008000000080000000800000008000))
                // The bias grows by 112, except for zeros.
                mstore(
                    sub(to, 0x20),
                    or(shl(16, and(w, 0x0000800000008000000080000000800000008000000080000000800000008000)), add(shl(13, mag), mul(shr(15, present), 0x38000000)))
                )
            }
            if (odd != 0) {
                // Subnormals, infinities and NaN, one by one.
                for (uint256 shift; shift < 256; shift += 32) {
                    if ((odd >> shift) & 0x8000 == 0) continue;
                    uint256 value = Float32.fromF16((w >> shift) & 0xffff);
                    assembly ("memory-safe") {
                        let old := and(mload(sub(to, 0x20)), not(shl(shift, 0xffffffff)))
                        mstore(sub(to, 0x20), or(old, shl(shift, value)))
                    }
                }
            }
        }
    }

    /// @notice n copies of one f32, as `unpackF32`.
    function unpackConstant(uint256 value, uint256 n, uint256 to) internal pure {
        assembly ("memory-safe") {
            value := mul(value, 0x0000000100000001000000010000000100000001000000010000000100000001)
            for { let end := add(to, shl(5, shr(3, add(n, 7)))) } lt(to, end) { to := add(to, 0x20) } { mstore(to, value) }
            let extra := and(sub(0, n), 7)
            if extra { mstore(sub(to, 0x20), shl(shl(5, extra), shr(shl(5, extra), value))) }
        }
    }
}
