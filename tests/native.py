"""The native module for tests: they are skipped where it can't be built, not where its build failed."""

from __future__ import annotations

import importlib
import shutil
from typing import Any

import pytest

from opml.errors import EngineError
from opml.vm.engine import Engine, get_engine


def native_module() -> Any:
    """`opml.vm._native`; skips the test or module without a compiler, else raises `ImportError`."""
    try:
        return importlib.import_module("opml.vm._native")
    except ImportError:
        if shutil.which("c++") is None:
            pytest.skip("there is no C++ compiler here", allow_module_level=True)
        raise


def fast_engine() -> Engine:
    """An engine for tests of what lies above engines: the bits of all are the same (`tests/vm`)."""
    try:
        return get_engine("native")
    except EngineError:
        if shutil.which("c++") is None:
            return get_engine("reference")
        raise
