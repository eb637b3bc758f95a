"""What this processor can do at most, and how near the engine comes.

    python benchmarks/roofline.py MODEL.gguf [--threads 1] [--json FILE]

`peaks.c` is built with the system's C compiler and measures, in the same run, memory bandwidth, clock and
peak multiply-adds. Then: decode against reading every weight once a token; the batch against the peak of
8-bit multiply-adds; hashing against its instruction count.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from rounds import HERE, NATIVE, common_arguments, heading, machine, table, worker, write_json

from opml.vm.isa import Fold, Kind
from opml.vm.layout import Layout

CONTEXT = 512
KECCAK_BYTES = 136
KECCAK_ROTATIONS = {8: 24 * (5 + 24), 4: 24 * (2 * 21 + 6 + 2)}
KECCAK_LOGIC = {8: 24 * (10 + 5 + 25 + 25 + 1), 4: 24 * (20 + 5 + 25 + 50 + 1 + 21 + 2 * 6)}
"""Instructions of a permutation by the lanes of a vector. With AVX-512 each round has column parities by
three-way xors (10), their mixing (5 rotations, 5 xors, 25 xors into the lanes), 24 rotations, 25 three-way
chi, the constant. With AVX2 parities take 20, chi 50; 21 of the 29 rotations take two shifts and an or, six
(by one) a sum, a shift and an or, two (by whole bytes) a shuffle."""


def peaks(threads: int, read: int) -> dict[str, float]:
    """Rates a second measured by `peaks.c`, of reading for as many bytes as `read`."""
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "peaks"
        source = HERE / "peaks.c"
        command = ["cc", "-O2", "-march=native", "-pthread", str(source), "-o", str(program)]
        subprocess.run(command, check=True)
        asked = [program, str(threads), str(read)]
        lines = subprocess.run(asked, check=True, capture_output=True, text=True).stdout
    return {name: float(value) for name, value in (line.split() for line in lines.splitlines())}


def weight_bytes(layout: Layout) -> int:
    """Bytes of the matrices that one yielded position reads, each once."""
    read = set()
    for slot in layout.slots:
        for operand in slot.instr.fold_operands:
            if operand.kind in (Kind.WEIGHT, Kind.GLOBAL):
                read.add(layout.weight_number(slot, operand))
    return sum(layout.weights[number].leaves.total_bytes for number in read)


def multiply_adds(layout: Layout, yields: bool) -> int:
    """Multiply-adds of the matrix products of one position, attention apart."""
    total = 0
    for slot in layout.slots:
        i = slot.instr
        matrix = any(o.kind in (Kind.WEIGHT, Kind.GLOBAL) for o in i.fold_operands)
        if i.fold in (Fold.QDOT, Fold.DOT) and matrix and (yields or not i.yields):
            products = 1 if _pair(slot.instr) else i.accumulators
            total += i.rows.n * i.cols.n * i.k.n * products
    return total


def _pair(instr: Any) -> bool:
    """Whether both accumulators multiply the same weight: a rotary pair, whose partner is computed anyway."""
    weights = [o for o in instr.fold_operands if o.kind in (Kind.WEIGHT, Kind.GLOBAL)]
    return len(weights) == 2 and (weights[0].kind, weights[0].ref) == (weights[1].kind, weights[1].ref)


def hash_rate(seconds: float = 0.3) -> float:
    """Bytes a second of `keccak256_many` on 1 KiB leaves, one thread, processor time."""
    from time import process_time

    messages = np.zeros((1024, 1024), np.uint8)
    done, start = 0, process_time()
    while process_time() - start < seconds:
        NATIVE.keccak256_many(messages, 1)
        done += messages.nbytes
    return done / (process_time() - start)


def hash_limit(peak: dict[str, float]) -> float:
    """Bytes a second that the instruction count allows, rotations (or shifts) being slower than logic."""
    lanes = int(peak["lanes"])
    if not lanes:
        return 0.0
    turns, all_ = KECCAK_ROTATIONS[lanes], KECCAK_ROTATIONS[lanes] + KECCAK_LOGIC[lanes]
    return lanes * KECCAK_BYTES / max(all_ / peak["logic"], turns / peak["rotate"])


def measure(model: Path, threads: int, context: int) -> dict[str, Any]:
    """Peaks, work and rates."""
    from opml.models.model import load_model

    on = machine()
    layout = load_model(model, context).layout
    found = peaks(threads, weight_bytes(layout))
    clock = "cpu" if threads == 1 else "seconds"
    with worker(sys.executable, "ours", model, context, threads) as ours:
        assert ours is not None
        work: dict[str, tuple[str, dict[str, int]]] = {
            "decode": ("decode", {"context": context // 2, "count": context // 8}),
            "batch": ("batch", {"count": context}),
        }
        rates = {}
        for name, (op, request) in work.items():
            extra = {"yields": False} if op == "batch" else {}
            for commit in (True, False):
                key = name if commit else f"{name} without commitment"
                times = [ours.ask(op, commit=commit, **request, **extra)[clock] for _ in range(3)]
                rates[key] = request["count"] / min(times)
        spent = {name: ours.ask("profile", count=min(64, context), decode=name == "decode") for name in work}
    return {
        "machine": on,
        "threads": threads,
        "peaks": found,
        "rates": rates,
        "weight_bytes": weight_bytes(layout),
        "multiply_adds": {"decode": multiply_adds(layout, True), "batch": multiply_adds(layout, False)},
        "hash_bytes": hash_rate(),
        "profile": spent,
    }


def report(facts: dict[str, Any]) -> str:
    """The figures as tables."""
    peak, rates = facts["peaks"], facts["rates"]
    read = facts["weight_bytes"] * rates["decode without commitment"]
    multiplied = facts["multiply_adds"]["batch"] * rates["batch without commitment"]
    rows = [
        [
            "decode: weights read",
            f"{read / 1e9:.1f} GB/s",
            f"{peak['read'] / 1e9:.1f} GB/s",
            share(read, peak["read"]),
        ],
    ]
    multiply_peak = peak["int8"] or peak["fma"]
    kind = "8-bit" if peak["int8"] else "f32"
    rows.append(
        [
            f"batch: {kind} multiply-adds",
            f"{multiplied / 1e9:.0f} G/s",
            f"{multiply_peak / 1e9:.0f} G/s",
            share(multiplied, multiply_peak),
        ]
    )
    hashed, limit = facts["hash_bytes"], hash_limit(peak) / facts["threads"]
    rows.append(
        ["hashing, one thread", f"{hashed / 1e9:.2f} GB/s", f"{limit / 1e9:.2f} GB/s", share(hashed, limit)]
    )
    out = [heading(facts["machine"]), f"threads: {facts['threads']}, clock {peak['clock'] / 1e9:.2f} GHz", ""]
    out.append(table(["what", "measured", "peak", "share"], rows))
    for name, spent in facts["profile"].items():
        total = sum(spent["slots"].values()) + spent["hashing"]
        slots = sorted({**spent["slots"], "hashing": spent["hashing"]}.items(), key=lambda item: -item[1])
        rows = [[slot, f"{t / 1e6 / 64:.3f}", share(t, total)] for slot, t in slots[:14]]
        out += ["", f"{name}, where the time goes", table(["instruction", "ms a position", "share"], rows)]
    return "\n".join(out)


def share(part: float, whole: float) -> str:
    return f"{part / whole:.0%}" if whole else "-"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    common_arguments(parser)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--context", type=int, default=CONTEXT, help="positions of the batch; decode has half"
    )
    arguments = parser.parse_args()
    facts = measure(arguments.model, arguments.threads, arguments.context)
    print(report(facts))
    write_json(arguments.json, facts)


if __name__ == "__main__":
    main()
