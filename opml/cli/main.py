"""The command line: parses, calls one library function, renders. Only here do errors become exit codes."""

from __future__ import annotations

import errno
import importlib
import os
import sys
from collections.abc import Sequence
from typing import NamedTuple, NoReturn

import click

from opml import __version__
from opml.errors import OpmlError

_OUTPUT_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF)
_INTERRUPTED = 130  # 128 + SIGINT, as shells have it

_EXAMPLES = """\b
Examples:
  opml demo                                      a dispute from request to verdict, nothing to set up
  opml demo --fault kv-position --json           another lie, the result as data
  opml run model.gguf --prompt "Who was Abel?"   generate, and commit to every step
  opml run model.gguf --prompt Hi --claim c.json && opml verify model.gguf c.json
  opml challenge model.gguf --watch --rpc-url http://127.0.0.1:8545

\b
Exit codes: 0 success, 2 wrong input (nothing could be said), 3 a claim does not hold, 4 the chain failed or
refused, 5 an engine is missing or fails its self-test, 1 any other failure.
"""


class _Command(NamedTuple):
    module: str
    help: str


_COMMANDS = {
    "demo": _Command("demo", "Play a whole dispute on a chain inside this process."),
    "run": _Command("run", "Generate text; print tokens, trace root and time."),
    "verify": _Command("verify", "Recompute a claim file and say whether it holds."),
    "score": _Command("score", "Negative log-likelihood and arg-max for a list of token ids."),
    "selftest": _Command("selftest", "Hold every backend to float vectors."),
    "model": _Command("model", "Show, identify or register a model."),
    "deploy": _Command("deploy", "Deploy the contracts."),
    "request": _Command("request", "Ask a question on chain."),
    "submit": _Command("submit", "Answer requests, defend the claims, finalise them."),
    "challenge": _Command("challenge", "Recompute every claim and challenge the wrong ones."),
    "claims": _Command("claims", "List claims and their state."),
    "games": _Command("games", "List dispute games and their state."),
}


class LazyGroup(click.Group):
    """Imports a command's module when the command is used, so that help stays instant."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"opml.cli.{_COMMANDS[cmd_name].module}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.help) for name, entry in _COMMANDS.items()])


@click.group(cls=LazyGroup, epilog=_EXAMPLES, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="opml")
def cli() -> None:
    """Use a language model's answer in a smart contract without trusting who computed it."""


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit with the error's own code."""
    try:
        code = cli.main(args=None if argv is None else list(argv), prog_name="opml", standalone_mode=False)
    except OpmlError as error:
        from opml.cli.units import harmless

        click.echo(f"error: {harmless(str(error))}", err=True)
        sys.exit(error.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        sys.exit(_INTERRUPTED)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)
    except OSError as error:
        if error.filename is not None or error.errno not in _OUTPUT_ERRORS:
            raise
        # Whatever is still buffered can't be written either, and would be tried again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        click.echo(f"error: the output can't be written ({error.strerror}): send it elsewhere", err=True)
        sys.exit(1)
    sys.exit(code if isinstance(code, int) else 0)


if __name__ == "__main__":
    main()

__all__ = ["LazyGroup", "cli", "main"]
