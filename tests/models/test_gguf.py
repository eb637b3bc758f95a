"""The GGUF reader against the `gguf` package, and against files that lie."""

from __future__ import annotations

import struct
import tracemalloc
from pathlib import Path

import gguf
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from opml.errors import ModelFileError
from opml.models import tensor_types as tt
from opml.models.gguf import GgufFile
from opml.models.gguf_writer import StoredTensor, Typed, encode

METADATA: dict[str, object] = {
    "general.architecture": "llama",
    "general.alignment": 32,
    "a.flag": True,
    "a.real": 0.5,
    "a.wide": Typed("u64", 2**40),
    "a.small": Typed("i8", -3),
    "a.texts": ["", "æøå", "x" * 300],
    "a.integers": [1, -2, 3],
    "a.reals": Typed("f64", [0.25, 2.0]),
    "a.flags": [True, False],
    "a.empty": Typed("string", []),
}
TENSORS = [
    StoredTensor(f"t.{kind.name}", (3, 64), kind, bytes(n % 251 for n in range(kind.byte_size(192))))
    for kind in tt.SUPPORTED
] + [StoredTensor("vector", (5,), tt.F32, bytes(20))]
FILE = encode(METADATA, TENSORS)


def load(tmp_path: Path, raw: bytes) -> GgufFile:
    path = tmp_path / "model.gguf"
    path.write_bytes(raw)
    return GgufFile(path)


def refused(tmp_path: Path, raw: bytes, rule: str) -> None:
    with pytest.raises(ModelFileError, match=rule) as caught:
        load(tmp_path, raw)
    message = str(caught.value)
    assert "model.gguf" in message and ";" in message


def read_everything(file: GgufFile) -> dict[str, object]:
    """All values by the getter that fits, and all tensor bytes."""
    seen: dict[str, object] = {"version": file.version}
    for key in file:
        for get in (file.integer, file.real, file.text, file.texts, file.integers, file.reals):
            try:
                value = get(key)
            except ModelFileError:
                continue
            seen[f"{key}:{get.__name__}"] = value.tobytes() if isinstance(value, np.ndarray) else value
        try:
            seen[f"{key}:flag"] = file.flag(key, False)
        except ModelFileError:
            continue
    for name, tensor in file.tensors.items():
        seen[name] = (tensor.shape, tensor.type.name, tensor.data.tobytes())
    return seen


def test_values_equal_those_of_the_gguf_package(tmp_path: Path) -> None:
    file = load(tmp_path, FILE)
    oracle = gguf.GGUFReader(file.path)
    for key in METADATA:
        expected = oracle.fields[key].contents()
        match expected:
            case bool():
                assert file.flag(key, not expected) == expected
            case int():
                assert file.integer(key, least=-100) == expected
            case float():
                assert file.real(key) == expected
            case str():
                assert file.text(key) == expected
            case [str(), *_] | []:
                assert file.texts(key) == expected
            case [bool(), *_]:
                assert file.is_array(key)
            case [int(), *_]:
                assert file.integers(key).tolist() == expected
            case _:
                assert file.reals(key).tolist() == expected


def test_tensors_equal_those_of_the_gguf_package(tmp_path: Path) -> None:
    file = load(tmp_path, FILE)
    oracle = {t.name: t for t in gguf.GGUFReader(file.path).tensors}
    assert list(file.tensors) == list(oracle)
    for name, tensor in file.tensors.items():
        assert list(tensor.shape) == [int(n) for n in oracle[name].shape][::-1]
        assert tensor.type.name == oracle[name].tensor_type.name
        assert tensor.data.tobytes() == oracle[name].data.tobytes()
        assert not tensor.data.flags.writeable


def test_type_table_equals_the_gguf_package() -> None:
    for code, kind in tt.BY_CODE.items():
        theirs = gguf.GGMLQuantizationType(code)
        assert (theirs.name, gguf.GGML_QUANT_SIZES[theirs]) == (kind.name, (kind.block, kind.block_bytes))


def test_version_2_is_read(tmp_path: Path) -> None:
    assert load(tmp_path, encode(METADATA, TENSORS, version=2)).version == 2


@pytest.mark.parametrize(
    ("raw", "rule"),
    [
        (b"", "empty"),
        (b"GGUF", "header needs 24 bytes"),
        (b"ggml" + bytes(40), "starts with b'ggml'"),
        (b"GGUF" + struct.pack("<IQQ", 1, 0, 0), "GGUF version 1"),
        (b"GGUF" + struct.pack(">IQQ", 3, 0, 0), "3, big-endian"),
        (b"GGUF" + struct.pack("<IQQ", 3, 2**60, 0), "claims 1152921504606846976 tensors"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 2**63), "claims 9223372036854775808 metadata keys"),
        (b"GGUF" + struct.pack("<IQQ", 3, 60_000, 0), "more than the 24 bytes"),
        (FILE + bytes(32), "bytes follow vector"),
        (FILE[:-40], "truncated"),
    ],
)
def test_container_rules_refuse(tmp_path: Path, raw: bytes, rule: str) -> None:
    refused(tmp_path, raw, rule)


def with_value(raw: bytes) -> bytes:
    """A file without tensors whose only key has the encoded value `raw`."""
    return b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 3) + b"key" + raw


@pytest.mark.parametrize(
    ("raw", "rule"),
    [
        (struct.pack("<IQ", 8, 2**62), "runs past the end"),
        (struct.pack("<IIQ", 9, 8, 2**61), "claims 2305843009213693952 strings"),
        (struct.pack("<IIQQ", 9, 8, 1, 2**64 - 8), "runs past the end"),
        (struct.pack("<IIQ", 9, 4, 2**62), "needs 18446744073709551616 bytes"),
        (struct.pack("<IIQIQ", 9, 9, 1, 4, 0), "array of arrays"),
        (struct.pack("<I", 13) + bytes(8), "value type 13"),
        (struct.pack("<IIQ", 9, 77, 0), "value type 77"),
        (struct.pack("<IB", 7, 2), "bool other than 0 and 1"),
        (struct.pack("<I", 10), "needs 8 bytes"),
    ],
)
def test_value_rules_refuse(tmp_path: Path, raw: bytes, rule: str) -> None:
    refused(tmp_path, with_value(raw), rule)


def test_key_that_occurs_twice_is_refused(tmp_path: Path) -> None:
    one = struct.pack("<Q", 3) + b"key" + struct.pack("<II", 4, 7)
    refused(tmp_path, b"GGUF" + struct.pack("<IQQ", 3, 0, 2) + one + one, "'key' occurs twice")


def test_key_with_control_characters_is_refused(tmp_path: Path) -> None:
    raw = with_value(struct.pack("<II", 4, 7)).replace(b"key", b"\x1b[m")
    refused(tmp_path, raw, "printable")


@pytest.mark.parametrize("alignment", [0, 4, 24, 2**21])
def test_alignment_other_than_a_small_power_of_two_is_refused(tmp_path: Path, alignment: int) -> None:
    refused(tmp_path, encode({"general.alignment": alignment}, []), "general.alignment")


def with_tensors(*infos: tuple[str, tuple[int, ...], int, int], data: int = 256) -> bytes:
    """A file of tensor infos (name, GGUF-ordered sizes, type, offset) and `data` bytes."""
    raw = b"GGUF" + struct.pack("<IQQ", 3, len(infos), 0)
    for name, sizes, kind, offset in infos:
        raw += (
            struct.pack("<Q", len(name)) + name.encode() + struct.pack(f"<I{len(sizes)}Q", len(sizes), *sizes)
        )
        raw += struct.pack("<IQ", kind, offset)
    return raw + bytes(-len(raw) % 32) + bytes(data)


@pytest.mark.parametrize(
    ("raw", "rule"),
    [
        (with_tensors(("a", (8, 4), 0, 0), ("a", (8, 4), 0, 128)), "tensor a occurs twice"),
        (with_tensors(("a", (8, 4), 0, 0), ("b", (8, 4), 0, 96)), "b at offset 96 overlaps a"),
        (with_tensors(("a", (8, 4), 0, 0), ("b", (8, 4), 0, 0)), "overlaps"),
        (with_tensors(("a", (8, 4), 0, 0), ("b", (8, 4), 0, 130)), "multiple of 32"),
        (with_tensors(("a", (8, 4), 0, 0), ("b", (8, 2), 0, 192)), "expected 128, right after a"),
        (with_tensors(("a", (8, 4), 0, 0), ("b", (8, 5), 0, 128)), "truncated"),
        (with_tensors(("a", (8, 4), 0, 2**63)), "expected 0, right after the header"),
        (with_tensors(("a", (2**32, 2**32), 0, 0)), "elements"),
        (with_tensors(("a", (0, 4), 0, 0)), "elements"),
        (with_tensors(("a", (8, 1, 1, 1, 1), 0, 0)), "5 dimensions"),
        (with_tensors(("a", (), 0, 0)), "0 dimensions"),
        (with_tensors(("a", (48, 1), 2, 0)), "48 columns, not a multiple of Q4_0's 32"),
        (with_tensors(("a", (8, 1), 99, 0)), "type 99, which is unknown; supported are F32"),
        (with_tensors(("", (8, 1), 0, 0)), "0 bytes long"),
    ],
)
def test_tensor_rules_refuse(tmp_path: Path, raw: bytes, rule: str) -> None:
    refused(tmp_path, raw, rule)


def test_unsupported_types_are_all_named_in_one_error(tmp_path: Path) -> None:
    file = load(tmp_path, with_tensors(("a", (256,), 12, 0), ("b", (256,), 14, 160), data=384))
    with pytest.raises(
        ModelFileError, match=r"architecture mamba and tensor type Q4_K, Q6_K .*F32, F16, BF16"
    ):
        file.require_tensor_types("architecture mamba")


@pytest.mark.parametrize(
    ("call", "rule"),
    [
        (lambda f: f.integer("a.flag"), "has type bool, expected an integer"),
        (lambda f: f.integer("a.real"), "has type f32"),
        (lambda f: f.integer("a.small"), "is -3, expected 0 to"),
        (lambda f: f.integer("none"), "none is missing"),
        (lambda f: f.real("a.texts"), "array of string, expected a number"),
        (lambda f: f.text("a.real"), "expected a string"),
        (lambda f: f.texts("a.integers"), "expected an array of strings"),
        (lambda f: f.integers("a.reals"), "expected an array of integers"),
        (lambda f: f.integers("a.real"), "expected an array"),
        (lambda f: f.reals("a.texts"), "expected an array of numbers"),
        (lambda f: f.flag("a.real", True), "expected a bool"),
    ],
)
def test_wrong_type_is_refused_by_the_getter(tmp_path: Path, call: object, rule: str) -> None:
    assert callable(call)
    with pytest.raises(ModelFileError, match=rule):
        call(load(tmp_path, FILE))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_real_that_is_not_finite_is_refused(tmp_path: Path, value: float) -> None:
    file = load(tmp_path, encode({"x": value, "y": [1.0, value]}, []))
    with pytest.raises(ModelFileError, match="finite"):
        file.real("x")
    with pytest.raises(ModelFileError, match="finite"):
        file.reals("y")


def test_text_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    file = load(tmp_path, encode({"x": b"\xff", "y": ["a", b"\xff"]}, []))
    with pytest.raises(ModelFileError, match="x is not valid UTF-8"):
        file.text("x")
    with pytest.raises(ModelFileError, match=r"y\[1\] is not valid UTF-8"):
        file.texts("y")


@pytest.mark.parametrize(
    "texts",
    [
        [""],
        ["", ""],
        ["", "a", ""],
        ["é"] * 9,
        ["\0"],
        ["a\0", "b"],
        ["\0" * 8],
        ["a", "\0" * 16, ""],
        ["x" * 300],
    ],
)
def test_texts_are_read_as_they_were_written(tmp_path: Path, texts: list[str]) -> None:
    assert load(tmp_path, encode({"y": texts}, [])).texts("y") == texts


@given(st.lists(st.text(st.sampled_from("\0aé€𝄞")), min_size=1))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_any_texts_are_read_as_they_were_written(tmp_path: Path, texts: list[str]) -> None:
    assert load(tmp_path, encode({"y": texts}, [])).texts("y") == texts


@pytest.mark.parametrize("texts", [[b"\xc3", b"\xa9"], [b"a\xe2\x82", b"\xac"], [b"\xa9"], [b"\xc3\0\xa9"]])
def test_character_that_is_cut_is_refused(tmp_path: Path, texts: list[bytes]) -> None:
    file = load(tmp_path, encode({"y": texts}, []))
    for read in (file.texts, file.require_texts):
        with pytest.raises(ModelFileError, match=r"y\[0\] is not valid UTF-8"):
            read("y")


@pytest.mark.parametrize("name", ["missing.gguf", "."])
def test_path_that_is_no_file_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ModelFileError, match="cannot be opened"):
        GgufFile(tmp_path / name)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_damaged_file_is_read_or_refused_without_large_allocations(
    tmp_path: Path, data: st.DataObject
) -> None:
    raw = bytearray(FILE)
    for _ in range(data.draw(st.integers(0, 3))):
        at = data.draw(st.integers(0, len(raw) - 1))
        raw[at] = data.draw(st.integers(0, 255))
    size = data.draw(st.one_of(st.just(len(raw)), st.integers(0, len(raw))))
    tracemalloc.start()
    try:
        read_everything(load(tmp_path, bytes(raw[:size])))
    except ModelFileError:
        assert bytes(raw[:size]) != FILE
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2_000_000


def test_every_truncation_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    for size in range(0, len(FILE) - 12, 7):  # the last 12 bytes pad the last tensor
        path.write_bytes(FILE[:size])
        with pytest.raises(ModelFileError):
            GgufFile(path)


def test_every_byte_of_the_header_flipped_is_read_or_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    header = len(FILE) - sum(-(-len(t.data) // 32) * 32 for t in TENSORS)
    for at in range(header):
        for mask in (0x01, 0x80, 0xFF):
            raw = bytearray(FILE)
            raw[at] ^= mask
            path.write_bytes(raw)
            try:
                read_everything(GgufFile(path))
            except ModelFileError:
                continue
