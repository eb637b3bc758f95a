"""Amounts, durations and digests as people read and write them."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from decimal import Decimal, InvalidOperation
from enum import Enum
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    _Int = click.ParamType[int]
    _Bytes = click.ParamType[bytes]
else:  # click before 8.2 has no generic
    _Int = _Bytes = click.ParamType

_WEI = {"wei": 1, "gwei": 10**9, "ether": 10**18, "eth": 10**18}
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


class Wei(_Int):
    """An amount such as `20gwei`, `0.5ether` or `1000` (wei)."""

    name = "amount"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        text = str(value).replace("_", "").strip().lower()
        unit = next((u for u in ("gwei", "wei", "ether", "eth") if text.endswith(u)), "")
        try:
            amount = Decimal(text.removesuffix(unit)) * _WEI[unit or "wei"]
        except InvalidOperation:
            self.fail(f"{value!r} is no amount: write it like 20gwei, 0.5ether or 1000 (wei)", param, ctx)
        if not amount.is_finite() or amount < 0 or amount != amount.to_integral_value():
            self.fail(f"{value!r} is no whole, positive number of wei", param, ctx)
        return int(amount)


class Seconds(_Int):
    """A duration such as `90s`, `15m`, `1h`, `7d` or `3600` (seconds)."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        text = str(value).strip().lower()
        unit = text[-1:] if text[-1:] in _SECONDS else ""
        number = text.removesuffix(unit)
        if not (number.isascii() and number.isdigit()):
            self.fail(f"{value!r} is no duration: write it like 90s, 15m, 1h or 7d", param, ctx)
        return int(number) * _SECONDS[unit or "s"]


class Digest(_Bytes):
    """32 bytes in hex."""

    name = "hash"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> bytes:
        if isinstance(value, bytes):
            return value
        try:
            digest = bytes.fromhex(str(value).removeprefix("0x"))
        except ValueError:
            digest = b""
        if len(digest) != 32:
            self.fail(f"{value!r} is no hash: 32 bytes in hex are expected", param, ctx)
        return digest


WEI, SECONDS, DIGEST = Wei(), Seconds(), Digest()


def ether(wei: int) -> str:
    """Wei in the unit that shows it shortest: `0.04 ETH`, `1.5 gwei`, `7 wei`."""
    size = abs(wei)
    for unit, name, least in ((10**18, "ETH", 10**14), (10**9, "gwei", 10**6), (1, "wei", 0)):
        if size >= least:
            number = f"{Decimal(wei) / unit:.6f}".rstrip("0").rstrip(".")
            return f"{number} {name}"
    raise AssertionError("unreachable")


def duration(seconds: int) -> str:
    """Seconds as `1 h 05 min` or `42 s`."""
    if seconds >= 3600:
        return f"{seconds // 3600} h {seconds % 3600 // 60:02} min"
    return f"{seconds // 60} min {seconds % 60:02} s" if seconds >= 60 else f"{seconds} s"


def clock(seconds: int) -> str:
    """Seconds as a chess clock shows them: `59:12`."""
    return f"{seconds // 60}:{seconds % 60:02}"


def short(digest: bytes) -> str:
    """The first four bytes of a hash, enough to tell it from others on a screen."""
    return f"0x{digest[:4].hex()}…"


def harmless(text: str) -> str:
    """Text that a file or a peer gave, for a terminal: control characters other than line ends as escapes."""
    return "".join(
        c if c in "\n\t" or unicodedata.category(c) not in ("Cc", "Zl", "Zp") else ascii(c)[1:-1]
        for c in text
    )


def plain(value: Any) -> Any:
    """A value for `json.dumps`: bytes as hex, enums as their names, dataclasses as objects."""
    if isinstance(value, (bytes, bytearray)):
        return "0x" + bytes(value).hex()
    if isinstance(value, Enum):
        return value.name.lower()
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(v) for v in value]
    return value


__all__ = ["DIGEST", "SECONDS", "WEI", "clock", "duration", "ether", "harmless", "plain", "short"]
