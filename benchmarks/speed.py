"""Speed of the native engine, commitment on, against llama.cpp on the same file and threads.

    python benchmarks/speed.py MODEL.Q4_1.gguf --peer-python PYTHON [--json FILE] [--only decode]

Both engines run in processes of their own, in alternating rounds; a ratio is that of the medians, beside it
the least and the largest of a round. Files of other tensor types are made by `scripts/requantise.py`. Without
`--peer-python`, an interpreter that has llama-cpp-python, only our figures are given. `--clock cpu` takes the
processor time of one-thread rows: a substitute on a machine that is busy with other things.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rounds import (
    NATIVE,
    Worker,
    alternate,
    common_arguments,
    heading,
    machine,
    ratios,
    requantised,
    table,
    worker,
    write_json,
)


@dataclass(frozen=True, slots=True)
class Case:
    """One row: decode the last `count` of `context` positions, or a batch of `count`; ratios asked for."""

    kind: str
    op: str
    context: int
    count: int
    threads: int
    must: float | None = None
    stretch: float | None = None
    yields: bool = False

    @property
    def title(self) -> str:
        if self.op == "decode":
            return f"{self.kind} decode, context {self.context}"
        return f"{self.kind} batch of {self.count}" + (", all yield" if self.yields else "")


CASES = (
    Case("Q4_1", "decode", 256, 128, 1, 2.3, 2.9),
    Case("Q4_1", "decode", 256, 128, 2, 2.3, 2.9),
    Case("Q4_1", "decode", 2048, 48, 1, 2.0, 2.5),
    Case("Q4_1", "decode", 2048, 48, 2, 2.0, 2.5),
    Case("Q4_1", "batch", 512, 512, 1, 3.3, 4.5),
    Case("Q4_1", "batch", 512, 512, 2, 3.3, 4.5),
    Case("Q4_1", "batch", 512, 512, 2, None, None, yields=True),
    Case("Q4_0", "decode", 256, 128, 1, 1.4, 1.7),
    Case("Q4_0", "decode", 256, 128, 2, 1.4, 1.7),
    Case("Q4_0", "batch", 512, 512, 1, 1.3, 1.8),
    Case("Q4_0", "batch", 512, 512, 2, 1.3, 1.8),
    Case("F16", "decode", 256, 64, 1, 1.0, 1.2),
    Case("F16", "decode", 256, 64, 2, 1.0, 1.2),
    Case("F16", "batch", 512, 512, 1, 0.9, 1.1),
    Case("F16", "batch", 512, 512, 2, 0.9, 1.1),
)
COMMITMENT = (
    Case("Q4_1", "decode", 256, 128, 1),
    Case("Q4_1", "batch", 512, 512, 1),
    Case("Q4_1", "decode", 256, 128, 2),
    Case("Q4_1", "batch", 512, 512, 2),
)
SHARE_MUST = {"decode": 0.10, "batch": 0.25}
SOFT = (Case("Q4_1", "decode", 64, 16, 1), Case("Q4_1", "batch", 64, 64, 1))
SOFT_MUST, SOFT_STRETCH = 15.0, 8.0
SECTIONS = ("decode", "batch", "commitment", "soft", "levels")


@dataclass(frozen=True)
class Bench:
    """What the sections share: files by tensor type, the peer, rounds, the clock."""

    files: dict[str, Path]
    peer: Path | None
    rounds: int
    clock: str
    level: str
    scale: int

    def settings(self, case: Case) -> tuple[int, int]:
        """Context and threads of a worker for a case."""
        return max(1, case.count // self.scale, case.context // self.scale), case.threads

    def work(self, of: Worker | None, case: Case, commit: bool = True) -> Callable[[], float] | None:
        """One round of a case on a worker: seconds."""
        if of is None:
            return None
        request: dict[str, Any] = {"count": max(1, case.count // self.scale), "commit": commit}
        if case.op == "decode":
            request["context"] = self.settings(case)[0]
        else:
            request["yields"] = case.yields
        clock = "cpu" if self.clock == "cpu" and case.threads == 1 else "seconds"
        return lambda: float(of.ask(case.op, **request)[clock])

    def rate(self, case: Case, seconds: float) -> float:
        """Tokens a second."""
        return max(1, case.count // self.scale) / seconds


def against_peer(bench: Bench, cases: Iterable[Case]) -> list[dict[str, Any]]:
    """Rows of the table of ratios, with the peak memory of both processes after the work."""
    rows = []
    for case in cases:
        model, settings = bench.files[case.kind], bench.settings(case)
        with (
            worker(sys.executable, "ours", model, *settings, level=bench.level) as ours,
            worker(bench.peer, "peer", model, *settings) as peer,
        ):
            assert ours is not None
            works = {"ours": bench.work(ours, case), "peer": bench.work(peer, case)}
            series = alternate(bench.rounds, works)
            row: dict[str, Any] = {"case": case.title, "threads": case.threads, "op": case.op}
            row |= {"must": case.must, "stretch": case.stretch, "level": ours.loaded["level"]}
            row |= {"ours": bench.rate(case, series["ours"].median), "ours_memory": ours.ask("memory")}
            if peer is not None:
                ratio, least, most = ratios(series["peer"], series["ours"])
                row |= {"peer": bench.rate(case, series["peer"].median), "peer_memory": peer.ask("memory")}
                row |= {"ratio": ratio, "least": least, "most": most}
            rows.append(row)
            print(f"  {case.title}, {case.threads} threads: {row['ours']:.1f}/s", file=sys.stderr)
    return rows


def commitment(bench: Bench, cases: Iterable[Case]) -> list[dict[str, Any]]:
    """Share of the time that the commitment takes: the same work with it and without."""
    rows = []
    for case in cases:
        settings = bench.settings(case)
        with worker(sys.executable, "ours", bench.files[case.kind], *settings, level=bench.level) as ours:
            works = {"on": bench.work(ours, case), "off": bench.work(ours, case, commit=False)}
            series = alternate(bench.rounds, works)
        rates = {name: bench.rate(case, found.median) for name, found in series.items()}
        share = 1 - series["off"].median / series["on"].median
        rows.append({"case": case.title, "threads": case.threads, "op": case.op, "share": share} | rates)
    return rows


def soft(bench: Bench, cases: Iterable[Case]) -> list[dict[str, Any]]:
    """How many times slower the soft engine is than the native one."""
    rows = []
    for case in cases:
        model, settings = bench.files[case.kind], bench.settings(case)
        with (
            worker(sys.executable, "ours", model, *settings, level=bench.level) as native,
            worker(sys.executable, "ours", model, *settings, engine="soft", level=bench.level) as softly,
        ):
            series = alternate(
                bench.rounds, {"native": bench.work(native, case), "soft": bench.work(softly, case)}
            )
        rates = {name: bench.rate(case, found.median) for name, found in series.items()}
        ratio = series["soft"].median / series["native"].median
        rows.append({"case": case.title, "threads": case.threads, "slower": ratio} | rates)
    return rows


def levels(bench: Bench, cases: Iterable[Case]) -> list[dict[str, Any]]:
    """The same cases at every instruction-set level of this processor."""
    rows = []
    for case in cases:
        for level in NATIVE.levels():
            settings = bench.settings(case)
            with worker(sys.executable, "ours", bench.files[case.kind], *settings, level=level) as ours:
                series = alternate(min(3, bench.rounds), {"ours": bench.work(ours, case)})
            rate = bench.rate(case, series["ours"].median)
            rows.append({"case": case.title, "threads": case.threads, "level": level, "ours": rate})
    return rows


def report(found: dict[str, Any]) -> str:
    """All sections as tables."""
    scaled = "" if found["scale"] == 1 else f", all lengths divided by {found['scale']}"
    parts = [heading(found["machine"]), f"clock of one-thread rows: {found['clock']}{scaled}"]
    if found.get("speed"):
        head = ["tokens a second", "threads", "ours", "llama.cpp", "ratio", "least … most", "must", "stretch"]
        head += ["peak MB", "of llama.cpp", "ratio"]
        parts.append(table(head, [_speed_row(row) for row in found["speed"]]))
    if found.get("commitment"):
        rows = [
            [
                row["case"],
                str(row["threads"]),
                f"{row['on']:.1f}",
                f"{row['off']:.1f}",
                f"{row['share']:.1%}",
                f"{SHARE_MUST[row['op']]:.0%}",
            ]
            for row in found["commitment"]
        ]
        head = ["commitment", "threads", "with", "without", "share of the time", "at most"]
        parts.append(table(head, rows))
    if found.get("soft"):
        rows = [
            [
                row["case"],
                str(row["threads"]),
                f"{row['native']:.1f}",
                f"{row['soft']:.1f}",
                f"{row['slower']:.1f}",
                f"{SOFT_MUST:.0f}",
                f"{SOFT_STRETCH:.0f}",
            ]
            for row in found["soft"]
        ]
        parts.append(
            table(["soft engine", "threads", "native", "soft", "times slower", "must", "stretch"], rows)
        )
    if found.get("levels"):
        rows = [[r["case"], str(r["threads"]), r["level"], f"{r['ours']:.1f}"] for r in found["levels"]]
        parts.append(table(["level", "threads", "instructions", "tokens a second"], rows))
    return "\n\n".join(parts)


def _speed_row(row: dict[str, Any]) -> list[str]:
    ours = row["ours_memory"]["peak"]
    cells = [row["case"], str(row["threads"]), f"{row['ours']:.1f}"]
    limits = [f"{row[name]:.1f}" if row[name] else "" for name in ("must", "stretch")]
    if "peer" not in row:
        return [*cells, "", "", "", *limits, f"{ours / 1e6:.0f}", "", ""]
    theirs = row["peer_memory"]["peak"]
    span = f"{row['least']:.2f} … {row['most']:.2f}"
    cells += [f"{row['peer']:.1f}", f"{row['ratio']:.2f}", span, *limits]
    return [*cells, f"{ours / 1e6:.0f}", f"{theirs / 1e6:.0f}", f"{ours / theirs:.2f}"]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    common_arguments(parser)
    parser.add_argument("--only", action="append", choices=SECTIONS, help="sections to run; default: all")
    parser.add_argument(
        "--kinds", default="Q4_1,Q4_0,F16", help="tensor types; the model itself is the first"
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", default="1,2", help="numbers of threads to measure")
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    parser.add_argument("--level", default="auto", choices=("auto", *NATIVE.levels()))
    parser.add_argument("--scale", type=int, default=1, help="divide all lengths, for a quick look")
    arguments = parser.parse_args()
    own, *others = arguments.kinds.split(",")
    files = {own: arguments.model}
    files |= {kind: requantised(arguments.model, kind, arguments.work) for kind in others}
    bench = Bench(
        files, arguments.peer_python, arguments.rounds, arguments.clock, arguments.level, arguments.scale
    )
    sections = arguments.only or SECTIONS
    threads = {int(n) for n in arguments.threads.split(",")}

    def chosen(cases: Iterable[Case]) -> list[Case]:
        return [case for case in cases if case.kind in files and case.threads in threads]

    found: dict[str, Any] = {"machine": machine(), "clock": arguments.clock, "rounds": arguments.rounds}
    found["scale"] = arguments.scale
    found["speed"] = against_peer(bench, [case for case in chosen(CASES) if case.op in sections])
    if "commitment" in sections:
        found["commitment"] = commitment(bench, chosen(COMMITMENT))
    if "soft" in sections:
        found["soft"] = soft(bench, chosen(SOFT))
    if "levels" in sections:
        found["levels"] = levels(bench, [case for case in chosen(COMMITMENT) if case.threads == 1])
    print(report(found))
    write_json(arguments.json, found)


if __name__ == "__main__":
    main()
