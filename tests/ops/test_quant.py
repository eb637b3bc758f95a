"""Weight and tensor formats: gguf is the oracle for the layouts, the scalar form for the arrays."""

from __future__ import annotations

import gguf
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from opml.errors import InputError
from opml.ops import quant, softfloat
from opml.ops.quant import TENSOR_FORMATS, WEIGHT_FORMATS, TensorFormat, WeightFormat

QUANTISED = [f for f in WEIGHT_FORMATS if f.quantised]
UNQUANTISED = [f for f in WEIGHT_FORMATS if not f.quantised]
by_name = pytest.mark.parametrize("fmt", WEIGHT_FORMATS, ids=lambda f: f.name)
quantised_by_name = pytest.mark.parametrize("fmt", QUANTISED, ids=lambda f: f.name)


def random_units(fmt: WeightFormat, count: int, seed: int = 0) -> np.ndarray:
    """Any bytes at all: scales and minima include NaN, infinities and subnormals."""
    units = np.random.default_rng(seed).integers(0, 256, (count, fmt.unit_bytes), np.uint8)
    if fmt.quantised:
        special = [0x7C00, 0xFC00, 0x7E00, 0xFD01, 0x0001, 0x83FF, 0x0000, 0x8000]
        units[: len(special), :2] = np.array(special, "<u2").view(np.uint8).reshape(-1, 2)
        if fmt.minimum:
            units[8 : 8 + len(special), 2:4] = np.array(special, "<u2").view(np.uint8).reshape(-1, 2)
    return units


def test_weight_format_codes_are_the_table_positions() -> None:
    assert [f.code for f in WEIGHT_FORMATS] == list(range(9))
    assert [f.code for f in TENSOR_FORMATS] == list(range(5))
    assert [(f.unit, f.unit_bytes) for f in WEIGHT_FORMATS] == [
        (1, 4), (1, 2), (1, 2), (1, 4), (32, 18), (32, 20), (32, 22), (32, 24), (32, 34)
    ]  # fmt: skip


@quantised_by_name
def test_dequantise_agrees_with_gguf_on_finite_units(fmt: WeightFormat) -> None:
    units = random_units(fmt, 400, seed=1)
    scale = np.random.default_rng(2).normal(size=(2, 400)).astype("<f2")
    units[:, :2] = scale[0].view(np.uint8).reshape(-1, 2)
    if fmt.minimum:
        units[:, 2:4] = scale[1].view(np.uint8).reshape(-1, 2)
    expected = gguf.quants.dequantize(units, gguf.GGMLQuantizationType[fmt.name]).reshape(-1)
    got = quant.dequantise(fmt, units.reshape(-1)).view(np.float32)
    if fmt.minimum:  # gguf rounds the product and the sum, the format here is one fma
        units_q = quant.decode_units(fmt, units.reshape(-1))
        exact = units_q.q * scale[0].astype(np.float64)[:, None] + scale[1].astype(np.float64)[:, None]
        assert np.array_equal(got, exact.reshape(-1).astype(np.float32))
        assert np.allclose(got, expected, rtol=1e-5, atol=1e-6)
    else:
        assert np.array_equal(got, expected)


@by_name
def test_element_equals_dequantise_on_any_bytes(fmt: WeightFormat) -> None:
    units = random_units(fmt, 64)
    values = quant.dequantise(fmt, units.tobytes()).reshape(64, fmt.unit)
    scalar = [[quant.element(fmt, unit.tobytes(), i) for i in range(fmt.unit)] for unit in units]
    assert values.tolist() == scalar


@quantised_by_name
def test_decode_unit_equals_decode_units_on_any_bytes(fmt: WeightFormat) -> None:
    units = random_units(fmt, 64, seed=3)
    arrays = quant.decode_units(fmt, units.reshape(2, -1))
    assert arrays.q.shape == (2, 32, 32) and arrays.d.shape == arrays.m.shape == (2, 32)
    for n, unit in enumerate(units):
        q, d, m = quant.decode_unit(fmt, unit.tobytes())
        row, column = divmod(n, 32)
        assert (arrays.q[row, column].tolist(), arrays.d[row, column], arrays.m[row, column]) == (q, d, m)


@quantised_by_name
def test_decode_units_subtracts_the_offset(fmt: WeightFormat) -> None:
    low, _, _ = quant.decode_unit(fmt, bytes(fmt.unit_bytes))
    high, _, _ = quant.decode_unit(fmt, b"\xff" * fmt.unit_bytes)
    span = {4: 15, 5: 31}.get(fmt.bits)
    assert low == [-fmt.offset] * 32
    assert high == ([-1] * 32 if span is None else [span - fmt.offset] * 32)


@quantised_by_name
def test_qdot_units_equals_qdot_unit_on_any_bytes(fmt: WeightFormat) -> None:
    rng = np.random.default_rng(4)
    units = random_units(fmt, 64, seed=4)
    q_x = rng.integers(-128, 128, (64, 32), np.int8)
    q_x[:3] = [[-128] * 32, [127] * 32, [0] * 32]
    d_x = rng.normal(size=64).astype(np.float32).view(np.uint32)
    acc = rng.normal(size=64).astype(np.float32).view(np.uint32)
    d_x[20:24] = acc[24:28] = [0, 0x80000000, 0x7F800000, 0x7FC12345]
    decoded = quant.Units(*(part.reshape(64, *part.shape[2:]) for part in quant.decode_units(fmt, units)))
    got = quant.qdot_units(fmt, decoded, q_x, d_x, acc)
    expected = [
        quant.qdot_unit(fmt, u.tobytes(), x.tolist(), int(d), int(a))
        for u, x, d, a in zip(units, q_x, d_x, acc, strict=True)
    ]
    assert got.tolist() == expected


def test_qdot_unit_takes_the_minimum_after_the_product() -> None:
    unit = bytes.fromhex("003c0040" + "11" * 16)  # d = 1, m = 2, q = 1
    acc = quant.qdot_unit(quant.Q4_1, unit, [1] * 32, 0x3F000000, 0)  # d_x = 0.5
    assert acc == softfloat.f32_from_i32(48)  # 32 * 0.5 + 2 * 0.5 * 32


@by_name
def test_dequantise_refuses_a_cut_unit(fmt: WeightFormat) -> None:
    with pytest.raises(InputError, match="whole units"):
        quant.dequantise(fmt, bytes(fmt.unit_bytes + 1))
    with pytest.raises(InputError):
        quant.element(fmt, bytes(fmt.unit_bytes - 1), 0)
    with pytest.raises(InputError):
        quant.element(fmt, bytes(fmt.unit_bytes), fmt.unit)


@pytest.mark.parametrize("fmt", UNQUANTISED, ids=lambda f: f.name)
def test_decode_units_refuses_formats_without_units(fmt: WeightFormat) -> None:
    with pytest.raises(InputError):
        quant.decode_units(fmt, bytes(fmt.unit_bytes))


def test_qdot_unit_refuses_wrong_activations() -> None:
    for q_x in ([0] * 31, [128] + [0] * 31):
        with pytest.raises(InputError):
            quant.qdot_unit(quant.Q8_0, bytes(34), q_x, 0, 0)


tensor_formats = pytest.mark.parametrize("fmt", TENSOR_FORMATS, ids=lambda f: f.name)


@tensor_formats
@given(registers=st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=20))
def test_store_array_equals_store_on_raw_bits(fmt: TensorFormat, registers: list[int]) -> None:
    stored = quant.store_array(fmt, registers)
    assert stored.dtype == np.dtype(fmt.dtype) and stored.itemsize == fmt.bytes
    scalar = [quant.store(fmt, r) for r in registers]
    assert stored.tobytes() == b"".join(s.to_bytes(fmt.bytes, "little") for s in scalar)
    assert quant.load_array(fmt, stored).tolist() == [quant.load(fmt, s) for s in scalar]


@tensor_formats
def test_store_after_load_is_the_identity_on_stored_values(fmt: TensorFormat) -> None:
    values = np.random.default_rng(5).integers(0, 2**32, 500, np.uint32)
    stored = quant.store_array(fmt, values)
    assert np.array_equal(quant.store_array(fmt, quant.load_array(fmt, stored)), stored)


def test_load_array_refuses_another_dtype() -> None:
    with pytest.raises(InputError, match="stored as f16"):
        quant.load_array(TENSOR_FORMATS[1], np.zeros(3, np.uint32))


def test_i8_saturates_and_sign_extends() -> None:
    i8 = TENSOR_FORMATS[4]
    for register, byte, back in ((127, 0x7F, 127), (128, 0x7F, 127), (2**32 - 129, 0x80, 2**32 - 128)):
        assert quant.store(i8, register) == byte
        assert quant.load(i8, byte) == back
