"""Loaded models: ids, the cache of roots, prompts, and files that lie."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from plain_llama import PlainLlama

from opml.errors import InputError, ModelFileError
from opml.models import model as model_module
from opml.models import tensor_types as tt
from opml.models.model import CACHE_SUFFIX, load_model
from opml.models.shapes import four_letters
from opml.models.tiny import TinyLlama, llama_bytes, write_llama
from opml.vm import engine
from opml.vm.commitment import model_id, vocabulary_tree

GREEDY = (0, 0xFF800000, 0, 0)
TINY = llama_bytes(TinyLlama())


def test_id_is_the_hash_of_program_roots_and_end_tokens(tmp_path: Path) -> None:
    model = load_model(write_llama(tmp_path / "tiny.gguf"))
    assert model.weights_root == model.weights.root
    assert model.vocabulary_root == vocabulary_tree(model.pieces).root
    assert model.end_tokens == (0, 2)
    expected = model_id(model.encoded, model.weights.root, model.vocabulary_root, 300, (0, 2))
    assert model.id == expected


def test_id_changes_with_a_bit_of_a_weight_the_limit_and_the_vocabulary(tmp_path: Path) -> None:
    def id_of(raw: bytes, limit: int | None = None) -> bytes:
        path = tmp_path / "tiny.gguf"
        path.write_bytes(raw)
        return load_model(path, limit).id

    flipped = bytearray(TINY)
    flipped[-1] ^= 1
    renamed = TINY.replace(b"filler7", b"filler_")
    assert len({id_of(TINY), id_of(bytes(flipped)), id_of(TINY, 16), id_of(renamed)}) == 4


def test_cached_roots_give_the_same_root_without_hashing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_llama(tmp_path / "tiny.gguf")
    root = load_model(path).weights_root
    assert (tmp_path / f"tiny.gguf{CACHE_SUFFIX}").is_file()
    again = load_model(path)
    monkeypatch.setattr(again.weights, "tensor_tree", None)
    assert again.weights_root == root
    assert again.weights.tree.root == root


def test_changed_file_of_the_same_size_and_time_does_not_slip_through(tmp_path: Path) -> None:
    path = write_llama(tmp_path / "tiny.gguf")
    before, stat = load_model(path).weights_root, path.stat()
    raw = bytearray(TINY)
    raw[-5] ^= 4
    path.write_bytes(raw)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    changed = load_model(path)
    assert changed.weights_root != before
    assert changed.weights_root == changed.weights.root


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "null", '{"KEY": 1}', '{"KEY": ["00"]}', '{"KEY": ["zz"]}', "[" * 100_000]
)
def test_damaged_cache_is_computed_again(tmp_path: Path, content: str) -> None:
    path = write_llama(tmp_path / "tiny.gguf")
    root = load_model(path).weights_root
    cache = tmp_path / f"tiny.gguf{CACHE_SUFFIX}"
    (key,) = json.loads(cache.read_text())
    cache.write_text(content.replace("KEY", key))
    assert load_model(path).weights_root == root


def test_cache_keeps_an_entry_for_each_limit_and_not_too_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_module, "CACHE_ENTRIES", 3)
    path = write_llama(tmp_path / "tiny.gguf")
    for limit in (8, 9, 10, 11, 8):
        assert load_model(path, limit).weights_root
    assert len(json.loads((tmp_path / f"tiny.gguf{CACHE_SUFFIX}").read_text())) == 3


def test_folder_that_cannot_be_written_to_is_no_error(tmp_path: Path) -> None:
    path = write_llama(tmp_path / "tiny.gguf")
    (tmp_path / f"tiny.gguf{CACHE_SUFFIX}").mkdir()  # the cache can be neither read nor replaced
    assert load_model(path).weights_root


def test_prompt_is_the_template_or_raw_text(tmp_path: Path) -> None:
    model = load_model(write_llama(tmp_path / "tiny.gguf"))
    chat, raw = model.encode_prompt("the <|im_end|>"), model.encode_prompt("the <|im_end|>", raw=True)
    assert model.answer(chat) == b"user\nthe <|im_end|>\nassistant\n"
    assert [t for t in chat if t < 3] == [1, 2, 1]
    assert model.answer(raw) == b"the <|im_end|>"
    assert not {0, 1, 2} & set(raw)


@pytest.mark.parametrize(
    ("text", "remedy"), [("", "at least one; write"), ("a" * 100, "1 to 64; shorten it")]
)
def test_prompt_without_room_is_refused(tmp_path: Path, text: str, remedy: str) -> None:
    model = load_model(write_llama(tmp_path / "tiny.gguf"))
    with pytest.raises(InputError, match=f"expected {remedy}"):
        model.encode_prompt(text, raw=True)


def test_model_without_a_file_takes_token_ids_alone() -> None:
    with pytest.raises(ModelFileError, match="no tokenizer"):
        four_letters().encode_prompt("a")


def test_name_with_control_characters_is_not_shown(tmp_path: Path) -> None:
    tiny = TinyLlama(metadata={"general.name": "\x1b[31mred"})
    assert load_model(write_llama(tmp_path / "plain.gguf", tiny)).name == "plain"


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_damaged_model_file_is_loaded_or_refused(tmp_path: Path, data: st.DataObject) -> None:
    raw = bytearray(TINY)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, 9000))
        raw[at] = data.draw(st.integers(0, 255))
    path = tmp_path / "tiny.gguf"
    path.write_bytes(raw)
    try:
        model = load_model(path)
    except ModelFileError:
        return
    try:
        model.encode_prompt("hello")
    except InputError:
        return


@pytest.mark.parametrize("kind", tt.SUPPORTED, ids=lambda kind: kind.name)
def test_all_positions_at_once_give_the_root_of_one_by_one(tmp_path: Path, kind: tt.TensorType) -> None:
    model = load_model(write_llama(tmp_path / "tiny.gguf", TinyLlama(kind, layers=1)), 16)
    reference = engine.get_engine("reference").load(model.program, model.weights)
    trace = engine.generate(reference, model.encode_prompt("the", raw=True), 4, GREEDY, model.end_tokens)
    batch = engine.run(reference, trace.tokens, trace.prompt_length, GREEDY)
    assert batch.trace_root() == trace.trace_root()


@pytest.mark.model
def test_smollm2_answers_with_oslo(smollm2: Path) -> None:
    model = load_model(smollm2)
    native = engine.get_engine("native", 2).load(model.program, model.weights)
    prompt = model.encode_prompt("What is the capital of Norway?")
    trace = engine.generate(native, prompt, 20, GREEDY, model.end_tokens)
    output = trace.tokens[len(prompt) :]
    assert output == (504, 3575, 282, 14197, 314, 41730, 30, 2)
    assert model.answer(output) == b"The capital of Norway is Oslo."


@pytest.mark.model
def test_smollm2_greedy_tokens_are_those_of_the_plain_forward_pass(smollm2: Path) -> None:
    model = load_model(smollm2)
    native = engine.get_engine("native", 2).load(model.program, model.weights)
    prompt = model.encode_prompt("Once upon a time", raw=True)
    trace = engine.generate(native, prompt, 20, GREEDY, model.end_tokens)
    output = list(trace.tokens[len(prompt) :])
    assert output == GOLDEN
    logits = PlainLlama(smollm2).logits([*prompt, *output[:-1]])
    assert logits.argmax(1)[len(prompt) - 1 :].tolist() == GOLDEN


GOLDEN = [28, 260, 2240, 282, 23324, 27108, 436, 253, 15114, 39228]
GOLDEN += [28, 351, 25854, 41658, 284, 14055, 9018, 30, 1249, 347]
