"""keccak256, the only hash of the project: the native engine's where it is built, else PyCryptodome's."""

from __future__ import annotations

import importlib
from collections.abc import Callable

from Crypto.Hash import keccak as _crypto


def portable_keccak256(data: bytes) -> bytes:
    """keccak256 by PyCryptodome: 32 bytes."""
    return _crypto.new(digest_bits=256, data=data).digest()


def _choose() -> Callable[[bytes], bytes]:
    try:
        native = importlib.import_module("opml.vm._native")
    except ImportError:
        return portable_keccak256
    chosen: Callable[[bytes], bytes] = getattr(native, "keccak256", portable_keccak256)
    return chosen


keccak256: Callable[[bytes], bytes] = _choose()
"""`keccak256(data)`: the 32-byte hash of `bytes`."""

__all__ = ["keccak256", "portable_keccak256"]
