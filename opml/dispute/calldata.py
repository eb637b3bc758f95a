"""Calldata of proofs, byte for byte as a transaction carries it: what announcements hash."""

from __future__ import annotations

from eth_abi.abi import encode as abi_encode

from opml.dispute.moves import PieceProof, Proof, Step, TokenProof
from opml.dispute.types import CLAIM_TYPES, REQUEST_TYPES, Claim, GameKey, Request
from opml.vm.keccak import keccak256

_HEAD = ["(bytes32,address,uint256)", f"({CLAIM_TYPES})", f"({REQUEST_TYPES})"]
_TAILS: dict[type, tuple[str, list[str]]] = {
    Step: ("step", ["bytes32", "(uint256,bytes,bytes32[])", "bytes"]),
    TokenProof: ("tokenProof", ["bytes32", "uint32", "bytes"]),
    PieceProof: ("pieceProof", ["uint32", "bytes", "bytes", "bytes"]),
}
_SELECTORS = {
    kind: keccak256(f"{name}({','.join(_HEAD + tail)})".encode())[:4] for kind, (name, tail) in _TAILS.items()
}


def calldata_of(request: Request, claim: Claim, key: GameKey, proof: Proof) -> bytes:
    """Selector and arguments of the call that sends a proof."""
    head = [(key.claim_id, key.challenger, key.salt), claim.values(), request.values()]
    if isinstance(proof, Step):
        named = proof.named
        tail: list[object] = [proof.trace_root, (named.i, named.data, named.siblings), proof.witness]
    elif isinstance(proof, TokenProof):
        tail = [proof.trace_root, proof.j, proof.witness]
    else:
        tail = [proof.j, proof.answer, proof.lengths, proof.witness]
    return _SELECTORS[type(proof)] + abi_encode(_HEAD + _TAILS[type(proof)][1], head + tail)


def announcement_of(request: Request, claim: Claim, key: GameKey, proof: Proof, sender: bytes) -> bytes:
    """`keccak256(calldata ‖ sender)`."""
    return keccak256(calldata_of(request, claim, key, proof) + sender)
