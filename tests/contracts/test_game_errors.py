"""Every custom error of the game, met once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from opml.chain import abi
from opml.chain.adapter import Revert
from opml.chain.artifacts import load_artifact
from opml.chain.decode import terms_values
from opml.dispute.cursor import STAGE_TAGS
from opml.dispute.nodes import child_siblings
from opml.dispute.types import Phase, commitment_of
from opml.vm.commitment import Tag, node_hash
from opml.vm.keccak import keccak256
from opml.vm.trace import Cursor, Stage
from tests.contracts.posted import Key, Posted
from tests.contracts.test_game import EMBED, MODEL, ONE_ROUND, SAMPLE, at_phase, post, states
from tests.contracts.world import TERMS, World

ZERO = bytes(32)


@pytest.fixture(scope="module")
def shared() -> World:
    return World(MODEL)


@pytest.fixture
def claim(shared: World) -> Iterator[Posted]:
    shared.restore()
    yield shared.claim()


def deploy_with(claim: Posted, **changes: int) -> None:
    world = claim.world
    parts = [world.registry.address, world.verifier.address, world.rules.address]
    world.chain.deploy(
        load_artifact("OpmlOracle"),
        [*parts, terms_values(replace(TERMS, **changes))],
        sender=world.who["deployer"],
    )


def open_with(claim: Posted, who: str = "alice", **changes: object) -> None:
    other = claim.with_claim(**changes)
    claim.send(who, "open", other.claim.values(), claim.request.values(), 0, value=claim.world.bond)


def open_with_another_request(claim: Posted) -> None:
    request = replace(claim.request, nonce=9)
    claim.send("alice", "open", claim.claim.values(), request.values(), 0, value=claim.world.bond)


def rejected(claim: Posted) -> Key:
    """A second game against a claim that a first has rejected."""
    key, _ = claim.open()
    other, _ = claim.open(who="bob")
    claim.timeout_when_due(key)
    return other


def decided(claim: Posted) -> Key:
    key, _ = claim.open()
    claim.timeout_when_due(key)
    return key


def pick(claim: Posted, key: Key, i: int | None = None, cut: int = 0, child: bytes | None = None) -> None:
    cursor = claim.cursor(key)
    own = claim.world.own
    children = own.nodes.children(cursor, cursor.height)
    n = i if i is not None and i < len(children) else 2
    siblings = list(child_siblings(STAGE_TAGS[cursor.stage], children, n))
    claim.send(
        "alice",
        "pick",
        key,
        2 if i is None else i,
        children[n] if child is None else child,
        siblings[: len(siblings) - cut],
    )


def reveal(claim: Posted, key: Key, fn: str = "reveal", children: int = 8, change: int | None = None) -> None:
    own = claim.world.own
    nodes = list(own.nodes.children(claim.shapes.root(), 3))[:children]
    if change is not None:
        nodes[change] = b"\1" * 32
    head = [key, claim.claim.values(), own.trace_root] if fn == "revealRoot" else [key]
    claim.send("submitter", fn, *head, nodes)


def reveal_wrong_padding(claim: Posted) -> None:
    """A root whose padding is no padding, committed to and revealed."""
    world = claim.world
    nodes = list(world.own.nodes.children(claim.shapes.root(), 3))
    nodes[7] = b"\1" * 32
    level = nodes
    while len(level) > 1:
        level = [node_hash(Tag.TRACE, level[i], level[i + 1]) for i in range(0, len(level), 2)]
    account = bytes.fromhex(world.address("bob")[2:])
    forged = world.claim("bob", commitment=commitment_of(level[0], account, claim.claim.request_id))
    key, _ = forged.open()
    forged.send("submitter", "revealRoot", key, forged.claim.values(), level[0], nodes)


def open_at(
    claim: Posted, cursor: Cursor, cut: int = 0, node: bytes | None = None, root: bytes = b""
) -> None:
    own = claim.world.own
    shapes = claim.shapes
    try:
        siblings = [own.nodes.node(c) for c in shapes.above(cursor)]
        found = own.nodes.node(cursor)
    except (IndexError, KeyError, AssertionError):
        siblings, found = [], ZERO
    claim.send(
        "alice",
        "openAt",
        claim.claim.values(),
        claim.request.values(),
        0,
        root or own.trace_root,
        (int(cursor.stage), cursor.height, cursor.index, cursor.t, cursor.ordinal),
        node or found,
        siblings[: len(siblings) - cut],
        value=claim.world.bond,
    )


def leaf(claim: Posted, length: int = 0, change: bool = False) -> None:
    key = at_phase(claim, Phase.LEAF)
    data = bytearray(claim.world.own.nodes.leaf(claim.cursor(key)))
    if change:
        data[0] ^= 1
    claim.send("submitter", "leaf", key, bytes(data[: len(data) + length]))


def pick_total(claim: Posted, j: int = 0, change: bool = False) -> None:
    key = at_phase(claim, Phase.TOTAL_PICK)
    data = states(claim, ONE_ROUND, 1)
    before = claim.bits(ONE_ROUND) ^ change
    claim.send("alice", "pickTotal", key, j, before.to_bytes(32, "big"), data)


def element(claim: Posted, i: int) -> None:
    key = at_phase(claim, Phase.ELEMENT)
    _, data, siblings = claim.named(key, EMBED)
    claim.send("alice", "element", key, (i, data, siblings))


def send_step(claim: Posted, announced: bool = True, who: str = "alice", **change: object) -> None:
    key = at_phase(claim, Phase.STEP)
    arguments = claim.step_arguments(key)
    if announced:
        claim.announce(key, arguments=[*arguments[:-1], b"another"])
    claim.send(who, "step", *arguments)


def announce_and_step_at_once(claim: Posted) -> None:
    world = claim.world
    batch, _ = world.chain.deploy(load_artifact("test/Batch"), sender=world.who["deployer"])
    key = (claim.id, batch.address, 0)
    opening = [claim.claim.values(), claim.request.values(), 0]
    arguments = claim.direct_arguments(key, "tokenProof")
    proof = abi.encode_call(world.game.artifact, "tokenProof", arguments)
    digest = keccak256(proof + bytes.fromhex(batch.address[2:]))
    calls = [
        abi.encode_call(world.game.artifact, "open", opening),
        abi.encode_call(world.game.artifact, "announce", [key, digest]),
        proof,
    ]
    world.send("deployer", batch, "run", world.game.address, [world.bond, 0, 0], calls, value=world.bond)


def piece_of_another_answer(claim: Posted) -> None:
    key, _ = claim.open()
    arguments = claim.direct_arguments(key, "pieceProof")
    arguments[4] = b"another answer"
    claim.announce(key, "pieceProof", arguments)
    claim.send("alice", "pieceProof", *arguments)


def step_under_another_root(claim: Posted) -> None:
    key = at_phase(claim, Phase.STEP)
    arguments = claim.step_arguments(key)
    arguments[3] = b"\1" * 32
    claim.announce(key, arguments=arguments)
    claim.send("alice", "step", *arguments)


def move_as(claim: Posted, who: str) -> None:
    key = at_phase(claim, Phase.ELEMENT)
    claim.send(who, "element", key, claim.named(key, EMBED))


def with_root(claim: Posted) -> Key:
    return at_phase(claim, Phase.PICK)


CASES: dict[str, tuple[str, Callable[[Posted], object]]] = {
    "no levels": ("BadTerms", lambda c: deploy_with(c, fanout=0)),
    "too many levels": ("BadTerms", lambda c: deploy_with(c, fanout=9)),
    "too high a ceiling": ("BadTerms", lambda c: deploy_with(c, ceiling=1001 * 10**9)),
    "too long a clock": ("BadTerms", lambda c: deploy_with(c, challenger_clock=2**20)),
    "settling as anybody": (
        "NotTheOracle",
        lambda c: c.send("alice", "settle", c.id, c.world.address("alice")),
    ),
    "another bond": ("WrongValue", lambda c: c.open(value=c.world.bond - 1)),
    "more than the bond": ("WrongValue", lambda c: c.open(value=c.world.bond + 1)),
    "a claim nobody posted": ("UnknownClaim", lambda c: open_with(c, commitment=ZERO)),
    "another request": ("WrongRequest", open_with_another_request),
    "another claim": (
        "WrongClaim",
        lambda c: c.send(
            "stranger", "revealRoot", c.open()[0], c.with_claim(posted_at=1).claim.values(), ZERO, []
        ),
    ),
    "opening after rejection": ("ClaimRejectedAlready", lambda c: (rejected(c), c.open(who="carol"))),
    "revealing after rejection": ("ClaimRejectedAlready", lambda c: c.reveal(rejected(c))),
    "announcing after rejection": ("ClaimRejectedAlready", lambda c: c.announce(rejected(c))),
    "time-out after rejection": ("ClaimRejectedAlready", lambda c: c.timeout(rejected(c))),
    "release without rejection": ("ClaimNotRejected", lambda c: c.release(c.open()[0])),
    "release by another too soon": ("NotReleasable", lambda c: c.release(rejected(c), who="stranger")),
    "a pick in the submitter's turn": ("WrongPhase", lambda c: c.pick_towards(c.open()[0], EMBED)),
    "a step before its phase": ("WrongPhase", lambda c: send_early_step(c)),
    "a move in no game": ("WrongPhase", lambda c: c.send("alice", "reveal", c.key(), [])),
    "time-out of a decided game": ("GameOver", lambda c: c.timeout(decided(c))),
    "announcing in a decided game": ("GameOver", lambda c: c.announce(decided(c))),
    "release of a decided game": ("GameOver", lambda c: c.release(decided(c))),
    "time-out too soon": ("ClockRunning", lambda c: c.timeout(c.open()[0])),
    "another's move": ("NotTheChallenger", lambda c: move_as(c, "bob")),
    "the submitter's pick": ("NotTheChallenger", lambda c: move_as(c, "submitter")),
    "another's announcement": (
        "NotTheChallenger",
        lambda c: c.send("bob", "announce", c.open()[0], ZERO),
    ),
    "totals of a stranger": (
        "NotTheSubmitter",
        lambda c: post(c, at_phase(c, Phase.TOTALS), ONE_ROUND, 1, who="stranger"),
    ),
    "reveal before the root": ("RootUnknown", lambda c: reveal(c, c.open()[0])),
    "the root twice": ("RootKnown", lambda c: second_root(c)),
    "a root not committed to": (
        "WrongTraceRoot",
        lambda c: c.send("stranger", "revealRoot", c.open()[0], c.claim.values(), ZERO, [ZERO] * 8),
    ),
    "a step under another root": ("WrongTraceRoot", step_under_another_root),
    "too few children": ("WrongChildCount", lambda c: reveal(c, c.open()[0], "revealRoot", children=4)),
    "other children": ("WrongNode", lambda c: reveal(c, c.open()[0], "revealRoot", change=0)),
    "padding that is none": ("NotPadding", reveal_wrong_padding),
    "a pick of padding": ("Padding", lambda c: pick(c, with_root(c), 5)),
    "a position that is not computed": ("Padding", lambda c: open_at(c, Cursor(Stage.POSITION, 0, 0, 5))),
    "a slot that is lacking": (
        "Padding",
        lambda c: open_at(c, Cursor(Stage.TENSOR, 0, 0, 0, SAMPLE.ordinal)),
    ),
    "no such child": ("NoSuchChild", lambda c: pick(c, with_root(c), 8)),
    "another child": ("WrongNode", lambda c: pick(c, with_root(c), child=b"\1" * 32)),
    "a sibling less": ("WrongSiblingCount", lambda c: pick(c, with_root(c), cut=1)),
    "no such node": ("NoSuchNode", lambda c: open_at(c, Cursor(Stage.TRACE, 4, 0))),
    "no such index": ("NoSuchNode", lambda c: open_at(c, Cursor(Stage.TRACE, 3, 1))),
    "a shorter path": ("WrongSiblingCount", lambda c: open_at(c, Cursor(Stage.POSITION, 0, 1, 2), cut=1)),
    "another node": ("WrongNode", lambda c: open_at(c, Cursor(Stage.TRACE, 1, 0), node=b"\1" * 32)),
    "another root": ("WrongTraceRoot", lambda c: open_at(c, Cursor(Stage.TRACE, 1, 0), root=b"\1" * 32)),
    "a shorter leaf": ("WrongLeafLength", lambda c: leaf(c, length=-4)),
    "another leaf": ("WrongNode", lambda c: leaf(c, change=True)),
    "no such element": ("NoSuchElement", lambda c: element(c, 64)),
    "fewer states": (
        "WrongStatesLength",
        lambda c: c.send("submitter", "totals", at_phase(c, Phase.TOTALS), c.claim.values(), b"\0" * 12),
    ),
    "other states": ("WrongStates", lambda c: pick_total(c, change=True)),
    "no such total": ("NoSuchTotal", lambda c: pick_total(c, j=5)),
    "a step not announced": ("NotAnnounced", lambda c: send_step(c, announced=False)),
    "another step than announced": ("NotAnnounced", send_step),
    "proof in the announcement's block": ("AnnouncedInThisBlock", announce_and_step_at_once),
    "pieces of another answer": ("WrongBytes", piece_of_another_answer),
}


def send_early_step(claim: Posted) -> None:
    key, _ = claim.open()
    claim.announce(key)
    claim.send("alice", "step", *claim.step_arguments(key))


def second_root(claim: Posted) -> None:
    key, _ = claim.open()
    claim.descend(key, EMBED, stop=Phase.PICK)
    claim.pick_towards(key, EMBED)
    reveal(claim, key, "revealRoot")


@pytest.mark.parametrize("name", CASES)
def test_is_refused(claim: Posted, name: str) -> None:
    error, act = CASES[name]
    with pytest.raises(Revert) as refusal:
        act(claim)
    assert refusal.value.error == error, refusal.value


def test_every_error_of_the_interface_has_a_case() -> None:
    elsewhere = {"ClockExpired", "GameExists", "GamesOpen", "NotFraud", "WindowClosed"}  # test_game
    errors = {entry["name"] for entry in load_artifact("IDisputeGame").abi if entry["type"] == "error"}
    assert errors == {error for error, _ in CASES.values()} | elsewhere
