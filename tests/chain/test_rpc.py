"""What RpcChain does when nodes fail, lie late, or lose blocks. The node here is a script."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from eth_utils.crypto import keccak

from opml.chain.adapter import Contract, Revert
from opml.chain.artifacts import Artifact
from opml.chain.keys import LocalSigner
from opml.chain.rpc import Patience, RpcChain
from opml.chain.transport import RpcError, Transport, endpoint
from opml.errors import ChainError, InputError

SIGNER = LocalSigner(keccak(b"a test key"))
TARGET = "0x" + "22" * 20
Node = Callable[[str, list[Any]], Any]


class Refuse(Exception):
    def __init__(self, code: int, message: str, data: Any = None) -> None:
        self.body = {"code": code, "message": message, "data": data}


class FakeNode:
    """A node that answers by a function; counts and keeps what was asked."""

    def __init__(self, answer: Node) -> None:
        self.answer = answer
        self.asked: list[tuple[str, list[Any]]] = []
        self.status = 200
        node = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                node.asked.append((body["method"], body["params"]))
                reply: dict[str, Any] = {"jsonrpc": "2.0", "id": body["id"]}
                try:
                    reply["result"] = node.answer(body["method"], body["params"])
                except Refuse as refusal:
                    reply["error"] = refusal.body
                content = json.dumps(reply).encode()
                self.send_response(node.status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *args: Any) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True)
        self.thread.start()

    def count(self, method: str) -> int:
        return sum(asked == method for asked, _ in self.asked)


@pytest.fixture
def nodes() -> Iterator[Callable[[Node], FakeNode]]:
    made: list[FakeNode] = []

    def make(answer: Node) -> FakeNode:
        made.append(FakeNode(answer))
        return made[-1]

    yield make
    for node in made:
        node.server.shutdown()
        node.server.server_close()


class Ledger:
    """A plain node: answers everything that a transaction needs; `change` overrides by method."""

    def __init__(self, **change: Callable[[list[Any]], Any]) -> None:
        self.change = change
        self.sent: list[bytes] = []
        self.block = 10
        self.nonce = 4

    def __call__(self, method: str, params: list[Any]) -> Any:
        if method in self.change:
            return self.change[method](params)
        if method == "eth_chainId":
            return "0x7a69"
        if method == "eth_blockNumber":
            return hex(self.block)
        if method == "eth_getBlockByNumber":
            return {"timestamp": "0x10", "baseFeePerGas": "0x64", "number": hex(self.block)}
        if method == "eth_maxPriorityFeePerGas":
            return "0x5"
        if method == "eth_estimateGas":
            return hex(40_000)
        if method == "eth_getTransactionCount":
            return hex(self.nonce)
        if method == "eth_sendRawTransaction":
            self.sent.append(bytes.fromhex(params[0][2:]))
            return "0x" + keccak(self.sent[-1]).hex()
        if method == "eth_getTransactionReceipt":
            return self.receipt(params[0]) if self.sent else None
        raise Refuse(-32601, f"no {method} here")

    def receipt(self, digest: str, status: int = 1, block: int = 10) -> dict[str, Any]:
        return {
            "transactionHash": digest,
            "blockNumber": hex(block),
            "status": hex(status),
            "gasUsed": hex(30_000),
            "effectiveGasPrice": "0x69",
            "logs": [],
            "contractAddress": None,
        }


class FakeTime:
    def __init__(self) -> None:
        self.now = 0.0

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def connect(node: FakeNode, time: FakeTime | None = None, **patience: Any) -> RpcChain:
    time = time or FakeTime()
    return RpcChain(node.url, patience=Patience(**patience), clock=time.clock, sleep=time.sleep)


@pytest.fixture
def probe(probe_artifact: Artifact) -> Contract:
    return Contract(TARGET, probe_artifact)


def test_second_url_answers_when_the_first_is_down(nodes: Any) -> None:
    up = nodes(Ledger())
    chain = RpcChain(["http://127.0.0.1:1", up.url], sleep=lambda _: None)
    assert chain.chain_id == 31337 and chain.block_number() == 10


def test_busy_node_is_asked_again(nodes: Any) -> None:
    left = [2]

    def busy(_: list[Any]) -> str:
        left[0] -= 1
        if left[0] >= 0:
            raise Refuse(-32005, "rate limited")
        return "0x1"

    node = nodes(Ledger(eth_gasPrice=busy))
    assert Transport([node.url], sleep=lambda _: None).request("eth_gasPrice") == "0x1"
    assert node.count("eth_gasPrice") == 3


def test_dead_node_is_named_without_its_key(nodes: Any) -> None:
    node = nodes(Ledger())
    node.status = 503
    with pytest.raises(ChainError, match=r"no RPC answered eth_chainId in 4 attempts") as caught:
        RpcChain(node.url + "/v2/SECRETKEY", sleep=lambda _: None)
    assert "SECRETKEY" not in str(caught.value) and "HTTPError" in str(caught.value)


@pytest.mark.parametrize("url", ["", "127.0.0.1:8545", "ftp://x", "ws://127.0.0.1"])
def test_url_of_another_kind_is_refused(url: str) -> None:
    with pytest.raises(InputError, match=r"http"):
        RpcChain(url)


def test_no_url_says_where_to_give_one() -> None:
    with pytest.raises(InputError, match="ETH_RPC_URL"):
        RpcChain([])


def test_endpoint_hides_path_query_and_login() -> None:
    assert endpoint("https://me:pw@rpc.example:443/key?k=1") == "https://rpc.example:443"


def test_gas_limit_has_margin_and_fees_follow_base_fee(nodes: Any, probe: Contract) -> None:
    from eth_account.typed_transactions import TypedTransaction
    from hexbytes import HexBytes

    ledger = Ledger()
    chain = connect(nodes(ledger))
    receipt = chain.transact(probe, "store", [1, 20, b""], sender=SIGNER)
    fields = TypedTransaction.from_bytes(HexBytes(ledger.sent[0])).as_dict()
    assert (fields["nonce"], fields["gas"]) == (4, 60_000)
    assert (fields["maxFeePerGas"], fields["maxPriorityFeePerGas"]) == (205, 5)
    assert (receipt.cost, receipt.block, receipt.tx_hash) == (30_000 * 0x69, 10, keccak(ledger.sent[0]))


def test_estimate_over_cap_is_refused_unsent(nodes: Any, probe: Contract) -> None:
    ledger = Ledger(eth_estimateGas=lambda _: hex(17_000_000))
    with pytest.raises(ChainError, match="17,000,000"):
        connect(nodes(ledger)).transact(probe, "announce", sender=SIGNER)
    assert not ledger.sent


def test_estimate_falls_back_to_latest_where_pending_is_unknown(nodes: Any, probe: Contract) -> None:
    def estimate(params: list[Any]) -> str:
        if params[1] == "pending":
            raise Refuse(-32000, "pending block is not available")
        return hex(40_000)

    ledger = Ledger(eth_estimateGas=estimate)
    connect(nodes(ledger)).transact(probe, "announce", sender=SIGNER)
    assert len(ledger.sent) == 1


@pytest.mark.parametrize(
    "shape",
    [
        lambda data: data,
        lambda data: "Reverted " + data,
        lambda data: {"data": data},
        lambda data: {"0x12": {"error": "revert", "return": "x"}, "data": {"data": data}},
    ],
)
def test_revert_data_is_found_wherever_a_node_puts_it(nodes: Any, probe: Contract, shape: Any) -> None:
    too_small = "0x" + (keccak(b"TooSmall(uint256,uint256)")[:4] + (3).to_bytes(32) + (10).to_bytes(32)).hex()

    def refuse(_: list[Any]) -> None:
        raise Refuse(3, "execution reverted", shape(too_small))

    with pytest.raises(Revert) as caught:
        connect(nodes(Ledger(eth_estimateGas=refuse))).transact(probe, "store", [1, 3, b""], sender=SIGNER)
    assert caught.value.values == {"given": 3, "least": 10}


def test_stale_nonce_is_read_again(nodes: Any, probe: Contract) -> None:
    ledger = Ledger()

    def send(params: list[Any]) -> str:
        if ledger.nonce == 4:
            ledger.nonce = 5
            raise Refuse(-32000, "nonce too low: next nonce 5, tx nonce 4")
        ledger.sent.append(bytes.fromhex(params[0][2:]))
        return "0x"

    ledger.change["eth_sendRawTransaction"] = send
    assert connect(nodes(ledger)).transact(probe, "announce", sender=SIGNER).status


def test_known_transaction_counts_as_sent(nodes: Any, probe: Contract) -> None:
    ledger = Ledger()

    def send(params: list[Any]) -> str:
        ledger.sent.append(bytes.fromhex(params[0][2:]))
        raise Refuse(-32000, "already known")

    ledger.change["eth_sendRawTransaction"] = send
    assert connect(nodes(ledger)).transact(probe, "announce", sender=SIGNER).status


def test_poor_sender_is_told_to_fund(nodes: Any, probe: Contract) -> None:
    def send(_: list[Any]) -> str:
        raise Refuse(-32000, "insufficient funds for gas * price + value")

    with pytest.raises(ChainError, match="fund it"):
        connect(nodes(Ledger(eth_sendRawTransaction=send))).transact(probe, "announce", sender=SIGNER)


def test_slow_transaction_is_sent_again_with_higher_fees(nodes: Any, probe: Contract) -> None:
    ledger = Ledger()

    def receipt(params: list[Any]) -> Any:
        mined = len(ledger.sent) == 2 and params[0] == "0x" + keccak(ledger.sent[1]).hex()
        return ledger.receipt(params[0]) if mined else None

    ledger.change["eth_getTransactionReceipt"] = receipt
    chain = connect(nodes(ledger), bump_after=1, poll=0.3)
    assert chain.transact(probe, "announce", sender=SIGNER).tx_hash == keccak(ledger.sent[1])


def test_transaction_never_mined_is_given_up_with_its_hash(nodes: Any, probe: Contract) -> None:
    ledger = Ledger(eth_getTransactionReceipt=lambda _: None)
    chain = connect(nodes(ledger), inclusion=2, poll=0.5)
    with pytest.raises(ChainError, match="not included in 2 s") as caught:
        chain.transact(probe, "announce", sender=SIGNER)
    assert keccak(ledger.sent[0]).hex() in str(caught.value)


def test_reorg_before_confirmation_is_waited_out(nodes: Any, probe: Contract) -> None:
    ledger = Ledger()
    looks = [0]

    def receipt(params: list[Any]) -> Any:
        looks[0] += 1
        ledger.block += 1
        if looks[0] == 2:
            return None
        return ledger.receipt(params[0], block=10 if looks[0] == 1 else 12)

    ledger.change["eth_getTransactionReceipt"] = receipt
    found = connect(nodes(ledger), confirmations=3).transact(probe, "announce", sender=SIGNER)
    assert found.block == 12 and ledger.block >= 15


def test_failure_of_a_mined_transaction_is_explained(nodes: Any, probe: Contract) -> None:
    ledger = Ledger()
    ledger.change["eth_getTransactionReceipt"] = lambda p: ledger.receipt(p[0], status=0)

    def call(params: list[Any]) -> str:
        assert params[1] == hex(9)
        raise Refuse(3, "execution reverted", "0x")

    ledger.change["eth_call"] = call
    with pytest.raises(Revert) as caught:
        connect(nodes(ledger)).transact(probe, "announce", sender=SIGNER)
    assert caught.value.receipt is not None and not caught.value.receipt.status


def test_log_query_is_halved_until_the_node_takes_it(nodes: Any, probe: Contract) -> None:
    spans: list[int] = []

    def logs(params: list[Any]) -> list[Any]:
        span = int(params[0]["toBlock"], 16) - int(params[0]["fromBlock"], 16) + 1
        if span > 1000:
            raise Refuse(-32000, "query returned more than 10000 results")
        spans.append(span)
        return []

    ledger = Ledger(eth_getLogs=logs)
    ledger.block = 3000
    assert connect(nodes(ledger)).events(probe, "Stored") == []
    assert sum(spans) == 3001 and max(spans) <= 1000


def test_refused_log_query_of_one_block_is_an_error(nodes: Any, probe: Contract) -> None:
    def logs(_: list[Any]) -> list[Any]:
        raise Refuse(-32000, "no logs for you")

    with pytest.raises(RpcError, match="no logs for you"):
        connect(nodes(Ledger(eth_getLogs=logs))).events(probe, "Stored")


def test_chain_without_base_fee_is_refused(nodes: Any) -> None:
    node = nodes(Ledger(eth_getBlockByNumber=lambda _: {"timestamp": "0x1"}))
    with pytest.raises(ChainError, match="no base fee"):
        connect(node).fees()


def test_missing_block_is_an_error(nodes: Any) -> None:
    with pytest.raises(ChainError, match="no block 0x63"):
        connect(nodes(Ledger(eth_getBlockByNumber=lambda _: None))).timestamp(99)
