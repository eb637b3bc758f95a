"""The anvil of the tests that need one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from opml.chain.anvil import Anvil, find_anvil

ANVIL_FOLDER = Path(__file__).parents[1] / "contracts" / "node_modules" / ".bin"


def needed_anvil() -> Path:
    """The binary. Without one a test is skipped, or fails where OPML_REQUIRE_ANVIL=1 (CI)."""
    binary = find_anvil([ANVIL_FOLDER])
    if binary is None:
        rule = "anvil is neither on PATH nor in contracts/node_modules/.bin"
        if os.environ.get("OPML_REQUIRE_ANVIL") == "1":
            pytest.fail(rule)
        pytest.skip(rule)
    return binary


def running_anvil() -> Iterator[Anvil]:
    """An anvil for a fixture."""
    with Anvil.start(binary=needed_anvil()) as anvil:
        yield anvil
