"""JSON-RPC over HTTP: a list of endpoints, retried in turn."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

from opml.errors import ChainError, InputError

_BUSY = (-32005, -32029)  # limit exceeded, as providers answer it
_ATTEMPTS = 4


class RpcError(ChainError):
    """The node answered with an error: its code, message and data."""

    def __init__(self, method: str, code: int, message: str, data: Any) -> None:
        self.code = code
        self.message = message
        self.data = data
        super().__init__(f"{method} was refused by the node: {message} (code {code})")


class Transport:
    """Sends requests to the first endpoint that answers; the one that answered stays the first choice.

    urls    http(s) URLs, in order of preference
    timeout seconds a request
    """

    def __init__(
        self, urls: Sequence[str], *, timeout: float = 30.0, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        if not urls:
            raise InputError("no RPC given: pass --rpc-url URL or set ETH_RPC_URL")
        for url in urls:
            name = endpoint(url)
            if not name.startswith(("http://", "https://")) or "?" in name:
                raise InputError(f"{name} is no http(s) URL: pass one like http://127.0.0.1:8545")
        from web3 import HTTPProvider

        self._sleep = sleep
        self._providers = [
            (
                endpoint(url),
                HTTPProvider(url, request_kwargs={"timeout": timeout}, exception_retry_configuration=None),
            )
            for url in urls
        ]

    def request(self, method: str, *params: Any) -> Any:
        """The result of a call; `RpcError` when the node refuses, `ChainError` when none answers."""
        failures: list[str] = []
        for attempt in range(_ATTEMPTS):
            for index, (name, provider) in enumerate(self._providers):
                try:
                    answer = provider.make_request(method, list(params))
                    if "error" not in answer:
                        result = answer["result"]
                        self._providers.insert(0, self._providers.pop(index))
                        return result
                except Exception as problem:  # connection, timeout, HTTP status, no JSON
                    failures.append(f"{name}: {type(problem).__name__}")
                    continue
                error: Any = answer["error"]
                if not isinstance(error, dict):
                    error = {"message": str(error)}
                if error.get("code") not in _BUSY:
                    raise RpcError(
                        method, error.get("code", 0), str(error.get("message", "")), error.get("data")
                    )
                failures.append(f"{name}: {error.get('message')}")
            if attempt < _ATTEMPTS - 1:
                self._sleep(0.25 * 2**attempt)
        raise ChainError(
            f"no RPC answered {method} in {_ATTEMPTS} attempts ({'; '.join(dict.fromkeys(failures))}): "
            "check the URL and that the node runs, or add a second --rpc-url"
        )


def endpoint(url: str) -> str:
    """Scheme, host and port of a URL, `?` for what is wrong: the rest often holds an API key, never shown."""
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port is not None else ""
    except ValueError:  # a port out of range, brackets that don't close
        return "?://?"
    return f"{parts.scheme or '?'}://{parts.hostname or '?'}{port}"


__all__ = ["RpcError", "Transport", "endpoint"]
