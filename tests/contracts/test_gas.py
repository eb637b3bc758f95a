"""The flat gas figures are the measured gas: what a move is paid for is what it costs."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest

from opml.chain.adapter import Receipt
from opml.chain.artifacts import load_artifact
from opml.dispute import ledger
from opml.dispute.cursor import span
from opml.dispute.types import Phase
from opml.models.model import Model
from opml.vm.trace import Cursor, Stage
from tests.contracts.oracle import answer, ask_for, deliver, over
from tests.contracts.posted import Posted, Spot
from tests.contracts.world import TERMS, World
from tests.dispute.toys import every_form

SLACK = 0.08
"""How far a figure may lie above the measured gas; an account that was never credited costs 17,100 more."""
PAID_BEFORE = 17_100
LAST = 16
"""The last position of a trace of 17, whose root has 32 children."""


@cache
def built(layers: int) -> World:
    return World(deep(layers), prompt=range(1, 16), outputs=3)


@cache
def deep(layers: int) -> Model:
    """Room for a prompt of many positions, so that reveals have 32 children."""
    return every_form(limit=32, layers=layers)


@pytest.fixture(params=[1, 6])
def world(request: pytest.FixtureRequest) -> World:
    found = built(request.param)
    found.restore()
    return found


def last(world: World, name: str) -> int:
    slots = world.model.layout.committed
    return next(s.ordinal for s in reversed(slots) if s.instr.name == name and s.ordinal is not None)


def holds(figure: int, receipt: Receipt, credits: int = 0) -> None:
    """The figure covers the gas, and is not much above it."""
    assert receipt.gas_used <= figure, (receipt.gas_used, figure)
    most = (receipt.gas_used + PAID_BEFORE * credits) * (1 + SLACK)
    assert figure <= most, (receipt.gas_used, figure)


def entries(world: World) -> int:
    return ledger.ENTRY * len(world.model.program.schedule)


def test_figures_are_the_same_on_both_sides() -> None:
    world = built(1)
    layout = world.model.layout
    worst = world.call(world.registry, "sizesOf", world.model.id)[1]["stepGas"]
    sizes = ledger.Sizes.of(layout, worst)
    assert world.bond == ledger.challenger_bond(sizes, world.terms)
    for answer_bytes in (0, 100):
        bond = world.call(world.game, "submitterBond", world.model.id, answer_bytes)
        assert bond == ledger.submitter_bond(sizes, world.terms, answer_bytes)


def test_a_descent(world: World) -> None:
    claim = world.claim()
    spot = Spot(LAST, last(world, "ffn_up"), 5)
    key, receipt = claim.open()
    holds(ledger.OPEN + ledger.DOCKET, receipt)
    _, receipt = claim.open(who="bob")
    holds(ledger.OPEN, receipt)
    first, stage = True, 0
    while (phase := claim.phase(key)) != Phase.TOTALS:
        before = claim.state(key)
        (receipt,) = claim.descend_once(key, spot)
        state = claim.state(key)
        if phase == Phase.REVEAL:
            children = 1 << span(before["height"], world.terms.fanout)
            figure = ledger.REVEAL_ROOT if first else ledger.REVEAL
            holds(ledger.children(figure, children), receipt)
            first = False
        elif phase == Phase.PICK:
            crossed = state["stage"] - stage
            stage = state["stage"]
            inner = entries(world) if crossed and stage == Stage.TENSOR else 0
            holds(ledger.PICK + crossed * ledger.CROSS + inner, receipt)
        elif phase == Phase.LEAF:
            holds(ledger.leaf(1200, len(world.model.program.schedule)), receipt)
        else:
            holds(ledger.ELEMENT + naming(world, 1024, 1), receipt)


def test_a_reveal_of_many_children_is_paid_at_the_floor_of_its_calldata() -> None:
    world = World(deep(6), prompt=range(1, 16), outputs=3, terms=replace(TERMS, fanout=8))
    claim = world.claim()
    key, _ = claim.open()
    claim.reveal(key)
    claim.pick_towards(key, Spot(LAST, last(world, "ffn_up"), 5))
    children = 1 << claim.state(key)["height"]
    assert children == 128
    floor = 21_000 + ledger.BYTE * 32 * children
    assert floor > ledger.REVEAL + ledger.REVEAL_CHILD * children
    holds(ledger.children(ledger.REVEAL, children), claim.reveal(key))


def naming(world: World, size: int, siblings: int) -> int:
    return ledger.NAME + ledger.INPUT_BYTE * size + ledger.SIBLING * siblings + entries(world)


@pytest.mark.parametrize(("name", "size"), [("wide", 1024), ("embed", 256)])
def test_opening_a_leaf(world: World, name: str, size: int) -> None:
    claim = world.claim()
    spot = Spot(LAST, last(world, name), 5)
    key, _ = claim.open()
    claim.descend(key, spot, stop=Phase.LEAF)
    holds(ledger.leaf(size, len(world.model.program.schedule)), claim.leaf(key))
    holds(ledger.ELEMENT + naming(world, size, 0), claim.name(key, spot))


@pytest.mark.parametrize("large", [False, True])
def test_naming_an_element_with_its_proof(large: bool) -> None:
    """What a step takes more, for the name, than one whose element was named before."""
    world = built(6)
    gas = []
    name, size = ("wide", 1024) if large else ("embed", 256)
    for named in (False, True):
        world.restore()
        warm(world, "bob", "carol")
        claim = world.claim()
        spot = Spot(LAST, last(world, name), 0)
        key, _ = claim.open()
        claim.descend(key, spot, stop=Phase.ELEMENT if named else Phase.STEP)
        arguments = claim.step_arguments(key, spot=spot if named else None)
        claim.announce(key, arguments=arguments)
        world.send("deployer", world.verifier, "say", 1 << 40, True)
        gas.append(claim.send("alice", "step", *arguments).gas_used)
    assert 0 < gas[1] - gas[0] <= naming(world, size, 0)


def one_term_a_step(model: Model, name: str) -> Model:
    """The model with the fold of that instruction of its last block cut as finely as can be."""
    program = model.program
    number = program.schedule[-1]
    code = tuple(replace(i, terms=1) if i.name == name else i for i in program.blocks[number].code)
    blocks = list(program.blocks)
    blocks[number] = replace(blocks[number], code=code)
    cut = replace(program, blocks=tuple(blocks))
    return Model(model.name, cut, model.weights, model.pieces, model.end_tokens)


def test_large_totals_are_paid_at_the_floor_of_their_calldata() -> None:
    world = World(one_term_a_step(deep(1), "sample"), prompt=range(1, 16), outputs=3)
    claim = world.claim()
    spot = Spot(LAST, last(world, "sample"), 0)
    key, _ = claim.open()
    claim.descend(key, spot)
    first = bytes(n * 7 % 255 + 1 for n in range(claim.states_bytes(spot, 1)))
    claim.send("submitter", "totals", key, claim.claim.values(), first)
    claim.send("alice", "pickTotal", key, 0, claim.bits(spot).to_bytes(32, "big"), first)
    assert claim.phase(key) == Phase.TOTALS
    states = bytes(n * 7 % 255 + 1 for n in range(claim.states_bytes(spot, 2)))
    count = len(world.model.program.schedule)
    assert ledger.FLOOR_CLAIM + ledger.BYTE * len(states) > ledger.TOTALS + ledger.DATA_BYTE * len(states) + (
        ledger.ENTRY * count
    )
    holds(
        ledger.states(ledger.TOTALS, len(states), count),
        claim.send("submitter", "totals", key, claim.claim.values(), states),
    )


@pytest.mark.parametrize("name", ["ffn_up", "ffn_down", "sample"])
def test_totals_and_an_announcement(world: World, name: str) -> None:
    claim = world.claim()
    spot = Spot(LAST, last(world, name), 0)
    key, _ = claim.open()
    claim.descend(key, spot)
    states = bytes(n * 7 % 255 + 1 for n in range(claim.states_bytes(spot, 1)))
    count = len(world.model.program.schedule)
    holds(
        ledger.states(ledger.TOTALS, len(states), count),
        claim.send("submitter", "totals", key, claim.claim.values(), states),
    )
    before = claim.bits(spot).to_bytes(32, "big")
    figure = ledger.states(ledger.PICK_TOTAL, len(states), count)
    holds(figure, claim.send("alice", "pickTotal", key, 0, before, states))
    holds(ledger.ANNOUNCE, claim.announce(key))


def test_opening_below_the_root(world: World) -> None:
    claim = world.claim()
    ordinal = last(world, "ffn_up")
    claim.open()
    shapes = claim.shapes
    for salt, cursor in enumerate(
        [
            shapes.normal(Cursor(Stage.POSITION, 0, ordinal, LAST)),
            Cursor(Stage.TENSOR, 0, 1, LAST, ordinal),
            Cursor(Stage.POSITION, 1, ordinal >> 1, LAST),
        ]
    ):
        _, receipt = claim.open_at(cursor, salt=salt + 1)
        figure = ledger.OPEN + ledger.OPEN_AT + ledger.SIBLING * len(shapes.above(cursor)) + entries(world)
        holds(figure, receipt)


def warm(world: World, *names: str) -> None:
    """Accounts that have been credited before, and the burn address that exists."""
    claim = world.claim("carol", commitment=bytes(32))
    key, _ = claim.open(who=names[0])
    claim.timeout_when_due(key, who=names[-1])


def test_time_outs_and_releases(world: World) -> None:
    warm(world, "bob", "carol")
    claim = world.claim()
    lost, _ = claim.open()
    claim.reveal(lost)
    holds(ledger.CLOSE, claim.timeout_when_due(lost), credits=1)
    won, _ = claim.open(salt=1)
    other, _ = claim.open(who="operator")
    holds(ledger.CLOSE_WON, claim.timeout_when_due(won), credits=2)
    holds(ledger.RELEASE, claim.release(other), credits=1)


@pytest.mark.parametrize("late", [False, True])
def test_proofs_apart_from_the_verifier(world: World, late: bool) -> None:
    """What a verdict takes beyond the verifier's own work; 90,000 of it are in the cost of every step."""
    warm(world, "bob", "carol")
    claim = world.claim()
    spot = Spot(LAST, last(world, "embed"), 0)
    key, _ = claim.open()
    claim.descend(key, spot)
    claim.announce(key)
    if late:
        other, _ = claim.open(who="bob")
        claim.announce(other, "tokenProof", claim.direct_arguments(other, "tokenProof"))
        world.send("deployer", world.verifier, "say", 0, True)
        claim.send("bob", "tokenProof", *claim.direct_arguments(other, "tokenProof"))
    receipt = claim.step(key, 1 << 40)
    assert receipt.gas_used <= 90_000 + (ledger.LATE if late else ledger.WIN)


def test_a_late_step_that_names_its_element_is_repaid_for_both(world: World) -> None:
    claim = world.claim()
    spot = Spot(LAST, last(world, "embed"), 0)
    late, _ = claim.open()
    claim.descend(late, spot, stop=Phase.ELEMENT)
    arguments = claim.step_arguments(late, spot=spot)
    claim.announce(late, arguments=arguments)
    first, _ = claim.open(who="bob")
    claim.announce(first, "tokenProof", claim.direct_arguments(first, "tokenProof"))
    world.send("deployer", world.verifier, "say", 1 << 40, True)
    claim.send("bob", "tokenProof", *claim.direct_arguments(first, "tokenProof"))
    receipt = claim.send("alice", "step", *arguments)
    assert receipt.event("ElementNamed").args["element"] == 0
    assert claim.phase(late) == Phase.RELEASED
    credited = [log.args for log in receipt.logs if log.event == "Credited"]
    own = world.bond + claim.state(late)["due"] * ledger.DUE_UNIT
    price = ledger.price(world.chain.fees().base_fee, world.terms.ceiling)
    step = world.call(world.registry, "stepGas", program_of(world), spot.ordinal)
    paid = (step + ledger.LATE + naming(world, 256, 0)) * price
    assert sum(row["amount"] for row in credited if row["account"] == world.address("alice")) >= own + paid
    assert receipt.gas_used <= 90_000 + ledger.LATE + naming(world, 256, 0)


def program_of(world: World) -> str:
    return str(world.call(world.registry, "model", world.model.id)["program"])


def test_direct_proofs_apart_from_the_verifier(world: World) -> None:
    warm(world, "bob", "carol")
    for fn, figure in {"tokenProof": ledger.TOKEN_PROOF, "pieceProof": ledger.PIECE_PROOF}.items():
        claim = world.claim()
        key, _ = claim.open()
        arguments = claim.direct_arguments(key, fn)
        claim.announce(key, fn, arguments)
        world.send("deployer", world.verifier, "say", 0, True)
        assert claim.send("alice", fn, *arguments).gas_used <= figure - 60_000


def test_finality_and_delivery(world: World) -> None:
    claim: Posted = world.claim()
    over(claim)
    finality = world.call(world.oracle, "price", world.order())
    figure = (finality - world.request.fee) // ledger.price(world.terms.ceiling, world.terms.ceiling)
    holds(figure, claim.finalise())
    moody, _ = world.chain.deploy(load_artifact("test/MoodyConsumer"), sender=world.who["requester"])
    request = ask_for(world, moody, 46_000)
    text = answer(world, request).answer
    receipt = deliver(world, request, text)
    order = world.order(callback=moody.address, callbackGas=46_000, maxOutput=world.outputs)
    deposit = world.call(world.oracle, "price", order) - finality
    figure = deposit // ledger.price(world.terms.ceiling, world.terms.ceiling)
    holds(figure, receipt, credits=2)
