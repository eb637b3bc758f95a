"""Cost against context length and against model size, as tables and as charts for the documentation.

    python benchmarks/scaling.py MODEL.gguf [LARGER.gguf …] [--clock cpu] [--json FILE]

The first model is measured at several context lengths, every model at one. Larger ones come from
`scripts/random_model.py`. One thread; the charts are Mermaid.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from committed_bytes import committed
from roofline import multiply_adds, weight_bytes
from rounds import heading, machine, table, worker, write_json

from opml.models.model import load_model

CONTEXTS = (128, 512, 1024, 2048, 4096, 8192)
AT = 128


def point(model: Path, context: int, clock: str, rounds: int, decoded: int, batch: int) -> dict[str, float]:
    """Milliseconds a token at a context length, with commitment and without, and the shares it takes."""
    with worker(sys.executable, "ours", model, context, 1) as ours:
        assert ours is not None

        def spent(op: str, **request: Any) -> list[float]:
            """With commitment and without, in turn: what else the machine does must not meet one alone."""
            found: dict[bool, list[float]] = {True: [], False: []}
            for _ in range(rounds):
                for commit, times in found.items():
                    times.append(float(ours.ask(op, commit=commit, **request)[clock]))
            return [1000 * statistics.median(times) / int(request["count"]) for times in found.values()]

        both = spent("decode", context=context, count=decoded)
        batches = spent("batch", count=batch, yields=False)
        memory = ours.ask("memory")["peak"]
    return {
        "decode": both[0],
        "decode_share": 1 - both[1] / both[0],
        "batch": batches[0],
        "batch_share": 1 - batches[1] / batches[0],
        "memory": memory,
    }


def by_context(model: Path, clock: str, rounds: int, contexts: Sequence[int]) -> list[dict[str, Any]]:
    """One model at several context lengths; the batch is the whole context."""
    layout = load_model(model).layout
    return [
        {"context": n, "bytes": committed(layout, n).bytes} | point(model, n, clock, rounds, 16, n)
        for n in contexts
    ]


def by_size(models: Sequence[Path], clock: str, rounds: int) -> list[dict[str, Any]]:
    """Every model at one context length."""
    rows = []
    for model in models:
        loaded = load_model(model, AT)
        size = {"weights": weight_bytes(loaded.layout), "multiply_adds": multiply_adds(loaded.layout, True)}
        row = {"model": loaded.name, "bytes": committed(loaded.layout, AT).bytes} | size
        rows.append(row | point(model, AT, clock, rounds, 8, AT))
    return rows


def chart(title: str, axis: Sequence[str], lines: dict[str, list[float]], unit: str) -> str:
    """A Mermaid chart of some lines over the same axis."""
    most = max(max(values) for values in lines.values())
    body = [f'    title "{title}: {", ".join(lines)}"', f"    x-axis [{', '.join(axis)}]"]
    body.append(f'    y-axis "{unit}" 0 --> {1.1 * most:.3g}')
    body += [f"    line [{', '.join(f'{value:.3g}' for value in values)}]" for values in lines.values()]
    return "```mermaid\nxychart-beta\n" + "\n".join(body) + "\n```"


def report(facts: dict[str, Any]) -> str:
    """Tables and charts."""
    parts = [heading(facts["machine"])]
    head = ["ms a token, decoded", "of it commitment", "ms a token, batch", "of it commitment"]
    head += ["committed kB a position", "peak MB"]

    def cells(row: dict[str, Any]) -> list[str]:
        shares = [f"{row[name]:.2f}" if "share" not in name else f"{row[name]:.1%}" for name in KEYS]
        return [*shares, f"{row['bytes'] / 1e3:.0f}", f"{row['memory'] / 1e6:,.0f}"]

    if facts["contexts"]:
        rows = [[str(row["context"]), *cells(row)] for row in facts["contexts"]]
        parts.append(table(["context", *head], rows))
        lines = {name: [row[name] for row in facts["contexts"]] for name in ("decode", "batch")}
        axis = [str(row["context"]) for row in facts["contexts"]]
        parts.append(chart("by context length", axis, lines, "ms a token"))
    rows = [[row["model"], f"{row['weights'] / 1e6:,.0f}", *cells(row)] for row in facts["sizes"]]
    parts.append(table(["model", "MB read a token", *head], rows))
    if len(facts["sizes"]) > 1:
        axis = [f'"{row["model"]}"' for row in facts["sizes"]]
        share = {
            name: [100 * row[name] for row in facts["sizes"]] for name in ("decode_share", "batch_share")
        }
        parts.append(chart("commitment by model", axis, share, "% of the time"))
    return "\n\n".join(parts)


KEYS = ("decode", "decode_share", "batch", "batch_share")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", type=Path, nargs="+")
    parser.add_argument(
        "--contexts", type=lambda text: [int(n) for n in text.split(",") if n], default=CONTEXTS
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    parser.add_argument("--json", type=Path, help="write the figures there too")
    arguments = parser.parse_args()
    clock = "cpu" if arguments.clock == "cpu" else "seconds"
    facts: dict[str, Any] = {"machine": machine(), "clock": clock}
    facts["contexts"] = by_context(arguments.models[0], clock, arguments.rounds, arguments.contexts)
    facts["sizes"] = by_size(arguments.models, clock, arguments.rounds)
    print(report(facts))
    write_json(arguments.json, facts)


if __name__ == "__main__":
    main()
