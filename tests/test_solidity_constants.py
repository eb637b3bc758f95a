"""A constant has one owner: each that a contract states is Python's, or is named here as the contract's own.

Flat figures of gas that only a contract uses are held to measurements (`tests/contracts/test_gas.py`).
"""

from __future__ import annotations

from enum import IntEnum
from itertools import chain

import pytest

from opml.chain.adapter import BURN_ADDRESS
from opml.dispute import ledger, limits
from opml.dispute.cursor import WHOLE_BYTES
from opml.dispute.types import GAME_DOMAIN
from opml.models import rotary, tokenizer
from opml.ops.quant import UNIT, WEIGHT_FORMATS
from opml.ops.softfloat import F32_INF, F32_NAN
from opml.vm import commitment, cost, encoding, isa, validate, witness
from opml.vm.commitment import E0, Tag
from opml.vm.isa import LEAF_ELEMENTS, Axis, Fold, Format, Kind, Out, Pos
from opml.vm.keccak import keccak256
from opml.vm.step import Mode
from tests.solidity import CONTRACTS, SOURCES, constants, packed, source

TOKEN_BYTES = 4
WORDS = {
    "STEP",
    "ENTRY",
    "CALLDATA_BYTE",
    "FLOOR_BYTE",
    "HASH",
    "LEAF",
    "LEAF_BYTE",
    "FRAME",
    "OPERAND",
    "READ",
}
WORDS |= {"DEQUANTISE", "SEARCH", "SCALAR", "ELEMENT", "TERM", "UNIT_MINIMUM", "BULK_TERM", "COMPARE"}


def members(prefix: str, table: type[IntEnum]) -> dict[str, int]:
    return {f"{prefix}_{member.name}": member.value for member in table}


def number(digest: bytes) -> int:
    return int.from_bytes(digest, "big")


PROGRAM = dict(
    chain.from_iterable(
        members(prefix, table).items()
        for prefix, table in {
            "FOLD": Fold,
            "OUT": Out,
            "FORMAT": Format,
            "KIND": Kind,
            "POS": Pos,
            "AXIS": Axis,
        }.items()
    )
)

HELD: dict[str, dict[str, int]] = {
    "Evaluator.sol": {"BLOCK": LEAF_ELEMENTS, "UNIT": UNIT},
    "Float32.sol": {"NAN": F32_NAN, "INF": F32_INF, "SIGN": 1 << 31, "ONE": 0x3F800000},
    "GameCore.sol": {"MOST_CEILING": limits.MOST_CEILING, "MOST_CLOCK": limits.MOST_CLOCK},
    "GameGas.sol": {name: getattr(ledger, name) for name in constants("GameGas.sol")},
    "GameRules.sol": {"WHOLE_BYTES": WHOLE_BYTES},
    "GameState.sol": {"UNIT": ledger.DUE_UNIT, "MOST_UNITS": ledger.MOST_DUE},
    "Ids.sol": {
        "MODEL": number(commitment.MODEL_DOMAIN),
        "REQUEST": number(keccak256(b"opml.request.1")),
        "CLAIM": number(keccak256(b"opml.claim.1")),
        "GAME": number(GAME_DOMAIN),
    },
    "Ledger.sol": {"BURN": int(BURN_ADDRESS, 16)},
    "Merkle.sol": {
        "LEAF_TENSOR": Tag.TENSOR_LEAF,
        "LEAF_WEIGHT": Tag.WEIGHT_LEAF,
        "LEAF_TOKENS": Tag.TOKENS_LEAF,
        "LEAF_PIECE": Tag.PIECE_LEAF,
        "NODE_TENSOR": Tag.TENSOR,
        "NODE_POSITION": Tag.POSITION,
        "NODE_TRACE": Tag.TRACE,
        "NODE_WEIGHT": Tag.WEIGHT,
        "NODE_WEIGHTS": Tag.WEIGHTS,
        "NODE_TOKENS": Tag.TOKENS,
        "NODE_VOCABULARY": Tag.VOCABULARY,
        "EMPTY": number(E0),
    },
    "ModelRegistry.sol": {"MOST_END_TOKENS": commitment.MAX_END_TOKENS, "MOST_PROGRAM": isa.MAX_LENGTH},
    "Openings.sol": {
        "LEAF_TAGS": packed([Tag.TENSOR_LEAF, Tag.WEIGHT_LEAF, Tag.TOKENS_LEAF, Tag.TOKENS_LEAF]),
        "NODE_TAGS": packed([Tag.TENSOR, Tag.WEIGHT, Tag.TOKENS, Tag.TOKENS]),
    },
    "OpmlOracle.sol": {"MOST_CALLBACK_GAS": limits.MOST_CALLBACK_GAS},
    "ProgramLib.sol": PROGRAM
    | {
        "ROW": isa.ROW,
        "NO_INDEX": isa.NO_INDEX,
        "VARIES": encoding.VARIES,
        "LEAF_ELEMENTS": LEAF_ELEMENTS,
        "HEADER_BYTES": encoding.HEADER_BYTES,
        "BLOCK_ROW_BYTES": encoding.BLOCK_ENTRY_BYTES,
        "GLOBAL_BYTES": encoding.GLOBAL_BYTES,
        "INSTR_BYTES": encoding.INSTR_BYTES,
        "OUT_BYTES": packed(list(isa.OUT_BYTES)),
        "UNIT_BYTES": packed([fmt.unit_bytes for fmt in WEIGHT_FORMATS]),
        "UNIT_ELEMENTS": packed([fmt.unit for fmt in WEIGHT_FORMATS]),
    },
    "ProgramValidator.sol": {
        "MOST_POSTING": validate.MAX_STEP_BYTES,
        "MAGIC_VERSION": number(encoding.MAGIC + bytes([encoding.VERSION])),
        "MOST_BLOCKS": isa.MAX_BLOCKS,
        "MOST_ENTRIES": isa.MAX_ENTRIES,
        "MOST_POOL": isa.MAX_POOL,
        "MOST_GLOBALS": isa.MAX_GLOBALS,
        "MOST_PARAMS": isa.MAX_PARAMS,
        "MOST_WEIGHTS": isa.MAX_WEIGHTS,
        "MOST_POSITIONS": isa.MAX_LIMIT,
        "MOST_ELEMENTS": isa.MAX_ELEMENTS,
        "MOST_REGISTERS": isa.MAX_REGISTERS,
        "MOST_DEPTH": isa.MAX_VIRTUAL_DEPTH,
        "NO_ORDINAL": encoding.NO_ORDINAL,
        "UNIT": UNIT,
        "ARITY": packed(list(isa.OP_ARITY)),
        "OPS": isa.OP_COUNT,
    },
    "ScalarProgram.sol": {"POOL": isa.POOL_BASE},
    "StepCost.sol": {name: cost.GAS[name.lower()] for name in WORDS}
    | {
        "MOST_GAS": validate.MAX_STEP_GAS,
        "MOST_BYTES": validate.MAX_STEP_BYTES,
        "UNIT": UNIT,
        "HASH_BYTES": cost.HASH_BYTES,
        "UNIT_GAS": cost.GAS["unit"],
        "ADD_GAS": cost.OP_GAS["add"],
        "FMA_GAS": cost.OP_GAS["fma"],
        "OP_GAS": packed([gas // 50 for gas in cost.OP_GAS_BY_CODE]),
    },
    "StepVerifier.sol": {mode.name: mode.value for mode in Mode},
    "Tokens.sol": {"LEAF_BYTES": LEAF_ELEMENTS * TOKEN_BYTES},
}
"""By file: what Python has of it."""

OWN: dict[str, set[str]] = {
    "Float32.sol": {"UNDECIDED", "TO_BIT_4"},  # marks and tables within an operation
    "Frames.sol": {
        "STORED",
        "WINDOW_K",
        "WINDOW_C",
        "VIRTUAL",
        "WORD",
        "AXIS",
        "TOKEN",
    }  # where an operand lies
    | {"BUFFER", "BUFFERS", "ALONG", "CONSECUTIVE"},  # memory
    "GameState.sol": {"MOST_POT"},  # the width of a field
    "Openings.sol": {"TRACE", "WEIGHTS", "PROMPT", "OUTPUT", "BUCKETS"},  # memory
    "OpmlOracle.sol": {"FINALISE", "DELIVER", "TOKEN_BYTES", "CALL_RESERVE"}  # figures of gas
    | {"MOST_ANSWER_BYTES"},  # refused when the transaction is estimated
    "Records.sol": set(constants("Records.sol")),  # memory
    "Window.sol": {"LOWEST"},  # memory
}
"""By file: what nothing outside the contracts needs."""


@pytest.mark.parametrize("name", [str(path.relative_to(CONTRACTS)) for path in SOURCES])
def test_every_constant_of_a_contract_equals_pythons_or_is_its_own(name: str) -> None:
    held, own = HELD.get(name, {}), OWN.get(name, set())
    assert constants(name) == {**held, **{key: value for key, value in constants(name).items() if key in own}}
    assert not own & set(held) and own <= set(constants(name))


def test_names_of_files_are_those_of_contracts() -> None:
    assert set(HELD) | set(OWN) <= {str(path.relative_to(CONTRACTS)) for path in SOURCES}
    assert sum(len(constants(name)) for name in HELD) > 150


def test_figures_of_moves_and_of_a_step_are_all_used() -> None:
    assert len(constants("GameGas.sol")) > 20
    assert {word.lower() for word in WORDS} | {"unit"} == set(cost.GAS)
    assert all(gas % 50 == 0 for gas in cost.OP_GAS_BY_CODE)
    assert constants("StepCost.sol")["ADD_GAS"] == cost.OP_GAS["mul"]


def test_small_tensors_are_the_same_in_the_game_and_its_bonds() -> None:
    assert f"leaf({WHOLE_BYTES}, s.entries)" in source("GameGas.sol")


def test_limits_of_terms_stand_in_the_constructor() -> None:
    text = source("GameCore.sol")
    assert f"t.fanout > {limits.MOST_FANOUT} " in text and limits.MOST_EXTRA == 10**24
    assert text.count("> 10 ** 24") == 2


def test_tags_are_all_in_solidity() -> None:
    stated = {value for name, value in constants("Merkle.sol").items() if name.startswith(("LEAF_", "NODE_"))}
    assert stated == {tag.value for tag in Tag} - {0}


def test_constants_that_stand_twice_in_python_are_equal() -> None:
    assert tokenizer.MAX_END_TOKENS == commitment.MAX_END_TOKENS
    assert rotary.MAX_POSITIONS == isa.MAX_LIMIT
    assert cost.HASH_BYTES == witness.HASH_BYTES
