"""Options that several commands share, and what they stand for."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from opml.cli.units import FiniteRange
from opml.dispute.limits import MOST_FANOUT, MOST_OUTPUT

if TYPE_CHECKING:
    from opml.chain.adapter import Signer
    from opml.chain.gateway import ChainGateway
    from opml.chain.rpc import RpcChain
    from opml.vm.engine import Engine

Command = Callable[..., Any]
Decorator = Callable[[Command], Command]

DEPLOYMENT_FILE = Path("opml-deployment.json")
MOST_THREADS = 256  # as the native module has it (`opml/vm/native/bindings.cpp`)
LEVELS = ("baseline", "avx2", "avx512", "avx512vnni", "amx")  # as `kernels.hpp` has them, slowest first
MOST_INTERVAL = 86_400.0
FILE = click.Path(path_type=Path)


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """Which engine computes."""

    name: str
    threads: int | None
    level: str

    def choose(self) -> Engine:
        """The engine, with a warning where it is another than the best. Raises `EngineError`."""
        from opml.cli.engines import choose_engine

        engine, warning = choose_engine(self.name, self.threads, self.level)
        if warning:
            click.echo(f"warning: {warning}", err=True)
        return engine


@dataclass(frozen=True, slots=True)
class SamplingOptions:
    """How tokens are sampled."""

    temperature: float
    min_p: float
    seed: int

    def words(self) -> tuple[int, ...]:
        """The request's parameter words. Raises `InputError` for values out of range."""
        from opml.cli.engines import params_of

        return params_of(self.temperature, self.min_p, self.seed)


@dataclass(frozen=True, slots=True)
class KeyOptions:
    """Which key signs."""

    account: str | None
    keystore: Path | None
    password_file: Path | None
    private_key_env: str | None

    @property
    def given(self) -> bool:
        """Whether any of the options was."""
        return any(
            option is not None
            for option in (self.account, self.keystore, self.password_file, self.private_key_env)
        )

    def signer(self) -> Signer:
        """The key. Raises `InputError`."""
        from opml.chain.keys import resolve_signer

        return resolve_signer(
            account=self.account,
            keystore=self.keystore,
            password_file=self.password_file,
            private_key_env=self.private_key_env,
        )


@dataclass(frozen=True, slots=True)
class ChainOptions:
    """Which chain, and where our contracts are on it."""

    rpc_urls: tuple[str, ...]
    confirmations: int
    deployment: Path

    def connect(self) -> RpcChain:
        """The chain. Raises `InputError` where no URL is given, `ChainError` where none answers."""
        from opml.chain.rpc import Patience, RpcChain

        urls = self.rpc_urls or tuple(os.environ.get("ETH_RPC_URL", "").replace(",", " ").split())
        return RpcChain(urls, patience=Patience(confirmations=self.confirmations))

    def gateway(self, signer: Signer | None, model_id: bytes | None = None) -> ChainGateway:
        """The contracts of the deployment file; `InputError` or `ChainError`."""
        from opml.chain.deployment import Deployment
        from opml.chain.gateway import ChainGateway

        deployment = Deployment.load(self.deployment)
        return ChainGateway(self.connect(), deployment, signer, model_id=model_id)


def chain_options(function: Command) -> Command:
    """Adds the options of a chain; the command gets them as `chain: ChainOptions`."""

    @click.option(
        "--rpc-url",
        "rpc_urls",
        multiple=True,
        help="JSON-RPC of the chain; may be repeated, later ones stand in. [env: ETH_RPC_URL]",
    )
    @click.option(
        "--confirmations",
        default=0,
        show_default=True,
        type=click.IntRange(0),
        help="Blocks to wait for on top of each transaction.",
    )
    @click.option(
        "--deployment",
        type=FILE,
        default=DEPLOYMENT_FILE,
        show_default=True,
        help="The file of addresses that `opml deploy` writes.",
    )
    @functools.wraps(function)
    def wrapped(
        *args: Any, rpc_urls: tuple[str, ...], confirmations: int, deployment: Path, **others: Any
    ) -> Any:
        return function(*args, chain=ChainOptions(rpc_urls, confirmations, deployment), **others)

    return wrapped


def key_options(function: Command) -> Command:
    """Adds the options of a key; the command gets them as `key: KeyOptions`."""

    @click.option("--account", help="Key file of this name in ~/.foundry/keystores, as `cast` has them.")
    @click.option("--keystore", type=FILE, help="Key file (Web3 secret storage).")
    @click.option("--password-file", type=FILE, help="File with its password; asked for otherwise.")
    @click.option(
        "--private-key-env", metavar="VAR", help="Environment variable with a key, for throw-away keys."
    )
    @functools.wraps(function)
    def wrapped(
        *args: Any,
        account: str | None,
        keystore: Path | None,
        password_file: Path | None,
        private_key_env: str | None,
        **others: Any,
    ) -> Any:
        return function(*args, key=KeyOptions(account, keystore, password_file, private_key_env), **others)

    return wrapped


def engine_options(function: Command) -> Command:
    """Adds the options of an engine; the command gets them as `engine: EngineOptions`."""

    @click.option(
        "--engine",
        "name",
        type=click.Choice(["auto", "reference", "soft", "native"]),
        default="auto",
        show_default=True,
        help="Which executor computes; all give the same bits.",
    )
    @click.option(
        "--threads",
        type=click.IntRange(1, MOST_THREADS),
        help="Threads of the soft and native engines; all by default.",
    )
    @click.option(
        "--level",
        type=click.Choice(["auto", *LEVELS]),
        default="auto",
        show_default=True,
        help="Instruction set of the soft and native engines; the best one by default.",
    )
    @functools.wraps(function)
    def wrapped(*args: Any, name: str, threads: int | None, level: str, **others: Any) -> Any:
        return function(*args, engine=EngineOptions(name, threads, level), **others)

    return wrapped


def loop_options(function: Command) -> Command:
    """Adds `once` and `interval` (seconds)."""
    function = click.option(
        "--interval",
        type=FiniteRange(0.05, MOST_INTERVAL),
        default=2.0,
        show_default=True,
        help="Seconds between looks.",
    )(function)
    return click.option("--once", is_flag=True, help="Stop when there is nothing left to do.")(function)


def sampling_options(function: Command) -> Command:
    """Adds how tokens are sampled; the command gets it as `sampling: SamplingOptions`."""

    @click.option("--temperature", type=float, default=0.0, show_default=True, help="0 is greedy.")
    @click.option("--min-p", type=float, default=0.0, show_default=True, help="0 is off.")
    @click.option("--seed", type=int, default=0, show_default=True, help="Of the noise, 64 bits.")
    @functools.wraps(function)
    def wrapped(*args: Any, temperature: float, min_p: float, seed: int, **others: Any) -> Any:
        return function(*args, sampling=SamplingOptions(temperature, min_p, seed), **others)

    return wrapped


def max_tokens_option(default: int) -> Decorator:
    """Adds `max_tokens`."""
    return click.option(
        "--max-tokens",
        type=click.IntRange(1, MOST_OUTPUT),
        default=default,
        show_default=True,
        help="Most output tokens.",
    )


model_option: Decorator = click.option(
    "--model", "file", type=FILE, help="A GGUF file; SmolLM2, fetched once, by default."
)
limit_option: Decorator = click.option(
    "--limit", type=click.IntRange(1), help="Most positions; part of the model id. The file's own by default."
)
raw_option: Decorator = click.option("--raw", is_flag=True, help="Without the chat template of the file.")
fanout_option: Decorator = click.option(
    "--fanout",
    type=click.IntRange(1, MOST_FANOUT),
    default=5,
    show_default=True,
    help="Levels that a reveal goes down: 2^N nodes.",
)
force_option: Decorator = click.option("--force", is_flag=True, help="Write over a file that exists.")
json_option: Decorator = click.option("--json", "as_json", is_flag=True, help="The result as JSON.")

__all__ = [
    "DEPLOYMENT_FILE",
    "FILE",
    "ChainOptions",
    "EngineOptions",
    "KeyOptions",
    "SamplingOptions",
    "chain_options",
    "engine_options",
    "fanout_option",
    "force_option",
    "json_option",
    "key_options",
    "limit_option",
    "loop_options",
    "max_tokens_option",
    "model_option",
    "raw_option",
    "sampling_options",
]
