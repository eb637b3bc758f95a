"""Programs as bytes and back (`docs/spec.md`, Encoding). All integers are big-endian.

`decode` takes hostile bytes: it checks every count before it reads, and accepts exactly what `encode` writes.
It knows nothing of what a program means; that is `opml.vm.validate`.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TypeVar

from opml.errors import ProgramError
from opml.vm import isa
from opml.vm.isa import (
    Axis,
    Block,
    Ext,
    Fold,
    Format,
    GlobalWeight,
    Instr,
    Kind,
    Operand,
    Out,
    Pos,
    Program,
    ScalarOp,
    Shape,
    Term,
)

MAGIC = b"opml"
VERSION = 1
HEADER_BYTES = 20
BLOCK_ENTRY_BYTES = 10
GLOBAL_BYTES = 9
SHAPE_BYTES = 8
TABLE_ENTRY_BYTES = 4
INSTR_BYTES = 24
OPERAND_BYTES = 8
TERM_BYTES = 8
OP_BYTES = 4

NO_ORDINAL = 0xFFFF
"""In an instruction table: the instruction is virtual."""

# Bits of an instruction's flags.
FLAG_OUT_SHIFT = 3
FLAG_TWO = 1 << 6
FLAG_YIELDS = 1 << 7
FLAG_VIRTUAL = 1 << 8
FLAG_BITS = 9

VARIES = 1 << 31
"""Bit of an encoded extent: min(t + 1, n)."""

E = TypeVar("E", bound=IntEnum)


# Writing -----------------------------------------------------------------------------------------------


def _uint(value: int, size: int, what: str) -> bytes:
    if not 0 <= value < 1 << (8 * size):
        raise ProgramError(f"{what}: {value} does not fit in {size} unsigned bytes; use a smaller value")
    return value.to_bytes(size, "big")


def _log(value: int, what: str) -> bytes:
    """One byte for 0 or a power of two: 0, or 1 + log2."""
    if value & (value - 1) or not 0 <= value < isa.MAX_ELEMENTS:
        raise ProgramError(f"{what}: expected 0 or a power of two below 2^31, found {value}")
    return bytes([value.bit_length()])


def _encode_ext(ext: Ext, what: str) -> bytes:
    if not 0 <= ext.n < VARIES:
        raise ProgramError(f"{what}: expected an extent below 2^31, found {ext.n}")
    return (ext.n | VARIES * ext.varies).to_bytes(4, "big")


def _encode_operand(operand: Operand) -> bytes:
    if len(operand.terms) > 7:
        raise ProgramError(f"an operand has at most 7 terms, found {len(operand.terms)}")
    head = operand.kind << 5 | operand.pos << 3 | len(operand.terms)
    parts = [
        bytes([head]),
        _uint(operand.index, 1, "index operand"),
        _uint(operand.ref, 2, "operand reference"),
        _uint(operand.base, 4, "base address"),
    ]
    for term in operand.terms:
        parts += [
            bytes([term.axis]),
            _log(term.xor, "xor mask"),
            _uint(term.div, 2, "divisor"),
            _uint(term.mul, 4, "multiplier"),
        ]
    return b"".join(parts)


def _encode_ops(ops: tuple[ScalarOp, ...]) -> bytes:
    return b"".join(_uint(number, 1, "scalar operation") for op in ops for number in op)


def encode_instr(instr: Instr) -> bytes:
    """The bytes of one instruction: 24, its operands with their terms, its operations."""
    flags = instr.fold | instr.out << FLAG_OUT_SHIFT
    flags |= FLAG_TWO * instr.two | FLAG_YIELDS * instr.yields | FLAG_VIRTUAL * instr.virtual
    return b"".join(
        [
            flags.to_bytes(2, "big"),
            _uint(len(instr.operands), 1, "number of operands"),
            _uint(instr.body_operands, 1, "number of body operands"),
            _uint(len(instr.body), 1, "number of body operations"),
            _uint(len(instr.finish), 1, "number of finish operations"),
            *(_uint(number, 1, "result register") for number in instr.result),
            _log(instr.terms, "terms of a step"),
            b"\0",
            _encode_ext(instr.rows, "rows"),
            _encode_ext(instr.cols, "columns"),
            _encode_ext(instr.k, "fold length"),
            *map(_encode_operand, instr.operands),
            _encode_ops(instr.body),
            _encode_ops(instr.finish),
        ]
    )


def _encode_body(block: Block) -> bytes:
    """A block's body: weight shapes, instruction table, instructions."""
    shapes = b"".join(_uint(w.rows, 4, "rows") + _uint(w.cols, 4, "columns") for w in block.weights)
    offset = len(shapes) + TABLE_ENTRY_BYTES * len(block.code)
    table, code, ordinal = [], [], 0
    for instr in block.code:
        encoded = encode_instr(instr)
        table.append(_uint(offset, 2, "offset of an instruction"))
        table.append((NO_ORDINAL if instr.virtual else ordinal).to_bytes(2, "big"))
        ordinal += not instr.virtual
        offset += len(encoded)
        code.append(encoded)
    return b"".join([shapes, *table, *code])


def encode(program: Program) -> bytes:
    """The bytes of a program, at most 24,575.

    Raises `ProgramError` where a count or a value has no place in the encoding.
    """
    _check_counts(
        len(program.blocks),
        len(program.schedule),
        len(program.pool),
        len(program.globals),
        program.params,
        program.limit,
    )
    if len(program.formats) != len(program.schedule):
        raise ProgramError(
            f"{len(program.schedule)} schedule entries have {len(program.formats)} format lists"
        )
    formats = []
    for entry, (number, given) in enumerate(zip(program.schedule, program.formats, strict=True)):
        if not 0 <= number < len(program.blocks):
            raise ProgramError(f"schedule entry {entry}: no block {number}")
        if len(given) != len(program.blocks[number].weights):
            raise ProgramError(f"schedule entry {entry}: one format for each weight of block {number}")
        formats.append(bytes(given))
    bodies = [_encode_body(block) for block in program.blocks]
    middle = b"".join(
        [
            *(_uint(constant, 4, "pool constant") for constant in program.pool),
            *(
                _uint(g.rows, 4, "rows") + _uint(g.cols, 4, "columns") + bytes([g.format])
                for g in program.globals
            ),
            bytes(program.schedule),
            *formats,
        ]
    )
    offset = HEADER_BYTES + BLOCK_ENTRY_BYTES * len(bodies) + len(middle)
    table = []
    for block, body in zip(program.blocks, bodies, strict=True):
        if len(block.weights) > isa.MAX_WEIGHTS:
            raise ProgramError(f"a block has at most {isa.MAX_WEIGHTS} weights, found {len(block.weights)}")
        committed = sum(not instr.virtual for instr in block.code)
        table.append(
            offset.to_bytes(4, "big")
            + _uint(len(block.code), 2, "instructions of a block")
            + _uint(committed, 2, "committed instructions of a block")
            + bytes([len(block.weights), 0])
        )
        offset += len(body)
    if offset > isa.MAX_LENGTH:
        raise ProgramError(f"a program has at most {isa.MAX_LENGTH} bytes, found {offset}")
    header = b"".join(
        [
            MAGIC,
            bytes([VERSION, len(program.blocks)]),
            len(program.schedule).to_bytes(2, "big"),
            bytes([len(program.pool), len(program.globals), program.params, 0]),
            program.limit.to_bytes(4, "big"),
            offset.to_bytes(4, "big"),
        ]
    )
    return b"".join([header, *table, middle, *bodies])


def _check_counts(blocks: int, entries: int, pool: int, globals_: int, params: int, limit: int) -> None:
    for value, least, most, what in (
        (blocks, 1, isa.MAX_BLOCKS, "blocks"),
        (entries, 1, isa.MAX_ENTRIES, "schedule entries"),
        (pool, 0, isa.MAX_POOL, "pool constants"),
        (globals_, 0, isa.MAX_GLOBALS, "global weights"),
        (params, 0, isa.MAX_PARAMS, "parameters"),
        (limit, 1, isa.MAX_LIMIT, "positions"),
    ):
        if not least <= value <= most:
            raise ProgramError(f"{what}: expected {least} to {most}, found {value}")


# Reading -----------------------------------------------------------------------------------------------


class _Reader:
    """Consumes bytes from the front; never reads past the end."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def take(self, size: int) -> bytes:
        if size > len(self.data) - self.at:
            raise ProgramError(f"the program ends at byte {len(self.data)}, inside what starts at {self.at}")
        self.at += size
        return self.data[self.at - size : self.at]

    def uint(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def member(self, kind: type[E], value: int) -> E:
        try:
            return kind(value)
        except ValueError:
            raise ProgramError(f"byte {self.at - 1}: {value} is no {kind.__name__.lower()}") from None

    def log(self) -> int:
        exponent = self.uint(1)
        if exponent > 31:
            raise ProgramError(
                f"byte {self.at - 1}: expected 0 or 1 + log2 of at most 2^30, found {exponent}"
            )
        return 1 << exponent >> 1

    def ext(self) -> Ext:
        value = self.uint(4)
        return Ext(value & (VARIES - 1), value >= VARIES)

    def term(self) -> Term:
        axis, xor, div, mul = self.member(Axis, self.uint(1)), self.log(), self.uint(2), self.uint(4)
        return Term(axis, mul, div, xor)

    def operand(self) -> Operand:
        head = self.uint(1)
        kind, pos = self.member(Kind, head >> 5), self.member(Pos, head >> 3 & 3)
        index, ref, base = self.uint(1), self.uint(2), self.uint(4)
        return Operand(kind, ref, pos, index, base, tuple(self.term() for _ in range(head & 7)))

    def ops(self, count: int) -> tuple[ScalarOp, ...]:
        return tuple(ScalarOp(*self.take(4)) for _ in range(count))

    def instr(self) -> Instr:
        flags = self.uint(2)
        if flags >> FLAG_BITS:
            raise ProgramError(f"byte {self.at - 2}: reserved flags are set")
        operands, body_operands, body, finish = (self.uint(1) for _ in range(4))
        if body_operands > operands:
            raise ProgramError(f"byte {self.at - 3}: {body_operands} body operands of {operands}")
        a0, b0, a1, b1 = (self.uint(1) for _ in range(4))
        terms = self.log()
        self.take(1)
        rows, cols, k = self.ext(), self.ext(), self.ext()
        return Instr(
            rows=rows,
            cols=cols,
            fold=self.member(Fold, flags & 7),
            k=k,
            out=self.member(Out, flags >> FLAG_OUT_SHIFT & 7),
            two=bool(flags & FLAG_TWO),
            yields=bool(flags & FLAG_YIELDS),
            virtual=bool(flags & FLAG_VIRTUAL),
            operands=tuple(self.operand() for _ in range(operands)),
            body_operands=body_operands,
            body=self.ops(body),
            result=(a0, b0, a1, b1),
            finish=self.ops(finish),
            terms=terms,
        )


def decode(data: bytes) -> Program:
    """The program that `encode` writes as `data`.

    Raises `ProgramError` for all other bytes: too long, cut short, with reserved bits, or not canonical.
    """
    data = bytes(data)
    if len(data) > isa.MAX_LENGTH:
        raise ProgramError(f"a program has at most {isa.MAX_LENGTH} bytes, found {len(data)}")
    read = _Reader(data)
    if read.take(4) != MAGIC or read.uint(1) != VERSION:
        raise ProgramError(f"expected a program that starts with {MAGIC!r} and version {VERSION}")
    blocks, entries, pool_size, globals_, params = (read.uint(size) for size in (1, 2, 1, 1, 1))
    read.take(1)
    limit, length = read.uint(4), read.uint(4)
    _check_counts(blocks, entries, pool_size, globals_, params, limit)
    if length != len(data):
        raise ProgramError(f"the header says {length} bytes, found {len(data)}")
    counts = []
    for _ in range(blocks):
        read.take(4)
        instructions = read.uint(2)
        read.take(2)
        weights = read.uint(1)
        read.take(1)
        if weights > isa.MAX_WEIGHTS:
            raise ProgramError(f"a block has at most {isa.MAX_WEIGHTS} weights, found {weights}")
        counts.append((instructions, weights))
    pool = tuple(read.uint(4) for _ in range(pool_size))
    tensors = tuple(
        GlobalWeight(read.uint(4), read.uint(4), read.member(Format, read.uint(1))) for _ in range(globals_)
    )
    schedule = tuple(read.take(entries))
    formats = []
    for entry, number in enumerate(schedule):
        if number >= blocks:
            raise ProgramError(f"schedule entry {entry}: no block {number}")
        formats.append(tuple(read.member(Format, code) for code in read.take(counts[number][1])))
    bodies = []
    for instructions, weights in counts:
        shapes = tuple(Shape(read.uint(4), read.uint(4)) for _ in range(weights))
        read.take(TABLE_ENTRY_BYTES * instructions)
        bodies.append(Block(tuple(read.instr() for _ in range(instructions)), shapes))
    program = Program(tuple(bodies), schedule, tuple(formats), pool, tensors, limit, params)
    # Offsets, ordinals, reserved bytes and the end are all checked at once: there is one right encoding.
    if encode(program) != data:
        raise ProgramError(
            "the encoding is not canonical: an offset, ordinal, reserved byte or the end is wrong"
        )
    return program


__all__ = ["decode", "encode", "encode_instr"]
