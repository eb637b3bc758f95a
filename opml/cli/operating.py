"""The loops of `opml submit` and `opml challenge`, and how their progress is told."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import click

from opml.chain.gateway import ChainGateway
from opml.cli.units import duration, plain
from opml.dispute.gateway import ClaimRecord, ClaimStatus, RequestRecord
from opml.dispute.own import Own
from opml.dispute.players import Player, Progress
from opml.dispute.state import clock_of
from opml.dispute.strategy import Objection, objection
from opml.errors import ChainError


def operate(
    player: Player,
    *,
    once: bool,
    interval: float,
    sleep: Callable[[float], None] = time.sleep,
    tell: Callable[[str], None] = lambda text: None,
) -> None:
    """Act until nothing is left to do (`once`), or for ever, looking again every `interval` seconds.

    A chain that can't be reached is waited for; with `once` its `ChainError` is raised, and another one where
    the last look ended with transactions that were refused.
    """
    acted = 0
    while True:
        refused = player.refused
        try:
            sent = player.act()
            if not sent:
                sent = player.withdraw()
        except ChainError as problem:
            if once:
                raise
            tell(f"{problem}; trying again in {interval:.0f} s")
            sent = 0
        acted += sent
        if not sent:
            if once:
                if player.refused > refused:
                    raise ChainError("the chain refused transactions: the lines above say which, and why")
                if not acted:
                    tell("nothing was done")
                return
            sleep(interval)


def report(as_json: bool) -> Callable[[Progress], None]:
    """Prints progress as it comes: a line for people, or a JSON object a line."""

    def tell(progress: Progress) -> None:
        click.echo(json.dumps(facts_of(progress)) if as_json else line_of(progress))

    return tell


def line_of(progress: Progress) -> str:
    """One transaction as a line."""
    where = f"claim 0x{progress.claim_id[:4].hex()}… " if progress.claim_id else ""
    text = f"{progress.who:10} {where}{progress.text}"
    if progress.refused:
        return f"{text}: refused: {progress.refused}"
    gas = f", {progress.receipt.gas:,} gas" if progress.receipt else ""
    clock = ""
    if progress.game and progress.terms and progress.game.is_open:
        left = clock_of(progress.game, progress.terms) - progress.game.used(progress.now)
        clock = f", {duration(max(0, left))} left on its clock"
    return text + gas + clock


def facts_of(progress: Progress) -> dict[str, object]:
    """One transaction as data."""
    return {
        "who": progress.who,
        "text": progress.text,
        "move": type(progress.move).__name__ if progress.move else None,
        "claim": plain(progress.claim_id),
        "game": plain(progress.game_id),
        "gas": progress.receipt.gas if progress.receipt else None,
        "transaction": plain(progress.receipt.tx_hash) if progress.receipt else None,
        "refused": progress.refused,
    }


@dataclass(frozen=True, slots=True)
class Finding:
    """What a recomputation says of a claim; `wrong` is None where it holds."""

    posted: ClaimRecord
    wrong: Objection | None

    @property
    def text(self) -> str:
        if self.wrong is None:
            return "holds"
        token = f" (output token {self.wrong.j})" if self.wrong.j else ""
        return f"WRONG: {self.wrong.ground.value}{token}"


def findings(
    gateway: ChainGateway,
    own_of: Callable[[RequestRecord, ClaimRecord], Own],
    seen: set[bytes],
) -> Iterator[Finding]:
    """Recomputes every pending claim that isn't in `seen`, and adds it there."""
    requests = {record.id: record for record in gateway.requests()}
    for posted in gateway.claims():
        request = requests.get(posted.claim.request_id)
        if request is None or posted.id in seen or posted.status != ClaimStatus.PENDING:
            continue
        seen.add(posted.id)
        yield Finding(posted, objection(posted, own_of(request, posted)))


__all__ = ["Finding", "facts_of", "findings", "line_of", "operate", "report"]
