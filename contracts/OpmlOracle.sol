// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IDisputeGame, Terms} from "./interfaces/IDisputeGame.sol";
import {IGameRules} from "./interfaces/IGameRules.sol";
import {IModelRegistry, Model} from "./interfaces/IModelRegistry.sol";
import {
    Claim,
    ClaimState,
    ClaimStatus,
    DeliveryStatus,
    IOpmlConsumer,
    IOpmlOracle,
    Order,
    Request,
    RequestState,
    RequestStatus
} from "./interfaces/IOpmlOracle.sol";
import {IStepVerifier} from "./interfaces/IStepVerifier.sol";
import {DisputeGame} from "./DisputeGame.sol";
import {GameGas} from "./GameGas.sol";
import {Ids} from "./Ids.sol";
import {Ledger} from "./Ledger.sol";
import {Tokens} from "./Tokens.sol";

/// @title Requests, claims, bonds, fees, finality, callbacks.
/// @notice Nobody owns it and nothing in it can be changed.
/// @dev It owes, and holds: the value of open requests, deposits and fees not paid yet, the bonds of pending claims, what
/// rejected ones have lost until it is burnt, and what was credited.
contract OpmlOracle is IOpmlOracle, Ledger {
    /// @dev Leaves room in a transaction (EIP-7825) for the answer's calldata.
    uint256 public constant MOST_CALLBACK_GAS = 10_000_000;
    /// @dev Flat gas of finality, of a delivery without the callback, and of the answer's bytes that a token may bring
    /// along into the deposit; equal to the measured gas (a test holds them to it).
    uint256 internal constant FINALISE = 175_000;
    uint256 internal constant DELIVER = 90_000;
    uint256 internal constant TOKEN_BYTES = 16;
    /// @dev What `deliver` still needs beside the callback, once it is called.
    uint256 internal constant CALL_RESERVE = 60_000;

    /// @dev Answer and lengths have to fit in a transaction beside the rest of a `pieceProof`.
    uint256 public constant MOST_ANSWER_BYTES = 80_000;

    IModelRegistry public immutable registry;
    IDisputeGame public immutable game;
    uint256 internal immutable WINDOW;
    uint256 internal immutable CEILING;

    mapping(bytes32 requestId => RequestState) internal requests;
    mapping(bytes32 claimId => ClaimState) internal claims;

    constructor(IModelRegistry registry_, IStepVerifier verifier_, IGameRules rules_, Terms memory terms_) {
        registry = registry_;
        WINDOW = terms_.window;
        CEILING = terms_.ceiling;
        game = new DisputeGame(this, registry_, verifier_, rules_, terms_);
    }

    // Asking

    /// @inheritdoc IOpmlOracle
    function request(Order calldata order, bytes calldata prompt)
        external
        payable
        override
        returns (bytes32 requestId)
    {
        uint256 cost = price(order);
        if (msg.value != cost) revert WrongValue(cost, msg.value);
        if (block.timestamp > order.deadline) revert DeadlinePassed(order.deadline, block.timestamp);
        uint256 most = order.callback == address(0) ? 0 : MOST_CALLBACK_GAS;
        if (order.callbackGas > most) revert CallbackGas(order.callbackGas, most);
        Model memory model = registry.model(order.modelId);
        uint256 length = _checkTokens(prompt, model.vocabularySize);
        uint256 limit = registry.sizes(model.program).limit;
        // INVARIANT: prompt and output together need at most `limit` positions: the last token is nobody's input.
        if (order.maxOutput == 0 || length + order.maxOutput - 1 > limit) {
            revert OutputLimit(length, order.maxOutput, limit);
        }
        Request memory r = Request({
            requester: msg.sender,
            nonce: order.nonce,
            modelId: order.modelId,
            promptRoot: Tokens.root(prompt),
            promptLength: uint32(length),
            params: order.params,
            maxOutput: order.maxOutput,
            deadline: order.deadline,
            callback: order.callback,
            callbackGas: order.callbackGas,
            fee: order.fee
        });
        requestId = Ids.request(address(this), r);
        RequestState storage state = requests[requestId];
        if (state.status != RequestStatus.Unknown) revert RequestExists(requestId);

        state.status = RequestStatus.Open;
        emit Requested(requestId, order.modelId, r, prompt);
    }

    /// @inheritdoc IOpmlOracle
    function price(Order calldata order) public view override returns (uint256) {
        return order.fee + _finaliseDeposit() + _deliverDeposit(order.callback, order.callbackGas, order.maxOutput);
    }

    /// @inheritdoc IOpmlOracle
    function refund(Request calldata r) external override {
        (bytes32 requestId, RequestState storage state) = _open(r);
        // INVARIANT: refunded iff the deadline has passed, it is unanswered and no claim is pending.
        if (block.timestamp <= r.deadline) revert DeadlineNotPassed(r.deadline, block.timestamp);
        if (state.pending != 0) revert ClaimsPending(state.pending);

        state.status = RequestStatus.Refunded;
        uint256 amount = r.fee + _finaliseDeposit() + _deliverDeposit(r.callback, r.callbackGas, r.maxOutput);
        _credit(r.requester, amount);
        emit Refunded(requestId, amount);
    }

    // Answering

    /// @inheritdoc IOpmlOracle
    function submit(
        Request calldata r,
        address operator,
        bytes32 commitment,
        bytes calldata output,
        bytes calldata answer,
        bytes calldata lengths
    ) external payable override returns (bytes32 claimId) {
        (bytes32 requestId, RequestState storage state) = _open(r);
        if (block.timestamp > r.deadline) revert DeadlinePassed(r.deadline, block.timestamp);
        if (answer.length + lengths.length > MOST_ANSWER_BYTES) {
            revert AnswerTooLong(answer.length + lengths.length, MOST_ANSWER_BYTES);
        }
        uint256 bond = game.submitterBond(r.modelId, answer.length + lengths.length);
        if (msg.value != bond) revert WrongValue(bond, msg.value);
        uint256 length = _checkOutput(r, output);
        _checkLengths(length, answer, lengths);

        Claim memory c = Claim({
            requestId: requestId,
            submitter: msg.sender,
            operator: operator,
            commitment: commitment,
            outputRoot: Tokens.root(output),
            outputLength: uint32(length),
            answerHash: keccak256(answer),
            lengthsHash: keccak256(lengths),
            postedAt: uint64(block.timestamp)
        });
        claimId = Ids.claim(address(this), c);
        if (claims[claimId].status != ClaimStatus.Unknown) revert ClaimExists(claimId);

        claims[claimId] = ClaimState(ClaimStatus.Pending, state.claims, uint128(bond));
        ++state.claims;
        ++state.pending;
        emit Claimed(claimId, requestId, c, output, answer, lengths);
    }

    /// @inheritdoc IOpmlOracle
    function finalise(Request calldata r, Claim calldata c) external override {
        bytes32 claimId = Ids.claimSent(address(this), c);
        ClaimState storage claim = claims[claimId];
        if (claim.status != ClaimStatus.Pending) revert ClaimNot(ClaimStatus.Pending, claim.status);
        bytes32 requestId = _checkRequest(r, c);
        uint256 end = c.postedAt + WINDOW;
        if (block.timestamp < end) revert WindowOpen(end, block.timestamp);

        RequestState storage state = requests[requestId];
        claim.status = ClaimStatus.Final;
        --state.pending;
        _credit(c.submitter, claim.bond);
        emit ClaimFinal(claimId, requestId);
        if (state.status == RequestStatus.Open) _answer(state, requestId, claimId, r, c);
        if (!state.feePaid && claim.number == state.feeCursor) _moveFee(state, claim, requestId, claimId, r, c);

        // The game is ours. INVARIANT: it reverts while a game against the claim is open.
        game.settle(claimId, c.submitter);
    }

    /// @inheritdoc IOpmlOracle
    function deliver(Request calldata r, bytes calldata answer) external override {
        bytes32 requestId = Ids.requestSent(address(this), r);
        RequestState storage state = requests[requestId];
        if (state.status != RequestStatus.Answered) revert RequestNot(RequestStatus.Answered, state.status);
        if (r.callback == address(0)) revert NoCallback(requestId);
        if (state.delivery == DeliveryStatus.Delivered) revert AlreadyDelivered(requestId);
        bytes32 hash = keccak256(answer);
        if (hash != state.answerHash) revert WrongAnswer(state.answerHash, hash);

        if (state.delivery == DeliveryStatus.None) {
            uint256 deposit = _deliverDeposit(r.callback, r.callbackGas, r.maxOutput);
            uint256 pay = (DELIVER + r.callbackGas + GameGas.BYTE * answer.length) * _price();
            if (pay > deposit) pay = deposit;
            _credit(msg.sender, pay);
            _credit(r.requester, deposit - pay);
        }
        // INVARIANT: a callback that is running cannot be started again.
        state.delivery = DeliveryStatus.Delivered;

        if (_callback(r, requestId, answer)) {
            emit Delivered(requestId);
        } else {
            state.delivery = DeliveryStatus.Failed;
            emit CallbackFailed(requestId);
        }
    }

    /// @inheritdoc IOpmlOracle
    function collectFee(Request calldata r, Claim[] calldata next) external override {
        bytes32 requestId = Ids.requestSent(address(this), r);
        RequestState storage state = requests[requestId];
        if (state.status != RequestStatus.Answered) revert RequestNot(RequestStatus.Answered, state.status);
        if (state.feePaid) revert FeeSettled(requestId);
        for (uint256 i; i < next.length && !state.feePaid; ++i) {
            bytes32 claimId = Ids.claimSent(address(this), next[i]);
            ClaimState storage claim = claims[claimId];
            if (next[i].requestId != requestId) revert WrongRequest(requestId, next[i].requestId);
            if (claim.status == ClaimStatus.Unknown) revert ClaimNot(ClaimStatus.Pending, ClaimStatus.Unknown);
            if (claim.number != state.feeCursor) revert WrongClaimNumber(state.feeCursor, claim.number);
            // INVARIANT: the fee waits for an earlier claim that is still pending.
            if (claim.status == ClaimStatus.Pending) return;
            _moveFee(state, claim, requestId, claimId, r, next[i]);
        }
    }

    // Verdicts

    /// @inheritdoc IOpmlOracle
    function reject(bytes32 claimId, bytes32 requestId) external override returns (uint256 half) {
        if (msg.sender != address(game)) revert NotTheGame(msg.sender);
        ClaimState storage claim = claims[claimId];
        if (claim.status != ClaimStatus.Pending) revert ClaimNot(ClaimStatus.Pending, claim.status);

        claim.status = ClaimStatus.Rejected;
        --requests[requestId].pending;
        half = claim.bond / 2;
        // INVARIANT: half of the bond is lost before anything else is paid out of it: what stays is burnt by `burn`.
        claim.bond -= uint128(half);
        emit ClaimRejected(claimId, requestId);

        (bool sent,) = msg.sender.call{value: half}("");
        if (!sent) revert TransferFailed(msg.sender, half);
    }

    /// @inheritdoc Ledger
    function _takeLost(bytes32 claimId) internal override returns (uint256 amount) {
        ClaimState storage claim = claims[claimId];
        if (claim.status != ClaimStatus.Rejected) return 0;
        amount = claim.bond;
        claim.bond = 0;
    }

    // Views

    /// @inheritdoc IOpmlOracle
    function requestIdOf(Request calldata r) external view override returns (bytes32) {
        return Ids.request(address(this), r);
    }

    /// @inheritdoc IOpmlOracle
    function claimIdOf(Claim calldata c) external view override returns (bytes32) {
        return Ids.claim(address(this), c);
    }

    /// @inheritdoc IOpmlOracle
    function requestState(bytes32 requestId) external view override returns (RequestState memory) {
        return requests[requestId];
    }

    /// @inheritdoc IOpmlOracle
    function claimState(bytes32 claimId) external view override returns (ClaimState memory) {
        return claims[claimId];
    }

    /// @inheritdoc IOpmlOracle
    function answerOf(bytes32 requestId)
        external
        view
        override
        returns (bool answered, bytes32 answerHash, bytes32 outputRoot)
    {
        RequestState storage state = requests[requestId];
        return (state.status == RequestStatus.Answered, state.answerHash, state.outputRoot);
    }

    // Checks

    function _open(Request calldata r) private view returns (bytes32 requestId, RequestState storage state) {
        requestId = Ids.requestSent(address(this), r);
        state = requests[requestId];
        if (state.status != RequestStatus.Open) revert RequestNot(RequestStatus.Open, state.status);
    }

    function _checkRequest(Request calldata r, Claim calldata c) private view returns (bytes32 requestId) {
        requestId = Ids.requestSent(address(this), r);
        if (requestId != c.requestId) revert WrongRequest(c.requestId, requestId);
    }

    /// @return count tokens of the list, at least one, all of the vocabulary
    function _checkTokens(bytes calldata list, uint256 vocabularySize) private pure returns (uint256 count) {
        if (list.length == 0 || list.length % 4 != 0) revert WrongTokens(list.length);
        count = list.length / 4;
        for (uint256 i; i < count; ++i) {
            uint256 token = Tokens.get(list, i);
            if (token >= vocabularySize) revert TokenOutOfVocabulary(i, token, vocabularySize);
        }
    }

    /// @dev An output ends with an end token or at the request's limit, and nowhere before.
    function _checkOutput(Request calldata r, bytes calldata output) private view returns (uint256 count) {
        Model memory model = registry.model(r.modelId);
        count = _checkTokens(output, model.vocabularySize);
        if (count > r.maxOutput) revert OutputTooLong(count, r.maxOutput);
        for (uint256 i; i < count; ++i) {
            uint256 token = Tokens.get(output, i);
            bool end;
            for (uint256 n; n < model.endTokenCount; ++n) {
                if (uint32(model.endTokens[n / 8] >> 32 * (n % 8)) == token) end = true;
            }
            if (end && i + 1 < count) revert EndTokenInside(i, token);
            if (!end && i + 1 == count && count != r.maxOutput) revert NoEndToken(count, r.maxOutput);
        }
    }

    function _checkLengths(uint256 count, bytes calldata answer, bytes calldata lengths) private pure {
        if (lengths.length != 2 * count) revert WrongLengths(2 * count, lengths.length);
        uint256 sum;
        for (uint256 i; i < count; ++i) sum += uint16(bytes2(lengths[2 * i:2 * i + 2]));
        if (sum != answer.length) revert WrongAnswerLength(sum, answer.length);
    }

    // Money

    function _price() private view returns (uint256) {
        return GameGas.price(block.basefee, CEILING);
    }

    function _finaliseDeposit() private view returns (uint256) {
        return FINALISE * GameGas.price(CEILING, CEILING);
    }

    function _deliverDeposit(address callback, uint256 callbackGas, uint256 maxOutput)
        private
        view
        returns (uint256)
    {
        if (callback == address(0)) return 0;
        uint256 gas = DELIVER + callbackGas + GameGas.BYTE * TOKEN_BYTES * maxOutput;
        return gas * GameGas.price(CEILING, CEILING);
    }

    /// @dev The first final claim answers the request, which pays for its finality.
    function _answer(
        RequestState storage state,
        bytes32 requestId,
        bytes32 claimId,
        Request calldata r,
        Claim calldata c
    ) private {
        state.status = RequestStatus.Answered;
        state.answerHash = c.answerHash;
        state.outputRoot = c.outputRoot;
        uint256 pay = FINALISE * _price();
        _credit(msg.sender, pay);
        _credit(r.requester, _finaliseDeposit() - pay);
        emit Answered(requestId, claimId, c.answerHash, c.outputRoot);
    }

    /// @dev The claim at the cursor is decided: it earns the fee if it is final with the final answer, else the next may.
    function _moveFee(
        RequestState storage state,
        ClaimState storage claim,
        bytes32 requestId,
        bytes32 claimId,
        Request calldata r,
        Claim calldata c
    ) private {
        bool earned = claim.status == ClaimStatus.Final && c.answerHash == state.answerHash
            && c.outputRoot == state.outputRoot;
        if (!earned) {
            ++state.feeCursor;
            return;
        }
        state.feePaid = true;
        _credit(c.submitter, r.fee);
        emit FeePaid(requestId, claimId, c.submitter, r.fee);
    }

    /// @dev Nothing that the callback returns is copied, so that it can't make us pay for it.
    function _callback(Request calldata r, bytes32 requestId, bytes calldata answer) private returns (bool done) {
        bytes memory data = abi.encodeCall(IOpmlConsumer.onAnswer, (requestId, answer));
        uint256 needed = r.callbackGas;
        // INVARIANT: EIP-150 keeps a 64th back: what is left of the gas covers all that was promised.
        uint256 left = gasleft() - gasleft() / 64;
        if (left < needed + CALL_RESERVE) revert NotEnoughGas(needed + CALL_RESERVE, left);
        address to = r.callback;
        assembly ("memory-safe") {
            done := call(needed, to, 0, add(data, 0x20), mload(data), 0, 0)
        }
    }
}
