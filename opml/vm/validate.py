"""Which programs may run: the rules of `docs/spec.md`, Validation, by number.

`validate` raises `ProgramError` for the first rule that a slot breaks and says which. A valid program cannot
read outside a tensor or what does not exist yet, determines every bit that it commits to, and has no step
that is too large to be proven. The registry's contract checks the same before it stores a program.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence

from opml.errors import ProgramError
from opml.ops.program import check as check_scalar_program
from opml.ops.quant import UNIT
from opml.vm import cost
from opml.vm.encoding import decode, encode
from opml.vm.isa import (
    LEAF_ELEMENTS,
    MAX_ELEMENTS,
    MAX_VIRTUAL_DEPTH,
    NO_INDEX,
    POOL_BASE,
    ROW,
    Axis,
    Ext,
    Fold,
    Instr,
    Kind,
    Operand,
    Out,
    Pos,
    Program,
    Term,
)
from opml.vm.layout import Layout, SlotInfo, WeightInfo

MAX_STEP_GAS = 8_000_000
MAX_STEP_BYTES = 100_000

_SCALAR_KINDS = (Kind.TOKEN, Kind.PARAM, Kind.AXIS)


def validate(program: Program) -> Layout:
    """The layout of a program that keeps all rules. Raises `ProgramError`, naming slot and rule, else."""
    if decode(encode(program)) != program:
        raise ProgramError("rule 1: the encoding decodes to another program: a field has no canonical value")
    if not all(block.code for block in program.blocks):
        raise ProgramError("rule 1: a block has at least one instruction")
    layout = Layout(program)
    for number, weight in enumerate(layout.weights):
        _check_weight(number, weight)
    kinds = _kinds(layout)
    for slot in _first_of(kinds, layout.slots):
        _Check(layout, slot).run()
    _check_yields(layout)
    _check_virtual_depth(layout)
    for slot in _first_of(kinds, layout.committed):
        worst = cost.step(layout, slot)
        if worst.bytes > MAX_STEP_BYTES or worst.gas > MAX_STEP_GAS:
            raise ProgramError(
                f"slot {slot.number} ({slot.name}): rule 13: the worst step takes {worst.gas} gas and "
                f"{worst.bytes} bytes, allowed are {MAX_STEP_GAS} and {MAX_STEP_BYTES}: lower `terms`, or "
                "commit to the virtual slots that it reads"
            )
    return layout


def _kinds(layout: Layout) -> list[int]:
    """By slot: a number that is the same where all rules of one slot and its cost say the same.

    So it is where one instruction reads tensors alike, as in the layers of a model: checking one of them is
    enough. They depend on a stored source's instruction, on all that a virtual one reads, on shape and format
    of weights.
    """
    program = layout.program
    numbers: dict[Hashable, int] = {}
    kinds: list[int] = []
    for slot in layout.slots:
        reads: list[Hashable] = []
        for operand in slot.instr.operands:
            if operand.kind == Kind.SLOT and 1 <= operand.ref <= slot.number:
                source = layout.source(slot, operand)
                reads.append(kinds[source.number] if source.instr.virtual else (id(source.instr),))
            elif operand.kind in (Kind.WEIGHT, Kind.GLOBAL):
                number = layout.weight_number(slot, operand)
                reads.append(layout.weights[number] if number < len(layout.weights) else None)
            else:
                reads.append(None)
        facts = (program.schedule[slot.entry], id(slot.instr), *reads)
        kinds.append(numbers.setdefault(facts, len(numbers)))
    return kinds


def _first_of(kinds: Sequence[int], slots: Iterable[SlotInfo]) -> Iterator[SlotInfo]:
    """The first slot of each kind."""
    seen: set[int] = set()
    for slot in slots:
        if kinds[slot.number] not in seen:
            seen.add(kinds[slot.number])
            yield slot


def _check_weight(number: int, weight: WeightInfo) -> None:
    if not (weight.rows and weight.cols and weight.rows * weight.cols < MAX_ELEMENTS):
        raise ProgramError(f"weight {number}: rule 3: {weight.rows} x {weight.cols} is empty or too large")
    if weight.cols % weight.format.info.unit:
        raise ProgramError(
            f"weight {number}: rule 9: rows of {weight.format.name} hold whole units of "
            f"{weight.format.info.unit}, found {weight.cols} columns"
        )


def _check_yields(layout: Layout) -> None:
    yielding = False
    for slot in layout.slots:
        if yielding and not slot.instr.yields:
            raise ProgramError(
                f"slot {slot.number} ({slot.name}): rule 7: comes after a yields slot, must yield"
            )
        yielding = slot.instr.yields
    last = layout.slots[-1].instr
    if not last.yields or last.virtual or last.out != Out.I32 or (last.rows, last.cols) != (Ext(1), Ext(1)):
        raise ProgramError("rule 7: the last slot is the sample: yields, committed, i32, 1 x 1")


def _check_virtual_depth(layout: Layout) -> None:
    depths: list[int] = []
    for slot in layout.slots:
        sources = (
            layout.source(slot, operand) for operand in slot.instr.operands if operand.kind == Kind.SLOT
        )
        depth = max((depths[source.number] for source in sources), default=0) + 1 if slot.instr.virtual else 0
        if depth > MAX_VIRTUAL_DEPTH:
            raise ProgramError(
                f"slot {slot.number} ({slot.name}): rule 11: virtual slots nest {depth} deep, at most "
                f"{MAX_VIRTUAL_DEPTH}: commit to one of them"
            )
        depths.append(depth)


class _Check:
    """The rules of one slot."""

    def __init__(self, layout: Layout, slot: SlotInfo) -> None:
        self.layout = layout
        self.slot = slot
        self.instr: Instr = slot.instr
        self.limit = layout.program.limit
        instr = slot.instr
        self.extents = {
            Axis.R: instr.rows,
            Axis.C: instr.cols,
            Axis.K: instr.k,
            Axis.T: Ext(self.limit, True),
        }

    def need(self, rule: int, holds: bool, what: str) -> None:
        if not holds:
            raise ProgramError(f"slot {self.slot.number} ({self.slot.name}): rule {rule}: {what}")

    def run(self) -> None:
        self._shape()
        self._references()
        for section in (self.instr.fold_operands, self.instr.finish_operands):
            for number, operand in enumerate(section):
                self._operand(section, number, operand)
        if self.instr.fold == Fold.QDOT:
            self._qdot()
        self._registers()
        self._terms()

    # Shape and terms -----------------------------------------------------------------------------------

    def _shape(self) -> None:
        instr, limit = self.instr, self.limit
        self.need(3, not instr.rows.varies, "rows do not vary")
        for what, extent in (("rows", instr.rows), ("columns", instr.cols)):
            self.need(3, extent.n > 0, f"{what} are at least 1")
        for what, extent in (("columns", instr.cols), ("fold length", instr.k)):
            self.need(3, not extent.varies or 0 < extent.n <= limit, f"{what} that vary are 1 to {limit}")
        self.need(3, instr.rows.n * instr.cols.n < MAX_ELEMENTS, "a tensor has fewer than 2^31 elements")
        folds = instr.fold != Fold.NONE
        self.need(3, folds == (instr.k != Ext(0)), "the fold length is 0 if and only if there is no fold")
        if not folds:
            empty = not (instr.body_operands or instr.body or any(instr.result) or instr.two)
            self.need(3, empty, "without a fold there are no body operands, operations or results")

    def _terms(self) -> None:
        instr = self.instr
        self.need(
            11, not instr.virtual or instr.terms == 0, "the fold of a virtual slot is one step: terms 0"
        )
        if instr.fold == Fold.NONE:
            self.need(12, instr.terms == 0, "without a fold terms are 0")
        else:
            self.need(12, instr.terms > 0 or not instr.k.varies, "a fold of varying length needs terms")
        if instr.fold == Fold.QDOT:
            self.need(
                12, instr.terms == 0 or instr.terms >= UNIT, f"a qdot takes at least {UNIT} terms a step"
            )
        posted = _posting(instr)
        self.need(
            12,
            posted <= MAX_STEP_BYTES,
            f"{posted} bytes of running totals at once, allowed are {MAX_STEP_BYTES}: more `terms` a step",
        )

    # Operands ------------------------------------------------------------------------------------------

    def _references(self) -> None:
        """Rule 2 and the unused fields of rule 10, for all operands before anything is looked up."""
        program = self.layout.program
        for number, operand in enumerate(self.instr.operands):
            body = number < self.instr.body_operands
            count = {
                Kind.WEIGHT: len(program.blocks[program.schedule[self.slot.entry]].weights),
                Kind.GLOBAL: len(program.globals),
                Kind.TOKEN: 1,
                Kind.PARAM: program.params,
                Kind.AXIS: 4,
            }
            if operand.kind == Kind.SLOT:
                earlier = 1 <= operand.ref <= self.slot.number
                self.need(2, earlier, f"operand {number} reads {operand.ref} slots back")
            else:
                exists = operand.ref < count[operand.kind]
                self.need(2, exists, f"operand {number}: no {operand.kind.name.lower()} {operand.ref}")
                self.need(10, operand.pos == Pos.HERE, f"operand {number}: only a slot is read over a window")
            uses_k = operand.pos == Pos.WINDOW_K or operand.term(Axis.K) is not None
            uses_k = uses_k or (operand.kind, operand.ref) == (Kind.AXIS, Axis.K)
            self.need(2, body or not uses_k, f"operand {number}: a finish does not read k")
            if operand.kind in _SCALAR_KINDS:
                bare = not operand.terms and operand.base == 0 and operand.index == NO_INDEX
                self.need(10, bare, f"operand {number}: a {operand.kind.name.lower()} has no address")
            indexed = operand.term(Axis.I) is not None
            self.need(
                10, indexed == (operand.index != NO_INDEX), f"operand {number}: index operand without axis i"
            )

    def _operand(self, section: Sequence[Operand], number: int, operand: Operand) -> None:
        if operand.kind in _SCALAR_KINDS:
            return
        rows, row = self._tensor(operand)
        axes = [term.axis for term in operand.terms]
        self.need(4, len(set(axes)) == len(axes), f"operand {number} has a term twice over one axis")
        for term in operand.terms:
            self.need(4, term.div >= 1 and term.mul >= 1, f"operand {number}: div and mul are at least 1")
            if term.axis == Axis.I:
                self._index(section, number, operand, term, rows * row.n)
            elif term.xor:
                extent = self.extents[term.axis]
                whole = not extent.varies and extent.n % (2 * term.xor) == 0
                self.need(4, whole, f"operand {number}: xor {term.xor} leaves its axis")
        if operand.pos != Pos.HERE:
            self._window(number, operand)
        if row.varies:
            self._varying_row(number, operand, rows, row)
        else:
            last = operand.base + sum(self._reach(term, rows * row.n, row.n) for term in operand.terms)
            inside = last < rows * row.n
            self.need(4, inside, f"operand {number} reaches element {last} of {rows * row.n}")

    def _tensor(self, operand: Operand) -> tuple[int, Ext]:
        """(rows, row length) of the tensor that an operand reads."""
        if operand.kind == Kind.SLOT:
            source = self.layout.source(self.slot, operand).instr
            return source.rows.n, source.cols
        weight = self.layout.weights[self.layout.weight_number(self.slot, operand)]
        return weight.rows, Ext(weight.cols)

    def _reach(self, term: Term, size: int, cols: int) -> int:
        """The most that a term adds to an address."""
        mul = cols if term.mul == ROW else term.mul
        if term.axis == Axis.I:
            return size - mul
        return mul * ((self.extents[term.axis].n - 1) // term.div)

    def _index(
        self, section: Sequence[Operand], number: int, operand: Operand, term: Term, size: int
    ) -> None:
        self.need(
            8, operand.index < number, f"operand {number}: its index is an earlier operand of its section"
        )
        source = section[operand.index]
        integer = source.kind == Kind.TOKEN or (
            source.kind == Kind.SLOT and self.layout.source(self.slot, source).instr.out == Out.I32
        )
        self.need(8, integer, f"operand {number}: an index is a token or an i32 slot")
        self.need(8, term.div == 1 and term.xor == 0, f"operand {number}: axis i has no div and no xor")
        self.need(8, term.mul != ROW, f"operand {number}: axis i has no factor ROW")
        divides = size % term.mul == 0
        self.need(8, divides, f"operand {number}: {term.mul} elements do not divide a tensor of {size}")

    def _window(self, number: int, operand: Operand) -> None:
        source = self.layout.source(self.slot, operand).instr
        extent = self.instr.k if operand.pos == Pos.WINDOW_K else self.instr.cols
        self.need(6, extent.varies, f"operand {number}: the axis of a window varies")
        steady = not (source.virtual or source.yields or source.cols.varies)
        self.need(6, steady, f"operand {number}: a window reads what every position commits to, of one shape")
        plain = all(term.mul != ROW for term in operand.terms)
        self.need(6, plain, f"operand {number}: a window has no terms of ROW")

    def _varying_row(self, number: int, operand: Operand, rows: int, row: Ext) -> None:
        along = [term for term in operand.terms if term.mul != ROW]
        one = len(along) == 1 and along[0].axis in (Axis.C, Axis.K) and operand.base == 0
        one = one and along[0] == Term(along[0].axis) and self.extents[along[0].axis] == row
        self.need(5, one, f"operand {number}: a varying row is read along one whole c or k of its extent")
        last = sum(self._reach(term, rows, 1) for term in operand.terms if term.mul == ROW)
        self.need(4, last < rows, f"operand {number} reaches row {last} of {rows}")

    # Quantised dots ------------------------------------------------------------------------------------

    def _qdot(self) -> None:
        instr = self.instr
        operands, (_, activations, scale, second) = instr.fold_operands, instr.result
        self.need(9, not instr.body, "a qdot has no body operations")
        self.need(10, instr.two or second == 0, "a qdot of one weight leaves the last result 0")
        roles = {*instr.qdot_weights, activations, scale}
        self.need(9, max(roles) < len(operands), "the results of a qdot are body operands")
        indices = {operand.index for operand in operands if operand.index != NO_INDEX}
        used = roles | indices == set(range(len(operands)))
        self.need(9, used, "a qdot reads its weights, activations, scale and indices of weights only")
        plain = operands[activations].index == operands[scale].index == NO_INDEX
        self.need(9, plain, "activations and scales of a qdot have no index")
        steady = all(operands[number].term(Axis.K) is None for number in indices)
        self.need(9, steady, "the index of a qdot's weight does not depend on k")
        self.need(9, not instr.k.varies and instr.k.n % UNIT == 0, f"the length is a multiple of {UNIT}")
        along = Term(Axis.K)
        for number in instr.qdot_weights:
            self._qdot_weight(number, operands[number], along)
        x, d = operands[activations], operands[scale]
        is_x = self._is_slot_here(x, Out.I8) and x.term(Axis.K) == along
        self.need(9, is_x, "activations are an i8 slot at this position, along k")
        is_d = self._is_slot_here(d, Out.F32) and d.term(Axis.K) == Term(Axis.K, div=UNIT)
        self.need(9, is_d, f"scales are an f32 slot at this position, along k // {UNIT}")

    def _qdot_weight(self, number: int, operand: Operand, along: Term) -> None:
        is_weight = operand.kind in (Kind.WEIGHT, Kind.GLOBAL) and operand.term(Axis.K) == along
        self.need(9, is_weight, f"operand {number}: a qdot's weight is read along k")
        weight = self.layout.weights[self.layout.weight_number(self.slot, operand)]
        self.need(9, weight.format.info.quantised, f"operand {number}: {weight.format.name} is not quantised")
        steps = [operand.base, *(t.mul for t in operand.terms if t.axis != Axis.K and t.mul != ROW)]
        whole = all(step % UNIT == 0 for step in steps)
        self.need(9, whole, f"operand {number}: units start at multiples of {UNIT}")

    def _is_slot_here(self, operand: Operand, out: Out) -> bool:
        if operand.kind != Kind.SLOT or operand.pos != Pos.HERE:
            return False
        return self.layout.source(self.slot, operand).instr.out == out

    # Scalar programs -----------------------------------------------------------------------------------

    def _registers(self) -> None:
        instr, pool = self.instr, len(self.layout.program.pool)
        self.need(3, not instr.two or instr.fold in (Fold.DOT, Fold.QDOT), "two accumulators are for sums")
        sections = (
            (instr.body, instr.body_operands),
            (instr.finish, instr.accumulators + len(instr.finish_operands)),
        )
        for code, inputs in sections:
            try:
                check_scalar_program(code, inputs, pool)
            except ProgramError as error:
                self.need(10, False, str(error))
        self.need(10, len(instr.finish) > 0, "a finish has at least one operation")
        if instr.fold in (Fold.NONE, Fold.QDOT):
            return
        results = {Fold.DOT: 4 if instr.two else 2}.get(instr.fold, 1)
        registers = instr.body_operands + len(instr.body)
        for number in instr.result[:results]:
            known = number < registers or POOL_BASE <= number < POOL_BASE + pool
            self.need(10, known, f"result {number} is neither a register nor a constant")
        self.need(10, not any(instr.result[results:]), "unused results are 0")


def _posting(instr: Instr) -> int:
    """Bytes of the larger of the two postings of running totals at the last position."""
    k, carried = instr.k.n, instr.terms
    if not carried or k <= carried:
        return 0
    width = 8 if instr.two or instr.fold == Fold.ARGMAX else 4
    if carried >= LEAF_ELEMENTS or k <= LEAF_ELEMENTS:
        return -(-k // carried) * width
    return max(-(-k // LEAF_ELEMENTS), LEAF_ELEMENTS // carried - 1) * width


__all__ = ["MAX_STEP_BYTES", "MAX_STEP_GAS", "validate"]
