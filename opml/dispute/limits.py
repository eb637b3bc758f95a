"""What the contracts take (`contracts/GameCore.sol`, `OpmlOracle.sol`): known before anything is paid.

Imports nothing, so that a command's help stays instant.
"""

from __future__ import annotations

from typing import Final

MOST_WINDOW: Final = 2**32 - 1
MOST_CLOCK: Final = 2**20 - 1
MOST_FANOUT: Final = 8
MOST_CHALLENGERS: Final = 255
MOST_CEILING: Final = 1000 * 10**9
MOST_EXTRA: Final = 10**24
"""Wei of `incentive`, and of `margin`."""
MOST_CALLBACK_GAS: Final = 10_000_000
MOST_OUTPUT: Final = 2**32 - 1
"""Tokens that a request can name."""

__all__ = [
    "MOST_CALLBACK_GAS",
    "MOST_CEILING",
    "MOST_CHALLENGERS",
    "MOST_CLOCK",
    "MOST_EXTRA",
    "MOST_FANOUT",
    "MOST_OUTPUT",
    "MOST_WINDOW",
]
