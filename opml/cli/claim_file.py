"""A claim as a file: what was asked, what was answered, and the trace root that vouches for it.

    {"format": "opml claim 1", "modelId": "0x…", "limit": 8192, "params": [8 words], "maxOutput": 64,
     "prompt": [token ids], "output": [token ids], "answer": "0x…", "lengths": "0x…", "traceRoot": "0x…"}

Beside `NAME.json` may lie `NAME.roots.npz` with the roots of all positions and slots, from which a verifier
names the first tensor that differs.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from opml.dispute.types import lengths_of
from opml.errors import InputError
from opml.file_output import write_whole
from opml.json_input import parse_json, read_text
from opml.npz_input import read_npz
from opml.vm.commitment import E0, position_tree, trace_tree
from opml.vm.isa import MAX_LIMIT, MAX_PARAMS
from opml.vm.layout import Layout
from opml.vm.trace import Trace, TraceTrees

_FORMAT = "opml claim 1"
_MAX_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class ClaimFile:
    """The content of a claim file; digests are 32 bytes, `lengths` holds a u16 a token."""

    model_id: bytes
    limit: int
    params: tuple[int, ...]
    max_output: int
    prompt: tuple[int, ...]
    output: tuple[int, ...]
    answer: bytes
    lengths: bytes
    trace_root: bytes

    @property
    def tokens(self) -> tuple[int, ...]:
        return self.prompt + self.output

    def save(self, file: Path) -> None:
        """Write as JSON."""
        content = {
            "format": _FORMAT,
            "modelId": "0x" + self.model_id.hex(),
            "limit": self.limit,
            "params": list(self.params),
            "maxOutput": self.max_output,
            "prompt": list(self.prompt),
            "output": list(self.output),
            "answer": "0x" + self.answer.hex(),
            "lengths": "0x" + self.lengths.hex(),
            "traceRoot": "0x" + self.trace_root.hex(),
        }
        try:
            write_whole(file, (json.dumps(content) + "\n").encode())
        except OSError as problem:
            raise InputError(f"{file} can't be written ({problem}): choose another place") from None

    @classmethod
    def load(cls, file: Path) -> ClaimFile:
        """Read what `save` wrote; `InputError` for anything else."""
        try:
            content = parse_json(read_text(file, _MAX_BYTES))
        except FileNotFoundError:
            raise InputError(f"there is no claim {file}: write one with `opml run --claim FILE`") from None
        except (OSError, ValueError) as problem:
            raise InputError(f"{file} is no claim ({problem}): pass what `opml run --claim` wrote") from None
        try:
            return cls._of(content)
        except (KeyError, ValueError) as problem:
            what = f"no field {problem}" if isinstance(problem, KeyError) else str(problem)
            raise InputError(f"{file} is no claim ({what}): pass what `opml run --claim` wrote") from None

    @classmethod
    def _of(cls, content: Any) -> ClaimFile:
        if not isinstance(content, dict):
            raise ValueError("an object with fields expected")
        if content["format"] != _FORMAT:
            raise ValueError(f"format {str(content['format'])[:40]!r}, {_FORMAT!r} expected")
        claim = cls(
            model_id=_digest(content, "modelId"),
            limit=_number(content["limit"], MAX_LIMIT, "limit"),
            params=_numbers(content, "params"),
            max_output=_number(content["maxOutput"], 2**32 - 1, "maxOutput"),
            prompt=_numbers(content, "prompt"),
            output=_numbers(content, "output"),
            answer=_bytes(content, "answer"),
            lengths=_bytes(content, "lengths"),
            trace_root=_digest(content, "traceRoot"),
        )
        if len(claim.params) != MAX_PARAMS:
            raise ValueError(f"{len(claim.params)} params, {MAX_PARAMS} expected")
        if not claim.prompt or not claim.output:
            raise ValueError("prompt and output have at least one token each")
        return claim


def claim_of(trace: Trace, *, model_id: bytes, max_output: int, pieces: Sequence[bytes]) -> ClaimFile:
    """What a submitter claims of a finished run; `pieces` are the bytes of every token of the vocabulary."""
    output = trace.tokens[trace.prompt_length :]
    spelled = [pieces[token] for token in output]
    return ClaimFile(
        model_id=model_id,
        limit=trace.layout.program.limit,
        params=tuple(trace.params),
        max_output=max_output,
        prompt=tuple(trace.tokens[: trace.prompt_length]),
        output=tuple(output),
        answer=b"".join(spelled),
        lengths=lengths_of(spelled),
        trace_root=trace.trace_root(),
    )


# The sidecar -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Roots:
    """Roots of a trace: `positions` uint8 [positions, 32], `slots` uint8 [positions, committed slots, 32]."""

    positions: NDArray[np.uint8]
    slots: NDArray[np.uint8]

    @staticmethod
    def path(claim: Path) -> Path:
        """Where a claim's sidecar lies."""
        return claim.with_suffix(".roots.npz")

    def save(self, file: Path) -> None:
        """Write as `.npz`."""
        content = io.BytesIO()
        np.savez(content, positions=self.positions, slots=self.slots)
        try:
            write_whole(file, content.getvalue())
        except OSError as problem:
            raise InputError(f"{file} can't be written ({problem}): choose another place") from None

    @classmethod
    def load(cls, file: Path, layout: Layout, claim: ClaimFile) -> Roots:
        """Read a sidecar and hold it to the claim's trace root; `InputError` when it isn't the claim's."""
        count = len(claim.tokens) - 1
        shapes = {"positions": (count, 32), "slots": (count, len(layout.committed), 32)}
        try:
            arrays = read_npz(file, np.uint8, {name: math.prod(shape) for name, shape in shapes.items()})
            roots = cls(arrays["positions"], arrays["slots"])
        except (OSError, ValueError) as problem:
            raise InputError(f"{file} is no sidecar of this claim ({problem}): delete it") from None
        except KeyError as problem:
            raise InputError(f"{file} is no sidecar of roots (no array {problem}): delete it") from None
        for name, shape in shapes.items():
            array = getattr(roots, name)
            if array.shape != shape:
                raise InputError(
                    f"{file}: {name} has shape {list(array.shape)}, {list(shape)} is expected: delete it"
                )
        tree = trace_tree([row.tobytes() for row in roots.positions])
        if tree.root != claim.trace_root:
            raise InputError(
                f"{file}: the positions' root is 0x{tree.root.hex()}, the claim's trace root is "
                f"0x{claim.trace_root.hex()}: the sidecar is of another claim; delete it"
            )
        return roots

    def first_difference(self, trace: Trace) -> str | None:
        """The first tensor whose root differs from the trace's, in words; None where all agree."""
        for t, claimed in enumerate(self.positions):
            if claimed.tobytes() == trace.position_root(t):
                continue
            given = [row.tobytes() for row in self.slots[t]]
            if position_tree(given).root != claimed.tobytes():
                return f"position {t}: the sidecar's slot roots don't make its position root"
            for ordinal, mine in enumerate(slot_roots(trace, t)):
                if given[ordinal] != mine:
                    name = trace.layout.committed[ordinal].name
                    return f"position {t}, {name}: claimed 0x{given[ordinal].hex()}, computed 0x{mine.hex()}"
        return None


def roots_of(trace: Trace) -> Roots:
    """All roots of a trace."""
    count = len(trace.tokens) - 1
    positions = b"".join(trace.position_root(t) for t in range(count))
    slots = b"".join(root for t in range(count) for root in slot_roots(trace, t))
    return Roots(
        np.frombuffer(positions, np.uint8).reshape(count, 32),
        np.frombuffer(slots, np.uint8).reshape(count, -1, 32),
    )


def slot_roots(trace: Trace, t: int) -> list[bytes]:
    """Tensor roots of position t by ordinal; `E0` where the position lacks the slot."""
    native = getattr(trace, "slot_roots", None)
    if native is not None:
        return list(native(t))
    trees = TraceTrees(trace)
    layout = trace.layout
    return [
        trees.tensor_tree(t, ordinal).root if layout.exists(slot, t, trace.prompt_length) else E0
        for ordinal, slot in enumerate(layout.committed)
    ]


def _bytes(content: Any, name: str) -> bytes:
    value = content[name]
    try:
        if not isinstance(value, str):
            raise ValueError
        return bytes.fromhex(value.removeprefix("0x"))
    except ValueError:
        raise ValueError(f"{name} is not a text of bytes in hex") from None


def _digest(content: Any, name: str) -> bytes:
    digest = _bytes(content, name)
    if len(digest) != 32:
        raise ValueError(f"{name} has {len(digest)} bytes, 32 expected")
    return digest


def _number(value: Any, most: int, name: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= most:
        raise ValueError(f"{name} is {str(value)[:40]}, a number up to {most} expected")
    return value


def _numbers(content: Any, name: str) -> tuple[int, ...]:
    if not isinstance(content[name], list):
        raise ValueError(f"{name} is no list")
    return tuple(_number(value, 2**32 - 1, name) for value in content[name])


__all__ = ["ClaimFile", "Roots", "claim_of", "roots_of", "slot_roots"]
