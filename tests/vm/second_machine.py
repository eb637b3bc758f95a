"""Sections 2 to 4.2 of `docs/spec.md` again: decoding a program, running it, the trace root.

Written from the specification alone, with no look at `opml`: a check of both. Elements one by one, no speed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from struct import calcsize, unpack_from
from typing import Any

from eth_hash.auto import keccak

from tests.vm import second_numbers as num

ROW, VARIES = 0xFFFFFFFF, 1 << 31
NONE, DOT, QDOT, MAX, ARGMAX = range(5)
SLOT, WEIGHT, GLOBAL, TOKEN, PARAM, AXIS = range(6)
AXIS_I = 4
WINDOW_K, WINDOW_C = 1, 2

# 3.2 ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Operand:
    kind: int
    pos: int
    index: int
    ref: int
    base: int
    terms: tuple[tuple[int, int, int, int], ...]
    """(axis, mask, div, mul)"""


@dataclass(frozen=True)
class Instr:
    fold: int
    out: int
    two: bool
    yields: bool
    virtual: bool
    result: tuple[int, ...]
    rows: int
    cols: int
    k: int
    body: tuple[Operand, ...]
    finish: tuple[Operand, ...]
    body_ops: tuple[tuple[int, ...], ...]
    finish_ops: tuple[tuple[int, ...], ...]


class Cursor:
    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def get(self, layout: str) -> Any:
        values = unpack_from(">" + layout, self.data, self.at)
        self.at += calcsize(">" + layout)
        return values if len(values) > 1 else values[0]


def read_operand(c: Cursor) -> Operand:
    head, index, ref, base = c.get("BBHI")
    terms = []
    for _ in range(head & 7):
        axis, log, div, mul = c.get("BBHI")
        terms.append((axis, 1 << log >> 1, div, mul))
    return Operand(head >> 5, head >> 3 & 3, index, ref, base, tuple(terms))


def read_instr(c: Cursor) -> Instr:
    flags, operands, body, body_ops, finish_ops = c.get("HBBBB")
    result = c.get("BBBB")
    c.get("BB")
    rows, cols, k = c.get("III")
    read = tuple(read_operand(c) for _ in range(operands))
    codes = [tuple(c.get("BBBB") for _ in range(count)) for count in (body_ops, finish_ops)]
    two, yields, virtual = (bool(flags & 1 << bit) for bit in (6, 7, 8))
    fold, out = flags & 7, flags >> 3 & 7
    return Instr(fold, out, two, yields, virtual, result, rows, cols, k, read[:body], read[body:], *codes)


def extent(word: int, t: int) -> int:
    return min(t + 1, word - VARIES) if word & VARIES else word


class Program:
    """A valid program's slots, and its weights (rows, cols, format) in the order of their tree."""

    def __init__(self, data: bytes) -> None:
        c = Cursor(data)
        _, _, blocks, entries, pool, tensors, self.params, _, self.limit, _ = c.get("4sBBHBBBBII")
        table = [c.get("IHHBB") for _ in range(blocks)]
        self.pool = [c.get("I") for _ in range(pool)]
        self.weights = [c.get("IIB") for _ in range(tensors)]
        schedule = [c.get("B") for _ in range(entries)]
        formats = [[c.get("B") for _ in range(table[block][3])] for block in schedule]
        bodies = []
        for offset, instructions, _, weights, _ in table:
            c.at = offset
            shapes = [c.get("II") for _ in range(weights)]
            c.at += 4 * instructions
            bodies.append((shapes, [read_instr(c) for _ in range(instructions)]))
        self.slots: list[Instr] = []
        self.first_weight: list[int] = []
        for block, given in zip(schedule, formats, strict=True):
            shapes, code = bodies[block]
            self.first_weight += [len(self.weights)] * len(code)
            self.slots += code
            self.weights += [(*shape, fmt) for shape, fmt in zip(shapes, given, strict=True)]


# 3.3, 3.4 ----------------------------------------------------------------------------------------------


class Session:
    """Runs a program over a prompt; `tensors[slot, t]` are the stored bytes of committed slots."""

    def __init__(
        self, program: Program, weights: Sequence[bytes], prompt: Sequence[int], params: Sequence[int]
    ) -> None:
        self.program, self.weights, self.params = program, weights, params
        self.tokens, self.prompt, self.positions = list(prompt), len(prompt), 0
        self.tensors: dict[tuple[int, int], bytes] = {}

    def generate(self, count: int) -> None:
        while len(self.tokens) < self.prompt + count:
            t, last = self.positions, len(self.program.slots) - 1
            yields = t >= self.prompt - 1
            for s, x in enumerate(self.program.slots):
                if not x.virtual and (yields or not x.yields):
                    places = [(r, c) for r in range(x.rows) for c in range(extent(x.cols, t))]
                    self.tensors[s, t] = b"".join(self.element(s, t, r, c) for r, c in places)
            self.positions += 1
            if yields:
                self.tokens.append(int.from_bytes(self.tensors[last, t], "little"))

    def element(self, s: int, t: int, r: int, c: int) -> bytes:
        """The stored bytes of out[r, c]."""
        x = self.program.slots[s]
        registers: list[int] = []
        if x.fold in (DOT, QDOT):
            registers = self.sums(s, t, r, c)
        elif x.fold in (MAX, ARGMAX):
            value, k = self.best(s, t, r, c)
            registers = [value] if x.fold == MAX else [k, value]
        self.run(x.finish_ops, registers := registers + self.read_all(s, x.finish, t, r, c, 0))
        return num.store(x.out, registers[-1])

    def run(self, ops: Sequence[Sequence[int]], registers: list[int]) -> None:
        for op, *operands in ops:
            _, arity, function = num.OPS[op]
            registers.append(function(*(self.named(number, registers) for number in operands[:arity])))

    def named(self, number: int, registers: Sequence[int]) -> int:
        return registers[number] if number < 128 else self.program.pool[number - 128]

    def body(self, s: int, t: int, r: int, c: int, k: int) -> list[int]:
        """The values that the result names, for one term."""
        x = self.program.slots[s]
        registers = self.read_all(s, x.body, t, r, c, k)
        self.run(x.body_ops, registers)
        count = (4 if x.two else 2) if x.fold == DOT else 1
        return [self.named(number, registers) for number in x.result[:count]]

    def best(self, s: int, t: int, r: int, c: int) -> tuple[int, int]:
        values = [num.canon(self.body(s, t, r, c, k)[0]) for k in range(extent(self.program.slots[s].k, t))]
        largest = max(values, key=num.key)
        return largest, values.index(largest)

    def sums(self, s: int, t: int, r: int, c: int) -> list[int]:
        x = self.program.slots[s]
        length, stride = extent(x.k, t), 32 if x.fold == QDOT else 1
        total, acc = [0] * (1 + x.two), [0] * (1 + x.two)
        for k in range(0, length, stride):
            if x.fold == QDOT:
                acc = self.unit(s, t, r, c, k, acc)
            else:
                values = self.body(s, t, r, c, k)
                acc = [num.fma(values[2 * i], values[2 * i + 1], a) for i, a in enumerate(acc)]
            if (k + stride) % 256 == 0 or k + stride == length:
                total = [num.add(a, b) for a, b in zip(total, acc, strict=True)]
                acc = [0] * len(acc)
        return total

    def unit(self, s: int, t: int, r: int, c: int, k: int, acc: list[int]) -> list[int]:
        """The accumulators after one unit of a qdot."""
        x = self.program.slots[s]
        weights = [x.result[0], x.result[3]][: len(acc)]
        q_x = [num.signed(self.read(s, x.body, x.result[1], t, r, c, k + j)) for j in range(32)]
        d_x = self.read(s, x.body, x.result[2], t, r, c, k)
        out = []
        for number, a in zip(weights, acc, strict=True):
            tensor, address = self.address(s, x.body, number, t, r, c, k)
            fmt = self.program.weights[tensor[1]][2]
            q_w, d_w, m_w = num.unit(fmt, self.stored_unit(tensor[1], address))
            dot = sum(a * b for a, b in zip(q_w, q_x, strict=True))
            a = num.fma(num.i2f(dot & num.M32), num.mul(d_w, d_x), a)
            if fmt in num.HAS_MIN:
                a = num.fma(m_w, num.mul(d_x, num.i2f(sum(q_x) & num.M32)), a)
            out.append(a)
        return out

    def read_all(self, s: int, section: Sequence[Operand], t: int, r: int, c: int, k: int) -> list[int]:
        return [self.read(s, section, n, t, r, c, k) for n in range(len(section))]

    def read(self, s: int, section: Sequence[Operand], n: int, t: int, r: int, c: int, k: int) -> int:
        o = section[n]
        if o.kind == TOKEN:
            return self.tokens[t]
        if o.kind == PARAM:
            return self.params[o.ref]
        if o.kind == AXIS:
            return (r, c, k, t)[o.ref]
        (kind, number, at), address = self.address(s, section, n, t, r, c, k)
        if kind == WEIGHT:
            fmt = self.program.weights[number][2]
            return num.weight_element(fmt, self.stored_unit(number, address), address % num.W_UNIT[fmt])
        source = self.program.slots[number]
        if source.virtual:
            return num.load(source.out, self.element(number, at, *divmod(address, extent(source.cols, at))))
        width = num.OUT_BYTES[source.out]
        return num.load(source.out, self.tensors[number, at][address * width : (address + 1) * width])

    def stored_unit(self, weight: int, address: int) -> bytes:
        fmt = self.program.weights[weight][2]
        size, number = num.W_BYTES[fmt], address // num.W_UNIT[fmt]
        return self.weights[weight][number * size : (number + 1) * size]

    def address(
        self, s: int, section: Sequence[Operand], n: int, t: int, r: int, c: int, k: int
    ) -> tuple[tuple[int, int, int], int]:
        """((SLOT or WEIGHT, its number, the position read), flat address)."""
        x, o = self.program.slots[s], section[n]
        if o.kind == SLOT:
            number, at = s - o.ref, t
            if o.pos == WINDOW_K:
                at = t + 1 - extent(x.k, t) + k
            elif o.pos == WINDOW_C:
                at = t + 1 - extent(x.cols, t) + c
            rows, cols = self.program.slots[number].rows, extent(self.program.slots[number].cols, at)
        else:
            number, at = o.ref + (self.program.first_weight[s] if o.kind == WEIGHT else 0), t
            rows, cols, _ = self.program.weights[number]
        address = o.base
        for axis, mask, div, mul in o.terms:
            factor = cols if mul == ROW else mul
            if axis == AXIS_I:
                value = num.signed(self.read(s, section, o.index, t, r, c, k))
                value = max(0, min(value, rows * cols // factor - 1))
            else:
                value = (r, c, k, t)[axis]
            address += factor * ((value ^ mask) // div)
        return (SLOT if o.kind == SLOT else WEIGHT, number, at), address

    def trace_root(self) -> bytes:
        committed = [s for s, x in enumerate(self.program.slots) if not x.virtual]
        positions = []
        for t in range(self.positions):
            roots = [self.tensor_root(s, t) if (s, t) in self.tensors else E0 for s in committed]
            positions.append(root(0x12, roots))
        return root(0x13, positions)

    def tensor_root(self, s: int, t: int) -> bytes:
        size = 256 * num.OUT_BYTES[self.program.slots[s].out]
        data = self.tensors[s, t]
        return root(0x11, [keccak(b"\x01" + data[i : i + size]) for i in range(0, len(data), size)])


# 4.1 ---------------------------------------------------------------------------------------------------

E0 = keccak(b"\0")


def root(tag: int, leaves: list[bytes]) -> bytes:
    empty, level = E0, leaves
    while len(level) > 1:
        level = level + [empty] * (len(level) % 2)
        level = [keccak(bytes([tag]) + level[i] + level[i + 1]) for i in range(0, len(level), 2)]
        empty = keccak(bytes([tag]) + empty + empty)
    return level[0]


def weight_root(rows: int, cols: int, fmt: int, data: bytes) -> bytes:
    unit, size = num.W_UNIT[fmt], num.W_BYTES[fmt]
    leaves = []
    for r in range(rows):
        for c in range(0, cols, 256):
            first, last = r * cols + c, r * cols + min(c + 256, cols)
            leaves.append(keccak(b"\x02" + data[first // unit * size : last // unit * size]))
    return root(0x14, leaves)


def weights_root(program: Program, weights: Sequence[bytes]) -> bytes:
    pairs = zip(program.weights, weights, strict=True)
    return root(0x15, [weight_root(*shape, data) for shape, data in pairs] or [E0])
