"""`opml games`"""

from __future__ import annotations

import json

import click

from opml.cli.options import ChainOptions, chain_options, json_option
from opml.cli.units import DIGEST, plain


@click.command("games", epilog="\b\nExample:\n  opml games --rpc-url http://127.0.0.1:8545 --claim 0x5a…")
@chain_options
@click.option("--claim", type=DIGEST, help="Only games against this claim.")
@json_option
def command(chain: ChainOptions, claim: bytes | None, as_json: bool) -> None:
    """List dispute games: phase, whose turn it is, what is left on its clock."""
    from opml.chain.report import game_rows

    gateway = chain.gateway(None)
    rows = game_rows(gateway, claim)
    if as_json:
        click.echo(json.dumps(plain(rows), indent=1))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("game", "claim", "challenger", "phase", "to move", "clock left", "moves", "where")
    for row in rows:
        table.add_row(*row.cells())
    Console().print(table if rows else "no games")
