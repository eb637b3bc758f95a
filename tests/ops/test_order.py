from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from opml.ops.order import fold_argmax, fold_argmax_array, fold_max, fold_max_array
from opml.ops.softfloat import F32_NAN
from tests.ops.bits import floats


def test_nan_is_the_maximum_and_becomes_canonical() -> None:
    assert fold_argmax([0x7F800000, 0xFF800001, 0x7FC00000]) == (1, F32_NAN)


def test_plus_zero_is_above_minus_zero() -> None:
    assert fold_argmax([0x80000000, 0, 0x80000000]) == (1, 0)


def test_the_lowest_index_of_equals_wins() -> None:
    assert fold_argmax([0x3F800000, 0x40000000, 0x40000000]) == (1, 0x40000000)


def test_minus_infinity_alone_is_its_own_maximum() -> None:
    assert fold_max([0xFF800000]) == 0xFF800000
    with pytest.raises(ValueError, match="empty"):
        fold_max([])


@given(st.lists(st.lists(floats, min_size=4, max_size=4), min_size=1, max_size=6))
def test_array_folds_equal_scalar_folds(rows: list[list[int]]) -> None:
    bits = np.array(rows, np.uint32)
    for axis, lines in ((-1, rows), (0, bits.T.tolist())):
        index, best = fold_argmax_array(bits, axis)
        assert list(zip(index.tolist(), best.tolist(), strict=True)) == [fold_argmax(line) for line in lines]
        assert fold_max_array(bits, axis).tolist() == [fold_max(line) for line in lines]
