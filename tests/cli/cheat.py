"""A cheating submitter as a process of its own: cheat.py RPC DEPLOYMENT MODEL KEY-VARIABLE FAULT"""

from __future__ import annotations

import sys
from pathlib import Path

from opml.chain.deployment import Deployment
from opml.chain.gateway import ChainGateway
from opml.chain.keys import resolve_signer
from opml.chain.rpc import RpcChain
from opml.cli.operating import operate, report
from opml.cli.workshop import Workshop
from opml.dispute.faults import Scenario, plant
from opml.dispute.gateway import RequestRecord
from opml.dispute.players import Answer, Submitter
from opml.models.model import load_model
from opml.vm.engine import get_engine


def main(rpc: str, deployment: str, file: str, key_variable: str, fault: str) -> None:
    model = load_model(file)
    workshop = Workshop(model, get_engine("native"))
    gateway = ChainGateway(
        RpcChain(rpc),
        Deployment.load(Path(deployment)),
        resolve_signer(private_key_env=key_variable),
        model_id=model.id,
    )

    def lie(request: RequestRecord) -> Answer:
        honest = workshop.answer(request)
        assert honest is not None
        scenario = Scenario(
            workshop.engine, workshop.machine, honest.own.trace, workshop.vocabulary, model.end_tokens
        )
        return plant(scenario, fault).answer

    kept: dict[bytes, Answer] = {}

    def answer(request: RequestRecord) -> Answer:
        if request.id not in kept:
            kept[request.id] = lie(request)
        return kept[request.id]

    player = Submitter(gateway, lambda request, posted: answer(request).own, answer, report(as_json=True))
    operate(player, once=False, interval=0.1)


if __name__ == "__main__":
    main(*sys.argv[1:])
