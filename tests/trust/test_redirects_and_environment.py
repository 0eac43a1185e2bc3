"""Redirects, cookies, proxies and the environment: no secret goes to another host."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mesh_facade import MeshConfigurationError, MeshConnectionError, MeshResponseError
from tests.faults.observation import FIRST_USER, OWN_AMOUNT, SECOND_USER, THIRD_USER, try_call
from tests.faults.server import CLOSE, RESET, Answer, FaultServer, head

if TYPE_CHECKING:
    from tests.conftest import Mode

KEYS: dict[str, Any] = {"client_id": "canary-client-id", "client_secret": "canary-client-secret"}

# --- redirects and cookies ----------------------------------------------------------------------

TARGETS: dict[str, Callable[[str], list[str]]] = {
    "another host": lambda sink: [f"Location: http://{sink}/"],
    "another host, the same path": lambda sink: [f"Location: http://{sink}/api/v1/balance/get"],
    "another host in capitals": lambda sink: [f"LOCATION: HTTP://{sink}/"],
    "another host without a scheme": lambda sink: [f"Location: //{sink}/"],
    "another host by name": lambda sink: [f"Location: http://localhost:{sink.split(':')[1]}/"],
    "another host with a user": lambda sink: [f"Location: http://127.0.0.1@{sink}/"],
    "another host with a fragment": lambda sink: [f"Location: http://{sink}/#top"],
    "another host, twice": lambda sink: [f"Location: http://{sink}/"] * 2,
    "another host, to be refreshed": lambda sink: [f"Refresh: 0; url=http://{sink}/"],
    "another path": lambda _: ["Location: /elsewhere"],
    "the same path": lambda _: ["Location: /api/v1/balance/get"],
    "a file": lambda _: ["Location: file:///etc/passwd"],
    "nowhere": lambda _: [],
    "nonsense": lambda _: ["Location: http://[::"],
}


@pytest.mark.parametrize("status", [300, 301, 302, 303, 307, 308])
@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_redirect_raises_response_error_and_no_other_host_is_contacted(
    mode: Mode, fault_server: FaultServer, status: int, target: Callable[[str], list[str]]
) -> None:
    sink = fault_server.open()
    headers = ["Content-Length: 0", *target(f"127.0.0.1:{sink.port}")]
    endpoint = fault_server.open(lambda _: [head(*headers, status=f"HTTP/1.1 {status} Moved")])
    endpoint.start_fault()
    mesh = mode.client(**KEYS, base_url=endpoint.url)

    error = try_call(mesh.read, FIRST_USER).error

    assert type(error) is MeshResponseError
    assert (error.http_status, error.attempts, endpoint.script_runs) == (status, 1, 1)
    assert sink.connections == 0


def test_cookie_is_never_sent_back(mode: Mode, fault_server: FaultServer) -> None:
    def set_cookies(answer: Answer) -> list[bytes]:
        cookies = (
            "Set-Cookie: session=1; Path=/",
            "Set-Cookie: other=2; Domain=127.0.0.1; Max-Age=99",
        )
        return [head(f"Content-Length: {len(answer.body)}", *cookies) + answer.body]

    endpoint = fault_server.open(set_cookies)
    endpoint.start_fault()
    mesh = mode.client(**KEYS, base_url=endpoint.url)

    for token in (FIRST_USER, SECOND_USER, THIRD_USER):
        assert mesh.read(token).cash("USD") == OWN_AMOUNT[token]

    assert b"cookie" not in endpoint.received.lower()


# --- proxies ------------------------------------------------------------------------------------


class Tunnel:
    """A proxy that connects to the requested host, and records all bytes that pass through it."""

    def __init__(self) -> None:
        self.seen = bytearray()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                request = b""
                while b"\r\n\r\n" not in request:
                    request += client.recv(65536)
                self.seen += request
                host, _, port = request.split()[1].decode().rpartition(":")
                server = socket.create_connection((host, int(port)))
                client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                self._open += [client, server]
                for source, sink in ((client, server), (server, client)):
                    self._threads.append(threading.Thread(target=self._pump, args=(source, sink)))
                    self._threads[-1].start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                data = source.recv(65536)
                if not data:
                    break
                self.seen += data
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._open:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        for connection in self._open:
            connection.close()


@pytest.fixture
def tunnel() -> Iterator[Tunnel]:
    with contextlib.closing(Tunnel()) as each:
        yield each


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"])
def test_proxy_of_the_environment_is_used_and_sees_no_secret(
    mode: Mode,
    fault_server: FaultServer,
    tunnel: Tunnel,
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
) -> None:
    endpoint = fault_server.open(tls=True)
    monkeypatch.setenv(variable, tunnel.url)
    mesh = mode.client(**KEYS, base_url=endpoint.url, verify=fault_server.client_context)

    assert mesh.read(FIRST_USER).cash("USD") == OWN_AMOUNT[FIRST_USER]
    assert mesh.read(SECOND_USER).cash("USD") == OWN_AMOUNT[SECOND_USER]

    mesh.close()
    assert tunnel.seen.startswith(b"CONNECT 127.0.0.1:%d " % endpoint.port)
    assert not any(word in tunnel.seen for word in (b"canary", FIRST_USER.encode(), b"coinbase"))


def test_proxy_option_is_used(
    mode: Mode, fault_server: FaultServer, tunnel: Tunnel, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint = fault_server.open(tls=True)
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", "*")
    options: dict[str, Any] = {"proxy": tunnel.url, "verify": fault_server.client_context}

    balance = mode.client(**KEYS, base_url=endpoint.url, **options).read(FIRST_USER)

    assert balance.cash("USD") == OWN_AMOUNT[FIRST_USER]
    assert tunnel.seen


@pytest.mark.parametrize("variable", ["NO_PROXY", "no_proxy"])
@pytest.mark.parametrize(
    "value", ["127.0.0.1", "*", "mesh.example,127.0.0.1", ".example, 127.0.0.1"]
)
def test_no_proxy_variable_is_respected(
    mode: Mode,
    fault_server: FaultServer,
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
    value: str,
) -> None:
    proxy = fault_server.open()
    endpoint = fault_server.open(tls=True)
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    monkeypatch.setenv(variable, value)
    mesh = mode.client(**KEYS, base_url=endpoint.url, verify=fault_server.client_context)

    assert mesh.read(FIRST_USER).cash("USD") == OWN_AMOUNT[FIRST_USER]
    assert proxy.connections == 0


def test_plain_http_to_loopback_ignores_proxies_of_the_environment(
    mode: Mode, fault_server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = fault_server.open()
    endpoint = fault_server.open()
    for variable in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(variable, proxy.url)

    assert mode.client(**KEYS, base_url=endpoint.url).read(FIRST_USER)
    assert proxy.connections == 0


@pytest.mark.usefixtures("no_backoff")
@pytest.mark.parametrize(
    ("attempts", "script"),
    [
        (
            1,
            lambda _: [
                head("Content-Length: 0", status="HTTP/1.1 407 Proxy Authentication Required")
            ],
        ),
        (3, lambda _: [head("Content-Length: 0", status="HTTP/1.1 502 Bad Gateway")]),
        (1, lambda _: [head("Content-Length: 0", status="HTTP/1.1 301 Moved")]),
        (3, lambda _: [CLOSE]),
        (3, lambda _: [RESET]),
        (3, lambda _: [b"nonsense\r\n\r\n", CLOSE]),
    ],
    ids=["407", "502", "301", "closed", "reset", "nonsense"],
)
def test_refusing_proxy_raises_connection_error_and_sees_no_secret(
    mode: Mode,
    fault_server: FaultServer,
    attempts: int,
    script: Callable[[Answer], list[bytes]],
) -> None:
    proxy = fault_server.open(script)
    proxy.start_fault()
    address = proxy.url.replace("http://", "http://user:canary-proxy-password@")
    mesh = mode.client(**KEYS, base_url="https://mesh.example", proxy=address)

    error = try_call(mesh.read, FIRST_USER).error

    assert type(error) is MeshConnectionError
    assert error.attempts == proxy.script_runs == attempts
    assert b"CONNECT mesh.example:443 " in proxy.received
    assert b"canary" not in proxy.received
    assert "canary" not in f"{error!r} {vars(error)} {mesh.client!r} {vars(mesh.client)}"


MALFORMED_PROXIES = [
    "ftp://127.0.0.1:1",
    "ftp://user:canary@127.0.0.1:1",
    "http://[::",
    "http://user:canary@127.0.0.1:no",
]


@pytest.mark.parametrize("proxy", MALFORMED_PROXIES)
def test_malformed_proxy_raises_configuration_error_without_quoting_it(
    mode: Mode, proxy: str
) -> None:
    with pytest.raises(MeshConfigurationError, match="proxy") as caught:
        mode.client(base_url="https://mesh.example", proxy=proxy)

    assert "canary" not in str(caught.value)


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "ALL_PROXY"])
@pytest.mark.parametrize("proxy", MALFORMED_PROXIES)
def test_malformed_proxy_of_the_environment_is_skipped_with_a_warning_that_does_not_quote_it(
    mode: Mode,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    variable: str,
    proxy: str,
) -> None:
    monkeypatch.setenv(variable, proxy)

    assert mode.client(base_url="https://mesh.example")

    [record] = caplog.records
    assert record.levelname == "WARNING"
    assert record.getMessage().startswith(f"{variable} is ignored")
    assert "canary" not in f"{record.getMessage()} {vars(record)}"


# --- .netrc -------------------------------------------------------------------------------------


def test_netrc_is_not_read(
    mode: Mode, fault_server: FaultServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / ".netrc"
    netrc.write_text("default login someone password canary-of-netrc\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HOME", str(tmp_path))
    endpoint = fault_server.open()

    mode.client(**KEYS, base_url=endpoint.url).read(FIRST_USER)

    assert b"authorization" not in endpoint.received.lower()
