"""keccak256, the only hash of the project: the native engine's where it is built, else PyCryptodome's.

`hash_many` hashes messages of one length behind a tag byte, which is what trees are made of.
"""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

DIGEST_BYTES = 32

Messages = NDArray[np.uint8]


def portable_keccak256(data: bytes) -> bytes:
    """keccak256 by PyCryptodome: 32 bytes."""
    from Crypto.Hash import keccak  # takes long to import, and is hardly needed beside the native engine

    return keccak.new(digest_bits=256, data=data).digest()


def portable_hash_many(tag: int, messages: Messages) -> bytes:
    """`hash_many` by PyCryptodome."""
    prefix = bytes([tag])
    return b"".join(portable_keccak256(prefix + message.tobytes()) for message in messages)


def _load_native() -> ModuleType | None:
    try:
        return importlib.import_module("opml.vm._native")
    except ImportError:
        return None


_native: Any = _load_native()


def keccak256(data: bytes) -> bytes:
    """The 32-byte hash of `data`."""
    if _native is None or not data:
        return portable_keccak256(data)
    digest: bytes = _native.keccak256(data)
    return digest


def hash_many(tag: int, messages: Messages) -> bytes:
    """keccak256(tag | message) of each row of uint8 [n, length], one after the other: 32 n bytes."""
    if _native is None:
        return portable_hash_many(tag, messages)
    digests: bytes = _native.keccak256_many(np.ascontiguousarray(messages), tag).tobytes()
    return digests


__all__ = ["DIGEST_BYTES", "hash_many", "keccak256", "portable_hash_many", "portable_keccak256"]
