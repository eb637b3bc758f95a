"""What one step can cost at most: bytes of calldata and gas (`docs/spec.md`, Cost of a step).

A bound in integers, simple enough for the registry's contract to compute the same number. Every operand is
charged the leaves that its reads can touch (`opml.vm.reach`) with all their siblings, as if no other operand
had opened anything. A virtual operand is followed to what it reads. Data is always the most costly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from opml.ops.quant import UNIT
from opml.ops.table import OPS
from opml.vm.isa import LEAF_ELEMENTS, OUT_BYTES, Axis, Fold, Format, Instr, Kind, Operand, Out, Pos, ScalarOp
from opml.vm.layout import Layout, Leaves, SlotInfo, cut, token_leaves
from opml.vm.reach import Places, Touched, depends_on, follow

HASH_BYTES = 32

GAS: dict[str, int] = {
    "step": 90_000,  # the transaction, the game's storage, loading the program, payments
    "entry": 150,  # loading the program: an entry of its schedule
    "calldata_byte": 16,  # none of them zero
    "floor_byte": 40,  # what a transaction costs at least (EIP-7623)
    "hash": 260,  # one node on a path
    "leaf": 3_000,  # opening a leaf apart from its bytes: noting its run, hashing, folding
    "leaf_byte": 1,
    "frame": 6_000,  # decoding an instruction
    "operand": 1_800,  # decoding an operand
    "read": 2_100,  # one element of an opened leaf
    "dequantise": 1_700,  # the same of a quantised weight: this much more
    "search": 45,  # passing over a run of the tensor that is read
    "scalar": 900,  # one token, parameter or axis
    "element": 3_000,  # entering an evaluation
    "term": 500,  # one term of a fold, apart from its operands and operations
    "unit": 8_000,  # one unit of a qdot
    "unit_minimum": 13_000,  # the same of a format with a minimum
    "bulk_term": 2_300,  # one term of a dot of stored floats
    "compare": 300,
}
"""Gas of the parts of a step on the most costly data, as measured on the contract, rounded up."""

OP_GAS: dict[str, int] = {
    "add": 1_500,
    "sub": 1_500,
    "mul": 1_500,
    "div": 1_450,
    "sqrt": 900,
    "fma": 1_650,
    "min": 700,
    "max": 700,
    "lt": 700,
    "le": 700,
    "i2f": 750,
    "f2i": 650,
}
"""Gas of scalar operations that cost more than `PLAIN_OP_GAS`."""
PLAIN_OP_GAS = 450

OP_GAS_BY_CODE: tuple[int, ...] = tuple(OP_GAS.get(op.name, PLAIN_OP_GAS) for op in OPS)


@dataclass(frozen=True, slots=True)
class Cost:
    """Bytes of witness, and gas without them."""

    bytes: int = 0
    gas: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.bytes + other.bytes, self.gas + other.gas)


def step(layout: Layout, slot: SlotInfo) -> Cost:
    """The bound for a step of a committed slot: bytes of witness, and gas including those of the calldata."""
    k = slot.instr.k.n
    terms = k if slot.instr.terms == 0 else min(k, slot.instr.terms)
    total = _elements(layout, slot, Places(), terms)
    gas = max(total.gas + GAS["calldata_byte"] * total.bytes, GAS["floor_byte"] * total.bytes)
    return Cost(total.bytes, GAS["step"] + GAS["entry"] * len(layout.program.schedule) + gas)


def worst_step(layout: Layout) -> Cost:
    """The largest bytes and the largest gas of all committed slots: what bonds are sized by."""
    costs = [step(layout, slot) for slot in layout.committed]
    return Cost(max(cost.bytes for cost in costs), max(cost.gas for cost in costs))


def _elements(layout: Layout, slot: SlotInfo, places: Places, terms: int) -> Cost:
    """Elements of a slot at some places: `terms` terms of the fold, and the finish, of each."""
    instr = slot.instr
    fold_gas = _fold_gas(layout, slot, terms, _in_bulk(layout, slot))
    total = Cost(0, places.reads * (GAS["element"] + _code_gas(instr.finish) + fold_gas))
    total += Cost(0, GAS["frame"] + GAS["operand"] * len(instr.operands))
    for number in range(len(instr.finish_operands)):
        total += _operand(layout, slot, instr.finish_operands, number, places, 1)
    for number in range(instr.body_operands):
        total += _operand(layout, slot, instr.fold_operands, number, places, terms)
    return total


def _by_run(layout: Layout, slot: SlotInfo, section: Sequence[Operand], number: int) -> bool:
    """Whether an operand of a body reads what is opened together along k."""
    operand = section[number]
    along = operand.term(Axis.K)
    if operand.kind == Kind.SLOT:
        if operand.pos != Pos.HERE or layout.source(slot, operand).instr.virtual:
            return False
    elif operand.kind not in (Kind.WEIGHT, Kind.GLOBAL):
        return False
    if along is None or along.mul != 1 or along.xor != 0:
        return False
    return not (operand.term(Axis.I) and depends_on(section, operand.index, Axis.K))


def _in_bulk(layout: Layout, slot: SlotInfo) -> bool:
    """Whether the verifier folds runs in place: a qdot of them, or a dot of consecutive stored floats."""
    instr = slot.instr
    operands = instr.fold_operands
    if instr.fold == Fold.QDOT:
        named = (*instr.qdot_weights, *instr.result[1:3])
        return all(_by_run(layout, slot, operands, number) for number in named)
    if instr.fold != Fold.DOT or instr.body:
        return False
    for number, operand in enumerate(operands):
        along = operand.term(Axis.K)
        if not _by_run(layout, slot, operands, number) or along is None or along.div != 1:
            return False
        if operand.kind == Kind.SLOT:
            if layout.source(slot, operand).instr.out > Out.BF16:
                return False
        elif layout.weights[layout.weight_number(slot, operand)].format > Format.BF16:
            return False
    return True


def _fold_gas(layout: Layout, slot: SlotInfo, terms: int, bulk: bool) -> int:
    """Gas of the terms of one element, apart from their operands."""
    instr = slot.instr
    if instr.fold == Fold.NONE:
        return 0
    closings = (terms // LEAF_ELEMENTS + 1) * instr.accumulators * OP_GAS["add"]
    if instr.fold == Fold.QDOT:
        weights = (layout.weight_number(slot, instr.fold_operands[n]) for n in instr.qdot_weights)
        units = (layout.weights[number].format.info for number in weights)
        return terms // UNIT * sum(GAS["unit_minimum" if u.minimum else "unit"] for u in units) + closings
    a_term = GAS["term"] + _code_gas(instr.body)
    if bulk:
        return terms * instr.accumulators * GAS["bulk_term"] + closings
    if instr.fold == Fold.DOT:
        return terms * (a_term + instr.accumulators * OP_GAS["fma"]) + closings
    return terms * (a_term + GAS["compare"])


def _operand(
    layout: Layout, slot: SlotInfo, section: Sequence[Operand], number: int, places: Places, terms: int
) -> Cost:
    """One operand of a section, read for elements at some places, `terms` terms each (1 for a finish)."""
    operand = section[number]
    if operand.kind in (Kind.PARAM, Kind.AXIS):
        return Cost(0, places.reads * terms * GAS["scalar"])
    if operand.kind == Kind.TOKEN:
        leaves = token_leaves(layout.program.limit)
        return _opened(leaves, 1, leaves.depth) + Cost(0, places.reads * terms * GAS["scalar"])
    total = Cost()
    if operand.term(Axis.I):  # read once more for each address
        total = Cost(0, _operand(layout, slot, section, operand.index, places, terms).gas)
    if operand.kind == Kind.SLOT:
        source = layout.source(slot, operand)
        instr = source.instr
        touched = follow(slot.instr, section, number, places, terms, instr.cols.n)
        if instr.virtual:
            if _by_units(slot.instr, terms) and instr.out != Out.I8:
                touched = touched.read(places.reads * terms // UNIT)
            inner = touched.within(instr.rows.n, instr.cols.n, instr.cols.varies)
            return total + _elements(layout, source, inner, instr.k.n)
        leaves = cut(1, instr.rows.n * instr.cols.n, 1, OUT_BYTES[instr.out])
        upward = layout.position_depth + layout.most_trace_depth
    else:
        weight = layout.weights[layout.weight_number(slot, operand)]
        touched = follow(slot.instr, section, number, places, terms, weight.cols)
        leaves, upward = weight.leaves, layout.weights_depth
    by_units = _by_units(slot.instr, terms)
    reads = places.reads * (terms // UNIT if by_units else terms)
    a_read = GAS["read"] + (GAS["dequantise"] if leaves.unit > 1 and not by_units else 0)
    by_run = _by_run(layout, slot, section, number)
    opened, runs = _committed(operand, touched, leaves, upward, by_run)
    if by_run and _in_bulk(layout, slot):  # looked up once an element; terms have a price of their own
        return total + opened + Cost(0, places.reads * GAS["search"] * runs)
    return total + opened + Cost(0, reads * (a_read + GAS["search"] * runs))


def _by_units(instr: Instr, terms: int) -> bool:
    """Whether what `terms` terms read is read once a unit: all of a qdot's but virtual activations."""
    return instr.fold == Fold.QDOT and terms >= UNIT


def _committed(
    operand: Operand, touched: Touched, leaves: Leaves, upward: int, by_run: bool
) -> tuple[Cost, int]:
    """The openings for what an operand touches in a tensor that is committed to, and the runs of a tensor."""
    places = touched.places
    a_line = touched.leaves_of_a_line(leaves)
    if operand.pos != Pos.HERE:  # each may be of another position
        count = min(places.distinct, places.lines * a_line)
        return _opened(leaves, count, count * (leaves.depth + upward)), min(count, leaves.count)
    if by_run:  # runs may overlap, and each has two sides
        a_line = min(a_line, leaves.count)
        paths = places.lines * min(2, a_line)
        return _opened(leaves, places.lines * a_line, paths * leaves.depth + upward), places.lines
    count = min(places.distinct, places.lines * a_line, leaves.count)
    return _opened(leaves, count, count * leaves.depth + upward), count


def _code_gas(code: Sequence[ScalarOp]) -> int:
    return sum(OP_GAS_BY_CODE[op.op] for op in code)


def _opened(leaves: Leaves, count: int, hashes: int) -> Cost:
    """`count` leaves and the hashes that prove them."""
    size = min(LEAF_ELEMENTS, leaves.length) // leaves.unit * leaves.unit_bytes
    gas = count * (GAS["leaf"] + GAS["leaf_byte"] * size) + hashes * GAS["hash"]
    return Cost(count * size + HASH_BYTES * hashes, gas)


__all__ = ["GAS", "OP_GAS", "OP_GAS_BY_CODE", "PLAIN_OP_GAS", "Cost", "step", "worst_step"]
