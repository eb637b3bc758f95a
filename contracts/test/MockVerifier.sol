// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IStepVerifier, StepContext, StepTarget} from "../interfaces/IStepVerifier.sol";

/// @dev A verifier that says what a test told it, so that the game can be tested by itself.
contract MockVerifier is IStepVerifier {
    error Malformed();
    error WrongTarget(bytes32 expected, bytes32 actual);
    error WrongContext(bytes32 expected, bytes32 actual);

    uint64 public result;
    bool public fraud;
    bytes32 public target;
    bytes32 public context;

    function say(uint64 result_, bool fraud_) external {
        result = result_;
        fraud = fraud_;
    }

    /// @dev What the next calls must be about; 0 for anything.
    function expect(bytes32 context_, bytes32 target_) external {
        context = context_;
        target = target_;
    }

    function step(StepContext calldata c, StepTarget calldata t, bytes calldata witness)
        external
        view
        override
        returns (uint64)
    {
        _check(c, witness);
        bytes32 actual = keccak256(abi.encode(t));
        if (target != 0 && actual != target) revert WrongTarget(target, actual);
        return result;
    }

    function tokenProof(StepContext calldata c, uint32, bytes calldata witness) external view override returns (bool) {
        _check(c, witness);
        return fraud;
    }

    function pieceProof(StepContext calldata c, uint32, bytes calldata, bytes calldata, bytes calldata witness)
        external
        view
        override
        returns (bool)
    {
        _check(c, witness);
        return fraud;
    }

    function _check(StepContext calldata c, bytes calldata witness) private view {
        if (witness.length == 0) revert Malformed();
        bytes32 actual = keccak256(abi.encode(c));
        if (context != 0 && actual != context) revert WrongContext(context, actual);
    }
}
