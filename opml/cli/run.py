"""`opml run`"""

from __future__ import annotations

import contextlib
import json
import time
from pathlib import Path

import click

from opml.cli.options import (
    FILE,
    EngineOptions,
    SamplingOptions,
    engine_options,
    force_option,
    json_option,
    limit_option,
    max_tokens_option,
    raw_option,
    sampling_options,
)
from opml.cli.units import harmless


@click.command(
    "run",
    epilog="\b\nExamples:\n  opml run model.gguf --prompt 'What is the capital of Norway?'\n"
    "  opml run model.gguf --raw --prompt 'Once upon a time' --max-tokens 100 --temperature 0.8 --seed 7\n"
    "  opml run model.gguf --prompt Hi --claim c.json --sidecar --json",
)
@click.argument("model", type=FILE)
@click.option("--prompt", required=True, help="The user's text.")
@raw_option
@max_tokens_option(256)
@sampling_options
@limit_option
@click.option("--claim", type=FILE, help="Write the claim to this file.")
@click.option("--sidecar", is_flag=True, help="With --claim: also the roots of all positions and slots.")
@force_option
@engine_options
@json_option
def command(
    model: Path,
    prompt: str,
    raw: bool,
    max_tokens: int,
    sampling: SamplingOptions,
    limit: int | None,
    claim: Path | None,
    sidecar: bool,
    force: bool,
    engine: EngineOptions,
    as_json: bool,
) -> None:
    """Generate text, and commit to every step of the computation.

    Prints the text as it comes, then tokens, trace root and time. The same model, prompt and parameters give
    the same trace root on every machine and engine.
    """
    from opml.cli.prompting import prompted
    from opml.models.model import load_model
    from opml.models.tokenizer import StreamDecoder
    from opml.vm.engine import generate

    if sidecar and claim is None:
        raise click.UsageError("--sidecar goes with --claim FILE")
    if force and claim is None:
        raise click.UsageError("--force goes with --claim FILE")
    if claim is not None:
        from opml.cli.claim_file import Roots
        from opml.file_output import check_place

        check_place(claim, force=force)
        if sidecar or Roots.path(claim).is_file():  # an old one would lie beside another claim
            check_place(Roots.path(claim), force=force)
    words = sampling.words()
    chosen = engine.choose()
    loaded = load_model(model, limit)
    tokens, most = prompted(loaded, prompt, max_tokens, raw=raw)
    machine = chosen.load(loaded.program, loaded.weights)
    assert loaded.tokenizer is not None  # `encode_prompt` needed it
    decoder = StreamDecoder(loaded.tokenizer)

    def show(token: int) -> None:
        if not as_json:
            click.echo(harmless(decoder.push(token)), nl=False)

    start = time.perf_counter()
    trace = generate(machine, tokens, most, words, loaded.end_tokens, on_token=show)
    root = trace.trace_root()
    seconds = time.perf_counter() - start
    if not as_json:
        click.echo(harmless(decoder.finish()) + "\n")
    from opml.cli.claim_file import claim_of, roots_of  # the first token does not wait for it

    made = claim_of(trace, model_id=loaded.id, max_output=most, pieces=loaded.pieces)
    if claim is not None:
        made.save(claim)
        if sidecar:
            roots_of(trace).save(Roots.path(claim))
        else:
            with contextlib.suppress(OSError):  # verify knows that it is another claim's
                Roots.path(claim).unlink()
    if as_json:
        result = {
            "answer": made.answer.decode("utf-8", "replace"),
            "prompt": list(made.prompt),
            "tokens": list(made.output),
            "traceRoot": "0x" + root.hex(),
            "modelId": "0x" + loaded.id.hex(),
            "params": list(words),
            "engine": chosen.name,
            "seconds": round(seconds, 3),
        }
        click.echo(json.dumps(result))
        return
    rate = len(trace.tokens) / seconds
    click.echo(f"tokens     {len(made.prompt)} prompt, {len(made.output)} output")
    click.echo(f"trace root 0x{root.hex()}")
    click.echo(f"model id   0x{loaded.id.hex()}")
    click.echo(f"time       {seconds:.2f} s, {rate:.0f} tokens/s, engine {chosen.name}")
