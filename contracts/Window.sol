// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title An accumulator as a fixed-point number, so that a chain of fma needs no unpacking, aligning or packing.
/// @notice The f32 v is the signed word `v · 2^160`. A product `sigA · sigB · 2^(expA + expB − 300)` of f32s is an integer of
/// at most 48 bits shifted left by `expA + expB − 140`. Where that shift is 0 … 191, and the accumulator below 2^224,
/// 256 products and roundings stay below 2^248: sums are exact, and only the rounding to 24 bits is left to do.
///
/// @dev Rounding. Let k be the number of the last kept bit: 23 below the leading bit of |sum|, but at least 11, the last place of
/// subnormals (2^-149 = 2^11 · 2^-160). With x = sum >> k (arithmetic),
///
///     sum + (2^(k−1) − 1) + (x & 1), then the k low bits cleared
///
/// is the nearest even multiple of 2^k, of negative sums too: x is the floor, and what is added carries into bit k exactly if the
/// rest is above half, or half and x odd. k holds from one step to the next as long as the flipped x (x for positive, −1 − x for
/// negative) has its leading bit at 23: then |sum| is in [2^(k+23), 2^(k+24)], its upper end exact. A rounding that carries to
/// 2^(k+24) is that same f32, and the next step finds another k.
///
/// Zero. A is never −0: `unpack` refuses it, and a step whose sum is not 0 but at most 2^10 in magnitude (it would round to a
/// zero that keeps its sign) is given up and done over with `Float32.fma`. An exact zero sum is +0, as A = 0 says.
library Window {
    /// @dev The last place of subnormals.
    uint256 internal constant LOWEST = 11;

    /// @notice The word of an f32; `ok` is false for −0, NaN, infinities, and from 2^64 up.
    function unpack(uint256 acc) internal pure returns (uint256 word, bool ok) {
        assembly ("memory-safe") {
            let biased := and(shr(23, acc), 0xff)
            let sig := sub(and(acc, 0x7fffffff), shl(23, sub(biased, lt(0, biased))))
            // value = sig · 2^(max(exp, 1) − 150)
            word := shl(add(add(biased, iszero(biased)), 10), sig)
            if shr(31, acc) { word := sub(0, word) }
            ok := and(lt(biased, 191), iszero(eq(acc, 0x80000000)))
        }
    }

    /// @notice The f32 of a word that is one.
    function pack(uint256 word) internal pure returns (uint256 acc) {
        assembly ("memory-safe") {
            let negative := shr(255, word)
            if negative { word := sub(0, word) }
            // n = floor(log2 word)
            let n := shl(7, lt(0xffffffffffffffffffffffffffffffff, word))
            n := or(n, shl(6, lt(0xffffffffffffffff, shr(n, word))))
            n := or(n, shl(5, lt(0xffffffff, shr(n, word))))
            n := or(n, shl(4, lt(0xffff, shr(n, word))))
            n := or(n, shl(3, lt(0xff, shr(n, word))))
            n := or(
                n,
                byte(
                    and(0x1f, shr(shr(n, word), 0x8421084210842108cc6318c6db6d54be)),
                    0x0706060506020504060203020504030106050205030304010505030400000000
                )
            )
            // The last place's bit: 23 below, at least 11; the biased exponent less one is that bit less 11.
            n := sub(n, 34)
            n := mul(n, sgt(n, 0))
            acc := or(shl(31, negative), add(shl(23, n), shr(add(n, LOWEST), word)))
        }
    }
}
