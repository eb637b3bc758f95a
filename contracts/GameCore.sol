// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Docket, Element, Game, GameKey, IDisputeGame, Phase, Terms} from "./interfaces/IDisputeGame.sol";
import {IGameRules, TensorAt} from "./interfaces/IGameRules.sol";
import {IModelRegistry, Sizes} from "./interfaces/IModelRegistry.sol";
import {Claim, IOpmlOracle, Request} from "./interfaces/IOpmlOracle.sol";
import {IStepVerifier} from "./interfaces/IStepVerifier.sol";
import {GameGas} from "./GameGas.sol";
import {GameState, StoredDocket, StoredGame, Target} from "./GameState.sol";
import {Ids} from "./Ids.sol";
import {Ledger} from "./Ledger.sol";

/// @title What all moves of a game have in common: who may move, the clocks, the charges.
/// @dev The contract owes, and holds: challengers' bonds of open games, the pot and the dues of rejected claims, escrows
/// (those of rejected claims until they are burnt), and what was credited.
abstract contract GameCore is IDisputeGame, Ledger {
    IOpmlOracle public immutable oracle;
    IModelRegistry public immutable registry;
    IStepVerifier public immutable verifier;
    IGameRules public immutable rules;

    uint32 internal immutable WINDOW;
    uint32 internal immutable SUBMITTER_CLOCK;
    uint32 internal immutable CHALLENGER_CLOCK;
    uint8 internal immutable FANOUT;
    uint8 internal immutable CHALLENGERS;
    uint64 internal immutable CEILING;
    uint96 internal immutable INCENTIVE;
    uint96 internal immutable MARGIN;

    /// @dev Keeps every sum of wei in 96 bits and every due in 37 bits of gwei.
    uint64 internal constant MOST_CEILING = 1_000 gwei;
    /// @dev Twelve days.
    uint256 internal constant MOST_CLOCK = (1 << 20) - 1;

    mapping(bytes32 gameId => StoredGame) internal games;
    mapping(bytes32 claimId => StoredDocket) internal dockets;

    constructor(
        IOpmlOracle oracle_,
        IModelRegistry registry_,
        IStepVerifier verifier_,
        IGameRules rules_,
        Terms memory t
    ) {
        if (
            t.fanout == 0 || t.fanout > 8 || t.challengers == 0 || t.ceiling == 0 || t.ceiling > MOST_CEILING
                || t.submitterClock > MOST_CLOCK || t.challengerClock > MOST_CLOCK || t.window == 0
                || t.incentive > 10 ** 24 || t.margin > 10 ** 24
        ) revert BadTerms();
        oracle = oracle_;
        registry = registry_;
        verifier = verifier_;
        rules = rules_;
        WINDOW = t.window;
        SUBMITTER_CLOCK = t.submitterClock;
        CHALLENGER_CLOCK = t.challengerClock;
        FANOUT = t.fanout;
        CHALLENGERS = t.challengers;
        CEILING = t.ceiling;
        INCENTIVE = t.incentive;
        MARGIN = t.margin;
    }

    // Views

    /// @inheritdoc IDisputeGame
    function terms() public view override returns (Terms memory) {
        return Terms(
            WINDOW, SUBMITTER_CLOCK, CHALLENGER_CLOCK, FANOUT, CHALLENGERS, CEILING, INCENTIVE, MARGIN
        );
    }

    /// @inheritdoc IDisputeGame
    function submitterBond(bytes32 modelId, uint256 answerBytes) external view override returns (uint256) {
        (, Sizes memory s) = registry.sizesOf(modelId);
        return GameGas.submitterBond(s, terms(), answerBytes);
    }

    /// @inheritdoc IDisputeGame
    function challengerBond(bytes32 modelId) external view override returns (uint256) {
        (, Sizes memory s) = registry.sizesOf(modelId);
        (, uint256 bond) = GameGas.stakes(s, terms());
        return bond;
    }

    /// @inheritdoc IDisputeGame
    function gameIdOf(GameKey calldata key) public pure override returns (bytes32) {
        return Ids.game(key.claimId, key.challenger, key.salt);
    }

    /// @inheritdoc IDisputeGame
    function game(bytes32 gameId) external view override returns (Game memory g) {
        StoredGame storage s = games[gameId];
        GameState.unpackHead(g, s.head);
        GameState.unpackAnnouncement(g, s.announcement);
        g.word = s.word;
    }

    /// @inheritdoc IDisputeGame
    function docket(bytes32 claimId) external view override returns (Docket memory d) {
        StoredDocket storage s = dockets[claimId];
        GameState.unpackDocket(d, s.word);
        d.winner = s.winner;
    }

    // Entering and leaving a move

    /// @dev The game in the phase that the move belongs to, with its docket; announcement and winner aren't read.
    function _enter(GameKey calldata key, Phase expected)
        internal
        view
        returns (bytes32 id, Game memory g, Docket memory d)
    {
        id = gameIdOf(key);
        GameState.unpackHead(g, games[id].head);
        // INVARIANT: verdict before everything: a decided game or claim admits no move.
        if (g.phase != expected) revert WrongPhase(expected, g.phase);
        GameState.unpackDocket(d, dockets[key.claimId].word);
        if (d.rejectedAt != 0) revert ClaimRejectedAlready(key.claimId);
        g.word = games[id].word;
    }

    /// @dev The submitter's move, whoever posts it.
    function _submitterMoves(Game memory g) internal view {
        g.usedSubmitter = _spend(g.usedSubmitter, g.movedAt, SUBMITTER_CLOCK);
        g.movedAt = uint40(block.timestamp);
    }

    function _challengerMoves(GameKey calldata key, Game memory g) internal view {
        // INVARIANT: nobody moves for a challenger: a wrong pick loses a game.
        if (msg.sender != key.challenger) revert NotTheChallenger(key.challenger, msg.sender);
        g.usedChallenger = _spend(g.usedChallenger, g.movedAt, CHALLENGER_CLOCK);
        g.movedAt = uint40(block.timestamp);
    }

    /// @dev INVARIANT: a move counts iff elapsed ≤ clock, a time-out iff elapsed > clock.
    function _spend(uint256 used, uint256 movedAt, uint256 clock) private view returns (uint24) {
        // Unchecked: `movedAt` is a block's time that is over.
        unchecked {
            used += block.timestamp - movedAt;
        }
        if (used > clock) revert ClockExpired(used, clock);
        // safe: clock ≤ MOST_CLOCK
        return uint24(used);
    }

    // Naming

    function _tensor(Docket memory d, Game memory g) internal view returns (TensorAt memory) {
        return TensorAt(_program(d), g.ordinal, g.position);
    }

    function _program(Docket memory d) internal view returns (address) {
        return Ids.program(address(registry), d.program);
    }

    /// @dev From Element to Totals or Step.
    /// @return gas of it, what the transaction takes aside
    function _name(bytes32 id, Game memory g, Docket memory d, Element calldata named) internal returns (uint256 gas) {
        (uint256 number, uint256 bits, bool dissected, uint256 entries) =
            rules.element(_tensor(d, g), g.height, g.index, g.word, named);
        // safe: an element's number is below 2^31
        g.index = uint32(number);
        if (dissected) {
            g.phase = Phase.Totals;
            g.height = 1;
            g.word = bytes32(bits);
        } else {
            g.phase = Phase.Step;
            g.height = 0;
            g.word = GameState.packTarget(Target(0, 0, uint64(bits), 0, 0));
        }
        emit ElementNamed(id, number, bits);
        return GameGas.NAME + GameGas.INPUT_BYTE * named.data.length + GameGas.SIBLING * named.siblings.length
            + GameGas.ENTRY * entries;
    }

    function _saveHead(bytes32 id, Game memory g) internal {
        games[id].head = GameState.packHead(g);
    }

    function _saveDocket(bytes32 claimId, Docket memory d) internal {
        dockets[claimId].word = GameState.packDocket(d);
    }

    // Charges

    function _price() internal view returns (uint256) {
        return GameGas.price(block.basefee, CEILING);
    }

    /// @dev Gas at today's price, in gwei, rounded up.
    function _units(uint256 gas) internal view returns (uint256) {
        // Unchecked: the gas of one move times at most a ceiling of 2^40 wei.
        unchecked {
            return (gas * _price() + GameState.UNIT - 1) / GameState.UNIT;
        }
    }

    /// @dev A challenger's gas is added to its due as far as the pot goes: first spent, first repaid.
    function _repay(Game memory g, Docket memory d, uint256 gas) internal view {
        // Unchecked: due ≤ MOST_UNITS, units ≤ MOST_UNITS − due and units · UNIT ≤ pot.
        unchecked {
            uint256 units = _min(_units(gas), _min(d.pot / GameState.UNIT, GameState.MOST_UNITS - g.due));
            g.due += uint40(units);
            d.pot -= uint96(units * GameState.UNIT);
        }
    }

    /// @dev The gas of what the submitter's side posts is held against the challenger's bond until the game's end.
    function _charge(Game memory g, uint256 gas) internal view {
        // Unchecked: charged ≤ MOST_UNITS.
        unchecked {
            g.charged += uint40(_min(_units(gas), GameState.MOST_UNITS - g.charged));
        }
    }

    function _min(uint256 a, uint256 b) internal pure returns (uint256) {
        return a < b ? a : b;
    }

    function _sizes(Docket memory d) internal view returns (Sizes memory) {
        return registry.sizes(_program(d));
    }

    // Preimages

    function _checkClaim(bytes32 claimId, Claim calldata claim) internal view {
        bytes32 actual = Ids.claimSent(address(oracle), claim);
        if (actual != claimId) revert WrongClaim(claimId, actual);
    }

    function _checkRequest(Claim calldata claim, Request calldata request) internal view {
        bytes32 actual = Ids.requestSent(address(oracle), request);
        if (actual != claim.requestId) revert WrongRequest(claim.requestId, actual);
    }

    function _checkTraceRoot(Claim calldata claim, bytes32 traceRoot) internal pure {
        bytes32 actual = keccak256(abi.encodePacked(traceRoot, claim.submitter, claim.requestId));
        if (actual != claim.commitment) revert WrongTraceRoot(claim.commitment, actual);
    }
}
