"""Which engine runs, and the parameter words of a request."""

from __future__ import annotations

import math
import os
import struct

from opml.cli.options import MOST_THREADS
from opml.errors import EngineError, InputError
from opml.vm.engine import Engine, get_engine
from opml.vm.isa import MAX_PARAMS

_OFF = 0xFF800000  # -infinity: min-p off


def choose_engine(name: str, threads: int | None, level: str = "auto") -> tuple[Engine, str]:
    """The engine by name; for `auto` the fastest that runs here. The text says what is lost, or is empty.

    Raises `EngineError` for one that isn't available, `InputError` for what the reference engine lacks.
    """
    if name == "reference" and (threads is not None or level != "auto"):
        raise InputError(
            "the reference engine has one thread and no instruction sets: leave out --threads and --level, "
            "or choose --engine soft or native"
        )
    count = threads or available_threads()
    if name != "auto":
        return get_engine(name, count, level), ""
    reasons: list[str] = []
    for candidate in ("native", "soft"):
        try:
            return get_engine(candidate, count, level), "; ".join(reasons)
        except EngineError as problem:
            reasons.append(str(problem))
    if level != "auto":  # names what the reference engine lacks
        raise EngineError(reasons[0])
    reasons.append("the reference engine is used: it is slow")
    return get_engine("reference"), "; ".join(reasons)


def available_threads() -> int:
    """Processors that this process may use, as many of them as an engine takes."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(count, MOST_THREADS)


def params_of(temperature: float = 0.0, min_p: float = 0.0, seed: int = 0) -> tuple[int, ...]:
    """The eight parameter words (`docs/spec.md`, Ids): temperature, log(min-p), seed in two words.

    Raises `InputError` for values out of range.
    """
    if not (math.isfinite(temperature) and 0.0 <= temperature <= 100.0):
        raise InputError(f"temperature {temperature}: a number from 0 (greedy) to 100 is expected")
    if not 0.0 <= min_p <= 1.0:
        raise InputError(f"min-p {min_p}: a number from 0 (off) to 1 is expected")
    if not 0 <= seed < 1 << 64:
        raise InputError(f"seed {seed}: a number of 64 bits is expected")
    cutoff = _OFF if min_p == 0.0 else _bits(math.log(min_p))
    words = (_bits(temperature), cutoff, seed & 0xFFFFFFFF, seed >> 32)
    return (*words, *[0] * (MAX_PARAMS - len(words)))


def pack_params(words: tuple[int, ...]) -> int:
    """The words as a request carries them: word 0 on top of a u256."""
    return int.from_bytes(b"".join(word.to_bytes(4, "big") for word in words), "big")


def _bits(value: float) -> int:
    bits: int = struct.unpack("<I", struct.pack("<f", value))[0]
    return bits


__all__ = ["available_threads", "choose_engine", "pack_params", "params_of"]
