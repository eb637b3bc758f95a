"""Files that a user may care about: never half written, never lost to a full disk."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

from opml.errors import InputError


def write_whole(file: Path, data: bytes) -> None:
    """Write a file so that it has its old content or all of the new one at any moment. Raises `OSError`.

    What is no ordinary file (a pipe, a device) is written to as it is.
    """
    target = Path(os.path.realpath(file))
    if target.exists() and not target.is_file():
        with target.open("wb") as out:
            out.write(data)
        return
    handle, name = tempfile.mkstemp(prefix=".opml-", dir=target.parent)
    try:
        with os.fdopen(handle, "wb") as out:
            out.write(data)
            out.flush()
            os.fsync(out.fileno())
        os.chmod(name, target.stat().st_mode & 0o7777 if target.exists() else 0o666 & ~_umask())
        os.replace(name, target)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise


def _umask() -> int:
    """The process's file mode mask, which can only be read by setting it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def check_place(file: Path, *, force: bool) -> None:
    """Whether `write_whole` may write there, asked before the work whose result it is.

    Raises `InputError` where it can't, and unless `force` where an ordinary file lies there already.
    """
    try:
        if file.is_dir():
            raise InputError(f"{file} can't be written, it is a folder: name a file in it")
        there, plain = file.exists(), file.is_file()
        folder = Path(os.path.realpath(file)).parent
        written = [file] * there + [folder] * (
            plain or not there
        )  # a plain file is replaced by one beside it
        if not folder.is_dir() or not all(os.access(place, os.W_OK) for place in written):
            raise InputError(f"{file} can't be written: choose another place")
    except OSError as problem:
        raise InputError(f"{file} can't be written ({problem.strerror}): choose another place") from None
    if plain and not force:
        raise InputError(f"{file} exists already: name another file, or pass --force to write over it")


__all__ = ["check_place", "write_whole"]
