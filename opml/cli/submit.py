"""`opml submit`"""

from __future__ import annotations

from pathlib import Path

import click

from opml.cli.options import (
    FILE,
    ChainOptions,
    EngineOptions,
    KeyOptions,
    chain_options,
    engine_options,
    json_option,
    key_options,
    limit_option,
    loop_options,
)
from opml.cli.units import short


@click.command(
    "submit",
    epilog="\b\nExamples:\n  opml submit model.gguf --account alice --rpc-url http://127.0.0.1:8545\n"
    "  opml submit model.gguf --account alice --once",
)
@click.argument("model", type=FILE)
@limit_option
@chain_options
@key_options
@engine_options
@loop_options
@json_option
def command(
    model: Path,
    limit: int | None,
    chain: ChainOptions,
    key: KeyOptions,
    engine: EngineOptions,
    once: bool,
    interval: float,
    as_json: bool,
) -> None:
    """Answer requests for a model, defend the claims, finalise them, deliver answers, withdraw.

    May be stopped and started at any moment: all it needs is on chain. With --json a line an action.
    """
    from opml.cli.operating import operate, report
    from opml.cli.workshop import Workshop
    from opml.dispute.players import Submitter
    from opml.models.model import load_model

    loaded = load_model(model, limit)
    chosen = engine.choose()
    gateway = chain.gateway(key.signer(), loaded.id)
    gateway.model(loaded.id)
    if not once:
        click.echo(
            f"answering requests for model {short(loaded.id)} as 0x{gateway.account.hex()}; Ctrl-C ends it",
            err=True,
        )
    workshop = Workshop(loaded, chosen)
    player = Submitter(gateway, workshop.own_of, workshop.answer, report(as_json))
    operate(player, once=once, interval=interval, tell=lambda text: click.echo(text, err=True))
