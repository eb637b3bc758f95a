"""`opml score`"""

from __future__ import annotations

import json
import math
from pathlib import Path

import click

from opml.cli.options import FILE, EngineOptions, engine_options, json_option
from opml.errors import InputError
from opml.json_input import parse_json, read_text

_MAX_BYTES = 64 << 20


@click.command("score", epilog="\b\nExample:\n  opml score model.gguf --tokens ids.json --json")
@click.argument("model", type=FILE)
@click.option("--tokens", "file", type=FILE, required=True, help="A JSON list of token ids.")
@engine_options
@json_option
def command(model: Path, file: Path, engine: EngineOptions, as_json: bool) -> None:
    """Score a text of token ids: how likely the model finds each next token.

    With --json, `nll` holds the negative log-likelihood (nats) of every token but the first, `argmax` the
    likeliest next token at every position; null stands for a likelihood that logits without end don't give.
    """
    from opml.cli.checking import check_tokens
    from opml.cli.scoring import score
    from opml.models.model import load_model

    try:
        values = parse_json(read_text(file, _MAX_BYTES))
    except (OSError, ValueError) as problem:
        raise InputError(f"{file} can't be read as JSON ({problem}): pass a list of token ids") from None
    chosen = engine.choose()
    loaded = load_model(model)
    ids = check_tokens(file, values, loaded.vocabulary_size, loaded.limit)
    result = score(chosen, loaded.program, loaded.weights, ids)
    if as_json:
        known = [value if math.isfinite(value) else None for value in result.nll]
        click.echo(json.dumps({"nll": known, "argmax": result.argmax}))
        return
    agreed = sum(a == b for a, b in zip(result.argmax, ids[1:], strict=False))
    if not result.nll:
        click.echo("one token: nothing follows it")
        return
    finite = [value for value in result.nll if math.isfinite(value)]
    if len(finite) < len(result.nll):
        click.echo(
            f"at {len(result.nll) - len(finite)} positions the logits are not finite: these are left out"
        )
    mean = sum(finite) / len(finite) if finite else math.nan
    click.echo(f"{len(ids)} tokens, mean negative log-likelihood {mean:.4f} nats")
    click.echo(f"the likeliest token was the next one at {agreed} of {len(result.nll)} positions")
