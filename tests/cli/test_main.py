"""Errors become exit codes at one boundary, and help is instant."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import click
import pytest

from opml.cli import main as entry
from opml.errors import ChainError, EngineError, InputError, OpmlError, WrongClaim
from tests.installed import PYTHON


def run(*args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*PYTHON, "-m", "opml.cli.main", *args], capture_output=True, text=True)


def raising(problem: BaseException) -> Any:
    def body(*_: Any, **__: Any) -> None:
        raise problem

    return body


@pytest.mark.parametrize(
    ("problem", "code"),
    [
        (OpmlError("x"), 1),
        (InputError("x"), 2),
        (WrongClaim("x"), 3),
        (ChainError("x"), 4),
        (EngineError("x"), 5),
        (click.UsageError("x"), 2),
        (click.Abort(), 130),
        (KeyboardInterrupt(), 130),
        (BrokenPipeError(), 0),
    ],
)
def test_error_decides_exit_code(monkeypatch: pytest.MonkeyPatch, problem: BaseException, code: int) -> None:
    monkeypatch.setattr(entry.cli, "main", raising(problem))
    monkeypatch.setattr("sys.stderr.close", lambda: None, raising=False)
    with pytest.raises(SystemExit) as caught:
        entry.main([])
    assert caught.value.code == code


def test_bug_is_not_hidden_as_a_user_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entry.cli, "main", raising(AssertionError("a bug")))
    with pytest.raises(AssertionError):
        entry.main([])


def test_error_is_one_line_on_stderr(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setattr(entry.cli, "main", raising(InputError("rule: do this")))
    with pytest.raises(SystemExit):
        entry.main([])
    out, err = capsys.readouterr()
    assert (out, err) == ("", "error: rule: do this\n")


def test_help_lists_commands_and_examples() -> None:
    done = run("--help")
    assert done.returncode == 0 and done.stderr == ""
    for name in entry._COMMANDS:
        assert f"\n  {name} " in done.stdout
    assert "opml demo" in done.stdout and "Exit codes" in done.stdout


def test_help_imports_nothing_heavy() -> None:
    script = (
        "import sys, opml.cli.main as m\n"
        "try: m.main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'web3', 'numpy', 'eth', 'rich', 'opml.chain', 'opml.vm'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([*PYTHON, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_version_is_the_packages() -> None:
    from opml import __version__

    assert run("--version").stdout.strip() == f"opml, version {__version__}"


def test_unknown_command_is_wrong_input() -> None:
    done = run("frobnicate")
    assert done.returncode == 2 and "No such command" in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
@pytest.mark.parametrize(
    "command",
    [("--help",), ("model", "show", "TINY"), ("run", "TINY", "--prompt", "x"), ("demo", "--model", "TINY")],
)
def test_output_that_cannot_be_written_is_one_error(tiny_file: Path, command: tuple[str, ...]) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [
                *PYTHON,
                "-m",
                "opml.cli.main",
                *(str(tiny_file) if part == "TINY" else part for part in command),
            ],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("error: the output can't be written (No space left")
    assert "Traceback" not in done.stderr


def test_reader_that_goes_away_is_no_traceback(tiny_file: Path) -> None:
    command = [*PYTHON, "-m", "opml.cli.main", "model", "show", str(tiny_file), "--code"]
    show = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert show.stdout is not None and show.stderr is not None
    show.stdout.readline()
    show.stdout.close()
    assert show.stderr.read() == ""
    show.wait(30)


def test_bug_in_a_file_is_not_taken_for_full_output(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entry.cli, "main", raising(OSError(28, "No space left on device", "some/file")))
    with pytest.raises(OSError, match="some/file"):
        entry.main([])
