"""One test, both chains. Anvil is looked for on PATH and in contracts/node_modules/.bin; where it is missing
its tests are skipped with that reason, or fail when OPML_REQUIRE_ANVIL=1 (as in CI)."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from opml.chain.anvil import Anvil, find_anvil
from opml.chain.artifacts import Artifact
from opml.chain.embedded import EmbeddedChain

_HERE = Path(__file__).parent
_BIN = _HERE.parents[1] / "contracts" / "node_modules" / ".bin"


@pytest.fixture(scope="session")
def probe_artifact() -> Artifact:
    return Artifact.from_json(json.loads((_HERE / "probe.json").read_text()), "probe.json")


@pytest.fixture(scope="session")
def anvil_process() -> Iterator[Anvil]:
    binary = find_anvil([_BIN])
    if binary is None:
        rule = "anvil is neither on PATH nor in contracts/node_modules/.bin"
        if os.environ.get("OPML_REQUIRE_ANVIL") == "1":
            pytest.fail(rule)
        pytest.skip(rule)
    with Anvil.start(binary=binary) as anvil:
        yield anvil


@pytest.fixture(params=["embedded", pytest.param("anvil", marks=pytest.mark.anvil)])
def chain(request: pytest.FixtureRequest) -> Any:
    if request.param == "embedded":
        return EmbeddedChain()
    return request.getfixturevalue("anvil_process").chain()
