// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// A question, by content (docs/spec.md, Ids). Passed as calldata wherever it is needed; only its hash is stored.
/// @param params word i (u32) is bits `32·(7 − i) …`, word 0 on top
/// @param maxOutput most output tokens
/// @param deadline last second in which a claim may be posted
/// @param callback called once with the answer after finality, or 0
/// @param callbackGas gas promised to the callback
/// @param fee what the answer earns
struct Request {
    address requester;
    uint64 nonce;
    bytes32 modelId;
    bytes32 promptRoot;
    uint32 promptLength;
    uint256 params;
    uint32 maxOutput;
    uint64 deadline;
    address callback;
    uint32 callbackGas;
    uint256 fee;
}

/// What a requester chooses; the rest of a `Request` is derived.
struct Order {
    uint64 nonce;
    bytes32 modelId;
    uint256 params;
    uint32 maxOutput;
    uint64 deadline;
    address callback;
    uint32 callbackGas;
    uint256 fee;
}

/// An answer that somebody vouches for with a bond, by content (docs/spec.md, Ids).
/// @param operator may post running totals for the submitter; 0 for none
/// @param commitment `keccak256(traceRoot ‖ submitter ‖ requestId)`: cannot be copied without running the model
/// @param postedAt in seconds; the challenge window starts here
struct Claim {
    bytes32 requestId;
    address submitter;
    address operator;
    bytes32 commitment;
    bytes32 outputRoot;
    uint32 outputLength;
    bytes32 answerHash;
    bytes32 lengthsHash;
    uint64 postedAt;
}

enum RequestStatus {
    Unknown,
    Open,
    Answered,
    Refunded
}

enum ClaimStatus {
    Unknown,
    Pending,
    Final,
    Rejected
}

enum DeliveryStatus {
    None,
    Delivered,
    Failed
}

/// @param claims claims posted so far
/// @param pending claims not decided yet
/// @param feeCursor number of the first claim that may still earn the fee
struct RequestState {
    RequestStatus status;
    DeliveryStatus delivery;
    bool feePaid;
    uint32 claims;
    uint32 pending;
    uint32 feeCursor;
    bytes32 answerHash;
    bytes32 outputRoot;
}

/// @param number of the claim among the request's, from 0 in the order of posting
/// @param bond wei; of a rejected claim what is to be burnt yet
struct ClaimState {
    ClaimStatus status;
    uint32 number;
    uint128 bond;
}

/// What a contract implements to be handed its answers.
interface IOpmlConsumer {
    /// Called once by the oracle after finality, with the gas the request promised. Must check that the caller is the oracle.
    function onAnswer(bytes32 requestId, bytes calldata answer) external;
}

/// Requests, claims, bonds, fees, finality, callbacks.
interface IOpmlOracle {
    /// @param prompt the tokens, u32 little-endian each
    event Requested(bytes32 indexed requestId, bytes32 indexed modelId, Request request, bytes prompt);
    /// @param output the tokens, u32 little-endian each
    /// @param answer bytes of the answer
    /// @param lengths bytes of the answer that each token adds, u16 big-endian each
    event Claimed(
        bytes32 indexed claimId, bytes32 indexed requestId, Claim claim, bytes output, bytes answer, bytes lengths
    );
    event ClaimFinal(bytes32 indexed claimId, bytes32 indexed requestId);
    event ClaimRejected(bytes32 indexed claimId, bytes32 indexed requestId);
    event Answered(bytes32 indexed requestId, bytes32 indexed claimId, bytes32 answerHash, bytes32 outputRoot);
    event Delivered(bytes32 indexed requestId);
    event CallbackFailed(bytes32 indexed requestId);
    event FeePaid(bytes32 indexed requestId, bytes32 indexed claimId, address to, uint256 amount);
    event Refunded(bytes32 indexed requestId, uint256 amount);

    error WrongValue(uint256 expected, uint256 actual);
    error WrongTokens(uint256 bytesGiven);
    error TokenOutOfVocabulary(uint256 index, uint256 token, uint256 vocabularySize);
    error OutputLimit(uint256 promptLength, uint256 maxOutput, uint256 limit);
    error DeadlinePassed(uint256 deadline, uint256 nowAt);
    error DeadlineNotPassed(uint256 deadline, uint256 nowAt);
    error CallbackGas(uint256 callbackGas, uint256 most);
    error RequestExists(bytes32 requestId);
    error RequestNot(RequestStatus expected, RequestStatus actual);
    error ClaimExists(bytes32 claimId);
    error ClaimNot(ClaimStatus expected, ClaimStatus actual);
    error WrongRequest(bytes32 expected, bytes32 actual);
    error OutputTooLong(uint256 length, uint256 maxOutput);
    error EndTokenInside(uint256 index, uint256 token);
    error NoEndToken(uint256 length, uint256 maxOutput);
    error WrongLengths(uint256 expected, uint256 actual);
    error WrongAnswerLength(uint256 expected, uint256 actual);
    error AnswerTooLong(uint256 bytesGiven, uint256 most);
    error WrongAnswer(bytes32 expected, bytes32 actual);
    error WindowOpen(uint256 end, uint256 nowAt);
    error ClaimsPending(uint256 pending);
    error NoCallback(bytes32 requestId);
    error AlreadyDelivered(bytes32 requestId);
    error NotEnoughGas(uint256 needed, uint256 left);
    error FeeSettled(bytes32 requestId);
    error WrongClaimNumber(uint256 expected, uint256 actual);
    error NotTheGame(address caller);

    /// Ask. The value must be `price(order)`.
    /// @param prompt the prompt's tokens, at least one, u32 little-endian each
    function request(Order calldata order, bytes calldata prompt) external payable returns (bytes32 requestId);

    /// What `request` costs: the fee, and deposits for the gas of finality and of the callback, whose rest goes back.
    function price(Order calldata order) external view returns (uint256);

    /// Answer. The value must be the model's bond (`IDisputeGame.submitterBond`).
    /// @param output the output's tokens, u32 little-endian each
    /// @param lengths bytes of `answer` that each token adds, u16 big-endian each
    function submit(
        Request calldata request,
        address operator,
        bytes32 commitment,
        bytes calldata output,
        bytes calldata answer,
        bytes calldata lengths
    ) external payable returns (bytes32 claimId);

    /// Make a claim final once its window is over and no game is open. Anybody may; the first is paid by the request.
    function finalise(Request calldata request, Claim calldata claim) external;

    /// Hand the answer to the request's callback. Anybody may; the first attempt is paid by the request, and what fails can be tried again.
    function deliver(Request calldata request, bytes calldata answer) external;

    /// Move the fee on: `claims` are the request's claims from number `feeCursor` on, in order of posting.
    function collectFee(Request calldata request, Claim[] calldata claims) external;

    /// Give a request's value back: its deadline has passed, it is unanswered and no claim is pending.
    function refund(Request calldata request) external;

    /// Called by the game when a claim is proven wrong: half of the bond is lost, to be burnt, and the other half handed to the game.
    /// @return half wei handed over
    function reject(bytes32 claimId, bytes32 requestId) external returns (uint256 half);

    function requestIdOf(Request calldata request) external view returns (bytes32);
    function claimIdOf(Claim calldata claim) external view returns (bytes32);
    function requestState(bytes32 requestId) external view returns (RequestState memory);
    function claimState(bytes32 claimId) external view returns (ClaimState memory);

    /// The final answer of a request, for consumers that pull: they check `keccak256(answer) == answerHash`.
    function answerOf(bytes32 requestId) external view returns (bool answered, bytes32 answerHash, bytes32 outputRoot);
}
