"""Storage formats: the table of weight formats and the table of tensor formats, decoded exactly.

Weights keep GGUF's byte layout (ggml's `block_q4_0` .. `block_q8_0`). A quantised weight is `q * d + m`:
`q` a small signed integer with the format's offset subtracted, `d` and `m` one f16 each for a unit of 32.
Tensors of the trace are stored in one of `TENSOR_FORMATS`. Floats are bits, `int` or `uint32`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from opml.errors import InputError
from opml.ops import softarray, softfloat
from opml.ops.softarray import U32, Array

UNIT = 32
"""Elements of one quantisation unit."""

# Weights -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class WeightFormat:
    """How a weight tensor is stored: `unit` elements in `unit_bytes` bytes.

    A quantised unit is laid out as: d (f16), m (f16, if `minimum`), fifth bits (u32, if `bits` is 5), then
    16 bytes of nibbles (elements 0 .. 15 low, 16 .. 31 high), or 32 signed bytes if `bits` is 8.
    """

    code: int
    name: str
    unit: int
    unit_bytes: int
    bits: int = 0
    offset: int = 0
    minimum: bool = False

    @property
    def quantised(self) -> bool:
        return self.unit > 1


F32 = WeightFormat(0, "F32", 1, 4)
F16 = WeightFormat(1, "F16", 1, 2)
BF16 = WeightFormat(2, "BF16", 1, 2)
I32 = WeightFormat(3, "I32", 1, 4)
Q4_0 = WeightFormat(4, "Q4_0", UNIT, 18, bits=4, offset=8)
Q4_1 = WeightFormat(5, "Q4_1", UNIT, 20, bits=4, minimum=True)
Q5_0 = WeightFormat(6, "Q5_0", UNIT, 22, bits=5, offset=16)
Q5_1 = WeightFormat(7, "Q5_1", UNIT, 24, bits=5, minimum=True)
Q8_0 = WeightFormat(8, "Q8_0", UNIT, 34, bits=8)

WEIGHT_FORMATS: tuple[WeightFormat, ...] = (F32, F16, BF16, I32, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0)
"""`WEIGHT_FORMATS[code]`."""
WEIGHT_FORMAT_BY_NAME: dict[str, WeightFormat] = {f.name: f for f in WEIGHT_FORMATS}


class Units(NamedTuple):
    """Decoded quantised units: `q` int8 [..., 32]; `d`, `m` f32 bits, uint32 [...]; m is +0 if none."""

    q: NDArray[np.int8]
    d: U32
    m: U32


def _whole_units(fmt: WeightFormat, data: bytes | NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The bytes as [..., units, unit_bytes]; the last axis of an array is cut into units."""
    raw = np.frombuffer(data, np.uint8) if isinstance(data, bytes | bytearray | memoryview) else data
    if raw.dtype != np.uint8 or raw.ndim < 1 or raw.shape[-1] % fmt.unit_bytes:
        raise InputError(
            f"{fmt.name}: weights are whole units of {fmt.unit_bytes} bytes, got {raw.dtype} of shape "
            f"{raw.shape}: the tensor is cut short or has another format"
        )
    return np.ascontiguousarray(raw).reshape(*raw.shape[:-1], -1, fmt.unit_bytes)


def _little_endian(units: NDArray[np.uint8], at: int, dtype: str) -> Array:
    size = np.dtype(dtype).itemsize
    return np.ascontiguousarray(units[..., at : at + size]).view(dtype)[..., 0]


def decode_units(fmt: WeightFormat, data: bytes | NDArray[np.uint8]) -> Units:
    """All units of `data`, uint8 [..., units * unit_bytes]: q [..., units, 32], d and m [..., units].

    Raises `InputError` if the format isn't quantised or the bytes aren't whole units.
    """
    if not fmt.quantised:
        raise InputError(f"{fmt.name}: only quantised formats have units; use dequantise")
    units = _whole_units(fmt, data)
    d = softarray.f32_from_f16(_little_endian(units, 0, "<u2"))
    m, at = np.zeros_like(d), 2
    if fmt.minimum:
        m, at = softarray.f32_from_f16(_little_endian(units, 2, "<u2")), 4
    if fmt.bits == 8:
        return Units(np.ascontiguousarray(units[..., at:]).view(np.int8), d, m)
    nibbles = units[..., -16:]
    q = np.concatenate([nibbles & 15, nibbles >> 4], axis=-1)
    if fmt.bits == 5:
        fifth = _little_endian(units, at, "<u4")[..., None] >> np.arange(UNIT, dtype=np.uint32) & 1
        q |= fifth.astype(np.uint8) << 4
    return Units(q.view(np.int8) - np.int8(fmt.offset), d, m)


def dequantise(fmt: WeightFormat, data: bytes | NDArray[np.uint8]) -> U32:
    """Every element as a register: uint8 [..., bytes] to uint32 [..., elements].

    Quantised: `fma(i2f(q), d, m)`. F16 and BF16: exact. NaN canonical, except for I32, whose bits are raw.
    Raises `InputError` if the bytes aren't whole units.
    """
    if fmt.quantised:
        units = decode_units(fmt, data)
        integers = softarray.f32_from_i32(units.q.astype(np.int32).view(np.uint32))
        values = softarray.f32_fma(integers, units.d[..., None], units.m[..., None])
        return values.reshape(*values.shape[:-2], -1)
    raw = _whole_units(fmt, data)
    if fmt.unit_bytes == 2:
        half = _little_endian(raw, 0, "<u2").astype(np.uint16)
        return softarray.f32_from_f16(half) if fmt is F16 else softarray.f32_from_bf16(half)
    words = _little_endian(raw, 0, "<u4").astype(np.uint32)
    return words if fmt is I32 else softarray.as_u32(softarray.canonical(words))


def decode_unit(fmt: WeightFormat, unit: bytes) -> tuple[list[int], int, int]:
    """(q, d, m) of one quantised unit: 32 signed integers, f32 bits, f32 bits (+0 without minimum)."""
    if not fmt.quantised or len(unit) != fmt.unit_bytes:
        raise InputError(f"{fmt.name}: expected a quantised unit of {fmt.unit_bytes} bytes, got {len(unit)}")
    d = softfloat.f32_from_f16(int.from_bytes(unit[:2], "little"))
    m, at = 0, 2
    if fmt.minimum:
        m, at = softfloat.f32_from_f16(int.from_bytes(unit[2:4], "little")), 4
    if fmt.bits == 8:
        return [(b ^ 0x80) - 0x80 for b in unit[at:]], d, m
    fifth = int.from_bytes(unit[at : at + 4], "little") if fmt.bits == 5 else 0
    nibbles = [b & 15 for b in unit[-16:]] + [b >> 4 for b in unit[-16:]]
    return [(n | (fifth >> i & 1) << 4) - fmt.offset for i, n in enumerate(nibbles)], d, m


def element(fmt: WeightFormat, unit: bytes, i: int) -> int:
    """Register of element `i` of one unit (`i` is 0 for formats whose unit is one element)."""
    if len(unit) != fmt.unit_bytes or not 0 <= i < fmt.unit:
        raise InputError(
            f"{fmt.name}: element {i} of {len(unit)} bytes: "
            f"a unit is {fmt.unit} elements in {fmt.unit_bytes} bytes"
        )
    if fmt.quantised:
        q, d, m = decode_unit(fmt, unit)
        return softfloat.f32_fma(softfloat.f32_from_i32(q[i] & softfloat.MASK32), d, m)
    bits = int.from_bytes(unit, "little")
    if fmt is F16:
        return softfloat.f32_from_f16(bits)
    if fmt is BF16:
        return softfloat.f32_from_bf16(bits)
    return bits if fmt is I32 else softfloat.canonical(bits)


def qdot_unit(fmt: WeightFormat, unit: bytes, q_x: Sequence[int], d_x: int, acc: int) -> int:
    """One unit of a quantised dot product (`docs/spec.md`, One element): the accumulator after it.

    `q_x` are 32 integers in -128 .. 127, `d_x` and `acc` f32 bits. With exact I1 = sum q_w q_x, I2 = sum q_x:
    acc = fma(i2f(I1), mul(d_w, d_x), acc); with a minimum then acc = fma(m_w, mul(d_x, i2f(I2)), acc).
    """
    if len(q_x) != UNIT or not all(-128 <= q <= 127 for q in q_x):
        raise InputError(f"{fmt.name}: a unit of activations is {UNIT} integers in -128 .. 127")
    q_w, d_w, m_w = decode_unit(fmt, unit)
    dot = sum(w * x for w, x in zip(q_w, q_x, strict=True)) & softfloat.MASK32
    acc = softfloat.f32_fma(softfloat.f32_from_i32(dot), softfloat.f32_mul(d_w, d_x), acc)
    if fmt.minimum:
        total = softfloat.f32_from_i32(sum(q_x) & softfloat.MASK32)
        acc = softfloat.f32_fma(m_w, softfloat.f32_mul(d_x, total), acc)
    return acc


def qdot_units(fmt: WeightFormat, units: Units, q_x: NDArray[np.int8], d_x: ArrayLike, acc: ArrayLike) -> U32:
    """`qdot_unit` on arrays: `units` of shape [...], `q_x` int8 [..., 32], `d_x` and `acc` uint32 [...]."""
    dot = np.einsum("...i,...i->...", units.q, q_x, dtype=np.int32, casting="safe")
    scale = softarray.f32_mul(units.d, d_x)
    acc = softarray.f32_fma(softarray.f32_from_i32(dot.view(np.uint32)), scale, acc)
    if fmt.minimum:
        total = q_x.sum(axis=-1, dtype=np.int32).view(np.uint32)
        acc = softarray.f32_fma(units.m, softarray.f32_mul(d_x, softarray.f32_from_i32(total)), acc)
    return acc


# Tensors of the trace ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TensorFormat:
    """How an element of a tensor is stored: `bytes` little-endian bytes, arrays of NumPy type `dtype`."""

    code: int
    name: str
    bytes: int
    dtype: str


TENSOR_FORMATS: tuple[TensorFormat, ...] = (
    TensorFormat(0, "f32", 4, "<u4"),
    TensorFormat(1, "f16", 2, "<u2"),
    TensorFormat(2, "bf16", 2, "<u2"),
    TensorFormat(3, "i32", 4, "<u4"),
    TensorFormat(4, "i8", 1, "|i1"),
)
"""`TENSOR_FORMATS[code]`."""
TENSOR_FORMAT_BY_NAME: dict[str, TensorFormat] = {f.name: f for f in TENSOR_FORMATS}

_STORE = (
    softfloat.canonical,
    softfloat.f16_from_f32,
    softfloat.bf16_from_f32,
    lambda bits: bits,
    softfloat.i8_from_i32,
)
_LOAD = (
    softfloat.canonical,
    softfloat.f32_from_f16,
    softfloat.f32_from_bf16,
    lambda bits: bits,
    softfloat.i32_from_i8,
)
_STORE_ARRAY = (
    softarray.canonical,
    softarray.f16_from_f32,
    softarray.bf16_from_f32,
    lambda bits: bits,
    softarray.i8_from_i32,
)
_LOAD_ARRAY = (
    softarray.canonical,
    softarray.f32_from_f16,
    softarray.f32_from_bf16,
    lambda bits: bits,
    softarray.i32_from_i8,
)


def store(fmt: TensorFormat, register: int) -> int:
    """Storage bits (unsigned, `8 * fmt.bytes` of them) of a register."""
    return _STORE[fmt.code](register)


def load(fmt: TensorFormat, stored: int) -> int:
    """Register of storage bits (unsigned)."""
    return _LOAD[fmt.code](stored)


def store_array(fmt: TensorFormat, registers: ArrayLike) -> NDArray[np.integer[Any]]:
    """Storage values, `fmt.dtype`, of uint32 registers of the same shape."""
    return np.asarray(_STORE_ARRAY[fmt.code](softarray.as_u32(registers)), fmt.dtype)


def load_array(fmt: TensorFormat, stored: Array) -> U32:
    """uint32 registers of storage values of type `fmt.dtype`. Raises `InputError` for another type."""
    if stored.dtype != np.dtype(fmt.dtype):
        raise InputError(f"a tensor stored as {fmt.name} has type {fmt.dtype}, got {stored.dtype}")
    return softarray.as_u32(_LOAD_ARRAY[fmt.code](stored))
