"""Amounts, durations and digests are read as written, or refused."""

from __future__ import annotations

import json

import click
import pytest

from opml.cli.units import (
    ADDRESS,
    HASH_START,
    SECONDS,
    WEI,
    Seconds,
    Wei,
    columns,
    duration,
    ether,
    harmless,
    plain,
    short,
)
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


@pytest.mark.parametrize("text", ["1e999999", "1e28", "1001gwei", "0"])
def test_amount_out_of_range_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter):
        Wei(1, 1000 * 10**9).convert(text, None, None)


@pytest.mark.parametrize("text", ["0s", "13d", "9" * 5000])
def test_duration_out_of_range_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter, match="out of range"):
        Seconds(1, 12 * 86_400).convert(text, None, None)


def test_start_of_a_hash_is_taken_as_lists_show_it() -> None:
    for text in ("0xAB12…", "ab12", "0xab12"):
        assert HASH_START.convert(text, None, None) == "ab12"
    for text in ("", "0x", "zz", "a" * 65):
        with pytest.raises(click.BadParameter):
            HASH_START.convert(text, None, None)


def test_address_is_20_bytes_of_hex_with_its_checksum() -> None:
    address = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
    assert ADDRESS.convert(address, None, None) == bytes.fromhex(address[2:])
    for text in ("", "0x12", "zz" * 20, address.replace("C51", "c51")):
        with pytest.raises(click.BadParameter):
            ADDRESS.convert(text, None, None)


def test_columns_are_aligned_and_the_last_is_free() -> None:
    lines = columns(("a", "where"), [("long", "x" * 300), ("b", "")]).splitlines()
    assert [line.index(word) for line, word in zip(lines, ("where", "xxx"), strict=False)] == [6, 6]
    assert lines[2] == "b"


def test_control_characters_are_shown_as_escapes() -> None:
    assert harmless("å\n\t👩\u200d🚀\x1b[2J\r\u2028") == "å\n\t👩\u200d🚀" + r"\x1b[2J\r\u2028"


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
