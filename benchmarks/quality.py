"""Quality of the answers: scores of the same token ids on the same file, ours and llama.cpp's.

    python benchmarks/quality.py MODEL.gguf --peer-python PYTHON [--kinds Q4_1,F16] [--ids FILE.json]

For each text the difference of the mean negative log-likelihood, and how often the likeliest token is the
same. llama.cpp does not agree with itself when it batches differently, stores K and V in f32 or fuses
attention: how often it does is the noise floor that our agreement is to be read against. Texts are files of
this project, or lists of ids from a file (a list of lists).
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from rounds import HERE, common_arguments, heading, machine, requantised, table, worker, write_json

LENGTH = 512
TEXTS = ("LICENSE", "docs/design.md", "opml/ops/softfloat.py")
F32 = 0
SETTINGS: dict[str, dict[str, Any]] = {
    "as it comes": {},
    "one position a batch": {"n_batch": 1, "n_ubatch": 1},
    "fused attention": {"flash_attn": True},
    "K and V in f32": {"type_k": F32, "type_v": F32},
}
DIFFERENCE_MUST = 0.005


def texts(model: Path, length: int) -> dict[str, list[int]]:
    """The first `length` tokens of each of `TEXTS`."""
    from opml.models.model import load_model

    tokenizer = load_model(model).tokenizer
    assert tokenizer is not None
    return {name: tokenizer.encode_prompt((HERE.parent / name).read_text())[:length] for name in TEXTS}


def agreement(a: list[int], b: list[int]) -> float:
    """Share of positions with the same likeliest token."""
    return float(np.mean(np.array(a) == np.array(b)))


def mean_difference(a: list[float], b: list[float]) -> float:
    """Relative difference of the means."""
    return float(np.mean(a) / np.mean(b) - 1)


def compare(model: Path, peer_python: Path, ids: dict[str, list[int]], threads: int) -> list[dict[str, Any]]:
    """A row for each text: ours against the peer as it comes, and the peer against itself."""
    context = max(map(len, ids.values()))
    with worker(sys.executable, "ours", model, context, threads) as ours:
        assert ours is not None
        mine = {name: ours.ask("score", ids=text) for name, text in ids.items()}
    theirs: dict[str, dict[str, Any]] = {}
    for setting, options in SETTINGS.items():
        with worker(peer_python, "peer", model, context, threads, **options) as peer:
            assert peer is not None
            theirs[setting] = {name: peer.ask("score", ids=text) for name, text in ids.items()}
    plain, *others = theirs.values()
    rows = []
    for name in ids:
        themselves = [
            (
                mean_difference(o[name]["nll"], plain[name]["nll"]),
                agreement(o[name]["argmax"], plain[name]["argmax"]),
            )
            for o in others
        ]
        rows.append(
            {
                "text": name,
                "tokens": len(ids[name]),
                "ours": float(np.mean(mine[name]["nll"])),
                "peer": float(np.mean(plain[name]["nll"])),
                "difference": mean_difference(mine[name]["nll"], plain[name]["nll"]),
                "agreement": agreement(mine[name]["argmax"], plain[name]["argmax"]),
                "self": dict(zip(list(SETTINGS)[1:], themselves, strict=True)),
            }
        )
    return rows


def report(facts: dict[str, Any]) -> str:
    """The rows of all tensor types as one table."""
    head = ["type", "text", "tokens", "ours", "llama.cpp", "difference", "same likeliest token"]
    head += [f"llama.cpp, {setting}" for setting in list(SETTINGS)[1:]]
    rows = [
        [
            kind,
            row["text"],
            str(row["tokens"]),
            f"{row['ours']:.4f}",
            f"{row['peer']:.4f}",
            f"{row['difference']:+.2%}",
            f"{row['agreement']:.1%}",
            *(f"{difference:+.2%}, {same:.1%}" for difference, same in row["self"].values()),
        ]
        for kind, found in facts["kinds"].items()
        for row in found
    ]
    return "\n\n".join([heading(facts["machine"]), table(head, rows)])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    common_arguments(parser)
    parser.add_argument("--kinds", default="Q4_1,Q4_0,Q8_0,F16", help="the model itself is the first")
    parser.add_argument("--ids", type=Path, help="JSON: a list of lists of token ids")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--length", type=int, default=LENGTH, help="tokens of each text")
    arguments = parser.parse_args()
    if arguments.peer_python is None:
        parser.error("--peer-python is needed: an interpreter that has llama-cpp-python")
    own, *others = arguments.kinds.split(",")
    files = {own: arguments.model}
    files |= {kind: requantised(arguments.model, kind, arguments.work) for kind in others}
    if arguments.ids:
        ids = {f"text {n}": text for n, text in enumerate(json.loads(arguments.ids.read_text()))}
    else:
        ids = texts(arguments.model, arguments.length)
    ids = {name: text[: arguments.length] for name, text in ids.items()}
    facts: dict[str, Any] = {"machine": machine(), "kinds": {}}
    for kind, file in files.items():
        facts["kinds"][kind] = compare(file, arguments.peer_python, ids, arguments.threads)
    print(report(facts))
    write_json(arguments.json, facts)


if __name__ == "__main__":
    main()
