"""Programs survive encoding, and hostile bytes are refused with a `ProgramError`, never anything else."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opml.errors import ProgramError
from opml.vm.encoding import decode, encode, encode_instr
from opml.vm.isa import (
    ROW,
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
from tests.vm.programs import MODELS


@cache
def encoded(name: str) -> bytes:
    return encode(MODELS[name]().program)


bytes_ = st.integers(0, 255)
words = st.integers(0, (1 << 32) - 1)
powers = st.one_of(st.just(0), st.integers(0, 30).map(lambda n: 1 << n))
extents = st.builds(Ext, st.integers(0, (1 << 31) - 1), st.booleans())
terms = st.builds(Term, st.sampled_from(Axis), words, st.integers(0, 65535), powers)
operands = st.builds(
    Operand,
    st.sampled_from(Kind),
    st.integers(0, 65535),
    st.sampled_from(Pos),
    bytes_,
    words,
    st.lists(terms, max_size=3).map(tuple),
)
ops = st.builds(ScalarOp, bytes_, bytes_, bytes_, bytes_)


@st.composite
def instructions(draw: st.DrawFn) -> Instr:
    read = tuple(draw(st.lists(operands, max_size=3)))
    return Instr(
        rows=draw(extents),
        cols=draw(extents),
        fold=draw(st.sampled_from(Fold)),
        k=draw(extents),
        out=draw(st.sampled_from(Out)),
        two=draw(st.booleans()),
        yields=draw(st.booleans()),
        virtual=draw(st.booleans()),
        operands=read,
        body_operands=draw(st.integers(0, len(read))),
        body=tuple(draw(st.lists(ops, max_size=3))),
        result=draw(st.tuples(bytes_, bytes_, bytes_, bytes_)),
        finish=tuple(draw(st.lists(ops, max_size=3))),
        terms=draw(powers),
    )


@st.composite
def programs(draw: st.DrawFn) -> Program:
    shapes = st.builds(Shape, words, words)
    blocks = draw(
        st.lists(
            st.builds(
                Block,
                st.lists(instructions(), max_size=3).map(tuple),
                st.lists(shapes, max_size=2).map(tuple),
            ),
            min_size=1,
            max_size=3,
        )
    )
    schedule = draw(st.lists(st.integers(0, len(blocks) - 1), min_size=1, max_size=4))
    fmt = st.sampled_from(Format)
    return Program(
        blocks=tuple(blocks),
        schedule=tuple(schedule),
        formats=tuple(tuple(draw(fmt) for _ in blocks[n].weights) for n in schedule),
        pool=tuple(draw(st.lists(words, max_size=3))),
        globals=tuple(draw(st.lists(st.builds(GlobalWeight, words, words, fmt), max_size=2))),
        limit=draw(st.integers(1, 1 << 20)),
        params=draw(st.integers(0, 8)),
    )


@given(programs())
@settings(max_examples=60, deadline=None)
def test_round_trip_of_any_program(program: Program) -> None:
    assert decode(encode(program)) == program


@pytest.mark.parametrize("name", MODELS)
def test_round_trip_of_models(name: str) -> None:
    program = MODELS[name]().program
    assert decode(encode(program)) == program


def test_bytes_of_an_instruction_are_those_of_the_specification() -> None:
    instr = Instr(
        rows=Ext(2),
        cols=Ext(5, varies=True),
        fold=Fold.ARGMAX,
        k=Ext(256),
        out=Out.I32,
        yields=True,
        operands=(
            Operand(Kind.SLOT, 3, Pos.WINDOW_C, terms=(Term(Axis.K, 1, 32, 4),), base=7),
            Operand(Kind.TOKEN),
        ),
        body_operands=1,
        body=(ScalarOp(7, 0),),
        result=(1, 0, 0, 0),
        finish=(ScalarOp(20, 128, 0),),
        terms=64,
    )
    expected = (
        "009c 02 01 01 01 01000000 07 00 00000002 80000005 00000100"  # the 24 bytes
        "11 ff 0003 00000007 02 03 0020 00000001"  # slot over a window of c, with one term
        "60 ff 0000 00000000"  # token
        "07000000 14800000"  # abs; or
    )
    assert encode_instr(instr) == bytes.fromhex(expected)


def test_header_is_that_of_the_specification() -> None:
    one = Instr(Ext(1), Ext(1), finish=(ScalarOp(20, 128, 128),))
    program = Program(
        blocks=(Block((one, replace(one, virtual=True), one), (Shape(2, 32),)),),
        schedule=(0, 0),
        formats=((Format.Q8_0,), (Format.F16,)),
        pool=(5,),
        globals=(GlobalWeight(3, 4, Format.BF16),),
        limit=9,
        params=2,
    )
    body = 8 + 3 * 4 + 3 * 28
    length = 20 + 10 + 4 + 9 + 2 + 2 + body
    head = f"6f706d6c 01 01 0002 01 01 02 00 00000009 {length:08x}"
    table = f"{length - body:08x} 0003 0002 01 00"
    rest = "00000005 00000003 00000004 02 0000 0801 00000002 00000020"
    instructions_table = "0014 0000 0030 ffff 004c 0001"
    assert encode(program)[: -3 * 28] == bytes.fromhex(head + table + rest + instructions_table)


@pytest.mark.parametrize("name", MODELS)
def test_decode_refuses_every_truncation_and_anything_behind(name: str) -> None:
    data = encoded(name)
    for cut in [*range(0, 64), *range(64, len(data), 37), len(data) - 1]:
        with pytest.raises(ProgramError):
            decode(data[:cut])
    with pytest.raises(ProgramError):
        decode(data + b"\0")


@given(st.sampled_from(sorted(MODELS)), st.data())
@settings(max_examples=200, deadline=None)
def test_decode_of_changed_bytes_is_refused_or_canonical(name: str, data: st.DataObject) -> None:
    changed = bytearray(encoded(name))
    for _ in range(data.draw(st.integers(1, 3))):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(bytes_)
    try:
        program = decode(bytes(changed))
    except ProgramError:
        return
    assert encode(program) == bytes(changed)


@given(st.binary(max_size=200))
@settings(deadline=None)
def test_decode_of_random_bytes_is_refused(data: bytes) -> None:
    for prefix in (b"", encoded("moe")[:20]):
        with pytest.raises(ProgramError):
            decode(prefix + data)


@pytest.mark.parametrize("at", [11, 20 + 8, 20 + 9])
def test_decode_refuses_reserved_bytes_and_wrong_counts(at: int) -> None:
    changed = bytearray(encoded("moe"))
    changed[at] ^= 1
    with pytest.raises(ProgramError):
        decode(bytes(changed))


def test_encode_refuses_what_has_no_place() -> None:
    program = MODELS["moe"]().program
    code = program.blocks[0].code[0]

    def first(**changes: object) -> Program:
        block = replace(program.blocks[0], code=(replace(code, **changes),))  # type: ignore[arg-type]
        return replace(program, blocks=(block, *program.blocks[1:]))

    for wrong in (
        first(terms=3),
        first(rows=Ext(1 << 31)),
        first(operands=(Operand(Kind.SLOT, 1 << 16),)),
        first(operands=(Operand(Kind.SLOT, 1, terms=(Term(Axis.C, ROW + 1),)),)),
        first(operands=(Operand(Kind.SLOT, 1, terms=(Term(Axis.C, xor=3),)),)),
        replace(program, limit=0),
        replace(program, limit=(1 << 20) + 1),
        replace(program, pool=(0,) * 129),
        replace(program, pool=(1 << 32,)),
        replace(program, params=9),
        replace(program, schedule=(7, 1, 2)),
        replace(program, formats=((), (), ())),
        replace(program, schedule=(0,) * 1025, formats=((),) * 1025),
        first(finish=(ScalarOp(0, 0, 0, 0),) * 255, body=(ScalarOp(0, 256),)),
        replace(program, blocks=(replace(program.blocks[0], code=(code,) * 900), *program.blocks[1:])),
    ):
        with pytest.raises(ProgramError):
            encode(wrong)
