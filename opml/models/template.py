"""The chat template of a model file: messages to the tokens of a prompt.

A template writes control tokens such as `<|im_start|>` as text, and puts the user's words between them. If
the whole were tokenised with control tokens recognised, a user could write `<|im_end|>` and speak for the
model. So the user's words are marked before the template sees them: a character that occurs nowhere else
goes into every place where a control token could begin or end in them. Control tokens are then looked for
in the marked text, and the marks are taken out of what lies between before it is tokenised as plain text.

    content   say <|im_end|>           ·say <·|im_end|·>·                (the mark shown as ·)
    rendered  <|im_start|>user\n·say <·|im_end|·>·<|im_end|>\n
    tokens    [<|im_start|>] "user\nsay <|im_end|>" as text [<|im_end|>] "\n"
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import regex

from opml.errors import InputError, ModelFileError
from opml.models.gguf import GgufFile
from opml.models.sandbox import FAILURES, MAX_SOURCE, Sandbox, shallow_stack
from opml.models.tokenizer import Tokenizer

KEY: Final = "tokenizer.chat_template"
ROLES: Final = ("system", "user", "assistant")
_MARKS: Final = tuple(map(chr, range(0xFDD0, 0xFDF0)))  # Unicode noncharacters: in no text meant for exchange


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation; `role` is one of `ROLES`."""

    role: str
    content: str


class ChatTemplate:
    """The chat template of a file. Raises `ModelFileError` when there is none or it is no valid template."""

    def __init__(self, file: GgufFile, tokenizer: Tokenizer) -> None:
        self._path, self._tokenizer = file.path, tokenizer
        if KEY not in file:
            raise ModelFileError(
                f"{file.path}: the file has no {KEY}; give the prompt without a template (--raw)"
            )
        self._source = file.text(KEY)
        if len(self._source) > MAX_SOURCE:
            raise self._error(f"it has {len(self._source)} characters, expected at most {MAX_SOURCE}")

    def render(self, messages: Sequence[Message]) -> str:
        """The text of a conversation up to where the model answers; `ModelFileError` when it fails."""
        for message in messages:
            if message.role not in ROLES:
                raise InputError(
                    f"the role {message.role!r} is not one of {', '.join(ROLES)}; use one of these"
                )
        names = {"bos_token": self._tokenizer.bos, "eos_token": self._tokenizer.eos}
        arguments = {
            "messages": [{"role": m.role, "content": m.content} for m in messages],
            "add_generation_prompt": True,
            **{name: "" if token is None else self._tokenizer.text(token) for name, token in names.items()},
        }
        try:
            with shallow_stack():
                return Sandbox().from_string(self._source).render(arguments)
        except FAILURES as error:
            raise self._error(f"{type(error).__name__}: {str(error)[:300]}") from None

    def encode(self, messages: Sequence[Message]) -> list[int]:
        """The prompt's tokens; control tokens come from the template alone, never from a message.

        Raises `ModelFileError` for a template that fails, `InputError` for text the vocabulary can't express.
        """
        everything = self._source + "".join(m.content for m in messages)
        free = [mark for mark in _MARKS if mark not in everything]
        if not free:
            raise InputError("the messages hold all 32 of U+FDD0 … U+FDEF, expected text; remove them")
        mark = free[0]
        rendered = self.render([Message(m.role, self._mark(m.content, mark)) for m in messages])

        tokens: list[int] = []
        at, first = 0, True
        controls = "|".join(map(regex.escape, self._tokenizer.control_texts))
        for match in regex.finditer(controls, rendered) if controls else ():
            tokens += self._plain(rendered[at : match.start()], mark, first)
            tokens += self._tokenizer.encode(match.group(), special=True)
            at, first = match.end(), True
        tokens += self._plain(rendered[at:], mark, first)
        bos = self._tokenizer.bos
        if self._tokenizer.add_bos and bos is not None and tokens[:1] != [bos]:
            tokens.insert(0, bos)
        return tokens

    def _plain(self, text: str, mark: str, first: bool) -> list[int]:
        return self._tokenizer.encode(text.replace(mark, ""), first=first)

    def _mark(self, content: str, mark: str) -> str:
        """Marks within the outer white space, after what begins and before what ends some control token."""
        body = content.strip()
        if not body:
            return content
        start = content.index(body)
        controls = self._tokenizer.control_texts
        heads, tails = {text[0] for text in controls}, {text[-1] for text in controls}
        marked = "".join(f"{mark * (c in tails)}{c}{mark * (c in heads)}" for c in body)
        return content[:start] + mark + marked + mark + content[start + len(body) :]

    def _error(self, rule: str) -> ModelFileError:
        return ModelFileError(
            f"{self._path}: the chat template fails: {rule}; give the prompt with --raw instead"
        )


__all__ = ["ROLES", "ChatTemplate", "Message"]
