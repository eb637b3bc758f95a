"""`opml selftest`"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from opml.cli.options import FILE, json_option
from opml.errors import EngineError

if TYPE_CHECKING:
    from opml.cli.backends import Row


@click.command(
    "selftest",
    epilog="\b\nExamples:\n  opml selftest\n  opml selftest --backend native --vectors f32.npz --json",
)
@click.option("--vectors", type=FILE, help="Vector file (.npz) instead of the package's.")
@click.option(
    "--backend",
    "names",
    multiple=True,
    type=click.Choice(["reference", "soft", "native", "evm"]),
    help="Only this backend (may be repeated); all by default.",
)
@click.option("--full", is_flag=True, help="Hold the EVM to every case instead of a sample. Takes long.")
@json_option
def command(vectors: Path | None, names: tuple[str, ...], full: bool, as_json: bool) -> None:
    """Hold the arithmetic of every backend to float vectors, bit by bit.

    Exits with 5 when a backend differs in any case or isn't available here.
    """
    from opml.cli.backends import BACKENDS, EVM_SAMPLE, backend, load_vectors, selftest

    cases = load_vectors(vectors)
    missing: dict[str, str] = {}
    found = []
    for name in names or BACKENDS:
        try:
            found.append(backend(name))
        except EngineError as problem:
            missing[name] = str(problem)
    rows = selftest(cases, found, evm_sample=None if full else EVM_SAMPLE)
    bad = [row for row in rows if row.mismatches]
    if as_json:
        click.echo(
            json.dumps({"rows": [dataclasses.asdict(row) for row in rows], "missing": missing}, indent=1)
        )
    else:
        _table(rows, missing)
    if bad:
        worst = bad[0]
        raise EngineError(
            f"{worst.backend} differs in {worst.mismatches:,} of {worst.cases:,} cases: {worst.first}: "
            "don't use this backend here, and report it with the processor's name"
        )
    if missing:
        raise EngineError("; ".join(missing.values()))


def _table(rows: list[Row], missing: dict[str, str]) -> None:
    from rich.console import Console
    from rich.table import Table

    from opml.cli.backends import BACKENDS

    backends = [name for name in BACKENDS if any(row.backend == name for row in rows)]
    table = Table("operation", *backends, title="cases / mismatches")
    cells: dict[str, dict[str, str]] = {}
    for row in rows:
        style = "red" if row.mismatches else "green"
        cells.setdefault(row.operation, {})[row.backend] = f"{row.cases:,} / [{style}]{row.mismatches:,}[/]"
    for operation, by_backend in cells.items():
        table.add_row(operation, *(by_backend.get(name, "-") for name in backends))
    console = Console()
    console.print(table)
    for name, why in missing.items():
        console.print(f"{name}: {why}", style="red", highlight=False)
