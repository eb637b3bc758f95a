// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ILedger} from "../interfaces/ILedger.sol";
import {IOpmlConsumer, IOpmlOracle, Order} from "../interfaces/IOpmlOracle.sol";

/// @title A consumer that asks, and is handed the answer's text by callback.
contract Questions is IOpmlConsumer {
    error NotTheOracle(address caller);
    error NotTheAsker(address caller);
    error NotMyCallback(address callback);
    error UnknownRequest(bytes32 requestId);

    IOpmlOracle public immutable oracle;
    address public immutable asker;

    /// @notice Whether this contract asked a question.
    mapping(bytes32 requestId => bool) public asked;
    /// @notice The answers that were handed over; empty before.
    mapping(bytes32 requestId => bytes) public answers;

    constructor(IOpmlOracle oracle_) {
        oracle = oracle_;
        asker = msg.sender;
    }

    /// @notice Ask. The value must be `oracle.price(order)`, and the order's callback this contract.
    function ask(Order calldata order, bytes calldata prompt) external payable returns (bytes32 requestId) {
        if (msg.sender != asker) revert NotTheAsker(msg.sender);
        if (order.callback != address(this)) revert NotMyCallback(order.callback);
        requestId = oracle.request{value: msg.value}(order, prompt);
        asked[requestId] = true;
    }

    /// @inheritdoc IOpmlConsumer
    function onAnswer(bytes32 requestId, bytes calldata answer) external override {
        if (msg.sender != address(oracle)) revert NotTheOracle(msg.sender);
        if (!asked[requestId]) revert UnknownRequest(requestId);
        answers[requestId] = answer;
    }

    /// @notice Fetch the rests of deposits that the oracle owes to this contract.
    function collect(address payable to) external {
        if (msg.sender != asker) revert NotTheAsker(msg.sender);
        ILedger(address(oracle)).withdraw(to);
    }
}
