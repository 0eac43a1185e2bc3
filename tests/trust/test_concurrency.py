"""Concurrency: threads and forks cost no answer and no connection."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from mesh_facade import MeshClient, MeshTimeoutError
from mesh_facade.operations.account_balance import GET_ACCOUNT_BALANCE
from tests.faults.observation import try_call
from tests.faults.server import Answer, Endpoint, FaultServer, Pause
from tests.trust.support import has_amount

KEYS: dict[str, Any] = {"client_id": "client-id", "client_secret": "client-secret"}
POOL = 10


@pytest.fixture
def slow_endpoint(fault_server: FaultServer) -> Endpoint:
    """Open an endpoint whose answers take two milliseconds while it is faulty."""
    return fault_server.open(lambda answer: [Pause(0.002), answer.with_length])


def test_calls_of_a_hundred_threads_each_get_their_own_answer(
    fault_server: FaultServer,
) -> None:
    threads = 100
    calls = 200
    endpoint = fault_server.open()

    with (
        MeshClient(**KEYS, base_url=endpoint.url, max_connections=20) as mesh,
        ThreadPoolExecutor(threads) as executor,
    ):

        def run(thread: int) -> int:
            numbers = range(thread * calls, (thread + 1) * calls)
            answers = (mesh.get_account_balance(f"token-{it}", "coinbase") for it in numbers)
            return sum(map(has_amount, answers, numbers))

        assert sum(executor.map(run, range(threads))) == threads * calls

    assert endpoint.connections <= 20


def test_simultaneous_first_calls_build_one_httpx_client(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    built: list[type[Any]] = []

    class CountedClient(httpx.Client):
        def __init__(self, *args: Any, **options: Any) -> None:
            built.append(type(self))
            super().__init__(*args, **options)

    monkeypatch.setattr(httpx, "Client", CountedClient)
    transport = httpx.MockTransport(
        lambda request: httpx.Response(200, content=Answer(b"\r\n\r\n" + request.content).body)
    )
    threads = 8

    with ThreadPoolExecutor(threads) as executor:
        for _ in range(200):
            start = threading.Barrier(threads)
            mesh = MeshClient(**KEYS, transport=transport)

            def run(number: int, start: threading.Barrier = start, mesh: Any = mesh) -> Any:
                start.wait()
                generated = mesh._runner._client(GET_ACCOUNT_BALANCE).get_httpx_client()
                balance = mesh.get_account_balance(f"token-{number}", "coinbase")
                return has_amount(balance, number), generated

            answers = list(executor.map(run, range(threads)))

            assert all(is_own for is_own, _ in answers)
            assert len({id(generated) for _, generated in answers}) == 1

    assert built == []


def test_threads_that_time_out_while_waiting_lose_no_slot(slow_endpoint: Endpoint) -> None:
    slow_endpoint.start_fault()
    chance = random.Random(4)  # noqa: S311 — the same choices at each run

    with (
        MeshClient(
            **KEYS, base_url=slow_endpoint.url, max_connections=POOL, max_attempts=1
        ) as mesh,
        ThreadPoolExecutor(40) as executor,
    ):
        hurried = [mesh.with_options(deadline=chance.uniform(0.0005, 0.02)) for _ in range(1000)]

        def run(number: int) -> bool:
            outcome = try_call(
                lambda token: hurried[number].get_account_balance(token, "coinbase"),
                f"token-{number}",
            )
            if outcome.error:
                return isinstance(outcome.error, MeshTimeoutError)
            return has_amount(outcome.value, number)

        assert all(executor.map(run, range(1000)))
        balances = executor.map(
            lambda number: mesh.get_account_balance(f"token-{number}", "coinbase"), range(20)
        )
        assert all(map(has_amount, balances, range(20)))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("mode", ["sync", "async"])
def test_forks_under_traffic_mix_up_no_answer(
    fault_server: FaultServer, tmp_path: Path, mode: str, *, tls: bool
) -> None:
    endpoint = fault_server.open(tls=tls)
    authority = tmp_path / "authority.pem"
    fault_server.authority.cert_pem.write_to_path(str(authority))
    program = Path(__file__).with_name("forking.py")
    python = [sys.executable, "-Wignore:This process:DeprecationWarning"]  # … forks beside threads

    done = subprocess.run(
        [*python, str(program), endpoint.url, str(authority), mode, "50", "4"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert int(done.stdout) == 50 * 5 * 3


def test_first_call_imports_no_module(
    fault_server: FaultServer,
) -> None:
    code = """
import sys
from mesh_facade import MeshClient
mesh = MeshClient("client-id", "client-secret", base_url=sys.argv[1])
before = set(sys.modules)
mesh.get_account_balance("token-1", "coinbase")
print(sorted(set(sys.modules) - before))
"""
    endpoint = fault_server.open()

    done = subprocess.run(
        [sys.executable, "-c", code, endpoint.url],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout.strip() == "[]"
