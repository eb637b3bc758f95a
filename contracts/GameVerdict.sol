// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Docket, Element, Game, GameKey, IDisputeGame, Phase, Reason} from "./interfaces/IDisputeGame.sol";
import {Sizes} from "./interfaces/IModelRegistry.sol";
import {Claim, Request} from "./interfaces/IOpmlOracle.sol";
import {StepContext, StepTarget} from "./interfaces/IStepVerifier.sol";
import {GameCore} from "./GameCore.sol";
import {GameGas} from "./GameGas.sol";
import {Ledger} from "./Ledger.sol";
import {GameState, StoredGame, Target} from "./GameState.sol";

/// @title Proofs, time-outs, and who gets what.
abstract contract GameVerdict is GameCore {
    /// @dev The oracle hands over half of a rejected claim's bond.
    receive() external payable {
        if (msg.sender != address(oracle)) revert NotTheOracle(msg.sender);
    }

    /// @inheritdoc IDisputeGame
    function announce(GameKey calldata key, bytes32 digest) external override {
        (bytes32 id, Game memory g, Docket memory d) = _enterOpen(key);
        if (d.rejectedAt != 0) revert ClaimRejectedAlready(key.claimId);
        // INVARIANT: an announcement doesn't stop the clock.
        GameState.unpackAnnouncement(g, games[id].announcement);
        bool first = g.announcedAt == 0;
        g.announcedAt = uint40(block.number);
        // safe: the highest 120 bits of the digest are the announcement
        g.announcement = uint120(uint256(digest) >> 136);
        games[id].announcement = GameState.packAnnouncement(g);
        if (first) {
            _repay(g, d, GameGas.ANNOUNCE);
            _saveHead(id, g);
            _saveDocket(key.claimId, d);
        }
        emit Announced(id, digest);
    }

    /// @inheritdoc IDisputeGame
    function step(
        GameKey calldata key,
        Claim calldata claim,
        Request calldata request,
        bytes32 traceRoot,
        Element calldata named,
        bytes calldata witness
    ) external override {
        (bytes32 id, Game memory g, Docket memory d) = _enterProof(key, claim, request);
        g.word = games[id].word;
        // An element whose fold fits one step is named together with its proof.
        uint256 gas = g.phase == Phase.Element ? _name(id, g, d, named) : 0;
        if (g.phase != Phase.Step) revert WrongPhase(Phase.Step, g.phase);
        _checkTraceRoot(claim, traceRoot);

        Target memory target = GameState.unpackTarget(g.word);
        (StepContext memory context, Sizes memory s) = _context(claim, request, d, traceRoot);
        uint256 computed = verifier.step(
            context,
            StepTarget({
                position: g.position,
                ordinal: g.ordinal,
                element: g.index,
                mode: g.height,
                lo: target.lo,
                hi: target.hi,
                priorTotal: target.priorTotal,
                priorAcc: target.priorAcc
            }),
            witness
        );
        // INVARIANT: a proof that fails decides nothing.
        if (computed == target.claimed) revert NotFraud(computed);

        if (d.rejectedAt != 0) {
            // Correct, but another game was faster: recorded and repaid.
            gas += registry.stepGas(context.program, g.ordinal);
            _release(id, key, g, d, s, gas + GameGas.LATE);
        } else {
            _repay(g, d, gas);
            _win(id, key, claim, g, d, s, 0);
            emit GameWon(id, key.claimId, Reason.Step, computed, target.claimed);
        }
    }

    /// @inheritdoc IDisputeGame
    function tokenProof(
        GameKey calldata key,
        Claim calldata claim,
        Request calldata request,
        bytes32 traceRoot,
        uint32 j,
        bytes calldata witness
    ) external override {
        (bytes32 id, Game memory g, Docket memory d) = _enterProof(key, claim, request);
        _checkTraceRoot(claim, traceRoot);
        (StepContext memory context, Sizes memory s) = _context(claim, request, d, traceRoot);
        if (!verifier.tokenProof(context, j, witness)) revert NotFraud(j);

        if (d.rejectedAt != 0) {
            // Correct, but another game was faster: recorded and repaid.
            _release(id, key, g, d, s, GameGas.TOKEN_PROOF);
        } else {
            _win(id, key, claim, g, d, s, 0);
            emit GameWon(id, key.claimId, Reason.Token, 0, 0);
        }
    }

    /// @inheritdoc IDisputeGame
    function pieceProof(
        GameKey calldata key,
        Claim calldata claim,
        Request calldata request,
        uint32 j,
        bytes calldata answer,
        bytes calldata lengths,
        bytes calldata witness
    ) external override {
        (bytes32 id, Game memory g, Docket memory d) = _enterProof(key, claim, request);
        _checkBytes(claim.answerHash, answer);
        _checkBytes(claim.lengthsHash, lengths);
        // No part of this proof is under the trace root.
        (StepContext memory context, Sizes memory s) = _context(claim, request, d, bytes32(0));
        (context.vocabularyRoot, context.vocabularySize) = registry.vocabularyOf(request.modelId);
        if (!verifier.pieceProof(context, j, answer, lengths, witness)) revert NotFraud(j);

        if (d.rejectedAt != 0) {
            // Correct, but another game was faster: recorded and repaid.
            _release(id, key, g, d, s, GameGas.PIECE_PROOF + GameGas.BYTE * (answer.length + lengths.length));
        } else {
            _win(id, key, claim, g, d, s, 0);
            emit GameWon(id, key.claimId, Reason.Piece, 0, 0);
        }
    }

    /// @inheritdoc IDisputeGame
    function timeout(GameKey calldata key, Claim calldata claim) external override {
        bytes32 id = gameIdOf(key);
        Game memory g;
        Docket memory d;
        GameState.unpackHead(g, games[id].head);
        if (!GameState.isOpen(g.phase)) revert GameOver(g.phase);
        GameState.unpackDocket(d, dockets[key.claimId].word);
        if (d.rejectedAt != 0) revert ClaimRejectedAlready(key.claimId);
        _checkClaim(key.claimId, claim);

        bool submitters = GameState.submittersTurn(g.phase);
        uint256 clock = submitters ? SUBMITTER_CLOCK : CHALLENGER_CLOCK;
        uint256 used = (submitters ? g.usedSubmitter : g.usedChallenger) + block.timestamp - g.movedAt;
        // INVARIANT: a time-out iff elapsed > clock.
        if (used <= clock) revert ClockRunning(used, clock);

        if (submitters) {
            _win(id, key, claim, g, d, _sizes(d), GameGas.CLOSE_WON * _price());
            emit GameWon(id, key.claimId, Reason.Timeout, 0, 0);
        } else {
            _lose(id, key, claim.submitter, g, d, GameGas.CLOSE * _price());
        }
    }

    /// @inheritdoc IDisputeGame
    function release(GameKey calldata key) external override {
        bytes32 id = gameIdOf(key);
        Game memory g;
        Docket memory d;
        GameState.unpackHead(g, games[id].head);
        if (!GameState.isOpen(g.phase)) revert GameOver(g.phase);
        GameState.unpackDocket(d, dockets[key.claimId].word);
        if (d.rejectedAt == 0) revert ClaimNotRejected(key.claimId);
        if (msg.sender != key.challenger) {
            // A step may be under way: it has the challenger's clock to arrive and be repaid.
            uint256 from = uint256(d.rejectedAt) + CHALLENGER_CLOCK + 1;
            if (block.timestamp < from) revert NotReleasable(from, block.timestamp);
        }
        _release(id, key, g, d, _sizes(d), GameGas.RELEASE);
    }

    /// @inheritdoc IDisputeGame
    function settle(bytes32 claimId, address submitter) external override {
        if (msg.sender != address(oracle)) revert NotTheOracle(msg.sender);
        Docket memory d;
        GameState.unpackDocket(d, dockets[claimId].word);
        // INVARIANT: final iff the window is over and no game is open.
        if (d.openGames != 0) revert GamesOpen(d.openGames);
        uint256 escrow = d.escrow;
        if (escrow == 0) return;

        d.escrow = 0;
        _saveDocket(claimId, d);
        _credit(submitter, escrow / 2);

        _burn(escrow - escrow / 2);
    }

    // Entering

    /// @dev Any open game, as its challenger, whose clock must not be over where it runs.
    function _enterOpen(GameKey calldata key)
        private
        view
        returns (bytes32 id, Game memory g, Docket memory d)
    {
        id = gameIdOf(key);
        GameState.unpackHead(g, games[id].head);
        if (!GameState.isOpen(g.phase)) revert GameOver(g.phase);
        if (msg.sender != key.challenger) revert NotTheChallenger(key.challenger, msg.sender);
        GameState.unpackDocket(d, dockets[key.claimId].word);
        if (!GameState.submittersTurn(g.phase)) {
            uint256 used = g.usedChallenger + block.timestamp - g.movedAt;
            if (used > CHALLENGER_CLOCK) revert ClockExpired(used, CHALLENGER_CLOCK);
        }
    }

    function _enterProof(GameKey calldata key, Claim calldata claim, Request calldata request)
        private
        view
        returns (bytes32 id, Game memory g, Docket memory d)
    {
        (id, g, d) = _enterOpen(key);
        // INVARIANT: a proof was announced by its sender in an earlier block, so that a copied transaction earns nothing.
        GameState.unpackAnnouncement(g, games[id].announcement);
        uint120 digest = uint120(uint256(keccak256(abi.encodePacked(msg.data, msg.sender))) >> 136);
        if (g.announcedAt == 0 || digest != g.announcement) revert NotAnnounced(digest, g.announcement);
        if (g.announcedAt >= block.number) revert AnnouncedInThisBlock(block.number);
        _checkClaim(key.claimId, claim);
        _checkRequest(claim, request);
    }

    /// @dev What a proof is checked against, the vocabulary aside, which only answers' pieces need.
    function _context(Claim calldata claim, Request calldata request, Docket memory d, bytes32 traceRoot)
        private
        view
        returns (StepContext memory context, Sizes memory s)
    {
        context.program = _program(d);
        (context.weightsRoot, s) = registry.weightsOf(request.modelId, context.program);
        context.traceRoot = traceRoot;
        context.promptRoot = request.promptRoot;
        context.promptLength = request.promptLength;
        context.outputRoot = claim.outputRoot;
        context.outputLength = claim.outputLength;
        context.params = request.params;
    }

    function _checkBytes(bytes32 expected, bytes calldata data) private pure {
        bytes32 actual = keccak256(data);
        if (actual != expected) revert WrongBytes(expected, actual);
    }

    // Settling

    /// @dev The claim is wrong: half of its bond is lost, the closer is paid out of the other half, gas is repaid as it
    /// was spent, the winner takes the rest. The gas that the submitter spent on this game is its own loss.
    function _win(
        bytes32 id,
        GameKey calldata key,
        Claim calldata claim,
        Game memory g,
        Docket memory d,
        Sizes memory s,
        uint256 closersFee
    ) private {
        // From here on the escrow is lost: `burn` is its only way out.
        d.rejectedAt = uint40(block.timestamp);
        // Somebody has to get what is left of the pot, once the other games are over.
        if (d.openGames != 1) dockets[key.claimId].winner = key.challenger;
        (uint256 pot, uint256 bond) = GameGas.stakes(s, terms());
        uint256 own = bond + g.due * GameState.UNIT + _end(id, key.claimId, g, d, Phase.Won);

        // The oracle is ours: it keeps one half to be burnt, sends the other, and calls nobody else.
        uint256 half = oracle.reject(key.claimId, claim.requestId);
        // INVARIANT: half = B + w and the closer's fee is below w; what B has paid or reserved stays here.
        _credit(key.challenger, own + half - pot - closersFee);
        _credit(msg.sender, closersFee);
    }

    /// @inheritdoc Ledger
    function _takeLost(bytes32 claimId) internal override returns (uint256 amount) {
        Docket memory d;
        GameState.unpackDocket(d, dockets[claimId].word);
        if (d.rejectedAt == 0) return 0;
        amount = d.escrow;
        d.escrow = 0;
        _saveDocket(claimId, d);
    }

    /// @dev The challenger's time is over: its bond pays the closer and the submitter's reveals; the rest waits for the
    /// claim's end, and never feeds a reward.
    function _lose(
        bytes32 id,
        GameKey calldata key,
        address submitter,
        Game memory g,
        Docket memory d,
        uint256 closersFee
    ) private {
        (, uint256 bond) = GameGas.stakes(_sizes(d), terms());
        uint256 left = bond - closersFee;
        uint256 charged = _min(g.charged * GameState.UNIT, left);
        // safe: sums of wei that exist
        d.escrow += uint96(left - charged);
        d.pot += uint96(g.due * GameState.UNIT);
        _end(id, key.claimId, g, d, Phase.Lost);
        _credit(submitter, charged);
        _credit(msg.sender, closersFee);
        emit GameLost(id, key.claimId);
    }

    /// @dev Out of a rejected claim: the bond and what was spent, and the gas of this call as far as the pot goes.
    function _release(
        bytes32 id,
        GameKey calldata key,
        Game memory g,
        Docket memory d,
        Sizes memory s,
        uint256 gas
    ) private {
        (, uint256 bond) = GameGas.stakes(s, terms());
        uint256 own = bond + g.due * GameState.UNIT;
        g.due = 0;
        _repay(g, d, gas);
        uint256 paid = g.due * GameState.UNIT;
        uint256 rest = _end(id, key.claimId, g, d, Phase.Released);
        _credit(key.challenger, own);
        _credit(msg.sender, paid);
        _credit(dockets[key.claimId].winner, rest);
        emit GameReleased(id, key.claimId);
    }

    /// @dev Close the books of a game. The last game out of a rejected claim sets free what is left of the pot.
    function _end(bytes32 id, bytes32 claimId, Game memory g, Docket memory d, Phase phase)
        private
        returns (uint256 rest)
    {
        --d.openGames;
        if (d.rejectedAt != 0 && d.openGames == 0) {
            rest = d.pot;
            d.pot = 0;
        }
        g.phase = phase;
        g.charged = 0;
        StoredGame storage stored = games[id];
        _saveHead(id, g);
        delete stored.word;
        delete stored.announcement;
        _saveDocket(claimId, d);
    }
}
