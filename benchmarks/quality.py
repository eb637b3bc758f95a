"""Quality of the answers: scores of the same token ids on the same file, ours and llama.cpp's.

    python benchmarks/quality.py MODEL.gguf --peer-python PYTHON [--kinds Q4_1,F16] [--text FILE]... [--exact]

For each text the difference of the mean negative log-likelihood with its standard error over the tokens, and
how often the likeliest token is the same. llama.cpp does not agree with itself when it batches differently,
stores K and V in f32 or fuses attention: how often it does, on the first of the types, is the noise floor
that our agreement is to be read against. Texts are nine files of this project, files that are named, or lists
of ids from a file (a list of lists). `--exact` holds both programs to the same file computed without rounding
(`exact.py`), which tells whose rounding costs more.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from exact import Exact
from rounds import HERE, common_arguments, heading, machine, requantised, table, worker, write_json

ROOT = HERE.resolve().parent
LENGTH = 512
TEXTS = (
    "LICENSE",
    "README.md",
    "docs/design.md",
    "docs/glossary.md",
    "opml/ops/softfloat.py",
    "opml/models/rotary.py",
    "contracts/Float32.sol",
    "contracts/Merkle.sol",
    "contracts/OpmlOracle.sol",
)
PLAIN = "as it comes"
F32 = 0
SETTINGS: dict[str, dict[str, Any]] = {
    PLAIN: {},
    "one position a batch": {"n_batch": 1, "n_ubatch": 1},
    "fused attention": {"flash_attn": True},
    "K and V in f32": {"type_k": F32, "type_v": F32},
}
DIFFERENCE_MUST = 0.005


def texts(model: Path, files: Sequence[Path]) -> dict[str, list[int]]:
    """The tokens of each file, by its name."""
    from opml.models.model import load_model

    tokenizer = load_model(model).tokenizer
    assert tokenizer is not None
    return {
        str(file.relative_to(ROOT) if file.is_relative_to(ROOT) else file.name): (
            tokenizer.encode_prompt(file.read_text(encoding="utf-8"))
        )
        for file in files
    }


def agreement(a: list[int], b: list[int]) -> float:
    """Share of positions with the same likeliest token."""
    return float(np.mean(np.array(a) == np.array(b)))


def mean_difference(a: list[float], b: list[float]) -> float:
    """Relative difference of the means."""
    return float(np.mean(a) / np.mean(b) - 1)


def standard_error(a: Sequence[float], b: Sequence[float]) -> float:
    """Of `mean_difference`, over the tokens of a text."""
    difference = np.array(a) - np.array(b)
    return float(difference.std(ddof=1) / np.sqrt(len(difference)) / np.mean(b))


def compare(
    model: Path,
    peer_python: Path,
    ids: dict[str, list[int]],
    threads: int,
    settings: Sequence[str],
    exact: bool,
) -> list[dict[str, Any]]:
    """A row for each text: ours against the peer as it comes, the peer against itself by `settings`, and with
    `exact` both against the model without rounding."""
    context = max(map(len, ids.values()))
    with worker(sys.executable, "ours", model, context, threads) as ours:
        assert ours is not None
        mine = {name: ours.ask("score", ids=text) for name, text in ids.items()}
    theirs: dict[str, dict[str, Any]] = {}
    for setting in (PLAIN, *settings):
        with worker(peer_python, "peer", model, context, threads, **SETTINGS[setting]) as peer:
            assert peer is not None
            theirs[setting] = {name: peer.ask("score", ids=text) for name, text in ids.items()}
    plain = theirs.pop(PLAIN)
    rows = [row(name, text, mine[name], plain[name], theirs) for name, text in ids.items()]
    if exact:
        true = Exact(model)
        for one, (name, text) in zip(rows, ids.items(), strict=True):
            nll = true.score(text).nll
            one["exact"] = {
                "nll": float(np.mean(nll)),
                "ours": distance(mine[name]["nll"], nll),
                "peer": distance(plain[name]["nll"], nll),
            }
    return rows


def distance(nll: list[float], exact: list[float]) -> dict[str, float]:
    """From the exact model: relative difference of the means; root mean square of a token's, in nats."""
    apart = np.array(nll) - np.array(exact)
    return {"difference": mean_difference(nll, exact), "rms": float(np.sqrt((apart * apart).mean()))}


def row(
    name: str, text: list[int], ours: dict[str, Any], plain: dict[str, Any], others: dict[str, dict[str, Any]]
) -> dict[str, Any]:
    """What is said of one text."""
    return {
        "text": name,
        "tokens": len(text),
        "ours": float(np.mean(ours["nll"])),
        "peer": float(np.mean(plain["nll"])),
        "difference": mean_difference(ours["nll"], plain["nll"]),
        "error": standard_error(ours["nll"], plain["nll"]),
        "agreement": agreement(ours["argmax"], plain["argmax"]),
        "self": {
            setting: (
                mean_difference(found[name]["nll"], plain["nll"]),
                agreement(found[name]["argmax"], plain["argmax"]),
            )
            for setting, found in others.items()
        },
    }


def report(facts: dict[str, Any]) -> str:
    """Every text of every type, then a line a type."""
    own = next(iter(facts["kinds"].values()))
    settings = list(own[0]["self"])
    head = [
        "type",
        "text",
        "tokens",
        "ours",
        "llama.cpp",
        "difference",
        "standard error",
        "same likeliest token",
    ]
    head += [f"llama.cpp, {setting}" for setting in settings]
    rows = [
        [
            kind,
            row["text"],
            str(row["tokens"]),
            f"{row['ours']:.4f}",
            f"{row['peer']:.4f}",
            f"{row['difference']:+.3%}",
            f"{row['error']:.3%}",
            f"{row['agreement']:.1%}",
            *(
                "{:+.3%}, {:.1%}".format(*row["self"][setting]) if setting in row["self"] else ""
                for setting in settings
            ),
        ]
        for kind, found in facts["kinds"].items()
        for row in found
    ]
    parts = [heading(facts["machine"]), table(head, rows)]
    head = ["type", "texts", "difference, by text", "mean, error over texts", f"over {DIFFERENCE_MUST:.1%}"]
    head += ["standard error of one text", "same likeliest token"]
    parts.append(table(head, [summary(kind, found) for kind, found in facts["kinds"].items()]))
    if "exact" in own[0]:
        head = ["type", "ours less exact", "llama.cpp less exact", "a token, ours", "a token, llama.cpp"]
        parts.append(table(head, [beside_exact(kind, found) for kind, found in facts["kinds"].items()]))
    return "\n\n".join(parts)


def summary(kind: str, found: list[dict[str, Any]]) -> list[str]:
    """A type's line: ranges over its texts, and the mean of the differences."""
    differences, errors, same = ([row[key] for row in found] for key in ("difference", "error", "agreement"))
    return [
        kind,
        str(len(found)),
        f"{min(differences):+.3%} … {max(differences):+.3%}",
        with_error(differences),
        str(sum(abs(one) > DIFFERENCE_MUST for one in differences)),
        f"{min(errors):.3%} … {max(errors):.3%}",
        f"{min(same):.1%} … {max(same):.1%}",
    ]


def with_error(differences: Sequence[float]) -> str:
    """Mean over texts and its standard error: texts vary independently, tokens of one text need not."""
    if len(differences) == 1:
        return f"{differences[0]:+.3%}"
    error = float(np.std(differences, ddof=1) / np.sqrt(len(differences)))
    return f"{float(np.mean(differences)):+.3%} ± {error:.3%}"


def beside_exact(kind: str, found: list[dict[str, Any]]) -> list[str]:
    """A type's line: both programs' mean distances from the exact model, and a token's in nats."""
    sides = [[row["exact"][side] for row in found] for side in ("ours", "peer")]
    means = [with_error([one["difference"] for one in side]) for side in sides]
    tokens = [np.sqrt(np.mean([one["rms"] ** 2 for one in side])) for side in sides]
    return [kind, *means, *(f"{one:.4f}" for one in tokens)]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    common_arguments(parser)
    parser.add_argument("--kinds", default="Q4_1,Q4_0,Q8_0,F16", help="the model itself is the first")
    chosen = parser.add_mutually_exclusive_group()
    chosen.add_argument("--text", type=Path, action="append", help="a text to score; may be repeated")
    chosen.add_argument("--ids", type=Path, help="JSON: a list of lists of token ids")
    parser.add_argument("--exact", action="store_true", help="hold both to the model without rounding, too")
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
        chosen_files = arguments.text or [ROOT / name for name in TEXTS]
        ids = texts(arguments.model, [file.resolve() for file in chosen_files])
    ids = {name: text[: arguments.length] for name, text in ids.items()}
    if short := [name for name, text in ids.items() if len(text) < 3]:
        parser.error(f"{short[0]} has fewer than three tokens: pass a longer text")
    kinds: dict[str, Any] = {}
    facts: dict[str, Any] = {"machine": machine(), "kinds": kinds}
    for kind, file in files.items():
        settings = list(SETTINGS)[1:] if kind == own else []
        kinds[kind] = compare(file, arguments.peer_python, ids, arguments.threads, settings, arguments.exact)
    write_json(arguments.json, facts)
    print(report(facts))


if __name__ == "__main__":
    main()
