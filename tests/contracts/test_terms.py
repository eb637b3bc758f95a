"""The limits that a command knows are those of the contracts: a value at one is taken, none beyond."""

from __future__ import annotations

from dataclasses import replace

import pytest

from opml.chain.adapter import ZERO_ADDRESS as NOBODY
from opml.chain.adapter import Contract
from opml.chain.artifacts import load_artifact
from opml.chain.decode import terms_of, terms_values
from opml.chain.embedded import EmbeddedChain
from opml.dispute import limits
from opml.dispute.types import Terms
from opml.errors import ChainError, InputError

MOST = {
    "window": limits.MOST_WINDOW,
    "submitter_clock": limits.MOST_CLOCK,
    "challenger_clock": limits.MOST_CLOCK,
    "fanout": limits.MOST_FANOUT,
    "challengers": limits.MOST_CHALLENGERS,
    "ceiling": limits.MOST_CEILING,
    "incentive": limits.MOST_EXTRA,
    "margin": limits.MOST_EXTRA,
}
LEAST = dict.fromkeys(MOST, 1) | {"incentive": 0, "margin": 0}


@pytest.fixture(scope="module")
def chain() -> EmbeddedChain:
    return EmbeddedChain(accounts=1)


def oracle_with(chain: EmbeddedChain, terms: Terms) -> Terms:
    """The terms that a deployed game answers with; the other contracts are nobody's, nothing asks them."""
    oracle, _ = chain.deploy(
        load_artifact("OpmlOracle"), [NOBODY, NOBODY, NOBODY, terms_values(terms)], sender=chain.accounts[0]
    )
    game = Contract(chain.call(oracle, "game"), load_artifact("DisputeGame"))
    return terms_of(chain.call(game, "terms"))


def refused(chain: EmbeddedChain, terms: Terms) -> str:
    with pytest.raises((ChainError, InputError)) as caught:
        oracle_with(chain, terms)
    return str(caught.value)


@pytest.mark.parametrize("edge", [LEAST, MOST])
def test_terms_at_their_limits_are_taken(chain: EmbeddedChain, edge: dict[str, int]) -> None:
    assert oracle_with(chain, Terms(**edge)) == Terms(**edge)


@pytest.mark.parametrize("name", MOST)
def test_term_beyond_its_limit_is_refused(chain: EmbeddedChain, name: str) -> None:
    said = refused(chain, replace(Terms(), **{name: MOST[name] + 1}))
    assert "BadTerms" in said or name in ("window", "challengers")  # as large as their types in the ABI


@pytest.mark.parametrize("name", ["window", "fanout", "challengers", "ceiling"])
def test_term_of_zero_is_refused(chain: EmbeddedChain, name: str) -> None:
    assert "BadTerms" in refused(chain, replace(Terms(), **{name: 0}))


def test_callback_gas_that_an_oracle_promises_is_the_one_known(chain: EmbeddedChain) -> None:
    arguments = [NOBODY, NOBODY, NOBODY, terms_values(Terms())]
    oracle, _ = chain.deploy(load_artifact("OpmlOracle"), arguments, sender=chain.accounts[0])
    assert chain.call(oracle, "MOST_CALLBACK_GAS") == limits.MOST_CALLBACK_GAS
