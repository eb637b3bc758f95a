"""Whole disputes on the contracts: every fault loses there too, and each move leaves the twin's state."""

from __future__ import annotations

import random

import pytest
import toys
from evm import World, world
from test_faults import table_for, tied
from test_unique_root import all_places, preimage

from opml.dispute.cheats import (
    BrokenNodes,
    random_challenger,
    standing_for,
    stubborn_challenger,
    wrong_opening,
)
from opml.dispute.faults import FAULTS, plant
from opml.dispute.gateway import ClaimStatus
from opml.dispute.moves import Reason
from opml.dispute.players import Progress
from opml.vm.isa import OUT_BYTES
from opml.vm.reference import Fault

NEEDS_A_POISONED_MODEL = ("nan", "denormal")


def reason_of(place: World) -> Reason:
    """How the first game was won."""
    events = next(iter(place.arena.game_records.values())).events
    return next(event.reason for event in events if hasattr(event, "reason"))


@pytest.mark.parametrize("fault", [name for name in FAULTS if name not in NEEDS_A_POISONED_MODEL])
def test_a_named_fault_loses_or_is_refused_by_the_contracts(fault: str) -> None:
    place = world("llama").reset()
    cheat = plant(place.scenario, fault)
    told: list[Progress] = []
    submitter = place.submitter(cheat.answer, cheat.strategy)
    submitter._watch = told.append
    if cheat.refused:
        assert submitter.act() == 0
        assert told[0].refused is not None
        return
    assert place.play([submitter, place.challenger()]) == ClaimStatus.REJECTED


@pytest.mark.parametrize("fault", [*NEEDS_A_POISONED_MODEL, "argmax"])
def test_a_fault_in_a_poisoned_model_loses_to_the_contracts(fault: str) -> None:
    table = tied() if fault == "argmax" else table_for(fault)
    place = World(table.model, table.prompt, table.outputs)
    cheat = plant(place.scenario, fault)
    submitter = place.submitter(cheat.answer, cheat.strategy)
    assert place.play([submitter, place.challenger()]) == ClaimStatus.REJECTED
    assert reason_of(place) == Reason.STEP


@pytest.mark.parametrize("name", toys.NAMES)
def test_a_fault_in_any_slot_is_proven_to_the_contracts(name: str) -> None:
    place = world(name)
    layout, rng = place.model.layout, random.Random(name)
    for slot in rng.sample(layout.slots, min(len(layout.slots), 10)):
        positions = [t for t in range(place.last + 1) if layout.exists(slot, t, len(place.prompt))]
        t = rng.choice(positions)
        rows, cols = layout.shape(slot, t)
        xor = 3 << (8 * OUT_BYTES[slot.instr.out] - 3)
        fault = Fault(t, slot.number, rng.randrange(rows * cols), xor)
        trace = place.run(place.honest.tokens, [fault])
        if trace.trace_root() == place.honest.trace_root():
            continue
        place.reset()
        submitter = place.submitter(place.answer(place.own(trace)))
        assert place.play([submitter, place.challenger()]) == ClaimStatus.REJECTED, slot.name
        assert reason_of(place) == Reason.STEP, slot.name


def test_groundless_challenges_lose_on_the_contracts() -> None:
    place = world("every_form")
    strategies = [random_challenger(random.Random(n)) for n in range(3)]
    strategies += [stubborn_challenger, wrong_opening(stubborn_challenger, lambda w: w[:-1] + b"\0")]
    for strategy in strategies:
        place.reset()
        sham = place.challenger(strategy=strategy, grounds=lambda posted, own: True)
        submitter = place.submitter(place.answer(place.own()))
        assert place.play([submitter, sham], rounds=3) == ClaimStatus.FINAL


def test_several_challengers_on_the_contracts() -> None:
    place = world("every_form").reset()
    slot = next(s for s in place.model.layout.slots if s.instr.name == "attn")
    trace = place.run(place.honest.tokens, [Fault(place.last, slot.number, 5, 0x0200)])
    players = [place.submitter(place.answer(place.own(trace)))]
    challengers = [place.challenger(account) for account in (3, 4, 5)]
    assert place.play([*players, *challengers]) == ClaimStatus.REJECTED
    assert len(place.arena.game_records) == 3


def test_changed_preimages_lose_on_the_contracts() -> None:
    place, rng = world("four_letters"), random.Random(1)
    own = place.own()
    for spot in rng.sample(list(all_places(own.shapes)), 12):
        changed = bytearray(preimage(own, spot))
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
        place.reset()
        broken = standing_for(own, BrokenNodes(own, spot, bytes(changed)))
        submitter = place.submitter(place.answer(own))
        submitter.answer = lambda request, broken=broken: place.answer(broken)  # type: ignore[misc]
        submitter._own_of = lambda request, posted, broken=broken: broken  # type: ignore[misc]
        assert place.play([submitter, place.challenger()]) == ClaimStatus.REJECTED, spot
