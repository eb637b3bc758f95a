// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Ids} from "../Ids.sol";

/// @notice Opens `Ids` to tests.
contract IdsHarness {
    function program(address registry, uint256 nth) external pure returns (address) {
        return Ids.program(registry, nth);
    }
}
