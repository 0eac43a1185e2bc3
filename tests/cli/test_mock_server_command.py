"""`mesh-balance mock-server`."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from decimal import Decimal

import click
import pytest

from mesh_facade import MeshConnectionError, RateLimitError
from mesh_facade.testing import MockServer
from tests.cli.support import run, skipped_on_windows
from tests.support import port_for_a_program
from tests.testing.support import PORT_IS_TAKEN


@skipped_on_windows("Windows sends no signal to a thread")
def test_mock_server_prints_the_variables_and_serves_until_interrupted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    printed: list[str] = []
    monkeypatch.setattr(click, "echo", printed.append)
    port = port_for_a_program()
    url = f"http://127.0.0.1:{port}"
    client = MockServer().client(base_url=url, transport=None, max_attempts=1)
    results: list[object] = []

    def call() -> None:
        """Read as a program beside it would, then press Ctrl-C."""
        try:
            while not results:
                with contextlib.suppress(MeshConnectionError):  # it does not listen yet
                    results.append(client.get_account_balance("a-token", "coinbase").cash("USD"))
            while len(printed) < 3:
                time.sleep(0.001)
            with pytest.raises(RateLimitError) as caught:
                client.get_account_balance("rate-limited", "coinbase")
            results.append(type(caught.value))
        finally:
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    caller = threading.Thread(target=call, daemon=True)
    caller.start()
    with client:
        result = run("mock-server", "--port", str(port))
        caller.join()

    assert (result.exit_code, results) == (0, [Decimal("158.5"), RateLimitError])
    assert printed == [
        "export MESH_CLIENT_ID=mock-client-id",
        "export MESH_CLIENT_SECRET=mock-client-secret",
        f"export MESH_BASE_URL={url}",
    ]


def test_mock_server_refuses_an_unusable_port(shared: MockServer) -> None:
    for port, message in (
        (shared.url.rpartition(":")[2], PORT_IS_TAKEN),
        ("70000", "--port"),
        ("a", "'a'"),
    ):
        result = run("mock-server", "--port", port)
        assert result.exit_code == 2
        assert message in result.stderr
        if message == PORT_IS_TAKEN:
            assert result.stderr.endswith("; choose another --port\n")
