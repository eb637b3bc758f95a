"""Make the float vectors that ship with the package from a full TestFloat file.

    python scripts/trim_vectors.py FULL.npz opml/ops/data/testfloat_f32.npz

Deterministic. Small entries are kept whole. Of the others the hard rows are kept first (subnormal or
overflowing results, cancellation of leading bits, equal operands), then every n-th row up to the quota.
"""

from __future__ import annotations

import sys

import numpy as np

QUOTA = {
    "f32_add": 19_000,
    "f32_sub": 19_000,
    "f32_mul": 19_000,
    "f32_div": 19_000,
    "f32_mulAdd": 62_000,
    "f32_eq": 6_000,
    "f32_le": 6_000,
    "f32_lt": 6_000,
}


def exponent(bits: np.ndarray) -> np.ndarray:
    return np.maximum(bits >> 23 & 0xFF, 1).astype(np.int64)


def hard_rows(name: str, rows: np.ndarray) -> np.ndarray:
    """True where the result is subnormal, just normal or overflowed, or where leading bits cancelled."""
    operands, result = rows[:, :-1], rows[:, -1]
    finite = ((operands & 0x7F800000) != 0x7F800000).all(axis=1)
    nonzero = ((operands & 0x7FFFFFFF) != 0).all(axis=1)
    a, b = operands[:, 0], operands[:, 1]
    if name in ("f32_eq", "f32_le", "f32_lt"):
        return (a ^ b) & 0x7FFFFFFF == 0
    magnitude = result & 0x7FFFFFFF
    edge = ((magnitude <= 0x00800000) | (magnitude >= 0x7F7FFFFF)) & finite & nonzero
    if name in ("f32_add", "f32_sub"):
        largest = np.maximum(exponent(a), exponent(b))
    elif name == "f32_mulAdd":
        largest = np.maximum(exponent(a) + exponent(b) - 127, exponent(operands[:, 2]))
    else:
        return edge
    return edge | (finite & nonzero & (exponent(result) < largest - 1))


def trim(name: str, rows: np.ndarray) -> np.ndarray:
    quota = QUOTA.get(name, len(rows))
    if len(rows) <= quota:
        return rows
    hard = np.flatnonzero(hard_rows(name, rows))
    if len(hard) > quota // 2:
        hard = hard[np.linspace(0, len(hard) - 1, quota // 2).astype(int)]
    rest = np.setdiff1d(np.arange(len(rows)), hard)
    spread = rest[np.linspace(0, len(rest) - 1, quota - len(hard)).astype(int)]
    return rows[np.sort(np.concatenate([hard, spread]))]


def main(source: str, target: str) -> None:
    with np.load(source, allow_pickle=False) as full:
        entries = {name: np.asfortranarray(trim(name, full[name])) for name in sorted(full.files)}
    np.savez_compressed(target, **entries)
    for name, rows in entries.items():
        print(f"{name:24} {len(rows):7} rows")


if __name__ == "__main__":
    main(*sys.argv[1:3])
