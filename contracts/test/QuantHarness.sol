// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Quant} from "../Quant.sol";

/// @notice Opens `Quant` to tests.
contract QuantHarness {
    /// @notice Element i of a unit.
    function element(uint256 format, bytes memory unit, uint256 i) external pure returns (uint256) {
        return Quant.element(format, start(unit), i);
    }

    /// @notice I1 and I2 of a unit with 32 int8.
    function integers(uint256 format, bytes memory unit, bytes memory x) external pure returns (int256, int256) {
        (uint256 i1, uint256 i2) = Quant.integers(format, start(unit), start(x));
        return (int256(i1), int256(i2));
    }

    /// @notice Fold units into an accumulator; d are f32 stored little-endian.
    function fold(uint256 format, bytes memory w, bytes memory x, bytes memory d, uint256 acc)
        external
        view
        returns (uint256 result, uint256 used)
    {
        uint256 from = start(w);
        uint256 activations = start(x);
        uint256 scales = start(d);
        uint256 count = d.length / 4;
        used = gasleft();
        result = Quant.fold(format, from, activations, scales, count, acc);
        used -= gasleft();
    }

    function start(bytes memory data) private pure returns (uint256 from) {
        assembly ("memory-safe") {
            from := add(data, 0x20)
        }
    }
}
