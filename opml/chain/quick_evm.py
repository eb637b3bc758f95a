"""Prague as py-evm has it, three times as fast: plain instructions run here, all others in py-evm.

`QuickCode` runs those that touch nothing but the stack, memory that is there and the program counter, at
py-evm's prices. It hands on every other instruction, and every one that would fail (docs/decisions.md: why).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

from eth.vm import opcode_values as op
from eth.vm.code_stream import CodeStream
from eth.vm.forks.prague import PragueVM
from eth.vm.forks.prague.computation import PragueComputation
from eth.vm.forks.prague.state import PragueState

_OPCODES: dict[int, Any] = PragueComputation.opcodes
_PRICES: dict[int, int] = {number: found.gas_cost for number, found in _OPCODES.items() if number < op.CREATE}
"""By instruction, as py-evm has it."""
_WORD = 32
_MASK = (1 << 256) - 1
_MOST = 1024
"""Words on a stack."""

_BINARY: dict[int, Callable[[int, int], int]] = {
    op.ADD: lambda a, b: a + b & _MASK,
    op.SUB: lambda a, b: a - b & _MASK,
    op.MUL: lambda a, b: a * b & _MASK,
    op.AND: lambda a, b: a & b,
    op.OR: lambda a, b: a | b,
    op.XOR: lambda a, b: a ^ b,
    op.LT: lambda a, b: int(a < b),
    op.GT: lambda a, b: int(a > b),
    op.EQ: lambda a, b: int(a == b),
    op.SHL: lambda a, b: b << a & _MASK if a < 256 else 0,
    op.SHR: lambda a, b: b >> a if a < 256 else 0,
    op.BYTE: lambda a, b: b >> 248 - 8 * a & 0xFF if a < 32 else 0,
}
"""Of the top of the stack and the word below it."""
_UNARY: dict[int, Callable[[int], int]] = {
    op.ISZERO: lambda a: int(a == 0),
    op.NOT: lambda a: a ^ _MASK,
}


@lru_cache(maxsize=16)
def _scanned(code: bytes) -> tuple[frozenset[int], dict[int, tuple[int, int]]]:
    """Where one may jump to, and of each push the word and the place behind it."""
    targets, pushes = set(), {}
    place = 0
    while place < len(code):
        instruction = code[place]
        if instruction == op.JUMPDEST:
            targets.add(place)
        behind = place + 1
        if op.PUSH0 <= instruction <= op.PUSH32:
            length = instruction - op.PUSH0
            behind += length
            data = code[place + 1 : behind].ljust(length, b"\0")
            pushes[place] = int.from_bytes(data, "big"), behind
        place = behind
    return frozenset(targets), pushes


class QuickCode(CodeStream):
    """The code of a computation: iterating over it runs plain instructions, and gives the others."""

    def __init__(self, code: bytes, computation: Any) -> None:
        super().__init__(code)
        self._computation = computation

    def __iter__(self) -> Iterator[int]:
        code = self._raw_code_bytes
        targets, pushes = _scanned(bytes(code))
        meter, memory = self._computation._gas_meter, self._computation._memory
        stack: list[Any] = self._computation._stack.values
        prices, binary, unary, word_of, size = _PRICES, _BINARY, _UNARY, _word, len(code)
        push0, push32, dup16, swap16 = op.PUSH0, op.PUSH32, op.DUP16, op.SWAP16
        mload, mstore, jump, jumpi, jumpdest = op.MLOAD, op.MSTORE, op.JUMP, op.JUMPI, op.JUMPDEST
        while self.program_counter < size:
            place, gas = self.program_counter, meter.gas_remaining
            while place < size:
                instruction = code[place]
                price = prices.get(instruction, 0)
                height = len(stack)
                if price > gas:
                    break
                if instruction >= push0:
                    if instruction <= push32:
                        if height == _MOST:
                            break
                        word, place = pushes[place]
                        stack.append(word)
                        gas -= price
                        continue
                    if instruction <= dup16:
                        depth = instruction - push32
                        if height == _MOST or height < depth:
                            break
                        stack.append(stack[-depth])
                    elif instruction <= swap16:
                        depth = instruction - dup16 + 1
                        if height < depth:
                            break
                        stack[-1], stack[-depth] = stack[-depth], stack[-1]
                    else:
                        break
                elif instruction in binary:
                    if height < 2:
                        break
                    top = word_of(stack.pop())
                    stack[-1] = binary[instruction](top, word_of(stack[-1]))
                elif instruction == mstore:
                    if height < 2 or (start := word_of(stack[-1])) + _WORD > len(memory._bytes):
                        break
                    memory._bytes[start : start + _WORD] = word_of(stack[-2]).to_bytes(_WORD, "big")
                    del stack[-2:]
                elif instruction == jump:
                    if height < 1 or word_of(stack[-1]) not in targets:
                        break
                    place = word_of(stack.pop()) - 1
                elif instruction == jumpi:
                    if height < 2:
                        break
                    target = word_of(stack[-1])
                    if word_of(stack[-2]) == 0:
                        target = place + 1
                    elif target not in targets:
                        break
                    del stack[-2:]
                    place = target - 1
                elif instruction == mload:
                    if height < 1 or (start := word_of(stack[-1])) + _WORD > len(memory._bytes):
                        break
                    stack[-1] = int.from_bytes(memory._bytes[start : start + _WORD], "big")
                elif instruction in unary:
                    if height < 1:
                        break
                    stack[-1] = unary[instruction](word_of(stack[-1]))
                elif instruction == op.POP:
                    if height < 1:
                        break
                    stack.pop()
                elif instruction != jumpdest:
                    break
                gas -= price
                place += 1
            else:
                self.program_counter, meter.gas_remaining = place, gas
                break
            self.program_counter, meter.gas_remaining = place + 1, gas
            yield instruction
        yield op.STOP


def _word(item: Any) -> int:
    """py-evm keeps words as they came, as numbers or as bytes."""
    return item if type(item) is int else int.from_bytes(item, "big")


class _Computation(PragueComputation):
    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.code = QuickCode(self.msg.code, self)


class _State(PragueState):
    computation_class = _Computation  # type: ignore[assignment]


class QuickPragueVM(PragueVM):
    """`eth.vm.forks.prague.PragueVM`, faster."""

    _state_class = _State


__all__ = ["QuickCode", "QuickPragueVM"]
