"""Measure the error of `opml.ops.functions` over all 2^32 inputs, with the native engine, against binary64.

    python scripts/measure_functions.py [--step N] [--processes N] [NAME ...]

Prints a Markdown table. An error is in units in the last place (ulp) of the true value, the distance of the
two binary32 around it; infinity counts as 2^128. The reference is NumPy's binary64, whose own error is
millions of times smaller. `--step` measures every N-th input only. A whole function takes minutes on a core.
"""

from __future__ import annotations

import argparse
import multiprocessing
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from opml.ops import functions
from opml.ops.expr import Expr, Pool, leaf, lower_single
from opml.vm import _native

CHUNK = 1 << 18
Doubles = Any
"""float64 arrays."""


def logistic(x: Doubles, factor: Doubles | float) -> Doubles:
    """factor / (1 + e^-x) without overflow."""
    e = np.exp(-np.abs(x))
    return np.where(x < 0, factor * e, factor) / (1 + e)


def silu(x: Doubles) -> Doubles:
    return np.where(x == -np.inf, -0.0, logistic(x, x))


def gelu_tanh(x: Doubles) -> Doubles:
    u = 2 * np.sqrt(2 / np.pi) * (x + 0.044715 * x * x * x)
    return np.where(x == -np.inf, -0.0, logistic(u, x))


@dataclass(frozen=True)
class Row:
    """One line of the table: a function's inputs low <= x <= high (NaN always), its reference, its bound."""

    function: Callable[[Expr], Expr]
    exact: Callable[[Doubles], Doubles]
    low: float = -np.inf
    high: float = np.inf
    bound: float | None = None


ROWS = (
    Row(functions.exp, np.exp, bound=1.0),
    Row(functions.log, np.log, bound=1.0),
    Row(functions.silu, silu, bound=3.0),
    Row(functions.sigmoid, lambda x: logistic(x, 1.0)),
    Row(functions.rsqrt, lambda x: 1 / np.sqrt(x)),
    Row(functions.gelu_tanh, gelu_tanh, low=-1.0),
    Row(functions.gelu_tanh, gelu_tanh, low=-5.0, high=-1.0),
    Row(functions.gelu_tanh, gelu_tanh, high=-5.0),
)


def errors_in_ulp(bits: np.ndarray[Any, Any], exact: Doubles) -> Doubles:
    """Error of each result; 1e9 where NaN, or the sign of an infinity or zero, isn't what it should be."""
    got = bits.view(np.float32).astype(np.float64)
    clipped_got, clipped = np.clip(got, -(2.0**128), 2.0**128), np.clip(exact, -(2.0**128), 2.0**128)
    exponent = clipped.view(np.int64) >> 52 & 0x7FF
    exponent = np.clip(exponent, 1023 - 126, 1023 + 127)  # subnormal results share the last place of 2^-126
    inverse_ulp = ((2046 + 23) - exponent << 52).view(np.float64)
    error = np.abs(clipped_got - clipped) * inverse_ulp
    nan = np.isnan(exact)
    error[nan] = np.where(bits[nan] == 0x7FC00000, 0.0, 1e9)
    error[~nan & np.isnan(got)] = 1e9
    error[(exact == 0) & (got == 0) & (np.signbit(exact) != np.signbit(got))] = 1e9
    return error


def measure(task: tuple[int, int, int, int]) -> tuple[float, int, int]:
    """(largest error, its input's bits, inputs) of row number, first, last and step of the inputs' bits."""
    number, first, last, step = task
    row = ROWS[number]
    pool = Pool()
    code = b"".join(bytes(i) for i in lower_single(row.function(leaf("x")), ["x"], 0, pool))
    constants = np.array(pool.constants, np.uint32)
    worst, where, count = 0.0, 0, 0
    with np.errstate(all="ignore"):
        for start in range(first, last, CHUNK * step):
            x = np.arange(start, min(start + CHUNK * step, last), step, dtype=np.uint64).astype(np.uint32)
            double = x.view(np.float32).astype(np.float64)
            inside = ~((double < row.low) | (double > row.high))
            if not inside.all():
                x, double = x[inside], double[inside]
            if not len(x):
                continue
            got = _native.eval_program("native", code, x[None], constants)
            error = errors_in_ulp(got, row.exact(double))
            count += len(x)
            at = int(np.argmax(error))
            if error[at] > worst:
                worst, where = float(error[at]), int(x[at])
    return worst, where, count


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="functions to measure; default: all")
    parser.add_argument("--step", type=int, default=1, help="measure every N-th input")
    parser.add_argument("--processes", type=int, default=2)
    arguments = parser.parse_args()
    part = 1 << 27
    failed = False
    print("| function | inputs | operations | largest error (ulp) | at x |")
    print("| --- | --- | --- | --- | --- |")
    with multiprocessing.Pool(arguments.processes) as workers:
        for number, row in enumerate(ROWS):
            name = row.function.__name__
            if arguments.names and name not in arguments.names:
                continue
            tasks = [(number, first, first + part, arguments.step) for first in range(0, 1 << 32, part)]
            results = workers.map(measure, tasks, chunksize=1)
            worst, where, _ = max(results)
            inputs = sum(count for *_, count in results)
            interval = "all" if row.low == -np.inf and row.high == np.inf else f"{row.low:g} … {row.high:g}"
            operations = len(lower_single(row.function(leaf("x")), ["x"], 0, Pool()))
            at = float(np.uint32(where).view(np.float32))
            print(f"| `{name}` | {interval} ({inputs:,}) | {operations} | {worst:.4f} | {at!r} |", flush=True)
            failed |= row.bound is not None and worst > row.bound
    return int(failed)


if __name__ == "__main__":
    raise SystemExit(main())
