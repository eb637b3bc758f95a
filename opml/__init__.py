"""opml: use a language model's answer in a smart contract without trusting who computed it."""

from __future__ import annotations

__version__ = "0.1.0"
