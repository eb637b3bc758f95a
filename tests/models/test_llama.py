"""The LLaMA compiler: its programs compute the model, and what it can't compile is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from plain_llama import PlainLlama

from opml.errors import InputError, ModelFileError
from opml.models import tensor_types as tt
from opml.models.llama import Shape, compile_llama, write_program
from opml.models.model import Model, load_model
from opml.models.tiny import TinyLlama, llama_bytes, write_llama
from opml.vm import reference
from opml.vm.encoding import decode, encode
from opml.vm.isa import Fold, Format
from opml.vm.validate import validate
from opml.vm.weights import Weight

GREEDY = (0, 0xFF800000, 0, 0)  # temperature 0, min-p off, seed 0
TOKENS = [10, 20, 30, 3, 4, 5, 250]


def logits(model: Model, tokens: list[int]) -> np.ndarray:
    """The logits of the last position as the program computes them (float64)."""
    executor = reference.Executor(model.layout, model.weights, len(tokens), GREEDY)
    executor.extend(tokens)
    slot = next(s for s in model.layout.slots if s.instr.name == "logits")
    registers = executor.registers[slot.number][-1]
    assert registers is not None
    return np.asarray(registers, np.uint32).view(np.float32).reshape(-1).astype(np.float64)


def close(path: Path, tolerance: float) -> None:
    ours = logits(load_model(path), TOKENS)
    expected = PlainLlama(path).logits(TOKENS)[-1]
    assert np.abs(ours - expected).max() < tolerance * np.abs(expected).max()


@pytest.mark.parametrize("kind", tt.FLOATS, ids=lambda kind: kind.name)
def test_float_weights_give_the_logits_of_the_plain_forward_pass(tmp_path: Path, kind: tt.TensorType) -> None:
    close(write_llama(tmp_path / "tiny.gguf", TinyLlama(kind, embedding=kind)), 2e-3)


@pytest.mark.parametrize("kind", tt.QUANTISED, ids=lambda kind: kind.name)
def test_quantised_weights_give_nearly_the_same_logits(tmp_path: Path, kind: tt.TensorType) -> None:
    close(write_llama(tmp_path / "tiny.gguf", TinyLlama(kind, embedding=kind)), 5e-2)


@pytest.mark.parametrize(
    "tiny",
    [
        TinyLlama(tt.F32, embedding=tt.F32, tied=False),
        TinyLlama(tt.F32, embedding=tt.F32, factors=True, rope_base=500000.0),
        TinyLlama(
            tt.F32,
            embedding=tt.F32,
            metadata={"llama.rope.scaling.type": "linear", "llama.rope.scaling.factor": 4.0},
        ),
        TinyLlama(tt.F32, embedding=tt.F32, groups=4),
        TinyLlama(tt.F32, embedding=tt.F32, groups=1, layers=1),
    ],
    ids=["separate output", "rotary factors", "linear scaling", "no shared heads", "one shared head"],
)
def test_variants_give_the_logits_of_the_plain_forward_pass(tmp_path: Path, tiny: TinyLlama) -> None:
    close(write_llama(tmp_path / "tiny.gguf", tiny), 2e-3)


def test_formats_mixed_within_and_between_layers_are_compiled(tmp_path: Path) -> None:
    kinds = {
        "attn_v": tt.F16,
        "blk.0.ffn_gate.weight": tt.F32,
        "blk.1.ffn_down.weight": tt.Q8_0,
        "blk.1.attn_q.weight": tt.BF16,
    }
    path = write_llama(tmp_path / "tiny.gguf", TinyLlama(tt.Q5_1, kinds=kinds, embedding=tt.F16))
    model = load_model(path)
    assert model.program.schedule == (0, 1, 2, 3)  # one block for each layer's combination
    assert Format.F16 in model.program.formats[1] and Format.Q8_0 in model.program.formats[2]
    close(path, 5e-2)


def test_layers_that_differ_in_format_alone_share_a_block(tmp_path: Path) -> None:
    tiny = TinyLlama(tt.Q4_0, kinds={"blk.1.ffn_down.weight": tt.Q8_0})
    assert load_model(write_llama(tmp_path / "tiny.gguf", tiny)).program.schedule == (0, 1, 1, 2)


def test_program_is_valid_and_survives_its_encoding(tmp_path: Path) -> None:
    program = compile_llama(load_model(write_llama(tmp_path / "tiny.gguf")).file).program  # type: ignore[arg-type]
    validate(program)
    assert decode(encode(program)) == program


def test_limit_is_the_one_asked_for_within_the_context(tmp_path: Path) -> None:
    path = write_llama(tmp_path / "tiny.gguf")
    assert load_model(path).limit == 64
    assert load_model(path, 16).limit == 16
    for limit in (0, 65):
        with pytest.raises(InputError, match=f"a limit of {limit} positions, expected 1 to 64; choose one"):
            load_model(path, limit)


def test_limit_changes_no_bit_of_what_is_computed(tmp_path: Path) -> None:
    path = write_llama(tmp_path / "tiny.gguf")
    assert np.array_equal(logits(load_model(path, 16), TOKENS), logits(load_model(path, 64), TOKENS))


def test_long_folds_are_dissected_and_give_the_same_logits(tmp_path: Path) -> None:
    kinds = {"ffn_down": tt.Q8_0}
    tiny = TinyLlama(tt.F32, kinds=kinds, embedding=tt.F32, layers=1, dim=544, hidden=2080, groups=1)
    path = write_llama(tmp_path / "tiny.gguf", tiny)
    terms = {slot.instr.name: slot.instr.terms for slot in load_model(path).layout.slots}
    assert (terms["attn_norm.rms"], terms["q"], terms["ffn_down"]) == (256, 256, 1024)
    close(path, 5e-2)


@pytest.mark.parametrize("fmt", [Format.Q4_0, Format.F16], ids=lambda fmt: fmt.name)
@pytest.mark.parametrize(
    ("dim", "hidden", "groups", "vocabulary"), [(2048, 8192, 8, 128256), (4096, 11008, 32, 32000)]
)
def test_programs_of_large_models_are_valid(
    fmt: Format, dim: int, hidden: int, groups: int, vocabulary: int
) -> None:
    shape = Shape(2, dim, hidden, 32, groups, dim // 32, dim // 32, vocabulary, 1e-5)
    narrow = groups * dim // 32

    def weight(rows: int, cols: int, fmt: Format = fmt) -> Weight:
        return Weight(rows, cols, fmt, b"")  # the shape alone matters here

    gain, table = weight(1, dim, Format.F32), weight(8192, dim // 32, Format.F32)
    attn = [gain, weight(dim, dim), weight(narrow, dim), weight(narrow, dim), weight(dim, dim)]
    layer = [*attn, gain, weight(hidden, dim), weight(hidden, dim), weight(dim, hidden)]
    program = write_program(shape, 8192, [weight(vocabulary, dim), gain, table, table], [layer] * 2)
    validate(program)


def changed(tmp_path: Path, old: bytes, new: bytes, tiny: TinyLlama) -> Path:
    """The file with bytes of the same length replaced."""
    raw = llama_bytes(tiny)
    assert len(old) == len(new) and old in raw
    path = tmp_path / "changed.gguf"
    path.write_bytes(raw.replace(old, new))
    return path


@pytest.mark.parametrize(
    ("old", "new", "rule"),
    [
        (b"blk.1.attn_v.weight", b"blk.1.attn_z.weight", "blk.1.attn_v.weight is missing"),
        (b"output_norm.weight", b"output_morn.weight", "output_norm.weight is missing"),
        (b"llama.block_count", b"llama.clock_bount", "llama.block_count is missing"),
    ],
)
def test_missing_parts_are_named(tmp_path: Path, old: bytes, new: bytes, rule: str) -> None:
    with pytest.raises(ModelFileError, match=rule):
        load_model(changed(tmp_path, old, new, TinyLlama()))


@pytest.mark.parametrize(
    ("metadata", "rule"),
    [
        (
            {"general.architecture": "gemma3"},
            "architecture gemma3 not supported; supported .* llama .* F32",
        ),
        ({"llama.block_count": 1}, "18|tensors have no place in the architecture llama: blk.1.attn_k"),
        ({"llama.block_count": 2**31}, "block_count is 2147483648, expected 1 to"),
        ({"llama.embedding_length": 128}, r"has shape \(64,\), expected \(128,\)"),
        ({"llama.attention.head_count": 3}, "an embedding of 64 does not divide into 3 heads"),
        ({"llama.attention.head_count_kv": 3}, "4 heads can't share 3"),
        ({"llama.attention.head_count": "4"}, "has type string, expected an integer"),
        ({"llama.attention.key_length": 32}, "values of different lengths|has shape"),
        ({"llama.attention.layer_norm_rms_epsilon": 0.0}, "epsilon is 0.0"),
        ({"llama.rope.dimension_count": 7}, "rotary positions on 7 of 16"),
        ({"llama.rope.freq_base": 0.5}, "freq_base is 0.5"),
        ({"llama.rope.scaling.type": "yarn"}, "'yarn'; supported are none and linear"),
        ({"llama.expert_count": 8}, "mixture of experts"),
        (
            {"tokenizer.ggml.tokens": ["<|im_end|>", "a", "b"], "tokenizer.ggml.token_type": [3, 1, 1]},
            "vocabulary has 3 tokens, expected 300",
        ),
    ],
)
def test_unsupported_or_contradictory_metadata_is_refused(
    tmp_path: Path, metadata: dict[str, object], rule: str
) -> None:
    path = write_llama(tmp_path / "tiny.gguf", replace(TinyLlama(), metadata=metadata))
    with pytest.raises(ModelFileError, match=rule):
        load_model(path)


@pytest.mark.model
def test_smollm2_commits_to_half_a_megabyte_a_position_at_any_context(smollm2: Path) -> None:
    model = load_model(smollm2)
    assert len(model.encoded) < 5000
    for t in (0, 255, 8191):
        committed = sum(
            model.layout.slot_leaves(slot, t).total_bytes
            for slot in model.layout.committed
            if not slot.instr.yields
        )
        assert committed <= 500_000


@pytest.mark.model
def test_smollm2_uses_int8_products_for_every_matrix(smollm2: Path) -> None:
    model = load_model(smollm2)
    dots = {slot.instr.name for slot in model.layout.slots if slot.instr.fold == Fold.DOT}
    assert not {"q", "k", "v", "attn_output", "ffn_gated", "ffn_down", "logits"} & dots
