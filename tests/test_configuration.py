"""What a client is built with: where it goes, and which options are refused before anything is."""

from __future__ import annotations

import math
import socket
import ssl
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import yaml

from mesh_facade import MeshConfigurationError, MeshConnectionError
from tests.support import OK, Peer, Script

if TYPE_CHECKING:
    from tests.conftest import Mode, Serve

ROOT = Path(__file__).parents[1]
SPEC: Any = yaml.safe_load((ROOT / "openapi/mesh.yaml").read_text(encoding="utf-8"))
PRODUCTION, SANDBOX = (server["url"] for server in SPEC["servers"])
[PATH] = SPEC["paths"]


def destination(mode: Mode, **options: Any) -> str:
    """Return where a client with these options sends its calls."""
    script = Script(OK)
    mode.client(transport=script, **options).read()
    return str(script.requests[0].url)


# --- environment and base_url -------------------------------------------------------------------


def test_calls_go_to_production_unless_told_otherwise(mode: Mode) -> None:
    assert destination(mode) == PRODUCTION + PATH


@pytest.mark.parametrize(
    ("environment", "host"), [("production", PRODUCTION), ("sandbox", SANDBOX)]
)
def test_an_environment_is_one_of_the_spec_s_servers(
    mode: Mode, environment: str, host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert destination(mode, environment=environment) == host + PATH

    monkeypatch.setenv("MESH_ENVIRONMENT", environment)
    assert destination(mode) == host + PATH


def test_an_environment_that_is_given_wins_over_the_variable(
    mode: Mode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MESH_ENVIRONMENT", "sandbox")

    assert destination(mode, environment="production") == PRODUCTION + PATH


def test_empty_variables_are_as_if_they_were_not_set(
    mode: Mode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MESH_ENVIRONMENT", "")
    monkeypatch.setenv("MESH_BASE_URL", "")

    assert destination(mode) == PRODUCTION + PATH


@pytest.mark.parametrize("environment", ["", "Sandbox", "staging", "sandbox ", 5, ["sandbox"]])
def test_an_unknown_environment_is_refused_with_those_there_are(
    mode: Mode, environment: Any
) -> None:
    match = "environment must be one of production, sandbox, not"

    with pytest.raises(MeshConfigurationError, match=match):
        mode.client(environment=environment)


def test_an_unknown_environment_of_the_variable_is_refused(
    mode: Mode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MESH_ENVIRONMENT", "staging")

    with pytest.raises(MeshConfigurationError, match="environment must be one of"):
        mode.client()


@pytest.mark.parametrize(
    "base_url",
    [
        "https://mesh.example",
        "https://mesh.example/",
        httpx.URL("https://mesh.example"),
        "https://mesh.example:443",
    ],
)
def test_a_base_url_overrides_the_environment(
    mode: Mode, base_url: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = "https://mesh.example" + PATH
    assert destination(mode, base_url=base_url, environment="sandbox") == expected

    monkeypatch.setenv("MESH_BASE_URL", str(base_url))
    assert destination(mode, environment="sandbox") == expected


def test_a_base_url_that_is_given_wins_over_the_variable(
    mode: Mode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MESH_BASE_URL", "https://elsewhere.example")

    assert destination(mode, base_url="https://mesh.example") == "https://mesh.example" + PATH


def test_the_path_of_a_base_url_is_kept(mode: Mode) -> None:
    expected = "https://gateway.example/mesh" + PATH

    assert destination(mode, base_url="https://gateway.example/mesh/") == expected


@pytest.mark.parametrize(
    "base_url",
    ["", "mesh.example", "//mesh.example", "/path", "https://", "ftp://mesh.example", "https:/x"],
)
def test_what_is_no_web_address_is_refused(mode: Mode, base_url: str) -> None:
    with pytest.raises(MeshConfigurationError, match="base_url must look like https://host"):
        mode.client(base_url=base_url)


@pytest.mark.parametrize("base_url", [5, b"https://x", "https://host:port", "https://h\n", ["x"]])
def test_what_is_no_url_is_refused(mode: Mode, base_url: Any) -> None:
    with pytest.raises(MeshConfigurationError, match="base_url is not a URL") as caught:
        mode.client(base_url=base_url)

    assert caught.value.__context__ is None


@pytest.mark.parametrize("part", ["user:canary@host", "user@host", "host/?canary=1", "host/#x"])
def test_a_base_url_with_more_than_a_place_is_refused_without_echo(mode: Mode, part: str) -> None:
    with pytest.raises(MeshConfigurationError, match="base_url must have no") as caught:
        mode.client(base_url=f"https://{part}")

    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    "host",
    ["mesh.example", "127.0.0.1.example", "localhost.example", "10.0.0.1", "0.0.0.0", "[::2]"],  # noqa: S104 — not to be bound, to be refused
)
def test_plain_http_is_refused_beyond_loopback(
    mode: Mode, host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(MeshConfigurationError, match="base_url must start with https://"):
        mode.client(base_url=f"http://{host}")
    monkeypatch.setenv("MESH_BASE_URL", f"http://{host}")
    with pytest.raises(MeshConfigurationError, match="base_url must start with https://"):
        mode.client()


@pytest.mark.parametrize("host", ["localhost:8080", "LOCALHOST", "127.0.0.1", "127.8.7.6", "[::1]"])
def test_plain_http_is_for_loopback(mode: Mode, host: str) -> None:
    url = httpx.URL(destination(mode, base_url=f"http://{host}"))

    assert url == httpx.URL(f"http://{host}{PATH}")


# --- bounds -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["timeout", "deadline"])
@pytest.mark.parametrize(
    "value", [0, -1, 0.0, math.nan, math.inf, 1e10, 10**400, True, "5", None, [1]]
)
def test_a_bound_in_seconds_is_a_positive_finite_number(mode: Mode, name: str, value: Any) -> None:
    with pytest.raises(MeshConfigurationError, match=f"^{name} must be a number of seconds"):
        mode.client(**{name: value})


@pytest.mark.parametrize("name", ["max_attempts", "max_connections"])
@pytest.mark.parametrize("value", [0, -1, 1.0, 2.5, True, "5", None])
def test_a_count_is_a_whole_number_from_1(mode: Mode, name: str, value: Any) -> None:
    with pytest.raises(MeshConfigurationError, match=f"^{name} must be a whole number of"):
        mode.client(**{name: value})


@pytest.mark.parametrize(
    "options", [{"timeout": 0}, {"deadline": -1}, {"max_attempts": 0}, {"max_attempts": True}]
)
def test_with_options_checks_like_the_constructor(mode: Mode, options: Any) -> None:
    with pytest.raises(MeshConfigurationError, match=f"^{next(iter(options))} must be"):
        mode.client().with_options(**options)


# --- proxy, verify, transport -------------------------------------------------------------------


@pytest.mark.parametrize("option", [{"proxy": "http://127.0.0.1:1"}, {"verify": False}])
def test_a_transport_is_refused_with_an_option_that_it_would_bypass(
    mode: Mode, option: Any
) -> None:
    with pytest.raises(MeshConfigurationError, match="transport would bypass proxy and verify"):
        mode.client(transport=Script(OK), **option)


def test_a_transport_of_the_other_mode_is_refused(mode: Mode) -> None:
    other = httpx.BaseTransport() if mode.is_async else httpx.AsyncBaseTransport()

    for transport in (other, "https://mesh.example", Script):
        with pytest.raises(MeshConfigurationError, match="transport must be an httpx"):
            mode.client(transport=transport)


@pytest.mark.parametrize("verify", ["/nowhere.pem", __file__, None, 1, Path("/nowhere")])
def test_verify_is_a_bool_or_a_context(mode: Mode, verify: Any) -> None:
    with pytest.raises(MeshConfigurationError, match="verify must be True, False or"):
        mode.client(verify=verify)


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "SSL_CERT_DIR"])
def test_a_certificate_variable_that_names_nothing_is_refused(
    mode: Mode, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "/nowhere/at/all")

    if variable == "SSL_CERT_FILE":
        with pytest.raises(MeshConfigurationError, match="SSL_CERT_FILE names no file"):
            mode.client()
    else:  # OpenSSL looks into the folder when it needs a certificate, not before
        mode.client()


@pytest.mark.parametrize(
    "proxy",
    ["http://proxy example:8080", "ftp://proxy.example", "", 5, "http://host:port", "/path"],
)
def test_a_proxy_that_is_none_is_refused(mode: Mode, proxy: Any) -> None:
    with pytest.raises(MeshConfigurationError, match="proxy must look like http://host:port"):
        mode.client(proxy=proxy)


def test_a_proxy_s_password_is_not_echoed(mode: Mode) -> None:
    with pytest.raises(MeshConfigurationError, match="proxy must") as caught:
        mode.client(proxy="ftp://user:canary@proxy.example")

    assert "canary" not in str(caught.value)
    assert caught.value.__context__ is None


def test_a_socks_proxy_needs_no_package_more(mode: Mode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "socksio", None)

    assert mode.client(proxy="socks5://127.0.0.1:1080")


def test_https_takes_any_proxy_for_it_sees_no_key(mode: Mode) -> None:
    assert mode.client(base_url="https://mesh.example", proxy="http://proxy.example:8080")


def test_plain_http_to_loopback_takes_no_proxy_that_would_see_the_keys(mode: Mode) -> None:
    with pytest.raises(MeshConfigurationError, match="proxy would see the keys"):
        mode.client(base_url="http://127.0.0.1:1", proxy="http://proxy.example:8080")


@pytest.mark.parametrize("kind", [str, httpx.URL, httpx.Proxy])
def test_a_proxy_on_loopback_is_used(mode: Mode, serve: Serve, kind: Any) -> None:
    proxy = serve()

    caller = mode.client(base_url="http://127.0.0.1:1", proxy=kind(proxy.url))

    assert caller.read()
    assert proxy.requests[0].startswith(f"POST http://127.0.0.1:1{PATH} HTTP/1.1\r\n".encode())


def refuse(peer: Peer) -> None:
    peer.receive()
    peer.answer(b"", status=403)


def closed_port() -> int:
    """Return a port where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"])
def test_the_environment_s_proxy_is_used_for_https(
    mode: Mode, serve: Serve, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = serve(refuse)
    monkeypatch.setenv(variable, proxy.url)
    caller = mode.client(base_url="https://mesh.invalid", max_attempts=1)

    with pytest.raises(MeshConnectionError, match="the proxy refused to connect: HTTP 403"):
        caller.read()

    [request] = proxy.requests
    assert request.startswith(b"CONNECT mesh.invalid:443 HTTP/1.1\r\n")
    assert b"canary" not in request


def test_no_proxy_names_hosts_that_are_reached_directly(
    mode: Mode, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = serve(refuse)
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    monkeypatch.setenv("NO_PROXY", "example.org,127.0.0.1")
    caller = mode.client(base_url=f"https://127.0.0.1:{closed_port()}", max_attempts=1)

    with pytest.raises(MeshConnectionError, match="ConnectError"):
        caller.read()

    assert proxy.connections == 0


def test_a_proxy_that_is_given_wins_over_no_proxy(
    mode: Mode, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = serve(refuse)
    monkeypatch.setenv("NO_PROXY", "*")
    caller = mode.client(base_url="https://mesh.invalid", proxy=proxy.url, max_attempts=1)

    with pytest.raises(MeshConnectionError, match="the proxy refused to connect: HTTP 403"):
        caller.read()

    assert proxy.connections == 1


def test_plain_http_to_loopback_ignores_the_environment_s_proxies(
    mode: Mode, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy, server = serve(refuse), serve()
    for variable in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(variable, proxy.url)

    assert mode.client(base_url=server.url).read()
    assert proxy.connections == 0


def test_a_context_may_be_shared(mode: Mode) -> None:
    context = ssl.create_default_context()

    assert mode.client(verify=context)
    assert mode.client(verify=False)
