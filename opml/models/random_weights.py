"""Random weights in every storage format, the same everywhere for the same seed.

The bytes come from SHAKE-128 of a seed and a name, not from a library's generator, whose stream may change.
Values are uniform within plus and minus an amplitude; quantised units get random integers and a scale to fit.
"""

from __future__ import annotations

import hashlib
from typing import Final

import numpy as np
import numpy.typing as npt

from opml.vm.isa import Format
from opml.vm.weights import Weight

_LARGEST: Final = {Format.Q4_0: 8, Format.Q4_1: 15, Format.Q5_0: 16, Format.Q5_1: 31, Format.Q8_0: 128}
"""Largest magnitude of a unit's integers, after the format's offset."""


def random_bytes(seed: int, name: str, count: int) -> bytes:
    """`count` bytes of the stream named by `seed` and `name`."""
    return hashlib.shake_128(f"opml.tiny {seed} {name}".encode()).digest(count)


def random_weight(
    seed: int, name: str, rows: int, cols: int, fmt: Format, amplitude: float, center: float = 0.0
) -> Weight:
    """A tensor of values within `center` plus and minus `amplitude`; quantised ones are centred on 0."""
    if fmt.info.unit == 1:
        values = _uniform(seed, name, rows * cols) * amplitude + center
        return Weight(rows, cols, fmt, _stored_floats(values, fmt))
    units = rows * cols // fmt.info.unit
    raw = np.frombuffer(random_bytes(seed, name, units * fmt.info.unit_bytes), np.uint8)
    raw = raw.reshape(units, fmt.info.unit_bytes).copy()
    spread = 1.0 + _uniform(seed, f"{name} scale", units) / 4
    if fmt.info.minimum:
        d = (spread * (2 * amplitude / _LARGEST[fmt])).astype("<f2")
        minimum = (-amplitude * spread).astype("<f2")
        raw[:, :4] = np.stack([d, minimum], 1).view(np.uint8)
    else:
        d = (spread * (amplitude / _LARGEST[fmt])).astype("<f2")
        raw[:, :2] = d.reshape(-1, 1).view(np.uint8)
    return Weight(rows, cols, fmt, raw.tobytes())


def _uniform(seed: int, name: str, count: int) -> npt.NDArray[np.float64]:
    """`count` numbers in [-1, 1)."""
    return np.frombuffer(random_bytes(seed, name, 4 * count), "<i4") / 2.0**31


def _stored_floats(values: npt.NDArray[np.float64], fmt: Format) -> bytes:
    single = values.astype("<f4")
    match fmt:
        case Format.F32:
            return single.tobytes()
        case Format.F16:
            return values.astype("<f2").tobytes()
        case _:
            return (single.view("<u4") >> 16).astype("<u2").tobytes()


__all__ = ["random_bytes", "random_weight"]
