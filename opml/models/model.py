"""A loaded model: program, weights, vocabulary and the ids under which it is registered."""

from __future__ import annotations

import gc
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Final

from opml.errors import InputError, ModelFileError, ProgramError
from opml.json_input import parse_json
from opml.models.gguf import GgufFile
from opml.models.llama import compile_llama
from opml.models.tokenizer import Tokenizer
from opml.vm.commitment import model_id, vocabulary_tree, weights_tree
from opml.vm.encoding import encode
from opml.vm.isa import Program
from opml.vm.layout import Layout
from opml.vm.validate import validate
from opml.vm.weights import Weights

CACHE_SUFFIX: Final = ".opml-roots.json"
CACHE_ENTRIES: Final = 16
_HASH_BLOCK: Final = 1 << 22


@contextmanager
def _collector_paused() -> Iterator[None]:
    """No garbage collection: vocabularies are many objects and no garbage, walked over and over otherwise."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


class Model:
    """What an executor and a registry need of a model.

    `program`, validated, with its `layout` and its bytes `encoded`; `weights` in program order; `pieces`: the
    bytes that each token adds to an answer, None: those of the tokenizer; `end_tokens` ascending. Pieces,
    roots and the id are computed when first asked for. A model made by `opml.models.tiny` has no file, so no
    `tokenizer` and no chat template.
    """

    def __init__(
        self,
        name: str,
        program: Program,
        weights: Weights,
        pieces: Sequence[bytes] | None,
        end_tokens: Sequence[int],
        file: GgufFile | None = None,
        tokenizer: Tokenizer | None = None,
    ) -> None:
        self.name = name
        self.program = program
        self.layout: Layout = validate(program)
        self.encoded = encode(program)
        self.weights = weights
        self._pieces = pieces
        self.end_tokens = tuple(end_tokens)
        self.file, self.tokenizer = file, tokenizer
        weights.check(self.layout)

    @property
    def limit(self) -> int:
        """Most positions."""
        return self.program.limit

    @property
    def vocabulary_size(self) -> int:
        """Number of tokens."""
        return self.tokenizer.size if self.tokenizer is not None else len(self.pieces)

    @cached_property
    def pieces(self) -> tuple[bytes, ...]:
        """The bytes that each token adds to an answer."""
        if self._pieces is not None:
            return tuple(self._pieces)
        assert self.tokenizer is not None
        return tuple(self.tokenizer.pieces)

    @cached_property
    def vocabulary_root(self) -> bytes:
        """Root over the pieces (`docs/spec.md`, Trees)."""
        return vocabulary_tree(self.pieces).root

    @cached_property
    def weights_root(self) -> bytes:
        """Root over the weights; the roots of a file's tensors are kept beside it (`RootsCache`)."""
        if self.file is None:
            return self.weights.root
        cache = RootsCache(self.file.path, self.encoded)
        roots = cache.load(len(self.weights))
        if roots is None:
            roots = [self.weights.tensor_tree(number).root for number in range(len(self.weights))]
            cache.store(roots)
        tree = weights_tree(roots)
        self.weights.__dict__["tree"] = tree  # what `Weights.tree` would compute
        return tree.root

    @cached_property
    def id(self) -> bytes:
        """The id of the model (`docs/spec.md`, Ids)."""
        return model_id(
            self.encoded, self.weights_root, self.vocabulary_root, self.vocabulary_size, self.end_tokens
        )

    def answer(self, tokens: Iterable[int]) -> bytes:
        """The bytes of an answer."""
        return b"".join(self.pieces[token] for token in tokens)

    @_collector_paused()
    def encode_prompt(self, text: str, *, raw: bool = False) -> list[int]:
        """The tokens of a prompt: `text` as a user's message in the chat template, or as it is when `raw`.

        Raises `ModelFileError` without a tokenizer or a working template, `InputError` for text that the
        vocabulary lacks and for a prompt that leaves no position for an answer.
        """
        if self.tokenizer is None or self.file is None:
            raise ModelFileError(f"{self.name}: the model has no tokenizer; give token ids")
        if raw:
            tokens = self.tokenizer.encode_prompt(text)
        else:
            from opml.models.template import ChatTemplate, Message  # Jinja takes 0.1 s to import

            tokens = ChatTemplate(self.file, self.tokenizer).encode([Message("user", text)])
        if not tokens:
            raise InputError("the prompt has no token, expected at least one; write something")
        if len(tokens) > self.limit:
            raise InputError(f"the prompt has {len(tokens)} tokens, expected 1 to {self.limit}; shorten it")
        return tokens


class RootsCache:
    """Roots of the tensors of a model file, kept in a file beside it.

    An entry is found by the SHA-256 of the model file and of the program, computed from the bytes each
    time: a changed file has no entry. A cache that can't be read or written is as good as none.
    """

    def __init__(self, model: Path, program: bytes) -> None:
        self._path = model.with_name(model.name + CACHE_SUFFIX)
        digest = hashlib.sha256(program)
        with model.open("rb") as file:
            while block := file.read(_HASH_BLOCK):
                digest.update(block)
        self._key = digest.hexdigest()

    def load(self, count: int) -> list[bytes] | None:
        """The roots of all `count` tensors, or None."""
        try:
            roots = [bytes.fromhex(root) for root in self._entries()[self._key]]
        except (KeyError, TypeError, ValueError):
            return None
        return roots if len(roots) == count and all(len(root) == 32 for root in roots) else None

    def store(self, roots: Sequence[bytes]) -> None:
        """Keep the roots, and of older entries the last few."""
        entries = {key: value for key, value in self._entries().items() if key != self._key}
        kept = dict(list(entries.items())[1 - CACHE_ENTRIES :])
        text = json.dumps(kept | {self._key: [root.hex() for root in roots]})
        temporary = self._path.with_name(f"{self._path.name}.{os.getpid()}")
        try:
            temporary.write_text(text)
            temporary.replace(self._path)
        except OSError:
            temporary.unlink(missing_ok=True)

    def _entries(self) -> dict[str, list[str]]:
        try:
            entries = parse_json(self._path.read_text())
        except (OSError, ValueError):
            return {}
        return entries if isinstance(entries, dict) else {}


@_collector_paused()
def load_model(path: str | Path, limit: int | None = None) -> Model:
    """The model of a GGUF file for at most `limit` positions (`opml.models.llama.compile_llama`).

    Raises `ModelFileError` for a file that is damaged, lying or unsupported.
    """
    file = GgufFile(path)
    compiled = compile_llama(file, limit)
    tokenizer = Tokenizer(file)
    if tokenizer.size != compiled.shape.vocabulary:
        raise ModelFileError(
            f"{file.path}: the vocabulary has {tokenizer.size} tokens, expected {compiled.shape.vocabulary}, "
            "one for each row of the embedding; convert the model again"
        )
    name = file.text("general.name", file.path.stem)
    if not name.isprintable():
        name = file.path.stem
    try:
        return Model(name, compiled.program, compiled.weights, None, tokenizer.end_tokens, file, tokenizer)
    except ProgramError as error:
        raise ModelFileError(f"{file.path}: the model can't be disputed on chain: {error}") from error


__all__ = ["Model", "RootsCache", "load_model"]
