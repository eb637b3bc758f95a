// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Claim, Request} from "./IOpmlOracle.sol";

/// Parameters of a deployment.
/// @param window seconds in which a claim can be challenged
/// @param submitterClock, challengerClock seconds a side may use in one game
/// @param fanout most levels that one reveal goes down: 2^fanout children
/// @param challengers challengers whose gas the submitter's bond can repay
/// @param ceiling base fee in wei up to which nobody honest loses
/// @param incentive wei that a winner gets beyond its gas
/// @param margin wei that a groundless game costs beyond its gas
struct Terms {
    uint32 window;
    uint32 submitterClock;
    uint32 challengerClock;
    uint8 fanout;
    uint8 challengers;
    uint64 ceiling;
    uint96 incentive;
    uint96 margin;
}

/// A game, by content: `gameId = keccak256(abi.encode(keccak256("opml.game.1"), claimId, challenger, salt))`.
struct GameKey {
    bytes32 claimId;
    address challenger;
    uint256 salt;
}

/// Phases of docs/spec.md, The game. `Released`: over because another game had rejected the claim.
enum Phase {
    None,
    Reveal,
    Pick,
    Leaf,
    Element,
    Totals,
    TotalPick,
    Step,
    Won,
    Lost,
    Released
}

/// The tree that the descent is in.
enum Stage {
    Trace,
    Position,
    Tensor
}

/// How a game was decided.
enum Reason {
    Step,
    Token,
    Piece,
    Timeout
}

/// Where in the trace a game is.
/// @param height above that tree's leaves
/// @param index number of the node on its level
/// @param position the token position, once known
/// @param ordinal number of the committed slot, once known
struct Cursor {
    Stage stage;
    uint8 height;
    uint32 index;
    uint32 position;
    uint32 ordinal;
}

/// An element of what was opened, and the proof that it is there.
/// @param i its number among the elements that were opened
/// @param data the leaf that holds it
/// @param siblings from that leaf to the node in hand, lowest first; none where one leaf was opened
struct Element {
    uint256 i;
    bytes data;
    bytes32[] siblings;
}

/// A game's whole state.
/// @param height above the leaves; in Totals and TotalPick the round (1, 2), in Step the mode (0 whole, 1 chunk, 2 finish)
/// @param index of the node on its level; from Totals on the flat number of the element
/// @param leaves leaves of the tree in hand that are not padding
/// @param usedSubmitter, usedChallenger seconds used in earlier moves
/// @param movedAt when the side to move came to move
/// @param due gas to be repaid to the challenger on fraud, in gwei
/// @param charged gas of reveals to be paid to the submitter when the game is lost, in gwei
/// @param word the node (0: not known yet); in Totals what the states are held against; in TotalPick its hash with the
///     states; in Step the packed target (docs/spec.md, Phases)
/// @param announcedAt block of the announcement, 0 for none
/// @param announcement highest 120 bits of `keccak256(calldata ‖ sender)`
struct Game {
    Phase phase;
    Stage stage;
    uint8 height;
    uint32 index;
    uint24 leaves;
    uint24 position;
    uint24 ordinal;
    uint24 usedSubmitter;
    uint24 usedChallenger;
    uint40 movedAt;
    uint40 due;
    uint40 charged;
    bytes32 word;
    uint40 announcedAt;
    uint120 announcement;
}

/// What all games against one claim share.
/// @param program the number of the model's program (`Sizes.number`)
/// @param pot wei left to repay challengers' gas, first spent first repaid
/// @param escrow wei of lost bonds that wait for the claim's end
/// @param openGames games not decided yet
/// @param rejectedAt when the claim was rejected, 0 for not
/// @param winner who gets what is left of the pot after rejection
struct Docket {
    uint32 program;
    uint24 promptLength;
    uint96 pot;
    uint96 escrow;
    uint24 openGames;
    uint40 rejectedAt;
    address winner;
}

/// Challenges, reveals, clocks, verdicts (docs/spec.md, The game).
interface IDisputeGame {
    /// @param traceRoot 0 where the first reveal still has to give it
    event Opened(
        bytes32 indexed gameId,
        bytes32 indexed claimId,
        address indexed challenger,
        uint256 salt,
        bytes32 traceRoot,
        Cursor cursor,
        bytes32 node
    );
    event RootRevealed(bytes32 indexed gameId, bytes32 traceRoot);
    event Revealed(bytes32 indexed gameId, bytes32[] children);
    event Picked(bytes32 indexed gameId, uint256 i, bytes32 child);
    event LeafRevealed(bytes32 indexed gameId, bytes data);
    /// @param element flat number in the tensor
    /// @param bits its stored bits, zero-extended
    event ElementNamed(bytes32 indexed gameId, uint256 element, uint256 bits);
    event TotalsPosted(bytes32 indexed gameId, uint256 round, bytes states);
    event TotalPicked(bytes32 indexed gameId, uint256 round, uint256 j);
    event Announced(bytes32 indexed gameId, bytes32 digest);
    /// @param computed what the contract computed (step), or 0
    /// @param claimed what had been claimed (step), or 0
    event GameWon(bytes32 indexed gameId, bytes32 indexed claimId, Reason reason, uint256 computed, uint256 claimed);
    event GameLost(bytes32 indexed gameId, bytes32 indexed claimId);
    /// A game against a claim that another game had rejected is over.
    event GameReleased(bytes32 indexed gameId, bytes32 indexed claimId);

    error BadTerms();
    error NotTheOracle(address caller);
    error WrongValue(uint256 expected, uint256 actual);
    error WrongClaim(bytes32 expected, bytes32 actual);
    error WrongRequest(bytes32 expected, bytes32 actual);
    error UnknownClaim(bytes32 claimId);
    error WindowClosed(uint256 end, uint256 nowAt);
    error GameExists(bytes32 gameId);
    error ClaimRejectedAlready(bytes32 claimId);
    error ClaimNotRejected(bytes32 claimId);
    error NotReleasable(uint256 from, uint256 nowAt);
    error GamesOpen(uint256 openGames);
    error WrongPhase(Phase expected, Phase actual);
    error GameOver(Phase phase);
    error ClockExpired(uint256 used, uint256 clock);
    error ClockRunning(uint256 used, uint256 clock);
    error NotTheChallenger(address expected, address actual);
    error NotTheSubmitter(address submitter, address operator, address actual);
    error RootUnknown();
    error RootKnown();
    error WrongTraceRoot(bytes32 expected, bytes32 actual);
    error WrongChildCount(uint256 expected, uint256 actual);
    error WrongNode(bytes32 expected, bytes32 actual);
    error NotPadding(uint256 child, bytes32 expected, bytes32 actual);
    error Padding(uint256 leaf, uint256 leaves);
    error NoSuchChild(uint256 i, uint256 count);
    error NoSuchNode(uint256 index, uint256 height, uint256 depth);
    error WrongSiblingCount(uint256 expected, uint256 actual);
    error WrongLeafLength(uint256 expected, uint256 actual);
    error NoSuchElement(uint256 i, uint256 count);
    error WrongStatesLength(uint256 expected, uint256 actual);
    error WrongStates(bytes32 expected, bytes32 actual);
    error NoSuchTotal(uint256 j, uint256 count);
    error WrongBytes(bytes32 expected, bytes32 actual);
    error NotAnnounced(uint120 expected, uint120 actual);
    error AnnouncedInThisBlock(uint256 number);
    error NotFraud(uint256 computed);

    /// Challenge a claim from the top. The value must be the model's bond for challengers.
    function open(Claim calldata claim, Request calldata request, uint256 salt) external payable returns (bytes32 gameId);

    /// Challenge a claim from any node under its trace root that can be proven: the siblings from the node upwards, through all
    /// trees up to the trace root, lowest first.
    function openAt(
        Claim calldata claim,
        Request calldata request,
        uint256 salt,
        bytes32 traceRoot,
        Cursor calldata cursor,
        bytes32 node,
        bytes32[] calldata siblings
    ) external payable returns (bytes32 gameId);

    /// The first reveal of a game: the trace root and its children. Anybody may post it.
    function revealRoot(GameKey calldata key, Claim calldata claim, bytes32 traceRoot, bytes32[] calldata children)
        external;

    /// The nodes `⌈height / ⌈height / fanout⌉⌉` levels below the node. Anybody may post them.
    function reveal(GameKey calldata key, bytes32[] calldata children) external;

    /// Go on at child i of the node, which is not padding, proven by its siblings below the node.
    function pick(GameKey calldata key, uint256 i, bytes32 child, bytes32[] calldata siblings) external;

    /// The elements below the node: a leaf, or a whole tensor of at most 4,096 bytes. Anybody may post them.
    function leaf(GameKey calldata key, bytes calldata data) external;

    /// Say which element is wrong, of those that were opened.
    function element(GameKey calldata key, Element calldata named) external;

    /// The states of the element's fold, big-endian. From the submitter or the operator.
    function totals(GameKey calldata key, Claim calldata claim, bytes calldata states) external;

    /// Say that chunk j is wrong; in round 1, j = number of states: that the finish is.
    /// @param before the game's `word` at the time when the states were posted
    function pickTotal(GameKey calldata key, uint256 j, bytes32 before, bytes calldata states) external;

    /// Announce a step or a direct proof: `keccak256(calldata ‖ sender)` of the call to come in a later block.
    function announce(GameKey calldata key, bytes32 digest) external;

    /// Prove that the element or state is not what the machine computes.
    /// @param named in phase Element the element, whose fold has to fit one step; in phase Step nothing is read of it
    function step(
        GameKey calldata key,
        Claim calldata claim,
        Request calldata request,
        bytes32 traceRoot,
        Element calldata named,
        bytes calldata witness
    ) external;

    /// Prove, at any time of the game, that output token j is not the committed sample.
    function tokenProof(
        GameKey calldata key,
        Claim calldata claim,
        Request calldata request,
        bytes32 traceRoot,
        uint32 j,
        bytes calldata witness
    ) external;

    /// Prove, at any time of the game, that the answer's bytes of output token j are not its piece of the vocabulary.
    function pieceProof(
        GameKey calldata key,
        Claim calldata claim,
        Request calldata request,
        uint32 j,
        bytes calldata answer,
        bytes calldata lengths,
        bytes calldata witness
    ) external;

    /// Decide a game whose side to move has used up its clock. Anybody may, and is paid.
    function timeout(GameKey calldata key, Claim calldata claim) external;

    /// Take bond and due out of a game against a claim that another game has rejected; after the challenger's clock anybody may.
    function release(GameKey calldata key) external;

    /// Called by the oracle when a claim becomes final: pays out the escrow. Reverts while a game is open.
    function settle(bytes32 claimId, address submitter) external;

    /// Wei that a claim for the model takes whose answer and lengths have so many bytes together.
    function submitterBond(bytes32 modelId, uint256 answerBytes) external view returns (uint256);

    /// Wei that a game against a claim for the model takes.
    function challengerBond(bytes32 modelId) external view returns (uint256);

    function terms() external view returns (Terms memory);
    function gameIdOf(GameKey calldata key) external view returns (bytes32);
    function game(bytes32 gameId) external view returns (Game memory);
    function docket(bytes32 claimId) external view returns (Docket memory);
}
