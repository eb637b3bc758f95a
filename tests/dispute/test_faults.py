"""Every named fault loses or is refused, on tiny models; poisoned ones for a NaN, a denormal or a tie."""

from __future__ import annotations

import struct

import pytest
import toys
from table import Table

from opml.dispute import errors
from opml.dispute.faults import FAULTS, parse_flip, plant
from opml.dispute.gateway import ClaimStatus
from opml.dispute.moves import Reason
from opml.errors import InputError
from opml.models.model import Model
from opml.models.tiny import TinyLlama

PROMPT = (5, 9, 4, 7)
OCCASIONS = {"nan", "denormal"}
NAN = struct.pack("<I", 0x7FC00000)
SUBNORMAL = struct.pack("<I", 0x00012345)
REASONS = {
    "token": Reason.TOKEN,
    "answer": Reason.PIECE,
    "padding": Reason.TIMEOUT,
    "random-root": Reason.TIMEOUT,
    "silent-reveal": Reason.TIMEOUT,
    "silent-leaf": Reason.TIMEOUT,
    "silent-totals": Reason.TIMEOUT,
}


def table_for(name: str) -> Table:
    return Table(model_for(name), PROMPT, outputs=3)


def model_for(name: str) -> Model:
    if name == "nan":
        return toys.llama(TinyLlama(patches={"blk.1.ffn_norm.weight": {0: NAN}}))
    if name == "denormal":
        return toys.llama(TinyLlama(patches={"blk.1.attn_norm.weight": {0: SUBNORMAL * 32}}))
    return toys.model("llama")


@pytest.mark.parametrize("name", FAULTS)
def test_a_named_fault_loses_or_is_refused(name: str) -> None:
    table = table_for(name)
    cheat = plant(table.scenario, name)
    if cheat.refused:
        with pytest.raises((errors.NoEndToken, errors.EndTokenInside, errors.OutputTooLong)):
            table.post(cheat.answer)
        return
    duel = table.cheat(cheat)
    assert duel.status == ClaimStatus.REJECTED
    assert duel.reason == REASONS.get(name, Reason.STEP), duel.refused


@pytest.mark.parametrize("fault", sorted(OCCASIONS))
def test_a_fault_without_an_occasion_is_refused_with_a_reason(fault: str) -> None:
    with pytest.raises(InputError, match="has no"):
        plant(Table(toys.model("llama"), PROMPT, outputs=3).scenario, fault)


def tied() -> Table:
    """A model in which the sampled token and the one after it have the same logit."""
    plain = Table(toys.model("llama"), PROMPT, outputs=1)
    sampled = plain.honest.tokens[-1]
    row = plain.model.weights.tensor(0)
    size = len(row.data) // row.rows
    data = bytes(row.data[sampled * size : (sampled + 1) * size])
    patches = {"token_embd.weight": {(sampled + 1) * size: data}}
    table = Table(toys.llama(TinyLlama(patches=patches)), PROMPT, outputs=1)
    assert table.honest.tokens[-1] == sampled
    return table


def test_of_two_logits_that_tie_the_later_loses() -> None:
    table = tied()
    duel = table.cheat(plant(table.scenario, "argmax"))
    assert duel.reason == Reason.STEP


@pytest.mark.parametrize("model", ["gemma3", "mixture", "gpt2", "every_form"])
@pytest.mark.parametrize(
    "fault", ["embedding", "prompt", "weight", "fma", "token", "padding", "product-first"]
)
def test_faults_lose_on_other_shapes_of_model(model: str, fault: str) -> None:
    table = Table(toys.model(model), PROMPT, outputs=2)
    duel = table.cheat(plant(table.scenario, fault))
    assert duel.status == ClaimStatus.REJECTED


def test_a_place_may_be_named_in_several_ways() -> None:
    scenario = Table(toys.model("llama"), PROMPT, outputs=2).scenario
    layout, prompt, last = scenario.layout, scenario.honest.prompt_length, scenario.last
    by_name = parse_flip(layout, prompt, last, "2:ffn_down:5:0x10")
    by_layer = parse_flip(layout, prompt, last, "2:0.ffn_down:5:16")
    by_number = parse_flip(layout, prompt, last, f"2:{by_name.slot}:5:0b10000")
    assert by_name == by_layer == by_number
    assert parse_flip(layout, prompt, last, "2:1.ffn_down:5:0x10").slot > by_name.slot


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("2:ffn_down:5", "position:slot:element:xor-mask"),
        ("99:ffn_down:5:1", "not computed"),
        ("2:nothing:5:1", "no slot"),
        ("2:9999:5:1", "slot 9999 of"),
        ("2:ffn_down:64:1", "64 elements"),
        ("2:ffn_down:5:0", "mask"),
        ("2:ffn_down:5:0x100000000", "32 bits"),
        ("2:sample:0:1", "only where a token is yielded"),
        ("x:ffn_down:5:1", "expected a number"),
        ("-1:ffn_down:5:1", "at least 0"),
    ],
)
def test_a_wrong_place_is_explained(text: str, said: str) -> None:
    scenario = Table(toys.model("llama"), PROMPT, outputs=2).scenario
    with pytest.raises(InputError, match=said):
        parse_flip(scenario.layout, scenario.honest.prompt_length, scenario.last, text)


def test_an_unknown_fault_is_answered_with_the_list() -> None:
    with pytest.raises(InputError, match="softmax-max"):
        plant(Table(toys.model("llama"), PROMPT, outputs=2).scenario, "no such fault")
