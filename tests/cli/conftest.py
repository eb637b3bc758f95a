"""A tiny model file for the commands."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from opml.cli.main import cli
from opml.models.tiny import write_llama


@pytest.fixture(scope="session")
def tiny_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_llama(tmp_path_factory.mktemp("tiny") / "tiny.gguf")


class Opml:
    """The command line in this process; errors surface as exceptions."""

    def __call__(self, *args: object) -> Result:
        return CliRunner().invoke(cli, [str(arg) for arg in args], catch_exceptions=True)

    def json(self, *args: object) -> Any:
        result = self(*args, "--json")
        if result.exception is not None:
            raise result.exception
        return json.loads(result.stdout)


@pytest.fixture(scope="session")
def opml() -> Opml:
    return Opml()
