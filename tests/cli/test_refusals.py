"""What is wrong with an argument is said before anything is paid for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from opml.chain.deployment import CONTRACTS, GAME, Deployment
from opml.cli.engines import available_threads
from opml.cli.options import MOST_THREADS
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


@pytest.mark.parametrize(
    "url", ["", "nonsense", "ftp://x", "http://", "http://x:99999", "http://x:y", "http://[::1", "//x"]
)
def test_url_that_leads_nowhere_is_refused(opml: Any, tmp_path: Path, url: str) -> None:
    file = tmp_path / "d.json"
    Deployment(1, 0, dict.fromkeys((*CONTRACTS, GAME), "0x" + "00" * 20)).save(file)
    result = opml("claims", "--deployment", file, "--rpc-url", url)
    assert isinstance(result.exception, InputError) and "no http(s) URL" in str(result.exception)


@pytest.mark.parametrize("seconds", ["nan", "inf", "-inf", "0", "1e9", "x"])
def test_interval_that_no_loop_can_wait_is_refused(opml: Any, seconds: str) -> None:
    assert "Invalid value for '--interval'" in opml("submit", "none.gguf", "--interval", seconds).stderr


def test_more_threads_than_an_engine_takes_are_refused(opml: Any) -> None:
    assert "Invalid value for '--threads'" in opml("run", "x", "--prompt", "x", "--threads", 257).stderr


def test_machine_of_many_processors_uses_as_many_as_an_engine_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(range(384)), raising=False)
    assert available_threads() == MOST_THREADS


def test_key_that_watching_needs_not_is_refused(opml: Any) -> None:
    result = opml("challenge", "none.gguf", "--watch", "--account", "bob")
    assert result.exit_code == 2 and "--watch signs nothing" in result.stderr


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="needs a device without end")
@pytest.mark.parametrize(
    "command",
    [
        ("score", "TINY", "--tokens", "/dev/zero"),
        ("verify", "TINY", "/dev/zero"),
        ("claims", *NOWHERE, "--deployment", "/dev/zero"),
        ("submit", "TINY", *NOWHERE, "--keystore", "KEY", "--password-file", "/dev/zero"),
        ("run", "/dev/zero", "--prompt", "x"),
    ],
)
def test_file_without_end_is_refused(
    opml: Any, tiny_file: Path, tmp_path: Path, command: tuple[str, ...]
) -> None:
    (tmp_path / "key").write_text("{}")
    places = {"TINY": str(tiny_file), "KEY": str(tmp_path / "key")}
    result = opml(*(places.get(part, part) for part in command))
    assert isinstance(result.exception, InputError) and "/dev/zero" in str(result.exception)


def test_uri_that_is_no_text_is_refused(opml: Any) -> None:
    result = opml("model", "register", "none.gguf", "--uri", "\udcff")
    assert result.exit_code == 2 and "no text in UTF-8" in result.stderr
