"""Gas and transactions of a whole dispute: of every kind, by fan-out of reveals, by terms of a step.

    python benchmarks/dispute_gas.py MODEL.gguf [--positions 256] [--fanouts 4,5,6] [--only KIND]
        [--terms] [--moves] [--anvil] [--json FILE]

Each row is one dispute played on a chain, from the opening to the verdict, both sides together: a wrong
element of a matrix product, of attention, of sampling. Fan-out f reveals 2^f nodes at once. The announcement
of the proof is given apart, since the wanted figures leave it out. Terms are varied in the program, whose
bound for the step (`opml.vm.cost`) stands beside what the step took. `--moves` lists the moves of each
dispute at the default fan-out. The exit code is 1 where a figure at that fan-out is over what is wanted.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from committed_bytes import varied
from rounds import HERE, heading, machine, table, write_json

from opml.chain.anvil import Anvil
from opml.chain.embedded import EmbeddedChain
from opml.cli.engines import params_of
from opml.cli.story import PlayChain, Story
from opml.cli.story_facts import Result, Settings
from opml.cli.view import SilentView
from opml.cli.workshop import Workshop
from opml.dispute.types import Terms
from opml.errors import OpmlError
from opml.models.model import Model, load_model
from opml.vm import cost
from opml.vm.engine import get_engine
from opml.vm.isa import OUT_BYTES, Instr

OUTPUT = 8
DEFAULT_FANOUT = 5


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of dispute: what is falsified (a fault by name, or an element of a slot of the middle layer),
    the slots whose terms matter to it, what may be spent at most."""

    name: str
    fault: str
    slots: tuple[str, ...] = ()
    terms: tuple[int, ...] = ()
    gas: int = 2_000_000
    transactions: int = 22


PRODUCT = {"gas": 1_200_000, "transactions": 16}
KINDS = (
    Kind("product: query", "slot:q", **PRODUCT),
    Kind("product: key", "slot:k", **PRODUCT),
    Kind("product: value", "slot:v", **PRODUCT),
    Kind("product: attention output", "slot:attn_output", **PRODUCT),
    Kind("product: gate and up", "slot:ffn_gated", **PRODUCT),
    Kind("product: down", "product-middle", ("ffn_down",), (0, 1024, 512, 256, 128, 64, 32), **PRODUCT),
    Kind("attention: score", "score"),
    Kind("attention: maximum", "softmax-max"),
    Kind("attention: sum", "softmax-sum", ("score.sum",), (1, 4, 16)),
    Kind("attention: values", "value-sum", ("attn",), (1, 2, 4, 8, 16)),
    Kind("sampling: logits", "logits", ("logits.max",), (1, 2, 4, 8)),
    Kind("sampling: arg-max", "argmax", ("sample",), (1, 2, 4, 8)),
)
"""0 terms: the whole fold in one step. Wanted for attention and sampling alike: 2M gas, 22 transactions."""


@contextmanager
def chain(on_anvil: bool) -> Iterator[PlayChain]:
    """A fresh chain."""
    if not on_anvil:
        yield EmbeddedChain()
        return
    anvil = Anvil.start()
    try:
        yield anvil.chain()
    finally:
        anvil.stop()


def prompt_of(model: Model, positions: int) -> tuple[int, ...]:
    """As much prose as leaves room for the output."""
    text = (HERE.parent / "docs" / "design.md").read_text()
    assert model.tokenizer is not None
    return tuple(model.tokenizer.encode_prompt(text)[: positions + 1 - OUTPUT])


def fault_of(kind: Kind, model: Model, positions: int) -> str:
    """The fault to plant: an element of a slot is falsified in its sign, at the last position."""
    if not kind.fault.startswith("slot:"):
        return kind.fault
    name = kind.fault.removeprefix("slot:")
    found = [slot for slot in model.layout.committed if slot.instr.name == name]
    if not found:
        raise OpmlError(f"{model.name} has no slot {name}")
    slot = found[len(found) // 2]
    sign = 1 << 8 * OUT_BYTES[slot.instr.out] - 1
    return f"{positions - 1}:{slot.number}:5:{sign:#x}"


def moves_of(result: Result) -> list[dict[str, Any]]:
    """The moves of a dispute."""
    return [
        {"who": move.who, "move": move.name, "gas": move.gas, "calldata": move.calldata, "text": move.text}
        for move in result.moves
        if not move.refused
    ]


def with_terms(model: Model, slots: Sequence[str], terms: int) -> Model:
    """The model with another number of terms a step in the slots of these names. Raises `OpmlError`."""

    def change(i: Instr) -> Instr:
        return replace(i, terms=terms) if i.name in slots else i

    program = varied(model.program, change)
    return Model(
        model.name, program, model.weights, model.pieces, model.end_tokens, model.file, model.tokenizer
    )


def play(workshop: Workshop, prompt: tuple[int, ...], fault: str, fanout: int, on_anvil: bool) -> Result:
    """One story with one fault."""
    settings = Settings(prompt, params_of(), OUTPUT, fault, terms=Terms(fanout=fanout))
    with chain(on_anvil) as fresh:
        return Story(fresh, workshop, settings, SilentView()).play()


def facts_of(result: Result) -> dict[str, Any]:
    """Sums over the moves of a dispute."""
    moves = [move for move in result.moves if not move.refused]
    announcements = [move for move in moves if move.name == "Announce"]
    steps = [move for move in moves if move.name in ("Step", "TokenProof", "PieceProof")]
    return {
        "verdict": result.verdict,
        "decided": result.decided,
        "transactions": len(moves) - len(announcements),
        "gas": sum(move.gas for move in moves) - sum(move.gas for move in announcements),
        "announcement": sum(move.gas for move in announcements),
        "challenger": sum(move.gas for move in moves if move.who == "challenger"),
        "submitter": sum(move.gas for move in moves if move.who != "challenger"),
        "step": sum(move.gas for move in steps),
        "calldata": sum(move.calldata for move in moves),
    }


def bound_of(model: Model, slots: Sequence[str]) -> cost.Cost:
    """The largest bound for a step of the slots of these names."""
    costs = [cost.step(model.layout, slot) for slot in model.layout.committed if slot.instr.name in slots]
    return cost.Cost(max(c.bytes for c in costs), max(c.gas for c in costs))


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Rows by fan-out, then by terms."""
    on = machine()
    model = load_model(arguments.model)
    engine = get_engine(arguments.engine, 2)
    prompt = prompt_of(model, arguments.positions)
    kinds = [kind for kind in KINDS if not arguments.only or kind.fault in arguments.only]
    workshop = Workshop(model, engine)
    fanouts, by_terms, moves, over = [], [], {}, []
    positions = len(prompt) + OUTPUT - 1
    for kind in kinds:
        fault = fault_of(kind, model, positions)
        for fanout in arguments.fanouts:
            result = play(workshop, prompt, fault, fanout, arguments.anvil)
            row = {"kind": kind.name, "fanout": fanout} | facts_of(result)
            fanouts.append(row)
            if fanout == DEFAULT_FANOUT:
                moves[kind.name] = moves_of(result)
                if row["gas"] > kind.gas or row["transactions"] > kind.transactions:
                    over.append(kind.name)
        for terms in kind.terms if arguments.terms else ():
            row = {"kind": kind.name, "slots": kind.slots, "terms": terms}
            try:
                other = with_terms(model, kind.slots, terms)
            except OpmlError as error:
                by_terms.append(row | {"refused": str(error)})
                continue
            bound = bound_of(other, kind.slots)
            row |= {"bound": bound.gas, "bound_bytes": bound.bytes}
            own = workshop if other.encoded == model.encoded else Workshop(other, engine)
            result = play(own, prompt, fault, DEFAULT_FANOUT, arguments.anvil)
            by_terms.append(row | facts_of(result))
    return {
        "machine": on,
        "model": model.name,
        "positions": positions,
        "limits": {kind.name: (kind.gas, kind.transactions) for kind in kinds},
        "fanouts": fanouts,
        "terms": by_terms,
        "moves": moves if arguments.moves else {},
        "over": over,
    }


def report(facts: dict[str, Any]) -> str:
    """Both curves as tables."""

    def cells(row: dict[str, Any]) -> list[str]:
        numbers = ("transactions", "gas", "announcement", "challenger", "submitter", "step", "calldata")
        return [f"{row[name]:,}" for name in numbers]

    common = [
        "transactions",
        "gas",
        "announcement",
        "of the challenger",
        "of the submitter",
        "step",
        "calldata",
    ]
    parts = [
        heading(facts["machine"]),
        f"{facts['model']}, {facts['positions']} positions; announcement apart",
    ]
    rows = [
        [
            row["kind"],
            str(1 << row["fanout"]),
            *cells(row),
            "{:,} in {}".format(*facts["limits"][row["kind"]]),
        ]
        for row in facts["fanouts"]
    ]
    parts.append(table(["wrong", "fan-out", *common, "at most"], rows))
    for name, moves in facts["moves"].items():
        rows = [[m["who"], m["move"], f"{m['gas']:,}", f"{m['calldata']:,}", m["text"]] for m in moves]
        parts.append(f"{name}:\n\n" + table(["who", "move", "gas", "calldata", "what"], rows))
    rows = []
    for row in facts["terms"]:
        first = [row["kind"], ", ".join(row["slots"]), str(row["terms"] or "all")]
        if "refused" in row:
            rows.append([*first, "not valid", "", *[""] * len(common)])
        else:
            rows.append([*first, f"{row['bound']:,}", f"{row['bound_bytes']:,}", *cells(row)])
    if rows:
        parts.append(table(["wrong", "slots", "terms a step", "bound gas", "bound bytes", *common], rows))
    return "\n\n".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path)
    parser.add_argument("--positions", type=int, default=256)
    parser.add_argument(
        "--fanouts",
        type=lambda text: [int(n) for n in text.split(",")],
        default=[DEFAULT_FANOUT],
        help="1 to 8",
    )
    parser.add_argument("--only", action="append", choices=[kind.fault for kind in KINDS])
    parser.add_argument("--terms", action="store_true", help="also by terms that a step carries")
    parser.add_argument("--moves", action="store_true", help="also each move")
    parser.add_argument("--engine", default="native")
    parser.add_argument(
        "--anvil", action="store_true", help="on anvil (from PATH) instead of the embedded chain"
    )
    parser.add_argument("--json", type=Path, help="write the figures there too")
    arguments = parser.parse_args()
    facts = measure(arguments)
    print(report(facts))
    write_json(arguments.json, facts)
    raise SystemExit(f"over what is wanted: {', '.join(facts['over'])}" if facts["over"] else 0)


if __name__ == "__main__":
    main()
