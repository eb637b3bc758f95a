"""The contract's refusals, by the names of its custom errors (`IDisputeGame`).

Each carries the arguments of the contract's error in `values`, in order.
"""

from __future__ import annotations

from opml.errors import ChainError


class Refused(ChainError):
    """A move that the game does not allow."""

    def __init__(self, *values: int | bytes) -> None:
        self.values = values
        shown = ", ".join("0x" + v.hex() if isinstance(v, bytes) else str(v) for v in values)
        rule = (type(self).__doc__ or "").strip()
        super().__init__(f"{self.error}({shown}): {rule}")

    @property
    def error(self) -> str:
        """Name of the contract's custom error."""
        return type(self).__name__


class WrongValue(Refused):
    """The value sent is not the bond."""


class WrongClaim(Refused):
    """The claim given is not the game's."""


class WrongRequest(Refused):
    """The request given is not the claim's."""


class UnknownClaim(Refused):
    """No such claim is pending."""


class WindowClosed(Refused):
    """A claim can be challenged only while now < window end."""


class GameExists(Refused):
    """This challenger has a game of that salt already."""


class ClaimRejectedAlready(Refused):
    """The claim is rejected: nothing is left to win."""


class ClaimNotRejected(Refused):
    """The claim is not rejected: nothing to release."""


class NotReleasable(Refused):
    """Until the challenger's clock has passed only the challenger may release."""


class GamesOpen(Refused):
    """A claim with open games is not settled."""


class WrongPhase(Refused):
    """The move belongs to another phase."""


class GameOver(Refused):
    """The game is decided."""


class ClockExpired(Refused):
    """The side to move has used up its clock."""


class ClockRunning(Refused):
    """The side to move still has time."""


class NotTheChallenger(Refused):
    """Only the game's challenger may do this."""


class NotTheSubmitter(Refused):
    """Only the submitter or its operator may post totals."""


class RootUnknown(Refused):
    """The first reveal must give the trace root."""


class RootKnown(Refused):
    """The trace root has been revealed in this game."""


class WrongTraceRoot(Refused):
    """The trace root is not the one committed to."""


class WrongChildCount(Refused):
    """A reveal has exactly 2^span(height, fanout) children."""


class WrongNode(Refused):
    """The hashes do not fold to the node."""


class NotPadding(Refused):
    """A child beyond the real leaves is not the padding of its height."""


class Padding(Refused):
    """A node beyond the real leaves cannot be disputed."""


class NoSuchChild(Refused):
    """The child's number is too large."""


class NoSuchNode(Refused):
    """The tree has no such node."""


class WrongSiblingCount(Refused):
    """A proof has exactly one sibling a level."""


class WrongLeafLength(Refused):
    """A leaf has exactly the bytes of its elements."""


class NothingToBurn(Refused):
    """Only a rejected claim leaves something to burn, once."""


class NoSuchElement(Refused):
    """The leaf has no such element."""


class WrongStatesLength(Refused):
    """A posting has exactly the states of its chunks."""


class WrongStates(Refused):
    """The states given are not those that were posted."""


class WrongBytes(Refused):
    """The bytes given are not those whose hash was claimed."""


class NoSuchTotal(Refused):
    """There is no such chunk."""


class NotAnnounced(Refused):
    """The proof was not announced by this sender."""


class AnnouncedInThisBlock(Refused):
    """A proof is accepted only in a later block than its announcement."""


class NotFraud(Refused):
    """The contract computes what was claimed."""


class WrongTokens(Refused):
    """Tokens are 4 bytes each, at least one."""


class RequestExists(Refused):
    """The request has been made already."""


class RequestNot(Refused):
    """The request is in another state."""


class DeadlinePassed(Refused):
    """Claims are posted until the request's deadline."""


class OutputTooLong(Refused):
    """An output has 1 to maxOutput tokens."""


class TokenOutOfVocabulary(Refused):
    """Every token lies in the vocabulary."""


class EndTokenInside(Refused):
    """Nothing follows an end token."""


class NoEndToken(Refused):
    """An output ends with an end token, unless it has maxOutput tokens."""


class WrongLengths(Refused):
    """There is one length of 2 bytes for each output token."""


class WrongAnswerLength(Refused):
    """The lengths add up to the answer's."""


class ClaimExists(Refused):
    """The claim has been posted already."""


class ClaimNot(Refused):
    """The claim is in another state."""


class WindowOpen(Refused):
    """A claim is final only when now >= window end."""


class ClaimsPending(Refused):
    """An earlier claim is not decided yet."""


class FeeSettled(Refused):
    """The fee has been paid."""


__all__ = [
    "AnnouncedInThisBlock",
    "ClaimExists",
    "ClaimNot",
    "ClaimNotRejected",
    "ClaimRejectedAlready",
    "ClaimsPending",
    "ClockExpired",
    "ClockRunning",
    "DeadlinePassed",
    "EndTokenInside",
    "FeeSettled",
    "GameExists",
    "GameOver",
    "GamesOpen",
    "NoEndToken",
    "NoSuchChild",
    "NoSuchElement",
    "NoSuchNode",
    "NoSuchTotal",
    "NotAnnounced",
    "NotFraud",
    "NotPadding",
    "NotReleasable",
    "NotTheChallenger",
    "NotTheSubmitter",
    "OutputTooLong",
    "Padding",
    "Refused",
    "RequestExists",
    "RequestNot",
    "RootKnown",
    "RootUnknown",
    "TokenOutOfVocabulary",
    "UnknownClaim",
    "WindowClosed",
    "WindowOpen",
    "WrongAnswerLength",
    "WrongBytes",
    "WrongChildCount",
    "WrongClaim",
    "WrongLeafLength",
    "WrongLengths",
    "WrongNode",
    "WrongPhase",
    "WrongRequest",
    "WrongSiblingCount",
    "WrongStates",
    "WrongStatesLength",
    "WrongTokens",
    "WrongTraceRoot",
    "WrongValue",
]
