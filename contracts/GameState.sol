// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Docket, Game, Phase, Stage} from "./interfaces/IDisputeGame.sol";

/// @dev A game in storage. `head` holds everything that changes with each move.
struct StoredGame {
    uint256 head;
    bytes32 word;
    uint256 announcement;
}

/// @dev A docket in storage. `word` is 0 where no game was opened.
struct StoredDocket {
    uint256 word;
    address winner;
}

/// @dev The step that a game has come to, packed in its `word`:
/// priorTotal u64 ‖ priorAcc u64 ‖ claimed u64 ‖ lo u32 ‖ hi u32.
struct Target {
    uint64 priorTotal;
    uint64 priorAcc;
    uint64 claimed;
    uint32 lo;
    uint32 hi;
}

/// @title Games and dockets, packed by hand so that each slot is written once a move.
library GameState {
    /// @dev Dues and charges are counted in this many wei.
    uint256 internal constant UNIT = 1 gwei;
    /// @dev The most of either that a head holds: 137 ether.
    uint256 internal constant MOST_UNITS = (1 << 37) - 1;
    /// @dev The most units of a pot: those of 255 challengers with 55 million gas each at the highest ceiling.
    uint256 internal constant MOST_POT = (1 << 44) - 1;

    /// @dev phase 4 ‖ stage 2 ‖ height 5 ‖ index 31 ‖ leaves 24 ‖ position 20 ‖ ordinal 20 ‖ usedSubmitter 20 ‖
    /// usedChallenger 20 ‖ movedAt 36 ‖ due 37 ‖ charged 37, from the lowest bit. The validator and the clocks' limits keep every
    /// field in its place.
    function packHead(Game memory g) internal pure returns (uint256 head) {
        head = uint256(g.phase) | uint256(g.stage) << 4 | uint256(g.height) << 6 | uint256(g.index) << 11
            | uint256(g.leaves) << 42 | uint256(g.position) << 66 | uint256(g.ordinal) << 86;
        head |= uint256(g.usedSubmitter) << 106 | uint256(g.usedChallenger) << 126 | uint256(g.movedAt) << 146
            | uint256(g.due) << 182 | uint256(g.charged) << 219;
    }

    /// @dev Fill in what `packHead` packs.
    function unpackHead(Game memory g, uint256 head) internal pure {
        g.phase = Phase(head & 0xf);
        g.stage = Stage((head >> 4) & 0x3);
        g.height = uint8((head >> 6) & 0x1f);
        g.index = uint32((head >> 11) & 0x7fffffff);
        g.leaves = uint24(head >> 42);
        g.position = uint24((head >> 66) & 0xfffff);
        g.ordinal = uint24((head >> 86) & 0xfffff);
        g.usedSubmitter = uint24((head >> 106) & 0xfffff);
        g.usedChallenger = uint24((head >> 126) & 0xfffff);
        g.movedAt = uint40((head >> 146) & 0xfffffffff);
        g.due = uint40((head >> 182) & MOST_UNITS);
        g.charged = uint40(head >> 219);
    }

    /// @dev announcedAt 40 ‖ announcement 120 (the highest bits of the digest), from the lowest bit.
    function packAnnouncement(Game memory g) internal pure returns (uint256) {
        return uint256(g.announcedAt) | uint256(g.announcement) << 40;
    }

    function unpackAnnouncement(Game memory g, uint256 stored) internal pure {
        g.announcedAt = uint40(stored);
        g.announcement = uint120(stored >> 40);
    }

    /// @dev pot 44 ‖ escrow 96 ‖ openGames 24 ‖ rejectedAt 36 ‖ promptLength 24 ‖ program 32, from the lowest bit. The pot is a
    /// whole number of units; a prompt is no longer than a program's limit of 2^20.
    function packDocket(Docket memory d) internal pure returns (uint256) {
        return d.pot / UNIT | uint256(d.escrow) << 44 | uint256(d.openGames) << 140 | uint256(d.rejectedAt) << 164
            | uint256(d.promptLength) << 200 | uint256(d.program) << 224;
    }

    function unpackDocket(Docket memory d, uint256 word) internal pure {
        // Unchecked: 44 bits of units.
        unchecked {
            d.pot = uint96((word & MOST_POT) * UNIT);
        }
        d.escrow = uint96(word >> 44);
        d.openGames = uint24(word >> 140);
        d.rejectedAt = uint40((word >> 164) & 0xfffffffff);
        d.promptLength = uint24(word >> 200);
        d.program = uint32(word >> 224);
    }

    function packTarget(Target memory t) internal pure returns (bytes32) {
        return bytes32(
            uint256(t.priorTotal) << 192 | uint256(t.priorAcc) << 128 | uint256(t.claimed) << 64
                | uint256(t.lo) << 32 | uint256(t.hi)
        );
    }

    function unpackTarget(bytes32 word) internal pure returns (Target memory t) {
        uint256 bits = uint256(word);
        t.priorTotal = uint64(bits >> 192);
        t.priorAcc = uint64(bits >> 128);
        t.claimed = uint64(bits >> 64);
        t.lo = uint32(bits >> 32);
        t.hi = uint32(bits);
    }

    /// @dev Whether the submitter's clock runs.
    function submittersTurn(Phase phase) internal pure returns (bool) {
        return phase == Phase.Reveal || phase == Phase.Leaf || phase == Phase.Totals;
    }

    function isOpen(Phase phase) internal pure returns (bool) {
        return phase != Phase.None && phase < Phase.Won;
    }
}
