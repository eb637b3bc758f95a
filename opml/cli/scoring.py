"""Negative log-likelihoods of given tokens, to hold a model's quality against other programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from opml.errors import InputError
from opml.vm.engine import Engine
from opml.vm.isa import Program
from opml.vm.weights import Weights

_POSITIONS: Final = 64  # of a batch: bounds the logits kept at once


@dataclass(frozen=True, slots=True)
class Score:
    """`nll[i]` in nats of ids[i + 1] after ids[: i + 1]; `argmax[i]` the likeliest token there.

    Where logits are not finite, nor need `nll[i]` be.
    """

    nll: list[float]
    argmax: list[int]


def score(engine: Engine, program: Program, weights: Weights, ids: Sequence[int]) -> Score:
    """Scores a text of token ids, all positions as one batch.

    Raises `InputError` for more tokens than the program has positions, and for a program without logits.
    """
    if len(ids) > program.limit:
        raise InputError(f"{len(ids):,} tokens, the model has {program.limit:,} positions: shorten the text")
    model = engine.load(program, weights)
    found = [slot for slot in model.layout.slots if slot.instr.name == "logits"]
    if len(found) != 1:
        raise InputError("the program's last block computes no logits: it can't be scored")
    session = model.session(prompt_length=1)
    nll: list[float] = []
    argmax: list[int] = []
    for first in range(0, len(ids), _POSITIONS):
        some = ids[first : first + _POSITIONS]
        captured = session.capture(some, found[0].number)
        for t, row in enumerate(np.frombuffer(captured, "<f4").reshape(len(some), -1), first):
            wide = row.astype(np.float64)
            argmax.append(int(wide.argmax()))
            if t + 1 < len(ids):
                top = wide.max()
                with np.errstate(invalid="ignore", over="ignore"):
                    nll.append(float(top + np.log(np.exp(wide - top).sum()) - wide[ids[t + 1]]))
    return Score(nll, argmax)


__all__ = ["Score", "score"]
