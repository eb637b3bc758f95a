"""The registry's validator and cost of a step against their Python twins: same rules, same numbers."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator

import pytest

from opml.chain.adapter import Contract, Revert
from opml.chain.artifacts import load_artifact
from opml.chain.embedded import EmbeddedChain
from opml.dispute.ledger import Sizes
from opml.errors import ProgramError
from opml.ops.expr import const
from opml.vm import cost
from opml.vm.encoding import decode, encode
from opml.vm.isa import Program
from opml.vm.keccak import keccak256
from opml.vm.layout import Layout
from opml.vm.validate import validate
from tests.vm import test_cost_random
from tests.vm.programs import MODELS
from tests.vm.test_validate import BAD, GOOD, bench


class Registry:
    """Validator, cost and registry on a chain of their own, undone after each test."""

    def __init__(self) -> None:
        self.chain = EmbeddedChain()
        self.sender = self.chain.accounts[0]
        deploy = self.chain.deploy
        self.validator, _ = deploy(load_artifact("ProgramValidator"), sender=self.sender)
        self.cost, _ = deploy(load_artifact("StepCost"), sender=self.sender)
        self.registry, _ = deploy(
            load_artifact("ModelRegistry"), [self.validator.address, self.cost.address], sender=self.sender
        )

    def send(self, fn: str, *args: object) -> int:
        return self.chain.transact(self.registry, fn, list(args), sender=self.sender).gas_used

    def call(self, contract: Contract, fn: str, *args: object) -> object:
        return self.chain.call(contract, fn, list(args))

    def publish(self, encoded: bytes) -> str:
        """Data contract of a program."""
        self.send("publish", encoded)
        return str(self.call(self.registry, "programOf", keccak256(encoded)))

    def sizes(self, encoded: bytes) -> dict[str, int]:
        """Sizes of a program, published and validated."""
        address = self.publish(encoded)
        self.send("validate", keccak256(encoded), 1 << 16)
        found: dict[str, int] = self.call(self.registry, "sizes", address)  # type: ignore[assignment]
        return found


@pytest.fixture(scope="module")
def shared() -> Registry:
    return Registry()


@pytest.fixture
def registry(shared: Registry) -> Iterator[Registry]:
    before = shared.chain.snapshot()
    yield shared
    shared.chain.revert(before)


def broken_rule(registry: Registry, program: Program) -> int:
    """Number of the rule for which a program is refused; 0 where it is accepted."""
    try:
        registry.sizes(encode(program))
    except Revert as refusal:
        if refusal.error == "StepTooLarge":
            return 13
        assert refusal.error == "RuleBroken", refusal
        return int(refusal.values["rule"])
    return 0


@pytest.mark.parametrize("name", GOOD)
def test_accepts_what_python_accepts(registry: Registry, name: str) -> None:
    z = bench()
    GOOD[name](z)
    assert broken_rule(registry, z.done()) == 0


@pytest.mark.parametrize("name", BAD)
def test_refuses_by_the_same_rule(registry: Registry, name: str) -> None:
    rule, _, write = BAD[name]
    z = bench()
    write(z)
    if name == "reads after yielding":
        z.emit(1, 1, const(1.0))
    assert broken_rule(registry, z.done()) == rule


def test_encodings_that_do_not_decode_are_refused(registry: Registry) -> None:
    encoded = encode(MODELS["moe"]().program)
    rng = random.Random(1)
    changed = [encoded[:-1], encoded + b"\0", b"", encoded[:20], encoded[:50]]
    for place in rng.sample(range(len(encoded)), 100) + list(range(40)):
        flipped = bytearray(encoded)
        flipped[place] ^= 1 << rng.randrange(8)
        changed.append(bytes(flipped))
    for data in changed:
        try:
            decode(data)
            decodes = True
        except ProgramError:
            decodes = False
        try:
            registry.call(registry.validator, "checkEncoding", data)
            accepted = True
        except Revert as refusal:
            assert (refusal.error, refusal.values["rule"]) == ("RuleBroken", 1)
            accepted = False
        assert accepted == decodes, data.hex()


@pytest.mark.parametrize("name", MODELS)
def test_sizes_of_a_model_equal_python(registry: Registry, name: str) -> None:
    program = MODELS[name]().program
    layout = validate(program)
    found = registry.sizes(encode(program))
    expected = Sizes.of(layout, cost.worst_step(layout).gas)
    assert (found["committed"], found["always"]) == (expected.committed, expected.always)
    assert (found["tensorDepth"], found["entries"]) == (expected.tensor_depth, expected.entries)
    assert (found["limit"], found["stepGas"], found["totals"]) == (
        expected.limit,
        expected.step_gas,
        expected.totals,
    )


@pytest.mark.parametrize("name", MODELS)
def test_cost_of_every_step_equals_python(registry: Registry, name: str) -> None:
    program = MODELS[name]().program
    layout = Layout(program)
    address = registry.publish(encode(program))
    for slot in layout.committed:
        worst = cost.step(layout, slot)
        assert registry.call(registry.cost, "step", address, slot.ordinal) == (worst.gas, worst.bytes)


@pytest.mark.parametrize("seed", range(4))
def test_random_programs_agree(registry: Registry, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Program] = []

    def keep(program: Program) -> Layout:
        made.append(program)
        return validate(program)

    monkeypatch.setattr(test_cost_random, "validate", keep)
    rng = random.Random(seed)
    while len(made) < 25:
        test_cost_random.random_layout(rng)
    for program in made:
        assert broken_rule(registry, program) == python_rule(program)
        layout = Layout(program)
        address = registry.publish(encode(program))
        if python_rule(program) in (0, 13):
            for slot in layout.committed:
                worst = cost.step(layout, slot)
                assert registry.call(registry.cost, "step", address, slot.ordinal) == (worst.gas, worst.bytes)


def python_rule(program: Program) -> int:
    """Number of the rule for which Python refuses a program, 0 where it accepts it."""
    try:
        validate(program)
    except ProgramError as refusal:
        found = re.search(r"rule (\d+)", str(refusal))
        assert found is not None
        return int(found[1])
    return 0
