"""A page of the documentation: its commands and its links."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def blocks(page: str) -> list[list[str]]:
    """The shell blocks of a page, a command a line."""
    text = (ROOT / page).read_text(encoding="utf-8")
    found = re.findall(r"^```sh\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    return [[line for line in block.splitlines() if line.strip()] for block in found]
