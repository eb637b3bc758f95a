"""`opml model`"""

from __future__ import annotations

import json
from pathlib import Path

import click

from opml.cli.options import (
    FILE,
    ChainOptions,
    KeyOptions,
    chain_options,
    json_option,
    key_options,
    limit_option,
)
from opml.cli.units import ether


@click.group("model")
def command() -> None:
    """Show, identify or register a model."""


@command.command("fetch", epilog="\b\nExample:\n  opml run $(opml model fetch) --prompt Hello")
def fetch() -> None:
    """Fetch the demo's model, once, and print where it lies.

    SmolLM2-135M-Instruct (Apache-2.0, 98 MB), held to its SHA-256 and kept in the cache directory.
    """
    from rich.console import Console

    from opml.cli.view import fetch_with_bar

    click.echo(fetch_with_bar(Console(stderr=True)))


@command.command(
    "id", epilog="\b\nExample:\n  opml model id SmolLM2-135M-Instruct.Q4_1.gguf --limit 2048 --json"
)
@click.argument("file", type=FILE)
@limit_option
@json_option
def model_id(file: Path, limit: int | None, as_json: bool) -> None:
    """Print the id and roots of a model file, recomputed from its bytes.

    A model id is safe to rely on only for who has done this: the registry checks the program, it cannot see
    the weights.
    """
    from opml.models.model import load_model

    model = load_model(file, limit)
    facts = {
        "modelId": "0x" + model.id.hex(),
        "weightsRoot": "0x" + model.weights_root.hex(),
        "vocabularyRoot": "0x" + model.vocabulary_root.hex(),
        "vocabularySize": model.vocabulary_size,
        "endTokens": list(model.end_tokens),
        "limit": model.limit,
        "programBytes": len(model.encoded),
        "slots": len(model.layout.slots),
        "committed": len(model.layout.committed),
    }
    if as_json:
        click.echo(json.dumps(facts, indent=1))
    else:
        for name, value in facts.items():
            click.echo(f"{name:15} {value}")


@command.command("show", epilog="\b\nExample:\n  opml model show model.gguf | less")
@click.argument("file", type=FILE)
@limit_option
@click.option("--code", is_flag=True, help="Also the scalar operations of each instruction.")
def show(file: Path, limit: int | None, code: bool) -> None:
    """Print a model's program in readable form, one line an instruction."""
    from opml.cli.listing import list_program
    from opml.models.model import load_model

    for line in list_program(load_model(file, limit).layout, code=code):
        click.echo(line)


@command.command(
    "register",
    epilog="\b\nExample:\n  opml model register model.gguf --account alice --rpc-url http://127.0.0.1:8545",
)
@click.argument("file", type=FILE)
@limit_option
@click.option("--uri", default="", help="Where others find the file; only emitted in an event.")
@chain_options
@key_options
@json_option
def register(
    file: Path, limit: int | None, uri: str, chain: ChainOptions, key: KeyOptions, as_json: bool
) -> None:
    """Store and validate a model's program on chain and register the model.

    What is on chain already is left out, so that a command that was interrupted can be repeated.
    """
    from opml.models.model import load_model

    try:
        uri.encode()
    except UnicodeEncodeError:
        raise click.BadParameter("it is no text in UTF-8", param_hint="'--uri'") from None
    gateway = chain.gateway(key.signer())
    model = load_model(file, limit)
    registered, receipts = gateway.register_model(
        model.encoded,
        model.weights_root,
        model.vocabulary_root,
        model.vocabulary_size,
        model.end_tokens,
        uri,
    )
    assert registered == model.id, "the registry and opml.vm.commitment.model_id disagree"
    gas, cost = sum(r.gas_used for r in receipts), sum(r.cost for r in receipts)
    if as_json:
        click.echo(
            json.dumps({"modelId": "0x" + registered.hex(), "transactions": len(receipts), "gas": gas})
        )
    else:
        click.echo(f"model id 0x{registered.hex()}")
        click.echo(f"{len(receipts)} transactions, {gas:,} gas, {ether(cost)}")
