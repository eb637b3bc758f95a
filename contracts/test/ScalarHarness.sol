// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Float32} from "../Float32.sol";
import {ScalarProgram} from "../ScalarProgram.sol";

/// @notice Opens `Float32` and `ScalarProgram` to tests, many cases a call.
contract ScalarHarness {
    /// @notice Results (4 bytes each) of an operation on cases of `arity` words of 4 bytes.
    function batch(uint256 op, uint256 arity, bytes calldata cases) external pure returns (bytes memory results) {
        uint256 count = cases.length / (4 * arity);
        results = new bytes(4 * count);
        for (uint256 i; i < count; ++i) {
            uint256[3] memory x;
            for (uint256 j; j < arity; ++j) x[j] = uint32(bytes4(cases[4 * (arity * i + j):]));
            uint256 z = ScalarProgram.evaluate(op, x[0], x[1], x[2]);
            assembly ("memory-safe") {
                let word := add(add(results, 0x20), shl(2, i))
                mstore(word, or(shl(224, z), and(mload(word), 0xffffffffffffffffffffffffffffffffffffffffffffffffffffffff)))
            }
        }
    }

    /// @notice Results of a conversion: 0 f16 → f32, 1 f32 → f16, 2 bf16 → f32, 3 f32 → bf16.
    function convert(uint256 kind, uint32[] calldata cases) external pure returns (uint256[] memory results) {
        results = new uint256[](cases.length);
        for (uint256 i; i < cases.length; ++i) {
            if (kind == 0) results[i] = Float32.fromF16(cases[i]);
            else if (kind == 1) results[i] = Float32.toF16(cases[i]);
            else if (kind == 2) results[i] = Float32.fromBF16(cases[i]);
            else results[i] = Float32.toBF16(cases[i]);
        }
    }

    /// @notice Gas of one operation, the call of the function included: most and sum over the cases. An operation of 256
    /// or more measures what measuring costs.
    function gasOf(uint256 op, uint256 arity, bytes calldata cases) external view returns (uint256 most, uint256 sum) {
        for (uint256 i; i < cases.length; i += 4 * arity) {
            uint256 a = uint32(bytes4(cases[i:]));
            uint256 b = arity > 1 ? uint32(bytes4(cases[i + 4:])) : 0;
            uint256 c = arity > 2 ? uint32(bytes4(cases[i + 8:])) : 0;
            uint256 used;
            if (op == 0) used = gasOfAdd(a, b);
            else if (op == 2) used = gasOfMul(a, b);
            else if (op == 3) used = gasOfDiv(a, b);
            else if (op == 4) used = gasOfSqrt(a);
            else if (op == 5) used = gasOfFma(a, b, c);
            else used = gasOfNothing(a);
            if (used > most) most = used;
            sum += used;
        }
    }

    function gasOfAdd(uint256 a, uint256 b) private view returns (uint256 used) {
        used = gasleft();
        uint256 z = Float32.add(a, b);
        used -= gasleft();
        keep(z);
    }

    function gasOfMul(uint256 a, uint256 b) private view returns (uint256 used) {
        used = gasleft();
        uint256 z = Float32.mul(a, b);
        used -= gasleft();
        keep(z);
    }

    function gasOfDiv(uint256 a, uint256 b) private view returns (uint256 used) {
        used = gasleft();
        uint256 z = Float32.div(a, b);
        used -= gasleft();
        keep(z);
    }

    function gasOfSqrt(uint256 a) private view returns (uint256 used) {
        used = gasleft();
        uint256 z = Float32.sqrt(a);
        used -= gasleft();
        keep(z);
    }

    function gasOfFma(uint256 a, uint256 b, uint256 c) private view returns (uint256 used) {
        used = gasleft();
        uint256 z = Float32.fma(a, b, c);
        used -= gasleft();
        keep(z);
    }

    function gasOfNothing(uint256 a) private view returns (uint256 used) {
        used = gasleft();
        keep(a);
        used -= gasleft();
    }

    /// @dev So that the optimizer can't drop what is measured.
    function keep(uint256 z) private pure {
        assembly ("memory-safe") {
            mstore(0x00, z)
        }
    }

    /// @notice Run a scalar program on inputs; returns its last register and the gas it took.
    function run(bytes memory code, uint256[] memory inputs, uint256[] memory pool)
        external
        view
        returns (uint256 z, uint256 used)
    {
        uint256 regs;
        uint256 start;
        assembly ("memory-safe") {
            regs := mload(0x40)
            mstore(0x40, add(regs, 0x2000))
            start := add(code, 0x20)
            mcopy(regs, add(inputs, 0x20), shl(5, mload(inputs)))
            mcopy(add(regs, 0x1000), add(pool, 0x20), shl(5, mload(pool)))
        }
        used = gasleft();
        z = ScalarProgram.run(start, code.length / 4, regs, inputs.length);
        used -= gasleft();
    }
}
