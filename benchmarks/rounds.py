"""Workers as seen from a benchmark: alternating rounds, medians, ratios, tables."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

NATIVE: Any = importlib.import_module("opml.vm._native")
HERE = Path(__file__).parent
SCRIPTS = HERE.parent / "scripts"


class Worker:
    """A process with one engine and one model; `ask` blocks until it has answered."""

    def __init__(self, python: str | Path, backend: str) -> None:
        self._process = subprocess.Popen(
            [str(python), str(HERE / "worker.py"), backend],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.name = backend
        self.loaded: dict[str, Any] = {}

    def ask(self, op: str, **request: Any) -> dict[str, Any]:
        """The answer to one request. Raises `SystemExit` when the worker failed or died."""
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps({"op": op} | request) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        answer: dict[str, Any] = json.loads(line) if line else {"error": "the process died"}
        if "error" in answer:
            raise SystemExit(f"{self.name}, {op}: {answer['error']}")
        return answer

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


@contextmanager
def worker(
    python: str | Path | None, backend: str, model: Path, context: int, threads: int, **options: Any
) -> Iterator[Worker | None]:
    """A worker with a model loaded; None without an interpreter to run it."""
    if python is None:
        yield None
        return
    found = Worker(python, backend)
    try:
        request = {"model": str(model), "context": context, "threads": threads, "options": options}
        found.loaded = found.ask("load", **request)
        yield found
    finally:
        found.close()


@dataclass(frozen=True, slots=True)
class Series:
    """Seconds of the same work, round by round."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)


def alternate(
    rounds: int, works: dict[str, Callable[[], float] | None], warm: bool = True
) -> dict[str, Series]:
    """Runs each work once a round, A B A B; the first round, which warms caches, is not counted."""
    times: dict[str, list[float]] = {name: [] for name, work in works.items() if work}
    for n in range(rounds + warm):
        for name, work in works.items():
            if work is None:
                continue
            seconds = work()
            if n >= warm:
                times[name].append(seconds)
    return {name: Series(tuple(found)) for name, found in times.items()}


def ratios(slow: Series, fast: Series) -> tuple[float, float, float]:
    """(ratio of the medians, least and largest ratio of a round): how many times faster `fast` is."""
    by_round = [a / b for a, b in zip(slow.seconds, fast.seconds, strict=True)]
    return slow.median / fast.median, min(by_round), max(by_round)


def busy(seconds: float = 1.0) -> float:
    """Processors that other processes keep busy just now; 0 where the system doesn't say."""

    def idle() -> int:
        with open("/proc/stat") as file:
            fields = file.readline().split()
        return int(fields[4]) + int(fields[5])

    try:
        before = idle()
        time.sleep(seconds)
        rested = (idle() - before) / os.sysconf("SC_CLK_TCK") / seconds
    except OSError:
        return 0.0
    return max(0.0, (os.cpu_count() or 1) - rested)


def machine() -> dict[str, Any]:
    """What is measured on, and how busy it is with other things: asked before the measurement."""
    model = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo") as file:
            facts = dict(line.split(":", 1) for line in file if ":" in line)
        facts = {key.strip(): value.strip() for key, value in facts.items()}
        numbers = f"family {facts['cpu family']} model {facts['model']}"
        model = f"{facts['model name']} ({numbers})"
    except (OSError, KeyError):
        pass
    return {
        "processor": model,
        "cores": os.cpu_count(),
        "busy": busy(),
        "date": time.strftime("%Y-%m-%d"),
    }


def heading(facts: dict[str, Any]) -> str:
    """One line about the machine; says when it was busy."""
    noise = f"BUSY with other work ({facts['busy']:.1f} processors): figures are noisy"
    state = noise if facts["busy"] > 0.2 else "otherwise idle"
    return f"{facts['processor']}, {facts['cores']} cores, {facts['date']}, {state}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table with its columns aligned."""
    widths = [max(len(row[n]) for row in [head, *rows]) for n in range(len(head))]
    lines = [[cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in [head, *rows]]
    lines.insert(1, ["-" * width for width in widths])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def requantised(model: Path, kind: str, folder: Path) -> Path:
    """`model` in another tensor type, made in `folder` if it isn't there yet."""
    folder.mkdir(parents=True, exist_ok=True)
    out = folder / f"{model.stem}.{kind}.gguf"
    if not out.exists():
        part = out.with_suffix(".part")
        command = [sys.executable, str(SCRIPTS / "requantise.py"), str(model), str(part), "--type", kind]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        part.replace(out)
    return out


def common_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments that benchmarks against the peer share."""
    parser.add_argument("model", type=Path, help="a GGUF file, e.g. SmolLM2-135M-Instruct.Q4_1.gguf")
    parser.add_argument("--peer-python", type=Path, help="interpreter that has llama-cpp-python")
    work = Path(tempfile.gettempdir()) / "opml-benchmarks"
    parser.add_argument("--work", type=Path, default=work, help="where files of other types are made")
    parser.add_argument("--json", type=Path, help="write the figures there too")


def write_json(path: Path | None, value: Any) -> None:
    """The figures as a file, if one was asked for."""
    if path is not None:
        path.write_text(json.dumps(value, indent=1) + "\n")
