"""`opml games`"""

from __future__ import annotations

import json

import click

from opml.cli.options import ChainOptions, chain_options, json_option
from opml.cli.units import HASH_START, columns, plain


@click.command("games", epilog="\b\nExample:\n  opml games --rpc-url http://127.0.0.1:8545 --claim 0x5a…")
@chain_options
@click.option("--claim", type=HASH_START, help="Only games against claims whose hash begins so.")
@json_option
def command(chain: ChainOptions, claim: str | None, as_json: bool) -> None:
    """List dispute games: phase, whose turn it is, what is left on its clock."""
    from opml.chain.report import game_rows

    gateway = chain.gateway(None)
    rows = [row for row in game_rows(gateway) if claim is None or row.claim_id.hex().startswith(claim)]
    if as_json:
        click.echo(json.dumps(plain(rows), indent=1))
        return
    head = ("game", "claim", "challenger", "phase", "to move", "clock left", "moves", "where")
    click.echo(columns(head, [row.cells() for row in rows]) if rows else "no games")
