"""Balances on a Dask cluster: each account once, whatever happens to a worker."""

from __future__ import annotations

import inspect
import json
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, get_type_hints

import dask.bag
import httpx
import pytest

from mesh_facade import AuthenticationError, LinkedAccount, MeshClient, MeshConfigurationError
from mesh_facade.dask import WorkerOptions, fetch_balances
from mesh_facade.testing import MockServer
from tests.trust.secret_search import CLIENT_ID, CLIENT_SECRET, TOKEN, leaks_in

COUNT = 2000


def bag_of(count: int, partition_size: int = 4) -> Any:
    accounts = [LinkedAccount(f"token-{number}", "coinbase", number) for number in range(count)]
    return dask.bag.from_sequence(accounts, partition_size=partition_size)


@pytest.fixture
def keys(mesh: MockServer, monkeypatch: pytest.MonkeyPatch) -> MockServer:
    for name, value in mesh.environment.items():
        monkeypatch.setenv(name, value)
    return mesh


def test_each_partition_is_read_in_bulk(keys: MockServer) -> None:
    keys.answers("token-3", cash={"USD": "0.1"})
    keys.fails("token-4", "permission-denied")

    outcomes = fetch_balances(bag_of(10), concurrency=2, max_attempts=1).compute(scheduler="sync")

    assert sorted(outcome.account.key for outcome in outcomes) == list(range(10))
    by_key = {outcome.account.key: outcome for outcome in outcomes}
    assert str(by_key[3].balance.cash("USD")) == "0.1"
    assert type(by_key[4].error).__name__ == "PermissionDeniedError"


def test_the_graph_holds_no_client_key(keys: MockServer) -> None:
    graph = pickle.dumps(dict(fetch_balances(bag_of(4), timeout=3).dask))

    assert keys.client_id.encode() not in graph
    assert keys.client_secret.encode() not in graph
    assert keys.calls == []


def test_errors_lead_to_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MESH_CLIENT_ID", CLIENT_ID)
    monkeypatch.setenv("MESH_CLIENT_SECRET", CLIENT_SECRET)
    accounts = [LinkedAccount(f"{TOKEN}{number}", "coinbase", number) for number in range(60)]
    bag = dask.bag.from_sequence(accounts, partition_size=60)
    refuse = httpx.MockTransport(lambda _: httpx.Response(401))

    with pytest.raises(MeshConfigurationError) as of_options:
        fetch_balances(bag, client_secret=CLIENT_SECRET)  # type: ignore[call-arg]
    with pytest.raises(AuthenticationError) as of_partition:
        fetch_balances(bag, transport=refuse).compute(scheduler="sync")

    assert leaks_in(of_options.value) == {}
    assert leaks_in(of_partition.value) == {}


def test_options_are_those_of_the_client_without_the_keys() -> None:
    parameters = inspect.signature(MeshClient).parameters.keys()

    assert get_type_hints(WorkerOptions).keys() == parameters - {"client_id", "client_secret"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"client_id": "an-id"}, "set MESH_CLIENT_ID on"),
        ({"client_secret": "a-secret"}, "set MESH_CLIENT_SECRET on"),
        ({"client_secret": "a", "client_id": "b"}, "MESH_CLIENT_ID and MESH_CLIENT_SECRET"),
    ],
)
def test_keys_among_the_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(MeshConfigurationError, match=message):
        fetch_balances(bag_of(1), **options)


def test_refused_keys_are_raised(keys: MockServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MESH_CLIENT_SECRET", "another-secret")

    with pytest.raises(AuthenticationError):
        fetch_balances(bag_of(100, partition_size=100)).compute(scheduler="sync")

    assert 20 <= len(keys.calls) <= 40


def test_refused_keys_in_a_small_partition_are_outcomes(
    keys: MockServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MESH_CLIENT_SECRET", "another-secret")

    outcomes = fetch_balances(bag_of(3)).compute(scheduler="sync")

    assert [type(outcome.error) for outcome in outcomes] == [AuthenticationError] * 3
    assert len(keys.calls) == 3


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_a_worker_that_is_killed_costs_and_doubles_no_account(keys: MockServer) -> None:
    for number in range(COUNT):
        keys.answers(f"token-{number}", cash={"USD": number})
    program = [sys.executable, str(Path(__file__).with_name("cluster.py")), str(COUNT)]
    with subprocess.Popen(
        program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as run:
        assert run.stdout
        assert run.stderr
        workers = json.loads(run.stdout.readline())
        end = time.monotonic() + 60
        while len(keys.calls) < COUNT // 3 and time.monotonic() < end:
            time.sleep(0.01)
        before = len(keys.calls)
        os.kill(workers[0], signal.SIGKILL)
        rows = json.loads(run.stdout.readline() or run.stderr.read())
        run.communicate(timeout=60)

    assert len(workers) == 2
    assert COUNT // 3 <= before < COUNT
    assert sorted(rows) == [[number, str(number)] for number in range(COUNT)]
