"""Calls through proxies that are installed on this machine: tinyproxy and microsocks."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from mesh_facade import MeshConnectionError
from tests.engine.proxy_support import (
    DEADLINE,
    Certificates,
    answer_dripping,
    assert_times_out_after,
)
from tests.support import port_for_a_program, refusing_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import Mode, Serve


@contextlib.contextmanager
def run_program(name: str, *arguments: str, port: int) -> Iterator[None]:
    """Run a proxy during a block, which begins when the proxy accepts connections."""
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed (Debian: apt install {name})")
    process = subprocess.Popen(
        [path, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        wait_until_it_listens(process, port)
        yield
    finally:
        process.terminate()
        process.wait(10)


def wait_until_it_listens(process: subprocess.Popen[bytes], port: int) -> None:
    limit = time.monotonic() + 10
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            assert time.monotonic() < limit
            assert process.poll() is None
            time.sleep(0.02)
        else:
            return


@pytest.fixture(params=["tinyproxy", "microsocks"])
def real_proxy(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Run an installed proxy, and return its URL."""
    port = port_for_a_program()
    if request.param == "tinyproxy":
        settings = tmp_path / "tinyproxy.conf"
        settings.write_text(f"Port {port}\nListen 127.0.0.1\nTimeout 60\nAllow 127.0.0.1\n")
        with run_program("tinyproxy", "-d", "-c", str(settings), port=port):
            yield f"http://127.0.0.1:{port}"
    else:
        with run_program("microsocks", "-i", "127.0.0.1", "-p", str(port), port=port):
            yield f"socks5h://127.0.0.1:{port}"


def test_real_proxy_carries_several_calls_on_one_connection(
    mode: Mode, serve: Serve, certificates: Certificates, real_proxy: str
) -> None:
    server = serve(tls=certificates.server)
    caller = mode.client(base_url=server.url, proxy=real_proxy, verify=certificates.trust)

    for _ in range(3):
        assert caller.read()

    assert server.connections == 1


def test_deadline_ends_a_call_through_a_real_proxy(
    mode: Mode, serve: Serve, certificates: Certificates, real_proxy: str
) -> None:
    server = serve(answer_dripping, tls=certificates.server)
    caller = mode.client(
        base_url=server.url, proxy=real_proxy, verify=certificates.trust, deadline=DEADLINE
    )

    assert_times_out_after(DEADLINE, caller)


def test_real_proxy_that_cannot_reach_the_server_refuses_to_connect(
    mode: Mode, certificates: Certificates, real_proxy: str
) -> None:
    with refusing_port() as port:
        caller = mode.client(
            base_url=f"https://127.0.0.1:{port}",
            proxy=real_proxy,
            verify=certificates.trust,
            max_attempts=1,
        )

        with pytest.raises(MeshConnectionError, match="the proxy refused to connect: "):
            caller.read()
