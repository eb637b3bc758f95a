"""How byte-pair tokenizers cut a text into words before merging, by the name in `tokenizer.ggml.pre`.

Each family is a list of regular expressions, applied one after the other: an expression cuts every word of
the one before into its matches and what lies between them. Source: `llm_tokenizer_bpe` of llama.cpp.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import regex

_GPT2: Final = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)"
_CONTRACTIONS: Final = r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])"
_LLAMA3: Final = (
    _CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_QWEN2: Final = _LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")


@dataclass(frozen=True, slots=True)
class Family:
    """`expressions` in order; `whole_words`: a word of the vocabulary is one token, whatever the merges say;
    `add_bos`: whether a prompt begins with the start token when the file doesn't say."""

    expressions: tuple[str, ...]
    whole_words: bool = False
    add_bos: bool = False

    def words(self, text: str) -> list[str]:
        """The words of `text`; joined again they are `text`."""
        words = [text]
        for expression in self.expressions:
            pattern = regex.compile(expression)
            words = [part for word in words for part in _cut(pattern, word)]
        return words


def _cut(pattern: regex.Pattern[str], text: str) -> list[str]:
    parts, at = [], 0
    for match in pattern.finditer(text):
        start, end = match.span()
        if start > at:
            parts.append(text[at:start])
        parts.append(text[start:end])
        at = end
    if at < len(text):
        parts.append(text[at:])
    return parts


_DEFAULT: Final = Family((r"[\p{P}\$\+<=>\^~\|]+", _GPT2, r"\p{N}+", r"[0-9][0-9][0-9]"))
_PLAIN: Final = Family((_GPT2,))
_DIGITS: Final = Family((r"\p{N}", _GPT2))
_LLAMA_3: Final = Family((_LLAMA3,), whole_words=True, add_bos=True)
_QWEN: Final = Family((_QWEN2,))

FAMILIES: Final = {
    "default": _DEFAULT,
    "gpt-2": _PLAIN,
    "olmo": _PLAIN,
    "smollm": _DIGITS,
    "starcoder": _DIGITS,
    "refact": _DIGITS,
    "command-r": _DIGITS,
    "llama3": _LLAMA_3,
    "llama-v3": _LLAMA_3,
    "llama-bpe": _LLAMA_3,
    "qwen2": _QWEN,
    "stablelm2": _QWEN,
}

__all__ = ["FAMILIES", "Family"]
