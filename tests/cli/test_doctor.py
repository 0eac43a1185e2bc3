"""`mesh-balance doctor`: the checks of keys, address, proxy, connection and clock."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest

from mesh_facade.testing import MockServer
from tests.cli.support import run
from tests.conftest import Serve


def test_doctor_passes_without_sending_a_key(mesh: MockServer) -> None:
    result = run("doctor")

    assert result.exit_code == 0
    assert [line[:2] for line in result.stdout.splitlines()] == ["ok", "ok"]
    assert [
        (call.method, dict(call.headers).keys() & mesh._keys.keys()) for call in mesh.calls
    ] == [("HEAD", set())]


def test_doctor_names_a_missing_key_and_goes_on(
    mesh: MockServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MESH_CLIENT_SECRET")

    result = run("doctor", "--json")

    assert result.exit_code == 2
    keys, connection = json.loads(result.stdout)
    assert (keys["ok"], connection["ok"]) == (False, True)
    assert "MESH_CLIENT_SECRET" in keys["told"]
    assert mesh.client_id not in result.output


def test_doctor_names_an_unreachable_host(
    mesh: MockServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MESH_BASE_URL", "http://127.0.0.1:1")

    result = run("doctor")

    assert mesh.calls == []
    assert result.exit_code == 4
    assert "cannot reach 127.0.0.1 (ConnectError" in result.stdout


def test_doctor_names_the_proxy_without_its_password(
    mesh: MockServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MESH_BASE_URL", "https://localhost:1")
    monkeypatch.setenv("HTTPS_PROXY", "http://user:a-password@127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", "")

    result = run("doctor")

    assert mesh.calls == []
    assert "through the proxy 127.0.0.1" in result.stdout
    assert "a-password" not in result.output


def test_doctor_names_the_package_that_a_socks_proxy_needs(
    mesh: MockServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MESH_BASE_URL", "https://localhost:1")
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", "")
    monkeypatch.setitem(sys.modules, "socksio", None)

    result = run("doctor")

    assert (result.exit_code, mesh.calls) == (2, [])
    assert all("httpx[socks]" in line for line in result.stdout.splitlines())


def test_doctor_goes_on_after_unreadable_certificates(
    mesh: MockServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MESH_BASE_URL", "https://localhost:1")
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere.pem")

    result = run("doctor", "--json")

    assert (result.exit_code, mesh.calls) == (2, [])
    assert [each["ok"] for each in json.loads(result.stdout)] == [False, False]
    assert "SSL_CERT_FILE" in json.loads(result.stdout)[0]["told"]


@pytest.mark.parametrize(
    ("date", "exit_code"), [("Wed, 21 Oct 2015 07:28:00 GMT", 2), ("tomorrow", 0)]
)
def test_doctor_compares_this_clock_with_the_server(
    mesh: MockServer, serve: Serve, monkeypatch: pytest.MonkeyPatch, date: str, exit_code: int
) -> None:
    def answer(peer: Any) -> None:
        peer.receive()
        peer.answer(b"", f"Date: {date}")

    monkeypatch.setenv("MESH_BASE_URL", serve(answer).url)

    result = run("doctor")

    assert mesh.calls == []
    assert result.exit_code == exit_code
    assert ("s ahead of" in result.stdout) is bool(exit_code)
