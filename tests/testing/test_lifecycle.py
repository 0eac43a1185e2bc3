"""How the mock server starts, serves many clients and ends."""

from __future__ import annotations

import asyncio
import threading
import time

import httpx
import pytest

from mesh_facade.testing import MockServer
from tests.testing.support import BODY, KEYS, PATH


def test_many_clients_are_served_at_once(mesh: MockServer) -> None:
    mesh.answers("a-token", delay=0.2)

    async def post_all() -> list[httpx.Response]:
        async with httpx.AsyncClient(headers=KEYS) as client:
            posts = (client.post(mesh.url + PATH, json=BODY) for _ in range(50))
            return await asyncio.gather(*posts)

    start = time.monotonic()
    answers = asyncio.run(post_all())

    assert {answer.status_code for answer in answers} == {200}
    assert time.monotonic() - start < 50 * 0.2 / 2


def test_it_closes_at_once_with_idle_and_waiting_clients_and_leaves_no_thread(
    caplog: pytest.LogCaptureFixture,
) -> None:
    threads = threading.active_count()
    port = None
    with httpx.Client(headers=KEYS) as client:
        with MockServer() as mesh:
            port = httpx.URL(mesh.url).port
            client.post(mesh.url + PATH, json=BODY)
            mesh.fails("a-token", "slow")
            with pytest.raises(httpx.ReadTimeout):
                httpx.post(mesh.url + PATH, json=BODY, headers=KEYS, timeout=0.05)
            start = time.monotonic()
        assert time.monotonic() - start < 1
        assert threading.active_count() == threads
        with pytest.raises(httpx.ConnectError):
            client.post(f"http://127.0.0.1:{port}{PATH}", json=BODY)
    assert not [record for record in caplog.records if record.name == "asyncio"]


def test_it_can_be_entered_again_and_keeps_answers_and_calls() -> None:
    mesh = MockServer()
    mesh.answers("a-token", status=503)
    for _ in range(2):
        with mesh:
            assert httpx.post(mesh.url + PATH, json=BODY, headers=KEYS).status_code == 503
        assert mesh.url == "https://mock-server.invalid"
    assert len(mesh.calls) == 2


def test_a_taken_port_raises_os_error_and_leaves_no_thread(mesh: MockServer) -> None:
    threads = threading.active_count()
    port = httpx.URL(mesh.url).port
    assert port

    with pytest.raises(OSError, match="in use"), MockServer(port=port):
        pass  # pragma: no cover — it cannot be entered

    assert threading.active_count() == threads
