"""The page about operating, typed in by a new user: every command of it, in its order.

Put in for the page's are only what anvil prints (keys) and a free port; blocks come faster.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from opml.chain.deployment import Deployment
from opml.chain.gateway import ChainGateway
from opml.chain.rpc import RpcChain
from opml.cli.model_file import SMOLLM2, cache_dir
from opml.cli.options import DEPLOYMENT_FILE
from opml.dispute.gateway import ClaimStatus
from tests.anvil import ANVIL_FOLDER, needed_anvil
from tests.docs.page import ROOT, blocks

pytestmark = [pytest.mark.anvil, pytest.mark.model]
PAGE = "docs/operating.md"
SECONDS = 120.0


class Terminals:
    """Shells in one folder. `type` waits for a command, `start` leaves it running in its own terminal."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.exports: list[str] = []
        self.running: list[subprocess.Popen[bytes]] = []
        (folder / "tests").symlink_to(ROOT / "tests")
        commands = folder / "bin"
        commands.mkdir()
        for name, call in (("opml", f"{sys.executable} -P -m opml.cli.main"), ("python", sys.executable)):
            (commands / name).write_text(f'#!/bin/sh\nexec {call} "$@"\n')
            (commands / name).chmod(0o755)
        self.environment = {**os.environ, "PATH": f"{commands}:{ANVIL_FOLDER}:{os.environ['PATH']}"}

    def type(self, command: str) -> str:
        done = subprocess.run(
            self._shell(command),
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )
        assert done.returncode == 0, f"{command}: {done.stderr}"
        return done.stdout

    def start(self, command: str, log: str) -> Path:
        with (self.folder / log).open("w") as out:
            process = subprocess.Popen(
                self._shell("exec " + command),
                cwd=self.folder,
                env=self.environment,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        self.running.append(process)
        return self.folder / log

    def _shell(self, command: str) -> list[str]:
        return ["bash", "-euc", "\n".join([*self.exports, command])]

    def wait(self, what: str, done: Callable[[], Any]) -> Any:
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            if found := done():
                return found
            time.sleep(0.5)
        logs = "\n".join(f"{log.name}:\n{log.read_text()[-1500:]}" for log in self.folder.glob("*.log"))
        pytest.fail(f"{what} did not happen in {SECONDS:.0f} s\n{logs}")


@pytest.fixture
def terminals(tmp_path: Path) -> Iterator[Terminals]:
    made = Terminals(tmp_path)
    yield made
    for process in reversed(made.running):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # npm's anvil is a script that starts another process
        process.wait()


def free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port: int = held.getsockname()[1]
        return port


def reader_of(terminals: Terminals, url: str) -> ChainGateway:
    """What is asked again and again while waiting: a command takes a second, half of it to start."""
    return ChainGateway(RpcChain(url), Deployment.load(terminals.folder / DEPLOYMENT_FILE))


def listing(terminals: Terminals, command: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(terminals.type(f"opml {command} --json"))
    return found


def test_page_about_operating_works_as_it_is_typed(terminals: Terminals) -> None:
    needed_anvil()
    assert (cache_dir() / SMOLLM2.name).is_file(), "run `opml model fetch` first"
    assert shutil.which("curl"), "the page needs curl"
    chain, exports, once, parties, question, look, cheat, later = blocks(PAGE)

    port = free_port()
    assert chain == ["anvil --block-time 1"]
    log = terminals.start(f"anvil --block-time 0.2 --port {port}", "anvil.log")
    terminals.wait("anvil", lambda: "Listening on" in log.read_text())
    keys = re.findall(r"0x[0-9a-f]{64}\b", log.read_text())
    exports = [line.replace("http://127.0.0.1:8545", f"http://127.0.0.1:{port}") for line in exports]
    for line in exports:
        terminals.exports.append(line.replace("0x…", keys.pop(0)) if "0x…" in line else line)
    assert not any("…" in line for line in terminals.exports)

    for line in once:
        terminals.type(line)
    reader = reader_of(terminals, f"http://127.0.0.1:{port}")
    for number, line in enumerate(parties):
        terminals.start(line, f"party{number}.log")
    asked = terminals.start(*question, "request.log")
    terminals.wait("a claim", reader.claims)
    for line in look:
        assert terminals.type(line)
    terminals.start(*cheat, "cheat.log")
    terminals.wait("a verdict", lambda: any(c.status == ClaimStatus.REJECTED for c in reader.claims()))
    assert [game["phase"] for game in listing(terminals, "games")] == ["won"]
    assert sorted(claim["status"] for claim in listing(terminals, "claims")) == ["pending", "rejected"]
    for line in later:
        assert "error" not in terminals.type(line)
    terminals.wait("an answer", lambda: "Oslo" in asked.read_text())
    watched = (terminals.folder / "party2.log").read_text()
    assert watched.count(" holds") == 1 and watched.count(" WRONG") == 1
