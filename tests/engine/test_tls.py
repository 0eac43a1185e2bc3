"""TLS: which servers are trusted, and that nothing is sent to the others."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import pytest
import trustme

from mesh_facade import MeshConnectionError, MeshTimeoutError, MeshTLSError
from tests.engine.support import HEAD_OF_LONG_ANSWER
from tests.stopwatch import Stopwatch
from tests.support import CLIENT_SECRET, OK, Peer, cash_body, message

if TYPE_CHECKING:
    from tests.conftest import Clock, Mode, Serve

T = TypeVar("T")


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def build_server_context(authority: trustme.CA, *names: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names).configure_cert(context)
    return context


@pytest.fixture
def trusting_context(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


def test_verify_accepts_an_ssl_context(
    mode: Mode, serve: Serve, authority: trustme.CA, trusting_context: ssl.SSLContext
) -> None:
    server = serve(tls=build_server_context(authority, "127.0.0.1"))
    caller = mode.client(base_url=server.url, verify=trusting_context)

    assert caller.read() == caller.read()
    assert server.connections == 1


def test_ssl_cert_file_names_trusted_authorities(
    mode: Mode,
    serve: Serve,
    authority: trustme.CA,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = serve(tls=build_server_context(authority, "127.0.0.1"))
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))

    with pytest.raises(MeshTLSError):
        mode.client(base_url=server.url).read()
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    assert mode.client(base_url=server.url).read()


def test_verify_false_accepts_any_certificate(
    mode: Mode, serve: Serve, authority: trustme.CA
) -> None:
    server = serve(tls=build_server_context(authority, "127.0.0.1"))

    assert mode.client(base_url=server.url, verify=False).read()


@pytest.mark.parametrize("case", ["unknown authority", "another host"])
def test_refused_certificate_is_never_retried_and_nothing_is_sent(
    mode: Mode, serve: Serve, authority: trustme.CA, trusting_context: ssl.SSLContext, case: str
) -> None:
    name = "127.0.0.1"
    verify: bool | ssl.SSLContext = True
    if case == "another host":
        name = "mesh.example"
        verify = trusting_context
    server = serve(tls=build_server_context(authority, name))
    caller = mode.client(base_url=server.url, verify=verify)

    with pytest.raises(MeshTLSError) as caught:
        caller.read()

    assert caught.value.attempts == 1
    assert (server.connections, server.requests) == (1, [])


def test_server_without_tls_raises_tls_error(mode: Mode, serve: Serve) -> None:
    def answer(peer: Peer) -> None:
        peer.answer(b"", status=400)
        peer.hold()

    server = serve(answer)
    caller = mode.client(base_url=f"https://127.0.0.1:{server.port}")

    with pytest.raises(MeshTLSError) as caught:
        caller.read()

    assert caught.value.attempts == 1
    assert CLIENT_SECRET.encode() not in b"".join(server.requests)


def test_connection_closed_during_the_handshake_is_retried(
    mode: Mode, serve: Serve, clock: Clock
) -> None:
    server = serve(Peer.close)
    caller = mode.client(base_url=f"https://127.0.0.1:{server.port}", max_attempts=2)

    with pytest.raises(MeshConnectionError) as caught:
        caller.read()

    assert type(caught.value) is MeshConnectionError
    assert server.connections == 2
    assert len(clock.pauses) == 1


def test_dripping_answer_under_tls_ends_at_the_deadline(
    mode: Mode, serve: Serve, authority: trustme.CA, trusting_context: ssl.SSLContext
) -> None:
    def answer(peer: Peer) -> None:
        peer.receive()
        peer.drip(HEAD_OF_LONG_ANSWER * 99)

    server = serve(answer, tls=build_server_context(authority, "127.0.0.1"))
    caller = mode.client(base_url=server.url, verify=trusting_context, deadline=0.25)

    with Stopwatch() as watch, pytest.raises(MeshTimeoutError):
        caller.read()

    assert watch.seconds < 0.65


class TlsByHand:
    """A server's end of TLS on a peer's socket, which may send a record in parts."""

    def __init__(self, peer: Peer, context: ssl.SSLContext) -> None:
        self._socket = peer._socket
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._run(self._tls.do_handshake)

    def receive(self) -> bytes:
        return self._run(lambda: self._tls.read(65536))

    def encrypt(self, data: bytes) -> bytes:
        self._tls.write(data)
        return self._outgoing.read()

    def send_raw(self, data: bytes) -> None:
        self._socket.sendall(data)

    def _run(self, step: Callable[[], T]) -> T:
        while True:
            try:
                result = step()
            except ssl.SSLWantReadError:
                self.send_raw(self._outgoing.read())
                data = self._socket.recv(65536)
                if not data:
                    raise EOFError from None
                self._incoming.write(data)
            else:
                self.send_raw(self._outgoing.read())
                return result


def test_connection_on_which_half_a_record_came_after_the_answer_is_not_used_again(
    mode: Mode, serve: Serve, authority: trustme.CA, trusting_context: ssl.SSLContext
) -> None:
    """The record could hold an answer, which the next call would take for its own."""
    context = build_server_context(authority, "127.0.0.1")

    def send_a_stray_answer_in_two_parts(peer: Peer) -> None:
        tls = TlsByHand(peer, context)
        tls.receive()
        answer = tls.encrypt(message(OK))
        stray_answer = tls.encrypt(message(cash_body("666")))
        tls.send_raw(answer + stray_answer[:20])
        tls.receive()
        tls.send_raw(stray_answer[20:])

    server = serve(send_a_stray_answer_in_two_parts)
    url = server.url.replace("http:", "https:")
    caller = mode.client(base_url=url, verify=trusting_context)

    assert caller.read() == caller.read()
    assert server.connections == 2
