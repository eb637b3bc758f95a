"""Negative log-likelihoods of given tokens, to hold a model's quality against other programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from opml.errors import InputError
from opml.vm.engine import Engine, run
from opml.vm.isa import Program
from opml.vm.weights import Weights


@dataclass(frozen=True, slots=True)
class Score:
    """`nll[i]` in nats of ids[i + 1] after ids[: i + 1]; `argmax[i]` the likeliest token there."""

    nll: list[float]
    argmax: list[int]


def score(engine: Engine, program: Program, weights: Weights, ids: Sequence[int]) -> Score:
    """Scores a text of token ids, all positions as one batch.

    Logits are virtual in a registered program; here they are committed, so that any engine gives them.
    Raises `InputError` for more tokens than the program has positions.
    """
    if len(ids) > program.limit:
        raise InputError(f"{len(ids):,} tokens, the model has {program.limit:,} positions: shorten the text")
    model = engine.load(_with_logits(program), weights)
    (logits,) = (slot for slot in model.layout.committed if slot.instr.name == "logits")
    assert logits.ordinal is not None
    trace = run(model, [*ids, 0], prompt_length=1)
    nll, argmax = [], []
    for t in range(len(ids)):
        row = np.frombuffer(trace.tensor(t, logits.ordinal), "<f4").astype(np.float64)
        argmax.append(int(row.argmax()))
        if t + 1 < len(ids):
            top = row.max()
            nll.append(float(top + np.log(np.exp(row - top).sum()) - row[ids[t + 1]]))
    return Score(nll, argmax)


def _with_logits(program: Program) -> Program:
    last = program.blocks[program.schedule[-1]]
    code = tuple(replace(i, virtual=False) if i.name == "logits" else i for i in last.code)
    if not any(i.name == "logits" for i in code):
        raise InputError("the program's last block computes no logits: it can't be scored")
    blocks = list(program.blocks)
    blocks[program.schedule[-1]] = replace(last, code=code)
    return replace(program, blocks=tuple(blocks))


__all__ = ["Score", "score"]
