"""What a position commits to, by context length and by choice of what is committed.

    python benchmarks/committed_bytes.py MODEL.gguf [--measure] [--json FILE]

Variants are the compiled program with other tensors committed, virtual or stored in another format. Beside
the bytes: the leaves and nodes that are hashed, the bounds for the worst step (`opml.vm.cost`), and, with
`--measure`, the share of one-thread processor time that the commitment takes in the native engine.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from time import process_time
from typing import Any

from rounds import NATIVE, heading, machine, table, write_json

from opml.errors import OpmlError
from opml.models.model import load_model
from opml.vm import cost
from opml.vm.encoding import encode
from opml.vm.isa import Instr, Out, Program
from opml.vm.layout import Layout
from opml.vm.validate import validate
from opml.vm.weights import Weights

CONTEXTS = (256, 2048, 8192)
MUST = 500_000
Change = Callable[[Instr], Instr]


def committing(*names: str) -> Change:
    """Virtual tensors of these names are committed to."""
    return lambda i: replace(i, virtual=False) if i.name in names else i


def unquantised(i: Instr) -> Instr:
    """int8 activations and their scales are virtual: readers compute them again."""
    return replace(i, virtual=True) if i.name.endswith((".q", ".d")) else i


def single(i: Instr) -> Instr:
    """What is f16 is f32, K and V too."""
    return replace(i, out=Out.F32) if i.out == Out.F16 else i


VARIANTS: dict[str, Change] = {
    "as compiled": lambda i: i,
    "scores committed": committing("score"),
    "scores and exponentials committed": committing("score", "score.exp"),
    "logits committed": committing("logits"),
    "logits and noise committed": committing("logits", "gumbel"),
    "int8 activations virtual": unquantised,
    "f32 in place of f16": single,
}


@dataclass(frozen=True, slots=True)
class Committed:
    """What a position at the end of a context commits to; `yielded` is the part of a yielded token."""

    slots: int
    bytes: int
    hashes: int
    yielded: int


def varied(program: Program, change: Change) -> Program:
    """The program with every instruction changed."""
    blocks = tuple(replace(block, code=tuple(map(change, block.code))) for block in program.blocks)
    return replace(program, blocks=blocks)


def committed(layout: Layout, context: int) -> Committed:
    """Sizes at position `context` - 1."""
    leaves = [(slot, layout.slot_leaves(slot, context - 1)) for slot in layout.committed]
    always = [leaf for slot, leaf in leaves if not slot.instr.yields]
    inner = sum(2**leaf.depth - 1 + leaf.count for leaf in always)
    return Committed(
        slots=len(always),
        bytes=sum(leaf.total_bytes for leaf in always),
        hashes=inner + 2**layout.position_depth - 1,
        yielded=sum(leaf.total_bytes for slot, leaf in leaves if slot.instr.yields),
    )


def hashing_share(
    program: Program, weights: Weights, decoded: int = 24, batch: int = 128
) -> dict[str, float]:
    """Share of processor time that the commitment takes, decoding and in a batch."""
    machine_ = NATIVE.Machine(encode(program), [w.data for w in weights], "native", 1)
    ids = list(range(100, 100 + batch))

    def spent(commit: bool) -> tuple[float, float]:
        session = machine_.new_session()
        start = process_time()
        session.feed(ids, batch, commit)
        middle = process_time()
        for token in ids[:decoded]:
            session.feed([token], batch, commit)
        return process_time() - middle, middle - start

    rounds = [(spent(True), spent(False)) for _ in range(3)]
    decode, batched = (
        1 - min(off[n] for _, off in rounds) / min(on[n] for on, _ in rounds) for n in range(2)
    )
    return {"decode": decode, "batch": batched}


def measure(model: Path, share: bool) -> dict[str, Any]:
    """A row for each variant."""
    on = machine()
    loaded = load_model(model)
    contexts = [context for context in CONTEXTS if context <= loaded.limit] or [loaded.limit]
    rows = []
    for name, change in VARIANTS.items():
        program = varied(loaded.program, change)
        row: dict[str, Any] = {"variant": name}
        try:
            layout = validate(program)
        except OpmlError as error:
            row["refused"] = str(error)
            layout = Layout(program)
        worst = cost.worst_step(layout)
        dearest = max(layout.committed, key=lambda slot: cost.step(layout, slot).gas)
        row |= {"gas": worst.gas, "calldata": worst.bytes, "dearest": dearest.instr.name}
        sizes = {context: committed(layout, context) for context in contexts}
        row["bytes"] = {context: size.bytes for context, size in sizes.items()}
        first = sizes[contexts[0]]
        row |= {"slots": first.slots, "hashes": first.hashes, "yielded": first.yielded}
        if share:
            row["share"] = hashing_share(program, loaded.weights)
        rows.append(row)
    facts = {"machine": on, "model": model.name, "limit": loaded.limit, "rows": rows}
    return facts | {"contexts": contexts}


def report(facts: dict[str, Any]) -> str:
    """The variants as a table."""
    head = [
        "variant",
        "slots",
        *(f"bytes at {context}" for context in facts["contexts"]),
        "hashes",
        "more if it yields",
    ]
    head += ["worst step gas", "of", "worst step bytes", "hashing, decode", "hashing, batch", "valid"]
    rows = []
    for row in facts["rows"]:
        share = row.get("share", {})
        cells = [row["variant"], str(row["slots"]), *(f"{n:,}" for n in row["bytes"].values())]
        cells += [f"{row['hashes']:,}", f"{row['yielded']:,}", f"{row['gas']:,}", row["dearest"]]
        cells.append(f"{row['calldata']:,}")
        cells += [f"{share[op]:.0%}" if op in share else "" for op in ("decode", "batch")]
        rows.append([*cells, "no" if "refused" in row else "yes"])
    refused = [f"{row['variant']}: {row['refused']}" for row in facts["rows"] if "refused" in row]
    top = f"{facts['model']}, {facts['limit']} positions at most; at most {MUST:,} bytes wanted"
    return "\n\n".join([heading(facts["machine"]), top, table(head, rows), *refused])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path)
    parser.add_argument(
        "--measure", action="store_true", help="also the share of hashing in the native engine"
    )
    parser.add_argument("--json", type=Path, help="write the figures there too")
    arguments = parser.parse_args()
    facts = measure(arguments.model, arguments.measure)
    print(report(facts))
    write_json(arguments.json, facts)


if __name__ == "__main__":
    main()
