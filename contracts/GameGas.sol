// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Sizes} from "./interfaces/IModelRegistry.sol";
import {Terms} from "./interfaces/IDisputeGame.sol";
import {GameState} from "./GameState.sol";
import {Merkle} from "./Merkle.sol";

/// @title What each move of a game is paid for, in gas, and the bonds that follow from it.
/// @notice Flat figures, intrinsic gas and calldata included, equal to the measured gas (a test holds them to it): a
/// charge that depends on metering could be gamed by whoever sends the transaction.
library GameGas {
    uint256 internal constant OPEN = 76_000;
    /// @dev The first game against a claim opens its docket.
    uint256 internal constant DOCKET = 25_000;
    uint256 internal constant OPEN_AT = 36_000;
    /// @dev A hash of a path.
    uint256 internal constant SIBLING = 900;
    uint256 internal constant PICK = 48_000;
    /// @dev To derive the next tree, where one was passed.
    uint256 internal constant CROSS = 10_500;
    /// @dev To name an element: in a move of its own, and what that or a proof takes for it.
    uint256 internal constant ELEMENT = 43_000;
    uint256 internal constant NAME = 16_000;
    uint256 internal constant PICK_TOTAL = 58_500;
    uint256 internal constant ANNOUNCE = 61_000;
    uint256 internal constant RELEASE = 89_500;
    uint256 internal constant CLOSE = 104_500;
    /// @dev A time-out that rejects the claim.
    uint256 internal constant CLOSE_WON = 133_500;
    uint256 internal constant REVEAL_ROOT = 64_500;
    uint256 internal constant REVEAL = 39_000;
    uint256 internal constant REVEAL_CHILD = 1_024;
    uint256 internal constant LEAF = 48_000;
    uint256 internal constant TOTALS = 57_500;
    /// @dev A byte of a leaf or of states, their event included.
    uint256 internal constant DATA_BYTE = 25;
    /// @dev A byte that is only hashed.
    uint256 internal constant INPUT_BYTE = 18;
    uint256 internal constant TOKEN_PROOF = 220_000;
    uint256 internal constant PIECE_PROOF = 220_000;
    /// @dev What a proof that rejects the claim takes beyond the step's own figure.
    uint256 internal constant WIN = 90_000;
    /// @dev The same of a step that comes after another game has rejected the claim.
    uint256 internal constant LATE = 40_000;
    /// @dev A byte of calldata at EIP-7623's floor.
    uint256 internal constant BYTE = 40;
    /// @dev A schedule entry, where the program is read.
    uint256 internal constant ENTRY = 155;

    /// @dev A transaction at that floor, apart from data: of a leaf, and of one that sends the claim or a word more.
    uint256 internal constant FLOOR = 27_500;
    uint256 internal constant FLOOR_CLAIM = 39_000;

    /// @dev To open a leaf, or a whole tensor, of so many bytes.
    function leaf(uint256 count, uint256 entries) internal pure returns (uint256) {
        return posting(LEAF + ENTRY * entries, DATA_BYTE, FLOOR, count);
    }

    /// @dev To post or pick running totals of so many bytes, `base` apart.
    function states(uint256 base, uint256 count, uint256 entries) internal pure returns (uint256) {
        return posting(base + ENTRY * entries, DATA_BYTE, FLOOR_CLAIM, count);
    }

    /// @dev To reveal so many children, `base` apart.
    function children(uint256 base, uint256 count) internal pure returns (uint256) {
        return posting(base, REVEAL_CHILD / 32, base == REVEAL ? FLOOR : FLOOR_CLAIM, 32 * count);
    }

    /// @dev What a posting of so many bytes takes: its execution, or the floor of its calldata.
    function posting(uint256 base, uint256 each, uint256 floor, uint256 count) private pure returns (uint256) {
        // Unchecked: a transaction's bytes are fewer than 2^32.
        unchecked {
            uint256 execution = base + each * count;
            floor += BYTE * count;
            return execution > floor ? execution : floor;
        }
    }

    /// @dev p(f) = f · 5/4: the quarter pays the tip.
    function price(uint256 baseFee, uint256 ceiling) internal pure returns (uint256) {
        unchecked {
            return (baseFee < ceiling ? baseFee : ceiling) * 5 / 4;
        }
    }

    /// @dev O and Q: all that a challenger posts in one game, save the proof, and all that the submitter's side posts.
    /// Unchecked, here and below: a program's sizes have at most 32 bits, a term of the deployment at most 80 (`GameCore`).
    function flows(Sizes memory s, uint256 fanout) private pure returns (uint256 picks, uint256 reveals) {
        unchecked {
            uint256 trace = Merkle.clog2(s.limit);
            uint256 slots = Merkle.clog2(s.committed);
            // Reveals, and picks, which are as many; even a trace or position of depth 0 may take one.
            uint256 inner = (s.tensorDepth + fanout - 1) / fanout;
            uint256 rounds = (trace + fanout - 1) / fanout + (slots + fanout - 1) / fanout;
            if (trace == 0) ++rounds;
            if (slots == 0) ++rounds;
            picks = OPEN + DOCKET + OPEN_AT + SIBLING * (trace + slots + s.tensorDepth) + (rounds + inner) * PICK
                + 2 * CROSS + ELEMENT + NAME + 1024 * INPUT_BYTE + 4 * SIBLING + 2 * states(PICK_TOTAL, s.totals, s.entries)
                + 3 * ENTRY * s.entries + ANNOUNCE + RELEASE;
            // A tensor is revealed down to a leaf, or opened whole.
            uint256 round = children(REVEAL, 1 << fanout);
            uint256 last = leaf(4096, s.entries);
            inner = inner * round + leaf(1024, s.entries);
            reveals = REVEAL_ROOT - REVEAL + rounds * round + (inner > last ? inner : last)
                + 2 * states(TOTALS, s.totals, s.entries);
        }
    }

    /// @dev The costliest proof, an answer's pieces aside.
    function proof(Sizes memory s) private pure returns (uint256) {
        unchecked {
            uint256 direct = (TOKEN_PROOF > PIECE_PROOF ? TOKEN_PROOF : PIECE_PROOF) + ENTRY * s.entries;
            uint256 step = s.stepGas + WIN;
            return step > direct ? step : direct;
        }
    }

    /// @dev B, the pot out of which challengers' gas is repaid, and C ≥ 2 · Q · p(F) + G_close · p(F) + margin.
    function stakes(Sizes memory s, Terms memory t) internal pure returns (uint256 pot, uint256 challengerBond) {
        (uint256 picks, uint256 reveals) = flows(s, t.fanout);
        unchecked {
            uint256 p = price(t.ceiling, t.ceiling);
            pot = t.challengers * (picks + reveals + proof(s)) * p;
            // Dockets count it in units.
            pot = (pot + GameState.UNIT - 1) / GameState.UNIT * GameState.UNIT;
            challengerBond = (2 * reveals + CLOSE) * p + t.margin;
        }
    }

    /// @dev S = 2 · (B + w): half is burnt on fraud, before anything is paid.
    function submitterBond(Sizes memory s, Terms memory t, uint256 answerBytes) internal pure returns (uint256) {
        (uint256 pot,) = stakes(s, t);
        (uint256 picks,) = flows(s, t.fanout);
        uint256 gas = proof(s) + answerBytes * BYTE + CLOSE_WON + picks;
        return 2 * (pot + gas * price(t.ceiling, t.ceiling) + t.incentive);
    }
}
