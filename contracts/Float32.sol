// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title IEEE 754 binary32 in integers, round to nearest even, every NaN canonical (`docs/spec.md#1-numbers`).
/// @notice Values are bit patterns in the low 32 bits of a word; the other bits of an argument must be 0.
/// @dev The stages are those of `opml/ops/softfloat.py` and of Berkeley SoftFloat 3e: unpack, special cases, compute,
/// and one rounding exit, `roundPack`. Unpacked, a magnitude is `sig · 2^(exp − 150)`; a subnormal or zero has exp 1 and
/// no hidden bit. A word holds 256 bits, so sums are exact where SoftFloat jams: bits are lost only where a proof says
/// that they can't matter, and there the exponent gap is clamped instead.
///
/// An operation first tries the path of normal operands and a normal result, where a significand leads at a known bit and
/// rounding is by constants; everything else goes to `fmaAny` or `divAny`, which are right for all operands.
///
/// All arithmetic is in assembly, whose operations wrap; each bound that makes that safe is stated where it is used.
library Float32 {
    uint256 internal constant NAN = 0x7fc00000;
    uint256 internal constant INF = 0x7f800000;
    uint256 internal constant SIGN = 0x80000000;
    uint256 internal constant ONE = 0x3f800000;

    /// @dev What the path of normal numbers leaves where it doesn't apply: more than 32 bits.
    uint256 private constant UNDECIDED = 1 << 32;
    /// @dev 4 − floor(log2 y) at byte y of 1 … 31; 255 at byte 0, which makes every exponent too small.
    uint256 private constant TO_BIT_4 = 0xff04030302020202010101010101010100000000000000000000000000000000;

    // Rounding ------------------------------------------------------------------------------------------------------

    /// @dev The f32 nearest to `sig · 2^(exp − 150)`: an operation's only rounding. `sign` is 0 or SIGN, exp a signed
    /// word, 2^24 ≤ sig < 2^128 (so that at least one bit is rounded off and the shift below is at least 1).
    function roundPack(uint256 sign, uint256 expZ, uint256 sig) internal pure returns (uint256 z) {
        assembly ("memory-safe") {
            // Normalise: n = floor(log2 sig), by halving, the last three bits by a perfect hash of 8-bit numbers.
            let n := shl(6, lt(0xffffffffffffffff, sig))
            n := or(n, shl(5, lt(0xffffffff, shr(n, sig))))
            n := or(n, shl(4, lt(0xffff, shr(n, sig))))
            n := or(n, shl(3, lt(0xff, shr(n, sig))))
            n := or(
                n,
                byte(
                    and(0x1f, shr(shr(n, sig), 0x8421084210842108cc6318c6db6d54be)),
                    0x0706060506020504060203020504030106050205030304010505030400000000
                )
            )
            // The biased exponent of the result. Below the normal range it stays 1 and the significand loses bits.
            let shift := sub(n, 23)
            expZ := add(expZ, shift)
            if slt(expZ, 1) {
                shift := add(shift, sub(1, expZ))
                expZ := 1
            }
            // IEEE 754-2019 4.3.1: ties to even. A shift of 256 or more gives 0, as it must: sig < 2^128.
            sig := shr(shift, add(add(sig, sub(shl(sub(shift, 1), 1), 1)), and(shr(shift, sig), 1)))
            // The hidden bit, or a carry, raises the exponent by one. 7.4: overflow goes to infinity.
            z := add(shl(23, sub(expZ, 1)), sig)
            if gt(z, 0x7f7fffff) { z := INF }
            z := or(sign, z)
        }
    }

    /// @notice The same f32, a NaN replaced by the canonical one.
    function canonical(uint256 a) internal pure returns (uint256 z) {
        assembly ("memory-safe") {
            z := a
            if gt(and(a, 0x7fffffff), INF) { z := NAN }
        }
    }

    // Addition, multiplication, fused multiplication and addition ---------------------------------------------------

    function add(uint256 a, uint256 b) internal pure returns (uint256 z) {
        uint256 sig;
        uint256 expZ;
        assembly ("memory-safe") {
            z := UNDECIDED
            // Unpack. The operand of the larger magnitude is a, so that expA ≥ expB and the sum has a's sign.
            if lt(and(a, 0x7fffffff), and(b, 0x7fffffff)) {
                z := a
                a := b
                b := z
                z := UNDECIDED
            }
            let expA := and(shr(23, a), 0xff)
            if lt(sub(expA, 1), 254) {
                // a is normal, b finite. Compute exactly with a's last place at bit 26, up to a gap of 26: beyond it b is
                // below 2^24; the sum leads at bit 48 or higher, so its ties are multiples of 2^24, and a is a multiple of
                // 2^26: any b > 0 rounds alike.
                let expB := and(shr(23, b), 0xff)
                sig := sub(and(b, 0x7fffffff), shl(23, sub(expB, lt(0, expB))))
                let gap := sub(expA, add(expB, iszero(expB)))
                if lt(gap, 26) { sig := shl(sub(26, gap), sig) }
                if and(xor(a, b), SIGN) { sig := sub(0, sig) }
                sig := add(shl(26, or(and(a, 0x7fffff), 0x800000)), sig)
                // The sum leads at bit 49 ± 1, or lower where much cancels. Normalise to bit 50.
                let shift := byte(shr(46, sig), TO_BIT_4)
                expZ := sub(expA, shift) // the result's biased exponent less one
                switch lt(expZ, 254)
                case 1 {
                    sig := shl(shift, sig)
                    sig := shr(27, add(add(sig, 0x3ffffff), and(shr(27, sig), 1)))
                    z := or(and(a, SIGN), add(shl(23, expZ), sig))
                }
                default {
                    sig := shl(24, sig)
                    expZ := sub(expA, 50)
                }
            }
        }
        // Of other numbers: a · 1 + b, rounded once.
        if (z == UNDECIDED) z = sig == 0 ? fmaAny(a, ONE, b) : roundPack(a & SIGN, expZ, sig);
    }

    function sub(uint256 a, uint256 b) internal pure returns (uint256) {
        return add(a, b ^ SIGN);
    }

    function mul(uint256 a, uint256 b) internal pure returns (uint256 z) {
        assembly ("memory-safe") {
            z := UNDECIDED
            let expA := and(shr(23, a), 0xff)
            let expB := and(shr(23, b), 0xff)
            if and(lt(sub(expA, 1), 254), lt(sub(expB, 1), 254)) {
                // The product of two significands leads at bit 46 or 47; normalise to 47.
                let sig := mul(or(and(a, 0x7fffff), 0x800000), or(and(b, 0x7fffff), 0x800000))
                let top := shr(47, sig)
                // The result's biased exponent less one.
                expA := sub(add(add(expA, expB), top), 128)
                if lt(expA, 254) {
                    sig := shl(iszero(top), sig)
                    sig := shr(24, add(add(sig, 0x7fffff), and(shr(24, sig), 1)))
                    z := or(and(xor(a, b), SIGN), add(shl(23, expA), sig))
                }
            }
        }
        // Of other numbers: a · b + 0, the zero of the sign that an exact zero product has.
        if (z == UNDECIDED) z = fmaAny(a, b, (a ^ b) & SIGN);
    }

    /// @notice a · b + c, rounded once.
    function fma(uint256 a, uint256 b, uint256 c) internal pure returns (uint256 z) {
        uint256 sign;
        uint256 sig;
        uint256 expZ;
        assembly ("memory-safe") {
            z := UNDECIDED
            let expA := and(shr(23, a), 0xff)
            let expB := and(shr(23, b), 0xff)
            let expC := and(shr(23, c), 0xff)
            if and(and(lt(sub(expA, 1), 254), lt(sub(expB, 1), 254)), lt(sub(expC, 1), 254)) {
                // The exact product P leads at bit 46 or 47; P = sig · 2^(expA − 150).
                sig := mul(or(and(a, 0x7fffff), 0x800000), or(and(b, 0x7fffff), 0x800000))
                expA := sub(add(expA, expB), 150)
                let sigC := or(and(c, 0x7fffff), 0x800000)
                // The sum is exact in a frame where the higher of the two leads near bit 73.
                let gap := sub(expC, expA)
                switch sgt(gap, 24)
                case 0 {
                    // P's last place at bit 26. Below a gap of −26, c < 2^24; the sum leads at bit 71 or higher, so its
                    // ties are multiples of 2^47, P is one of 2^26: no tie lies between P and P ± c, and any c > 0
                    // rounds alike. The result's exponent, when it leads at bit 74 and 51 bits are rounded off, is
                    // expA − 26 + 51.
                    sig := shl(26, sig)
                    if sgt(gap, sub(0, 26)) { sigC := shl(add(26, gap), sigC) }
                    expC := add(expA, 24)
                }
                default {
                    // c's last place at bit 50. Beyond a gap of 50, P < 2^48; the sum leads at bit 72 or higher, ties are
                    // multiples of 2^48 and so is c: any P > 0 rounds alike. The result's exponent is expC − 50 + 51.
                    sigC := shl(50, sigC)
                    if slt(gap, 50) { sig := shl(sub(50, gap), sig) }
                }
                sign := xor(a, b)
                if and(xor(sign, c), SIGN) { sigC := sub(0, sigC) }
                sig := add(sig, sigC)
                // |sum| with the sign of the product, unless c was the larger. (sar: 0 or all ones.)
                let flip := sar(255, sig)
                sig := sub(xor(sig, flip), flip)
                sign := and(xor(sign, flip), SIGN)
                // Normalise to bit 74; it leads there or at up to four bits below, or lower where much cancels.
                let shift := byte(shr(70, sig), TO_BIT_4)
                expZ := sub(expC, shift) // the result's biased exponent less one
                switch and(lt(expZ, 254), lt(shift, 255))
                case 1 {
                    sig := shl(shift, sig)
                    sig := shr(51, add(add(sig, 0x3ffffffffffff), and(shr(51, sig), 1)))
                    z := or(sign, add(shl(23, expZ), sig))
                }
                default {
                    sig := shl(24, sig)
                    expZ := sub(expC, 74)
                }
            }
        }
        if (z == UNDECIDED) z = sig == 0 ? fmaAny(a, b, c) : roundPack(sign, expZ, sig);
    }

    function fmaAny(uint256 a, uint256 b, uint256 c) private pure returns (uint256 z) {
        uint256 sign;
        uint256 expZ;
        uint256 sig;
        assembly ("memory-safe") {
            let signP := and(xor(a, b), SIGN)
            let signC := and(c, SIGN)
            a := and(a, 0x7fffffff)
            b := and(b, 0x7fffffff)
            c := and(c, 0x7fffffff)
            let expA := shr(23, a)
            let expB := shr(23, b)
            let expC := shr(23, c)
            switch or(or(eq(expA, 0xff), eq(expB, 0xff)), eq(expC, 0xff))
            case 1 {
                // Special cases. 7.2 c: a NaN, or zero times infinity, or infinities of unlike signs give NaN.
                z := or(signC, c)
                let infP := or(eq(a, INF), eq(b, INF))
                if infP { z := or(signP, INF) }
                if or(
                    or(or(gt(a, INF), gt(b, INF)), gt(c, INF)),
                    or(
                        and(infP, or(iszero(a), iszero(b))),
                        and(and(infP, eq(c, INF)), iszero(eq(signP, signC)))
                    )
                ) { z := NAN }
            }
            default {
                // Unpack; P = sig · 2^(exp − 150) is the exact product, sig < 2^48.
                sig := mul(sub(a, shl(23, sub(expA, lt(0, expA)))), sub(b, shl(23, sub(expB, lt(0, expB)))))
                expZ := sub(add(add(expA, iszero(expA)), add(expB, iszero(expB))), 150)
                let sigC := sub(c, shl(23, sub(expC, lt(0, expC))))
                sign := signP
                switch sigC
                case 0 {
                    // The product alone; exact zeros: like signs keep the sign, else +0 (6.3).
                    if iszero(sig) { z := and(signP, signC) }
                }
                default {
                    expC := add(expC, iszero(expC))
                    let gap := sub(expC, expZ)
                    switch slt(gap, 0)
                    case 0 {
                        // c is the higher: exact in units of the product's last place up to a gap of 50. Beyond it
                        // P < 2^48 is below a quarter of c's last place, bit 50 (and of the sum's, at lowest bit 49, or
                        // 50 if c is subnormal): any P > 0 rounds alike.
                        if gt(gap, 50) { gap := 50 }
                        expZ := sub(expC, gap)
                        sigC := shl(gap, sigC)
                    }
                    default {
                        // The product is the higher: exp > 1, so one factor is normal and P is 0 or at least 2^23.
                        // Exact in units of c's last place up to a gap of 26. Beyond it c < 2^24; the sum leads at bit
                        // 48 or higher, so ties are multiples of 2^24 or more, as is P: any c > 0 rounds alike.
                        gap := sub(0, gap)
                        if and(gt(gap, 26), gt(sig, 0)) {
                            expZ := add(expC, sub(gap, 26))
                            expC := expZ
                            gap := 26
                        }
                        if iszero(sig) { gap := 0 }
                        expZ := expC
                        sig := shl(gap, sig)
                    }
                    // sig < 2^75, sigC < 2^75.
                    switch eq(signP, signC)
                    case 1 { sig := add(sig, sigC) }
                    default {
                        sig := sub(sig, sigC)
                        if slt(sig, 0) {
                            sig := sub(0, sig)
                            sign := signC
                        }
                        // sig = 0: an exact zero sum of unlike signs is +0, z as it is.
                    }
                }
                sig := shl(24, sig)
                expZ := sub(expZ, 24)
            }
        }
        if (sig != 0) z = roundPack(sign, expZ, sig);
    }

    // Division and square root --------------------------------------------------------------------------------------

    function div(uint256 a, uint256 b) internal pure returns (uint256 z) {
        assembly ("memory-safe") {
            z := UNDECIDED
            let expA := and(shr(23, a), 0xff)
            let expB := and(shr(23, b), 0xff)
            if and(lt(sub(expA, 1), 254), lt(sub(expB, 1), 254)) {
                // The quotient of significands is in (1/2, 2): q leads at bit 26 or 27. A remainder is jammed below its
                // last bit; normalise to bit 28.
                let sigB := or(and(b, 0x7fffff), 0x800000)
                let sig := shl(27, or(and(a, 0x7fffff), 0x800000))
                sig := or(shl(1, div(sig, sigB)), lt(0, mod(sig, sigB)))
                let top := shr(28, sig)
                // The result's biased exponent less one.
                expA := add(sub(expA, expB), add(top, 125))
                if lt(expA, 254) {
                    sig := shl(iszero(top), sig)
                    sig := shr(5, add(add(sig, 0xf), and(shr(5, sig), 1)))
                    z := or(and(xor(a, b), SIGN), add(shl(23, expA), sig))
                }
            }
        }
        if (z == UNDECIDED) z = divAny(a, b);
    }

    function divAny(uint256 a, uint256 b) private pure returns (uint256 z) {
        uint256 sign;
        uint256 expZ;
        uint256 sig;
        assembly ("memory-safe") {
            sign := and(xor(a, b), SIGN)
            a := and(a, 0x7fffffff)
            b := and(b, 0x7fffffff)
            let expA := shr(23, a)
            let expB := shr(23, b)
            switch or(or(eq(expA, 0xff), eq(expB, 0xff)), or(iszero(a), iszero(b)))
            case 1 {
                // Special cases: x / inf and 0 / x are 0, x / 0 and inf / x are infinite; 7.2 d, e: NaN.
                z := sign
                if or(eq(a, INF), iszero(b)) { z := or(sign, INF) }
                if or(
                    or(gt(a, INF), gt(b, INF)),
                    or(and(eq(a, INF), eq(b, INF)), and(iszero(a), iszero(b)))
                ) { z := NAN }
            }
            default {
                // a < 2^24 scaled by 2^50 over b < 2^24 keeps 27 bits or more; sig < 2^75.
                let sigB := sub(b, shl(23, sub(expB, lt(0, expB))))
                let sigA := shl(50, sub(a, shl(23, sub(expA, lt(0, expA)))))
                sig := or(shl(1, div(sigA, sigB)), lt(0, mod(sigA, sigB)))
                expZ := add(sub(add(expA, iszero(expA)), add(expB, iszero(expB))), 99)
            }
        }
        if (sig != 0) z = roundPack(sign, expZ, sig);
    }

    /// @notice The square root of a; of −0 it is −0.
    function sqrt(uint256 a) internal pure returns (uint256 z) {
        assembly ("memory-safe") {
            switch lt(sub(a, 1), 0x7f7fffff)
            case 0 {
                // ±0 and +infinity are their own roots; 7.2 g: of anything else it is NaN.
                z := NAN
                if or(iszero(and(a, 0x7fffffff)), eq(a, INF)) { z := a }
            }
            default {
                let expZ := shr(23, a)
                let sig := sub(a, shl(23, sub(expZ, lt(0, expZ))))
                expZ := add(expZ, iszero(expZ))
                // Normalise a subnormal.
                if iszero(shr(23, sig)) {
                    let n := shl(4, lt(0xffff, sig))
                    n := or(n, shl(3, lt(0xff, shr(n, sig))))
                    n := or(n, shl(2, lt(0xf, shr(n, sig))))
                    n := or(n, shl(1, lt(0x3, shr(n, sig))))
                    n := or(n, lt(0x1, shr(n, sig)))
                    sig := shl(sub(23, n), sig)
                    expZ := sub(expZ, sub(23, n))
                }
                // value = x · 2^(exp − 150 − s) with x = sig << s in [2^50, 2^52), s = 27 or 28 such that the exponent
                // is even. The root of x is in [2^25, 2^26): two bits more than the result has.
                let x := shl(sub(28, and(expZ, 1)), sig)
                // Newton's iteration from the line x/2^27 + 7/8 · 2^25, at most an eighth off. From the first round on
                // r is not below the root; its relative error becomes 7e-3, 3e-5, 3e-10: r is the integer root or one above.
                let r := add(shr(27, x), 0x1c00000)
                r := shr(1, add(r, div(x, r)))
                r := shr(1, add(r, div(x, r)))
                r := shr(1, add(r, div(x, r)))
                r := sub(r, gt(mul(r, r), x))
                // A remainder is jammed below the last bit; then three bits are rounded off.
                r := or(shl(1, r), lt(mul(r, r), x))
                r := shr(3, add(add(r, 3), and(shr(3, r), 1)))
                // The biased exponent is (exp + 127) / 2 rounded down, at least 53.
                z := add(shl(23, sub(shr(1, add(expZ, 127)), 1)), r)
            }
        }
    }

    // Sign, order, comparison ---------------------------------------------------------------------------------------

    function neg(uint256 a) internal pure returns (uint256 z) {
        assembly ("memory-safe") {
            z := xor(a, SIGN)
            if gt(and(a, 0x7fffffff), INF) { z := NAN }
        }
    }

    function abs(uint256 a) internal pure returns (uint256 z) {
        assembly ("memory-safe") {
            z := and(a, 0x7fffffff)
            if gt(z, INF) { z := NAN }
        }
    }

    /// @dev A number whose unsigned order is that of `min` and `max`: −inf … −0 < +0 … +inf < NaN (canonical).
    function orderKey(uint256 a) internal pure returns (uint256 z) {
        assembly ("memory-safe") {
            // Negative: all bits flipped; positive: the sign bit set.
            z := xor(a, or(SIGN, sub(0, shr(31, a))))
            z := and(z, 0xffffffff)
            if gt(and(a, 0x7fffffff), INF) { z := xor(NAN, SIGN) }
        }
    }

    /// @notice IEEE 754-2019 `minimum`: NaN wins, −0 < +0.
    function min(uint256 a, uint256 b) internal pure returns (uint256 z) {
        uint256 keyA = orderKey(a);
        uint256 keyB = orderKey(b);
        assembly ("memory-safe") {
            z := a
            if lt(keyB, keyA) { z := b }
            if or(gt(keyA, 0xff800000), gt(keyB, 0xff800000)) { z := NAN }
        }
    }

    /// @notice IEEE 754-2019 `maximum`: NaN wins, −0 < +0.
    function max(uint256 a, uint256 b) internal pure returns (uint256 z) {
        uint256 keyA = orderKey(a);
        uint256 keyB = orderKey(b);
        assembly ("memory-safe") {
            z := a
            if gt(keyB, keyA) { z := b }
            if or(gt(keyA, 0xff800000), gt(keyB, 0xff800000)) { z := NAN }
        }
    }

    /// @notice 1 if a < b, else 0; quiet, 0 with a NaN.
    function lt(uint256 a, uint256 b) internal pure returns (uint256 z) {
        uint256 keyA = orderKey(a);
        uint256 keyB = orderKey(b);
        assembly ("memory-safe") {
            // −0 and +0 are neighbours in the order but equal; a NaN's key is above that of +infinity.
            z := and(lt(keyA, keyB), lt(keyB, 0xff800001))
            z := and(z, lt(0, and(or(a, b), 0x7fffffff)))
        }
    }

    /// @notice 1 if a ≤ b, else 0; quiet, 0 with a NaN.
    function le(uint256 a, uint256 b) internal pure returns (uint256 z) {
        uint256 keyA = orderKey(a);
        uint256 keyB = orderKey(b);
        assembly ("memory-safe") {
            z := or(iszero(gt(keyA, keyB)), iszero(and(or(a, b), 0x7fffffff)))
            z := and(z, and(lt(keyA, 0xff800001), lt(keyB, 0xff800001)))
        }
    }

    /// @notice 1 if a = b, else 0; quiet, 0 with a NaN.
    function eq(uint256 a, uint256 b) internal pure returns (uint256 z) {
        assembly ("memory-safe") {
            z := or(and(eq(a, b), lt(and(a, 0x7fffffff), 0x7f800001)), iszero(and(or(a, b), 0x7fffffff)))
        }
    }

    // Integers ------------------------------------------------------------------------------------------------------

    /// @notice The f32 nearest to the signed 32-bit integer a.
    function fromInt(uint256 a) internal pure returns (uint256 z) {
        uint256 sign;
        assembly ("memory-safe") {
            sign := and(a, SIGN)
            if sign { a := sub(0x100000000, a) }
            // Scaled so that roundPack has a bit to round.
            a := shl(24, a)
        }
        if (a != 0) z = roundPack(sign, 126, a);
    }

    /// @notice The signed 32-bit integer nearest to a, ties to even; saturating, 0 for NaN.
    function toInt(uint256 a) internal pure returns (uint256 z) {
        assembly ("memory-safe") {
            let mag := and(a, 0x7fffffff)
            let expZ := shr(23, mag)
            let negative := shr(31, a)
            switch gt(expZ, 157)
            case 1 {
                // |a| ≥ 2^31, infinity or NaN: −2^31 is itself, the rest saturates.
                z := add(0x7fffffff, negative)
                if gt(mag, INF) { z := 0 }
            }
            default {
                // value = sig · 2^(exp − 150), |value| < 2^31. Below 2^-1 (exp < 126) it is 0, and so is a shift over 24.
                let sig := or(and(a, 0x7fffff), 0x800000)
                switch gt(expZ, 149)
                case 1 { z := shl(sub(expZ, 150), sig) }
                default {
                    if gt(expZ, 125) {
                        let shift := sub(150, expZ)
                        z := shr(shift, add(add(sig, sub(shl(sub(shift, 1), 1), 1)), and(shr(shift, sig), 1)))
                    }
                }
                if negative { z := and(sub(0, z), 0xffffffff) }
            }
        }
    }

    // Storage formats -----------------------------------------------------------------------------------------------

    /// @notice The f32 of an f16; exact, NaN canonical.
    function fromF16(uint256 h) internal pure returns (uint256 z) {
        assembly ("memory-safe") {
            let expZ := and(shr(10, h), 0x1f)
            let fraction := and(h, 0x3ff)
            switch lt(sub(expZ, 1), 30)
            case 1 {
                // Normal: the bias grows by 112.
                z := add(shl(13, and(h, 0x7fff)), 0x38000000)
            }
            default {
                switch expZ
                case 0 {
                    // fraction · 2^-24; zero if the fraction is. Normalised in four halvings of 10 bits.
                    if fraction {
                        let n := shl(3, lt(0xff, fraction))
                        n := or(n, shl(2, lt(0xf, shr(n, fraction))))
                        n := or(n, shl(1, lt(0x3, shr(n, fraction))))
                        n := or(n, lt(0x1, shr(n, fraction)))
                        // 1.f · 2^(n − 24): biased exponent n + 103; the hidden bit adds the last one.
                        z := add(shl(23, add(n, 102)), shl(sub(23, n), fraction))
                    }
                }
                default {
                    z := INF
                    if fraction { z := NAN }
                }
            }
            // The sign, except that of a NaN.
            if lt(z, NAN) { z := or(z, shl(16, and(h, 0x8000))) }
        }
    }

    /// @notice The f16 nearest to an f32; overflow to infinity, NaN 0x7E00.
    function toF16(uint256 a) internal pure returns (uint256 z) {
        assembly ("memory-safe") {
            let mag := and(a, 0x7fffffff)
            switch gt(mag, INF)
            case 1 { z := 0x7e00 }
            default {
                let expZ := shr(23, mag)
                switch gt(expZ, 112)
                case 1 {
                    // Normal in f16: 13 bits are rounded off; a carry raises the exponent, at last to infinity.
                    z := shr(13, add(add(mag, 0xfff), and(shr(13, mag), 1)))
                    z := sub(z, 0x1c000)
                    if gt(z, 0x7c00) { z := 0x7c00 }
                }
                default {
                    // A multiple of 2^-24: value = sig · 2^(exp − 150), 14 bits or more are rounded off. An exp below
                    // 101 is below half of 2^-24: the shift is 26 or more, and the result 0.
                    let sig := or(and(mag, 0x7fffff), shl(23, lt(0, expZ)))
                    let shift := sub(126, expZ)
                    z := shr(shift, add(add(sig, sub(shl(sub(shift, 1), 1), 1)), and(shr(shift, sig), 1)))
                }
                z := or(z, shl(15, shr(31, a)))
            }
        }
    }

    /// @notice The f32 of a bf16; exact, NaN canonical.
    function fromBF16(uint256 h) internal pure returns (uint256) {
        return canonical(h << 16);
    }

    /// @notice The bf16 nearest to an f32; NaN 0x7FC0.
    function toBF16(uint256 a) internal pure returns (uint256 z) {
        assembly ("memory-safe") {
            z := shr(16, add(add(a, 0x7fff), and(shr(16, a), 1)))
            if gt(and(a, 0x7fffffff), INF) { z := 0x7fc0 }
        }
    }
}
