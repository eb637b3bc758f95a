"""Submitter, cheat and challenger as processes on anvil, one of them killed and started again midway."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account

from opml.chain.anvil import Anvil, AnvilChain
from opml.chain.deployment import Deployment
from opml.chain.gateway import ChainGateway
from opml.cli.waiting import wait_for_answer
from opml.dispute.gateway import ClaimStatus
from tests.anvil import running_anvil
from tests.installed import PYTHON

pytestmark = pytest.mark.anvil

_NAMES = ("alice", "bob", "carol", "mallory")
_SECONDS = 120.0


@pytest.fixture(scope="module")
def anvil() -> Iterator[Anvil]:
    yield from running_anvil()


class World:
    """A folder with keys and a deployment, and the processes that were started in it."""

    def __init__(self, folder: Path, anvil: Anvil, model: Path) -> None:
        self.folder = folder
        self.url = anvil.url
        self.model = model
        self.chain: AnvilChain = anvil.chain()
        self.running: list[subprocess.Popen[str]] = []
        self.environment = {
            **os.environ,
            "FOUNDRY_DIR": str(folder),
            "ETH_RPC_URL": self.url,
        }
        (folder / "keystores").mkdir()
        (folder / "password").write_text("secret\n")
        for name, signer in zip(_NAMES, self.chain.accounts, strict=False):
            key = bytes(signer._account.key)
            content = Account.encrypt(key, "secret", kdf="pbkdf2", iterations=2)
            (folder / "keystores" / name).write_text(json.dumps(content))
            self.environment[f"KEY_{name.upper()}"] = key.hex()

    def command(self, *args: object, account: str | None = None) -> list[str]:
        key = ["--account", account, "--password-file", str(self.folder / "password")] if account else []
        return [*PYTHON, "-m", "opml.cli.main", *map(str, args), *key]

    def json(self, *args: object, account: str | None = None) -> Any:
        done = subprocess.run(
            self.command(*args, "--json", account=account),
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def start(self, command: list[str], log: str) -> subprocess.Popen[str]:
        with (self.folder / log).open("a") as out:
            process = subprocess.Popen(
                command, cwd=self.folder, env=self.environment, stdout=out, stderr=out, text=True
            )
        self.running.append(process)
        return process

    def wait(self, what: str, done: Any) -> Any:
        deadline = time.monotonic() + _SECONDS
        while time.monotonic() < deadline:
            found = done()
            if found:
                return found
            time.sleep(0.2)
        logs = "\n".join(f"{p.name}:\n{p.read_text()[-2000:]}" for p in self.folder.glob("*.log"))
        pytest.fail(f"{what} did not happen in {_SECONDS:.0f} s\n{logs}")


@pytest.fixture
def world(anvil: Anvil, tiny_file: Path, tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path, anvil, tiny_file)
    yield made
    for process in made.running:
        if process.poll() is None:
            process.kill()
        process.wait()


def test_wrong_claim_is_rejected_and_right_one_answers(world: World) -> None:
    world.json("deploy", "--window", "10m", "--clock", "10m", account="alice")
    registered = world.json("model", "register", world.model, account="alice")
    assert registered["modelId"] == world.json("model", "id", world.model)["modelId"]
    assert world.json("model", "register", world.model, account="alice")["transactions"] == 0
    asked = world.json(
        *("request", "--model", world.model, "--prompt", "the", "--max-tokens", 4, "--fee", "0.01ether"),
        account="carol",
    )

    cheat = [sys.executable, str(Path(__file__).with_name("cheat.py"))]
    deployment = world.folder / "opml-deployment.json"
    cheat += [world.url, str(deployment), str(world.model), "KEY_MALLORY", "product-first"]
    submit = world.command("submit", world.model, "--interval", 0.1, "--json", account="alice")
    challenge = world.command("challenge", world.model, "--interval", 0.1, "--json", account="bob")
    world.start(cheat, "cheat.log")
    submitter = world.start(submit, "submit.log")
    reader = ChainGateway(world.chain, Deployment.load(deployment))
    world.wait("two claims", lambda: len(reader.claims()) == 2)
    watched = subprocess.run(
        world.command("challenge", world.model, "--watch", "--once"),
        cwd=world.folder,
        env=world.environment,
        capture_output=True,
        text=True,
    )
    assert watched.stdout.count(" holds") == 1 and watched.stdout.count(" WRONG") == 1, watched.stderr

    challenger = world.start(challenge, "challenge.log")
    world.wait("a game", lambda: any(reader.games(claim.id) for claim in reader.claims()))
    for process, command in ((challenger, challenge), (submitter, submit)):
        process.kill()
        process.wait()
        world.start(command, "again.log")
    world.wait("a verdict", lambda: any(c.status == ClaimStatus.REJECTED for c in reader.claims()))
    assert [game["phase"] for game in world.json("games")] == ["won"]
    claims = world.json("claims")
    assert sorted(claim["status"] for claim in claims) == ["pending", "rejected"]
    wrong = next(claim for claim in claims if claim["status"] == "rejected")
    assert wrong["submitter"] == world.chain.accounts[3].address

    world.chain.advance_time(601)
    world.wait("finality", lambda: any(c.status == ClaimStatus.FINAL for c in reader.claims()))
    final = next(claim for claim in world.json("claims") if claim["status"] == "final")
    assert final["submitter"] == world.chain.accounts[0].address
    assert final["request_id"] == asked["requestId"] and final["request_status"] == "answered"
    answer = wait_for_answer(reader, bytes.fromhex(asked["requestId"][2:]), time.sleep)
    assert "0x" + answer.hex() == final["answer"]
    for process in world.running:
        assert process.poll() is None or process.returncode < 0, "a player ended by itself"
