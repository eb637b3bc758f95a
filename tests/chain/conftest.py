"""One test, both chains."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from opml.chain.anvil import Anvil
from opml.chain.artifacts import Artifact
from tests.anvil import running_anvil
from tests.remembered import RememberingChain

_HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def probe_artifact() -> Artifact:
    return Artifact.from_json(json.loads((_HERE / "probe.json").read_text()), "probe.json")


@pytest.fixture(scope="session")
def anvil_process() -> Iterator[Anvil]:
    yield from running_anvil()


@pytest.fixture(params=["embedded", pytest.param("anvil", marks=pytest.mark.anvil)])
def chain(request: pytest.FixtureRequest) -> Any:
    if request.param == "embedded":
        return RememberingChain()
    return request.getfixturevalue("anvil_process").chain()
