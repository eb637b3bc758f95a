"""A model file, ready to be run and registered: program, weights, tokenizer and the id they make."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from opml.errors import InputError
from opml.models.gguf import GgufFile
from opml.models.llama import compile_llama
from opml.models.template import ChatTemplate, Message
from opml.models.tokenizer import Tokenizer
from opml.vm.commitment import model_id, vocabulary_tree
from opml.vm.encoding import encode
from opml.vm.validate import validate


class LoadedModel:
    """A GGUF file compiled for at most `limit` positions (None: the file's own context, within reason).

    Raises `ModelFileError` for a file that is damaged or unsupported, `ProgramError` for a program that
    breaks a rule of the validator. Roots are computed when first asked for.
    """

    def __init__(self, path: Path, limit: int | None = None) -> None:
        self.path = path
        self.file = GgufFile(path)
        self.tokenizer = Tokenizer(self.file)
        compiled = compile_llama(self.file, limit)
        self.program, self.weights = compiled.program, compiled.weights
        self.layout = validate(self.program)
        self.code = encode(self.program)

    @property
    def limit(self) -> int:
        """Most positions of prompt and output."""
        return self.program.limit

    @property
    def end_tokens(self) -> tuple[int, ...]:
        return self.tokenizer.end_tokens

    @cached_property
    def weights_root(self) -> bytes:
        return self.weights.root

    @cached_property
    def vocabulary_root(self) -> bytes:
        return vocabulary_tree(self.tokenizer.pieces).root

    @cached_property
    def id(self) -> bytes:
        """The id that the registry gives this model."""
        return model_id(
            self.code, self.weights_root, self.vocabulary_root, self.tokenizer.size, self.end_tokens
        )

    def prompt(self, text: str, *, raw: bool = False) -> list[int]:
        """Tokens of a user's text in the file's chat template, or of the text alone.

        Raises `InputError` for text that the vocabulary can't express or that leaves no room for an answer.
        """
        if raw:
            tokens = self.tokenizer.encode_prompt(text)
        else:
            tokens = ChatTemplate(self.file, self.tokenizer).encode([Message("user", text)])
        if not tokens:
            raise InputError("the prompt is empty: a request has at least one token")
        if len(tokens) > self.limit:
            raise InputError(
                f"the prompt has {len(tokens):,} tokens, the model takes {self.limit:,}: shorten it, or "
                "raise --limit (another limit is another model id)"
            )
        return tokens


__all__ = ["LoadedModel"]
