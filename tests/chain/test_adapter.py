"""A call, a transaction, an event and a refusal mean the same on both chains."""

from __future__ import annotations

from typing import Any

import pytest

from opml.chain.adapter import TX_GAS_CAP, Contract, LocalChain, Revert
from opml.chain.artifacts import Artifact
from opml.errors import ChainError, InputError


@pytest.fixture
def probe(chain: Any, probe_artifact: Artifact) -> Contract:
    contract, _ = chain.deploy(probe_artifact, [7], sender=chain.accounts[0])
    return contract


def test_deploy_runs_constructor_with_arguments(chain: Any, probe_artifact: Artifact) -> None:
    contract, receipt = chain.deploy(probe_artifact, [7], sender=chain.accounts[1], value=5)
    assert chain.code_at(contract.address)
    assert len(chain.code_at(contract.address)) == len(probe_artifact.deployed_bytecode)
    assert chain.call(contract, "values", [0]) == 7
    assert chain.call(contract, "owner") == chain.accounts[1].address
    assert chain.balance(contract.address) == 5
    assert receipt.contract == contract.address and receipt.to is None and receipt.gas_used > 100_000


def test_transact_returns_decoded_receipt(chain: Any, probe: Contract) -> None:
    signer = chain.accounts[2]
    before = chain.balance(signer.address)
    receipt = chain.transact(probe, "store", [3, 12, b"note"], sender=signer, value=1)
    assert receipt.status and receipt.block == chain.block_number()
    assert (
        receipt.input_size == 4 + 32 * 5 and receipt.sender == signer.address and receipt.to == probe.address
    )
    log = receipt.event("Stored")
    assert dict(log.args) == {"who": signer.address, "key": 3, "value": 12, "note": b"note"}
    assert log.tx_hash == receipt.tx_hash and log.block == receipt.block and log.address == probe.address
    assert chain.balance(signer.address) == before - 1 - receipt.cost
    assert chain.call(probe, "values", [3]) == 12


def test_receipt_event_missing_names_those_emitted(chain: Any, probe: Contract) -> None:
    receipt = chain.transact(probe, "store", [3, 12, b""], sender=chain.accounts[2])
    with pytest.raises(ChainError, match=r"emitted no Claimed .*Stored"):
        receipt.event("Claimed")


def test_custom_error_is_named_with_values_in_call(chain: Any, probe: Contract) -> None:
    with pytest.raises(Revert) as caught:
        chain.call(probe, "store", [3, 2, b""])
    assert (caught.value.error, caught.value.values) == ("TooSmall", {"given": 2, "least": 10})
    assert "Probe.store was refused: TooSmall(given=2, least=10)" in str(caught.value)


def test_custom_error_without_gas_limit_is_never_sent(chain: Any, probe: Contract) -> None:
    signer = chain.accounts[2]
    before, block = chain.balance(signer.address), chain.block_number()
    with pytest.raises(Revert) as caught:
        chain.transact(probe, "store", [3, 2, b""], sender=signer)
    assert caught.value.error == "TooSmall" and caught.value.receipt is None
    assert (chain.balance(signer.address), chain.block_number()) == (before, block)


def test_custom_error_with_gas_limit_is_mined_and_paid(chain: Any, probe: Contract) -> None:
    signer = chain.accounts[2]
    before = chain.balance(signer.address)
    with pytest.raises(Revert) as caught:
        chain.transact(probe, "store", [3, 2, b""], sender=signer, gas=200_000)
    receipt = caught.value.receipt
    assert receipt is not None and not receipt.status
    assert (caught.value.error, caught.value.values["given"]) == ("TooSmall", 2)
    assert chain.balance(signer.address) == before - receipt.cost


def test_builtin_errors_are_named(chain: Any, probe: Contract) -> None:
    with pytest.raises(Revert) as caught:
        chain.call(probe, "fail", ["because"])
    assert (caught.value.error, caught.value.values) == ("Error", {"message": "because"})
    with pytest.raises(Revert) as caught:
        chain.call(probe, "divide", [1, 0])
    assert caught.value.values == {"code": 0x12, "meaning": "division by zero"}


def test_out_of_gas_is_named_with_receipt(chain: Any, probe: Contract) -> None:
    with pytest.raises(Revert) as caught:
        chain.transact(probe, "burn", [100_000], sender=chain.accounts[0], gas=100_000)
    assert caught.value.error == "OutOfGas"
    assert caught.value.receipt is not None and caught.value.receipt.gas_used == 100_000


def test_transaction_over_cap_is_refused(chain: Any, probe: Contract) -> None:
    with pytest.raises(ChainError, match="16,777,216"):
        chain.transact(probe, "burn", [1], sender=chain.accounts[0], gas=TX_GAS_CAP + 1)
    with pytest.raises(ChainError):
        chain.transact(probe, "burn", [200_000], sender=chain.accounts[0])


def test_structs_and_tuples_go_both_ways(chain: Any, probe: Contract) -> None:
    pairs = [{"left": 1, "right": b"one"}, (2, b"two")]
    swapped, count = chain.call(probe, "swap", [pairs])
    assert swapped == [{"left": 2, "right": b"two"}, {"left": 1, "right": b"one"}] and count == 2


def test_wrong_arguments_say_what_is_taken(chain: Any, probe: Contract) -> None:
    with pytest.raises(
        InputError, match=r"Probe.store takes \(uint256 key, uint256 value, bytes note\), 1 arg"
    ):
        chain.call(probe, "store", [1])
    with pytest.raises(InputError, match="Probe has no function steal"):
        chain.call(probe, "steal")


def test_call_to_address_without_code_says_so(chain: Any, probe: Contract) -> None:
    nobody = Contract("0x" + "11" * 20, probe.artifact)
    with pytest.raises(ChainError, match=r"no contract at 0x1111.*Probe was expected"):
        chain.call(nobody, "owner")


def test_events_filter_by_name_argument_and_block(chain: Any, probe: Contract) -> None:
    first = chain.transact(probe, "store", [1, 11, b""], sender=chain.accounts[0])
    second = chain.transact(probe, "store", [2, 12, b""], sender=chain.accounts[1])
    start = first.block
    assert [e.args["key"] for e in chain.events(probe, "Stored", from_block=start)] == [1, 2]
    assert [e.args["key"] for e in chain.events(probe, from_block=start)] == [1, 2]
    assert [e.args["key"] for e in chain.events(probe, "Stored", {"key": 2}, from_block=start)] == [2]
    assert [e.args["key"] for e in chain.events(probe, "Stored", {"who": chain.accounts[0].address})][
        -1:
    ] == [1]
    assert [e.tx_hash for e in chain.events(probe, "Stored", from_block=second.block)] == [second.tx_hash]
    assert chain.events(probe, "Stored", from_block=start, to_block=start - 1) == []
    with pytest.raises(InputError, match="no indexed argument value"):
        chain.events(probe, "Stored", {"value": 3})


def test_later_block_rule_is_met_right_after(chain: Any, probe: Contract) -> None:
    chain.transact(probe, "announce", sender=chain.accounts[0])
    assert chain.call(probe, "prove") is True
    chain.transact(probe, "proveByTransaction", sender=chain.accounts[0])


def test_call_at_block_sees_that_state(chain: Any, probe: Contract) -> None:
    early = chain.transact(probe, "store", [5, 50, b""], sender=chain.accounts[0])
    chain.transact(probe, "store", [5, 51, b""], sender=chain.accounts[0])
    assert chain.call(probe, "values", [5], block=early.block) == 50
    assert chain.call(probe, "values", [5]) == 51


def test_advance_time_moves_the_clock_that_contracts_see(chain: Any, probe: Contract) -> None:
    before = chain.timestamp()
    chain.advance_time(1000)
    assert chain.timestamp() == before + 1000
    chain.transact(probe, "afterTime", [before + 1000], sender=chain.accounts[0])
    with pytest.raises(Revert, match="TooEarly"):
        chain.transact(probe, "afterTime", [before + 1_000_000], sender=chain.accounts[0])
    with pytest.raises(InputError):
        chain.advance_time(0)


def test_snapshot_reverts_any_number_of_times(chain: Any, probe: Contract) -> None:
    assert isinstance(chain, LocalChain)
    base = chain.snapshot()
    block, time = chain.block_number(), chain.timestamp()
    for value in (20, 21):
        chain.transact(probe, "store", [9, value, b""], sender=chain.accounts[0])
        chain.advance_time(50)
        assert chain.call(probe, "values", [9]) == value
        chain.revert(base)
        assert chain.call(probe, "values", [9]) == 0
        assert chain.block_number() == block and chain.timestamp() == time
        assert chain.events(probe, "Stored", {"key": 9}, from_block=block) == []


def test_send_moves_ether_and_poor_senders_are_told(chain: Any) -> None:
    target = chain.accounts[5]
    before = chain.balance(target.address)
    chain.send(target.address, 10**18, sender=chain.accounts[4])
    assert chain.balance(target.address) == before + 10**18
    with pytest.raises(ChainError):
        chain.send(target.address, 10**26, sender=chain.accounts[4])


def test_block_base_fee_is_seen_by_contracts(chain: Any, probe: Contract) -> None:
    number, timestamp, base_fee = chain.call(probe, "time")
    assert number in (chain.block_number(), chain.block_number() + 1) and timestamp >= chain.timestamp()
    assert base_fee > 0 and chain.fees().base_fee > 0


def test_pending_block_follows_the_latest(chain: Any) -> None:
    chain.mine()
    number, timestamp = chain.pending()
    assert number == chain.block_number() + 1 and timestamp >= chain.timestamp()
