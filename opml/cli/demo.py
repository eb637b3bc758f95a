"""`opml demo`"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from opml.cli.options import (
    EngineOptions,
    engine_options,
    fanout_option,
    json_option,
    limit_option,
    max_tokens_option,
    model_option,
)
from opml.cli.units import plain

if TYPE_CHECKING:
    from opml.chain.anvil import Anvil

DEFAULT_FAULT = "product-middle"
QUESTION = "What is the capital of Norway?"


class _DemoCommand(click.Command):
    """Lists the faults in its help, which takes an import that other commands' help does without."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        from opml.dispute.faults import FAULTS

        with formatter.section("Faults (--fault)"):
            formatter.write_dl([(name, what) for name, (what, _) in FAULTS.items()])
            formatter.write_paragraph()
            formatter.write_text(
                "or position:slot:element:xor-mask, the slot a number, a name or layer.name as "
                "`opml model show` gives them, for any bit of any tensor."
            )
        with formatter.section("Examples"):
            for line in (
                "opml demo",
                "opml demo --fault value-sum",
                "opml demo --fault 12:17.ffn_down:431:0x80000000 --json",
                "opml demo --role cheating-challenger --prompt 'Who was Abel?'",
            ):
                formatter.write(f"  {line}\n")


@click.command("demo", cls=_DemoCommand)
@click.option("--prompt", default=QUESTION, show_default=True, help="What the contract asks.")
@model_option
@limit_option
@max_tokens_option(64)
@click.option("--fault", show_default=DEFAULT_FAULT, help="What a cheating submitter falsifies; see below.")
@click.option(
    "--role",
    type=click.Choice(["cheating-submitter", "cheating-challenger"]),
    default="cheating-submitter",
    show_default=True,
    help="Who cheats.",
)
@fanout_option
@click.option("--anvil", "on_anvil", is_flag=True, help="On anvil (from PATH) instead of the embedded chain.")
@engine_options
@json_option
def command(
    prompt: str,
    file: Path | None,
    limit: int | None,
    max_tokens: int,
    fault: str | None,
    role: str,
    fanout: int,
    on_anvil: bool,
    engine: EngineOptions,
    as_json: bool,
) -> None:
    """Play a whole dispute on a chain inside this process.

    A contract asks a language model a question. An honest submitter answers, a cheat posts a wrong claim, a
    challenger plays it down to one number, which the contract computes itself. Then the honest answer becomes
    final and the contract that asked holds it. Nothing to set up: SmolLM2 (98 MB) is fetched once.
    """
    from rich.console import Console

    from opml.chain.anvil import require_anvil
    from opml.cli.engines import params_of
    from opml.cli.prompting import prompted
    from opml.cli.story import Story
    from opml.cli.story_facts import CHEATING_SUBMITTER, Settings, facts_of
    from opml.cli.view import SilentView, TerminalView, fetch_with_bar
    from opml.cli.workshop import Workshop
    from opml.dispute.faults import check_fault, parse_flip
    from opml.dispute.types import Terms
    from opml.models.model import load_model

    if fault is not None and role != CHEATING_SUBMITTER:
        raise click.UsageError(
            f"--fault is what a cheating submitter falsifies, but with --role {role} the claim is right: "
            "leave one of the two out"
        )
    fault = DEFAULT_FAULT if fault is None else fault
    check_fault(fault)
    if on_anvil:
        require_anvil()
    console = Console(stderr=as_json)
    chosen = engine.choose()
    model = load_model(file or Path(fetch_with_bar(console)), limit)
    tokens, most = prompted(model, prompt, max_tokens)
    if ":" in fault:  # what no run of this model can have is refused before anything is deployed
        parse_flip(model.layout, len(tokens), len(tokens) + most - 2, fault)
    settings = Settings(
        prompt=tuple(tokens),
        params=params_of(),
        max_output=most,
        fault=fault,
        role=role,
        terms=Terms(fanout=fanout),
    )
    view = None if as_json else TerminalView(console)
    if view is not None:
        view.line(f"{model.name}, {chosen.name} engine: {prompt!r}")
    workshop = Workshop(model, chosen)
    anvil: Anvil | None = None
    try:
        if on_anvil:
            from opml.chain.anvil import Anvil

            anvil = Anvil.start()
            story = Story(anvil.chain(), workshop, settings, view or SilentView())
        else:
            from opml.chain.embedded import EmbeddedChain

            story = Story(EmbeddedChain(), workshop, settings, view or SilentView())
        result = story.play()
    finally:
        if anvil is not None:
            anvil.stop()
    if view is None:
        click.echo(json.dumps(plain(facts_of(result)), indent=1))
    else:
        view.end(result)
