"""Waits for a request's final answer."""

from __future__ import annotations

from collections.abc import Callable

from opml.chain.gateway import ChainGateway
from opml.dispute.gateway import ClaimStatus, RequestStatus
from opml.errors import ChainError

_SECONDS = 2.0


def wait_for_answer(gateway: ChainGateway, request_id: bytes, sleep: Callable[[float], None]) -> bytes:
    """The bytes of the final answer.

    Raises `ChainError` when the request is refunded, or can't be answered any more.
    """
    while True:
        record = gateway.request_by_id(request_id)
        claims = [p for p in gateway.claims() if p.claim.request_id == request_id]
        if record.status == RequestStatus.ANSWERED:
            return next(p.answer for p in claims if p.status == ClaimStatus.FINAL)
        now, _ = gateway.now()
        pending = any(p.status == ClaimStatus.PENDING for p in claims)
        if record.status == RequestStatus.REFUNDED or (now > record.request.deadline and not pending):
            raise ChainError(
                f"request 0x{request_id.hex()} was not answered before its deadline: take its value back "
                "with a refund, and ask again with a higher fee"
            )
        sleep(_SECONDS)


__all__ = ["wait_for_answer"]
