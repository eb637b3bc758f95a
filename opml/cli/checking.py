"""Recomputes a claim as one batch, and says what is wrong with it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from opml.cli.claim_file import ClaimFile, Roots
from opml.dispute.types import lengths_of
from opml.errors import InputError, ModelFileError, WrongClaim
from opml.models.model import Model, load_model
from opml.vm import engine
from opml.vm.trace import Trace


def check_claim(claim: ClaimFile, loaded: Model, machine: engine.Model, roots: Roots | None = None) -> Trace:
    """The trace of a claim that holds.

    Raises `WrongClaim` naming what is wrong in a claim about this model: a token, a piece, a root (with
    `roots` the first tensor that differs), data that contradict each other, or what no oracle takes. Raises
    `InputError` for a claim about another model, of which this file says nothing.
    """
    if claim.model_id != loaded.id:
        raise InputError(
            f"the claim is about model 0x{claim.model_id.hex()}, this file with limit {claim.limit} is "
            f"0x{loaded.id.hex()}, so it can't say whether the claim holds: pass the file that the claim was "
            "made with; if this is it, the claim names a model that nobody ran"
        )
    _check_tokens_fit(claim, loaded)
    session = machine.session(len(claim.prompt), claim.params)
    sampled = session.feed(claim.tokens[:-1])
    for j, (own, posted) in enumerate(zip(sampled, claim.output, strict=True)):
        if own != posted:
            raise WrongClaim(
                f"output token {j} (position {len(claim.prompt) - 1 + j}): claimed {_token(loaded, posted)}, "
                f"computed {_token(loaded, own)}: the answer is not what the model gives"
            )
    _check_end(claim, loaded)
    _check_answer(claim, loaded)
    trace = session.trace(claim.tokens)
    root = trace.trace_root()
    if root != claim.trace_root:
        where = roots.first_difference(trace) if roots else None
        raise WrongClaim(
            f"trace root: claimed 0x{claim.trace_root.hex()}, computed 0x{root.hex()}"
            + (f"; the first difference is at {where}" if where else "")
            + ": the output is what the model gives for this prompt, the computation committed to is not"
        )
    return trace


def claimed_model(file: Path, claim: ClaimFile) -> Model:
    """The model of a file as the claim has it. Raises `InputError` where the file has no such model."""
    try:
        return load_model(file, claim.limit)
    except ModelFileError:
        raise
    except InputError as problem:
        raise InputError(
            f"the claim is about a model of {claim.limit:,} positions ({problem}): pass the file that the "
            "claim was made with; if this is it, the claim names a model that nobody ran"
        ) from None


def _check_tokens_fit(claim: ClaimFile, loaded: Model) -> None:
    """What can't be computed at all."""
    size = loaded.vocabulary_size
    for name, tokens in (("prompt", claim.prompt), ("output", claim.output)):
        for j, token in enumerate(tokens):
            if token >= size:
                raise WrongClaim(
                    f"{name} token {j} is {token}, the vocabulary has {size}: no oracle takes it"
                )
    if len(claim.tokens) - 1 > claim.limit:
        raise WrongClaim(f"the claim has {len(claim.tokens) - 1} positions, the model {claim.limit}")


def _check_end(claim: ClaimFile, loaded: Model) -> None:
    """Where the output has to end: the oracle refuses another end at posting."""
    if len(claim.output) > claim.max_output:
        raise WrongClaim(
            f"the output has {len(claim.output)} tokens, {claim.max_output} were asked for: it is too long"
        )
    ends = set(loaded.end_tokens)
    for j, token in enumerate(claim.output[:-1]):
        if token in ends:
            raise WrongClaim(f"output token {j} is the end token {token}, but the output goes on after it")
    full = len(claim.output) == min(claim.max_output, claim.limit + 1 - len(claim.prompt))
    if claim.output[-1] not in ends and not full:
        raise WrongClaim(
            f"the output stops after {len(claim.output)} tokens without an end token, {claim.max_output} "
            "were asked for: it is cut short"
        )


def _check_answer(claim: ClaimFile, loaded: Model) -> None:
    pieces = [loaded.pieces[token] for token in claim.output]
    if claim.lengths != lengths_of(pieces):
        raise WrongClaim("the lengths of the answer's pieces are not those of the tokens' pieces")
    at = 0
    for j, piece in enumerate(pieces):
        given = claim.answer[at : at + len(piece)]
        if given != piece:
            raise WrongClaim(f"the answer's bytes of output token {j} are {given!r}, its piece is {piece!r}")
        at += len(piece)
    if at != len(claim.answer):
        raise WrongClaim(f"the answer has {len(claim.answer) - at} bytes that belong to no token")


def _token(loaded: Model, token: int) -> str:
    if token >= loaded.vocabulary_size:
        return str(token)
    return f"{token} {loaded.pieces[token]!r}"


def check_tokens(file: Path, values: object, size: int, limit: int) -> Sequence[int]:
    """The JSON list of token ids that `file` holds; `InputError` for anything else."""
    if not isinstance(values, list) or not values:
        raise InputError(f"{file}: a list of at least one token id is expected, as JSON: [1, 2, 3]")
    if len(values) > limit:
        raise InputError(
            f"{file}: {len(values):,} tokens, the model has {limit:,} positions: shorten the text"
        )
    for j, value in enumerate(values):
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < size:
            raise InputError(
                f"{file}: entry {j} is {str(value)[:40]}, a token id below {size:,} is expected: "
                "tokenise the text with this model's vocabulary"
            )
    return values


__all__ = ["check_claim", "check_tokens", "claimed_model"]
