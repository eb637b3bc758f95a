"""Text to token ids and back, from the vocabulary in a GGUF file.

Two models: `gpt2`, byte-pair merges over words (`opml.models.pretokenize`), and `llama`, SentencePiece's
merges by score with bytes as the way out. Control tokens such as `<|im_end|>` are recognised only when asked
for, so that a user's text can't contain one. Text that the vocabulary lacks is refused, never dropped.

The bytes of each token are what the vocabulary root commits to (`docs/spec.md`, Trees).
"""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Sequence
from enum import IntEnum
from functools import cached_property, lru_cache
from typing import Final, NoReturn, Protocol

import numpy as np
import numpy.typing as npt
import regex

from opml.errors import InputError, ModelFileError
from opml.models.gguf import GgufFile
from opml.models.merge import merge
from opml.models.pretokenize import FAMILIES, Family

MAX_VOCABULARY: Final = 1 << 21
MAX_PIECE_BYTES: Final = 65_535  # a claim states the length of a piece in a u16
MAX_END_TOKENS: Final = 16
_MERGES: Final = "tokenizer.ggml.merges"
_END_KEYS: Final = ("eos_token_id", "eot_token_id", "eom_token_id")
_END_TEXTS: Final = frozenset(
    (
        "<|endoftext|>",
        "<|im_end|>",
        "<|eot_id|>",
        "<|eom_id|>",
        "<|end_of_text|>",
        "<|end|>",
        "<end_of_turn>",
        "<EOT>",
        "<|return|>",
        "<|call|>",
        "<end_of_utterance>",
    )
)
_SPACE: Final = "\u2581"  # SentencePiece's visible space


class TokenKind(IntEnum):
    """`tokenizer.ggml.token_type`."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


_MOST_UTF8: Final = 4  # bytes of a character
_NORMAL: Final = int(TokenKind.NORMAL)  # an enumeration's members take long to look up, once a token


class _Model(Protocol):
    """What differs between the two kinds of tokenizers."""

    add_bos: bool

    def encode(self, text: str, first: bool) -> list[int]: ...

    def piece(self, text: str) -> bytes: ...


class Tokenizer:
    """The tokenizer of a GGUF file.

    `size`: number of tokens. `end_tokens`: the tokens that end an answer, ascending: the file's eos, eot and
    eom tokens and its control tokens of a well-known name. `bos`: the start token or None; `add_bos`: whether
    a prompt begins with it. Raises `ModelFileError` for a vocabulary that is missing, damaged or unsupported.
    """

    def __init__(self, file: GgufFile) -> None:
        self.file = file
        self._texts = file.texts("tokenizer.ggml.tokens")
        self.size = len(self._texts)
        if not 1 <= self.size <= MAX_VOCABULARY:
            self._refuse(f"the vocabulary has {self.size} tokens, expected 1 to {MAX_VOCABULARY}")
        self.kinds = self._read_kinds()
        self.bos = self._token("bos_token_id")
        self.eos = self._token("eos_token_id")
        self.end_tokens = self._read_end_tokens()
        self._model = self._read_model()
        if max(map(len, self._texts)) * _MOST_UTF8 > MAX_PIECE_BYTES:
            self._require_short_pieces()
        self.add_bos = self.bos is not None and file.flag("tokenizer.ggml.add_bos_token", self._model.add_bos)

    def encode(self, text: str, *, special: bool = False, first: bool = True) -> list[int]:
        """The tokens of `text`, without a start token.

        `special`: whether control tokens are recognised by their text. `first`: whether the text begins a
        prompt (SentencePiece puts a space before it). Raises `InputError` for text that the vocabulary can't
        express.
        """
        _require_unicode(text)
        tokens: list[int] = []
        at = 0
        pattern = self._marked if special else self._user_defined
        for match in pattern.finditer(text) if pattern else ():
            if match.start() > at:
                tokens += self._model.encode(text[at : match.start()], first)
            tokens.append(self.ids[match.group()])
            at, first = match.end(), True
        if at < len(text):
            tokens += self._model.encode(text[at:], first)
        return tokens

    def encode_prompt(self, text: str) -> list[int]:
        """The tokens of a plain prompt: the start token if the model wants one, then the text."""
        start = [self.bos] if self.add_bos and self.bos is not None else []
        return start + self.encode(text)

    def text(self, token: int) -> str:
        """The text of a token as the vocabulary spells it."""
        return self._texts[token]

    def piece(self, token: int) -> bytes:
        """The bytes that a token adds to an answer: none for control, unknown and unused tokens."""
        return self._spell(self._texts[token], self.kinds[token])

    def decode(self, tokens: Iterable[int]) -> bytes:
        """The bytes of an answer."""
        return b"".join(self.pieces[token] for token in tokens)

    @cached_property
    def pieces(self) -> list[bytes]:
        """`piece` of every token in order."""
        return [self._spell(text, kind) for text, kind in zip(self._texts, self.kinds, strict=True)]

    def _require_short_pieces(self) -> None:
        longest = max(map(len, self.pieces))
        if longest > MAX_PIECE_BYTES:
            self._refuse(f"a token has {longest} bytes, expected at most {MAX_PIECE_BYTES}")

    def _spell(self, text: str, kind: int) -> bytes:
        if kind == _NORMAL:
            return self._model.piece(text)
        if kind == TokenKind.USER_DEFINED:
            return text.encode()
        if kind == TokenKind.BYTE and (byte := _byte_of(text)) is not None:
            return bytes((byte,))
        return b""

    @cached_property
    def ids(self) -> dict[str, int]:
        """The token of each text, the last of equals. Not made at load: only text needs it."""
        return {text: token for token, text in enumerate(self._texts)}

    @cached_property
    def control_texts(self) -> tuple[str, ...]:
        """The texts of the control tokens, the longest first."""
        return self._texts_of(TokenKind.CONTROL)

    @cached_property
    def _marked(self) -> regex.Pattern[str] | None:
        return _any_of(self.control_texts + self._texts_of(TokenKind.USER_DEFINED))

    @cached_property
    def _user_defined(self) -> regex.Pattern[str] | None:
        return _any_of(self._texts_of(TokenKind.USER_DEFINED))

    def _texts_of(self, kind: TokenKind) -> tuple[str, ...]:
        marked = np.flatnonzero(np.array(self.kinds) == kind).tolist()
        found = {self._texts[token] for token in marked} - {""}
        return tuple(sorted(found, key=lambda text: (-len(text), text)))

    def _read_kinds(self) -> list[int]:
        key = "tokenizer.ggml.token_type"
        if key not in self.file:
            return [TokenKind.NORMAL] * self.size
        kinds: list[int] = self.file.integers(key).tolist()
        if len(kinds) != self.size:
            self._refuse(f"{key} has {len(kinds)} entries, expected one a token: {self.size}")
        return kinds

    def _token(self, name: str) -> int | None:
        key = f"tokenizer.ggml.{name}"
        return self.file.integer(key, most=self.size - 1) if key in self.file else None

    def _read_end_tokens(self) -> tuple[int, ...]:
        named = {token for name in _END_KEYS if (token := self._token(name)) is not None}
        known = {text: token for token, text in enumerate(self._texts) if text in _END_TEXTS}
        found = named | {token for token in known.values() if self.kinds[token] == TokenKind.CONTROL}
        if not 1 <= len(found) <= MAX_END_TOKENS:
            self._refuse(f"the vocabulary has {len(found)} end tokens, expected 1 to {MAX_END_TOKENS}")
        return tuple(sorted(found))

    def _read_model(self) -> _Model:
        model = self.file.text("tokenizer.ggml.model")
        match model:
            case "gpt2":
                pre = self.file.text("tokenizer.ggml.pre", "default")
                if pre not in FAMILIES:
                    self._refuse(f"tokenizer.ggml.pre is {pre!r}; supported are {', '.join(FAMILIES)}")
                self.file.require_texts(_MERGES)
                return _BytePair(self, FAMILIES[pre])
            case "llama":
                scores = self.file.reals("tokenizer.ggml.scores")
                if len(scores) != self.size:
                    self._refuse(f"tokenizer.ggml.scores has {len(scores)} entries, expected {self.size}")
                prefix = self.file.flag("tokenizer.ggml.add_space_prefix", True)
                return _SentencePiece(self, scores, prefix)
            case _:
                self._refuse(f"tokenizer.ggml.model is {model!r}; supported are gpt2 and llama")

    def _refuse(self, rule: str) -> NoReturn:
        raise ModelFileError(f"{self.file.path}: {rule}; use a file with a supported, complete vocabulary")


class _BytePair:
    """GPT-2's scheme: UTF-8 bytes spelled as printable characters, merged within words in a list's order."""

    def __init__(self, owner: Tokenizer, family: Family) -> None:
        self._owner, self._family = owner, family
        self.add_bos = family.add_bos
        self._word = lru_cache(maxsize=1 << 14)(self._encode_word)

    def encode(self, text: str, first: bool) -> list[int]:
        return [token for word in self._family.words(text) for token in self._word(word)]

    def piece(self, text: str) -> bytes:
        """The bytes that a token spells; a text outside the byte alphabet stands for itself."""
        if text.isascii() or not _ALPHABET.issuperset(text):  # ASCII stands for itself either way
            return text.encode()
        return text.translate(_BYTE_OF_SPELLED).encode("latin-1")

    @cached_property
    def _ranks(self) -> dict[str, int]:
        """The place of each pair in the list, the first of equals."""
        pairs = self._owner.file.texts(_MERGES)
        return dict(zip(reversed(pairs), reversed(range(len(pairs))), strict=True))

    def _encode_word(self, word: str) -> tuple[int, ...]:
        ids = self._owner.ids
        spelled = word.encode().decode("latin-1").translate(_SPELLED_BYTE)
        if self._family.whole_words and spelled in ids:
            return (ids[spelled],)
        tokens: list[int] = []
        for symbol in merge(spelled, lambda left, right: self._ranks.get(f"{left} {right}")):
            if symbol in ids:
                tokens.append(ids[symbol])
                continue
            for character in symbol:
                if character not in ids:
                    _refuse_byte(ord(character.translate(_BYTE_OF_SPELLED)), word)
                tokens.append(ids[character])
        return tuple(tokens)


class _SentencePiece:
    """SentencePiece's scheme as llama.cpp runs it: the pair whose union scores best is merged first."""

    add_bos = True

    def __init__(self, owner: Tokenizer, scores: npt.NDArray[np.float64], space_prefix: bool) -> None:
        self._owner, self._scores, self._space_prefix = owner, scores, space_prefix

    def encode(self, text: str, first: bool) -> list[int]:
        spelled = (" " if self._space_prefix and first else "") + text
        tokens: list[int] = []
        for symbol in merge(spelled.replace(" ", _SPACE), self._priority):
            if symbol in self._owner.ids:
                tokens.append(self._owner.ids[symbol])
                continue
            for byte in symbol.encode():
                if byte not in self._bytes:
                    _refuse_byte(byte, text)
                tokens.append(self._bytes[byte])
        return tokens

    def piece(self, text: str) -> bytes:
        return text.replace(_SPACE, " ").encode()

    @cached_property
    def _bytes(self) -> dict[int | None, int]:
        owner = self._owner
        return {_byte_of(text): n for text, n in owner.ids.items() if owner.kinds[n] == TokenKind.BYTE}

    def _priority(self, left: str, right: str) -> float | None:
        token = self._owner.ids.get(left + right)
        return None if token is None else -float(self._scores[token])


class StreamDecoder:
    """Text of an answer as its tokens arrive: bytes of an incomplete character wait for the rest."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def push(self, token: int) -> str:
        """The characters that `token` completes."""
        return self._decoder.decode(self._tokenizer.piece(token))

    def finish(self) -> str:
        """What an incomplete last character is shown as."""
        return self._decoder.decode(b"", final=True)


def _spelled_bytes() -> dict[int, str]:
    """GPT-2's alphabet: printable Latin-1 stands for itself, the other bytes for U+0100 and on."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {b: chr(b) for b in printable} | {b: chr(0x100 + n) for n, b in enumerate(others)}


_SPELLED_BYTE: Final = _spelled_bytes()
_ALPHABET: Final = frozenset(_SPELLED_BYTE.values())
_BYTE_OF_SPELLED: Final = {ord(character): chr(byte) for byte, character in _SPELLED_BYTE.items()}


def spelled(byte: int) -> str:
    """How a byte-pair vocabulary spells a byte."""
    return _SPELLED_BYTE[byte]


def _byte_of(text: str) -> int | None:
    """The byte of a byte token, spelled `<0x0A>`; None for any other text."""
    match = regex.fullmatch(r"<0x([0-9A-F]{2})>", text)
    return int(match[1], 16) if match else None


def _any_of(texts: Sequence[str]) -> regex.Pattern[str] | None:
    """A pattern that matches any of `texts`, the longest first; None when there are none."""
    if not texts:
        return None
    ordered = sorted(texts, key=lambda text: (-len(text), text))
    return regex.compile("|".join(map(regex.escape, ordered)))


def _require_unicode(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InputError(
            f"the text has a lone surrogate at character {error.start}, expected Unicode; remove it"
        ) from None


def _refuse_byte(byte: int, text: str) -> NoReturn:
    shown = text if len(text) <= 40 else text[:37] + "..."
    raise InputError(
        f"the vocabulary has no token for the byte 0x{byte:02X} in {shown!r}: this model can't be given that "
        "text, and dropping the byte would change it; remove the character"
    )


__all__ = ["StreamDecoder", "TokenKind", "Tokenizer", "spelled"]
