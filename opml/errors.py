"""The exceptions of opml.

Everything that a user can cause or cure is an `OpmlError`; anything else is a bug and stays what it is.

    OpmlError
    ├── InputError      a file, an argument or a peer's data breaks a rule        (exit code 2)
    │   ├── ModelFileError   a model file is damaged, lying or unsupported
    │   └── ProgramError     a program breaks a rule of the validator
    ├── WrongClaim      a claim about the model at hand does not hold             (exit code 3)
    ├── ChainError      a chain could not be reached, or a transaction reverted   (exit code 4)
    └── EngineError     an engine is missing, or failed its self-test             (exit code 5)

Messages state the rule, what was expected, what was found and what to do next.
"""

from __future__ import annotations


class OpmlError(Exception):
    """Base of all errors that a user can cause or cure. `exit_code` is what the command line returns."""

    exit_code = 1


class InputError(OpmlError):
    """A file, an argument or a peer's data breaks a rule."""

    exit_code = 2


class ModelFileError(InputError):
    """A model file is damaged, contradicts itself, or uses something that is not supported."""


class ProgramError(InputError):
    """A program breaks a rule of the validator (`docs/spec.md`, Validation)."""


class WrongClaim(OpmlError):
    """A claim about the model at hand does not hold: in what was recomputed, or already in itself.

    A claim about another model is no wrong one: that is an `InputError`, since nothing was found out.
    """

    exit_code = 3


class ChainError(OpmlError):
    """A chain could not be reached, or a transaction reverted."""

    exit_code = 4


class EngineError(OpmlError):
    """An engine is not available on this machine, or failed its self-test."""

    exit_code = 5


__all__ = [
    "ChainError",
    "EngineError",
    "InputError",
    "ModelFileError",
    "OpmlError",
    "ProgramError",
    "WrongClaim",
]
