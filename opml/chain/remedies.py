"""What to do about each refusal of a contract, by the name of its custom error."""

from __future__ import annotations

_LOOK_AGAIN = "the game has moved on; look at it again and decide anew"
_OTHER_CONTENT = "pass the claim and request exactly as their events give them"
_COMMITMENT = "it must be what the commitment holds; recompute it from the registered model"

_REMEDIES: dict[str, str] = {
    # Any contract
    "NothingToBurn": "only what a rejected claim has lost is burnt, once; check its status",
    "NothingOwed": "nothing is owed to this account; check --account",
    "OutOfGas": "give the transaction more gas (a transaction may use 16,777,216)",
    "Panic": "this is a bug in the contract or a call with impossible arguments; report it",
    "Reverted": "check the contract's address, the value sent and the gas limit",
    "TransferFailed": "the receiver refuses ether; withdraw to another address",
    "WrongValue": "send exactly what is expected",
    # Registry
    "EndTokenCount": "register the end tokens that the model file names",
    "EndTokenOutOfVocabulary": "register the end tokens that the model file names",
    "EndTokensNotAscending": "sort the end tokens and name each once",
    "NotStored": "the program was not stored as it was sent; publish it again with more gas",
    "NotValidated": "validate the rest of the program first (`opml model register` does)",
    "ProgramTooLong": "a program must fit one data contract; use a smaller model",
    "UnknownModel": "register it with `opml model register FILE`",
    "UnknownProgram": "publish the program first (`opml model register` does)",
    # Oracle
    "AlreadyDelivered": "nothing is left to do",
    "AnswerTooLong": "answer with fewer bytes",
    "CallbackGas": "ask for less gas for the callback",
    "ClaimExists": "this very claim is posted already",
    "ClaimNot": "the claim's state has changed; list claims with `opml claims`",
    "ClaimsPending": "wait until the pending claims are decided",
    "DeadlinePassed": "the request takes no claims any more",
    "DeadlineNotPassed": "a refund is due after the deadline only",
    "EndTokenInside": "an answer ends at its first end token",
    "FeeSettled": "the fee has been paid already",
    "NoCallback": "the request named no callback; fetch the answer with answerOf",
    "NoEndToken": "an answer ends at an end token or at the most tokens asked for",
    "NotEnoughGas": "send the transaction with more gas",
    "NotTheGame": "only the game contract calls this",
    "OutputLimit": "prompt and output together exceed the model's positions; ask for fewer tokens",
    "OutputTooLong": "the answer has more tokens than were asked for",
    "RequestExists": "choose another nonce",
    "RequestNot": "the request's state has changed; list claims with `opml claims`",
    "TokenOutOfVocabulary": "tokenise with the registered model's file",
    "WindowOpen": "finalise after the window's end",
    "WrongAnswer": "pass the final claim's answer",
    "WrongAnswerLength": "the lengths must add up to the answer's bytes",
    "WrongClaimNumber": "pass all claims of the request in the order of posting",
    "WrongLengths": "pass one length for each output token",
    "WrongTokens": "pass whole tokens of 4 bytes, at least one",
    # Game
    "AnnouncedInThisBlock": "a proof follows its announcement in a later block; send it again",
    "BadTerms": "choose terms within the contract's bounds",
    "ClaimNotRejected": "the claim has not been rejected",
    "ClaimRejectedAlready": "another game has won against this claim; release this one",
    "ClockExpired": "the clock of the side to move has run out; the other side may call the time-out",
    "ClockRunning": "wait until the clock has run out",
    "GameExists": "choose another salt",
    "GameOver": _LOOK_AGAIN,
    "GamesOpen": "wait until all games against the claim are decided",
    "NoSuchChild": _LOOK_AGAIN,
    "NoSuchElement": "name an element of the leaf",
    "NoSuchNode": "name a node of the commitment",
    "NoSuchTotal": "name one of the posted states",
    "NotAnnounced": "announce exactly the proof that is sent, from the same account",
    "NotFraud": "the contract computes what was claimed: the claim is right there",
    "NotPadding": _COMMITMENT,
    "NotReleasable": "only the challenger may release the game yet",
    "NotTheChallenger": "only the game's challenger moves here; check --account",
    "NotTheOracle": "only the oracle calls this",
    "NotTheSubmitter": "only the submitter or its operator posts totals; check --account",
    "Padding": "pick a node that isn't padding",
    "RootKnown": "the trace root was given already; reveal without it",
    "RootUnknown": "the first reveal of a game gives the trace root",
    "UnknownClaim": "list claims with `opml claims`",
    "WindowClosed": "the claim can't be challenged any more",
    "WrongBytes": "pass the answer and lengths as the claim gives them",
    "WrongChildCount": _LOOK_AGAIN,
    "WrongClaim": _OTHER_CONTENT,
    "WrongLeafLength": _COMMITMENT,
    "WrongNode": _COMMITMENT,
    "WrongPhase": _LOOK_AGAIN,
    "WrongRequest": _OTHER_CONTENT,
    "WrongSiblingCount": _LOOK_AGAIN,
    "WrongStates": "pass the states as they were posted",
    "WrongStatesLength": "post one state for each chunk",
    "WrongTraceRoot": "give the trace root that the claim commits to",
}


def remedy_for(error: str) -> str:
    """One sentence, or "" where the error's own values say enough."""
    return _REMEDIES.get(error, "")


__all__ = ["remedy_for"]
