"""A run's claim verifies on every engine; a claim that differs anywhere is named as wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from opml.cli.claim_file import Roots, claim_of
from opml.cli.engines import params_of
from opml.cli.main import main
from opml.errors import EngineError, InputError, WrongClaim
from opml.models.model import load_model
from opml.models.tiny import TinyLlama, write_llama
from opml.vm.engine import generate, get_engine
from tests.native import native_module

PROMPT = "the end"


@pytest.fixture(scope="module")
def claim(opml: Any, tiny_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("claim") / "c.json"
    opml.json("run", tiny_file, "--prompt", PROMPT, "--max-tokens", 8, "--claim", path, "--sidecar")
    return path


def changed(claim: Path, folder: Path, change: dict[str, Any], *, sidecar: bool = False) -> Path:
    content = json.loads(claim.read_text()) | change
    (folder / "c.json").write_text(json.dumps(content))
    if sidecar:
        (folder / "c.roots.npz").write_bytes(Roots.path(claim).read_bytes())
    return folder / "c.json"


def test_run_prints_text_tokens_root_and_time(opml: Any, tiny_file: Path) -> None:
    run = opml("run", tiny_file, "--prompt", PROMPT, "--max-tokens", 4)
    assert run.exit_code == 0
    for word in ("tokens ", "trace root 0x", "model id   0x", "time "):
        assert word in run.stdout


@pytest.mark.parametrize("engine", ["reference", "soft", "native"])
def test_every_engine_gives_the_same_claim(opml: Any, tiny_file: Path, claim: Path, engine: str) -> None:
    run = opml.json("run", tiny_file, "--prompt", PROMPT, "--max-tokens", 8, "--engine", engine)
    content = json.loads(claim.read_text())
    assert (run["traceRoot"], run["tokens"], run["modelId"]) == (
        content["traceRoot"],
        content["output"],
        content["modelId"],
    )
    assert opml.json("verify", tiny_file, claim, "--engine", engine)["holds"] is True


def test_every_instruction_set_gives_the_same_claim(opml: Any, tiny_file: Path, claim: Path) -> None:
    for level in native_module().levels():
        assert opml.json("verify", tiny_file, claim, "--engine", "native", "--level", level)["holds"] is True


def test_instruction_set_that_is_not_there_is_refused(
    opml: Any, tiny_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(native_module(), "levels", lambda: ["baseline"])
    result = opml("run", tiny_file, "--prompt", PROMPT, "--engine", "native", "--level", "avx512")
    assert isinstance(result.exception, EngineError) and "choose auto or one of baseline" in str(
        result.exception
    )


@pytest.mark.parametrize("option", [("--threads", 2), ("--level", "avx2")])
def test_option_that_the_reference_engine_lacks_is_refused(
    opml: Any, tiny_file: Path, option: tuple[str, object]
) -> None:
    result = opml("run", tiny_file, "--prompt", PROMPT, "--engine", "reference", *option)
    assert isinstance(result.exception, InputError) and "leave out" in str(result.exception)


def test_level_that_is_not_there_falls_back_to_no_other_engine(
    opml: Any, tiny_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(native_module(), "levels", lambda: ["baseline"])
    result = opml("run", tiny_file, "--prompt", PROMPT, "--level", "avx512")
    assert isinstance(result.exception, EngineError) and "lacks the level" in str(result.exception)


def test_claim_asks_for_no_more_than_the_model_has_room_for(
    opml: Any, tiny_file: Path, tmp_path: Path
) -> None:
    made = tmp_path / "c.json"
    result = opml("run", tiny_file, "--prompt", PROMPT, "--max-tokens", 2**32 - 1, "--claim", made)
    assert result.exit_code == 0 and "output tokens" in result.stderr
    content = json.loads(made.read_text())
    assert content["maxOutput"] == content["limit"] + 1 - len(content["prompt"])
    assert opml("verify", tiny_file, made).exit_code == 0


def test_sampling_depends_on_the_seed_alone(opml: Any, tiny_file: Path) -> None:
    def tokens(*more: object) -> list[int]:
        run = opml.json("run", tiny_file, "--prompt", PROMPT, "--max-tokens", 12, *more)
        found: list[int] = run["tokens"]
        return found

    warm = ("--temperature", 5, "--min-p", 0.001)
    assert tokens(*warm, "--seed", 1) == tokens(*warm, "--seed", 1)
    assert tokens(*warm, "--seed", 1) != tokens(*warm, "--seed", 2)


def test_raw_prompt_has_no_template(opml: Any, tiny_file: Path) -> None:
    raw = opml.json("run", tiny_file, "--prompt", PROMPT, "--raw", "--max-tokens", 1)
    chat = opml.json("run", tiny_file, "--prompt", PROMPT, "--max-tokens", 1)
    assert len(raw["prompt"]) < len(chat["prompt"])


def test_wrong_token_is_named(opml: Any, tiny_file: Path, claim: Path, tmp_path: Path) -> None:
    output = json.loads(claim.read_text())["output"]
    output[2] ^= 8
    result = opml("verify", tiny_file, changed(claim, tmp_path, {"output": output}))
    assert isinstance(result.exception, WrongClaim) and result.exception.exit_code == 3
    assert "output token 2 (position" in str(result.exception)


def test_wrong_root_is_named_with_the_first_tensor(
    opml: Any, tiny_file: Path, claim: Path, tmp_path: Path
) -> None:
    from opml.vm.commitment import position_tree, trace_tree

    with np.load(Roots.path(claim)) as archive:
        positions, slots = archive["positions"].copy(), archive["slots"].copy()
    slots[3, 5, 0] ^= 1
    positions[3] = np.frombuffer(position_tree([row.tobytes() for row in slots[3]]).root, np.uint8)
    root = trace_tree([row.tobytes() for row in positions]).root
    wrong = changed(claim, tmp_path, {"traceRoot": "0x" + root.hex()})
    result = opml("verify", tiny_file, wrong)
    assert isinstance(result.exception, WrongClaim) and "trace root: claimed 0x" in str(result.exception)
    assert "first difference" not in str(result.exception)
    np.savez(Roots.path(wrong), positions=positions, slots=slots)
    result = opml("verify", tiny_file, wrong)
    assert isinstance(result.exception, WrongClaim)
    assert "the first difference is at position 3, " in str(result.exception)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"traceRoot": "0x" + "11" * 32}, "trace root: claimed 0x1111"),
        ({"output": [5, 6]}, "output token 0 (position"),
        ({"output": [0, 5, 6, 7, 8, 9, 10, 11, 12, 13]}, "output token 0 (position"),
    ],
)
def test_sidecar_of_another_claim_hides_no_wrong_claim(
    opml: Any, tiny_file: Path, claim: Path, tmp_path: Path, change: Any, message: str
) -> None:
    result = opml("verify", tiny_file, changed(claim, tmp_path, change, sidecar=True))
    assert isinstance(result.exception, WrongClaim) and message in str(result.exception)
    assert "warning: " in result.stderr and "the claim is checked without it" in result.stderr


@pytest.mark.parametrize("damage", [b"", b"PK", b"\x93NUMPY\x01\x00", "object", "huge", "encrypted"])
def test_damaged_sidecar_spoils_no_right_claim(
    opml: Any, tiny_file: Path, claim: Path, tmp_path: Path, damage: bytes | str
) -> None:
    right = changed(claim, tmp_path, {}, sidecar=True)
    sidecar = Roots.path(right)
    data = bytearray(sidecar.read_bytes())
    if isinstance(damage, bytes):
        data = bytearray(damage)
    elif damage == "object":
        np.savez(sidecar, positions=np.array([{}], object), slots=np.array([{}], object))
        data = bytearray(sidecar.read_bytes())
    elif damage == "huge":
        shape = data.index(b"'shape': (") + len("'shape': (")
        data[shape : shape + 1] = b"9" * 12
    else:
        data[6] |= 1
        data[data.index(b"PK\x01\x02") + 8] |= 1
    sidecar.write_bytes(data)
    result = opml("verify", tiny_file, right, "--json")
    assert result.exit_code == 0 and json.loads(result.stdout)["holds"] is True
    assert "warning: " in result.stderr


def test_json_says_why_a_claim_is_wrong(opml: Any, tiny_file: Path, claim: Path, tmp_path: Path) -> None:
    result = opml("verify", tiny_file, changed(claim, tmp_path, {"traceRoot": "0x" + "11" * 32}), "--json")
    facts = json.loads(result.stdout)
    assert facts["holds"] is False and "trace root" in facts["reason"]


def test_place_that_takes_no_claim_is_refused_before_the_work(
    opml: Any, tiny_file: Path, tmp_path: Path
) -> None:
    for place in (tmp_path / "none" / "c.json", tmp_path):
        result = opml("run", tiny_file, "--prompt", PROMPT, "--claim", place)
        assert isinstance(result.exception, InputError) and "can't be written" in str(result.exception)
        assert not result.stdout


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: {"output": c["output"][:3], "lengths": c["lengths"][: 2 + 12]}, "cut short"),
        (lambda c: {"maxOutput": 7}, "8 tokens, 7 were asked for"),
        (lambda c: {"maxOutput": 0}, "8 tokens, 0 were asked for"),
        (lambda c: {"output": [*c["output"][:-1], 4000]}, "the vocabulary has 300"),
        (lambda c: {"answer": c["answer"] + "00"}, "belong to no token"),
        (lambda c: {"answer": "0x" + "7f" + c["answer"][4:]}, "answer's bytes of output token"),
        (lambda c: {"lengths": "0x0000" + c["lengths"][6:]}, "lengths"),
    ],
)
def test_claim_that_breaks_a_rule_is_wrong(
    opml: Any, tiny_file: Path, claim: Path, tmp_path: Path, change: Any, message: str
) -> None:
    content = json.loads(claim.read_text())
    result = opml("verify", tiny_file, changed(claim, tmp_path, change(content)))
    assert isinstance(result.exception, WrongClaim) and message in str(result.exception), result.exception


@pytest.mark.parametrize(
    "change", [{"limit": n} for n in (0, 1, 63, 65, 1 << 20)] + [{"modelId": "0x" + "11" * 32}]
)
def test_claim_about_another_model_is_refused_not_wrong(
    opml: Any, tiny_file: Path, claim: Path, tmp_path: Path, change: dict[str, Any]
) -> None:
    result = opml("verify", tiny_file, changed(claim, tmp_path, change), "--json")
    assert isinstance(result.exception, InputError) and result.exception.exit_code == 2
    assert "the claim is about" in str(result.exception) and "pass the file" in str(result.exception)
    assert result.stdout == ""


@pytest.mark.parametrize(
    "change",
    [
        {"format": "x"},
        {"prompt": []},
        {"output": []},
        {"output": ["1"]},
        {"output": [True]},
        {"output": [-1]},
        {"params": [0]},
        {"modelId": "0x12"},
        {"traceRoot": 7},
        {"answer": "zz"},
        {"limit": 1 << 40},
        {"maxOutput": None},
    ],
)
def test_malformed_claim_is_refused(
    opml: Any, tiny_file: Path, claim: Path, tmp_path: Path, change: dict[str, Any]
) -> None:
    result = opml("verify", tiny_file, changed(claim, tmp_path, change))
    assert isinstance(result.exception, InputError) and "is no claim" in str(result.exception)


@pytest.mark.parametrize("text", ["", "[]", "7", "\xff", "[" * 100_000])
def test_other_file_is_no_claim(opml: Any, tiny_file: Path, tmp_path: Path, text: str) -> None:
    (tmp_path / "c.json").write_bytes(text.encode("latin-1"))
    result = opml("verify", tiny_file, tmp_path / "c.json")
    assert isinstance(result.exception, InputError) and "is no claim" in str(result.exception)


def test_missing_files_are_named(opml: Any, tiny_file: Path, claim: Path, tmp_path: Path) -> None:
    assert "there is no claim" in str(opml("verify", tiny_file, tmp_path / "none.json").exception)
    result = opml("run", tmp_path / "none.gguf", "--prompt", "x")
    assert isinstance(result.exception, InputError)


@pytest.mark.parametrize(
    "options", [("--temperature", -1), ("--min-p", 2), ("--seed", -1), ("--temperature", "nan")]
)
def test_parameters_out_of_range_are_refused(opml: Any, tiny_file: Path, options: Any) -> None:
    result = opml("run", tiny_file, "--prompt", "x", *options)
    assert isinstance(result.exception, InputError)


def test_sidecar_without_claim_is_a_usage_error(opml: Any, tiny_file: Path) -> None:
    assert opml("run", tiny_file, "--prompt", "x", "--sidecar").exit_code == 2


def test_output_that_goes_on_after_an_end_token_is_wrong(opml: Any, tiny_file: Path, tmp_path: Path) -> None:
    loaded = load_model(tiny_file)
    machine = get_engine("native").load(loaded.program, loaded.weights)
    prompt = loaded.encode_prompt(PROMPT)
    for seed in range(100):
        trace = generate(machine, prompt, 20, params_of(8.0, 0.0, seed))
        output = trace.tokens[trace.prompt_length :]
        if set(output[:-1]) & set(loaded.end_tokens):
            break
    claim_of(trace, model_id=loaded.id, max_output=20, pieces=loaded.pieces).save(tmp_path / "c.json")
    result = opml("verify", tiny_file, tmp_path / "c.json")
    assert isinstance(result.exception, WrongClaim) and "goes on after it" in str(result.exception)


def test_control_characters_of_a_file_reach_no_terminal(
    capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    tiny = TinyLlama(metadata={"general.architecture": "\x1b[2J\x00\x9b1mlläma"})
    with pytest.raises(SystemExit) as end:
        main(["run", str(write_llama(tmp_path / "tiny.gguf", tiny)), "--prompt", "x"])
    shown = capfd.readouterr().err
    assert end.value.code == 2 and r"architecture \x1b[2J\x00\x9b1mlläma" in shown
    assert shown.strip().isprintable()
