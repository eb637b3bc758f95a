// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Docket, Game, Phase, Stage} from "./interfaces/IDisputeGame.sol";

/// @dev A game in storage. `head` holds everything that changes with each move.
struct StoredGame {
    uint256 head;
    bytes32 word;
    uint256 tail;
}

/// @dev A docket in storage.
struct StoredDocket {
    uint256 claim;
    uint256 money;
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
    /// @dev phase 8 ‖ stage 8 ‖ height 8 ‖ index 32 ‖ leaves 24 ‖ position 24 ‖ ordinal 24 ‖ usedSubmitter 24 ‖
    /// usedChallenger 24 ‖ movedAt 40 ‖ due 40, from the lowest bit.
    function packHead(Game memory g) internal pure returns (uint256 head) {
        head = uint256(g.phase) | uint256(g.stage) << 8 | uint256(g.height) << 16 | uint256(g.index) << 24
            | uint256(g.leaves) << 56 | uint256(g.position) << 80 | uint256(g.ordinal) << 104;
        head |= uint256(g.usedSubmitter) << 128 | uint256(g.usedChallenger) << 152 | uint256(g.movedAt) << 176
            | uint256(g.due) << 216;
    }

    /// @dev Fill in what `packHead` packs. The casts keep the low bits on purpose.
    function unpackHead(Game memory g, uint256 head) internal pure {
        g.phase = Phase(uint8(head));
        g.stage = Stage(uint8(head >> 8));
        g.height = uint8(head >> 16);
        g.index = uint32(head >> 24);
        g.leaves = uint24(head >> 56);
        g.position = uint24(head >> 80);
        g.ordinal = uint24(head >> 104);
        g.usedSubmitter = uint24(head >> 128);
        g.usedChallenger = uint24(head >> 152);
        g.movedAt = uint40(head >> 176);
        g.due = uint40(head >> 216);
    }

    /// @dev charged 96 ‖ announcedAt 40 ‖ announcement 120, from the lowest bit.
    function packTail(Game memory g) internal pure returns (uint256) {
        return uint256(g.charged) | uint256(g.announcedAt) << 96 | uint256(g.announcement) << 136;
    }

    function unpackTail(Game memory g, uint256 tail) internal pure {
        g.charged = uint96(tail);
        g.announcedAt = uint40(tail >> 96);
        g.announcement = uint120(tail >> 136);
    }

    /// @dev pot 96 ‖ escrow 96 ‖ openGames 24 ‖ rejectedAt 40, from the lowest bit.
    function packMoney(Docket memory d) internal pure returns (uint256) {
        return uint256(d.pot) | uint256(d.escrow) << 96 | uint256(d.openGames) << 192 | uint256(d.rejectedAt) << 216;
    }

    function unpackMoney(Docket memory d, uint256 money) internal pure {
        d.pot = uint96(money);
        d.escrow = uint96(money >> 96);
        d.openGames = uint24(money >> 192);
        d.rejectedAt = uint40(money >> 216);
    }

    /// @dev program 160 ‖ promptLength 32 ‖ outputLength 32, from the lowest bit.
    function packClaim(Docket memory d) internal pure returns (uint256) {
        return uint256(uint160(d.program)) | uint256(d.promptLength) << 160 | uint256(d.outputLength) << 192;
    }

    function unpackClaim(Docket memory d, uint256 claim) internal pure {
        d.program = address(uint160(claim));
        d.promptLength = uint32(claim >> 160);
        d.outputLength = uint32(claim >> 192);
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
