"""`opml verify`"""

from __future__ import annotations

import json
import time
from pathlib import Path

import click

from opml.cli.options import FILE, EngineOptions, engine_options, json_option
from opml.errors import InputError, WrongClaim


@click.command("verify", epilog='\b\nExample:\n  opml verify model.gguf claim.json || echo "wrong: $?"')
@click.argument("model", type=FILE)
@click.argument("claim", type=FILE)
@engine_options
@json_option
def command(model: Path, claim: Path, engine: EngineOptions, as_json: bool) -> None:
    """Recompute a claim of `opml run --claim` as one batch.

    Exits with 3 for a claim that is wrong in anything it says about this model, and names the wrong token,
    piece or root; where the claim's sidecar (NAME.roots.npz) lies beside it, the first tensor that differs.
    Exits with 2 for what can't be judged: a file that is no claim, or a claim about another model than MODEL.
    """
    from opml.cli.checking import check_claim, claimed_model
    from opml.cli.claim_file import ClaimFile, Roots

    content = ClaimFile.load(claim)
    chosen = engine.choose()
    loaded = claimed_model(model, content)
    machine = chosen.load(loaded.program, loaded.weights)
    sidecar = Roots.path(claim)
    roots = None
    if sidecar.is_file():
        try:
            roots = Roots.load(sidecar, loaded.layout, content)
        except InputError as problem:  # it explains a wrong claim, it never decides whether it is one
            click.echo(f"warning: {problem}; the claim is checked without it", err=True)
    start = time.perf_counter()
    try:
        trace = check_claim(content, loaded, machine, roots)
    except WrongClaim as problem:
        if as_json:
            click.echo(json.dumps({"holds": False, "reason": str(problem), "engine": chosen.name}))
        raise
    seconds = time.perf_counter() - start
    if as_json:
        facts = {
            "holds": True,
            "traceRoot": "0x" + trace.trace_root().hex(),
            "tokens": len(trace.tokens),
            "seconds": round(seconds, 3),
            "engine": chosen.name,
        }
        click.echo(json.dumps(facts))
    else:
        click.echo(f"the claim holds: {len(trace.tokens)} tokens, trace root 0x{trace.trace_root().hex()}")
        click.echo(f"{seconds:.2f} s, engine {chosen.name}")
