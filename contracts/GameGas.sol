// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Sizes} from "./interfaces/IModelRegistry.sol";
import {Terms} from "./interfaces/IDisputeGame.sol";
import {Merkle} from "./Merkle.sol";

/// @title What each move of a game is paid for, in gas, and the bonds that follow from it.
/// @notice Flat figures, intrinsic gas and calldata included, equal to the measured gas (a test holds them to it): a
/// charge that depends on metering could be gamed by whoever sends the transaction.
library GameGas {
    uint256 internal constant OPEN = 78_000;
    /// @dev The first game against a claim opens its docket.
    uint256 internal constant DOCKET = 51_500;
    uint256 internal constant OPEN_AT = 38_000;
    uint256 internal constant OPEN_SIBLING = 900;
    uint256 internal constant PICK = 48_500;
    /// @dev To derive the next tree, where one was passed.
    uint256 internal constant CROSS = 13_500;
    uint256 internal constant ELEMENT = 54_500;
    uint256 internal constant PICK_TOTAL = 62_000;
    uint256 internal constant ANNOUNCE = 61_500;
    uint256 internal constant RELEASE = 90_000;
    uint256 internal constant CLOSE = 105_000;
    /// @dev A time-out that rejects the claim.
    uint256 internal constant CLOSE_WON = 160_000;
    uint256 internal constant REVEAL_ROOT = 66_500;
    uint256 internal constant REVEAL = 39_000;
    uint256 internal constant REVEAL_CHILD = 1_000;
    uint256 internal constant LEAF = 51_500;
    uint256 internal constant TOTALS = 60_000;
    /// @dev A byte of a leaf or of states, their event included.
    uint256 internal constant DATA_BYTE = 25;
    uint256 internal constant TOKEN_PROOF = 230_000;
    uint256 internal constant PIECE_PROOF = 230_000;
    /// @dev What a proof that rejects the claim takes beyond the step's own figure.
    uint256 internal constant WIN = 100_000;
    /// @dev The same of a step that comes after another game has rejected the claim.
    uint256 internal constant LATE = 40_000;
    /// @dev A byte of calldata at EIP-7623's floor.
    uint256 internal constant BYTE = 40;
    /// @dev A schedule entry, where the program is read.
    uint256 internal constant ENTRY = 300;

    /// @dev p(f) = f · 5/4: the quarter pays the tip.
    function price(uint256 baseFee, uint256 ceiling) internal pure returns (uint256) {
        return (baseFee < ceiling ? baseFee : ceiling) * 5 / 4;
    }

    /// @dev Reveals of a game, and picks, which are as many.
    function rounds(Sizes memory s, uint256 fanout) internal pure returns (uint256) {
        return levels(Merkle.clog2(s.limit), fanout) + levels(Merkle.clog2(s.committed), fanout)
            + (s.tensorDepth + fanout - 1) / fanout;
    }

    /// @dev Even a tree of depth 0 may take a reveal.
    function levels(uint256 depth, uint256 fanout) private pure returns (uint256) {
        return depth == 0 ? 1 : (depth + fanout - 1) / fanout;
    }

    /// @dev Q: all that the submitter's side posts in one game.
    function reveals(Sizes memory s, uint256 fanout) internal pure returns (uint256) {
        return REVEAL_ROOT - REVEAL + rounds(s, fanout) * (REVEAL + (REVEAL_CHILD << fanout)) + LEAF
            + 1024 * DATA_BYTE + 2 * (TOTALS + s.totals * DATA_BYTE) + 3 * ENTRY * s.entries;
    }

    /// @dev O: all that a challenger posts in one game, save the proof.
    function picks(Sizes memory s, uint256 fanout) internal pure returns (uint256) {
        uint256 opening = OPEN + DOCKET + OPEN_AT
            + OPEN_SIBLING * (Merkle.clog2(s.limit) + Merkle.clog2(s.committed) + s.tensorDepth);
        return opening + rounds(s, fanout) * PICK + 2 * CROSS + ELEMENT + 1024 * DATA_BYTE
            + 2 * (PICK_TOTAL + s.totals * DATA_BYTE) + 5 * ENTRY * s.entries + ANNOUNCE + RELEASE;
    }

    /// @dev The costliest proof, an answer's pieces aside.
    function proof(Sizes memory s) internal pure returns (uint256) {
        uint256 direct = (TOKEN_PROOF > PIECE_PROOF ? TOKEN_PROOF : PIECE_PROOF) + ENTRY * s.entries;
        return s.stepGas + WIN > direct ? s.stepGas + WIN : direct;
    }

    /// @dev B: the pot out of which challengers' gas is repaid.
    function pot(Sizes memory s, Terms memory t) internal pure returns (uint256) {
        return t.challengers * (picks(s, t.fanout) + reveals(s, t.fanout) + proof(s)) * price(t.ceiling, t.ceiling);
    }

    /// @dev S = 2 · (B + w): half is burnt on fraud, before anything is paid.
    function submitterBond(Sizes memory s, Terms memory t, uint256 answerBytes) internal pure returns (uint256) {
        uint256 gas = proof(s) + answerBytes * BYTE + CLOSE_WON + picks(s, t.fanout);
        return 2 * (pot(s, t) + gas * price(t.ceiling, t.ceiling) + t.incentive);
    }

    /// @dev C ≥ 2 · Q · p(F) + G_close · p(F) + margin.
    function challengerBond(Sizes memory s, Terms memory t) internal pure returns (uint256) {
        return (2 * reveals(s, t.fanout) + CLOSE) * price(t.ceiling, t.ceiling) + t.margin;
    }
}
