// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ILedger} from "../interfaces/ILedger.sol";
import {IOpmlConsumer, IOpmlOracle, Request} from "../interfaces/IOpmlOracle.sol";

/// @dev A consumer that fails as long as it is told to, and says how much gas it was given.
contract MoodyConsumer is IOpmlConsumer {
    bool public failing;
    uint256 public gasGiven;
    uint256 public calls;

    function fail(bool failing_) external {
        failing = failing_;
    }

    function onAnswer(bytes32, bytes calldata) external override {
        gasGiven = gasleft();
        ++calls;
        require(!failing);
    }
}

/// @dev A consumer that asks for its answer again while it is being handed over, and returns a bomb.
contract GreedyConsumer is IOpmlConsumer {
    IOpmlOracle private immutable ORACLE;
    bytes private again;
    bool public refused;

    constructor(IOpmlOracle oracle) {
        ORACLE = oracle;
    }

    function prepare(Request calldata request, bytes calldata answer) external {
        again = abi.encodeCall(IOpmlOracle.deliver, (request, answer));
    }

    function onAnswer(bytes32, bytes calldata) external override {
        (bool done,) = address(ORACLE).call(again);
        refused = !done;
        assembly ("memory-safe") {
            return(0, 100000)
        }
    }
}

/// @dev An account that cannot be paid.
contract Unpayable {
    function call(address to, uint256 value, bytes calldata data) external payable returns (bytes memory) {
        (bool done, bytes memory result) = to.call{value: value}(data);
        require(done);
        return result;
    }

    receive() external payable {
        revert();
    }
}

/// @dev An account that makes several calls in one transaction.
contract Batch {
    function run(address to, uint256[] calldata values, bytes[] calldata calls) external payable {
        for (uint256 i; i < calls.length; ++i) {
            (bool done, bytes memory result) = to.call{value: values[i]}(calls[i]);
            if (!done) {
                assembly ("memory-safe") {
                    revert(add(result, 0x20), mload(result))
                }
            }
        }
    }
}

/// @dev An account that withdraws again while it is being paid.
contract Returner {
    ILedger private ledger;
    uint256 public received;
    bool public refused;

    function call(address to, uint256 value, bytes calldata data) external payable returns (bytes memory) {
        (bool done, bytes memory result) = to.call{value: value}(data);
        require(done);
        return result;
    }

    function withdraw(ILedger from) external {
        ledger = from;
        from.withdraw(payable(address(this)));
    }

    receive() external payable {
        received += msg.value;
        (bool done,) = address(ledger).call(abi.encodeCall(ILedger.withdraw, (payable(address(this)))));
        refused = !done;
    }
}
