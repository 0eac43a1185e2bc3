"""Which proxy a call goes through: options, variables, the system's settings."""

from __future__ import annotations

import logging
import socket
import sys
import urllib.request
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import httpx
import pytest

from mesh_facade import MeshConfigurationError, MeshConnectionError
from mesh_facade.engine.proxies import find_proxy

if TYPE_CHECKING:
    from tests.conftest import Mode, Serve
    from tests.support import Peer

# --- variables ------------------------------------------------------------------------------------


class Case(NamedTuple):
    """Variables, and where they make a call connect.

    Attributes:
        host: The server's host.
        variables: In their values, `{one}`, `{two}` and `{three}` stand for the addresses of three
            proxies, and `{port}` for the server's port.
        destination: The name of a proxy, or `direct` for the server itself.
    """

    host: str
    variables: dict[str, str]
    destination: str


HOST = "mesh.example"
ONE = {"HTTPS_PROXY": "http://{one}"}
# Where curl 7.88.1 connected with each of these, recorded once.
CASES_AS_CURL = [
    Case(HOST, {}, "direct"),
    Case(HOST, {"HTTPS_PROXY": "http://{one}"}, "one"),
    Case(HOST, {"https_proxy": "http://{one}"}, "one"),
    Case(HOST, {"HTTPS_PROXY": "http://{one}", "https_proxy": "http://{two}"}, "two"),
    Case(HOST, {"HTTPS_PROXY": "http://{one}", "https_proxy": ""}, "one"),
    Case(HOST, {"HTTPS_PROXY": "", "ALL_PROXY": "http://{two}"}, "two"),
    Case(HOST, {"ALL_PROXY": "http://{two}"}, "two"),
    Case(HOST, {"all_proxy": "http://{two}"}, "two"),
    Case(HOST, {"ALL_PROXY": "http://{two}", "all_proxy": "http://{three}"}, "three"),
    Case(HOST, {"HTTPS_PROXY": "http://{one}", "ALL_PROXY": "http://{two}"}, "one"),
    Case(HOST, {"HTTPS_PROXY": "http://{one}", "all_proxy": "http://{two}"}, "one"),
    Case(HOST, {"HTTP_PROXY": "http://{one}"}, "direct"),
    Case(HOST, {"http_proxy": "http://{one}"}, "direct"),
    Case(HOST, {"HTTPS_PROXY": "{one}"}, "one"),
    Case(HOST, {"HTTPS_PROXY": "http://{one}/"}, "one"),
    Case(HOST, {"HTTPS_PROXY": "HTTP://{one}"}, "one"),
    Case(HOST, {"HTTPS_PROXY": "http://user:pass@{one}"}, "one"),
    Case(HOST, {"HTTPS_PROXY": "user:pass@{one}"}, "one"),
    Case(HOST, {"HTTPS_PROXY": "https://{one}"}, "one"),
    Case(HOST, {"HTTPS_PROXY": "socks5://{one}"}, "one"),
    Case(HOST, {"HTTPS_PROXY": "socks5h://{one}"}, "one"),
    Case(HOST, {"HTTPS_PROXY": "http://{one}/path"}, "one"),
    Case(HOST, {**ONE, "NO_PROXY": "mesh.example"}, "direct"),
    Case(HOST, {**ONE, "NO_PROXY": "MESH.Example"}, "direct"),
    Case(HOST, {**ONE, "NO_PROXY": ".mesh.example"}, "direct"),
    Case("api.mesh.example", {**ONE, "NO_PROXY": ".mesh.example"}, "direct"),
    Case("api.mesh.example", {**ONE, "NO_PROXY": "mesh.example"}, "direct"),
    Case("notmesh.example", {**ONE, "NO_PROXY": "mesh.example"}, "one"),
    Case(HOST, {**ONE, "NO_PROXY": "example"}, "direct"),
    Case(HOST, {**ONE, "NO_PROXY": "*.mesh.example"}, "one"),
    Case(HOST, {**ONE, "NO_PROXY": "*"}, "direct"),
    Case(HOST, {**ONE, "NO_PROXY": "other, mesh.example"}, "direct"),
    Case(HOST, {**ONE, "NO_PROXY": "other mesh.example"}, "direct"),
    Case(HOST, {**ONE, "NO_PROXY": "  mesh.example  "}, "direct"),
    Case(HOST, {**ONE, "NO_PROXY": "mesh.example."}, "direct"),
    Case(HOST, {**ONE, "NO_PROXY": "mesh.example:1"}, "one"),
    Case(HOST, {**ONE, "NO_PROXY": "."}, "one"),
    Case(HOST, {**ONE, "NO_PROXY": ""}, "one"),
    Case("127.0.0.1", {**ONE, "NO_PROXY": "127.0.0.1"}, "direct"),
    Case("127.0.0.1", {**ONE, "NO_PROXY": "127.0.0.0/8"}, "direct"),
    Case("127.0.0.5", {**ONE, "NO_PROXY": "127.0.0.0/30"}, "one"),
    Case("127.0.0.1", {**ONE, "NO_PROXY": "127.0.0.1/8"}, "direct"),
    Case("127.0.0.1", {**ONE, "NO_PROXY": "10.0.0.0/8"}, "one"),
    Case("[::1]", {**ONE, "NO_PROXY": "::1"}, "direct"),
    Case("[::1]", {**ONE, "NO_PROXY": "fd00::/8"}, "one"),
    Case("127.0.0.1", {**ONE, "NO_PROXY": "localhost"}, "one"),
    Case("127.0.0.1", {**ONE, "NO_PROXY": "127.0.0.0/99"}, "one"),
    Case("127.0.0.1", {**ONE, "NO_PROXY": "0.0.1"}, "one"),
    Case("127.0.0.1", {**ONE, "NO_PROXY": "127.0.0"}, "one"),
    Case(HOST, {**ONE, "NO_PROXY": "127.0.0.0/8,mesh.example"}, "direct"),
    Case(HOST, {**ONE, "no_proxy": HOST}, "direct"),
    Case(HOST, {**ONE, "no_proxy": "other", "NO_PROXY": HOST}, "one"),
    Case(HOST, {**ONE, "no_proxy": "", "NO_PROXY": HOST}, "direct"),
    Case(HOST, {**ONE, "no_proxy": " ", "NO_PROXY": HOST}, "one"),
    Case(HOST, {"ALL_PROXY": "http://{two}", "NO_PROXY": HOST}, "direct"),
]

# Here curl 7.88.1 refuses the variable, or passes over the entry of NO_PROXY. Other tools read them
# (httpx the first four, Go's and Python's own libraries the rest), and so does this client.
CASES_BEYOND_CURL = [
    Case(HOST, {"HTTPS_PROXY": " {one}"}, "one"),
    Case(HOST, {"HTTPS_PROXY": "http://{one} "}, "one"),
    Case(HOST, {**ONE, "NO_PROXY": "other,*"}, "direct"),
    Case(HOST, {**ONE, "NO_PROXY": "https://mesh.example"}, "direct"),
    Case(HOST, {**ONE, "NO_PROXY": "HTTPS://mesh.example"}, "direct"),
    Case(HOST, {**ONE, "NO_PROXY": "http://mesh.example"}, "one"),
    Case("api.mesh.example", {**ONE, "NO_PROXY": "*.mesh.example"}, "direct"),
    Case(HOST, {**ONE, "NO_PROXY": "mesh.example:{port}"}, "direct"),
    Case("127.0.0.1", {**ONE, "NO_PROXY": "127.0.0.1:{port}"}, "direct"),
    Case("[::1]", {**ONE, "NO_PROXY": "[::1]"}, "direct"),
    Case("[::1]", {**ONE, "NO_PROXY": "[::1]:{port}"}, "direct"),
    Case("[::1]", {**ONE, "NO_PROXY": "[::1]:1"}, "one"),
    Case("[::1]", {**ONE, "NO_PROXY": "::/64"}, "direct"),
    Case("[::1]", {**ONE, "NO_PROXY": "[::]/64"}, "direct"),
    Case("[::1]", {**ONE, "NO_PROXY": "0:0::1"}, "direct"),
    Case(HOST, {"https_proxy": "ftp://{one}", "HTTPS_PROXY": "http://{two}"}, "two"),
    Case(HOST, {"HTTPS_PROXY": "http://{one}:1", "ALL_PROXY": "{three}"}, "three"),
]


def hang_up(_: Peer) -> None:
    """End a connection as soon as it is open."""


class Destinations:
    """Three proxies and a server, which note that a connection came in, and close it.

    Attributes:
        server_port: The server's port.
        addresses: The proxies' hosts and ports, by the names `one`, `two` and `three`.
    """

    def __init__(self, serve: Serve) -> None:
        self._servers = {name: serve(hang_up) for name in ("one", "two", "three", "direct")}
        self.server_port = self._servers["direct"].port
        self.addresses = {
            name: f"127.0.0.1:{server.port}"
            for name, server in self._servers.items()
            if name != "direct"
        }

    def reached(self) -> list[str]:
        """Return the names of those that were connected to; `direct` is the server itself."""
        return [name for name, server in self._servers.items() if server.connections]


@pytest.fixture
def _all_names_lead_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Resolve every name to 127.0.0.1, and so also `::1`: the servers listen on IPv4 only."""
    look_up = socket.getaddrinfo

    def look_up_here(_: object, *arguments: Any, **options: Any) -> object:
        return look_up("127.0.0.1", *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", look_up_here)


SYSTEMS = ("macosx_sysconf", "registry")
"""How Python's functions for the settings of macOS and of Windows end."""


@pytest.fixture
def _no_system_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the settings of the machine that runs the tests."""
    for system in SYSTEMS:
        monkeypatch.delattr(urllib.request, f"getproxies_{system}", raising=False)
        monkeypatch.delattr(urllib.request, f"proxy_bypass_{system}", raising=False)


@pytest.mark.usefixtures("_all_names_lead_here", "_no_system_settings")
@pytest.mark.parametrize("case", CASES_AS_CURL + CASES_BEYOND_CURL, ids=str)
def test_variables_choose_where_a_call_connects(
    mode: Mode, serve: Serve, monkeypatch: pytest.MonkeyPatch, case: Case
) -> None:
    destinations = Destinations(serve)
    for name, value in case.variables.items():
        formatted = value.format(**destinations.addresses, port=destinations.server_port)
        monkeypatch.setenv(name, formatted)
    caller = mode.client(base_url=f"https://{case.host}:{destinations.server_port}", max_attempts=1)

    with pytest.raises(MeshConnectionError):
        caller.read()

    assert destinations.reached() == [case.destination]


def test_table_of_curl_has_lost_no_row() -> None:
    assert len(CASES_AS_CURL) >= 39


def test_default_port_counts_in_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    url = httpx.URL("https://mesh.example")

    monkeypatch.setenv("NO_PROXY", "mesh.example:8443")
    assert find_proxy(url, None) is not None
    monkeypatch.setenv("NO_PROXY", "mesh.example:443")
    assert find_proxy(url, None) is None


@pytest.mark.parametrize("label", ["bücher", "xn--bcher-kva"])
@pytest.mark.parametrize(
    ("subdomain", "entry"),
    [
        ("", "bücher.example"),
        ("", "xn--bcher-kva.example"),
        ("", "BÜCHER.example"),
        ("", "XN--BCHER-KVA.example."),
        ("api.", ".bücher.example"),
        ("api.", "xn--bcher-kva.example"),
        ("api.", "*.bücher.example"),
        ("api.", "*.xn--bcher-kva.example"),
    ],
)
def test_no_proxy_names_an_international_host_in_either_spelling(
    monkeypatch: pytest.MonkeyPatch, label: str, subdomain: str, entry: str
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    monkeypatch.setenv("NO_PROXY", entry)

    assert find_proxy(httpx.URL(f"https://{subdomain}{label}.example"), None) is None


@pytest.mark.parametrize("entry", ["büche.example", "xn--bche-hra.example", "*.bücher.example"])
def test_no_proxy_does_not_name_another_international_host(
    monkeypatch: pytest.MonkeyPatch, entry: str
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    monkeypatch.setenv("NO_PROXY", entry)

    assert find_proxy(httpx.URL("https://bücher.example"), None) is not None


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
        "*.bü_cher.example",
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
    assert record.getMessage() == (
        "entry 2 of NO_PROXY is ignored: it must be a host or an address, with or without a "
        "port, or a block of addresses such as 10.0.0.0/8"
    )


FORMS = "http://host:port, https://host:port, socks5://host:port or socks5h://host:port"
MUST_LOOK_LIKE = f"must look like {FORMS}"
MUST_HAVE_A_HOST = f"{MUST_LOOK_LIKE}: its host is missing or malformed"
MUST_HAVE_A_PORT = "must have a port from 1 to 65535"
MUST_FIT_SOCKS = (
    "must have a user name and a password of at most 255 bytes each, because SOCKS5 has no room "
    "for more"
)


UNUSABLE_PROXIES = [
    ("socks4://127.0.0.1:1", MUST_LOOK_LIKE),
    ("http://", MUST_HAVE_A_HOST),
    ("http://127.0.0.1:99999", MUST_HAVE_A_PORT),
    ("http://127.0.0.1:0", MUST_HAVE_A_PORT),
    ("http://pro xy:3128", MUST_HAVE_A_HOST),
    ("http://proxy..corp:3128", MUST_HAVE_A_HOST),
    (f"http://{'p' * 64}.corp:3128", MUST_HAVE_A_HOST),
    ("http://xn--a:3128", MUST_HAVE_A_HOST),
    (f"socks5://{'proxy.' * 42}corp:1080", MUST_HAVE_A_HOST),
    ("::1:3128", MUST_LOOK_LIKE),
    ("socks5://user:" + "p" * 256 + "@127.0.0.1:1", MUST_FIT_SOCKS),
    ("socks5h://" + "u" * 256 + ":pass@127.0.0.1:1", MUST_FIT_SOCKS),
]


@pytest.mark.parametrize(("value", "problem"), UNUSABLE_PROXIES)
def test_unusable_variable_is_skipped_with_a_warning(
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


def test_warning_of_an_unusable_variable_hands_the_log_no_error_that_quotes_a_password(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://user:secret@proxy.example:port")

    find_proxy(httpx.URL("https://mesh.example"), None)

    [record] = caplog.records
    assert record.args == ("HTTPS_PROXY", MUST_LOOK_LIKE)


@pytest.mark.parametrize(("value", "problem"), UNUSABLE_PROXIES)
def test_unusable_option_is_refused(mode: Mode, value: str, problem: str) -> None:
    with pytest.raises(MeshConfigurationError) as caught:
        mode.client(base_url="https://mesh.example", proxy=value)

    assert str(caught.value) == f"proxy {problem}"


def test_proxy_object_whose_scheme_was_changed_is_refused() -> None:
    proxy = httpx.Proxy("http://proxy.example:3128")
    proxy.url = httpx.URL("ftp://proxy.example:3128")

    with pytest.raises(MeshConfigurationError, match=f"^proxy {MUST_LOOK_LIKE}$"):
        find_proxy(httpx.URL("https://mesh.example"), proxy)


def test_host_name_of_a_proxy_may_have_an_underscore() -> None:
    found = find_proxy(httpx.URL("https://mesh.example"), "my_proxy:3128")

    assert found is not None
    assert (found.url.host, found.url.port) == ("my_proxy", 3128)


# --- the system's settings ------------------------------------------------------------------------


class SetSystemProxy(Protocol):
    """Sets the system's proxy, and whether the system's list of exceptions has the server."""

    def __call__(self, value: str, *, is_bypassed: bool = False) -> None: ...


@pytest.fixture(params=SYSTEMS)
def set_system_proxy(
    _no_system_settings: None, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> SetSystemProxy:
    """Act as one of the two systems that have settings: macOS or Windows."""

    def set_up(value: str, *, is_bypassed: bool = False) -> None:
        monkeypatch.setattr(
            urllib.request, f"getproxies_{request.param}", lambda: {"https": value}, raising=False
        )
        monkeypatch.setattr(
            urllib.request, f"proxy_bypass_{request.param}", lambda _: is_bypassed, raising=False
        )

    return set_up


def test_proxy_of_the_system_is_used_if_no_variable_is_set(
    set_system_proxy: SetSystemProxy,
) -> None:
    set_system_proxy("http://proxy.example:3128", is_bypassed=False)

    found = find_proxy(httpx.URL("https://mesh.example"), None)

    assert found is not None
    assert found.url.host == "proxy.example"


def test_exception_of_the_system_lets_a_call_connect_directly(
    set_system_proxy: SetSystemProxy,
) -> None:
    set_system_proxy("http://proxy.example:3128", is_bypassed=True)

    assert find_proxy(httpx.URL("https://mesh.example"), None) is None


@pytest.mark.parametrize("label", ["bücher", "xn--bcher-kva"])
@pytest.mark.parametrize("excepted_label", ["bücher", "xn--bcher-kva"])
@pytest.mark.parametrize("subdomain", ["", "api."])
def test_exception_of_the_system_names_an_international_host_in_either_spelling(
    set_system_proxy: SetSystemProxy,
    monkeypatch: pytest.MonkeyPatch,
    label: str,
    excepted_label: str,
    subdomain: str,
) -> None:
    exception = f"{subdomain}{excepted_label}.example"
    set_system_proxy("http://proxy.example:3128")
    for system in SYSTEMS:
        monkeypatch.setattr(
            urllib.request, f"proxy_bypass_{system}", lambda host: host == exception, raising=False
        )

    assert find_proxy(httpx.URL(f"https://{subdomain}{label}.example"), None) is None


def test_label_of_a_host_that_encodes_nothing_is_compared_as_it_is(
    set_system_proxy: SetSystemProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_system_proxy("http://proxy.example:3128")
    exception = "api.xn--a.bücher.example"
    for system in SYSTEMS:
        monkeypatch.setattr(
            urllib.request, f"proxy_bypass_{system}", lambda host: host == exception, raising=False
        )

    assert find_proxy(httpx.URL("https://api.xn--a.xn--bcher-kva.example"), None) is None


@pytest.mark.parametrize("value", ["ftp://proxy.example", ""])
def test_unusable_or_empty_setting_of_the_system_lets_a_call_connect_directly(
    set_system_proxy: SetSystemProxy, value: str
) -> None:
    set_system_proxy(value)

    assert find_proxy(httpx.URL("https://mesh.example"), None) is None


def test_usable_setting_of_the_system_causes_no_warning(
    set_system_proxy: SetSystemProxy, caplog: pytest.LogCaptureFixture
) -> None:
    set_system_proxy("http://proxy.example:3128")

    find_proxy(httpx.URL("https://mesh.example"), None)

    assert caplog.records == []


def test_unusable_setting_of_the_system_is_skipped_with_a_warning(
    set_system_proxy: SetSystemProxy, caplog: pytest.LogCaptureFixture
) -> None:
    set_system_proxy("ftp://proxy.example")

    find_proxy(httpx.URL("https://mesh.example"), None)

    [record] = caplog.records
    assert record.getMessage() == f"the system's proxy is ignored: it {MUST_LOOK_LIKE}"
    assert record.args == (MUST_LOOK_LIKE,)  # not an error, whose cause may hold a password


@pytest.mark.parametrize("variable", ["NO_PROXY", "http_proxy", "ftp_proxy"])
def test_variable_for_another_purpose_does_not_hide_the_proxy_of_the_system(
    set_system_proxy: SetSystemProxy, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    set_system_proxy("http://proxy.example:3128")
    monkeypatch.setenv(variable, "other.example")

    found = find_proxy(httpx.URL("https://mesh.example"), None)

    assert found is not None
    assert found.url.host == "proxy.example"


def test_no_proxy_variable_counts_for_the_proxy_of_the_system_too(
    set_system_proxy: SetSystemProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_system_proxy("http://proxy.example:3128")
    monkeypatch.setenv("NO_PROXY", "mesh.example")

    assert find_proxy(httpx.URL("https://mesh.example"), None) is None


def test_system_without_a_list_of_exceptions_has_its_proxy_used_for_every_server(
    monkeypatch: pytest.MonkeyPatch, set_system_proxy: SetSystemProxy
) -> None:
    set_system_proxy("http://proxy.example:3128")
    for name in ("proxy_bypass_macosx_sysconf", "proxy_bypass_registry"):
        monkeypatch.delattr(urllib.request, name, raising=False)

    assert find_proxy(httpx.URL("https://mesh.example"), None) is not None


@pytest.mark.skipif(sys.platform in {"darwin", "win32"}, reason="this system has settings")
def test_variable_in_mixed_case_is_ignored(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("Https_Proxy", "http://proxy.example:3128")

    assert find_proxy(httpx.URL("https://mesh.example"), None) is None
