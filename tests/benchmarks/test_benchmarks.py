"""The benchmarks run on a tiny model and print what they promise; nothing timed is asserted."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from opml.models import tensor_types
from opml.models.gguf import GgufFile
from opml.models.tiny import TinyLlama, write_llama

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_llama(tmp_path_factory.mktemp("tiny") / "tiny.Q4_1.gguf", TinyLlama(context=128))


def run(script: str, *arguments: object) -> str:
    """What a script prints."""
    command = [sys.executable, str(ROOT / script), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def run_json(tmp_path: Path, script: str, *arguments: object) -> Any:
    """The figures that a benchmark writes; it prints a table, too."""
    out = tmp_path / "out.json"
    assert "| --" in run(script, *arguments, "--json", out)
    return json.loads(out.read_text())


def test_speed_measures_every_section(tiny: Path, tmp_path: Path) -> None:
    options = ("--kinds", "Q4_1", "--scale", 64, "--threads", 1, "--rounds", 1, "--work", tmp_path)
    found = run_json(tmp_path, "benchmarks/speed.py", tiny, *options)
    assert [row["case"] for row in found["speed"]] == [
        "Q4_1 decode, context 256",
        "Q4_1 decode, context 2048",
        "Q4_1 batch of 512",
    ]
    assert all(row["ours"] > 0 and row["ours_memory"]["peak"] > 0 for row in found["speed"])
    assert len(found["commitment"]) == len(found["soft"]) == 2
    assert {row["level"] for row in found["levels"]} >= {"baseline"}


def test_committed_bytes_counts_what_the_layout_says(tiny: Path, tmp_path: Path) -> None:
    found = run_json(tmp_path, "benchmarks/committed_bytes.py", tiny)
    first, scores, *_ = found["rows"]
    assert first["variant"] == "as compiled" and "refused" not in first
    heads, layers, last = 4, 2, found["contexts"][-1]
    more = scores["bytes"][str(last)] - first["bytes"][str(last)]
    assert more == layers * heads * last * 4


def test_scaling_charts_contexts_and_models(tiny: Path, tmp_path: Path) -> None:
    found = run_json(
        tmp_path, "benchmarks/scaling.py", tiny, "--contexts", "16,32", "--rounds", 1, "--clock", "cpu"
    )
    assert [row["context"] for row in found["contexts"]] == [16, 32]


@pytest.mark.skipif(shutil.which("cc") is None, reason="peaks.c needs a C compiler")
def test_roofline_compares_rates_with_peaks(tiny: Path, tmp_path: Path) -> None:
    found = run_json(tmp_path, "benchmarks/roofline.py", tiny, "--context", 64)
    assert found["peaks"]["read"] > 0 and found["peaks"]["clock"] > 0


def test_dispute_gas_adds_up(tiny: Path, tmp_path: Path) -> None:
    options = ("--positions", 40, "--moves", "--only", "product-middle")
    facts = run_json(tmp_path, "benchmarks/dispute_gas.py", tiny, *options)
    (row,), (moves,) = facts["fanouts"], facts["moves"].values()
    assert sum(move["gas"] for move in moves) == row["gas"] + row["announcement"]
    assert row["verdict"] == "challenger"
    assert row["gas"] + row["announcement"] == row["challenger"] + row["submitter"]


@pytest.mark.model
def test_disputes_of_smollm2_take_no_more_than_is_wanted(smollm2: Path, tmp_path: Path) -> None:
    """The dearest of each sort; the script fails where a figure is over its limit."""
    kinds = ("slot:q", "product-middle", "value-sum", "argmax")
    options = [option for kind in kinds for option in ("--only", kind)]
    facts = run_json(tmp_path, "benchmarks/dispute_gas.py", smollm2, *options)
    assert facts["positions"] == 256
    assert [row["verdict"] for row in facts["fanouts"]] == ["challenger"] * len(kinds)
    assert not facts["over"]


@pytest.mark.parametrize("kind", ["F16", "Q4_0", "Q5_0", "Q5_1", "Q8_0"])
def test_requantised_file_keeps_metadata_and_shapes(tiny: Path, tmp_path: Path, kind: str) -> None:
    out = tmp_path / "out.gguf"
    run("scripts/requantise.py", tiny, out, "--type", kind)
    before, after = GgufFile(tiny), GgufFile(out)
    assert {name: t.shape for name, t in after.tensors.items()} == {
        name: t.shape for name, t in before.tensors.items()
    }
    assert after.tensors["blk.0.ffn_up.weight"].type.name == kind
    assert after.texts("tokenizer.ggml.tokens") == before.texts("tokenizer.ggml.tokens")
    assert set(before) <= set(after)
    for name in ("output_norm.weight", "blk.1.attn_norm.weight"):
        assert after.tensors[name].type == tensor_types.F32
        assert bytes(after.tensors[name].data) == bytes(before.tensors[name].data)


def test_random_model_is_one_that_we_load(tmp_path: Path) -> None:
    from opml.models.model import load_model

    out = tmp_path / "random.gguf"
    run("scripts/random_model.py", out, "--shape", "135m", "--layers", 1)
    model = load_model(out, 16)
    assert model.vocabulary_size == 49152 and len(model.program.schedule) == 3


def test_quality_against_itself_differs_nowhere(tiny: Path, tmp_path: Path) -> None:
    peer = tmp_path / "peer"
    peer.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$1" ours\n')
    peer.chmod(0o755)
    for name in ("one", "two"):
        (tmp_path / name).write_text(f"the {name} in the end of it all")
    texts = ("--text", tmp_path / "one", "--text", tmp_path / "two", "--length", 12)
    options = ("--peer-python", peer, "--kinds", "Q4_1,F16", "--work", tmp_path, *texts)
    found = run_json(tmp_path, "benchmarks/quality.py", tiny, "--exact", *options)
    assert list(found["kinds"]) == ["Q4_1", "F16"]
    for kind, rows in found["kinds"].items():
        assert [row["text"] for row in rows] == ["one", "two"]
        for row in rows:
            assert (row["tokens"], row["difference"], row["error"], row["agreement"]) == (12, 0, 0, 1)
            assert len(row["self"]) == (3 if kind == "Q4_1" else 0)
            assert row["exact"]["ours"] == row["exact"]["peer"]
            assert abs(row["ours"] / row["exact"]["nll"] - 1) < 0.05
