"""`opml request`"""

from __future__ import annotations

import json
import secrets
import time
from pathlib import Path

import click

from opml.cli.options import (
    ChainOptions,
    KeyOptions,
    SamplingOptions,
    chain_options,
    json_option,
    key_options,
    limit_option,
    max_tokens_option,
    model_option,
    raw_option,
    sampling_options,
)
from opml.cli.units import ADDRESS, SECONDS, WEI, ether, harmless, plain
from opml.dispute.limits import MOST_CALLBACK_GAS


@click.command(
    "request",
    epilog="\b\nExamples:\n  opml request --prompt 'Who was Abel?' --account carol --rpc-url http://127.0.0.1:8545\n"
    "  opml request --model model.gguf --prompt Hi --fee 0.01ether --wait",
)
@click.option("--prompt", required=True, help="The user's text; tokenised here, with the model file.")
@model_option
@limit_option
@raw_option
@max_tokens_option(64)
@sampling_options
@click.option("--fee", type=WEI, default="0", show_default=True, help="What the answer earns.")
@click.option(
    "--deadline", type=SECONDS, default="1h", show_default=True, help="Time for claims to be posted."
)
@click.option("--callback", type=ADDRESS, help="Contract whose onAnswer is called with the answer.")
@click.option(
    "--callback-gas",
    type=click.IntRange(0, MOST_CALLBACK_GAS),
    default=0,
    help="Gas promised to it; goes with --callback.",
)
@click.option("--wait", is_flag=True, help="Wait for the final answer and print it.")
@chain_options
@key_options
@json_option
def command(
    prompt: str,
    file: Path | None,
    limit: int | None,
    raw: bool,
    max_tokens: int,
    sampling: SamplingOptions,
    fee: int,
    deadline: int,
    callback: bytes | None,
    callback_gas: int,
    wait: bool,
    chain: ChainOptions,
    key: KeyOptions,
    as_json: bool,
) -> None:
    """Ask a question on chain; prints the request's id."""
    if (callback is None) != (callback_gas == 0):
        raise click.UsageError("--callback and --callback-gas go together: which contract, with how much gas")
    from rich.console import Console

    from opml.chain.gateway import Order
    from opml.cli.engines import pack_params
    from opml.cli.prompting import prompted
    from opml.cli.view import fetch_with_bar
    from opml.cli.waiting import wait_for_answer
    from opml.models.model import load_model

    loaded = load_model(file or fetch_with_bar(Console(stderr=True)), limit)
    tokens, most = prompted(loaded, prompt, max_tokens, raw=raw)
    gateway = chain.gateway(key.signer())
    gateway.model(loaded.id)
    now, _ = gateway.now()
    order = Order(
        nonce=secrets.randbits(64),
        model_id=loaded.id,
        params=pack_params(sampling.words()),
        max_output=most,
        deadline=now + deadline,
        callback=callback or bytes(20),
        callback_gas=callback_gas,
        fee=fee,
    )
    price = gateway.price(order)
    record, receipt = gateway.request(order, tokens)
    if not as_json:
        click.echo(f"request 0x{record.id.hex()}")
        click.echo(f"{len(tokens)} tokens, {ether(price)} paid, {receipt.gas_used:,} gas")
    answer = wait_for_answer(gateway, record.id, time.sleep) if wait else None
    if as_json:
        facts = {"requestId": plain(record.id), "price": price, "gas": receipt.gas_used, "prompt": tokens}
        if answer is not None:
            facts["answer"] = answer.decode("utf-8", "replace")
        click.echo(json.dumps(facts))
    elif answer is not None:
        click.echo(harmless(answer.decode("utf-8", "replace")))
