// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @notice What one step is computed against: the registered model, the request, the claim.
struct StepContext {
    /// Data contract that holds the program (0x00 ‖ program).
    address program;
    bytes32 weightsRoot;
    bytes32 traceRoot;
    bytes32 promptRoot;
    bytes32 outputRoot;
    uint32 promptLength;
    uint32 outputLength;
    /// Eight u32 words, word 0 on top.
    uint256 params;
}

/// @notice Which computation: one element of a committed tensor, or a part of its fold.
struct StepTarget {
    uint32 t;
    uint32 ordinal;
    /// Flat, row-major.
    uint32 element;
    /// Fold and finish (`WHOLE`), terms lo … hi − 1 of the fold (`CHUNK`), or finish from the last state (`FINISH`).
    uint8 mode;
    uint32 lo;
    uint32 hi;
    /// CHUNK: the total at the last block boundary at or before lo, and the accumulator at lo (0 on a boundary).
    /// FINISH: `priorTotal` is the last state. For max and argmax `priorTotal` is the best so far (ignored at lo = 0).
    /// A state of one accumulator is the low u32; of two (or value ‖ index) the low u64, the first one on top.
    uint64 priorTotal;
    uint64 priorAcc;
}

/// @title One step of a computation, executed on chain (`docs/spec.md#5-one-step`).
interface IStepVerifier {
    /// @notice What the target is, computed from inputs opened by the witness under the context's roots.
    /// @return result WHOLE and FINISH: the element's stored bits, zero-extended (an i8 of −1 is 0xFF). CHUNK: the state.
    /// @dev Reverts where the witness is not exactly the one that the specification names; it then decides nothing.
    function step(StepContext calldata context, StepTarget calldata target, bytes calldata witness)
        external
        view
        returns (uint64 result);

    /// @notice The token that the trace's `sample` slot yields for output token j, and the token that was posted.
    function sampledToken(StepContext calldata context, uint32 j, bytes calldata witness)
        external
        view
        returns (uint32 sampled, uint32 posted);
}
