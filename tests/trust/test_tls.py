"""TLS: a server that is not trusted receives not one byte of a request."""

from __future__ import annotations

import contextlib
import datetime as dt
import socket
import ssl
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trustme

from mesh_facade import MeshConfigurationError, MeshTLSError
from tests.faults.observation import FIRST_USER, OWN_AMOUNT, try_call
from tests.faults.server import FaultServer

if TYPE_CHECKING:
    from tests.conftest import Mode


def _context(certificate: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


def _expired(authority: trustme.CA) -> ssl.SSLContext:
    then = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
    return _context(authority.issue_cert("127.0.0.1", not_after=then))


def _other_host(authority: trustme.CA) -> ssl.SSLContext:
    return _context(authority.issue_cert("mesh.example"))


def _unknown_authority(_: trustme.CA) -> ssl.SSLContext:
    return _context(trustme.CA().issue_cert("127.0.0.1"))


def _self_signed(_: trustme.CA) -> ssl.SSLContext:
    alone = trustme.CA()
    with contextlib.ExitStack() as stack:
        paths = [
            stack.enter_context(blob.tempfile()) for blob in (alone.cert_pem, alone.private_key_pem)
        ]
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*paths)
    return context


REFUSED = (_expired, _other_host, _unknown_authority, _self_signed)


@pytest.mark.parametrize("make_context", REFUSED)
def test_untrusted_server_costs_one_attempt_and_receives_nothing(
    mode: Mode,
    fault_server: FaultServer,
    make_context: Callable[[trustme.CA], ssl.SSLContext],
) -> None:
    endpoint = fault_server.open(tls=make_context(fault_server.authority))
    mesh = mode.client(base_url=endpoint.url, verify=fault_server.client_context)

    error = try_call(mesh.read, FIRST_USER).error

    assert type(error) is MeshTLSError
    assert (error.attempts, endpoint.connections) == (1, 1)
    assert endpoint.received == b""


@contextlib.contextmanager
def _refusing(context: ssl.SSLContext) -> Iterator[tuple[str, list[bytes]]]:
    """Run a server that sends a TLS alert when it refuses; asyncio's would just close."""
    received: list[bytes] = []

    def serve(listener: socket.socket) -> None:
        with contextlib.suppress(OSError):  # the listener is shut down
            while True:
                raw, _ = listener.accept()
                received.append(b"")
                with raw, contextlib.suppress(OSError):
                    try:
                        with context.wrap_socket(raw.dup(), server_side=True) as connection:
                            received[-1] += connection.recv(65536)
                    finally:
                        raw.shutdown(socket.SHUT_WR)
                        while raw.recv(65536):
                            pass

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=[listener])
        thread.start()
        yield f"https://127.0.0.1:{listener.getsockname()[1]}", received
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def _only(context: ssl.SSLContext, version: ssl.TLSVersion) -> ssl.SSLContext:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # old protocols are needed here
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = version
    context.set_ciphers("ALL:@SECLEVEL=0")
    return context


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
def test_old_protocol_is_refused_after_one_attempt_and_receives_nothing(
    mode: Mode, fault_server: FaultServer, version: ssl.TLSVersion
) -> None:
    context = _only(_context(fault_server.authority.issue_cert("127.0.0.1")), version)
    with _refusing(context) as (url, received):
        error = try_call(
            mode.client(base_url=url, verify=fault_server.client_context).read, FIRST_USER
        ).error

    assert type(error) is MeshTLSError
    assert (error.attempts, received) == (1, [b""])


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_server_that_refuses_the_client_certificate_is_not_retried(
    mode: Mode, fault_server: FaultServer, version: ssl.TLSVersion
) -> None:
    context = _only(_context(fault_server.authority.issue_cert("127.0.0.1")), version)
    context.verify_mode = ssl.CERT_REQUIRED
    with _refusing(context) as (url, received):
        error = try_call(
            mode.client(base_url=url, verify=fault_server.client_context).read, FIRST_USER
        ).error

    assert type(error) is MeshTLSError
    assert (error.attempts, received) == (1, [b""])


def test_default_authorities_do_not_trust_the_test_server(
    mode: Mode, fault_server: FaultServer
) -> None:
    endpoint = fault_server.open(tls=True)

    error = try_call(mode.client(base_url=endpoint.url).read, FIRST_USER).error

    assert type(error) is MeshTLSError
    assert endpoint.received == b""


def test_ssl_context_can_hold_a_client_certificate(mode: Mode, fault_server: FaultServer) -> None:
    server_context = _context(fault_server.authority.issue_cert("127.0.0.1"))
    server_context.verify_mode = ssl.CERT_REQUIRED
    fault_server.authority.configure_trust(server_context)
    endpoint = fault_server.open(tls=server_context)
    context = ssl.create_default_context()
    fault_server.authority.configure_trust(context)
    fault_server.authority.issue_cert("client@mesh.example").configure_cert(context)

    balance = mode.client(base_url=endpoint.url, verify=context).read(FIRST_USER)

    assert balance.cash("USD") == OWN_AMOUNT[FIRST_USER]


def test_verify_false_turns_verification_off(mode: Mode, fault_server: FaultServer) -> None:
    endpoint = fault_server.open(tls=True)

    balance = mode.client(base_url=endpoint.url, verify=False).read(FIRST_USER)

    assert balance.cash("USD") == OWN_AMOUNT[FIRST_USER]


@pytest.mark.parametrize("verify", ["/etc/ssl/cert.pem", 0, 1, "", object()])
def test_other_values_of_verify_raise_configuration_error(mode: Mode, verify: Any) -> None:
    with pytest.raises(MeshConfigurationError, match="verify"):
        mode.client(verify=verify)


@pytest.mark.parametrize(
    "host",
    ["mesh.example", "10.0.0.1", "0.0.0.0", "[::]", "127.0.0.1.example", "localhost.example"],  # noqa: S104 — an address to refuse
)
def test_plain_http_beyond_loopback_raises_configuration_error(mode: Mode, host: str) -> None:
    with pytest.raises(MeshConfigurationError, match="https"):
        mode.client(base_url=f"http://{host}")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "[::1]", "localhost"])
def test_plain_http_to_loopback_is_allowed(mode: Mode, host: str) -> None:
    assert mode.client(base_url=f"http://{host}:1")


def test_connection_offers_only_http_1_1(mode: Mode, fault_server: FaultServer) -> None:
    context = _context(fault_server.authority.issue_cert("127.0.0.1"))
    context.set_alpn_protocols(["h2", "http/1.1"])
    endpoint = fault_server.open(tls=context)

    mode.client(base_url=endpoint.url, verify=fault_server.client_context).read(FIRST_USER)

    assert endpoint.received.split(b"\r\n")[0].endswith(b"HTTP/1.1")


# --- certificates named by the environment ------------------------------------------------------

SCRIPT = """
import sys
from mesh_facade import MeshClient, MeshError
try:
    with MeshClient("client-id", "client-secret", base_url=sys.argv[1]) as mesh:
        print(mesh.get_account_balance(sys.argv[2], "coinbase").cash("USD"))
except MeshError as error:
    print(type(error).__name__)
"""


def _run(url: str, **environment: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", SCRIPT, url, FIRST_USER],
        env={**environment, "PATH": "", "PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        check=True,
        text=True,
    ).stdout.strip()


def test_ssl_cert_file_and_ssl_cert_dir_name_the_authorities(
    fault_server: FaultServer, tmp_path: Path
) -> None:
    endpoint = fault_server.open(tls=True)
    authority = tmp_path / "authority.pem"
    fault_server.authority.cert_pem.write_to_path(str(authority))
    stranger = tmp_path / "stranger.pem"
    trustme.CA().cert_pem.write_to_path(str(stranger))

    assert _run(endpoint.url, SSL_CERT_FILE=str(authority)) == str(OWN_AMOUNT[FIRST_USER])
    assert _run(endpoint.url, SSL_CERT_FILE=str(stranger)) == "MeshTLSError"
    assert _run(endpoint.url, SSL_CERT_DIR=str(tmp_path / "none")) == "MeshTLSError"
    assert _run(endpoint.url) == "MeshTLSError"


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_unreadable_certificate_file_raises_configuration_error(
    mode: Mode, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: str | None
) -> None:
    file = tmp_path / "authority.pem"
    if content is not None:
        file.write_text(content)
    monkeypatch.setenv("SSL_CERT_FILE", str(file))

    with pytest.raises(MeshConfigurationError, match="SSL_CERT_FILE"):
        mode.client()
