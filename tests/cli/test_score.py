"""Scores follow from the logits, the same on every engine."""

from __future__ import annotations

import json
import math
import struct
from pathlib import Path
from typing import Any

import pytest

from opml.errors import InputError
from opml.models import tensor_types
from opml.models.tiny import TinyLlama, write_llama

IDS = [5, 17, 240, 33, 8, 8, 101, 7]


@pytest.fixture
def ids_file(tmp_path: Path) -> Path:
    (tmp_path / "ids.json").write_text(json.dumps(IDS))
    return tmp_path / "ids.json"


@pytest.mark.parametrize("engine", ["reference", "native"])
def test_score_has_a_likelihood_for_each_next_token(
    opml: Any, tiny_file: Path, ids_file: Path, engine: str
) -> None:
    result = opml.json("score", tiny_file, "--tokens", ids_file, "--engine", engine)
    assert len(result["nll"]) == len(IDS) - 1 and len(result["argmax"]) == len(IDS)
    assert all(math.isfinite(x) and x > 0 for x in result["nll"])
    assert result == opml.json("score", tiny_file, "--tokens", ids_file)


def test_argmax_is_what_greedy_generation_samples(opml: Any, tiny_file: Path, tmp_path: Path) -> None:
    run = opml.json("run", tiny_file, "--prompt", "the", "--raw", "--max-tokens", 6)
    ids = run["prompt"] + run["tokens"]
    (tmp_path / "ids.json").write_text(json.dumps(ids))
    argmax = opml.json("score", tiny_file, "--tokens", tmp_path / "ids.json")["argmax"]
    first = len(run["prompt"]) - 1
    assert argmax[first : first + len(run["tokens"])] == run["tokens"]


@pytest.mark.parametrize("text", ["", "{}", "[]", "[1.5]", "[-1]", "[300]", "[true]", '["1"]', "[[1]]"])
def test_other_list_is_refused(opml: Any, tiny_file: Path, tmp_path: Path, text: str) -> None:
    (tmp_path / "ids.json").write_text(text)
    found = opml("score", tiny_file, "--tokens", tmp_path / "ids.json").exception
    assert isinstance(found, InputError) and "ids.json" in str(found)


def test_text_longer_than_the_model_is_refused(opml: Any, tiny_file: Path, tmp_path: Path) -> None:
    (tmp_path / "ids.json").write_text(json.dumps([1] * 65))
    result = opml("score", tiny_file, "--tokens", tmp_path / "ids.json")
    assert isinstance(result.exception, InputError) and "64 positions" in str(result.exception)


def test_one_token_has_nothing_after_it(opml: Any, tiny_file: Path, tmp_path: Path) -> None:
    (tmp_path / "ids.json").write_text("[3]")
    result = opml.json("score", tiny_file, "--tokens", tmp_path / "ids.json")
    assert result["nll"] == [] and len(result["argmax"]) == 1


@pytest.mark.filterwarnings("error")
def test_logits_without_end_give_valid_json(opml: Any, ids_file: Path, tmp_path: Path) -> None:
    endless = {"token_embd.weight": {64 * 4 * 17: struct.pack("<64f", *[3e38] * 64)}}
    tiny = TinyLlama(tensor_types.F32, embedding=tensor_types.F32, patches=endless)
    run = opml("score", write_llama(tmp_path / "tiny.gguf", tiny), "--tokens", ids_file, "--json")
    found = json.loads(run.stdout, parse_constant=pytest.fail)
    assert None in found["nll"] and len(found["argmax"]) == len(IDS)
    assert "are not finite" in opml("score", tmp_path / "tiny.gguf", "--tokens", ids_file).stdout
