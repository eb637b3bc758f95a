"""`opml deploy`"""

from __future__ import annotations

import json

import click

from opml.cli.options import (
    ChainOptions,
    KeyOptions,
    chain_options,
    fanout_option,
    force_option,
    json_option,
    key_options,
)
from opml.cli.units import Seconds, Wei, ether
from opml.dispute.limits import MOST_CEILING, MOST_CHALLENGERS, MOST_CLOCK, MOST_EXTRA, MOST_WINDOW
from opml.errors import InputError


@click.command(
    "deploy",
    epilog="\b\nExample:\n  opml deploy --rpc-url http://127.0.0.1:8545 --account alice --window 1h",
)
@chain_options
@key_options
@click.option(
    "--window",
    type=Seconds(1, MOST_WINDOW),
    default="1h",
    show_default=True,
    help="Time to challenge a claim in.",
)
@click.option(
    "--clock",
    type=Seconds(1, MOST_CLOCK),
    default="1h",
    show_default=True,
    help="Time of each side in a game.",
)
@fanout_option
@click.option(
    "--ceiling",
    type=Wei(1, MOST_CEILING),
    default="20gwei",
    show_default=True,
    help="Base fee that bonds cover.",
)
@click.option(
    "--challengers",
    type=click.IntRange(1, MOST_CHALLENGERS),
    default=4,
    show_default=True,
    help="Challengers whose gas a lost bond repays.",
)
@click.option(
    "--incentive",
    type=Wei(0, MOST_EXTRA),
    default="0.001ether",
    show_default=True,
    help="What a winner gets beyond its gas.",
)
@click.option(
    "--margin",
    type=Wei(0, MOST_EXTRA),
    default="0.001ether",
    show_default=True,
    help="What a groundless game costs beyond its gas.",
)
@force_option
@json_option
def command(
    chain: ChainOptions,
    key: KeyOptions,
    window: int,
    clock: int,
    fanout: int,
    ceiling: int,
    challengers: int,
    incentive: int,
    margin: int,
    force: bool,
    as_json: bool,
) -> None:
    """Deploy the contracts and write their addresses to the deployment file.

    There is no owner and nothing to upgrade: whoever deploys has no right afterwards. A deployment file that
    exists is kept, since it may be the only record of contracts in use: name another with --deployment, or
    pass --force.

    Interrupted, it goes on where it stopped when it is called again: what is on the chain is kept in a file
    beside the deployment file until that is written.
    """
    from opml.chain.adapter import Receipt
    from opml.chain.deployment import deploy
    from opml.chain.unfinished import Unfinished
    from opml.dispute.types import Terms
    from opml.file_output import check_place

    terms = Terms(
        window=window,
        submitter_clock=clock,
        challenger_clock=clock,
        fanout=fanout,
        challengers=challengers,
        ceiling=ceiling,
        incentive=incentive,
        margin=margin,
    )
    check_place(chain.deployment, force=force)
    connected, signer = chain.connect(), key.signer()
    unfinished = Unfinished(chain.deployment, connected)
    addresses = dict(unfinished.addresses)
    for name, address in addresses.items():
        click.echo(f"{name:14} {address}  is there already ({unfinished.file})", err=as_json)
    receipts: dict[str, Receipt] = {}

    def report(name: str, receipt: Receipt) -> None:
        receipts[name] = receipt
        addresses[name] = str(receipt.contract)
        unfinished.keep(addresses)
        if not as_json:
            click.echo(f"{name:14} {receipt.contract}  {receipt.gas_used:>9,} gas")

    try:
        made = deploy(connected, signer, terms, report, unfinished.addresses, unfinished.block)
    except BaseException:
        if addresses and unfinished.file.is_file():
            click.echo(f"{unfinished.file} keeps what is deployed: call it again to go on", err=True)
        raise
    try:
        made.save(chain.deployment)
    except InputError:
        click.echo(f"the contracts are deployed; keep this as a deployment file:\n{made.text}", err=True)
        raise
    unfinished.remove()
    if as_json:
        gas = {name: receipt.gas_used for name, receipt in receipts.items()}
        click.echo(json.dumps({"chainId": made.chain_id, "contracts": dict(made.addresses), "gas": gas}))
    else:
        cost = sum(receipt.cost for receipt in receipts.values())
        click.echo(f"written to {chain.deployment}; gas cost {ether(cost)}")
