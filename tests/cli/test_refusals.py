"""What is wrong with an argument is said before anything is paid for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from opml.errors import InputError

NOWHERE = ("--rpc-url", "http://127.0.0.1:1")


@pytest.mark.parametrize(
    "option",
    [
        ("--window", "0s"),
        ("--clock", "13d"),
        ("--ceiling", "0"),
        ("--ceiling", "1001gwei"),
        ("--margin", "1000001ether"),
        ("--fanout", 9),
    ],
)
def test_terms_that_no_game_takes_are_refused_before_deployment(
    opml: Any, option: tuple[str, object]
) -> None:
    result = opml("deploy", *NOWHERE, "--private-key-env", "NO_KEY", *option)
    assert result.exit_code == 2 and "range" in result.stderr


def test_place_that_takes_no_deployment_is_refused_before_it(opml: Any, tmp_path: Path) -> None:
    place = tmp_path / "none" / "d.json"
    result = opml("deploy", *NOWHERE, "--private-key-env", "NO_KEY", "--deployment", place)
    assert isinstance(result.exception, InputError) and f"{place} can't be written" in str(result.exception)


@pytest.mark.parametrize(
    "option",
    [
        ("--callback", "zzz"),
        ("--callback", "0x12"),
        ("--callback-gas", 2**32),
        ("--max-tokens", 2**32),
        ("--deadline", "999999d"),
        ("--fee", "1e60"),
    ],
)
def test_request_that_no_oracle_takes_is_refused(
    opml: Any, tiny_file: Path, option: tuple[str, object]
) -> None:
    result = opml("request", "--prompt", "x", "--model", tiny_file, *NOWHERE, *option)
    assert result.exit_code == 2 and f"Invalid value for '{option[0]}'" in result.stderr


@pytest.mark.parametrize("claim", ["zz", "", "0x" + "1" * 65])
def test_other_start_of_a_claim_is_refused(opml: Any, claim: str) -> None:
    assert "is no hash" in opml("games", *NOWHERE, "--claim", claim).stderr


@pytest.mark.parametrize("option", [("--callback", "0x" + "12" * 20), ("--callback-gas", 50_000)])
def test_callback_without_gas_and_gas_without_callback_are_refused(
    opml: Any, tiny_file: Path, option: tuple[str, object]
) -> None:
    result = opml("request", "--prompt", "x", "--model", tiny_file, *NOWHERE, *option)
    assert result.exit_code == 2 and "go together" in result.stderr
