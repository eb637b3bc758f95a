"""Fixtures: the real model, and vocabularies made for tests."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from opml.cli.model_file import SMOLLM2, cache_dir

sys.path.insert(0, str(Path(__file__).parent))  # for helper modules beside the tests

NAME = SMOLLM2.name


def smollm2_path() -> Path | None:
    """The file named by `OPML_MODEL`, else the one that `opml model fetch` keeps; None when there is none."""
    for path in (Path(os.environ.get("OPML_MODEL", "-")), cache_dir() / NAME):
        if path.is_file():
            return path
    return None


@pytest.fixture(scope="session")
def smollm2() -> Path:
    """The path of SmolLM2-135M-Instruct; a test that needs it fails without it."""
    path = smollm2_path()
    if path is None:
        pytest.fail(f"{NAME} is missing: run `opml model fetch`, or name the file in OPML_MODEL")
    return path
