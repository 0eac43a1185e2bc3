"""Proxies: which one is used, and that all promises hold through each kind."""

from __future__ import annotations

import logging
import shutil
import socket
import ssl
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import httpx
import pytest
import trustme

from mesh_facade import (
    MeshConfigurationError,
    MeshConnectionError,
    MeshTimeoutError,
    MeshTLSError,
)
from mesh_facade.engine import socks
from mesh_facade.engine.proxies import find_proxy
from tests.conftest import Caller, Mode, Serve
from tests.engine.proxy_servers import (
    Handler,
    forwarder,
    http_proxy,
    send_dripping,
    send_whole,
    socks_proxy,
)
from tests.stopwatch import Stopwatch
from tests.support import (
    KEYS,
    OK,
    TOKEN,
    Peer,
    Server,
    cash_body,
    message,
    port_for_a_program,
    refusing_port,
)

# --- which way a call goes ------------------------------------------------------------------------

# What curl 7.88.1 did with each of these, recorded once: the server's name, the variables, and
# where the connection went. `{one}`, `{two}` and `{three}` are three proxies' host and port.
M = "mesh.example"
ONE = {"HTTPS_PROXY": "http://{one}"}
AS_CURL: list[tuple[str, dict[str, str], str]] = [
    (M, {}, "direct"),
    (M, {"HTTPS_PROXY": "http://{one}"}, "one"),
    (M, {"https_proxy": "http://{one}"}, "one"),
    (M, {"HTTPS_PROXY": "http://{one}", "https_proxy": "http://{two}"}, "two"),
    (M, {"HTTPS_PROXY": "http://{one}", "https_proxy": ""}, "one"),
    (M, {"HTTPS_PROXY": "", "ALL_PROXY": "http://{two}"}, "two"),
    (M, {"ALL_PROXY": "http://{two}"}, "two"),
    (M, {"all_proxy": "http://{two}"}, "two"),
    (M, {"ALL_PROXY": "http://{two}", "all_proxy": "http://{three}"}, "three"),
    (M, {"HTTPS_PROXY": "http://{one}", "ALL_PROXY": "http://{two}"}, "one"),
    (M, {"HTTPS_PROXY": "http://{one}", "all_proxy": "http://{two}"}, "one"),
    (M, {"HTTP_PROXY": "http://{one}"}, "direct"),
    (M, {"http_proxy": "http://{one}"}, "direct"),
    (M, {"HTTPS_PROXY": "{one}"}, "one"),
    (M, {"HTTPS_PROXY": "http://{one}/"}, "one"),
    (M, {"HTTPS_PROXY": "HTTP://{one}"}, "one"),
    (M, {"HTTPS_PROXY": "http://user:pass@{one}"}, "one"),
    (M, {"HTTPS_PROXY": "user:pass@{one}"}, "one"),
    (M, {"HTTPS_PROXY": "https://{one}"}, "one"),
    (M, {"HTTPS_PROXY": "socks5://{one}"}, "one"),
    (M, {"HTTPS_PROXY": "socks5h://{one}"}, "one"),
    (M, {"HTTPS_PROXY": "http://{one}/path"}, "one"),
    (M, {**ONE, "NO_PROXY": "mesh.example"}, "direct"),
    (M, {**ONE, "NO_PROXY": "MESH.Example"}, "direct"),
    (M, {**ONE, "NO_PROXY": ".mesh.example"}, "direct"),
    ("api.mesh.example", {**ONE, "NO_PROXY": ".mesh.example"}, "direct"),
    ("api.mesh.example", {**ONE, "NO_PROXY": "mesh.example"}, "direct"),
    ("notmesh.example", {**ONE, "NO_PROXY": "mesh.example"}, "one"),
    (M, {**ONE, "NO_PROXY": "example"}, "direct"),
    (M, {**ONE, "NO_PROXY": "*.mesh.example"}, "one"),
    (M, {**ONE, "NO_PROXY": "*"}, "direct"),
    (M, {**ONE, "NO_PROXY": "other, mesh.example"}, "direct"),
    (M, {**ONE, "NO_PROXY": "other mesh.example"}, "direct"),
    (M, {**ONE, "NO_PROXY": "  mesh.example  "}, "direct"),
    (M, {**ONE, "NO_PROXY": "mesh.example."}, "direct"),
    (M, {**ONE, "NO_PROXY": "mesh.example:1"}, "one"),
    (M, {**ONE, "NO_PROXY": "."}, "one"),
    (M, {**ONE, "NO_PROXY": ""}, "one"),
    ("127.0.0.1", {**ONE, "NO_PROXY": "127.0.0.1"}, "direct"),
    ("127.0.0.1", {**ONE, "NO_PROXY": "127.0.0.0/8"}, "direct"),
    ("127.0.0.5", {**ONE, "NO_PROXY": "127.0.0.0/30"}, "one"),
    ("127.0.0.1", {**ONE, "NO_PROXY": "127.0.0.1/8"}, "direct"),
    ("127.0.0.1", {**ONE, "NO_PROXY": "10.0.0.0/8"}, "one"),
    ("[::1]", {**ONE, "NO_PROXY": "::1"}, "direct"),
    ("[::1]", {**ONE, "NO_PROXY": "fd00::/8"}, "one"),
    ("127.0.0.1", {**ONE, "NO_PROXY": "localhost"}, "one"),
    ("127.0.0.1", {**ONE, "NO_PROXY": "127.0.0.0/99"}, "one"),
    ("127.0.0.1", {**ONE, "NO_PROXY": "0.0.1"}, "one"),
    ("127.0.0.1", {**ONE, "NO_PROXY": "127.0.0"}, "one"),
    (M, {**ONE, "NO_PROXY": "127.0.0.0/8,mesh.example"}, "direct"),
    (M, {**ONE, "no_proxy": M}, "direct"),
    (M, {**ONE, "no_proxy": "other", "NO_PROXY": M}, "one"),
    (M, {**ONE, "no_proxy": "", "NO_PROXY": M}, "direct"),
    (M, {"ALL_PROXY": "http://{two}", "NO_PROXY": M}, "direct"),
]

# Here curl 7.88.1 refuses the variable, or passes over the entry of NO_PROXY. Other tools read them
# (httpx the first four, Go's and Python's own libraries the rest), and so does this client.
MORE_THAN_CURL: list[tuple[str, dict[str, str], str]] = [
    (M, {"HTTPS_PROXY": " {one}"}, "one"),
    (M, {"HTTPS_PROXY": "http://{one} "}, "one"),
    (M, {**ONE, "NO_PROXY": "other,*"}, "direct"),
    (M, {**ONE, "NO_PROXY": "https://mesh.example"}, "direct"),
    (M, {**ONE, "NO_PROXY": "http://mesh.example"}, "one"),
    ("api.mesh.example", {**ONE, "NO_PROXY": "*.mesh.example"}, "direct"),
    (M, {**ONE, "NO_PROXY": "mesh.example:{port}"}, "direct"),
    ("127.0.0.1", {**ONE, "NO_PROXY": "127.0.0.1:{port}"}, "direct"),
    ("[::1]", {**ONE, "NO_PROXY": "[::1]"}, "direct"),
    ("[::1]", {**ONE, "NO_PROXY": "[::1]:{port}"}, "direct"),
    ("[::1]", {**ONE, "NO_PROXY": "[::1]:1"}, "one"),
    ("[::1]", {**ONE, "NO_PROXY": "::/64"}, "direct"),
    ("[::1]", {**ONE, "NO_PROXY": "[::]/64"}, "direct"),
    ("[::1]", {**ONE, "NO_PROXY": "0:0::1"}, "direct"),
    (M, {"https_proxy": "ftp://{one}", "HTTPS_PROXY": "http://{two}"}, "two"),
    (M, {"HTTPS_PROXY": "http://{one}:1", "ALL_PROXY": "{three}"}, "three"),
]


class Crossroads:
    """Ports of proxies and of a server, which record where a connection came in, and close it."""

    def __init__(self, serve: Serve) -> None:
        self._servers = {name: serve(lambda _: None) for name in ("one", "two", "three", "direct")}
        self.port = self._servers["direct"].port
        self.ports = {name: f"127.0.0.1:{server.port}" for name, server in self._servers.items()}

    def ways_taken(self) -> list[str]:
        return [name for name, server in self._servers.items() if server.connections]


@pytest.fixture
def crossroads(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> Crossroads:
    crossroads = Crossroads(serve)
    look_up = socket.getaddrinfo

    def look_up_here(host: Any, *arguments: Any, **options: Any) -> Any:
        """Take every name for this machine, and IPv6's loopback for IPv4's."""
        del host
        return look_up("127.0.0.1", *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", look_up_here)
    return crossroads


@pytest.mark.parametrize("case", AS_CURL + MORE_THAN_CURL, ids=str)
def test_call_goes_the_way_that_the_variables_say(
    mode: Mode,
    crossroads: Crossroads,
    monkeypatch: pytest.MonkeyPatch,
    case: tuple[str, dict[str, str], str],
) -> None:
    host, variables, way = case
    for name, value in variables.items():
        monkeypatch.setenv(name, value.format(**crossroads.ports, port=crossroads.port))
    caller = mode.client(base_url=f"https://{host}:{crossroads.port}", max_attempts=1)

    with pytest.raises(MeshConnectionError):
        caller.read()

    assert crossroads.ways_taken() == [way]


def test_table_has_the_39_combinations_that_were_promised() -> None:
    assert len(AS_CURL) >= 39


def test_default_port_counts_in_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    url = httpx.URL("https://mesh.example")

    monkeypatch.setenv("NO_PROXY", "mesh.example:8443")
    assert find_proxy(url, None) is not None
    monkeypatch.setenv("NO_PROXY", "mesh.example:443")
    assert find_proxy(url, None) is None


@pytest.mark.parametrize(
    "entry",
    [
        "10.0.0.0/99",
        "mesh.example:port",
        "mesh.example:99999",
        "a:b:c",
        "[::1",
        "[::1]]",
        "[mesh.example]",
        "fd00::/x",
    ],
)
def test_unreadable_entry_of_no_proxy_is_skipped_with_one_warning(
    mode: Mode, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, entry: str
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    monkeypatch.setenv("NO_PROXY", f"other.example, {entry} third.example")

    mode.client(base_url="https://mesh.example")

    [record] = caplog.records
    assert record.levelno == logging.WARNING
    assert record.name == "mesh_facade"
    assert record.getMessage() == "entry 2 of NO_PROXY is ignored: it cannot be read"


FORMS = "http://host:port, https://host:port, socks5://host:port or socks5h://host:port"
MUST_LOOK_LIKE = f"must look like {FORMS}"
MUST_HAVE_A_HOST = f"{MUST_LOOK_LIKE}: its host is missing or malformed"
MUST_HAVE_A_PORT = "must have a port from 1 to 65535"
MUST_FIT_SOCKS = (
    "must have a user name and a password of at most 255 bytes each, because SOCKS5 has no room "
    "for more"
)


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("socks4://127.0.0.1:1", MUST_LOOK_LIKE),
        ("http://", MUST_HAVE_A_HOST),
        ("http://127.0.0.1:99999", MUST_HAVE_A_PORT),
        ("http://127.0.0.1:0", MUST_HAVE_A_PORT),
        ("http://pro xy:3128", MUST_HAVE_A_HOST),
        ("http://proxy..corp:3128", MUST_HAVE_A_HOST),
        (f"http://{'p' * 64}.corp:3128", MUST_HAVE_A_HOST),
        (f"socks5://{'proxy.' * 42}corp:1080", MUST_HAVE_A_HOST),
        ("::1:3128", MUST_LOOK_LIKE),
        ("socks5://user:" + "p" * 256 + "@127.0.0.1:1", MUST_FIT_SOCKS),
        ("socks5h://" + "u" * 256 + ":pass@127.0.0.1:1", MUST_FIT_SOCKS),
    ],
)
def test_unusable_variable_is_skipped_and_an_unusable_option_refused(
    mode: Mode,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    value: str,
    problem: str,
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", value)

    mode.client(base_url="https://mesh.example")

    [record] = caplog.records
    assert record.getMessage() == f"HTTPS_PROXY is ignored: it {problem}"
    with pytest.raises(MeshConfigurationError) as caught:
        mode.client(base_url="https://mesh.example", proxy=value)
    assert str(caught.value) == f"proxy {problem}"


def test_proxy_object_whose_scheme_was_changed_is_refused() -> None:
    proxy = httpx.Proxy("http://proxy.example:3128")
    proxy.url = httpx.URL("ftp://proxy.example:3128")

    with pytest.raises(MeshConfigurationError, match=f"^proxy {MUST_LOOK_LIKE}$"):
        find_proxy(httpx.URL("https://mesh.example"), proxy)


def test_container_s_name_with_an_underscore_is_a_proxy() -> None:
    found = find_proxy(httpx.URL("https://mesh.example"), "my_proxy:3128")

    assert found is not None
    assert (found.url.host, found.url.port) == ("my_proxy", 3128)


SystemSettings = Callable[..., None]
"""Set the system's proxy, and whether its list of exceptions has the server."""


@pytest.fixture(params=["macosx_sysconf", "registry"])
def set_system_proxy(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> SystemSettings:
    """Act as one of the two systems that have settings: macOS or Windows."""

    def set_up(value: str, *, is_bypassed: bool = False) -> None:
        for system in ("macosx_sysconf", "registry"):
            monkeypatch.delattr(urllib.request, f"getproxies_{system}", raising=False)
            monkeypatch.delattr(urllib.request, f"proxy_bypass_{system}", raising=False)
        monkeypatch.setattr(
            urllib.request, f"getproxies_{request.param}", lambda: {"https": value}, raising=False
        )
        monkeypatch.setattr(
            urllib.request, f"proxy_bypass_{request.param}", lambda _: is_bypassed, raising=False
        )

    return set_up


@pytest.mark.parametrize(
    ("value", "is_bypassed", "host"),
    [
        ("http://proxy.example:3128", False, "proxy.example"),
        ("http://proxy.example:3128", True, None),
        ("ftp://proxy.example", False, None),
        ("", False, None),
    ],
)
def test_settings_of_the_system_count_where_no_variable_is_set(
    set_system_proxy: SystemSettings, value: str, *, is_bypassed: bool, host: str | None
) -> None:
    set_system_proxy(value, is_bypassed=is_bypassed)

    found = find_proxy(httpx.URL("https://mesh.example"), None)

    if host is None:
        assert found is None
    else:
        assert found is not None
        assert found.url.host == host


@pytest.mark.parametrize(
    ("value", "warnings"),
    [("http://proxy.example:3128", []), ("ftp://proxy.example", ["the system's proxy is ignored"])],
)
def test_unusable_setting_of_the_system_is_skipped_with_a_warning(
    set_system_proxy: SystemSettings,
    caplog: pytest.LogCaptureFixture,
    value: str,
    warnings: list[str],
) -> None:
    set_system_proxy(value)

    find_proxy(httpx.URL("https://mesh.example"), None)

    assert [each.getMessage().partition(":")[0] for each in caplog.records] == warnings


@pytest.mark.parametrize("variable", ["NO_PROXY", "http_proxy", "ftp_proxy"])
def test_variable_that_names_no_proxy_for_https_does_not_hide_the_system_s(
    set_system_proxy: SystemSettings, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    set_system_proxy("http://proxy.example:3128")
    monkeypatch.setenv(variable, "other.example")

    found = find_proxy(httpx.URL("https://mesh.example"), None)

    assert found is not None
    assert found.url.host == "proxy.example"


def test_no_proxy_counts_for_the_system_s_proxy_too(
    set_system_proxy: SystemSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_system_proxy("http://proxy.example:3128")
    monkeypatch.setenv("NO_PROXY", "mesh.example")

    assert find_proxy(httpx.URL("https://mesh.example"), None) is None


def test_system_without_exceptions_has_its_proxy_used_for_every_server(
    monkeypatch: pytest.MonkeyPatch, set_system_proxy: SystemSettings
) -> None:
    set_system_proxy("http://proxy.example:3128")
    for name in ("proxy_bypass_macosx_sysconf", "proxy_bypass_registry"):
        monkeypatch.delattr(urllib.request, name, raising=False)

    assert find_proxy(httpx.URL("https://mesh.example"), None) is not None


@pytest.mark.skipif(sys.platform in {"darwin", "win32"}, reason="this system has settings")
def test_variable_in_mixed_case_is_no_setting_of_the_system(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("Https_Proxy", "http://proxy.example:3128")

    assert find_proxy(httpx.URL("https://mesh.example"), None) is None


# --- what all kinds promise -----------------------------------------------------------------------

KINDS = ["http", "https", "socks5", "socks5h"]


@attrs.frozen
class Certificates:
    """An authority, a server's certificate of it, and a context that trusts it."""

    server: ssl.SSLContext
    trust: ssl.SSLContext


def make_certificates() -> Certificates:
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1", "localhost", "mesh.example").configure_cert(server)
    trust = ssl.create_default_context()
    authority.configure_trust(trust)
    return Certificates(server, trust)


@pytest.fixture(scope="module")
def certificates() -> Certificates:
    return make_certificates()


@attrs.frozen
class Way:
    """A server, a proxy in front of it, and a client that goes through it."""

    caller: Caller
    proxy: Server
    server: Server


Build = Callable[..., Way]


@pytest.fixture
def build(mode: Mode, serve: Serve, certificates: Certificates) -> Build:
    """Set up a way through a proxy of a kind."""

    def build_way(
        kind: str,
        handle: Callable[[Peer], object] = Peer.answer_all,
        *,
        reply: Any = send_whole,
        tunnel: Any = send_whole,
        handler: Handler | None = None,
        **options: Any,
    ) -> Way:
        server = serve(handle, tls=certificates.server)
        make_handler: Any = socks_proxy if kind.startswith("socks") else http_proxy
        tls = certificates.server if kind == "https" else None
        proxy = serve(handler or make_handler(reply, tunnel), tls=tls)
        caller = mode.client(
            base_url=server.url,
            proxy=f"{kind}://127.0.0.1:{proxy.port}",
            verify=certificates.trust,
            **options,
        )
        return Way(caller, proxy, server)

    return build_way


@pytest.mark.parametrize("kind", KINDS)
def test_calls_through_a_proxy_succeed(build: Build, kind: str) -> None:
    way = build(kind)

    for _ in range(3):
        assert way.caller.read().cash("USD")

    assert len(way.server.requests) == 3
    # TLS within TLS hides what lies behind an answer, so such a connection serves one call.
    assert way.proxy.connections == way.server.connections == (3 if kind == "https" else 1)


@pytest.mark.parametrize("kind", KINDS)
def test_proxy_hears_no_secret(build: Build, kind: str) -> None:
    way = build(kind)

    way.caller.read()

    assert way.proxy.requests
    for heard in way.proxy.requests:
        assert TOKEN.encode() not in heard
        assert KEYS["client_secret"].encode() not in heard


@pytest.mark.parametrize("kind", ["http", "https"])
def test_large_request_and_large_answer_pass_whole(build: Build, kind: str) -> None:
    digits = "1" * 100_000

    def answer_large(peer: Peer) -> None:
        peer.receive()
        peer.answer(cash_body("1.5") + b" " * 900_000)

    way = build(kind, answer_large)

    assert str(way.caller.read(auth_token=digits).cash("USD")) == "1.5"
    assert digits.encode() in way.server.requests[0]


@pytest.mark.parametrize("kind", KINDS)
def test_server_s_certificate_is_verified_through_a_proxy(
    mode: Mode, serve: Serve, build: Build, certificates: Certificates, kind: str
) -> None:
    stranger = serve(tls=make_certificates().server)
    way = build(kind)
    caller = mode.client(
        base_url=stranger.url,
        proxy=f"{kind}://127.0.0.1:{way.proxy.port}",
        verify=certificates.trust,
    )

    with pytest.raises(MeshTLSError) as caught:
        caller.read()

    assert caught.value.attempts == 1
    assert stranger.requests == []


def test_proxy_s_certificate_is_verified_before_anything_is_said(
    mode: Mode, serve: Serve, certificates: Certificates
) -> None:
    server = serve(tls=certificates.server)
    proxy = serve(http_proxy(), tls=make_certificates().server)
    caller = mode.client(
        base_url=server.url,
        proxy=f"https://user:password@127.0.0.1:{proxy.port}",
        verify=certificates.trust,
    )

    with pytest.raises(MeshTLSError):
        caller.read()

    assert proxy.requests == []


def test_proxy_may_have_an_ssl_context_of_its_own(
    mode: Mode, serve: Serve, certificates: Certificates
) -> None:
    others = make_certificates()
    server = serve(tls=certificates.server)
    proxy = serve(http_proxy(), tls=others.server)
    caller = mode.client(
        base_url=server.url,
        proxy=httpx.Proxy(f"https://127.0.0.1:{proxy.port}", ssl_context=others.trust),
        verify=certificates.trust,
    )

    assert caller.read()


def test_proxy_with_tls_is_verified_for_a_server_on_loopback_too(mode: Mode, serve: Serve) -> None:
    proxy = serve(tls=make_certificates().server)
    caller = mode.client(base_url="http://127.0.0.1:1", proxy=f"https://127.0.0.1:{proxy.port}")

    with pytest.raises(MeshTLSError):
        caller.read()

    assert proxy.requests == []


def test_plain_http_on_loopback_goes_through_socks(mode: Mode, serve: Serve) -> None:
    server = serve()
    proxy = serve(socks_proxy())
    caller = mode.client(base_url=server.url, proxy=f"socks5://127.0.0.1:{proxy.port}")

    for _ in range(2):
        assert caller.read()

    assert server.connections == proxy.connections == 1


def end_early(peer: Peer) -> None:
    peer.receive()
    peer.send(message(OK)[:-10])


@pytest.mark.parametrize("kind", KINDS)
def test_answer_cut_short_through_a_proxy_is_a_connection_error(build: Build, kind: str) -> None:
    way = build(kind, end_early, max_attempts=1)

    with pytest.raises(MeshConnectionError) as caught:
        way.caller.read()

    assert type(caught.value) is MeshConnectionError


# --- the deadline ---------------------------------------------------------------------------------

DEADLINE = 0.5


def measure_timeout(caller: Caller) -> float:
    """Return the seconds until a call timed out, without those in which the machine stood still."""
    with Stopwatch() as watch, pytest.raises(MeshTimeoutError):
        caller.read()
    return watch.seconds


def answer_dripping(peer: Peer) -> None:
    peer.receive()
    peer.drip(b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 99)


SLOW_WAYS: dict[str, dict[str, Any]] = {
    "silent proxy": {"handler": Peer.hold},
    "reply of the proxy drips": {"reply": send_dripping, "tunnel": send_dripping},
    "handshake with the server drips": {"tunnel": send_dripping},
    "answer of the server drips": {"handle": answer_dripping},
    "silent server": {"handle": Peer.hold},
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("options", SLOW_WAYS.values(), ids=SLOW_WAYS)
def test_deadline_holds_through_a_slow_proxy(
    build: Build, kind: str, options: dict[str, Any]
) -> None:
    way = build(kind, **options, deadline=DEADLINE)

    assert measure_timeout(way.caller) < DEADLINE + 0.4


def test_deadline_holds_while_the_handshake_with_a_proxy_drips(
    mode: Mode, serve: Serve, certificates: Certificates
) -> None:
    proxy = serve(http_proxy(), tls=certificates.server)
    slow = serve(forwarder(proxy.port, send_dripping))
    caller = mode.client(
        base_url="https://127.0.0.1:1",
        proxy=f"https://127.0.0.1:{slow.port}",
        verify=certificates.trust,
        deadline=DEADLINE,
    )

    assert measure_timeout(caller) < DEADLINE + 0.4


@pytest.mark.parametrize("kind", KINDS)
def test_timeout_bounds_each_wait_for_a_silent_proxy(build: Build, kind: str) -> None:
    way = build(kind, handler=Peer.hold, timeout=0.2, max_attempts=1)

    assert measure_timeout(way.caller) < 0.6


def test_handshake_of_a_silent_server_takes_no_longer_than_the_timeout(
    build: Build,
) -> None:
    def connect_and_hold(peer: Peer) -> None:
        peer.receive()
        peer.send(b"HTTP/1.1 200 Connected\r\n\r\n")
        peer.hold()

    way = build("https", handler=connect_and_hold, timeout=0.2, max_attempts=1)

    assert measure_timeout(way.caller) < 0.6


# --- refusals -------------------------------------------------------------------------------------


@pytest.fixture
def _no_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mesh_facade.engine.retries.FIRST_BACKOFF", 0.0)


@pytest.mark.usefixtures("_no_backoff")
@pytest.mark.parametrize("kind", ["http", "https"])
@pytest.mark.parametrize(
    ("status", "attempts"),
    [(301, 1), (400, 1), (403, 1), (407, 1), (408, 3), (429, 3), (502, 3), (503, 3), (504, 3)],
)
def test_refusal_of_a_proxy_names_its_status(
    build: Build, kind: str, status: int, attempts: int
) -> None:
    answer = f"HTTP/1.1 {status} canary\r\nContent-Length: 0\r\n\r\n".encode()
    way = build(kind, handler=http_proxy(answer=answer))

    with pytest.raises(MeshConnectionError) as caught:
        way.caller.read()

    assert type(caught.value) is MeshConnectionError
    assert str(caught.value) == f"the proxy refused to connect: HTTP {status}"
    assert caught.value.is_transient == (attempts > 1)
    assert caught.value.attempts == way.proxy.connections == attempts


@pytest.mark.usefixtures("_no_backoff")
@pytest.mark.parametrize(
    ("code", "reason", "attempts"),
    [
        (1, "general failure", 3),
        (2, "not allowed by its rules", 1),
        (4, "host unreachable", 3),
        (5, "connection refused", 3),
        (7, "command not supported", 1),
        (99, "unknown", 1),
    ],
)
def test_refusal_of_a_socks_proxy_names_its_reply(
    build: Build, code: int, reason: str, attempts: int
) -> None:
    way = build("socks5", handler=socks_proxy(code=code))

    with pytest.raises(MeshConnectionError) as caught:
        way.caller.read()

    text = f"the proxy refused to connect: SOCKS reply {code} ({reason})"
    assert str(caught.value) == text
    assert caught.value.attempts == way.proxy.connections == attempts


def test_proxy_that_hangs_up_is_a_connection_error(build: Build) -> None:
    way = build("socks5", handler=lambda _: None, max_attempts=1)

    with pytest.raises(MeshConnectionError, match="the connection failed"):
        way.caller.read()


# --- SOCKS ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("user", "error"),
    [
        ("user:pass%20word@", None),
        ("user:wrong@", "it does not accept the user name and password"),
        ("", "it asks for an authentication that was not given"),
    ],
)
def test_user_name_and_password_for_a_socks_proxy(
    mode: Mode, serve: Serve, certificates: Certificates, user: str, error: str | None
) -> None:
    server = serve(tls=certificates.server)
    proxy = serve(socks_proxy(credentials=(b"user", b"pass word")))
    caller = mode.client(
        base_url=server.url,
        proxy=f"socks5://{user}127.0.0.1:{proxy.port}",
        verify=certificates.trust,
    )

    if error is None:
        assert caller.read()
        return
    with pytest.raises(MeshConnectionError, match=error) as caught:
        caller.read()
    assert caught.value.attempts == 1


@pytest.mark.parametrize("kind", ["socks5", "socks5h"])
def test_socks_proxy_looks_up_the_name(
    mode: Mode, serve: Serve, certificates: Certificates, kind: str
) -> None:
    server = serve(tls=certificates.server)
    proxy = serve(socks_proxy(bound_address=b"\x03\x04here"))
    caller = mode.client(
        base_url=f"https://mesh.example:{server.port}",
        proxy=f"{kind}://127.0.0.1:{proxy.port}",
        verify=certificates.trust,
    )

    assert caller.read()

    assert proxy.requests == [b"mesh.example"]


def run_negotiation(host: str, *replies: bytes) -> list[bytes]:
    """Negotiate with a proxy that gives these replies; return what was sent."""
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
    "bound_address",
    [
        [b"\x05\x00\x00\x01", bytes(6)],
        [b"\x05\x00\x00\x04", bytes(18)],
        [b"\x05\x00\x00\x03", b"\x05", bytes(7)],
    ],
)
def test_socks_messages_are_those_of_the_standard(
    host: str, address: bytes, bound_address: list[bytes]
) -> None:
    sent = run_negotiation(host, b"\x05\x00", *bound_address)

    assert sent[:2] == [b"\x05\x01\x00", b"\x05\x01\x00" + address + b"\x01\xbb"]
    assert b"".join(sent[2:]) == b""


@pytest.mark.parametrize(
    "replies", [[b"HT"], [b"\x05\x00", b"HTTP"], [b"\x05\x00", b"\x05\x00\x00\x09"]]
)
def test_reply_that_is_not_socks_5_is_refused(replies: list[bytes]) -> None:
    with pytest.raises(socks.SocksRefusal, match="its reply is not SOCKS5"):
        run_negotiation("mesh.example", *replies)


# --- real proxies ---------------------------------------------------------------------------------


def start(program: str, *arguments: str, port: int) -> subprocess.Popen[bytes]:
    """Start a proxy that is installed on this machine; return when it accepts connections."""
    path = shutil.which(program)
    if path is None:
        pytest.skip(f"{program} is not installed (Debian: apt install {program})")
    process = subprocess.Popen(
        [path, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    limit = time.monotonic() + 10
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            assert time.monotonic() < limit
            assert process.poll() is None
            time.sleep(0.02)
        else:
            return process


@pytest.fixture(params=["tinyproxy", "microsocks"])
def real_proxy(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    port = port_for_a_program()
    if request.param == "tinyproxy":
        settings = tmp_path / "tinyproxy.conf"
        settings.write_text(f"Port {port}\nListen 127.0.0.1\nTimeout 60\nAllow 127.0.0.1\n")
        process = start("tinyproxy", "-d", "-c", str(settings), port=port)
        url = f"http://127.0.0.1:{port}"
    else:
        process = start("microsocks", "-i", "127.0.0.1", "-p", str(port), port=port)
        url = f"socks5h://127.0.0.1:{port}"
    try:
        yield url
    finally:
        process.terminate()
        process.wait(10)


def test_real_proxy_carries_calls_and_heeds_the_deadline(
    mode: Mode, serve: Serve, certificates: Certificates, real_proxy: str
) -> None:
    server = serve(tls=certificates.server)
    slow = serve(answer_dripping, tls=certificates.server)
    options: dict[str, Any] = {"proxy": real_proxy, "verify": certificates.trust}
    caller = mode.client(base_url=server.url, **options)

    for _ in range(3):
        assert caller.read()

    assert server.connections == 1
    slow_caller = mode.client(base_url=slow.url, deadline=DEADLINE, **options)
    assert measure_timeout(slow_caller) < DEADLINE + 0.4


def test_real_proxy_that_cannot_reach_the_server_says_so(
    mode: Mode, certificates: Certificates, real_proxy: str
) -> None:
    options: dict[str, Any] = {"proxy": real_proxy, "verify": certificates.trust}
    with refusing_port() as port:
        caller = mode.client(base_url=f"https://127.0.0.1:{port}", max_attempts=1, **options)

        with pytest.raises(MeshConnectionError, match="the proxy refused to connect: "):
            caller.read()
