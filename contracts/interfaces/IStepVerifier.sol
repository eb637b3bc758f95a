// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// What a step is checked against: everything comes from storage or from structs whose hash is stored, nothing from the prover.
/// @param program address of the data contract whose code is `0x00 ‖ program`
/// @param vocabularyRoot, vocabularySize only read by `pieceProof`
/// @param params word i (u32) is bits `32·(7 − i) …`, word 0 on top
struct StepContext {
    address program;
    bytes32 weightsRoot;
    bytes32 vocabularyRoot;
    uint32 vocabularySize;
    bytes32 traceRoot;
    bytes32 promptRoot;
    uint32 promptLength;
    bytes32 outputRoot;
    uint32 outputLength;
    uint256 params;
}

/// Which element, and which part of its fold. States are packed as the big-endian number of their 4 or 8 bytes.
/// @param position the token position t
/// @param ordinal number of the slot among the committed slots of the program
/// @param element flat, row-major number of the element in the slot's tensor
/// @param mode 0 whole (fold and finish), 1 chunk (terms lo … hi − 1), 2 finish (from the last state)
/// @param lo first term of the chunk
/// @param hi one past the last term of the chunk
/// @param priorTotal the state at the last block boundary at or before lo; in finish mode the last state
/// @param priorAcc the state at lo if lo isn't a block boundary, else 0
struct StepTarget {
    uint32 position;
    uint32 ordinal;
    uint32 element;
    uint8 mode;
    uint32 lo;
    uint32 hi;
    uint64 priorTotal;
    uint64 priorAcc;
}

/// Executes one step of the machine from openings under the claim's roots (docs/spec.md, One step).
interface IStepVerifier {
    /// The value that the step yields. Reverts on a witness that is malformed or does not open what it must, so that a
    /// failing proof decides nothing.
    /// @return result whole, finish: the stored bits of the element, zero-extended; chunk: the state
    function step(StepContext calldata context, StepTarget calldata target, bytes calldata witness)
        external
        view
        returns (uint64 result);

    /// Whether output token j differs from the committed sample slot.
    function tokenProof(StepContext calldata context, uint32 j, bytes calldata witness)
        external
        view
        returns (bool fraud);

    /// Whether the slice of the answer that belongs to output token j differs from the token's vocabulary piece.
    /// The caller has checked the hashes of `answer` and `lengths`.
    function pieceProof(
        StepContext calldata context,
        uint32 j,
        bytes calldata answer,
        bytes calldata lengths,
        bytes calldata witness
    ) external view returns (bool fraud);
}
