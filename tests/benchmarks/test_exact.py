"""The model in binary64 is the engine's, but for what the engine rounds."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from opml.cli.scoring import score
from opml.models import tensor_types
from opml.models.model import load_model
from opml.models.tensor_types import TensorType
from opml.models.tiny import TinyLlama, write_llama
from opml.vm.engine import get_engine

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
IDS = [5, 7, 100, 200, 3, 50, 60, 61, 62, 5, 7, 9]
OURS = "ours: K, V, attention and gated in f16, int8"
HALVES = "f16 alone, where ours has it"


@pytest.fixture(scope="module")
def exact() -> ModuleType:
    sys.path.insert(0, str(BENCHMARKS))
    try:
        spec = importlib.util.spec_from_file_location("exact", BENCHMARKS / "exact.py")
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules["exact"] = module
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(BENCHMARKS))
    return module


def farthest(exact: ModuleType, model: Path, variant: str | None) -> float:
    """The largest distance of a token's likelihood, the native engine's from the one in binary64."""
    loaded = load_model(model)
    ours = score(get_engine("native", 1), loaded.program, loaded.weights, IDS)
    rounded = exact.VARIANTS[variant] if variant else exact.exactly
    wide = exact.Exact(model).score(IDS, rounded)
    return float(np.abs(np.array(ours.nll) - np.array(wide.nll)).max())


@pytest.mark.parametrize("kind", tensor_types.QUANTISED, ids=lambda kind: kind.name)
def test_exact_with_our_roundings_is_the_engine_up_to_f32(
    exact: ModuleType, tmp_path: Path, kind: TensorType
) -> None:
    model = write_llama(tmp_path / "tiny.gguf", TinyLlama(kind))
    assert farthest(exact, model, OURS) < 1e-4 < 0.01 < farthest(exact, model, None)


def test_exact_with_halves_rounded_is_the_engine_on_floats(exact: ModuleType, tmp_path: Path) -> None:
    model = write_llama(
        tmp_path / "tiny.gguf", TinyLlama(tensor_types.F32, embedding=tensor_types.F32, tied=False)
    )
    assert farthest(exact, model, HALVES) < 2e-3
    assert farthest(exact, model, None) < 0.02


def test_log_probabilities_of_a_row_sum_to_one(exact: ModuleType) -> None:
    rows = np.array([[1000.0, 1000.0, -1000.0], [0.0, 1.0, 2.0]])
    assert np.allclose(np.exp(exact.log_probabilities(rows)).sum(axis=1), 1.0)
    assert exact.log_probabilities(rows)[0, 0] == pytest.approx(-np.log(2.0))


def test_int8_of_a_row_of_zeros_is_zeros(exact: ModuleType) -> None:
    for fit in (False, True):
        assert not exact.int8(np.zeros((1, 64)), fit=fit).any()


def test_int8_rounds_within_half_a_step_and_fits_no_worse(exact: ModuleType) -> None:
    x = np.random.default_rng(3).standard_normal((4, 96))
    step = np.abs(x.reshape(-1, 32)).max(axis=1, keepdims=True) / 127
    error = (exact.int8(x) - x).reshape(-1, 32)
    assert (np.abs(error) <= step * 0.50001).all()
    fitted = (exact.int8(x, fit=True) - x).reshape(-1, 32)
    assert ((fitted**2).sum(axis=1) <= (error**2).sum(axis=1) * (1 + 1e-6)).all()
