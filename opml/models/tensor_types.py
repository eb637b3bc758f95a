"""The tensor types of GGUF: their codes, names and block sizes.

Source: `ggml_type` and the `block_*` structures of ggml. A tensor type stores `block` consecutive elements in
`block_bytes` bytes. Only the types of `SUPPORTED` are computed with; the others are known so that a file that
uses them is refused by name.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class TensorType:
    """A storage format: ggml's code, its name, elements in a block, bytes of a block."""

    code: int
    name: str
    block: int
    block_bytes: int

    def byte_size(self, elements: int) -> int:
        """Bytes of `elements` elements; the caller has checked that they are whole blocks."""
        return elements // self.block * self.block_bytes


F32: Final = TensorType(0, "F32", 1, 4)
F16: Final = TensorType(1, "F16", 1, 2)
Q4_0: Final = TensorType(2, "Q4_0", 32, 18)
Q4_1: Final = TensorType(3, "Q4_1", 32, 20)
Q5_0: Final = TensorType(6, "Q5_0", 32, 22)
Q5_1: Final = TensorType(7, "Q5_1", 32, 24)
Q8_0: Final = TensorType(8, "Q8_0", 32, 34)
BF16: Final = TensorType(30, "BF16", 1, 2)

FLOATS: Final = (F32, F16, BF16)
QUANTISED: Final = (Q4_0, Q4_1, Q5_0, Q5_1, Q8_0)
SUPPORTED: Final = FLOATS + QUANTISED

_OTHERS: Final = (
    TensorType(10, "Q2_K", 256, 84),
    TensorType(11, "Q3_K", 256, 110),
    TensorType(12, "Q4_K", 256, 144),
    TensorType(13, "Q5_K", 256, 176),
    TensorType(14, "Q6_K", 256, 210),
    TensorType(16, "IQ2_XXS", 256, 66),
    TensorType(17, "IQ2_XS", 256, 74),
    TensorType(18, "IQ3_XXS", 256, 98),
    TensorType(19, "IQ1_S", 256, 50),
    TensorType(20, "IQ4_NL", 32, 18),
    TensorType(21, "IQ3_S", 256, 110),
    TensorType(22, "IQ2_S", 256, 82),
    TensorType(23, "IQ4_XS", 256, 136),
    TensorType(24, "I8", 1, 1),
    TensorType(25, "I16", 1, 2),
    TensorType(26, "I32", 1, 4),
    TensorType(27, "I64", 1, 8),
    TensorType(28, "F64", 1, 8),
    TensorType(29, "IQ1_M", 256, 56),
    TensorType(34, "TQ1_0", 256, 54),
    TensorType(35, "TQ2_0", 256, 66),
    TensorType(39, "MXFP4", 32, 17),
)

BY_CODE: Final = {t.code: t for t in SUPPORTED + _OTHERS}

__all__ = [
    "BF16",
    "BY_CODE",
    "F16",
    "F32",
    "FLOATS",
    "Q4_0",
    "Q4_1",
    "Q5_0",
    "Q5_1",
    "Q8_0",
    "QUANTISED",
    "SUPPORTED",
    "TensorType",
]
