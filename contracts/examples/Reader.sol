// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IOpmlOracle} from "../interfaces/IOpmlOracle.sol";

/// @title A consumer that pulls: anybody brings it the text of a final answer, which it holds against the oracle.
/// @notice Nothing has to be arranged when the request is made.
contract Reader {
    error NotAnswered(bytes32 requestId);
    error WrongText(bytes32 expected, bytes32 actual);

    IOpmlOracle public immutable oracle;

    /// @notice The texts that were brought.
    mapping(bytes32 requestId => bytes) public texts;

    constructor(IOpmlOracle oracle_) {
        oracle = oracle_;
    }

    /// @notice Keep the text of a request's final answer.
    function bring(bytes32 requestId, bytes calldata text) external {
        (bool answered, bytes32 expected,) = oracle.answerOf(requestId);
        if (!answered) revert NotAnswered(requestId);
        bytes32 actual = keccak256(text);
        if (actual != expected) revert WrongText(expected, actual);
        texts[requestId] = text;
    }
}
