"""The quick EVM does what py-evm does: results, gas, stack, memory and failures, on code of any kind."""

from __future__ import annotations

from typing import Any

import pytest
from eth.vm import opcode_values as op
from eth.vm.forks.prague import PragueVM
from eth.vm.forks.prague.computation import PragueComputation
from hypothesis import example, given, settings
from hypothesis import strategies as st

from opml.chain.embedded import EmbeddedChain
from opml.chain.quick_evm import QuickPragueVM

EDGES = [255, 256, 2**31, 2**255, 2**256 - 32, 2**256 - 1]
WORDS = st.one_of(st.integers(0, 70), st.sampled_from(EDGES), st.integers(0, 2**256 - 1))
_PLAIN = "POP MLOAD MSTORE JUMP JUMPI JUMPDEST ISZERO NOT BYTE SHL SHR ADD SUB MUL AND OR XOR LT GT EQ"
_OTHERS = """MSTORE8 MSIZE PC GAS DIV SDIV SLT SAR SIGNEXTEND SHA3 CALLER CALLDATALOAD CALLDATACOPY CODECOPY
MCOPY ADDMOD EXP SSTORE SLOAD CALLDATASIZE RETURN REVERT STOP TLOAD TSTORE LOG1 SELFDESTRUCT"""
PLAIN = [getattr(op, name) for name in _PLAIN.split()]
OTHERS = [getattr(op, name) for name in _OTHERS.split()] + [0xFE]


def push(word: int, size: int = 0) -> bytes:
    data = word.to_bytes(size or -(-word.bit_length() // 8), "big")
    return bytes([op.PUSH0 + len(data)]) + data


@st.composite
def codes(draw: st.DrawFn) -> bytes:
    """Instructions on words that were pushed, jumps to places that are there among others, cut anywhere."""
    parts = [push(draw(WORDS)) for _ in range(draw(st.integers(0, 6)))]
    for _ in range(draw(st.integers(1, 40))):
        kind = draw(st.integers(0, 7))
        if kind < 2:
            parts.append(push(draw(WORDS)))
        elif kind == 2:
            parts.append(bytes([draw(st.integers(op.DUP1, op.SWAP16))]))
        elif kind == 3:
            target = draw(st.integers(0, sum(map(len, parts)) + 12))
            parts.append(push(target, 2) + bytes([draw(st.sampled_from([op.JUMP, op.JUMPI]))]))
        elif kind == 4:
            parts.append(bytes([op.JUMPDEST]))
        elif kind == 5:
            parts.append(bytes([draw(st.sampled_from(OTHERS))]))
        else:
            parts.append(bytes([draw(st.sampled_from(PLAIN))]))
    code = b"".join(parts)
    return code[: draw(st.integers(1, len(code)))]


@pytest.fixture(scope="module")
def vms() -> list[Any]:
    chain = EmbeddedChain(accounts=1)._chain
    quick = chain.get_vm(chain.header)
    assert isinstance(quick, QuickPragueVM)
    context = {"chain_context": quick.chain_context, "consensus_context": quick.consensus_context}
    return [PragueVM(header=chain.header, chaindb=chain.chaindb, **context), quick]


def outcome(vm: Any, code: bytes, gas: int) -> Any:
    """All that can be seen of a run."""
    there, before = b"\x11" * 20, vm.state.snapshot()
    found = vm.execute_bytecode(
        origin=there, gas_price=0, gas=gas, to=there, sender=there, value=0, data=bytes(range(40)), code=code
    )
    vm.state.revert(before)
    words = [
        int.from_bytes(x, "big") if isinstance(x, bytes | memoryview) else x for x in found._stack.values
    ]
    return (
        type(found._error),
        bytes(found.output),
        found.get_gas_remaining(),
        found.get_gas_refund(),
        found.get_log_entries(),
        None if found.is_error else words,
        None if found.is_error else bytes(found._memory._bytes),
    )


@pytest.mark.filterwarnings("ignore:SELFDESTRUCT")
@settings(max_examples=400, deadline=None)
@given(codes(), st.sampled_from([30, 100, 1_000, 100_000]))
@example(push(1) * 1024 + bytes([op.DUP1]), 100_000)
@example(push(1) * 1024 + push(0), 100_000)
@example(push(1) * 1023 + bytes([op.DUP1, op.SWAP16]), 100_000)
@example(bytes([op.PUSH32, 1, 2]), 100)
@example(push(3) + bytes([op.JUMP, op.PUSH1, op.JUMPDEST]), 100)
@example(bytes([op.JUMPDEST]) + push(0) + bytes([op.JUMP]), 1_000)
@example(push(5) + bytes([op.JUMP]) + b"\x5b\x5b\x5b", 100)
@example(bytes([op.SELFDESTRUCT]), 100)
def test_any_code_runs_as_in_py_evm(vms: list[Any], code: bytes, gas: int) -> None:
    plain, quick = (outcome(vm, code, gas) for vm in vms)
    assert quick == plain


def test_prices_are_those_of_py_evm(vms: list[Any]) -> None:
    """Each plain instruction alone, with the least gas that it takes and with one less."""
    for number in (*PLAIN, *range(op.PUSH0, op.SWAP16 + 1)):
        words = push(0) * 17 if number != op.JUMP else push(0)
        code = words + bytes([number]) + bytes(32)
        price = PragueComputation.opcodes[number].gas_cost + 2 * (len(words) // len(push(0)))
        for gas in (price, price - 1, price + 40):
            plain, quick = (outcome(vm, code, gas) for vm in vms)
            assert quick == plain, (hex(number), gas)
