"""The native interpreter takes what the validator takes, and stores integers as what they are as floats."""

from __future__ import annotations

from dataclasses import replace

import pytest

from opml.errors import ProgramError
from opml.ops.expr import const, f2i, isub
from opml.vm.builder import ProgramBuilder, axis, c
from opml.vm.encoding import encode
from opml.vm.engine import get_engine, run
from opml.vm.isa import Axis, Block, Ext, Fold, Format, GlobalWeight, Instr, Kind, Operand, Out, Program, Term
from opml.vm.validate import validate
from opml.vm.weights import Weights
from tests.native import native_module

LEVELS = native_module().levels()


def program(out: Out) -> Program:
    """-150,000 + 1,000 c as integers by way of floats: those bits are NaNs of binary32, stored as `out`."""
    model = ProgramBuilder(4)
    b = model.block("block")
    b.emit("integers", 1, 300, f2i(const(-150_000.0)), out=out)
    b.emit("less", 1, 300, isub(axis(c), const(150_000)), out=out)
    b.emit("sample", 1, 1, const(1), out=Out.I32, yields=True)
    return model.program([(b, [])])


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("out", list(Out))
def test_integers_that_look_like_nans_are_stored_canonical(out: Out, level: str) -> None:
    tokens = [1, 1, 1]
    made = program(out)
    expected = run(get_engine("reference").load(made, Weights([])), tokens, 1)
    found = run(get_engine("native", level=level).load(made, Weights([])), tokens, 1)
    assert [found.tensor(0, n) for n in range(2)] == [expected.tensor(0, n) for n in range(2)]
    assert found.trace_root() == expected.trace_root()


def test_a_block_without_an_entry_may_break_rules_that_only_running_needs() -> None:
    wrong = Instr(Ext(0, True), Ext(0), finish=())
    made = program(Out.F32)
    for blocks, entry in (((*made.blocks, Block((wrong,))), 0), ((Block((wrong,)), *made.blocks), 1)):
        changed = replace(made, blocks=blocks, schedule=(entry,))
        validate(changed)
        for name in ("reference", "native", "soft"):
            assert run(get_engine(name).load(changed, Weights([])), [1, 1], 1).tensor(0, 0)


def test_an_address_whose_terms_wrap_is_outside_its_tensor() -> None:
    many, step = (1 << 31) - 1, (1 << 32) - 2
    terms = (Term(Axis.R, step), Term(Axis.K, step), Term(Axis.T, step))
    assert (4 + 2 * (many - 1) * step + 6 * step) % (1 << 64) == 0
    wrapping = Operand(Kind.GLOBAL, 0, base=4, terms=terms)
    sample = program(Out.F32).blocks[0].code[-1]
    wide = replace(sample, rows=Ext(many), fold=Fold.MAX, k=Ext(many), operands=(wrapping,), body_operands=1)
    wide = replace(wide, out=Out.F32, yields=False)
    made = replace(
        program(Out.F32), blocks=(Block((wide, sample)),), globals=(GlobalWeight(4, 4, Format.F32),), limit=7
    )
    with pytest.raises(ProgramError, match="reaches element"):
        validate(made)
    with pytest.raises(ValueError, match="outside its tensor"):
        native_module().Machine(encode(made), [bytes(64)], "native", 1)
