"""The tokenizer against the `tokenizers` library and against plain twins."""

from __future__ import annotations

import functools
import itertools
import tempfile
from pathlib import Path
from typing import Any

import pytest
import tokenizers
import vocabularies as voc
from hypothesis import given, settings
from hypothesis import strategies as st

from opml.errors import InputError, ModelFileError
from opml.models.gguf import GgufFile
from opml.models.gguf_writer import encode
from opml.models.merge import merge
from opml.models.tokenizer import StreamDecoder, Tokenizer

assigned = st.characters(exclude_categories=("Cs", "Cn", "Co"))
texts = st.text(st.one_of(st.sampled_from("aA .,'\n\r\t 0123456789lLsS<|>$\x1c\u00a0\u2009å你🙂"), assigned))


def from_metadata(metadata: dict[str, object]) -> Tokenizer:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "vocabulary.gguf"
        path.write_bytes(encode(metadata, []))
        return Tokenizer(GgufFile(path))


@functools.cache
def pair(family: str) -> tuple[Tokenizer, tokenizers.Tokenizer]:
    metadata, oracle = voc.trained(family)
    return from_metadata(metadata), oracle


@pytest.mark.parametrize("family", list(voc.SPLITS))
@settings(max_examples=300, deadline=None)
@given(text=texts)
def test_byte_pair_ids_equal_those_of_the_tokenizers_library(family: str, text: str) -> None:
    ours, oracle = pair(family)
    ids = ours.encode(text, special=True)
    assert ids == oracle.encode(text, add_special_tokens=False).ids
    assert ours.decode(ours.encode(text)) == text.encode()


@pytest.mark.parametrize("family", list(voc.SPLITS))
def test_byte_pair_ids_equal_on_the_corpus(family: str) -> None:
    ours, oracle = pair(family)
    for text in voc.CORPUS:
        assert ours.encode(text, special=True) == oracle.encode(text, add_special_tokens=False).ids


def test_control_token_in_text_is_plain_text_unless_asked_for() -> None:
    ours, _ = pair("smollm")
    assert ours.encode("a<|im_end|>", special=True)[-1] == 2
    plain = ours.encode("a<|im_end|>")
    assert not {0, 1, 2} & set(plain)
    assert ours.decode(plain) == b"a<|im_end|>"


def test_control_token_adds_no_bytes_to_an_answer() -> None:
    ours, _ = pair("smollm")
    assert [ours.piece(token) for token in range(3)] == [b"", b"", b""]


def test_byte_without_a_token_is_refused_with_its_name() -> None:
    metadata, _ = voc.trained("gpt-2")
    tokens = metadata["tokenizer.ggml.tokens"]
    assert isinstance(tokens, list)
    tokens[tokens.index("Ā")] = "unused"  # how GPT-2 spells the byte 0
    with pytest.raises(InputError, match="no token for the byte 0x00"):
        from_metadata(metadata).encode("a\0b")


def test_lone_surrogate_is_refused() -> None:
    with pytest.raises(InputError, match="lone surrogate at character 1"):
        pair("gpt-2")[0].encode("a\ud800")


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"tokenizer.ggml.model": "bert"}, "'bert'; supported are gpt2 and llama"),
        ({"tokenizer.ggml.pre": "other"}, "'other'; supported are default"),
        ({"tokenizer.ggml.eos_token_id": 440}, "is 440, expected 0 to 439"),
        ({"tokenizer.ggml.token_type": [1, 2]}, "has 2 entries, expected one a token: 440"),
        ({"tokenizer.ggml.tokens": [1]}, "expected an array of strings"),
        ({"tokenizer.ggml.merges": [1]}, "expected an array of strings"),
        ({"tokenizer.ggml.merges": ["a b", b"\xff"]}, r"merges\[1\] is not valid UTF-8"),
    ],
)
def test_damaged_vocabulary_is_refused(change: dict[str, Any], rule: str) -> None:
    with pytest.raises(ModelFileError, match=rule):
        from_metadata(voc.trained("gpt-2")[0] | change)


@pytest.mark.parametrize("letter", ["a", "é", "🙂"])
def test_a_piece_too_long_for_a_claim_is_refused_at_once(letter: str) -> None:
    metadata, _ = voc.trained("gpt-2")
    *others, _ = metadata["tokenizer.ggml.tokens"]  # type: ignore[misc]
    longest = letter * (65_535 // len(letter.encode()))
    if letter == "é":  # of the byte alphabet: a byte each
        longest = letter * 65_535
    size = len(from_metadata(metadata | {"tokenizer.ggml.tokens": [*others, longest]}).piece(439))
    assert 65_535 - 3 <= size <= 65_535
    with pytest.raises(ModelFileError, match="expected at most 65535"):
        from_metadata(metadata | {"tokenizer.ggml.tokens": [*others, longest + letter]})


def test_end_tokens_are_all_that_the_file_names_and_well_known_control_tokens() -> None:
    metadata, _ = voc.trained("gpt-2")
    assert from_metadata(metadata).end_tokens == (0, 2)  # <|endoftext|> and <|im_end|>, not <|im_start|>
    more = {"tokenizer.ggml.eot_token_id": 40, "tokenizer.ggml.eom_token_id": 30}
    assert from_metadata(metadata | more).end_tokens == (0, 2, 30, 40)


def test_vocabulary_without_an_end_token_is_refused() -> None:
    metadata = voc.trained("gpt-2")[0] | {"tokenizer.ggml.token_type": [1] * 440}
    del metadata["tokenizer.ggml.eos_token_id"]
    with pytest.raises(ModelFileError, match="0 end tokens"):
        from_metadata(metadata)


def test_user_defined_token_is_always_recognised() -> None:
    metadata, _ = voc.trained("gpt-2")
    tokens, kinds = metadata["tokenizer.ggml.tokens"], metadata["tokenizer.ggml.token_type"]
    assert isinstance(tokens, list) and isinstance(kinds, list)
    tokens.append("<tool call>")
    kinds.append(4)
    ours = from_metadata(metadata)
    assert ours.encode("a<tool call>b").count(440) == 1
    assert ours.piece(440) == b"<tool call>"


def plain_sentencepiece(text: str, scores: dict[str, float]) -> list[str]:
    """The rule as said: merge the pair whose union scores best, the leftmost of equals."""
    symbols = list(text)
    while True:
        pairs = [
            (-scores[a + b], n) for n, (a, b) in enumerate(itertools.pairwise(symbols)) if a + b in scores
        ]
        if not pairs:
            return symbols
        at = min(pairs)[1]
        symbols[at : at + 2] = [symbols[at] + symbols[at + 1]]


@settings(max_examples=300, deadline=None)
@given(st.text("abc æz", max_size=30))
def test_sentencepiece_ids_equal_a_plain_twin(text: str) -> None:
    metadata = voc.sentencepiece_metadata()
    ours = from_metadata(metadata)
    tokens, scores = metadata["tokenizer.ggml.tokens"], metadata["tokenizer.ggml.scores"]
    assert isinstance(tokens, list) and isinstance(scores, list)
    table = dict(zip(tokens[259:], scores[259:], strict=True))
    expected = []
    for symbol in plain_sentencepiece("\u2581" + text.replace(" ", "\u2581"), table) if text else []:
        expected += [tokens.index(symbol)] if symbol in table else [3 + byte for byte in symbol.encode()]
    assert ours.encode(text) == expected
    assert ours.decode(expected) == (b" " + text.encode() if text else b"")
    assert ours.encode_prompt(text)[0] == 1


@settings(max_examples=200, deadline=None)
@given(st.text("ab", max_size=40), st.dictionaries(st.text("ab", min_size=2, max_size=5), st.integers(0, 9)))
def test_merge_equals_the_plain_rule(text: str, ranks: dict[str, int]) -> None:
    ours = merge(text, lambda left, right: ranks.get(left + right))
    assert ours == plain_sentencepiece(text, {key: -float(rank) for key, rank in ranks.items()})


def test_merge_of_a_long_word_takes_no_quadratic_time() -> None:
    assert (
        len(merge("a" * 200_000, lambda left, right: len(left + right) if len(left + right) <= 8 else None))
        < 50_000
    )


@settings(max_examples=100, deadline=None)
@given(texts)
def test_stream_of_pieces_is_the_text(text: str) -> None:
    ours, _ = pair("smollm")
    stream = StreamDecoder(ours)
    assert "".join(map(stream.push, ours.encode(text))) + stream.finish() == text


def test_stream_shows_an_incomplete_character_at_the_end() -> None:
    ours, _ = pair("smollm")
    tokens = [t for t in range(ours.size) if ours.piece(t) == b"\xf0"]
    stream = StreamDecoder(ours)
    assert stream.push(tokens[0]) == ""
    assert stream.finish() == "\ufffd"


@pytest.mark.model
def test_smollm2_ids_equal_those_of_the_tokenizers_library(smollm2: Path) -> None:
    file = GgufFile(smollm2)
    ours = Tokenizer(file)
    vocabulary = {token: n for n, token in enumerate(file.texts("tokenizer.ggml.tokens"))}
    merges = [tuple(line.split(" ")) for line in file.texts("tokenizer.ggml.merges")]
    oracle = tokenizers.Tokenizer(tokenizers.models.BPE(vocabulary, merges))
    oracle.pre_tokenizer = voc.pre_tokenizer("smollm")

    @settings(max_examples=500, deadline=None)
    @given(texts)
    def compare(text: str) -> None:
        try:
            ids = ours.encode(text)
        except InputError:
            return
        assert ids == oracle.encode(text, add_special_tokens=False).ids

    compare()
    for text in voc.CORPUS:
        assert ours.encode(text) == oracle.encode(text, add_special_tokens=False).ids


@pytest.mark.model
def test_smollm2_lacks_21_bytes_and_they_are_refused(smollm2: Path) -> None:
    ours = Tokenizer(GgufFile(smollm2))
    single = {ours.piece(token) for token in range(ours.size)}
    missing = [byte for byte in range(256) if bytes((byte,)) not in single]
    assert len(missing) == 21
    for byte in (b for b in missing if b < 128):
        with pytest.raises(InputError, match=f"0x{byte:02X}"):
            ours.encode(chr(byte))
