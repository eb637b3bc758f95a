// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IStepVerifier, StepContext, StepTarget} from "./interfaces/IStepVerifier.sol";
import {Evaluator} from "./Evaluator.sol";
import {Frames, Machine} from "./Frames.sol";
import {Merkle} from "./Merkle.sol";
import {Openings, Witness} from "./Openings.sol";
import {ProgramLib} from "./ProgramLib.sol";
import {Frame, Tensor} from "./Records.sol";

/// @title Executes one step of the machine from openings under the claim's roots (`docs/spec.md#5-one-step`).
/// @notice Nothing is taken from the prover that can be derived. A witness that isn't exactly the one that the step consumes
/// reverts, and so decides nothing.
contract StepVerifier is IStepVerifier {
    error NoMode(uint256 mode);
    error NoChunk(uint256 lo, uint256 hi, uint256 extent);
    error NoElement(uint256 element, uint256 count);
    error NoOutput(uint256 j, uint256 count);
    error NoLength(uint32 j, uint256 bytes_);
    error WrongPiece(bytes32 expected, bytes32 found);

    uint256 private constant WHOLE = 0;
    uint256 private constant CHUNK = 1;
    uint256 private constant FINISH = 2;

    /// @inheritdoc IStepVerifier
    function step(StepContext calldata, StepTarget calldata target, bytes calldata witness)
        external
        view
        override
        returns (uint64 result)
    {
        Machine memory m = _machine(_small(target, 0), witness);
        Frame f = Frames.ofOrdinal(m, _small(target, 1));
        uint256 element = _small(target, 2);
        uint256 mode = _small(target, 3);
        uint256 s0;
        uint256 s1;
        unchecked {
            // Shapes are below 2^31.
            if (element >= f.rows() * f.cols()) revert NoElement(element, f.rows() * f.cols());
        }
        Frames.place(f, element);
        // Two accumulators, or value ‖ index: the first one on top.
        uint256 low = f.accumulators() == 2 ? 32 : 0;
        (s0, s1) = _unpack(target.priorTotal, low);
        if (mode == CHUNK) {
            uint256 lo = _small(target, 4);
            uint256 hi = _small(target, 5);
            // INVARIANT: a chunk is of the fold, in whole units.
            if (lo >= hi || hi > f.k() || (f.fold() == ProgramLib.FOLD_QDOT && (lo | hi) & 31 != 0)) {
                revert NoChunk(lo, hi, f.k());
            }
            (uint256 acc0, uint256 acc1) = _unpack(target.priorAcc, low);
            (s0, s1) = Evaluator.fold(m, f, lo, hi, s0, s1, acc0, acc1);
            result = uint64(low == 0 ? s0 : s0 << 32 | s1);
        } else if (mode == FINISH) {
            result = uint64(Evaluator.finish(m, f, s0, s1));
        } else if (mode == WHOLE) {
            result = uint64(Evaluator.element(m, f, element));
        } else {
            revert NoMode(mode);
        }
        Openings.close(m.witness);
    }

    /// @inheritdoc IStepVerifier
    function tokenProof(StepContext calldata context, uint32 j, bytes calldata witness)
        external
        view
        override
        returns (bool fraud)
    {
        Machine memory m = _output(context, j, witness);
        Witness memory w = m.witness;
        // The last committed slot is `sample`: one i32.
        uint256 t = m.t - 1;
        Tensor sample = Openings.traceTensor(w, m.program.committed - 1, t, 1, 4, ProgramLib.OUT_I32);
        uint256 sampled = Evaluator.littleEndian(Openings.unitAddress(w, sample, 0));
        fraud = sampled != Evaluator.token(w, m.t);
        Openings.close(w);
    }

    /// @inheritdoc IStepVerifier
    function pieceProof(
        StepContext calldata context,
        uint32 j,
        bytes calldata answer,
        bytes calldata lengths,
        bytes calldata witness
    ) external view override returns (bool fraud) {
        if (lengths.length < 2 * (uint256(j) + 1)) revert NoLength(j, lengths.length);
        Machine memory m = _output(context, j, witness);
        Witness memory w = m.witness;
        bytes calldata piece = _piece(w, Evaluator.token(w, m.t));
        Openings.close(w);
        return keccak256(piece) != keccak256(_slice(answer, lengths, j));
    }

    /// @dev A machine with program and witness, for a proof about output token j: at the position that it is the input of.
    function _output(StepContext calldata context, uint256 j, bytes calldata witness)
        private
        view
        returns (Machine memory m)
    {
        if (j >= context.outputLength) revert NoOutput(j, context.outputLength);
        m = _machine(context.promptLength + j, witness);
    }

    /// @dev A machine at position t, with the witness and the context, the first argument of every function here.
    function _machine(uint256 t, bytes calldata witness) private view returns (Machine memory m) {
        m.t = t;
        Openings.start(m.witness, witness);
        ProgramLib.load(m.program, address(uint160(m.witness.program)));
        Frames.start(m);
    }

    /// @dev Field n of a target, one of the u32 and u8 fields.
    function _small(StepTarget calldata target, uint256 n) private pure returns (uint256 value) {
        assembly ("memory-safe") {
            value := and(calldataload(add(target, shl(5, n))), 0xffffffff)
        }
    }

    /// @dev The registers of a state of one (`low` is 0) or two.
    function _unpack(uint64 state, uint256 low) private pure returns (uint256 s0, uint256 s1) {
        assembly ("memory-safe") {
            s0 := and(shr(low, state), 0xffffffff)
            s1 := mul(and(state, 0xffffffff), lt(0, low))
        }
    }

    /// @dev Consume `length u16 ‖ bytes` of the token's piece and the siblings that prove it.
    function _piece(Witness memory w, uint256 token) private pure returns (bytes calldata piece) {
        uint256 next = w.next;
        assembly ("memory-safe") {
            piece.length := shr(240, calldataload(next))
            piece.offset := add(next, 2)
        }
        // Unchecked: calldata offsets. A piece that ends beyond the witness is refused with what follows.
        unchecked {
            w.next = next + 2 + piece.length;
        }
        bytes32 node = Merkle.leaf(Merkle.LEAF_PIECE, piece);
        node = Openings.path(w, Merkle.NODE_VOCABULARY, token, node, w.vocabularySize);
        if (node != w.vocabularyRoot) revert WrongPiece(w.vocabularyRoot, node);
    }

    /// @dev The answer's bytes of output token j, by the lengths of the pieces, as far as the answer goes.
    function _slice(bytes calldata answer, bytes calldata lengths, uint256 j) private pure returns (bytes calldata) {
        uint256 from;
        uint256 length;
        assembly ("memory-safe") {
            let last := add(lengths.offset, shl(1, j))
            for { let entry := lengths.offset } lt(entry, last) { entry := add(entry, 2) } {
                from := add(from, shr(240, calldataload(entry)))
            }
            length := shr(240, calldataload(last))
        }
        if (from > answer.length) from = answer.length;
        if (length > answer.length - from) length = answer.length - from;
        return answer[from:from + length];
    }
}
