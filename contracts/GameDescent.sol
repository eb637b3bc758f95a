// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Cursor, Docket, Element, Game, GameKey, IDisputeGame, Phase, Stage} from "./interfaces/IDisputeGame.sol";
import {Sizes} from "./interfaces/IModelRegistry.sol";
import {Claim, ClaimStatus, Request} from "./interfaces/IOpmlOracle.sol";
import {GameCore} from "./GameCore.sol";
import {GameGas} from "./GameGas.sol";
import {GameState} from "./GameState.sol";
import {Ids} from "./Ids.sol";
import {Merkle} from "./Merkle.sol";

/// @title From the trace root down to one element, and to one chunk of its fold.
abstract contract GameDescent is GameCore {
    /// @inheritdoc IDisputeGame
    function open(Claim calldata claim, Request calldata request, uint256 salt)
        external
        payable
        override
        returns (bytes32 id)
    {
        GameKey memory key;
        Game memory g;
        Docket memory d;
        Sizes memory s;
        bool first;
        (id, key, d, s, first) = _open(claim, request, salt);

        g.phase = Phase.Reveal;
        // safe: a claim has at most 2^20 positions
        g.leaves = uint24(_positions(claim, request));
        g.height = uint8(Merkle.clog2(g.leaves));
        _start(id, key, g, d, bytes32(0), _openGas(first));
    }

    /// @inheritdoc IDisputeGame
    function openAt(
        Claim calldata claim,
        Request calldata request,
        uint256 salt,
        bytes32 traceRoot,
        Cursor calldata cursor,
        bytes32 node,
        bytes32[] calldata siblings
    ) external payable override returns (bytes32 id) {
        GameKey memory key;
        Game memory g;
        Docket memory d;
        Sizes memory s;
        bool first;
        (id, key, d, s, first) = _open(claim, request, salt);
        _checkTraceRoot(claim, traceRoot);

        (bytes32 root, uint256 leaves, bool whole) =
            rules.rootAbove(_program(d), s, d.promptLength, _positions(claim, request), cursor, node, siblings);
        if (root != traceRoot) revert WrongNode(traceRoot, root);
        g.stage = cursor.stage;
        g.height = cursor.height;
        g.index = cursor.index;
        // safe: positions and ordinals that exist are below 2^20, leaves below 2^23
        g.leaves = uint24(leaves);
        if (cursor.stage != Stage.Trace) g.position = uint24(cursor.position);
        if (cursor.stage == Stage.Tensor) g.ordinal = uint24(cursor.ordinal);
        g.word = node;
        g.phase = whole ? Phase.Leaf : Phase.Reveal;
        uint256 gas = _openGas(first) + GameGas.OPEN_AT + GameGas.SIBLING * siblings.length
            + GameGas.ENTRY * s.entries;
        if (g.height == 0) gas += _descend(g, d);
        _start(id, key, g, d, traceRoot, gas);
    }

    /// @inheritdoc IDisputeGame
    function revealRoot(GameKey calldata key, Claim calldata claim, bytes32 traceRoot, bytes32[] calldata children)
        external
        override
    {
        (bytes32 id, Game memory g,) = _enter(key, Phase.Reveal);
        if (g.word != bytes32(0)) revert RootKnown();
        _checkClaim(key.claimId, claim);
        _checkTraceRoot(claim, traceRoot);

        g.word = traceRoot;
        games[id].word = traceRoot;
        emit RootRevealed(id, traceRoot);
        _reveal(id, g, children, GameGas.REVEAL_ROOT);
    }

    /// @inheritdoc IDisputeGame
    function reveal(GameKey calldata key, bytes32[] calldata children) external override {
        (bytes32 id, Game memory g,) = _enter(key, Phase.Reveal);
        if (g.word == bytes32(0)) revert RootUnknown();
        _reveal(id, g, children, GameGas.REVEAL);
    }

    /// @inheritdoc IDisputeGame
    function pick(GameKey calldata key, uint256 i, bytes32 child, bytes32[] calldata siblings) external override {
        (bytes32 id, Game memory g, Docket memory d) = _enter(key, Phase.Pick);
        _challengerMoves(key, g);
        uint256 span = _span(g);
        if (i >> span != 0) revert NoSuchChild(i, 1 << span);
        if (siblings.length != span) revert WrongSiblingCount(span, siblings.length);
        bytes32 root = Merkle.root(_nodeTag(g.stage), child, i, siblings);
        if (root != g.word) revert WrongNode(g.word, root);

        g.index = uint32(uint256(g.index) << span | i);
        g.height -= uint8(span);
        // INVARIANT: a reveal has shown that padding is right, so that nobody can be asked to open it.
        uint256 first = uint256(g.index) << g.height;
        if (first >= g.leaves) revert Padding(first, g.leaves);
        g.word = child;
        g.phase = Phase.Reveal;
        uint256 gas = GameGas.PICK;
        if (g.height == 0) gas += _descend(g, d);
        _repay(g, d, gas);

        games[id].word = child;
        _saveHead(id, g);
        _saveDocket(key.claimId, d);
        emit Picked(id, i, child);
    }

    /// @inheritdoc IDisputeGame
    function leaf(GameKey calldata key, bytes calldata data) external override {
        (bytes32 id, Game memory g, Docket memory d) = _enter(key, Phase.Leaf);
        _submitterMoves(g);
        uint256 entries = rules.leaf(_tensor(d, g), g.height, g.index, g.word, data);

        g.phase = Phase.Element;
        _charge(g, GameGas.leaf(data.length, entries));
        _saveHead(id, g);
        emit LeafRevealed(id, data);
    }

    /// @inheritdoc IDisputeGame
    function element(GameKey calldata key, Element calldata named) external override {
        (bytes32 id, Game memory g, Docket memory d) = _enter(key, Phase.Element);
        _challengerMoves(key, g);
        uint256 gas = _name(id, g, d, named);
        _repay(g, d, GameGas.ELEMENT + gas);

        games[id].word = g.word;
        _saveHead(id, g);
        _saveDocket(key.claimId, d);
    }

    /// @inheritdoc IDisputeGame
    function totals(GameKey calldata key, Claim calldata claim, bytes calldata states) external override {
        (bytes32 id, Game memory g, Docket memory d) = _enter(key, Phase.Totals);
        _submitterMoves(g);
        _checkClaim(key.claimId, claim);
        // INVARIANT: totals are not committed, so only the submitter's side can be held to them.
        if (msg.sender != claim.submitter && (msg.sender != claim.operator || claim.operator == address(0))) {
            revert NotTheSubmitter(claim.submitter, claim.operator, msg.sender);
        }
        (uint256 expected, uint256 entries) = rules.statesBytes(_tensor(d, g), g.height, g.word);
        if (states.length != expected) revert WrongStatesLength(expected, states.length);

        g.phase = Phase.TotalPick;
        games[id].word = keccak256(abi.encodePacked(g.word, states));
        _charge(g, GameGas.states(GameGas.TOTALS, states.length, entries));
        _saveHead(id, g);
        emit TotalsPosted(id, g.height, states);
    }

    /// @inheritdoc IDisputeGame
    function pickTotal(GameKey calldata key, uint256 j, bytes32 before, bytes calldata states) external override {
        (bytes32 id, Game memory g, Docket memory d) = _enter(key, Phase.TotalPick);
        _challengerMoves(key, g);
        bytes32 hash = keccak256(abi.encodePacked(before, states));
        if (hash != g.word) revert WrongStates(g.word, hash);
        uint256 round = g.height;
        (bytes32 next, uint256 mode, bool again, uint256 entries) =
            rules.chunk(_tensor(d, g), round, before, j, states);
        g.word = next;
        g.phase = again ? Phase.Totals : Phase.Step;
        g.height = again ? 2 : uint8(mode);
        _repay(g, d, GameGas.states(GameGas.PICK_TOTAL, states.length, entries));

        games[id].word = g.word;
        _saveHead(id, g);
        _saveDocket(key.claimId, d);
        emit TotalPicked(id, round, j);
    }

    // Opening

    /// @dev Everything that the two ways to open share; effects follow in `_start`.
    function _open(Claim calldata claim, Request calldata request, uint256 salt)
        private
        view
        returns (bytes32 id, GameKey memory key, Docket memory d, Sizes memory s, bool first)
    {
        key = GameKey(Ids.claimSent(address(oracle), claim), msg.sender, salt);
        // INVARIANT: a game opens iff now < window end, so that a claim is decided by window + both clocks.
        uint256 end = uint256(claim.postedAt) + WINDOW;
        if (block.timestamp >= end) revert WindowClosed(end, block.timestamp);
        _checkRequest(claim, request);

        uint256 known = dockets[key.claimId].word;
        first = known == 0;
        if (first) {
            if (oracle.claimState(key.claimId).status != ClaimStatus.Pending) revert UnknownClaim(key.claimId);
            (, s) = registry.sizesOf(request.modelId);
            d.program = s.number;
            // safe: at most a program's limit
            d.promptLength = uint24(request.promptLength);
        } else {
            GameState.unpackDocket(d, known);
            if (d.rejectedAt != 0) revert ClaimRejectedAlready(key.claimId);
            s = _sizes(d);
        }

        id = Ids.game(key.claimId, key.challenger, key.salt);
        if (games[id].head != 0) revert GameExists(id);
        (uint256 pot, uint256 bond) = GameGas.stakes(s, terms());
        if (first) d.pot = uint96(pot);
        if (msg.value != bond) revert WrongValue(bond, msg.value);
    }

    function _openGas(bool first) private pure returns (uint256) {
        return first ? GameGas.OPEN + GameGas.DOCKET : GameGas.OPEN;
    }

    function _start(
        bytes32 id,
        GameKey memory key,
        Game memory g,
        Docket memory d,
        bytes32 traceRoot,
        uint256 gas
    ) private {
        g.movedAt = uint40(block.timestamp);
        ++d.openGames;
        _repay(g, d, gas);

        _saveHead(id, g);
        if (g.word != bytes32(0)) games[id].word = g.word;
        _saveDocket(key.claimId, d);
        emit Opened(
            id,
            key.claimId,
            key.challenger,
            key.salt,
            traceRoot,
            Cursor(g.stage, g.height, g.index, g.position, g.ordinal),
            g.word
        );
    }

    // Descending

    function _reveal(bytes32 id, Game memory g, bytes32[] calldata children, uint256 gas) private {
        _submitterMoves(g);
        uint256 count = 1 << _span(g);
        if (children.length != count) revert WrongChildCount(count, children.length);
        uint256 tag = _nodeTag(g.stage);
        bytes32 root = Merkle.fold(tag, children);
        if (root != g.word) revert WrongNode(g.word, root);
        _checkPadding(g, tag, children);

        g.phase = Phase.Pick;
        _charge(g, GameGas.children(gas, count));
        _saveHead(id, g);
        emit Revealed(id, children);
    }

    /// @dev INVARIANT: the right root is unique, so a node below which no leaf is has one value only.
    function _checkPadding(Game memory g, uint256 tag, bytes32[] calldata children) private view {
        uint256 height = g.height - _span(g);
        uint256 before = uint256(g.index) * children.length;
        // the number of children that hold a leaf
        uint256 held = (uint256(g.leaves) + (1 << height) - 1) >> height;
        held = held > before ? held - before : 0;
        if (held >= children.length) return;
        bytes32 expected = Merkle.empty(tag, height);
        uint256 i = held;
        assembly ("memory-safe") {
            // The first child from `held` on that differs, or the number of children.
            let ptr := add(children.offset, shl(5, i))
            for {} lt(i, children.length) { i := add(i, 1) } {
                if iszero(eq(calldataload(ptr), expected)) { break }
                ptr := add(ptr, 0x20)
            }
        }
        if (i < children.length) revert NotPadding(i, expected, children[i]);
    }

    /// @dev Enter the next tree from the last one's leaf; a tree of one leaf is passed at once, and so is that of a small tensor.
    /// @return gas that this adds to the move
    function _descend(Game memory g, Docket memory d) private view returns (uint256 gas) {
        if (g.stage == Stage.Trace) {
            gas = GameGas.CROSS;
            Sizes memory s = _sizes(d);
            g.position = uint24(g.index);
            g.stage = Stage.Position;
            g.index = 0;
            g.height = uint8(Merkle.clog2(s.committed));
            g.leaves = uint24(_slots(d, s, g.position));
            // A position without a slot is not passed: its reveal has to show that nothing is there.
            if (g.height != 0 || g.leaves == 0) return gas;
        }
        if (g.stage == Stage.Position) {
            g.ordinal = uint24(g.index);
            g.stage = Stage.Tensor;
            g.index = 0;
            (uint256 depth, uint256 leaves, bool whole, uint256 entries) =
                rules.tree(_tensor(d, g));
            g.height = uint8(depth);
            g.leaves = uint24(leaves);
            gas += GameGas.CROSS + GameGas.ENTRY * entries;
            if (!whole && depth != 0) return gas;
        }
        g.phase = Phase.Leaf;
    }

    /// @dev Levels that the next reveal goes down: as few reveals as the fan-out admits, and these as even as can be.
    function _span(Game memory g) private view returns (uint256) {
        // Unchecked: a height is below 32, a fan-out 1 … 8.
        unchecked {
            uint256 height = g.height;
            uint256 reveals = (height + FANOUT - 1) / FANOUT;
            return reveals < 2 ? height : (height + reveals - 1) / reveals;
        }
    }

    function _nodeTag(Stage stage) private pure returns (uint256) {
        if (stage == Stage.Trace) return Merkle.NODE_TRACE;
        return stage == Stage.Position ? Merkle.NODE_POSITION : Merkle.NODE_TENSOR;
    }

    /// @dev Positions that are computed: the last token is nobody's input.
    function _positions(Claim calldata claim, Request calldata request) private pure returns (uint256) {
        return uint256(request.promptLength) + claim.outputLength - 1;
    }

    /// @dev Slots that a position has: those that yield come last and need t ≥ prompt − 1.
    function _slots(Docket memory d, Sizes memory s, uint256 position) private pure returns (uint256) {
        return position + 1 >= d.promptLength ? s.committed : s.always;
    }
}
