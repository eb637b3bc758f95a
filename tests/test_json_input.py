"""JSON of strangers neither overflows the stack nor is misread."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opml.json_input import MAX_DEPTH, parse_json

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(VALUES)
def test_parse_equals_the_standard_parser_on_shallow_values(value: object) -> None:
    assert parse_json(json.dumps(value)) == value


@pytest.mark.parametrize(
    "text", ["[" * 1_000_000, '{"a":' * 100_000, "[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1)]
)
def test_deep_nesting_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="nested deeper"):
        parse_json(text)


def test_brackets_in_strings_do_not_count() -> None:
    value = ["[" * 100, '"' + "{" * 100, "\\"]
    assert parse_json(json.dumps(value)) == value
