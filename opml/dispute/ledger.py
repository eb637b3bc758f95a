"""What each move of a game is paid for, and the bonds that follow: twin of `contracts/GameGas.sol`.

Flat figures in gas, intrinsic gas and calldata included; wei where a price comes in. Floor divisions as in
Solidity.
"""

from __future__ import annotations

from dataclasses import dataclass

from opml.dispute.cursor import WHOLE_BYTES
from opml.dispute.totals import Dissection
from opml.dispute.types import Terms
from opml.vm.layout import Layout, clog2

OPEN = 76_000
DOCKET = 25_000
OPEN_AT = 36_000
SIBLING = 900
PICK = 48_000
CROSS = 10_500
ELEMENT = 43_000
NAME = 16_000
PICK_TOTAL = 58_500
ANNOUNCE = 61_000
RELEASE = 89_500
CLOSE = 104_500
CLOSE_WON = 133_500
REVEAL_ROOT = 64_500
REVEAL = 39_000
REVEAL_CHILD = 1_024
LEAF = 48_000
TOTALS = 57_500
DATA_BYTE = 25
INPUT_BYTE = 18
TOKEN_PROOF = 220_000
PIECE_PROOF = 220_000
WIN = 90_000
LATE = 40_000
BYTE = 40
ENTRY = 155
FLOOR = 27_500
FLOOR_CLAIM = 39_000

DUE_UNIT = 10**9
"""Dues and charges of a game count in this many wei."""
MOST_DUE = 2**37 - 1


@dataclass(frozen=True, slots=True)
class Sizes:
    """What is fixed by a program alone (`IModelRegistry.Sizes`): `step_gas` is that of its costliest step,
    `totals` the bytes of the largest posting of running totals, `tensor_depth` that of the deepest tensor."""

    committed: int
    always: int
    tensor_depth: int
    entries: int
    limit: int
    step_gas: int
    totals: int

    @staticmethod
    def of(layout: Layout, step_gas: int) -> Sizes:
        """Sizes of a valid program; the gas of its costliest step comes from its validation."""
        last = layout.program.limit - 1
        return Sizes(
            committed=len(layout.committed),
            always=sum(not slot.instr.yields for slot in layout.committed),
            tensor_depth=max(layout.slot_leaves(slot, last).depth for slot in layout.committed),
            entries=len(layout.program.schedule),
            limit=layout.program.limit,
            step_gas=step_gas,
            totals=max(Dissection.of(slot.instr, last).largest_posting for slot in layout.committed),
        )


def price(base_fee: int, ceiling: int) -> int:
    """p(f) = min(f, F) · 5/4, in wei: the quarter pays the tip."""
    return min(base_fee, ceiling) * 5 // 4


def leaf(count: int, entries: int) -> int:
    """To open a leaf, or a whole tensor, of so many bytes: execution, or the floor of its calldata."""
    return max(LEAF + DATA_BYTE * count + ENTRY * entries, FLOOR + BYTE * count)


def states(base: int, count: int, entries: int) -> int:
    """To post or pick running totals of so many bytes, `base` apart."""
    return max(base + DATA_BYTE * count + ENTRY * entries, FLOOR_CLAIM + BYTE * count)


def children(base: int, count: int) -> int:
    """To reveal so many children, `base` apart."""
    floor = FLOOR if base == REVEAL else FLOOR_CLAIM
    return max(base + REVEAL_CHILD * count, floor + BYTE * 32 * count)


def rounds(sizes: Sizes, fanout: int) -> tuple[int, int]:
    """Reveals of a game, and picks, which are as many: down to a tensor, and in its tree."""

    def levels(depth: int) -> int:
        return -(-depth // fanout) or 1

    return levels(clog2(sizes.limit)) + levels(clog2(sizes.committed)), -(-sizes.tensor_depth // fanout)


def reveals(sizes: Sizes, fanout: int) -> int:
    """Q: all that the submitter's side posts in one game. A tensor is revealed down to a leaf, or opened
    whole."""
    outer, inner = rounds(sizes, fanout)
    one = children(REVEAL, 1 << fanout)
    return (
        REVEAL_ROOT
        - REVEAL
        + outer * one
        + max(inner * one + leaf(1024, sizes.entries), leaf(WHOLE_BYTES, sizes.entries))
        + 2 * states(TOTALS, sizes.totals, sizes.entries)
    )


def picks(sizes: Sizes, fanout: int) -> int:
    """O: all that a challenger posts in one game, save the proof."""
    depths = clog2(sizes.limit) + clog2(sizes.committed) + sizes.tensor_depth
    return (
        OPEN
        + DOCKET
        + OPEN_AT
        + SIBLING * depths
        + sum(rounds(sizes, fanout)) * PICK
        + 2 * CROSS
        + ELEMENT
        + NAME
        + 1024 * INPUT_BYTE
        + 4 * SIBLING
        + 2 * states(PICK_TOTAL, sizes.totals, sizes.entries)
        + 3 * ENTRY * sizes.entries
        + ANNOUNCE
        + RELEASE
    )


def proof(sizes: Sizes) -> int:
    """The costliest proof, an answer's pieces aside."""
    return max(sizes.step_gas + WIN, max(TOKEN_PROOF, PIECE_PROOF) + ENTRY * sizes.entries)


def pot(sizes: Sizes, terms: Terms) -> int:
    """B: wei out of which challengers' gas is repaid, first spent first; whole units, as dockets count it."""
    spent = picks(sizes, terms.fanout) + reveals(sizes, terms.fanout) + proof(sizes)
    wei = terms.challengers * spent * price(terms.ceiling, terms.ceiling)
    return -(-wei // DUE_UNIT) * DUE_UNIT


def submitter_bond(sizes: Sizes, terms: Terms, answer_bytes: int) -> int:
    """S = 2 · (B + w) wei: half is burnt on fraud, before anything is paid."""
    gas = proof(sizes) + answer_bytes * BYTE + CLOSE_WON + picks(sizes, terms.fanout)
    return 2 * (pot(sizes, terms) + gas * price(terms.ceiling, terms.ceiling) + terms.incentive)


def challenger_bond(sizes: Sizes, terms: Terms) -> int:
    """C >= 2 · Q · p(F) + G_close · p(F) + margin, wei."""
    return (2 * reveals(sizes, terms.fanout) + CLOSE) * price(terms.ceiling, terms.ceiling) + terms.margin


def repaid(due: int, left_in_pot: int, gas: int, price_of_gas: int) -> tuple[int, int]:
    """(due in units, pot in wei) after a challenger's gas was added as far as the pot goes."""
    units = -(-gas * price_of_gas // DUE_UNIT)
    units = min(units, left_in_pot // DUE_UNIT, MOST_DUE - due)
    return due + units, left_in_pot - units * DUE_UNIT
