"""One engine in a process of its own, told what to do by a line of JSON at a time (`rounds.Worker`).

    python worker.py ours | PEER_PYTHON worker.py peer

`ours` needs opml, `peer` needs llama-cpp-python and nothing of ours. Both know the same requests and give
seconds, so that memory, threads and caches of one never mix with the other's.
"""

from __future__ import annotations

import json
import os
import sys
import time
from abc import ABC, abstractmethod
from typing import Any

import numpy as np


class Watch:
    """Seconds of wall clock, and of processor time of all threads, since it was made."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def read(self) -> dict[str, Any]:
        return {"seconds": time.perf_counter() - self._wall, "cpu": time.process_time() - self._cpu}


def tokens(count: int, vocabulary: int, seed: int = 7) -> list[int]:
    """The same pseudo-random tokens everywhere."""
    generator = np.random.Generator(np.random.PCG64(seed))
    return [int(t) for t in generator.integers(3, vocabulary, count)]


class Backend(ABC):
    """What a worker can be asked."""

    @abstractmethod
    def load(self, model: str, context: int, threads: int, options: dict[str, Any]) -> dict[str, Any]:
        """Make ready; `seconds` it took."""

    @abstractmethod
    def decode(self, context: int, count: int, commit: bool) -> dict[str, Any]:
        """Time to sample `count` tokens one by one, the last with `context` positions."""

    @abstractmethod
    def batch(self, count: int, commit: bool, yields: bool) -> dict[str, Any]:
        """Time of one batch of `count` positions; logits for the last one, or with `yields` for all."""

    @abstractmethod
    def score(self, ids: list[int]) -> dict[str, Any]:
        """`nll` of each next token, `argmax` at each position."""

    def memory(self) -> dict[str, Any]:
        """Peak and present resident bytes; of the present ones, those of mapped files."""
        with open("/proc/self/status") as file:
            lines = dict(line.split(":", 1) for line in file)
        sizes = {key: int(lines[key].split()[0]) * 1024 for key in ("VmHWM", "VmRSS", "RssFile")}
        return {"peak": sizes["VmHWM"], "now": sizes["VmRSS"], "file": sizes["RssFile"]}


class Ours(Backend):
    """The native interpreter. Options: `engine`, `level` and `generic` of `opml.vm._native.Machine`."""

    kept: Any = None

    def load(self, model: str, context: int, threads: int, options: dict[str, Any]) -> dict[str, Any]:
        import importlib

        from opml.models.model import load_model
        from opml.vm.encoding import encode

        native: Any = importlib.import_module("opml.vm._native")
        watch, start = Watch(), time.perf_counter()
        self.model = load_model(model, context)
        data = [weight.data for weight in self.model.weights]
        opened = time.perf_counter()
        engine, level = options.get("engine", "native"), options.get("level", "auto")
        self.machine = native.Machine(encode(self.model.program), data, engine, threads, level)
        return watch.read() | {
            "opening": opened - start,
            "level": native.levels()[-1] if level == "auto" else level,
        }

    def decode(self, context: int, count: int, commit: bool) -> dict[str, Any]:
        prefix = tokens(context - count + 1, self.model.vocabulary_size)
        session = self.machine.new_session()
        start_at = len(prefix) - 1
        if start_at:
            session.feed(prefix[:-1], start_at, commit)
        token = prefix[-1]
        watch = Watch()
        for _ in range(count):
            token = session.feed([token], start_at, commit)[-1]
        return watch.read()

    def batch(self, count: int, commit: bool, yields: bool) -> dict[str, Any]:
        ids = tokens(count, self.model.vocabulary_size)
        session = self.machine.new_session()
        watch = Watch()
        session.feed(ids, 0 if yields else count - 1, commit)
        return watch.read()

    def profile(self, count: int, decode: bool) -> dict[str, Any]:
        """Nanoseconds by instruction name, and of hashing, over a batch or as many decoded positions."""
        ids = tokens(count, self.model.vocabulary_size)
        session = self.machine.new_session()
        session.profile()
        if decode:
            for token in ids:
                session.feed([token], 0)
        else:
            session.feed(ids, count - 1)
        *slots, hashing = session.profile()
        times: dict[str, int] = {}
        for slot, spent in zip(self.model.layout.slots, slots, strict=True):
            name = slot.instr.name or "?"
            times[name] = times.get(name, 0) + spent
        return {"slots": times, "hashing": hashing}

    def score(self, ids: list[int]) -> dict[str, Any]:
        from opml.cli.scoring import score
        from opml.vm.engine import get_engine

        found = score(get_engine("native", 2), self.model.program, self.model.weights, ids)
        return {"nll": found.nll, "argmax": found.argmax}

    def recompute(self, context: int, position: int) -> dict[str, Any]:
        """Time to recompute one position of a run of `context`: its tensors, then its roots."""
        if self.kept is None or self.kept.length != context:
            self.kept = self.machine.new_session()
            self.kept.feed(tokens(context, self.model.vocabulary_size), context - 1)
        watch = Watch()
        self.kept.recompute(position)
        tensors, watch = watch.read(), Watch()
        self.kept.slot_roots(position)
        return {"tensors": tensors, "roots": watch.read()}


class Peer(Backend):
    """llama.cpp. Options: keyword arguments of `llama_cpp.Llama`."""

    def load(self, model: str, context: int, threads: int, options: dict[str, Any]) -> dict[str, Any]:
        import llama_cpp  # type: ignore[import-not-found]

        settings = {"n_batch": 512, "n_ubatch": 512} | options
        watch = Watch()
        self.llama = llama_cpp.Llama(
            model, n_ctx=context, n_threads=threads, n_threads_batch=threads, verbose=False, **settings
        )
        return watch.read() | {"version": llama_cpp.__version__}

    def _feed(self, ids: list[int], logits_all: bool = False) -> None:
        """As `Llama.eval`, but without its copies of the logits."""
        llama = self.llama
        for first in range(0, len(ids), llama.n_batch):
            part = ids[first : first + llama.n_batch]
            llama._batch.set_batch(part, n_past=llama.n_tokens, logits_all=logits_all)
            llama._ctx.decode(llama._batch)
            llama.n_tokens += len(part)

    def _logits(self) -> Any:
        return np.ctypeslib.as_array(self.llama._ctx.get_logits(), (self.llama.n_vocab(),))

    def _empty(self) -> None:
        self.llama.reset()
        self.llama._ctx.kv_cache_clear()

    def decode(self, context: int, count: int, commit: bool) -> dict[str, Any]:
        prefix = tokens(context - count + 1, self.llama.n_vocab())
        self._empty()
        self._feed(prefix[:-1])
        if len(prefix) > 1:
            self._logits()[0]
        token = prefix[-1]
        watch = Watch()
        for _ in range(count):
            self._feed([token])
            token = int(self._logits().argmax())
        return watch.read()

    def batch(self, count: int, commit: bool, yields: bool) -> dict[str, Any]:
        ids = tokens(count, self.llama.n_vocab())
        self._empty()
        watch = Watch()
        self._feed(ids, yields)
        self._logits()[0]
        return watch.read()

    def score(self, ids: list[int]) -> dict[str, Any]:
        self._empty()
        vocabulary = self.llama.n_vocab()
        nll, argmax = [], []
        step = self.llama.n_batch
        for first in range(0, len(ids), step):
            part = ids[first : first + step]
            self._feed(part, True)
            rows = np.ctypeslib.as_array(self.llama._ctx.get_logits(), (len(part) * vocabulary,))
            for t, row in enumerate(rows.reshape(len(part), vocabulary).astype(np.float64), first):
                argmax.append(int(row.argmax()))
                if t + 1 < len(ids):
                    top = row.max()
                    nll.append(float(top + np.log(np.exp(row - top).sum()) - row[ids[t + 1]]))
        return {"nll": nll, "argmax": argmax}

    def tokenize(self, text: str) -> dict[str, Any]:
        """Token ids of a text."""
        return {"ids": self.llama.tokenize(text.encode(), add_bos=False, special=False)}


def serve(backend: Backend) -> None:
    """Answer requests until the input ends. What libraries print goes to standard error."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = getattr(backend, request.pop("op"))(**request)
        except Exception as error:  # told to the parent, which stops
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    serve(Ours() if sys.argv[1] == "ours" else Peer())
