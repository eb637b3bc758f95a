"""Publishing, validating step by step, registering: ids as Python's, and every refusal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache

import pytest
import rlp
from eth_utils.address import to_checksum_address
from hypothesis import given, settings
from hypothesis import strategies as st

from opml.chain.adapter import Revert
from opml.chain.artifacts import load_artifact
from opml.ops.expr import add, const
from opml.vm import cost
from opml.vm.builder import ProgramBuilder, c
from opml.vm.encoding import encode
from opml.vm.isa import Format, Out, Program
from opml.vm.keccak import keccak256
from opml.vm.layout import Layout
from opml.vm.validate import validate
from tests.contracts.revm import Deployed
from tests.contracts.test_validator import Registry, broken_rule
from tests.dispute.toys import every_form

MODEL = every_form(layers=6)
HASH = keccak256(MODEL.encoded)
ENTRIES = len(MODEL.program.schedule)


@cache
def ids() -> Deployed:
    return Deployed("test/IdsHarness")


@pytest.fixture(scope="module")
def shared() -> Registry:
    return Registry()


@pytest.fixture
def registry(shared: Registry) -> Iterator[Registry]:
    before = shared.chain.snapshot()
    yield shared
    shared.chain.revert(before)


def register(registry: Registry, **changes: object) -> bytes:
    fields: dict[str, object] = {
        "programHash": HASH,
        "weightsRoot": MODEL.weights_root,
        "vocabularyRoot": MODEL.vocabulary_root,
        "vocabularySize": MODEL.vocabulary_size,
        "endTokens": list(MODEL.end_tokens),
        "uri": "ipfs://model",
    }
    arguments = list((fields | changes).values())
    receipt = registry.chain.transact(registry.registry, "register", arguments, sender=registry.sender)
    found: bytes = receipt.event("ModelRegistered").args["modelId"]
    return found


def complete(registry: Registry) -> None:
    registry.publish(MODEL.encoded)
    registry.send("validate", HASH, ENTRIES)


def test_the_data_contract_holds_the_program_behind_a_zero_byte(registry: Registry) -> None:
    address = registry.publish(MODEL.encoded)
    assert registry.chain.code_at(address) == b"\0" + MODEL.encoded


def test_publishing_again_changes_nothing(registry: Registry) -> None:
    address = registry.publish(MODEL.encoded)
    assert registry.publish(MODEL.encoded) == address


def test_programs_are_numbered_in_the_order_of_publishing(registry: Registry) -> None:
    """Games find a program's contract by its number; 0 is none."""
    programs = [every_form(layers=layers).encoded for layers in (1, 2, 3, 2)]
    addresses = [registry.publish(encoded) for encoded in programs]
    numbers = [registry.call(registry.registry, "sizes", address)["number"] for address in addresses]  # type: ignore[index]
    assert numbers == [numbers[0], numbers[0] + 1, numbers[0] + 2, numbers[0] + 1]
    assert numbers[0] > 0
    creator = bytes.fromhex(registry.registry.address[2:])
    for address, number in zip(addresses, numbers, strict=True):
        assert address.lower() == "0x" + keccak256(rlp.encode([creator, number]))[12:].hex()


@settings(max_examples=300)
@given(
    st.binary(min_size=20, max_size=20),
    st.one_of(
        st.integers(1, 2**32 - 1), st.sampled_from([1, 0x7F, 0x80, 0xFF, 0x100, 0xFFFF, 1 << 16, 1 << 24])
    ),
)
def test_a_programs_address_follows_from_creator_and_number(creator: bytes, number: int) -> None:
    found = ids().call("program", to_checksum_address(creator), number)
    assert found == "0x" + keccak256(rlp.encode([creator, number]))[12:].hex()


def test_a_model_has_its_id_and_registering_again_changes_nothing(registry: Registry) -> None:
    complete(registry)
    assert register(registry) == MODEL.id
    model = registry.call(registry.registry, "model", MODEL.id)
    assert register(registry, uri="elsewhere") == MODEL.id
    assert registry.call(registry.registry, "model", MODEL.id) == model


def test_validation_goes_on_where_it_stopped(registry: Registry) -> None:
    registry.publish(MODEL.encoded)
    for done in range(1, ENTRIES + 1):
        assert registry.call(registry.registry, "validation", HASH) == (done - 1, ENTRIES)
        registry.send("validate", HASH, 1)
    assert registry.call(registry.registry, "validation", HASH) == (ENTRIES, ENTRIES)
    registry.send("validate", HASH, 1)
    address = registry.call(registry.registry, "programOf", HASH)
    layout = MODEL.layout
    sizes = registry.call(registry.registry, "sizes", address)
    assert sizes["stepGas"] == cost.worst_step(layout).gas  # type: ignore[index]
    assert sizes["always"] == sum(not slot.instr.yields for slot in layout.committed)  # type: ignore[index]


def test_the_gas_of_every_instruction_is_kept(registry: Registry) -> None:
    complete(registry)
    address = registry.call(registry.registry, "programOf", HASH)
    for slot in MODEL.layout.committed:
        kept = registry.call(registry.registry, "stepGas", address, slot.ordinal)
        same = [s for s in MODEL.layout.committed if s.instr is slot.instr]
        assert kept == max(cost.step(MODEL.layout, s).gas for s in same)


def test_end_tokens_are_found(registry: Registry) -> None:
    complete(registry)
    tokens = [n * 17 for n in range(16)]
    model_id = register(registry, endTokens=tokens)
    for token in range(280):
        assert registry.call(registry.registry, "isEndToken", model_id, token) == (token in tokens)


CASES: dict[str, tuple[str, Callable[[Registry], object]]] = {
    "a program too long": ("ProgramTooLong", lambda r: r.send("publish", bytes(24_576))),
    "validating nothing": ("UnknownProgram", lambda r: r.send("validate", HASH, 1)),
    "registering nothing": ("UnknownProgram", register),
    "before validation": ("NotValidated", lambda r: (r.publish(MODEL.encoded), register(r))),
    "no model": ("UnknownModel", lambda r: r.call(r.registry, "model", bytes(32))),
    "sizes of no model": ("UnknownModel", lambda r: r.call(r.registry, "sizesOf", bytes(32))),
    "no end token": ("EndTokenCount", lambda r: (complete(r), register(r, endTokens=[]))),
    "17 end tokens": ("EndTokenCount", lambda r: (complete(r), register(r, endTokens=list(range(17))))),
    "end tokens out of order": (
        "EndTokensNotAscending",
        lambda r: (complete(r), register(r, endTokens=[2, 1])),
    ),
    "an end token twice": ("EndTokensNotAscending", lambda r: (complete(r), register(r, endTokens=[2, 2]))),
    "an end token that is none": (
        "EndTokenOutOfVocabulary",
        lambda r: (complete(r), register(r, endTokens=[300])),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_is_refused(registry: Registry, name: str) -> None:
    error, act = CASES[name]
    with pytest.raises(Revert) as refusal:
        act(registry)
    assert refusal.value.error == error


def test_every_error_of_the_interface_has_a_case() -> None:
    errors = {entry["name"] for entry in load_artifact("IModelRegistry").abi if entry["type"] == "error"}
    # `NotStored` takes a creation that fails, which a program of allowed length never does.
    assert errors == {error for error, _ in CASES.values()} | {"NotStored"}


# Entries that repeat are not validated again --------------------------------------------------------------


def repeating(formats: list[Format]) -> Program:
    """Layers that read the layer before; the formats of their weight are given."""
    model = ProgramBuilder(4)
    w = model.global_weight(4, 32, Format.F32)
    first = model.block("first")
    first.emit("x", 1, 32, w(c))
    layer = model.block("layer")
    weight = layer.weight(1, 32)
    layer.emit("y", 1, 32, add(layer.previous(c), weight(c)))
    last = model.block("last")
    last.emit("sample", 1, 1, const(0), out=Out.I32, yields=True)
    return model.program([(first, []), *[(layer, [fmt]) for fmt in formats], (last, [])])


@pytest.mark.parametrize(
    "formats",
    [
        [Format.F32] * 12,
        [Format.F16] * 4 + [Format.F32] * 4 + [Format.Q8_0] * 4,
        [Format.F32, Format.Q8_0] * 6,
        [Format.F32] * 11 + [Format.Q8_0],
    ],
)
def test_sizes_do_not_depend_on_what_was_passed_over(registry: Registry, formats: list[Format]) -> None:
    program = repeating(formats)
    layout = validate(program)
    found = registry.sizes(encode(program))
    assert found["stepGas"] == cost.worst_step(layout).gas
    assert found["committed"] == len(layout.committed)
    assert found["always"] == len(layout.committed) - 1


def test_passing_over_saves_most_of_the_gas(registry: Registry) -> None:
    long, short = repeating([Format.F32] * 60), repeating([Format.F32] * 4)
    for program in (short, long):
        registry.publish(encode(program))
    few = registry.send("validate", keccak256(encode(short)), 100)
    many = registry.send("validate", keccak256(encode(long)), 100)
    assert many < 2 * few


def test_a_rule_that_breaks_late_is_found(registry: Registry) -> None:
    """The same block again, but now in a place where a virtual chain behind it is one deeper."""
    model = ProgramBuilder(4)
    block = model.block("block")
    start = model.block("start")
    start.emit("x", 1, 4, const(1.0))
    previous = block.previous
    block.emit("y", 1, 4, add(previous(c), const(1.0)), virtual=True)
    last = model.block("last")
    last.emit("sample", 1, 1, const(0), out=Out.I32, yields=True)
    for depth, rule in ((8, 0), (9, 11), (12, 11)):
        program = model.program([(start, []), *[(block, [])] * depth, (last, [])])
        assert Layout(program) is not None
        assert broken_rule(registry, program) == rule


def test_a_block_that_yields_at_its_end_cannot_be_repeated(registry: Registry) -> None:
    model = ProgramBuilder(4)
    block = model.block("block")
    block.emit("x", 1, 4, const(1.0))
    block.emit("sample", 1, 1, const(0), out=Out.I32, yields=True)
    assert broken_rule(registry, model.program([(block, [])])) == 0
    for times in (2, 3, 5):
        assert broken_rule(registry, model.program([(block, [])] * times)) == 7
