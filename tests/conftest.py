"""Lets tests import one another's helpers: the repository's root, behind everything that is installed."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))
