"""What a prompt and a number of output tokens come to on a model."""

from __future__ import annotations

import click

from opml.models.model import Model


def prompted(model: Model, text: str, max_tokens: int, *, raw: bool = False) -> tuple[list[int], int]:
    """The prompt's tokens, and the most output tokens: no more than the model has positions for, with a note.

    An oracle takes no request for more. Raises `InputError` for a prompt that can't be encoded or is too
    long.
    """
    tokens = model.encode_prompt(text, raw=raw)
    room = model.limit + 1 - len(tokens)
    if max_tokens > room:
        click.echo(
            f"note: the model has {model.limit:,} positions and the prompt {len(tokens):,} tokens: "
            f"at most {room:,} output tokens",
            err=True,
        )
    return tokens, min(max_tokens, room)


__all__ = ["prompted"]
