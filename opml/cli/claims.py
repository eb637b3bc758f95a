"""`opml claims`"""

from __future__ import annotations

import json

import click

from opml.cli.options import ChainOptions, chain_options, json_option
from opml.cli.units import columns, plain


@click.command(
    "claims",
    epilog="\b\nExamples:\n  opml claims --rpc-url http://127.0.0.1:8545\n  opml claims --json",
)
@chain_options
@json_option
def command(chain: ChainOptions, as_json: bool) -> None:
    """List requests and the claims that answer them, oldest first."""
    from opml.chain.report import claim_rows

    gateway = chain.gateway(None)
    rows = claim_rows(gateway)
    if as_json:
        click.echo(json.dumps(plain(rows), indent=1))
        return
    head = ("request", "asked", "claim", "state", "final in", "games", "answer")
    click.echo(columns(head, [row.cells() for row in rows]) if rows else "no requests")
