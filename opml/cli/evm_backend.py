"""The contracts' arithmetic, run on the embedded chain through the harness that the package brings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from opml.chain.artifacts import load_artifact
from opml.chain.embedded import EmbeddedChain
from opml.ops.table import OP_BY_NAME

Words = NDArray[np.uint32]

_CASES_A_CALL = 2_000
_KINDS = {("f16", True): 0, ("f16", False): 1, ("bf16", True): 2, ("bf16", False): 3}


class Evm:
    """`Float32` and `ScalarProgram` as they are compiled into the contracts."""

    name = "evm"

    def __init__(self) -> None:
        self._chain = EmbeddedChain(accounts=1)
        artifact = load_artifact("test/ScalarHarness")
        self._harness, _ = self._chain.deploy(artifact, sender=self._chain.accounts[0])

    def run(self, op: str, operands: Sequence[Words]) -> Words:
        """Results of an operation on arrays of bit patterns."""
        cases = np.stack(operands, axis=1).astype(">u4")
        results = []
        for part in _parts(cases):
            arguments = [OP_BY_NAME[op].code, len(operands), part.tobytes()]
            results.append(self._chain.call(self._harness, "batch", arguments))
        return np.frombuffer(b"".join(results), ">u4").astype(np.uint32)

    def convert(self, fmt: str, load: bool, values: Words) -> Words:
        """A load from a storage format, or a store to it."""
        results: list[int] = []
        for part in _parts(values):
            results += self._chain.call(self._harness, "convert", [_KINDS[fmt, load], part.tolist()])
        return np.array(results, np.uint32)


def _parts(cases: NDArray[np.generic]) -> Iterator[NDArray[np.generic]]:
    for start in range(0, len(cases), _CASES_A_CALL):
        yield cases[start : start + _CASES_A_CALL]


__all__ = ["Evm"]
