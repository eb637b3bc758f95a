"""`opml challenge`"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

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
from opml.cli.units import plain, short
from opml.errors import ChainError

if TYPE_CHECKING:
    from opml.chain.gateway import ChainGateway
    from opml.cli.workshop import Workshop


@click.command(
    "challenge",
    epilog="\b\nExamples:\n  opml challenge model.gguf --account bob --rpc-url http://127.0.0.1:8545\n"
    "  opml challenge model.gguf --watch",
)
@click.argument("model", type=FILE)
@limit_option
@click.option("--watch", is_flag=True, help="Only report which claims hold. Needs no key.")
@chain_options
@key_options
@engine_options
@loop_options
@json_option
def command(
    model: Path,
    limit: int | None,
    watch: bool,
    chain: ChainOptions,
    key: KeyOptions,
    engine: EngineOptions,
    once: bool,
    interval: float,
    as_json: bool,
) -> None:
    """Recompute every claim of a model; challenge a wrong one, play to the verdict, withdraw.

    May be stopped and started at any moment: all it needs is on chain. With --json a line an action.
    """
    if watch and key.given:
        raise click.UsageError("--watch signs nothing: leave out the key, or --watch")
    from opml.cli.operating import operate, report
    from opml.cli.workshop import Workshop
    from opml.dispute.players import Challenger
    from opml.models.model import load_model

    loaded = load_model(model, limit)
    chosen = engine.choose()
    gateway = chain.gateway(None if watch else key.signer(), loaded.id)
    gateway.model(loaded.id)
    if not once:
        who = "without a key" if watch else f"as 0x{gateway.account.hex()}"
        click.echo(f"checking claims of model {short(loaded.id)} {who}; Ctrl-C ends it", err=True)
    workshop = Workshop(loaded, chosen)
    if watch:
        _watch(gateway, workshop, once, interval, as_json)
        return
    player = Challenger(gateway, workshop.own_of, report(as_json))
    operate(player, once=once, interval=interval, tell=lambda text: click.echo(text, err=True))


def _watch(gateway: ChainGateway, workshop: Workshop, once: bool, interval: float, as_json: bool) -> None:
    from opml.cli.operating import findings

    seen: set[bytes] = set()
    while True:
        try:
            for finding in findings(gateway, workshop.own_of, seen):
                if as_json:
                    click.echo(json.dumps({"claim": plain(finding.posted.id), "wrong": plain(finding.wrong)}))
                else:
                    click.echo(f"claim 0x{finding.posted.id.hex()} {finding.text}")
        except ChainError as problem:
            if once:
                raise
            click.echo(f"{problem}; trying again in {interval:.0f} s", err=True)
        if once:
            return
        time.sleep(interval)
