// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Float32} from "./Float32.sol";

/// @title Scalar programs: straight-line code over 32-bit registers (`docs/spec.md#2-scalar-programs`).
/// @notice Registers are words in memory, register n at `regs + 32 n`; constant n of the pool is at `regs + 32 (128 + n)`,
/// so that an operand number needs no distinction.
library ScalarProgram {
    /// @dev Words of a register file: 128 registers, then the pool.
    uint256 internal constant POOL = 128;

    /// @notice Run `count` operations of 4 bytes (op a b c) at memory address `code`; each appends one register, the first
    /// at number `first`. Returns the last register's value.
    function run(uint256 code, uint256 count, uint256 regs, uint256 first) internal pure returns (uint256 z) {
        uint256 to;
        uint256 end;
        assembly ("memory-safe") {
            to := add(regs, shl(5, first))
            end := add(code, shl(2, count))
        }
        while (code != end) {
            uint256 word;
            uint256 a;
            uint256 b;
            assembly ("memory-safe") {
                word := mload(code)
                code := add(code, 4)
                a := mload(add(regs, shl(5, byte(1, word))))
                b := mload(add(regs, shl(5, byte(2, word))))
                // c is read only where the operation has one: fma (5) and sel (25).
            }
            uint256 op = word >> 248;
            if (op > 14) {
                uint256 c;
                if (op == 25) c = third(regs, word);
                z = integer(op, a, b, c);
            } else if (op == 5) {
                z = Float32.fma(a, b, third(regs, word));
            } else {
                z = floating(op, a, b);
            }
            assembly ("memory-safe") {
                mstore(to, z)
                to := add(to, 0x20)
            }
        }
    }

    /// @dev Register c of an operation.
    function third(uint256 regs, uint256 word) private pure returns (uint256 c) {
        assembly ("memory-safe") {
            c := mload(add(regs, shl(5, byte(3, word))))
        }
    }

    /// @notice One operation on values.
    function evaluate(uint256 op, uint256 a, uint256 b, uint256 c) internal pure returns (uint256) {
        if (op == 5) return Float32.fma(a, b, c);
        return op < 15 ? floating(op, a, b) : integer(op, a, b, c);
    }

    /// @dev Operations 0 … 14 except fma, the frequent ones first.
    function floating(uint256 op, uint256 a, uint256 b) private pure returns (uint256) {
        if (op < 5) {
            if (op == 2) return Float32.mul(a, b);
            if (op < 2) return Float32.add(a, b ^ (op << 31)); // sub: b with its sign changed
            return op == 3 ? Float32.div(a, b) : Float32.sqrt(a);
        }
        if (op < 10) {
            if (op < 8) return op == 6 ? Float32.neg(a) : Float32.abs(a);
            return op == 8 ? Float32.min(a, b) : Float32.max(a, b);
        }
        if (op < 13) {
            if (op == 10) return Float32.lt(a, b);
            return op == 11 ? Float32.le(a, b) : Float32.eq(a, b);
        }
        return op == 13 ? Float32.fromInt(a) : Float32.toInt(a);
    }

    /// @dev Operations 15 … 25, found by halving.
    function integer(uint256 op, uint256 a, uint256 b, uint256 c) private pure returns (uint256 z) {
        assembly ("memory-safe") {
            switch lt(op, 19)
            case 1 {
                switch lt(op, 17)
                case 1 {
                    // isub: b negated
                    if eq(op, 16) { b := sub(0, b) }
                    z := and(add(a, b), 0xffffffff)
                }
                default {
                    z := mul(a, b)
                    // imulhi: the upper half
                    if eq(op, 18) { z := shr(32, z) }
                    z := and(z, 0xffffffff)
                }
            }
            default {
                switch lt(op, 22)
                case 1 {
                    switch op
                    case 21 { z := xor(a, b) }
                    case 20 { z := or(a, b) }
                    default { z := and(a, b) }
                }
                default {
                    switch op
                    case 22 { z := and(shl(and(b, 31), a), 0xffffffff) }
                    case 23 { z := shr(and(b, 31), a) }
                    case 24 { z := and(sar(and(b, 31), signextend(3, a)), 0xffffffff) }
                    default {
                        z := c
                        if a { z := b }
                    }
                }
            }
        }
    }
}
