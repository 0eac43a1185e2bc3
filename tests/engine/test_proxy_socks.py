"""SOCKS5: authentication, the addresses that are sent, and the messages of the protocol."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from mesh_facade import MeshConnectionError
from mesh_facade.engine import socks
from tests.engine.proxy_servers import socks_proxy
from tests.engine.proxy_support import Certificates

if TYPE_CHECKING:
    from collections.abc import Callable

    from mesh_facade import AccountBalance
    from tests.conftest import Mode, Serve

# --- calls ----------------------------------------------------------------------------------------


@pytest.fixture
def read_as(
    mode: Mode, serve: Serve, certificates: Certificates
) -> Callable[[str], AccountBalance]:
    """Return a function that makes a call through a proxy which demands `user` and `pass word`."""

    def read(user: str) -> AccountBalance:
        server = serve(tls=certificates.server)
        proxy = serve(socks_proxy(credentials=(b"user", b"pass word")))
        caller = mode.client(
            base_url=server.url,
            proxy=f"socks5://{user}127.0.0.1:{proxy.port}",
            verify=certificates.trust,
        )
        return caller.read()

    return read


def test_user_name_and_password_are_sent_without_url_quoting(
    read_as: Callable[[str], AccountBalance],
) -> None:
    assert read_as("user:pass%20word@").cash("USD")


@pytest.mark.parametrize(
    ("user", "problem"),
    [
        ("user:wrong@", "it does not accept the user name and password"),
        ("", "it asks for an authentication that was not given"),
    ],
)
def test_wrong_or_missing_password_is_an_error_that_is_not_retried(
    read_as: Callable[[str], AccountBalance], user: str, problem: str
) -> None:
    with pytest.raises(MeshConnectionError) as caught:
        read_as(user)

    assert str(caught.value) == f"the proxy refused to connect: {problem}"
    assert caught.value.attempts == 1


def test_proxy_that_accepts_no_user_name_says_so() -> None:
    negotiation = socks.negotiate("mesh.example", 443, (b"user", b"pass word"))
    next(negotiation)

    with pytest.raises(socks.SocksRefusal, match="does not accept authentication by user name"):
        socks.advance(negotiation, b"\x05\xff")


@pytest.mark.parametrize("kind", ["socks5", "socks5h"])
def test_socks_proxy_looks_up_the_name(
    mode: Mode, serve: Serve, certificates: Certificates, kind: str
) -> None:
    server = serve(tls=certificates.server)
    proxy = serve(socks_proxy())
    caller = mode.client(
        base_url=f"https://mesh.example:{server.port}",
        proxy=f"{kind}://127.0.0.1:{proxy.port}",
        verify=certificates.trust,
    )

    assert caller.read()

    assert proxy.requests == [b"mesh.example"]


def test_socks_proxy_may_report_its_own_address_as_a_name(
    mode: Mode, serve: Serve, certificates: Certificates
) -> None:
    server = serve(tls=certificates.server)
    proxy = serve(socks_proxy(bound_address=b"\x03\x04here"))
    caller = mode.client(
        base_url=server.url,
        proxy=f"socks5://127.0.0.1:{proxy.port}",
        verify=certificates.trust,
    )

    assert caller.read()


# --- the protocol ---------------------------------------------------------------------------------


def run_negotiation(host: str, *replies: bytes) -> list[bytes]:
    """Negotiate with a proxy that gives these replies; return what was sent before each."""
    negotiation = socks.negotiate(host, 443, None)
    sent: list[bytes] = []
    step: socks.Step | None = next(negotiation)
    for reply in replies:
        assert step is not None
        assert step.reply_size == len(reply)
        sent.append(step.request)
        step = socks.advance(negotiation, reply)
    assert step is None
    return sent


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("127.0.0.1", b"\x01\x7f\x00\x00\x01"),
        ("::1", b"\x04" + bytes(15) + b"\x01"),
        ("mesh.example", b"\x03\x0cmesh.example"),
    ],
)
@pytest.mark.parametrize(
    "replies_with_bound_address",
    [
        [b"\x05\x00\x00\x01", bytes(6)],
        [b"\x05\x00\x00\x04", bytes(18)],
        [b"\x05\x00\x00\x03", b"\x05", bytes(7)],
    ],
)
def test_socks_messages_are_those_of_the_standard(
    host: str, address: bytes, replies_with_bound_address: list[bytes]
) -> None:
    sent = run_negotiation(host, b"\x05\x00", *replies_with_bound_address)

    assert sent[:2] == [b"\x05\x01\x00", b"\x05\x01\x00" + address + b"\x01\xbb"]
    assert b"".join(sent[2:]) == b""


@pytest.mark.parametrize(
    "replies", [[b"HT"], [b"\x05\x00", b"HTTP"], [b"\x05\x00", b"\x05\x00\x00\x09"]]
)
def test_reply_that_is_not_socks_5_is_refused(replies: list[bytes]) -> None:
    with pytest.raises(socks.SocksRefusal, match="its reply is not SOCKS5"):
        run_negotiation("mesh.example", *replies)


def test_name_of_a_socks_proxy_is_looked_up_as_the_url_spells_it(
    mode: Mode, monkeypatch: pytest.MonkeyPatch
) -> None:
    names: list[str] = []

    def look_up(host: str, *_: object, **__: object) -> list[object]:
        names.append(host)
        raise OSError

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    caller = mode.client(
        base_url="https://mesh.example", proxy="socks5://xn--strae-oqa.example:1080", max_attempts=1
    )

    with pytest.raises(MeshConnectionError):
        caller.read()

    assert names == ["xn--strae-oqa.example"]  # Python alone would look up strasse.example
