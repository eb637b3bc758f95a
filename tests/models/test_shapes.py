"""Tiny programs of other families: valid, deterministic, and the same by every way of running them."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from opml.models.model import Model
from opml.models.random_weights import random_weight
from opml.models.shapes import SHAPES, four_letters, gemma3, gpt2, mixture
from opml.models.tiny import TinyLlama, llama_bytes
from opml.ops.quant import dequantise
from opml.vm import engine
from opml.vm.isa import Fold, Format, Out
from opml.vm.reference import Executor

PARAMS = (0x3F000000, 0xFF800000, 5, 0)
"""Temperature 0.5, min-p off, a seed."""


def committed(model: Model) -> set[str]:
    return {slot.instr.name for slot in model.layout.committed}


@pytest.mark.parametrize("name", SHAPES)
def test_shape_runs_at_once_and_one_by_one_to_the_same_root(name: str) -> None:
    model = SHAPES[name]()
    reference = engine.get_engine("reference").load(model.program, model.weights)
    trace = engine.generate(reference, [1, 2], min(5, model.limit - 1), PARAMS, ())
    assert engine.run(reference, trace.tokens, 2, PARAMS).trace_root() == trace.trace_root()


@pytest.mark.parametrize("name", SHAPES)
def test_shape_follows_from_its_seed(name: str) -> None:
    assert SHAPES[name]().id == SHAPES[name]().id


@pytest.mark.parametrize("make", [gemma3, mixture, gpt2, four_letters])
def test_other_seed_gives_another_model(make: object) -> None:
    assert callable(make)
    assert make(seed=1).id != make(seed=2).id


def test_four_letters_commits_to_seven_tensors_of_at_most_four_elements() -> None:
    model = four_letters()
    assert len(model.layout.committed) == 7
    assert all(model.layout.slot_leaves(slot, 3).length <= 4 for slot in model.layout.committed)
    assert model.pieces == (b"a", b"b", b"c", b".")


def test_gemma3_has_a_sliding_window_and_a_whole_one() -> None:
    model = gemma3()
    extents = {slot.instr.k.n for slot in model.layout.slots if slot.instr.name == "score.sum"}
    assert extents == {3, 16}


def test_gpt2_in_floats_has_no_int8_tensor() -> None:
    assert not any(slot.instr.out == Out.I8 for slot in gpt2(Format.F16).layout.slots)
    assert any(slot.instr.fold == Fold.QDOT for slot in gpt2(Format.Q5_1).layout.slots)


def test_mixture_chooses_the_experts_with_the_largest_scores() -> None:
    model = mixture()
    executor = Executor(model.layout, model.weights, 3, PARAMS)
    executor.extend([5, 6, 7])
    slots = {slot.instr.name: slot.number for slot in model.layout.slots if slot.entry == 1}
    scores = np.asarray(executor.registers[slots["router"]][-1], np.uint32).view(np.float32).reshape(-1)
    top = np.asarray(executor.registers[slots["top"]][-1], np.uint32).reshape(-1)
    assert top.tolist() == np.argsort(-scores, kind="stable")[:2].tolist()


@pytest.mark.parametrize("fmt", [f for f in Format if f != Format.I32])
def test_random_weights_lie_within_their_amplitude(fmt: Format) -> None:
    weight = random_weight(3, "x", 4, 64, fmt, 0.5)
    assert len(bytes(weight.data)) == weight.leaves.total_bytes
    units = np.frombuffer(weight.data, np.uint8).reshape(-1, fmt.info.unit_bytes)
    values = np.asarray(dequantise(fmt.info, units), np.uint32).view(np.float32)
    assert np.isfinite(values).all() and 0.2 < np.abs(values).max() <= 0.7


def test_tiny_file_is_the_same_everywhere() -> None:
    digest = hashlib.sha256(llama_bytes(TinyLlama())).hexdigest()
    assert digest == "a3b47b7e37916532f97d4bc8dd5238201eb852b632e1f35ec3dc9f9acccc3fb3"


def test_patches_put_bytes_into_a_tensor() -> None:
    plain = llama_bytes(TinyLlama())
    patched = llama_bytes(TinyLlama(patches={"output_norm.weight": {4: b"\x00\x00\xc0\x7f"}}))
    assert len(plain) == len(patched) and sum(a != b for a, b in zip(plain, patched, strict=True)) <= 4
    assert plain != patched
