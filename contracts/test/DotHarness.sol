// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {DotProduct} from "../DotProduct.sol";

/// @notice Opens `DotProduct` to tests.
contract DotHarness {
    /// @notice Fold n terms of two stored operands of a format (0 f32, 1 f16, 2 bf16, 3 one f32 for all) into acc.
    function dot(bytes memory a, uint256 formatA, bytes memory b, uint256 formatB, uint256 n, uint256 acc)
        external
        view
        returns (uint256 result, uint256 used)
    {
        uint256 buffer;
        uint256 from;
        uint256 other;
        assembly ("memory-safe") {
            buffer := mload(0x40)
            mstore(0x40, add(buffer, shl(6, add(n, 64))))
            from := add(a, 0x20)
            other := add(b, 0x20)
        }
        used = gasleft();
        unpack(from, formatA, n, buffer);
        unpack(other, formatB, n, buffer + 4 * n + 64);
        result = DotProduct.fold(buffer, buffer + 4 * n + 64, n, acc);
        used -= gasleft();
    }

    function unpack(uint256 from, uint256 format, uint256 n, uint256 to) private pure {
        if (format == 0) {
            DotProduct.unpackF32(from, n, to);
        } else if (format == 1) {
            DotProduct.unpackF16(from, n, to);
        } else if (format == 2) {
            DotProduct.unpackBF16(from, n, to);
        } else {
            uint256 value;
            assembly ("memory-safe") {
                value := shr(224, mload(from))
            }
            DotProduct.unpackConstant(value, n, to);
        }
    }
}
