"""The native module's scalar programs, float conformance, self-test and keccak256."""

from __future__ import annotations

import numpy as np
import pytest
from Crypto.Hash import keccak
from hypothesis import given, settings
from hypothesis import strategies as st

from opml.ops import softfloat
from opml.ops.table import OP_BY_NAME, OPS, Op
from tests.native import native_module

native = native_module()
LEVELS = native.levels()
NO_POOL = np.zeros(0, np.uint32)


def code_of(op: Op) -> bytes:
    return bytes([op.code, *(i if i < op.arity else 0 for i in range(3))])


def raw_bits(seed: int, n: int) -> np.ndarray:
    """uint32 [3, n]: raw patterns, some with exponents close together, some special."""
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 2**32, (3, n), dtype=np.uint32)
    near = rng.integers(110, 145, (3, n), dtype=np.uint32) << 23
    x = np.where(rng.random((3, n)) < 0.4, x & 0x807FFFFF | near, x)
    special = np.array(
        [0, 1, 0x7FFFFF, 0x800000, 0x3F800000, 0x7F7FFFFF, 0x7F800000, 0x7FC00000, 0x7F800001], np.uint32
    )
    signed = rng.choice(special, (3, n)) | rng.integers(0, 2, (3, n), dtype=np.uint32) << 31
    return np.ascontiguousarray(np.where(rng.random((3, n)) < 0.15, signed, x), np.uint32)


def test_op_names_are_those_of_the_table() -> None:
    assert native.op_names() == [op.name for op in OPS]


@pytest.mark.parametrize("level", LEVELS)
def test_hardware_passes_the_self_test(level: str) -> None:
    assert native.hardware_fault(level) is None


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)
def test_soft_equals_hardware_on_raw_bits(op: Op, level: str) -> None:
    x = raw_bits(op.code, 100_003)
    soft = native.eval_program("soft", code_of(op), x, NO_POOL, level)
    assert np.array_equal(soft, native.eval_program("native", code_of(op), x, NO_POOL, level))


@pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)
def test_soft_equals_the_python_definition(op: Op) -> None:
    x = raw_bits(1000 + op.code, 2_000)
    got = native.eval_program("soft", code_of(op), x, NO_POOL)
    expected = [softfloat.FUNCTIONS[op.code](*(int(v) for v in row[: op.arity])) for row in x.T]
    assert got.tolist() == expected


@pytest.mark.parametrize("engine", ["soft", "native"])
@pytest.mark.parametrize("level", LEVELS)
def test_a_program_reads_registers_and_pool(engine: str, level: str) -> None:
    ops = [("mul", 0, 0, 0), ("fma", 2, 1, 128), ("isub", 3, 129, 0), ("sel", 1, 4, 129)]
    code = b"".join(bytes([OP_BY_NAME[n].code, a, b, c]) for n, a, b, c in ops)
    x = raw_bits(5, 777)[:2].copy()
    pool = np.array([0x40490FDB, 12345], np.uint32)
    got = native.eval_program(engine, code, x, pool, level)
    for i in range(0, 777, 13):
        a, b = int(x[0, i]), int(x[1, i])
        fused = softfloat.FUNCTIONS[OP_BY_NAME["fma"].code](
            softfloat.FUNCTIONS[OP_BY_NAME["mul"].code](a, a), b, 0x40490FDB
        )
        assert int(got[i]) == ((fused - 12345) & 0xFFFFFFFF if b else 12345)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_program_gives_the_same_bits_on_every_level(data: st.DataObject) -> None:
    """Chains that hand values on, values read late, twice or never, constants, NaNs seen bit by bit."""
    inputs, constants = data.draw(st.integers(1, 4)), 3
    near = st.integers(0, 3)
    code = b""
    for number in range(inputs, inputs + data.draw(st.integers(1, 40))):
        op = data.draw(st.sampled_from(OPS))
        recent = near.map(lambda back, number=number: max(0, number - 1 - back))
        operand = st.one_of(recent, recent, st.integers(0, number - 1), st.integers(128, 127 + constants))
        code += bytes([op.code, *(data.draw(operand) if i < op.arity else 0 for i in range(3))])
    n, seed = data.draw(st.integers(1, 600)), data.draw(st.integers(0, 1000))
    rows = np.concatenate([raw_bits(seed, n), raw_bits(seed + 1, n)])[:inputs].copy()
    pool = raw_bits(seed + 2, constants)[0].copy()
    expected = native.eval_program("soft", code, rows, pool, LEVELS[0])
    for level in LEVELS:
        assert np.array_equal(native.eval_program("native", code, rows, pool, level), expected), level


@pytest.mark.parametrize(
    "code", [b"", b"\0\0\0", bytes([26, 0, 0, 0]), bytes([0, 0, 5, 0]), bytes([0, 0, 200, 0])]
)
def test_a_malformed_program_is_refused(code: bytes) -> None:
    with pytest.raises(ValueError):
        native.eval_program("soft", code, np.zeros((1, 4), np.uint32), NO_POOL)


def digest(data: bytes) -> bytes:
    return keccak.new(digest_bits=256, data=data).digest()


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 1100), st.integers(1, 19), st.integers(0, 255), st.sampled_from(LEVELS))
def test_keccak_equals_pycryptodome(length: int, n: int, tag: int, level: str) -> None:
    rows = np.random.default_rng(length).integers(0, 256, (n, length), dtype=np.uint8)
    got = native.keccak256_many(rows, tag, level)
    assert [bytes(g) for g in got] == [digest(bytes([tag]) + row.tobytes()) for row in rows]


@given(st.binary(min_size=1, max_size=600))
def test_single_keccak_equals_pycryptodome(data: bytes) -> None:
    assert native.keccak256(data) == digest(data)
