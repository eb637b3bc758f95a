"""Programs near the forms that the native interpreter has kernels for: single fields of others changed."""

from __future__ import annotations

import random
from dataclasses import replace

from opml.errors import ProgramError
from opml.ops.table import OPS
from opml.vm.isa import (
    NO_INDEX,
    ROW,
    Axis,
    Block,
    Ext,
    Fold,
    Format,
    Instr,
    Kind,
    Operand,
    Out,
    Pos,
    Program,
    ScalarOp,
    Term,
)
from opml.vm.validate import validate
from tests.vm.random_programs import SPECIAL

EXTENTS = (1, 2, 3, 4, 8, 15, 16, 17, 24, 31, 32, 33, 48, 64, 65, 80, 96, 160, 255, 256, 257, 320)


def changed_term(rng: random.Random, term: Term) -> Term:
    match rng.randrange(5):
        case 0:
            return replace(term, mul=rng.choice((1, 2, 16, 32, 64, ROW, term.mul * 2, max(1, term.mul // 2))))
        case 1:
            return replace(term, div=rng.choice((1, 1, 2, 3, 16, 32, 33, 256)))
        case 2:
            return replace(term, xor=rng.choice((0, 1, 2, 8, 16, 32, 64)))
        case 3:
            return replace(term, axis=rng.choice(list(Axis)))
        case _:
            return Term(rng.choice(list(Axis)), rng.choice((1, term.mul)))


def changed_operand(rng: random.Random, o: Operand) -> Operand:
    terms = list(o.terms)
    match rng.randrange(9):
        case 0:
            return replace(o, base=rng.choice((0, 1, 16, 32, o.base + 32, o.base * 2)))
        case 1 | 2 | 3 if terms:
            n = rng.randrange(len(terms))
            terms[n] = changed_term(rng, terms[n])
            return replace(o, terms=tuple(terms))
        case 4 if terms:
            del terms[rng.randrange(len(terms))]
            return replace(
                o, terms=tuple(terms), index=o.index if any(x.axis == Axis.I for x in terms) else NO_INDEX
            )
        case 5:
            axis_, row = rng.choice(list(Axis)[:4]), rng.choice((1, 1, 32, ROW))
            return replace(o, terms=(*terms, Term(axis_, row)))
        case 6 if all(term.axis != Axis.I for term in terms):
            return replace(o, index=rng.randrange(3), terms=(*terms, Term(Axis.I, rng.choice((1, 32, 64)))))
        case 7:
            return replace(o, pos=rng.choice(list(Pos)))
        case _:
            return replace(
                o, ref=max(0, o.ref + rng.choice((-1, 1))), kind=rng.choice((o.kind, o.kind, *Kind))
            )


def shifted(ops: tuple[ScalarOp, ...], at: int, first: int = 0) -> tuple[ScalarOp, ...]:
    """The operations after one more register at number `at`; those from number `first` on."""
    up = lambda x: x + 1 if at <= x < 128 else x  # noqa: E731
    out = []
    for op in ops[first:]:
        used = OPS[op.op].arity
        names = [up(x) if n < used else x for n, x in enumerate((op.a, op.b, op.c))]
        out.append(ScalarOp(op.op, *names))
    return (*ops[:first], *out)


def changed_ops(
    rng: random.Random, ops: tuple[ScalarOp, ...], inputs: int, pool: int
) -> tuple[ScalarOp, ...]:
    """One operation replaced, one of its operands renamed, its operands turned, or one appended."""
    number = rng.randrange(len(ops) + 1)
    last = inputs + len(ops) - 1
    if number == len(ops) or not ops:
        code = rng.choice((19, 20, 7, 6, 14, 13, 9, 25))
        return (*ops, ScalarOp(code, *[max(last, 0) if n < OPS[code].arity else 0 for n in range(3)]))
    op = ops[number]
    names = [op.a, op.b, op.c]
    if rng.random() < 0.4:
        code = rng.choice([x.code for x in OPS if x.arity == OPS[op.op].arity])
        changed = ScalarOp(code, *names)
    elif rng.random() < 0.5:
        n = rng.randrange(OPS[op.op].arity)
        names[n] = rng.choice(
            (rng.randrange(inputs + number) if inputs + number else 128, 128 + rng.randrange(pool))
        )
        changed = ScalarOp(op.op, *names)
    else:
        arity = OPS[op.op].arity
        changed = ScalarOp(op.op, *rng.sample(names[:arity], arity), *names[arity:])
    return (*ops[:number], changed, *ops[number + 1 :])


def changed_extent(rng: random.Random, extent: Ext, limit: int) -> Ext:
    if extent.varies or rng.random() < 0.15:
        return rng.choice(
            (Ext(limit, True), Ext(max(1, extent.n - 1), True), Ext(min(limit, 16), True), Ext(extent.n))
        )
    return Ext(
        rng.choice((*EXTENTS, extent.n * 2, max(1, extent.n // 2), extent.n + 1, max(1, extent.n - 1)))
    )


def changed_instr(rng: random.Random, x: Instr, program: Program) -> Instr:
    limit, pool = program.limit, max(1, len(program.pool))
    body, finish = x.fold_operands, x.finish_operands
    match rng.randrange(13):
        case 0:
            field = rng.choice(("rows", "cols", "k", "cols"))
            return replace(x, **{field: changed_extent(rng, getattr(x, field), limit)})
        case 1:
            return replace(x, out=rng.choice(list(Out)))
        case 2:
            return replace(x, virtual=not x.virtual, terms=0 if not x.virtual else rng.choice((0, 16, 32)))
        case 3:
            return replace(x, yields=not x.yields)
        case 4:
            result = list(x.result)
            result[rng.randrange(4)] = rng.choice((*range(len(body) + len(x.body) + 1), 128))
            return replace(x, result=tuple(result))
        case 5:
            pairs = rng.sample(range(4), 2)
            result = list(x.result)
            result[pairs[0]], result[pairs[1]] = result[pairs[1]], result[pairs[0]]
            return replace(x, result=tuple(result))
        case 6:
            return replace(x, body=changed_ops(rng, x.body, len(body), pool))
        case 7:
            return replace(x, finish=changed_ops(rng, x.finish, x.accumulators + len(finish), pool))
        case 8:
            at = x.accumulators + len(finish)
            ops = shifted(x.finish, at)
            last = at + len(ops)
            more = (
                rng.choice(x.operands)
                if x.operands and rng.random() < 0.5
                else Operand(Kind.SLOT, rng.randint(1, 6))
            )
            mixed = (*ops, ScalarOp(rng.choice((0, 21)), last, at, 0))
            return replace(x, operands=(*x.operands, more), finish=mixed)
        case 9:
            return replace(x, fold=rng.choice(list(Fold)), two=not x.two if rng.random() < 0.3 else x.two)
        case 10:
            return replace(x, terms=rng.choice((0, 1, 16, 32, 256)))
        case _ if x.operands:
            operands = list(x.operands)
            n = rng.randrange(len(operands))
            operands[n] = changed_operand(rng, operands[n])
            return replace(x, operands=tuple(operands))
        case _:
            return x


def doubled(rng: random.Random, block: Block, at: int) -> Block:
    """A slot once more behind itself: its later readers read one or the other."""
    code = []
    for n, x in enumerate(block.code):
        moved = [
            replace(o, ref=o.ref + 1)
            if o.kind == Kind.SLOT and n > at and (n - o.ref < at or (n - o.ref == at and rng.random() < 0.5))
            else o
            for o in x.operands
        ]
        code.append(replace(x, operands=tuple(moved)))
        if n == at:
            again = [replace(o, ref=o.ref + 1) if o.kind == Kind.SLOT else o for o in x.operands]
            code.append(replace(x, operands=tuple(again)))
    return replace(block, code=tuple(code))


def mutated(rng: random.Random, program: Program) -> Program:
    """One change, valid or not."""
    kind = rng.random()
    if kind < 0.15 and program.pool:
        pool = list(program.pool)
        n = rng.randrange(len(pool))
        near = (pool[n] ^ 1 << rng.randrange(32), rng.choice(pool), rng.getrandbits(32))
        pool[n] = rng.choice((*SPECIAL, *near, *near))
        return replace(program, pool=tuple(pool))
    if kind < 0.19 and program.globals:
        tensors = list(program.globals)
        n = rng.randrange(len(tensors))
        tensors[n] = replace(tensors[n], format=rng.choice(list(Format)))
        return replace(program, globals=tuple(tensors))
    if kind < 0.22:
        formats = [list(x) for x in program.formats]
        chosen = rng.choice(formats)
        if chosen:
            chosen[rng.randrange(len(chosen))] = rng.choice(list(Format))
        return replace(program, formats=tuple(map(tuple, formats)))
    blocks = list(program.blocks)
    n = rng.randrange(len(blocks))
    block = blocks[n]
    at = rng.randrange(len(block.code))
    if kind < 0.27 and len(blocks) == 1 and at < len(block.code) - 1:
        blocks[n] = doubled(rng, block, at)
    else:
        code = list(block.code)
        code[at] = changed_instr(rng, code[at], program)
        blocks[n] = replace(block, code=tuple(code))
    return replace(program, blocks=tuple(blocks))


def work(program: Program) -> int:
    """Terms of all slots at the last position."""
    return sum(x.rows.n * x.cols.n * max(x.k.n, 1) for _, _, x in program.slots())


def mutant(rng: random.Random, program: Program, changes: int) -> Program:
    """The program after as many changes that leave it valid and small."""
    most = max(2 * work(program), 200_000)
    for _ in range(40 * changes):
        if changes == 0:
            break
        try:
            candidate = mutated(rng, program)
            if candidate == program or work(candidate) > most:
                continue
            validate(candidate)
        except (ProgramError, ValueError, IndexError, OverflowError):
            continue
        program, changes = candidate, changes - 1
    return program
