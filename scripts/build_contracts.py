"""Compile `contracts/**/*.sol` into `opml/chain/artifacts/`, to the byte the same everywhere.

    npm ci --prefix contracts          # once: the pinned compiler
    python scripts/build_contracts.py            # rebuild what changed
    python scripts/build_contracts.py --check    # rebuild everything, fail on any byte of drift

Each source file is compiled on its own with what it imports, so that a contract's byte code depends on
nothing else. Contracts of `contracts/test/` go to `artifacts/test/`. Libraries are inlined: they have no
artifact.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ROOT / "contracts"
ARTIFACTS = ROOT / "opml" / "chain" / "artifacts"
CACHE = SOURCES / "cache"
DRIVER = Path(__file__).resolve().with_name("solc_standard_json.js")

SOLC = "0.8.37"
MAX_DEPLOYED = 24_576  # EIP-170
DEFAULT_RUNS = 1_000_000
RUNS: dict[str, int] = {  # source file -> fewer optimizer runs, where the size limit forces it
    "DisputeGame.sol": 200,
    "StepVerifier.sol": 1000,
    "OpmlOracle.sol": 200,  # its creation code holds the game's
}
SKIP = ("node_modules", "cache", "out")

PROCESSES = 2
CONTRACT = re.compile(r"^contract\s", re.MULTILINE)
IMPORT = re.compile(r"""^\s*import\s+(?:[^"';]*?\sfrom\s+)?["']([^"']+)["']\s*;""", re.MULTILINE)


class BuildError(Exception):
    """The contracts cannot be built, or differ from what is committed."""


@dataclass(frozen=True, slots=True)
class Output:
    """One artifact: its path below the artifacts folder, its text, the size of the deployed code."""

    path: str
    text: str
    deployed_size: int


def source_files() -> list[str]:
    """All Solidity files, as paths below `contracts/`, sorted."""
    found = (p.relative_to(SOURCES) for p in SOURCES.rglob("*.sol"))
    return sorted(p.as_posix() for p in found if p.parts[0] not in SKIP)


def closure(name: str) -> dict[str, str]:
    """The text of a source file and of everything it imports, by path below `contracts/`."""
    texts: dict[str, str] = {}
    todo = [name]
    while todo:
        current = todo.pop()
        if current in texts:
            continue
        path = SOURCES / current
        if not path.is_file():
            raise BuildError(f"contracts/{current}: imported but not there")
        texts[current] = path.read_text(encoding="utf-8")
        for target in IMPORT.findall(texts[current]):
            if not target.startswith("."):
                raise BuildError(f"contracts/{current}: import {target!r} is not relative")
            absolute = (path.parent / target).resolve()
            todo.append(absolute.relative_to(SOURCES.resolve()).as_posix())
    return dict(sorted(texts.items()))


def standard_json(name: str, texts: dict[str, str]) -> dict[str, Any]:
    """The compiler's input for one source file; without a contract in it, no code is asked for."""
    code = ["evm.bytecode.object", "evm.deployedBytecode.object"] if CONTRACT.search(texts[name]) else []
    return {
        "language": "Solidity",
        "sources": {path: {"content": text} for path, text in texts.items()},
        "settings": {
            "viaIR": True,
            "optimizer": {"enabled": True, "runs": RUNS.get(name, DEFAULT_RUNS)},
            "evmVersion": "cancun",
            "metadata": {"appendCBOR": False, "bytecodeHash": "none"},
            "outputSelection": {name: {"": ["ast"], "*": ["abi", *code]}},
        },
    }


def compile_source(solc: Compiler, name: str, use_cache: bool) -> list[Output]:
    """The artifacts of one source file, from the cache when nothing it depends on has changed."""
    request = json.dumps(standard_json(name, closure(name)), sort_keys=True)
    key = hashlib.sha256((SOLC + request).encode()).hexdigest()
    cached = CACHE / (name.replace("/", "__") + ".json")
    if use_cache and cached.is_file():
        held = json.loads(cached.read_text(encoding="utf-8"))
        if held["key"] == key:
            return [Output(*row) for row in held["outputs"]]
    outputs = list(artifacts(name, solc.answer(request)))
    CACHE.mkdir(exist_ok=True)
    rows = [[o.path, o.text, o.deployed_size] for o in outputs]
    cached.write_text(json.dumps({"key": key, "outputs": rows}), encoding="utf-8")
    return outputs


class Compiler:
    """The pinned compiler in a process of its own, started with the first request: loading it takes 2 s."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def answer(self, request: str) -> dict[str, Any]:
        """What it answers to a line of standard JSON; `BuildError` with its messages when it refuses."""
        answer = self._ask(request)
        if not answer["compiler"].startswith(SOLC + "+"):
            raise BuildError(
                f"solc is {answer['compiler']}, expected {SOLC}: run `npm ci --prefix contracts`"
            )
        problems = [e["formattedMessage"] for e in answer.get("errors", [])]
        if any(e["severity"] == "error" for e in answer.get("errors", [])):
            raise BuildError("\n".join(problems))
        if problems:
            print("\n".join(problems), file=sys.stderr)
        return answer

    def _ask(self, request: str) -> dict[str, Any]:
        if self._process is None:
            if not (SOURCES / "node_modules" / "solc").is_dir():
                raise BuildError("the compiler is not installed: run `npm ci --prefix contracts` first")
            self._process = subprocess.Popen(
                ["node", str(DRIVER), str(SOURCES)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                encoding="utf-8",
            )
        process = self._process
        assert process.stdin is not None and process.stdout is not None
        try:
            process.stdin.write(request + "\n")
            process.stdin.flush()
            answer: dict[str, Any] = json.loads(process.stdout.readline())
        except (OSError, ValueError):
            self.close()
            raise BuildError("solc ended without an answer: its message is above") from None
        return answer

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


def artifacts(name: str, answer: dict[str, Any]) -> Iterator[Output]:
    """The artifacts of the contracts and interfaces of one compiled source file."""
    kinds = {
        node["name"]: node["contractKind"]
        for node in answer["sources"][name]["ast"]["nodes"]
        if node["nodeType"] == "ContractDefinition"
        and not (node["abstract"] and node["contractKind"] == "contract")
    }
    for contract, data in answer.get("contracts", {}).get(name, {}).items():
        if kinds.get(contract, "library") == "library":  # or abstract: a part of another contract
            continue
        evm = data.get("evm", {})
        if kinds[contract] == "contract" and not evm:
            raise BuildError(f"contracts/{name}: no code for {contract}: begin its line with `contract`")
        code = {k: evm[k]["object"] if k in evm else "" for k in ("bytecode", "deployedBytecode")}
        content = {
            "contractName": contract,
            "abi": data["abi"],
            "bytecode": "0x" + code["bytecode"],
            "deployedBytecode": "0x" + code["deployedBytecode"],
        }
        folder = "test/" if name.startswith("test/") else ""
        text = json.dumps(content, indent=1, sort_keys=True) + "\n"
        yield Output(f"{folder}{contract}.json", text, len(code["deployedBytecode"]) // 2)


def build(names: list[str], use_cache: bool) -> dict[str, Output]:
    """All artifacts of the source files by path; `BuildError` on a clash of names or too large a code."""
    found: dict[str, Output] = {}
    free: SimpleQueue[Compiler] = SimpleQueue()
    compilers = [Compiler() for _ in range(PROCESSES)]
    for solc in compilers:
        free.put(solc)

    def compiled(name: str) -> list[Output]:
        solc = free.get()
        try:
            return compile_source(solc, name, use_cache)
        finally:
            free.put(solc)

    longest_first = sorted(names, key=lambda name: -sum(map(len, closure(name).values())))
    with ThreadPoolExecutor(PROCESSES) as pool:
        try:
            for outputs in pool.map(compiled, longest_first):
                for output in outputs:
                    if output.path in found:
                        raise BuildError(f"two contracts are called {Path(output.path).stem}")
                    found[output.path] = output
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
            for solc in compilers:
                solc.close()
    for output in found.values():
        if output.deployed_size > MAX_DEPLOYED and not output.path.startswith("test/"):
            raise BuildError(
                f"{output.path}: deployed code of {output.deployed_size} bytes, at most {MAX_DEPLOYED}"
            )
    return found


def drift(built: dict[str, Output]) -> list[str]:
    """What differs between the artifacts built and those on disk, one line each."""
    held = {p.relative_to(ARTIFACTS).as_posix(): p for p in ARTIFACTS.rglob("*.json")}
    lines = [f"{path}: not committed" for path in built if path not in held]
    lines += [f"{path}: its source is gone" for path in held if path not in built]
    lines += [
        f"{path}: differs from its source"
        for path, output in built.items()
        if path in held and held[path].read_bytes() != output.text.encode()
    ]
    return sorted(lines)


def write(built: dict[str, Output], complete: bool) -> None:
    """Write what changed; remove artifacts without a source when everything was built."""
    for path, output in built.items():
        target = ARTIFACTS / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.is_file() or target.read_text(encoding="utf-8") != output.text:
            target.write_text(output.text, encoding="utf-8")
            print(f"{path}: {output.deployed_size} bytes deployed")
    if complete:
        for stale in ARTIFACTS.rglob("*.json"):
            if stale.relative_to(ARTIFACTS).as_posix() not in built:
                stale.unlink()
                print(f"{stale.name}: removed")


def main() -> int:
    """Build, or with `--check` compare. Exit code 1 on drift or a failed build."""
    parser = argparse.ArgumentParser(description="Compile the contracts into opml/chain/artifacts/.")
    parser.add_argument("--check", action="store_true", help="rebuild without cache and compare to the byte")
    parser.add_argument("files", nargs="*", help="only these, as paths below contracts/ (default: all)")
    options = parser.parse_args()
    try:
        built = build(options.files or source_files(), use_cache=not options.check)
    except BuildError as problem:
        print(problem, file=sys.stderr)
        return 1
    if not options.check:
        write(built, complete=not options.files)
        return 0
    differences = drift(built)
    if differences:
        print("\n".join(differences), file=sys.stderr)
        print("run scripts/build_contracts.py and commit the result", file=sys.stderr)
        return 1
    print(f"{len(built)} artifacts rebuilt to the byte")
    return 0


if __name__ == "__main__":
    sys.exit(main())
