"""The folds `max` and `argmax`: order-free, NaN above all, -0 < +0, the lowest index wins a tie."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from opml.ops import softarray
from opml.ops.softarray import U32, order_key
from opml.ops.softfloat import canonical
from opml.ops.softfloat import order_key as scalar_order_key


def fold_argmax(values: Iterable[int]) -> tuple[int, int]:
    """(index, f32 bits) of the largest of at least one f32; NaN canonical. ValueError if there is none."""
    index, best = max(enumerate(values), key=lambda pair: (scalar_order_key(pair[1]), -pair[0]))
    return index, canonical(best)


def fold_max(values: Iterable[int]) -> int:
    """The largest of at least one f32 as bits; NaN canonical. ValueError if there is none."""
    return fold_argmax(values)[1]


def fold_argmax_array(values: ArrayLike, axis: int = -1) -> tuple[NDArray[np.int64], U32]:
    """(index, f32 bits) of the largest along `axis` of uint32 f32 bits."""
    bits = softarray.as_u32(values)
    index = np.argmax(order_key(bits), axis=axis)  # NumPy returns the first of equals
    best = np.take_along_axis(bits, np.expand_dims(index, axis), axis).squeeze(axis)
    return index, softarray.as_u32(softarray.canonical(best))


def fold_max_array(values: ArrayLike, axis: int = -1) -> U32:
    """The largest along `axis` of uint32 f32 bits; NaN canonical."""
    return fold_argmax_array(values, axis)[1]


__all__ = ["fold_argmax", "fold_argmax_array", "fold_max", "fold_max_array"]
