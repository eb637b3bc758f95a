"""What a single step costs on chain: the arithmetic, steps of typical instructions, those of a model.

    python benchmarks/step_gas.py [MODEL.gguf] [--positions 48] [--json FILE]

A transaction is a call of `StepVerifier.step` by itself, calldata and the floor of EIP-7623 included; a game
adds its storage. Execution is without the 21,000 and the calldata. Of a dissected fold the first chunks and
the finish are measured. The bound is that of `opml.vm.cost`, which sizes the bonds.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from rounds import table

from opml.chain.adapter import Contract
from opml.chain.artifacts import Artifact, load_artifact
from opml.chain.embedded import EmbeddedChain
from opml.errors import OpmlError
from opml.models.model import load_model
from opml.models.random_weights import random_weight
from opml.ops.expr import abs_, f2i, mul
from opml.ops.functions import exp, silu
from opml.ops.table import OP_BY_NAME
from opml.vm import cost, engine
from opml.vm.builder import ACC0, ProgramBuilder, c, index, k, token
from opml.vm.encoding import encode
from opml.vm.isa import Fold, Format, Out, Program
from opml.vm.layout import Layout, SlotInfo
from opml.vm.step import Mode, State, Target, prove
from opml.vm.trace import Trace, TraceTrees
from opml.vm.weights import Weights
from opml.vm.witness import Context

LAYERS = 30
"""Entries of the synthetic program, so that its trees are as deep as a small model's."""
MUST = {"dot 256 f32 x f32": 200_000, "qdot 576 Q4_1": 200_000}
PARAMS = (0, 0xFF800000, 1, 2, 0, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Row:
    """One kind of step, the dearest of those measured."""

    name: str
    fold: str
    terms: int
    transaction: int
    execution: int
    witness: int
    bound: int


class Verifier:
    """The step verifier on the embedded chain, with one program."""

    def __init__(self, chain: EmbeddedChain, layout: Layout, trees: TraceTrees) -> None:
        self.chain, self.layout, self.trees = chain, layout, trees
        self.contract, _ = chain.deploy(load_artifact("StepVerifier"), sender=chain.accounts[0])
        context = Context.of(trees)
        params = sum(word << 32 * (7 - i) for i, word in enumerate(context.params))
        self.context = (
            data_contract(chain, encode(layout.program)).address,
            context.weights_root,
            bytes(32),
            1,
            context.trace_root,
            context.prompt_root,
            context.prompt_length,
            context.output_root,
            context.output_length,
            params,
        )

    def measure(self, name: str, target: Target, bound: int) -> tuple[Row, State]:
        """The gas of a step, whose result must be the trace's, and that result."""
        state, witness = prove(self.trees, target)
        numbers = (target.t, target.ordinal, target.element, int(target.mode), target.lo, target.hi)
        arguments = [self.context, (*numbers, packed(target.total), packed(target.acc)), witness]
        found = self.chain.call(self.contract, "step", arguments)
        assert found == packed(state), f"{name}: the contract gives {found:#x}"
        receipt = self.chain.transact(self.contract, "step", arguments, sender=self.chain.accounts[0])
        instr = self.layout.committed[target.ordinal].instr
        terms = target.hi - target.lo if target.mode == Mode.CHUNK else instr.k.at(target.t)
        calldata = len(witness) + 32 * (len(self.context) + 10) + 4
        execution = receipt.gas_used - 21_000 - 16 * calldata
        return Row(name, instr.fold.name, terms, receipt.gas_used, execution, len(witness), bound), state


def packed(state: State) -> int:
    return 0 if not state else state[0] if len(state) == 1 else state[0] << 32 | state[1]


def data_contract(chain: EmbeddedChain, data: bytes) -> Contract:
    """A contract whose code is 0x00 and these bytes."""
    code = b"\0" + data
    # PUSH2 length, DUP1, PUSH1 11, PUSH0, CODECOPY, PUSH0, RETURN
    creation = b"\x61" + len(code).to_bytes(2, "big") + bytes.fromhex("80600a5f395ff3") + code
    return chain.deploy(Artifact("data", (), creation, code), sender=chain.accounts[0])[0]


def steps(trace: Trace, trees: TraceTrees, slot: SlotInfo, t: int, element: int) -> Iterator[Target]:
    """A whole step, or the first two chunks and a finish."""
    assert slot.ordinal is not None
    if not trace.layout.dissected(slot, t):
        yield Target(t, slot.ordinal, element)
        return
    total: State = ()
    acc: State = ()
    extent, size = slot.instr.k.at(t), slot.instr.terms
    for lo in range(0, min(extent, 2 * size), size):
        hi = min(lo + size, extent)
        chunk = Target(t, slot.ordinal, element, Mode.CHUNK, lo, hi, total, acc)
        yield chunk
        state, _ = prove(trees, chunk)
        whole = slot.instr.fold in (Fold.MAX, Fold.ARGMAX) or hi % 256 == 0 or hi == extent
        total, acc = (state, ()) if whole else (total, state)
    yield Target(t, slot.ordinal, element, Mode.FINISH, total=total or acc)


def dearest(verifier: Verifier, trace: Trace, slots: Sequence[SlotInfo], t: int) -> list[Row]:
    """The dearest step of the first, a middle and the last element of each slot."""
    rows = []
    for slot in slots:
        length = trace.layout.slot_leaves(slot, t).length
        bound = cost.step(trace.layout, slot).gas
        measured = [
            verifier.measure(slot.instr.name, target, bound)[0]
            for element in sorted({0, length // 2, length - 1})
            for target in steps(trace, verifier.trees, slot, t, element)
        ]
        rows.append(max(measured, key=lambda row: row.transaction))
    return rows


def synthetic() -> tuple[Program, Weights]:
    """Typical instructions on their own, repeated so that trees are deep."""
    model = ProgramBuilder(limit=2_048)
    table_ = model.global_weight(64, 576, Format.F32)
    first = model.block("embed")
    first.emit("embed", 1, 576, table_(index(token()) * 576 + c))
    layer = model.block("layer")
    x = layer.previous
    formats = (Format.Q4_0, Format.Q4_1, Format.Q5_0, Format.Q5_1, Format.Q8_0)
    quantised = [layer.weight(32, 576) for _ in formats]
    floats = [(layer.weight(32, 256), fmt) for fmt in (Format.F32, Format.F16, Format.BF16)]
    amax = layer.emit("max 32 of |x|", 1, 18, fold=Fold.MAX, k=32, body=(abs_(x(c * 32 + k)),))
    d = layer.emit("d", 1, 18, mul(amax(c), 1.0 / 127.0))
    q = layer.emit("q", 1, 576, f2i(mul(x(c), 100.0)), out=Out.I8)
    for fmt, weight in zip(formats, quantised, strict=True):
        layer.emit(
            f"qdot 576 {fmt.name}", 1, 32, fold=Fold.QDOT, k=576, body=(weight(c * 576 + k), q(k), d(k // 32))
        )
    for weight, fmt in floats:
        name = f"dot 256 f32 x {fmt.name.lower()}"
        layer.emit(name, 1, 32, fold=Fold.DOT, k=256, body=(x(k), weight(c * 256 + k)))
    layer.emit("exp(x)", 1, 576, exp(x(c)))
    layer.emit("silu(acc)", 1, 32, silu(ACC0), fold=Fold.DOT, k=32, body=(x(k), x(c + k)))
    layer.emit("next x", 1, 576, mul(x(c), 0.99))
    last = model.block("sample")
    last.emit(
        "sample", 1, 1, fold=Fold.ARGMAX, k=576, body=(last.previous(k),), out=Out.I32, yields=True, terms=16
    )
    each = [*formats, *(fmt for _, fmt in floats)]
    program = model.program([(first, []), *[(layer, each)] * LAYERS, (last, [])])
    shapes = enumerate(Layout(program).weights)
    weights = [random_weight(1, f"w{n}", w.rows, w.cols, w.format, 0.5) for n, w in shapes]
    return program, Weights(weights)


def arithmetic(chain: EmbeddedChain) -> list[list[str]]:
    """Gas of operations on ordinary operands: mean and most, the call of the function included."""
    harness, _ = chain.deploy(load_artifact("test/ScalarHarness"), sender=chain.accounts[0])
    rng = np.random.default_rng(1)
    rows = []
    for name in ("add", "mul", "div", "sqrt", "fma"):
        op = OP_BY_NAME[name]
        values = rng.uniform(0.5, 2.0, (200, op.arity)).astype(np.float32).view(np.uint32)
        ordinary = values.astype(">u4").tobytes()
        edges = rng.choice(np.array(EDGES, np.uint32), (400, op.arity)).astype(">u4").tobytes()
        _, total = chain.call(harness, "gasOf", [op.code, op.arity, ordinary])
        most, _ = chain.call(harness, "gasOf", [op.code, op.arity, edges])
        rows.append([name, f"{total / 200:.0f}", str(most)])
    harness, _ = chain.deploy(load_artifact("test/DotHarness"), sender=chain.accounts[0])
    a, b = rng.standard_normal((2, 256)).astype("<f4")
    _, used = chain.call(harness, "dot", [a.tobytes(), 0, b.tobytes(), 0, 256, 0])
    hard = rng.choice(np.array(EDGES, "<u4"), (2, 256))
    _, most = chain.call(harness, "dot", [hard[0].tobytes(), 0, hard[1].tobytes(), 0, 256, 0])
    rows.append(["fma in a dot product of 256", f"{used / 256:.0f}", f"{most / 256:.0f}"])
    return rows


EDGES = (0, 1 << 31, 1, 0x7FFFFF, 0x800000, 0x3F800000, 0xBF800001, 0x7F7FFFFF, 0x7F800000, 0x7FC00001)
"""Zeros, subnormals, limits, infinity, NaN."""


def printed(rows: Sequence[Row]) -> str:
    head = ["step", "fold", "terms", "transaction", "of it execution", "witness B", "bound", "must"]
    return table(
        head,
        [
            [
                row.name,
                row.fold.lower(),
                str(row.terms),
                f"{row.transaction:,}",
                f"{row.execution:,}",
                str(row.witness),
                f"{row.bound:,}",
                f"{MUST[row.name]:,}" if row.name in MUST else "",
            ]
            for row in rows
        ],
    )


def traced(program: Program, weights: Weights, tokens: Sequence[int]) -> Trace:
    """The trace over tokens, the last two of which are output."""
    loaded = engine.get_engine("native").load(program, weights)
    return engine.run(loaded, tokens, len(tokens) - 2, PARAMS)


def middle(trace: Trace, t: int) -> list[SlotInfo]:
    """The committed slots of the first, a middle and the last schedule entry."""
    entries = len(trace.layout.program.schedule)
    wanted = {0, entries // 2, entries - 1}
    slots = [slot for slot in trace.layout.committed if slot.entry in wanted]
    return [slot for slot in slots if trace.layout.exists(slot, t, trace.prompt_length)]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Gas of single steps.")
    parser.add_argument("model", type=Path, nargs="?", help="a GGUF file: its steps are measured too")
    parser.add_argument("--positions", type=int, default=48, help="positions of the trace (default 48)")
    parser.add_argument("--json", type=Path, help="write the figures here as well")
    options = parser.parse_args()
    chain = EmbeddedChain(accounts=1)
    operations = arithmetic(chain)
    print(table(["operation", "gas, ordinary data", "most, any data"], operations))
    trace = traced(*synthetic(), [n % 60 for n in range(1, 20)])
    trees = TraceTrees(trace)
    t = len(trace.tokens) - 2
    rows = dearest(Verifier(chain, trace.layout, trees), trace, middle(trace, t), t)
    print("\nTypical instructions, trees as deep as a small model's:\n\n" + printed(rows))
    figures: dict[str, object] = {"operations": operations, "typical": [asdict(row) for row in rows]}
    if options.model:
        model = load_model(options.model)
        tokens = model.encode_prompt("The sea was calm, and nobody on board had slept. " * 40)
        trace = traced(model.program, model.weights, tokens[: options.positions + 1])
        t = len(trace.tokens) - 2
        rows = dearest(Verifier(chain, trace.layout, TraceTrees(trace)), trace, middle(trace, t), t)
        print(f"\n{options.model.name}, {options.positions} positions:\n\n" + printed(rows))
        figures["model"] = [asdict(row) for row in rows]
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    missed = [row for row in rows if row.transaction > MUST.get(row.name, row.transaction)]
    raise SystemExit(f"over the figure: {', '.join(row.name for row in missed)}" if missed else 0)


if __name__ == "__main__":
    try:
        main()
    except OpmlError as problem:
        raise SystemExit(str(problem)) from None
