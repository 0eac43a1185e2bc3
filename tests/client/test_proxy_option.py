"""The option `proxy`, and the proxies that the environment names."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import yaml

from mesh_facade import MeshConfigurationError, MeshConnectionError
from tests.support import Peer, refusing_port

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Mode, Serve

ROOT = Path(__file__).parents[2]
SPEC: Any = yaml.safe_load((ROOT / "openapi/mesh.yaml").read_text(encoding="utf-8"))


[PATH] = [
    path
    for path, methods in SPEC["paths"].items()
    for operation in methods.values()
    if operation["operationId"] == "getAccountBalance"
]


@pytest.mark.parametrize(
    "proxy",
    ["http://proxy example:8080", "ftp://proxy.example", "", 5, "http://host:port", "/path"],
)
def test_malformed_proxy_raises(mode: Mode, proxy: Any) -> None:
    with pytest.raises(MeshConfigurationError, match="proxy must look like http://host:port"):
        mode.client(proxy=proxy)


def test_error_about_a_proxy_does_not_quote_its_password(mode: Mode) -> None:
    with pytest.raises(MeshConfigurationError, match="proxy must") as caught:
        mode.client(proxy="ftp://user:canary@proxy.example")

    assert "canary" not in str(caught.value)
    assert caught.value.__context__ is None


def test_socks_proxy_needs_no_other_package(mode: Mode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "socksio", None)

    assert mode.client(proxy="socks5://127.0.0.1:1080")


def test_https_calls_may_use_any_proxy(mode: Mode) -> None:
    assert mode.client(base_url="https://mesh.example", proxy="http://proxy.example:8080")


def test_plain_http_calls_refuse_a_proxy_beyond_loopback(mode: Mode) -> None:
    with pytest.raises(MeshConfigurationError, match="proxy would see the keys") as caught:
        mode.client(base_url="http://127.0.0.1:1", proxy="http://proxy.example:8080")

    assert "a proxy on this machine, such as http://127.0.0.1:8080" in str(caught.value)


@pytest.mark.parametrize("kind", [str, httpx.URL, httpx.Proxy])
def test_plain_http_calls_may_use_a_proxy_on_loopback(
    mode: Mode, serve: Serve, kind: Callable[[str], str | httpx.URL | httpx.Proxy]
) -> None:
    proxy = serve()

    caller = mode.client(base_url="http://127.0.0.1:1", proxy=kind(proxy.url))

    assert caller.read()
    assert proxy.requests[0].startswith(f"POST http://127.0.0.1:1{PATH} HTTP/1.1\r\n".encode())


def answer_403(peer: Peer) -> None:
    peer.receive()
    peer.answer(b"", status=403)


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"])
def test_proxy_of_the_environment_is_used_for_https(
    mode: Mode, serve: Serve, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = serve(answer_403)
    monkeypatch.setenv(variable, proxy.url)
    caller = mode.client(base_url="https://mesh.invalid", max_attempts=1)

    with pytest.raises(MeshConnectionError, match="the proxy refused to connect: HTTP 403"):
        caller.read()

    [request] = proxy.requests
    assert request.startswith(b"CONNECT mesh.invalid:443 HTTP/1.1\r\n")
    assert b"canary" not in request


def test_hosts_in_no_proxy_are_reached_directly(
    mode: Mode, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = serve(answer_403)
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    monkeypatch.setenv("NO_PROXY", "example.org,127.0.0.1")
    with refusing_port() as port:
        caller = mode.client(base_url=f"https://127.0.0.1:{port}", max_attempts=1)

        with pytest.raises(MeshConnectionError, match="ConnectError"):
            caller.read()

    assert proxy.connections == 0


def test_proxy_argument_overrides_no_proxy(
    mode: Mode, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = serve(answer_403)
    monkeypatch.setenv("NO_PROXY", "*")
    caller = mode.client(base_url="https://mesh.invalid", proxy=proxy.url, max_attempts=1)

    with pytest.raises(MeshConnectionError, match="the proxy refused to connect: HTTP 403"):
        caller.read()

    assert proxy.connections == 1


def test_plain_http_calls_ignore_proxies_of_the_environment(
    mode: Mode, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = serve(answer_403)
    server = serve()
    for variable in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(variable, proxy.url)

    assert mode.client(base_url=server.url).read()
    assert proxy.connections == 0
