"""What a demo is set to do, what it tells while it plays, and how it ended."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

from opml.chain.adapter import Receipt
from opml.dispute.describe import StepDescription
from opml.dispute.types import Terms

CHEATING_SUBMITTER = "cheating-submitter"
CHEATING_CHALLENGER = "cheating-challenger"


@dataclass(frozen=True, slots=True)
class Settings:
    """What is asked, and who cheats how. `params` are the request's words, `fault` as `plant` takes it."""

    prompt: tuple[int, ...]
    params: tuple[int, ...]
    max_output: int
    fault: str = "product-middle"
    role: str = CHEATING_SUBMITTER
    terms: Terms = field(default_factory=Terms)
    fee: int = 10**16

    @property
    def attacked(self) -> bool:
        """Whether the challenger is the one that cheats."""
        return self.role == CHEATING_CHALLENGER


@dataclass(frozen=True, slots=True)
class Move:
    """One transaction of the dispute. `gas` and `cost` (wei) are 0 where the contract refused it; clocks in
    seconds left after it; `levels` of hashes still between the game and a leaf."""

    number: int
    who: str
    name: str
    text: str
    gas: int
    cost: int
    calldata: int
    levels: int
    submitter_clock: int
    challenger_clock: int
    refused: str


@dataclass(frozen=True, slots=True)
class Balance:
    """What an account had before and has after, in wei, with what it paid for gas."""

    before: int
    after: int
    gas_cost: int

    @property
    def change(self) -> int:
        return self.after - self.before


@dataclass(frozen=True, slots=True)
class Result:
    """How it ended. `verdict` is who won the dispute, "challenger" or "submitter"; `decided` says how."""

    answer: str
    verdict: str
    decided: str
    cheat: str
    moves: tuple[Move, ...]
    step: StepDescription | None
    balances: dict[str, Balance]
    bonds: dict[str, int]
    setup: dict[str, int]
    total_transactions: int
    total_gas: int

    @property
    def transactions(self) -> int:
        """Transactions of the dispute, from the opening to the verdict."""
        return sum(not move.refused for move in self.moves)

    @property
    def gas(self) -> int:
        """Gas of the dispute, both sides together."""
        return sum(move.gas for move in self.moves)


class Watcher(Protocol):
    """Is told what happens, as it happens."""

    def chapter(self, title: str) -> None: ...

    def line(self, text: str) -> None: ...

    def setup(self, what: str, receipt: Receipt) -> None: ...

    def move(self, move: Move) -> None: ...


def facts_of(result: Result) -> dict[str, Any]:
    """The result as data for JSON."""
    return {
        "answer": result.answer,
        "verdict": result.verdict,
        "decided": result.decided,
        "cheat": result.cheat,
        "moves": result.moves,
        "transactions": result.transactions,
        "gas": result.gas,
        "step": result.step.values() if result.step else None,
        "balances": {
            name: {
                "before": b.before,
                "after": b.after,
                "change": b.change,
                "gasCost": b.gas_cost,
            }
            for name, b in result.balances.items()
        },
        "bonds": result.bonds,
        "setup": result.setup,
        "total": {"transactions": result.total_transactions, "gas": result.total_gas},
    }


__all__ = [
    "CHEATING_CHALLENGER",
    "CHEATING_SUBMITTER",
    "Balance",
    "Move",
    "Result",
    "Settings",
    "Watcher",
    "facts_of",
]
