"""How long a user waits: start-up, first token, loading, answering a reveal, verifying, the demo's own share.

    python benchmarks/latency.py MODEL.gguf [--peer-python PYTHON] [--only verify] [--json FILE]

`--only large` is for a 1B- or 7B-shaped file of `scripts/random_model.py`: loading, peak memory against file
and K and V, decode against llama.cpp, one position recomputed and opened. File caches are warm.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rounds import alternate, common_arguments, heading, machine, table, worker, write_json

PROMPT = "What is the capital of Norway?"
LONG = 4096
CONTEXT = 256
Row = dict[str, Any]


def opml(*arguments: str) -> tuple[float, float]:
    """Seconds of wall clock, and of processor time, of one `opml` command."""
    command = [sys.executable, "-m", "opml.cli.main", *arguments]
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    seconds, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def first_output(*arguments: str) -> float:
    """Seconds until an `opml` command prints its first character."""
    command = [sys.executable, "-m", "opml.cli.main", *arguments]
    start = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.read(1)
        seconds = time.perf_counter() - start
        process.stdout.read()
    if process.returncode != 0:
        raise subprocess.CalledProcessError(process.returncode, command)
    return seconds


def startup(model: Path, peer: Path | None, rounds: int) -> list[Row]:
    run = ("run", str(model), "--prompt", PROMPT, "--max-tokens")
    rows: list[Row] = []
    opml(*run, "1")
    for what, arguments, must in (
        ("opml --help", ("--help",), 0.15),
        ("opml run, one token and its claim", (*run, "1"), None),
    ):
        wall, cpu = zip(*(opml(*arguments) for _ in range(rounds)), strict=True)
        row: Row = {"what": what, "seconds": statistics.median(wall), "cpu": statistics.median(cpu)}
        rows.append(row if must is None else row | {"must": must})
    first = statistics.median(first_output(*run, "8") for _ in range(rounds))
    rows.append({"what": "opml run, to the first token", "seconds": first, "must": 1.0})
    return rows


def load(model: Path, peer: Path | None, rounds: int) -> list[Row]:
    rows = []
    for what, python, backend in (("load and pack the file", Path(sys.executable), "ours"), *_peers(peer)):
        found = []
        for _ in range(rounds + 1):
            with worker(python, backend, model, CONTEXT, 2) as one:
                assert one is not None
                found.append(one.loaded)
        rows.append({"what": what} | medians(found[1:]))
    return rows


def _peers(peer: Path | None) -> list[tuple[str, Path, str]]:
    return [("llama.cpp loads it", peer, "peer")] if peer is not None else []


def medians(found: list[dict[str, Any]], count: int = 1) -> Row:
    """Medians of wall clock and processor time, for each of `count` things done."""
    return {clock: statistics.median(one[clock] / count for one in found) for clock in ("seconds", "cpu")}


def reveal(model: Path, peer: Path | None, rounds: int) -> list[Row]:
    """Recompute one position with all its roots: what any reveal or opening needs."""
    rows: list[Row] = []
    for context in (CONTEXT, LONG):
        with worker(sys.executable, "ours", model, context, 2) as ours:
            assert ours is not None
            ours.ask("recompute", context=context, position=context - 1)
            found = [ours.ask("recompute", context=context, position=context - 1 - n) for n in range(rounds)]
        for part in ("tensors", "roots"):
            times = medians([one[part] for one in found])
            rows.append({"what": f"recompute a position of {context}: {part}", "must": 0.05} | times)
    return rows


def verify(model: Path, peer: Path | None, rounds: int) -> list[Row]:
    """A claim of 4,096 tokens recomputed as one batch, against the prefill of the same tokens."""
    with (
        worker(sys.executable, "ours", model, LONG, 2) as ours,
        worker(peer, "peer", model, LONG, 2) as other,
    ):
        assert ours is not None

        def batch(of: Any, yields: bool) -> Callable[[], float]:
            request = {"count": LONG, "commit": True, "yields": yields}
            return lambda: float(of.ask("batch", **request)["seconds"])

        works = {
            "prefill": batch(other, False) if other else None,
            "all output": batch(ours, True),
            "all prompt": batch(ours, False),
        }
        series = alternate(rounds, works)
        memory = ours.ask("memory")["peak"]
        their_memory = other.ask("memory")["peak"] if other else None
    rows: list[Row] = []
    for name in ("all output", "all prompt"):
        row: Row = {"what": f"verify {LONG} tokens, {name}", "seconds": series[name].median}
        if "prefill" in series:
            row |= {"must": 1.2 * series["prefill"].median}
            row["ratio"] = series[name].median / series["prefill"].median
        rows.append(row)
    if "prefill" in series:
        rows.append({"what": "llama.cpp's prefill of them", "seconds": series["prefill"].median})
    rows.append({"what": "peak memory then", "bytes": memory, "peer": their_memory})
    return rows


def demo(model: Path, peer: Path | None, rounds: int) -> list[Row]:
    """A whole dispute on the embedded chain: the time of the chain, and the rest, which is ours."""
    from opml.chain.embedded import EmbeddedChain
    from opml.cli.engines import params_of
    from opml.cli.story import Story
    from opml.cli.story_facts import Settings
    from opml.cli.view import SilentView
    from opml.cli.workshop import Workshop
    from opml.models.model import load_model
    from opml.vm.engine import get_engine

    loaded = load_model(model)
    workshop = Workshop(loaded, get_engine("native", 2))
    settings = Settings(tuple(loaded.encode_prompt(PROMPT)), params_of(), 16)
    timed: Any = Timed(EmbeddedChain())
    start = time.perf_counter()
    Story(timed, workshop, settings, SilentView()).play()
    total = time.perf_counter() - start
    return [
        {"what": "demo, chain in the process", "seconds": timed.spent},
        {"what": "demo, all else", "seconds": total - timed.spent, "must": 5.0},
    ]


class Timed:
    """An object whose calls are timed."""

    def __init__(self, inner: object) -> None:
        self._inner = inner
        self.spent = 0.0

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if not callable(found):
            return found

        def call(*arguments: Any, **named: Any) -> Any:
            start = time.perf_counter()
            try:
                return found(*arguments, **named)
            finally:
                self.spent += time.perf_counter() - start

        return call


def large(model: Path, peer: Path | None, rounds: int) -> list[Row]:
    """A large model: one after the other, since two of them may not fit."""
    from opml.models.model import load_model

    layout = load_model(model, CONTEXT).layout
    windows = [slot for slot in layout.slots if slot.instr.name in ("k", "v")]
    kv = CONTEXT * sum(layout.slot_leaves(slot, 0).total_bytes for slot in windows)
    size = model.stat().st_size
    request = {"context": CONTEXT // 4, "count": 8, "commit": True}
    with worker(sys.executable, "ours", model, CONTEXT, 2) as ours:
        assert ours is not None
        ours.ask("decode", **request)
        decoded = medians([ours.ask("decode", **request) for _ in range(rounds)], request["count"])
        memory = ours.ask("memory")
        again = ours.ask("recompute", context=CONTEXT // 4, position=CONTEXT // 4 - 1)
    rows: list[Row] = [
        {"what": "load", "must": 15.0} | medians([ours.loaded]),
        {"what": "decode a token"} | decoded,
        {"what": "recompute a position", "must": 1.0} | again["tensors"],
        {"what": "its roots", "must": 1.0} | again["roots"],
        {
            "what": "peak memory / (file + K, V)",
            "bytes": memory["peak"],
            "ratio": memory["peak"] / (size + kv),
        },
    ]
    if peer is not None:
        with worker(peer, "peer", model, CONTEXT, 2) as other:
            assert other is not None
            other.ask("decode", **request)
            theirs = medians([other.ask("decode", **request) for _ in range(rounds)], request["count"])
            rows.append({"what": "llama.cpp decodes a token"} | theirs)
            rows.append({"what": "llama.cpp's peak memory", "bytes": other.ask("memory")["peak"]})
            rows[1] |= {"must": theirs["seconds"], "ratio": theirs["seconds"] / decoded["seconds"]}
    return rows


SECTIONS = {
    "startup": startup,
    "load": load,
    "reveal": reveal,
    "verify": verify,
    "demo": demo,
    "large": large,
}


def report(facts: dict[str, Any]) -> str:
    """All rows as a table."""
    rows = []
    for row in facts["rows"]:
        value = f"{row['seconds']:.3f} s" if "seconds" in row else f"{row['bytes'] / 1e6:,.0f} MB"
        must = f"{row['must']:.2f} s" if "must" in row else ""
        cpu = f"{row['cpu']:.3f} s" if "cpu" in row else ""
        rows.append([row["what"], value, cpu, must, f"{row['ratio']:.2f}" if "ratio" in row else ""])
    return f"{heading(facts['machine'])}\n\n" + table(
        ["what", "measured", "processor time", "at most", "ratio"], rows
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    common_arguments(parser)
    parser.add_argument("--only", action="append", choices=SECTIONS, help="default: all but large")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    chosen = arguments.only or [name for name in SECTIONS if name != "large"]
    facts: dict[str, Any] = {"machine": machine(), "rows": []}
    for name in chosen:
        facts["rows"] += SECTIONS[name](arguments.model, arguments.peer_python, arguments.rounds)
    print(report(facts))
    write_json(arguments.json, facts)


if __name__ == "__main__":
    main()
