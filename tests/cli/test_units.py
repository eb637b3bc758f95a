"""Amounts, durations and digests are read as written, or refused."""

from __future__ import annotations

import json

import click
import pytest

from opml.cli.units import DIGEST, SECONDS, WEI, duration, ether, plain, short
from opml.dispute.types import Phase, Terms


@pytest.mark.parametrize(
    ("text", "wei"),
    [
        ("1000", 1000),
        ("20gwei", 20 * 10**9),
        ("0.5ether", 5 * 10**17),
        ("1 ETH", 10**18),
        ("0", 0),
        ("7wei", 7),
    ],
)
def test_amount_with_unit_is_wei(text: str, wei: int) -> None:
    assert WEI.convert(text, None, None) == wei


@pytest.mark.parametrize("text", ["", "x", "1.5wei", "-1", "0.0000000000000000001ether", "nan", "1 euro"])
def test_other_amount_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter):
        WEI.convert(text, None, None)


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("15m", 900), ("1h", 3600), ("2d", 172_800)])
def test_duration_with_unit_is_seconds(text: str, seconds: int) -> None:
    assert SECONDS.convert(text, None, None) == seconds


@pytest.mark.parametrize("text", ["", "h", "1.5h", "-1", "1w", "٣s"])
def test_other_duration_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter):
        SECONDS.convert(text, None, None)


def test_digest_is_32_bytes_of_hex() -> None:
    assert DIGEST.convert("0x" + "ab" * 32, None, None) == b"\xab" * 32
    for text in ("", "0x12", "zz" * 32):
        with pytest.raises(click.BadParameter):
            DIGEST.convert(text, None, None)


@pytest.mark.parametrize(
    ("wei", "text"),
    [
        (10**18, "1 ETH"),
        (4 * 10**16, "0.04 ETH"),
        (15 * 10**8, "1.5 gwei"),
        (7, "7 wei"),
        (0, "0 wei"),
        (-(10**18), "-1 ETH"),
    ],
)
def test_ether_picks_the_unit_that_fits(wei: int, text: str) -> None:
    assert ether(wei) == text


def test_duration_and_hash_are_short() -> None:
    assert [duration(s) for s in (42, 65, 3900)] == ["42 s", "1 min 05 s", "1 h 05 min"]
    assert short(b"\xab" * 32) == "0xabababab…"


def test_plain_values_are_json() -> None:
    value = {"phase": Phase.PICK, "terms": Terms(window=5), "ids": (b"\x01", b"\x02")}
    text = json.loads(json.dumps(plain(value)))
    assert text["phase"] == "pick" and text["terms"]["window"] == 5 and text["ids"] == ["0x01", "0x02"]
