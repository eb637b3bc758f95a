"""Amounts, durations and digests as people read and write them."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from decimal import Decimal
from enum import Enum
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    _Int = click.ParamType[int]
    _Bytes = click.ParamType[bytes]
    _Text = click.ParamType[str]
else:  # click before 8.2 has no generic
    _Int = _Bytes = _Text = click.ParamType

_WEI = {"wei": 1, "gwei": 10**9, "ether": 10**18, "eth": 10**18}
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


MOST_WEI = 10**27
"""More than all ether there is: a larger amount is a slip."""
MOST_SECONDS = 100 * 365 * 86_400


class Wei(_Int):
    """An amount such as `20gwei`, `0.5ether` or `1000` (wei), from `least` to `most`."""

    name = "amount"

    def __init__(self, least: int = 0, most: int = MOST_WEI) -> None:
        self.least, self.most = least, most

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        text = str(value).replace("_", "").strip().lower()
        unit = next((u for u in ("gwei", "wei", "ether", "eth") if text.endswith(u)), "")
        try:
            amount = Decimal(text.removesuffix(unit)) * _WEI[unit or "wei"]
        except ArithmeticError:
            self.fail(f"{value!r} is no amount: write it like 20gwei, 0.5ether or 1000 (wei)", param, ctx)
        if not amount.is_finite() or amount < 0 or amount != amount.to_integral_value():
            self.fail(f"{value!r} is no whole, positive number of wei", param, ctx)
        if not self.least <= amount <= self.most:
            self.fail(
                f"{value!r} is out of range: {ether(self.least)} to {ether(self.most)} are expected",
                param,
                ctx,
            )
        return int(amount)


class Seconds(_Int):
    """A duration such as `90s`, `15m`, `1h`, `7d` or `3600` (seconds), from `least` to `most`."""

    name = "duration"

    def __init__(self, least: int = 0, most: int = MOST_SECONDS) -> None:
        self.least, self.most = least, most

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        text = str(value).strip().lower()
        unit = text[-1:] if text[-1:] in _SECONDS else ""
        number = text.removesuffix(unit)
        if not (number.isascii() and number.isdigit()):
            self.fail(f"{value!r} is no duration: write it like 90s, 15m, 1h or 7d", param, ctx)
        seconds = int(number[:20]) * _SECONDS[unit or "s"]
        if not self.least <= seconds <= self.most:
            self.fail(
                f"{value!r} is out of range: {self.least:,} to {self.most:,} s are expected", param, ctx
            )
        return seconds


class FiniteRange(click.FloatRange):
    """A range of numbers that NaN, which is below and above nothing, isn't in."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value!r} is no finite number", param, ctx)
        return number


class HashStart(_Text):
    """The first digits of a hash, as lists show them; all 64 or fewer, in small letters without 0x."""

    name = "hash"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        digits = str(value).lower().removeprefix("0x").rstrip("…")
        if not 1 <= len(digits) <= 64 or not set(digits) <= set("0123456789abcdef"):
            self.fail(f"{value!r} is no hash: up to 64 hex digits are expected", param, ctx)
        return digits


class Address(_Bytes):
    """20 bytes in hex; with capital letters the checksum has to fit (EIP-55)."""

    name = "address"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> bytes:
        if isinstance(value, bytes):
            return value
        from eth_utils.address import is_checksum_address, is_hex_address

        digits = str(value).removeprefix("0x")
        mixed = digits not in (digits.lower(), digits.upper())
        if not is_hex_address(value) or (mixed and not is_checksum_address(value)):
            self.fail(
                f"{value!r} is no address: 20 bytes in hex with a right checksum are expected", param, ctx
            )
        return bytes.fromhex(digits)


WEI, SECONDS, ADDRESS, HASH_START = Wei(), Seconds(), Address(), HashStart()


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


def columns(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Rows under a head, aligned; the last column takes what it needs, so that nothing else is wrapped."""
    lines = [head, *rows]
    widths = [max(len(line[n]) for line in lines) for n in range(len(head) - 1)]
    return "\n".join(
        "  ".join(
            [*(cell.ljust(width) for cell, width in zip(line, widths, strict=False)), line[-1]]
        ).rstrip()
        for line in lines
    )


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


__all__ = [
    "ADDRESS",
    "HASH_START",
    "SECONDS",
    "WEI",
    "FiniteRange",
    "Seconds",
    "Wei",
    "clock",
    "columns",
    "duration",
    "ether",
    "harmless",
    "plain",
    "short",
]
