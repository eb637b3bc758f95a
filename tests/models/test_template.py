"""Chat templates: what they may do, what a user can't do through them."""

from __future__ import annotations

import functools
import sys
import tempfile
import time
import tracemalloc
from pathlib import Path

import jinja2
import pytest
import vocabularies as voc
from hypothesis import given, settings
from hypothesis import strategies as st

from opml.errors import InputError, ModelFileError
from opml.models.gguf import GgufFile
from opml.models.gguf_writer import encode
from opml.models.template import ChatTemplate, Message
from opml.models.tokenizer import Tokenizer

CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content | trim + '<|im_end|>' + '\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def template(source: str) -> tuple[ChatTemplate, Tokenizer]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "chat.gguf"
        path.write_bytes(encode(trained() | {"tokenizer.chat_template": source}, []))
        file = GgufFile(path)
        tokenizer = Tokenizer(file)
        return ChatTemplate(file, tokenizer), tokenizer


@functools.cache
def trained() -> dict[str, object]:
    return voc.trained("smollm")[0]


def test_messages_are_rendered_as_by_plain_jinja() -> None:
    chat, _ = template(CHATML)
    messages = [Message("system", "Be brief."), Message("user", " Hi! ")]
    plain = jinja2.Environment().from_string(CHATML)
    expected = plain.render(
        messages=[{"role": m.role, "content": m.content} for m in messages], add_generation_prompt=True
    )
    assert chat.render(messages) == expected


def test_tokens_are_those_of_the_rendered_text() -> None:
    chat, tokenizer = template(CHATML)
    messages = [Message("user", "What's 12?"), Message("assistant", "12."), Message("user", "a > b < c")]
    assert chat.encode(messages) == tokenizer.encode(chat.render(messages), special=True)


hostile = st.lists(
    st.one_of(
        st.sampled_from(
            ["<|im_end|>", "<|im_start|>", "<|endoftext|>", "<|im_", "end|>", "<", "|", ">", "\n", " "]
        ),
        st.text(max_size=5).filter(lambda text: text.isprintable()),
    ),
    max_size=8,
).map("".join)


@settings(max_examples=200, deadline=None)
@given(hostile)
def test_user_text_never_becomes_a_control_token(content: str) -> None:
    chat, tokenizer = template_of_chatml()
    tokens = chat.encode([Message("user", content)])
    assert [t for t in tokens if t in (0, 1, 2)] == [1, 2, 1]
    assert content.strip().encode() in tokenizer.decode(tokens)


@functools.cache
def template_of_chatml() -> tuple[ChatTemplate, Tokenizer]:
    return template(CHATML)


@pytest.mark.parametrize("content", ["im_end", " im_end "])
def test_text_that_completes_a_token_of_the_template_stays_text(content: str) -> None:
    chat, _ = template("{{ '<|' + messages[0].content | trim + '|>' }}")
    assert not {0, 1, 2} & set(chat.encode([Message("user", content)]))


@pytest.mark.parametrize(
    "source",
    [
        "{{ messages.__class__.__mro__ }}",
        "{{ ''.__class__ }}{{ cycler.__init__.__globals__ }}",
        "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}",
        "{% for a in range(10 ** 9) %}{% endfor %}",
        "{{ 'x' * 1000000000000 }}",
        "{{ [1] * 1000000000000 }}",
        "{{ 9 ** 9 ** 9 ** 9 }}",
        "{{ '%1000000000d' % 1 }}",
        "{{ '{:1000000000}'.format(1) }}",
        "{{ 'x'.center(1000000000) }}",
        "{{ 'x' | center(1000000000) }}",
        "{% set n = namespace(x='xxxxxxxx') %}{% for i in range(60) %}{% set n.x = n.x + n.x %}{% endfor %}",
        "{% set n = namespace(x='xxxxxxxx') %}{% for i in range(60) %}{% set n.x = n.x ~ n.x %}{% endfor %}",
        "{% set n = namespace(x=1) %}{% for i in range(60) %}{% set n.x = [n.x, n.x] %}{% endfor %}{{ n.x }}",
        "{% set n = namespace(x=1) %}{% for i in range(60) %}{% set n.x = (n.x, n.x) %}{% endfor %}{{ n.x }}",
        "{% set n = namespace(x='a') %}{% for i in range(60) %}{% set n.x = n.x.replace('a', 'aa') %}"
        "{% endfor %}",
        "{% set n = namespace(x='a') %}{% for i in range(60) %}{% set n.x = n.x.join('aaaa') %}{% endfor %}",
        "{% set n = namespace(x='a') %}{% for i in range(60) %}{% set n.x %}{{ n.x }}{{ n.x }}{% endset %}"
        "{% endfor %}",
        "{% macro m(x) %}{{ x }}{{ x }}{% endmacro %}{{ m(m(m(m(" + "m(" * 30 + "'aa'" + ")" * 30 + ")))) }}",
        "{% macro m() %}{{ m() }}{{ m() }}{% endmacro %}{{ m() }}",
        "{% set n = namespace(x=[]) %}{% set s = 'x' * 1000000 %}"
        "{% for i in range(100000) %}{% set n.x = n.x + [s[1:]] %}{% endfor %}",
        "{% include 'x' %}",
        "{% extends 'x' %}",
        "{{ lipsum() }}",
        "{{ undefined_name.x }}",
        "{{ raise_exception('no') }}",
        "{% if %}",
        "{{ 1 / 0 }}",
        "{{ messages[5].content }}",
        "{{ (((((" * 200,
        "{{ messages | tojson(indent=1000000000) }}",
        "{{ namespace }}",
    ],
)
def test_hostile_template_is_refused_quickly(source: str) -> None:
    chat, _ = template(source)
    start = time.process_time()
    tracemalloc.start()
    try:
        with pytest.raises(ModelFileError, match="the chat template fails"):
            chat.encode([Message("user", "hi")])
        assert tracemalloc.get_traced_memory()[1] < 200_000_000
    finally:
        tracemalloc.stop()
    assert time.process_time() - start < 30


@pytest.mark.parametrize(
    "source",
    [
        "{% macro m() %}{{ m() }}{{ m() }}{% endmacro %}{{ m() }}",
        "{{ " + "(" * 60_000 + "1" + ")" * 60_000 + " }}",
        "{{ " + "not " * 60_000 + "1 }}",
        "{{ " + "[" * 60_000 + "]" * 60_000 + " }}",
        "{% if 1 %}" * 12_000 + "{% endif %}" * 12_000,
    ],
)
def test_deep_template_is_refused_under_a_raised_recursion_limit(source: str) -> None:
    chat, _ = template(source)
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(12 * 1024)  # as py-evm does
    try:
        with pytest.raises(ModelFileError, match="the chat template fails: RecursionError"):
            chat.render([Message("user", "hi")])
        assert sys.getrecursionlimit() == 12 * 1024
    finally:
        sys.setrecursionlimit(before)


def test_usual_template_means_are_available() -> None:
    source = (
        "{% set ns = namespace(n=0) %}{% for m in messages if m.role != 'system' %}{% set ns.n = ns.n + 1 %}"
        "{{ loop.index0 ~ ':' ~ m.content.split('x')[-1].lstrip('\n') }}"
        "{% if loop.last %}{% break %}{% endif %}{% endfor %}"
        "|{{ messages | selectattr('role', 'equalto', 'user') | list | length }}|{{ bos_token }}"
        "|{{ {'a': [1, 'æ']} | tojson }}|{{ tools is defined }}|{{ ['a', 'b'] | join(', ') }}|{{ ns.n }}"
    )
    chat, _ = template(source)
    assert chat.render([Message("user", "axb")]) == '0:b|1|<|im_start|>|{"a": [1, "æ"]}|False|a, b|1'


def test_role_that_no_template_knows_is_refused() -> None:
    with pytest.raises(InputError, match="'tool' is not one of system, user, assistant"):
        template(CHATML)[0].encode([Message("tool", "x")])


def test_file_without_a_template_is_refused_with_the_way_out(tmp_path: Path) -> None:
    path = tmp_path / "plain.gguf"
    path.write_bytes(encode(trained(), []))
    file = GgufFile(path)
    with pytest.raises(ModelFileError, match="--raw"):
        ChatTemplate(file, Tokenizer(file))


def test_start_token_is_put_first_once_when_the_file_wants_it() -> None:
    with tempfile.TemporaryDirectory() as folder:
        for source in ("{{ bos_token }}x", "x"):
            path = Path(folder) / "bos.gguf"
            wants = {"tokenizer.ggml.add_bos_token": True, "tokenizer.chat_template": source}
            path.write_bytes(encode(trained() | wants, []))
            file = GgufFile(path)
            tokens = ChatTemplate(file, Tokenizer(file)).encode([Message("user", "x")])
            assert tokens[0] == 1 and tokens.count(1) == 1


@pytest.mark.model
def test_smollm2_prompt_is_the_one_of_its_template(smollm2: Path) -> None:
    file = GgufFile(smollm2)
    tokenizer = Tokenizer(file)
    tokens = ChatTemplate(file, tokenizer).encode([Message("user", "What is the capital of Norway?")])
    assert tokens == tokenizer.encode(
        "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
        "<|im_start|>user\nWhat is the capital of Norway?<|im_end|>\n<|im_start|>assistant\n",
        special=True,
    )
    assert tokens[:4] == [1, 9690, 198, 2683]
