"""Requests and claims, and how each stands, from the oracle's log alone.

Every change of a request's or a claim's state emits an event (`contracts/interfaces/IOpmlOracle.sol`), so no
state has to be asked for: what a look costs does not grow with what was settled long ago.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

from opml.chain.adapter import Log
from opml.chain.decode import claim_of, request_of, tokens_of
from opml.dispute.gateway import ClaimRecord, ClaimStatus, DeliveryStatus, RequestRecord, RequestStatus

_DELIVERIES = {"Delivered": DeliveryStatus.DELIVERED, "CallbackFailed": DeliveryStatus.FAILED}
_CLAIM_ENDS = {"ClaimFinal": ClaimStatus.FINAL, "ClaimRejected": ClaimStatus.REJECTED}
_REQUEST_ENDS = {"Answered": RequestStatus.ANSWERED, "Refunded": RequestStatus.REFUNDED}


def requests_of(logs: Iterable[Log], model_id: bytes | None = None) -> list[RequestRecord]:
    """The requests, of one model or of all, in the order in which they were posted.

    `logs` are the oracle's, oldest first, from its deployment on.
    """
    found: dict[bytes, RequestRecord] = {}
    pending: Counter[bytes] = Counter()
    for log in logs:
        id_ = log.args.get("requestId", b"")
        if log.event == "Requested":
            if model_id in (None, log.args["modelId"]):
                request, prompt = request_of(log.args["request"]), tokens_of(log.args["prompt"])
                found[id_] = RequestRecord(id_, request, prompt, RequestStatus.OPEN)
        elif log.event == "Claimed":
            pending[id_] += 1
        elif log.event in _CLAIM_ENDS:
            pending[id_] -= 1
        elif id_ in found:
            found[id_] = _moved(found[id_], log.event)
    return [replace(record, pending=pending[id_]) for id_, record in found.items()]


def _moved(record: RequestRecord, event: str) -> RequestRecord:
    if event in _REQUEST_ENDS:
        return replace(record, status=_REQUEST_ENDS[event])
    if event in _DELIVERIES:
        return replace(record, delivery=_DELIVERIES[event])
    return replace(record, fee_paid=True) if event == "FeePaid" else record


def claims_of(logs: Iterable[Log]) -> list[ClaimRecord]:
    """The claims in the order in which they were posted; `logs` as for `requests_of`."""
    found: dict[bytes, ClaimRecord] = {}
    for log in logs:
        if log.event == "Claimed":
            id_ = log.args["claimId"]
            found[id_] = ClaimRecord(
                id=id_,
                claim=claim_of(log.args["claim"]),
                output=tokens_of(log.args["output"]),
                answer=log.args["answer"],
                lengths=log.args["lengths"],
                status=ClaimStatus.PENDING,
            )
        elif log.event in _CLAIM_ENDS and (id_ := log.args["claimId"]) in found:
            found[id_] = replace(found[id_], status=_CLAIM_ENDS[log.event])
    return list(found.values())


__all__ = ["claims_of", "requests_of"]
