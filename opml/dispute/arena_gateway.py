"""The arena as one account sees it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from opml.dispute import ledger
from opml.dispute.arena import Arena
from opml.dispute.gateway import ClaimRecord, GameRecord, Receipt, RequestRecord
from opml.dispute.moves import GameMove, Opening, Proof
from opml.dispute.types import Claim, Docket, GameKey, Request, Terms


@dataclass(frozen=True)
class ArenaGateway:
    """The arena as one account sees it (`opml.dispute.gateway.Gateway`)."""

    arena: Arena
    account: bytes

    @property
    def chain_id(self) -> int:
        return self.arena.chain_id

    @property
    def oracle(self) -> bytes:
        return self.arena.oracle

    def now(self) -> tuple[int, int]:
        return self.arena.time, self.arena.block

    def terms(self) -> Terms:
        return self.arena.terms

    def submitter_bond(self, model_id: bytes, answer_bytes: int) -> int:
        return ledger.submitter_bond(self.arena.sizes, self.arena.terms, answer_bytes)

    def challenger_bond(self, model_id: bytes) -> int:
        return ledger.challenger_bond(self.arena.sizes, self.arena.terms)

    def requests(self) -> Sequence[RequestRecord]:
        return list(self.arena.request_records.values())

    def claims(self) -> Sequence[ClaimRecord]:
        return list(self.arena.claim_records.values())

    def games(self, claim_id: bytes) -> Sequence[GameRecord]:
        return [
            GameRecord(game.key, game.state, tuple(game.events))
            for game in self.arena.game_records.values()
            if game.key.claim_id == claim_id
        ]

    def docket(self, claim_id: bytes) -> Docket:
        return self.arena.dockets.get(claim_id, Docket())

    def owed(self) -> int:
        return self.arena.owed.get(self.account, 0)

    def submit(
        self,
        request: Request,
        operator: bytes,
        commitment: bytes,
        output: Sequence[int],
        answer: bytes,
        lengths: bytes,
    ) -> tuple[bytes, Receipt]:
        arena = self.arena
        claim_id = arena.submit(self.account, request, operator, commitment, output, answer, lengths)
        return claim_id, self._receipt()

    def _receipt(self) -> Receipt:
        return Receipt(0, 0, self.arena.block - 1, b"")

    def open(self, request: Request, claim: Claim, move: Opening) -> Receipt:
        key = self.arena.open(self.account, claim.id(self.chain_id, self.oracle), move)
        return replace(self._receipt(), game_id=key.id)

    def play(self, request: Request, claim: Claim, key: GameKey, move: GameMove) -> Receipt:
        return self.arena.play(self.account, key, move)

    def digest(self, request: Request, claim: Claim, key: GameKey, proof: Proof) -> bytes:
        return self.arena.digest(request, claim, key, proof, self.account)

    def finalise(self, request: Request, claim: Claim) -> Receipt:
        self.arena.finalise(self.account, claim.id(self.chain_id, self.oracle))
        return self._receipt()

    def deliver(self, request: Request, answer: bytes) -> Receipt:
        return self.arena.mine(self.account, 60_000)

    def collect_fee(self, request: Request) -> Receipt:
        self.arena.collect_fee(self.account, request.id(self.chain_id, self.oracle))
        return self._receipt()

    def withdraw(self) -> Sequence[Receipt]:
        if not self.owed():
            return ()
        self.arena.withdraw(self.account)
        return (self._receipt(),)
