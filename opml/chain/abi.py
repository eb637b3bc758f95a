"""Solidity's ABI: calls, results, events and custom errors, by name.

Both chains use it, so a call means the same on each. Structs are passed as mappings,
dataclasses or tuples in the order of their fields, and come back as dicts; byte strings are `bytes`,
addresses checksummed hex.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache, lru_cache
from typing import Any

from eth_abi.abi import decode as abi_decode
from eth_abi.abi import encode as abi_encode
from eth_abi.exceptions import DecodingError, EncodingError
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak

from opml.chain.adapter import Contract, Known, Log, Receipt, Revert
from opml.chain.artifacts import Artifact, artifact_names, load_artifact
from opml.chain.remedies import remedy_for
from opml.errors import ChainError, InputError

Entry = Mapping[str, Any]

_ERROR_STRING = keccak(b"Error(string)")[:4]
_PANIC = keccak(b"Panic(uint256)")[:4]
_PANICS = {
    0x01: "an assertion failed",
    0x11: "arithmetic overflow",
    0x12: "division by zero",
    0x21: "a value outside its enum",
    0x22: "a corrupt storage string",
    0x31: "pop of an empty array",
    0x32: "an index out of range",
    0x41: "too much memory",
    0x51: "a call to an empty function",
}


def type_of(parameter: Entry) -> str:
    """Canonical type of an ABI parameter; a struct is written as the tuple of its fields."""
    kind = str(parameter["type"])
    if not kind.startswith("tuple"):
        return kind
    return "(" + ",".join(type_of(c) for c in parameter["components"]) + ")" + kind[len("tuple") :]


def signature(entry: Entry) -> str:
    """`name(type,...)` of a function, event or error."""
    return f"{entry['name']}({','.join(type_of(p) for p in entry['inputs'])})"


@lru_cache(maxsize=4096)
def _digest(text: str) -> bytes:
    return bytes(keccak(text.encode()))


def selector(entry: Entry) -> bytes:
    """First 4 bytes of the hash of the signature."""
    return _digest(signature(entry))[:4]


def topic(entry: Entry) -> bytes:
    """The 32-byte hash of an event's signature."""
    return _digest(signature(entry))


@lru_cache(maxsize=4096)
def function(artifact: Artifact, fn: str) -> Entry:
    """The ABI entry of a function, by name or (where overloaded) by full signature."""
    entries = [e for e in artifact.abi if e.get("type") == "function"]
    found = [e for e in entries if fn in (e["name"], signature(e))]
    if len(found) == 1:
        return found[0]
    if found:
        raise InputError(
            f"{artifact.name}.{fn} is overloaded: name one of " + ", ".join(signature(e) for e in found)
        )
    raise InputError(
        f"{artifact.name} has no function {fn}: it has " + ", ".join(sorted(e["name"] for e in entries))
    )


@lru_cache(maxsize=4096)
def event(artifact: Artifact, name: str) -> Entry:
    """The ABI entry of an event, by name."""
    for entry in artifact.abi:
        if entry.get("type") == "event" and entry["name"] == name:
            return entry
    raise InputError(f"{artifact.name} has no event {name}")


def learn(known: Known, artifact: Artifact) -> None:
    """Add the events and errors of an artifact to what a chain can decode."""
    for entry in artifact.abi:
        if entry.get("type") == "error":
            known.errors[selector(entry)] = entry
        elif entry.get("type") == "event":
            known.events[topic(entry)] = entry


def _lower(parameter: Entry, value: Any) -> Any:
    """A value in the form that eth_abi takes: structs as tuples, in the order of their fields."""
    kind = str(parameter["type"])
    if kind.endswith("]"):
        inner = {**parameter, "type": kind[: kind.rindex("[")]}
        return [_lower(inner, v) for v in value]
    if kind == "tuple":
        fields = parameter["components"]
        if isinstance(value, Mapping):
            value = [value[f["name"]] for f in fields]
        elif hasattr(value, "__dataclass_fields__"):
            value = [getattr(value, f["name"]) for f in fields]
        return tuple(_lower(f, v) for f, v in zip(fields, value, strict=True))
    return value


def _lift(parameter: Entry, value: Any) -> Any:
    """The inverse of `_lower`: structs as dicts, addresses checksummed."""
    kind = str(parameter["type"])
    if kind.endswith("]"):
        inner = {**parameter, "type": kind[: kind.rindex("[")]}
        return [_lift(inner, v) for v in value]
    if kind == "tuple":
        return {f["name"]: _lift(f, v) for f, v in zip(parameter["components"], value, strict=True)}
    if kind == "address":
        return str(to_checksum_address(value))
    return value


def encode_arguments(parameters: Sequence[Entry], args: Sequence[Any], where: str) -> bytes:
    """ABI-encode arguments; `InputError` says which function takes what."""
    try:
        lowered = [_lower(p, a) for p, a in zip(parameters, args, strict=True)]
        return bytes(abi_encode([type_of(p) for p in parameters], lowered))
    except (EncodingError, ValueError, TypeError, KeyError, AttributeError) as problem:
        expected = ", ".join(f"{type_of(p)} {p.get('name', '')}".strip() for p in parameters)
        raise InputError(f"{where} takes ({expected}), {len(args)} argument(s) given: {problem}") from None


def encode_call(artifact: Artifact, fn: str, args: Sequence[Any]) -> bytes:
    """Calldata of a call."""
    entry = function(artifact, fn)
    return selector(entry) + encode_arguments(entry["inputs"], args, f"{artifact.name}.{fn}")


def encode_deploy(artifact: Artifact, args: Sequence[Any]) -> bytes:
    """Creation code followed by the constructor's arguments."""
    if not artifact.bytecode:
        raise InputError(f"{artifact.name} is an interface or abstract: it has no byte code to deploy")
    inputs: Sequence[Entry] = next((e["inputs"] for e in artifact.abi if e.get("type") == "constructor"), ())
    return artifact.bytecode + encode_arguments(inputs, args, f"constructor of {artifact.name}")


def decode_parameters(parameters: Sequence[Entry], data: bytes) -> list[Any]:
    """Values of an ABI-encoded tuple; raises eth_abi's `DecodingError`."""
    values = abi_decode([type_of(p) for p in parameters], data)
    return [_lift(p, v) for p, v in zip(parameters, values, strict=True)]


def decode_result(contract: Contract, fn: str, data: bytes, code_at: Callable[[str], bytes]) -> Any:
    """What a function returned: None, one value, or a tuple of several."""
    outputs = function(contract.artifact, fn)["outputs"]
    try:
        values = decode_parameters(outputs, data)
    except (DecodingError, OverflowError) as problem:
        where = f"{contract.artifact.name} at {contract.address}"
        if not data and not code_at(contract.address):
            raise ChainError(
                f"no contract at {contract.address} ({contract.artifact.name} was expected): "
                "check the deployment file and that the RPC is the right chain's"
            ) from None
        raise ChainError(
            f"{where} answered {fn} with {len(data)} bytes that are no "
            f"({','.join(type_of(o) for o in outputs)}) ({problem}): it is another contract or version"
        ) from None
    if not values:
        return None
    return values[0] if len(values) == 1 else tuple(values)


@cache
def _our_errors() -> Mapping[bytes, Entry]:
    """Errors of all our contracts: one may pass on what another, or one that it creates, refuses."""
    found = Known()
    for name in artifact_names():
        learn(found, load_artifact(name))
    return found.errors


def decode_revert(known: Known, data: bytes, where: str, receipt: Receipt | None = None) -> Revert:
    """The error that revert data carry, with values by name and a remedy."""
    head, body = data[:4], data[4:]
    name = "Reverted"
    values: dict[str, Any] = {}
    if not data:
        values = {"reason": "no reason given"}
    elif head in (_ERROR_STRING, _PANIC):
        try:
            (value,) = abi_decode(["string" if head == _ERROR_STRING else "uint256"], body)
        except (DecodingError, OverflowError, UnicodeDecodeError):
            value = data
        if head == _ERROR_STRING:
            name, values = "Error", {"message": value}
        else:
            name, values = "Panic", {"code": value, "meaning": _PANICS.get(value, "unknown")}
    elif (entry := known.errors.get(head) or _our_errors().get(head)) is not None:
        try:
            decoded = decode_parameters(entry["inputs"], body)
            name = str(entry["name"])
            values = {
                p.get("name") or str(i): v
                for i, (p, v) in enumerate(zip(entry["inputs"], decoded, strict=True))
            }
        except (DecodingError, OverflowError):
            values = {"data": data}
    else:
        values = {"data": data}
    return Revert(name, values, where=where, data=data, remedy=remedy_for(name), receipt=receipt)


def decode_log(
    known: Known, address: str, topics: Sequence[bytes], data: bytes, block: int, tx_hash: bytes, index: int
) -> Log:
    """A log by the ABI entry that its first topic names; an unknown or odd one keeps its raw form only."""
    raw = tuple(bytes(t) for t in topics)
    entry = known.events.get(raw[0]) if raw else None
    name, args = "", {}
    if entry is not None:
        indexed = [p for p in entry["inputs"] if p["indexed"]]
        plain = [p for p in entry["inputs"] if not p["indexed"]]
        try:
            values = {p["name"]: v for p, v in zip(plain, decode_parameters(plain, data), strict=True)}
            for parameter, word in zip(indexed, raw[1:], strict=True):
                hashed = type_of(parameter) in ("string", "bytes") or type_of(parameter)[-1] in ")]"
                values[parameter["name"]] = word if hashed else decode_parameters([parameter], word)[0]
            args = {p["name"]: values[p["name"]] for p in entry["inputs"]}
            name = str(entry["name"])
        except (DecodingError, OverflowError, ValueError):
            args = {}
    return Log(
        address=str(to_checksum_address(address)),
        event=name,
        args=args,
        topics=raw,
        data=bytes(data),
        block=block,
        tx_hash=bytes(tx_hash),
        index=index,
    )


def event_topics(
    artifact: Artifact, name: str | None, filters: Mapping[str, Any] | None
) -> list[bytes | None]:
    """The topics filter of `eth_getLogs` for an event and values of its indexed arguments."""
    if name is None:
        if filters:
            raise InputError("arguments can be filtered for one named event only: name the event")
        return []
    entry = event(artifact, name)
    topics: list[bytes | None] = [topic(entry)]
    wanted = dict(filters or {})
    for parameter in entry["inputs"]:
        if parameter["indexed"]:
            value = wanted.pop(parameter["name"], None)
            topics.append(None if value is None else encode_arguments([parameter], [value], f"event {name}"))
    if wanted:
        raise InputError(f"event {name} has no indexed argument {', '.join(wanted)}")
    while topics and topics[-1] is None:
        topics.pop()
    return topics


def matches(topics: Sequence[bytes | None], log_topics: Sequence[bytes]) -> bool:
    """Whether a log passes a topics filter."""
    return len(topics) <= len(log_topics) and all(
        want is None or want == have for want, have in zip(topics, log_topics, strict=False)
    )


__all__ = [
    "decode_log",
    "decode_parameters",
    "decode_result",
    "decode_revert",
    "encode_call",
    "encode_deploy",
    "event",
    "event_topics",
    "function",
    "learn",
    "matches",
    "selector",
    "signature",
    "topic",
    "type_of",
]
