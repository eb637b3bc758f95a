"""A file has its old content or all of the new one, and none is written over unasked."""

from __future__ import annotations

import os
import subprocess
import threading
from pathlib import Path

import pytest

from opml.errors import InputError
from opml.file_output import check_place, write_whole
from tests.installed import PYTHON


def test_content_is_replaced_and_nothing_else_left(tmp_path: Path) -> None:
    file = tmp_path / "x"
    for content in (b"one", b"another"):
        write_whole(file, content)
        assert file.read_bytes() == content and os.listdir(tmp_path) == ["x"]


def test_permissions_are_those_of_the_old_file_or_of_the_umask(tmp_path: Path) -> None:
    old, new, plain = tmp_path / "old", tmp_path / "new", tmp_path / "plain"
    old.write_bytes(b"")
    old.chmod(0o640)
    plain.write_bytes(b"")
    write_whole(old, b"x")
    write_whole(new, b"x")
    assert old.stat().st_mode & 0o777 == 0o640
    assert new.stat().st_mode == plain.stat().st_mode


def test_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "there" / "x")
    (tmp_path / "there").mkdir()
    for content in (b"one", b"two"):
        write_whole(tmp_path / "link", content)
    assert (tmp_path / "link").is_symlink() and (tmp_path / "there" / "x").read_bytes() == b"two"


def test_pipe_is_written_to(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    check_place(tmp_path / "pipe", force=False)
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append((tmp_path / "pipe").read_bytes()))
    reader.start()
    write_whole(tmp_path / "pipe", b"through")
    reader.join(5)
    assert got == [b"through"] and (tmp_path / "pipe").is_fifo()


def test_failed_write_keeps_the_old_file(tmp_path: Path) -> None:
    file = tmp_path / "x"
    file.write_bytes(b"old")
    script = (  # a limit on the size of files stands for a full disk
        "import resource, signal, pathlib\nfrom opml.file_output import write_whole\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))\n"
        f"try: write_whole(pathlib.Path({str(file)!r}), bytes(5000))\n"
        "except OSError as problem: print(problem)\n"
    )
    done = subprocess.run([*PYTHON, "-c", script], capture_output=True, text=True)
    assert "File too large" in done.stdout, done.stderr
    assert file.read_bytes() == b"old" and os.listdir(tmp_path) == ["x"]


def test_places_that_take_no_file_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for place in (tmp_path, tmp_path / "none" / "x", tmp_path / "file" / "x", tmp_path / ("x" * 300)):
        with pytest.raises(InputError, match="can't be written"):
            check_place(place, force=True)


def test_file_that_exists_is_refused_without_force(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"")
    with pytest.raises(InputError, match="x exists already: name another file, or pass --force"):
        check_place(tmp_path / "x", force=False)
    check_place(tmp_path / "x", force=True)
    check_place(tmp_path / "y", force=False)
