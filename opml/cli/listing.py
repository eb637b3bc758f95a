"""A program in readable form: one line an instruction."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from opml.ops.expr import describe
from opml.ops.program import Instruction
from opml.vm.cost import step
from opml.vm.encoding import encode
from opml.vm.isa import ROW, Axis, Block, Ext, Fold, Instr, Kind, Operand, Pos, Program, ScalarOp
from opml.vm.layout import Layout, SlotInfo


def list_program(layout: Layout, *, code: bool = False) -> Iterator[str]:
    """Lines for people: sizes, weights, then each block's instructions; with `code` their operations."""
    program = layout.program
    yield (
        f"program of {len(encode(program)):,} bytes: {len(layout.slots):,} slots, {len(layout.committed):,} "
        f"committed, {program.limit:,} positions, {program.params} parameters"
    )
    for number, weight in enumerate(program.globals):
        yield f"global {number}: {weight.format.name} [{weight.rows} x {weight.cols}]"
    firsts: dict[int, SlotInfo] = {}
    for slot in layout.slots:
        firsts.setdefault(program.schedule[slot.entry] << 16 | slot.in_block, slot)
    for number, block in enumerate(program.blocks):
        entries = [entry for entry, used in enumerate(program.schedule) if used == number]
        yield ""
        yield f"block {number} {block.name or ''}: entries {_ranges(entries)}".replace("  ", " ")
        for w, shape in enumerate(block.weights):
            kinds = sorted({program.formats[entry][w].name for entry in entries})
            yield f"  w{w}: {' or '.join(kinds)} [{shape.rows} x {shape.cols}]"
        for at, instr in enumerate(block.code):
            yield "  " + _line(block, at, instr, step(layout, firsts[number << 16 | at]).gas)
            if code:
                yield from _code(program, instr)


def _line(block: Block, at: int, instr: Instr, gas: int) -> str:
    shape = f"{instr.out.name.lower()}[{_ext(instr.rows)} x {_ext(instr.cols)}]"
    names = [_operand(block, at, operand, instr.operands) for operand in instr.operands]
    body, rest = names[: instr.body_operands], names[instr.body_operands :]
    text = f"{at:3} {instr.name or '-':16} {shape:18}"
    if instr.fold != Fold.NONE:
        two = " two" if instr.two else ""
        ops = f" ops {len(instr.body)}" if instr.body else ""
        text += f" = {instr.fold.name.lower()}{two} k<{_ext(instr.k)} ({', '.join(body)}{ops})"
    else:
        text += " = each"
    text += f" then {len(instr.finish)} ops" + (f" on ({', '.join(rest)})" if rest else "")
    if instr.virtual:
        return text + "; virtual" + (", yields" if instr.yields else "")
    terms = f", {instr.terms} term{'s'[: instr.terms - 1]} a step" if instr.terms else ""
    return text + f"; step {gas:,} gas{terms}" + (", yields" if instr.yields else "")


def _operand(block: Block, at: int, operand: Operand, operands: Sequence[Operand]) -> str:
    if operand.kind == Kind.SLOT:
        source = at - operand.ref
        inside = source >= 0 and block.code[source].name
        name = block.code[source].name if inside else f"back{operand.ref}"
        if operand.pos != Pos.HERE:
            name += "@window"
    elif operand.kind == Kind.AXIS:
        return "rckt"[operand.ref]
    elif operand.kind == Kind.TOKEN:
        return "token"
    else:
        name = {Kind.WEIGHT: "w", Kind.GLOBAL: "global", Kind.PARAM: "param"}[operand.kind] + str(operand.ref)
    address = _address(operand)
    return f"{name}[{address}]" if operand.kind != Kind.PARAM else name


def _address(operand: Operand) -> str:
    parts = [str(operand.base)] if operand.base or not operand.terms else []
    for term in operand.terms:
        name = f"value{operand.index}" if term.axis == Axis.I else term.axis.name.lower()
        if term.xor:
            name = f"({name}^{term.xor})"
        if term.div != 1:
            name += f"/{term.div}"
        if term.mul != 1:
            name += "*row" if term.mul == ROW else f"*{term.mul}"
        parts.append(name)
    return "+".join(parts)


def _code(program: Program, instr: Instr) -> Iterator[str]:
    for title, ops, first in (
        ("body", instr.body, instr.body_operands),
        ("finish", instr.finish, instr.accumulators + len(instr.finish_operands)),
    ):
        for line in describe([_instruction(op) for op in ops], first, program.pool):
            yield f"        {title:6} {line}"


def _instruction(op: ScalarOp) -> Instruction:
    return Instruction(*op)


def _ext(extent: Ext) -> str:
    return f"min(t+1,{extent.n})" if extent.varies else str(extent.n)


def _ranges(numbers: Sequence[int]) -> str:
    """`0, 2-5` for 0 2 3 4 5."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and number == parts[-1][-1] + 1:
            parts[-1][1:] = [number]
        else:
            parts.append([number])
    return ", ".join("-".join(map(str, part)) for part in parts)


__all__ = ["list_program"]
