"""Accuracy on dense samples against binary64, special values, known answers, golden bits."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import numpy as np
import pytest

from opml.ops import functions
from opml.ops.expr import Expr, Pool, leaf, lower_single
from opml.ops.program import run_array, run_scalar

INF, NAN = float("inf"), float("nan")


def evaluate(function: Callable[..., Expr], *inputs: np.ndarray) -> np.ndarray:
    keys = list(range(len(inputs)))
    pool = Pool()
    code = lower_single(function(*map(leaf, keys)), keys, 0, pool)
    return run_array(code, [np.ascontiguousarray(x).view(np.uint32) for x in inputs], pool.constants)[-1]


def dense_floats() -> np.ndarray:
    """One float in 20,000 of all, and all that are multiples of 2^-9 up to 128."""
    bits = np.arange(0, 1 << 32, 20011, dtype=np.uint64).astype(np.uint32)
    return np.concatenate([bits.view(np.float32), np.arange(-65536, 65537, dtype=np.float32) / 512])


def ulps(got: np.ndarray, exact: np.ndarray) -> float:
    """Largest distance in units in the last place of the exact value; infinity counts as 2^128."""
    got = got.view(np.float32).astype(np.float64)
    nan = np.isnan(exact)
    assert np.array_equal(np.isnan(got), nan)
    assert np.array_equal(got[np.isinf(exact)], exact[np.isinf(exact)])
    limited = np.clip(got[~nan], -(2.0**128), 2.0**128)
    target = np.clip(exact[~nan], -(2.0**128), 2.0**128)
    _, exponent = np.frexp(target)
    return float(np.max(np.abs(limited - target) / np.ldexp(1.0, np.clip(exponent, -125, 128) - 24)))


def silu64(x: np.ndarray) -> np.ndarray:
    e = np.exp(-np.abs(x))
    finite = np.where(x < 0, x * e, x) / (1 + e)
    return np.where(x == -INF, -0.0, finite)


def gelu64(x: np.ndarray) -> np.ndarray:
    u = 2 * np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)
    e = np.exp(-np.abs(u))
    return np.where(x == -INF, -0.0, np.where(x < 0, x * e, x) / (1 + e))


def sigmoid64(x: np.ndarray) -> np.ndarray:
    e = np.exp(-np.abs(x))
    return np.where(x < 0, e, 1) / (1 + e)


@pytest.mark.parametrize(
    ("function", "exact", "bound"),
    [
        (functions.exp, np.exp, 1.0),
        (functions.log, np.log, 1.0),
        (functions.silu, silu64, 3.0),
        (functions.sigmoid, sigmoid64, 3.0),
    ],
    ids=["exp", "log", "silu", "sigmoid"],
)
def test_functions_stay_within_their_bound_on_a_dense_sample(function, exact, bound: float) -> None:
    x = dense_floats()
    with np.errstate(all="ignore"):
        assert ulps(evaluate(function, x), exact(x.astype(np.float64))) <= bound


def test_gelu_tanh_stays_within_its_bound_above_the_tail() -> None:
    x = dense_floats()
    with np.errstate(all="ignore"):
        exact = gelu64(x.astype(np.float64))
        got = evaluate(functions.gelu_tanh, x)
    assert ulps(got[~(x < -1)], exact[~(x < -1)]) <= 4
    error = np.abs(got.view(np.float32).astype(np.float64) - exact)[np.isfinite(exact) & (x < 0)]
    assert error.max() < 2.0**-24


TENDS_TO_X = [(0.0, 0.0), (-0.0, -0.0), (INF, INF), (-INF, -0.0), (NAN, NAN), (-3e38, -0.0), (3e38, 3e38)]
SPECIALS = {
    functions.exp: [(0.0, 1.0), (-0.0, 1.0), (INF, INF), (-INF, 0.0), (NAN, NAN), (89.0, INF), (-104.0, 0.0)],
    functions.log: [
        (0.0, -INF),
        (-0.0, -INF),
        (-1e-45, NAN),
        (-1.0, NAN),
        (INF, INF),
        (-INF, NAN),
        (NAN, NAN),
    ],
    functions.silu: TENDS_TO_X,
    functions.gelu_tanh: TENDS_TO_X,
    functions.sigmoid: [(0.0, 0.5), (INF, 1.0), (-INF, 0.0), (NAN, NAN), (40.0, 1.0)],
    functions.rsqrt: [(4.0, 0.5), (0.0, INF), (INF, 0.0), (NAN, NAN), (-1.0, NAN)],
}


@pytest.mark.parametrize("function", SPECIALS, ids=lambda f: f.__name__)
def test_special_values_and_canonical_nans(function: Callable[..., Expr]) -> None:
    x, expected = np.array(SPECIALS[function], np.float32).T.copy()
    got = evaluate(function, x)
    assert (
        got.tolist() == np.where(np.isnan(expected), np.uint32(0x7FC00000), expected.view(np.uint32)).tolist()
    )
    payload = np.array([0x7F800001, 0xFFFFFFFF], np.uint32)
    assert evaluate(function, payload).tolist() == [0x7FC00000] * 2


def philox_reference(counter: tuple[int, ...], key: tuple[int, ...]) -> list[int]:
    """Philox-4x32-10 as its paper has it."""
    c, k = list(counter), list(key)
    for _ in range(10):
        p0, p1 = c[0] * 0xD2511F53, c[2] * 0xCD9E8D57
        c = [p1 >> 32 ^ c[1] ^ k[0], p1 & 0xFFFFFFFF, p0 >> 32 ^ c[3] ^ k[1], p0 & 0xFFFFFFFF]
        k = [(k[0] + 0x9E3779B9) & 0xFFFFFFFF, (k[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return c


def test_philox_reference_gives_the_known_answers_of_random123() -> None:
    assert philox_reference((0,) * 4, (0,) * 2) == [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]
    assert philox_reference((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2) == [
        0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD
    ]  # fmt: skip
    pi = (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344), (0xA4093822, 0x299F31D0)
    assert philox_reference(*pi) == [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1]


def test_philox_equals_its_reference() -> None:
    words = np.random.default_rng(0).integers(0, 2**32, (4, 200), np.uint32)
    got = evaluate(functions.philox4x32_10, *words)
    assert got.tolist() == [philox_reference((a, b, 0, 0), (c, d))[0] for a, b, c, d in words.T.tolist()]


def test_gumbel_is_finite_for_all_bits_and_near_the_exact_noise() -> None:
    bits = np.concatenate([
        np.array([0, 1, 255, 256, 0x1FF, 0xFFFFFF00, 0xFFFFFFFF], np.uint32),
        np.random.default_rng(1).integers(0, 2**32, 20_000, np.uint32),
    ])  # fmt: skip
    got = evaluate(functions.gumbel, bits).view(np.float32)
    u = (bits >> 8 | 1).astype(np.float64) / 2**24
    assert np.all(np.abs(got - -np.log(-np.log(u))) <= 1e-6 * np.maximum(1, np.abs(got)))
    assert got[0] == pytest.approx(-np.log(24 * np.log(2))) and got[6] == pytest.approx(24 * np.log(2))


GOLDEN = {
    functions.exp: "e54cf59f6eeacdd9",
    functions.log: "667901cff83894c2",
    functions.log_normal: "58c197862cbd5aee",
    functions.sigmoid: "0ce686c51208de52",
    functions.silu: "00da081a7a10ee96",
    functions.gelu_tanh: "deac3f33523feb70",
    functions.rsqrt: "244ee4684577e918",
    functions.gumbel: "1fb3bb66f95fbd9f",
}


@pytest.mark.parametrize("function", GOLDEN, ids=lambda f: f.__name__)
def test_programs_and_their_bits_are_golden(function: Callable[..., Expr]) -> None:
    """A change of any bit of these programs changes every model id: it must be meant."""
    pool = Pool()
    code = lower_single(function(leaf(0)), [0], 0, pool)
    bits = np.random.default_rng(2).integers(0, 2**32, 4000, np.uint32)
    results = run_array(code, [bits], pool.constants)[-1]
    assert [run_scalar(code, [int(x)], pool.constants)[-1] for x in bits[:50]] == results[:50].tolist()
    encoded = b"".join(bytes(i) for i in code) + np.array(pool.constants, "<u4").tobytes()
    assert hashlib.sha256(encoded + results.astype("<u4").tobytes()).hexdigest()[:16] == GOLDEN[function]
