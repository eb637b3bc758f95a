"""JSON from files that others wrote.

The standard parser recurses. Once a library has raised the recursion limit (py-evm does), a file of brackets
overflows the stack of the process instead of raising `RecursionError`.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

MAX_DEPTH = 32
"""Nesting that no file of ours comes near."""

_MARKS = re.compile(r'[\[\]{}]|"(?:[^"\\]|\\.)*"?', re.DOTALL)


def read_text(file: Path, most: int) -> str:
    """The UTF-8 text of a file, a pipe or a device, of at most so many bytes: what states no size has none.

    Raises `OSError`, and `ValueError` for more and for other bytes.
    """
    with file.open("rb") as stream:
        data = stream.read(most + 1)
    if len(data) > most:
        raise ValueError(f"it has more than {most:,} bytes")
    return data.decode("utf-8")


def parse_json(text: str) -> Any:
    """The value of a JSON text. Raises `ValueError` for anything else, and for nesting beyond `MAX_DEPTH`."""
    depth = 0
    for mark in _MARKS.finditer(text):
        first = mark[0][0]
        if first in "[{":
            depth += 1
            if depth > MAX_DEPTH:
                raise ValueError(f"nested deeper than {MAX_DEPTH}")
        elif first in "]}":
            depth -= 1
    return json.loads(text)


__all__ = ["MAX_DEPTH", "parse_json", "read_text"]
