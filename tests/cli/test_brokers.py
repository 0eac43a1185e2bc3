"""`mesh-balance brokers`, and the completion of broker names."""

from __future__ import annotations

import json

from mesh_facade import BrokerType
from mesh_facade.cli import commands
from tests.cli.support import run


def test_brokers_lists_the_brokers_of_the_spec() -> None:
    assert run("brokers").stdout.split() == [broker.value for broker in BrokerType]
    assert json.loads(run("brokers", "--search", "COINB", "--json").stdout) == [
        broker.value for broker in BrokerType if "coinb" in broker.value.lower()
    ]


def test_search_without_a_match_prints_nothing() -> None:
    result = run("brokers", "--search", "zzz")

    assert (result.exit_code, result.stdout) == (0, "")


def test_broker_names_complete_in_the_shell() -> None:
    completed = commands.complete_broker(None, None, "coinb")

    assert "coinbase" in completed
    assert all(name.startswith("coinb") for name in completed)
