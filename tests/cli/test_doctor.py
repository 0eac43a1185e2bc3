"""`mesh-balance doctor`: the checks of keys, address, proxy, connection and clock."""

from __future__ import annotations

import json
import ssl
import sys
from typing import Any

import pytest
import trustme

from mesh_facade.testing import MockServer
from tests.cli.support import run
from tests.conftest import Serve


def test_doctor_passes_without_sending_a_key(mesh: MockServer) -> None:
    result = run("doctor")

    assert result.exit_code == 0
    assert [line.split()[0] for line in result.stdout.splitlines()] == ["ok", "ok"]
    assert f"connection: {mesh.url.removeprefix('http://')} answers (HTTP 401 to " in result.stdout
    assert "(HTTP 401 to a request without keys, as expected), and the clocks" in result.stdout
    assert [
        (call.method, dict(call.headers).keys() & mesh._contract.key_headers.keys())
        for call in mesh.calls
    ] == [("HEAD", set())]


def test_doctor_marks_a_failed_check(mesh: MockServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MESH_CLIENT_ID")

    keys, connection = run("doctor").stdout.splitlines()

    assert len(mesh.calls) == 1
    assert keys.startswith("FAIL  keys: MESH_CLIENT_ID is missing")
    assert connection.startswith("ok  connection: ")


def test_doctor_names_a_missing_key_and_goes_on(
    mesh: MockServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MESH_CLIENT_SECRET")

    result = run("doctor", "--json")

    assert result.exit_code == 2
    keys, connection = json.loads(result.stdout)
    assert (keys["ok"], connection["ok"]) == (False, True)
    assert "MESH_CLIENT_SECRET" in keys["detail"]
    assert mesh.client_id not in result.output


def test_doctor_names_an_unreachable_host(
    mesh: MockServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MESH_BASE_URL", "http://127.0.0.1:1")

    result = run("doctor")

    assert mesh.calls == []
    assert result.exit_code == 4
    assert "cannot reach 127.0.0.1:1 (ConnectError" in result.stdout


def test_keys_decide_the_exit_code_of_doctor_if_both_checks_fail(
    mesh: MockServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MESH_BASE_URL", "http://127.0.0.1:1")
    monkeypatch.delenv("MESH_CLIENT_ID")

    result = run("doctor")

    assert (result.exit_code, mesh.calls) == (2, [])
    assert [line.split()[0] for line in result.stdout.splitlines()] == ["FAIL", "FAIL"]


def test_doctor_names_the_proxy_without_its_password(
    mesh: MockServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MESH_BASE_URL", "https://localhost:1")
    monkeypatch.setenv("HTTPS_PROXY", "http://user:a-password@127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", "")

    result = run("doctor")

    assert mesh.calls == []
    assert "cannot reach localhost:1 through the proxy 127.0.0.1:1 (" in result.stdout
    assert "a-password" not in result.output


def test_doctor_needs_no_package_for_a_socks_proxy(
    mesh: MockServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MESH_BASE_URL", "https://localhost:1")
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", "")
    monkeypatch.setitem(sys.modules, "socksio", None)

    result = run("doctor")

    keys, connection = result.stdout.splitlines()
    assert (result.exit_code, mesh.calls) == (4, [])
    assert keys.startswith("ok  keys")
    assert "cannot reach localhost:1 through the proxy 127.0.0.1:1 (ConnectError" in connection


def test_doctor_goes_on_after_unreadable_certificates(
    mesh: MockServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MESH_BASE_URL", "https://localhost:1")
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere.pem")

    result = run("doctor", "--json")

    assert (result.exit_code, mesh.calls) == (2, [])
    assert [each["ok"] for each in json.loads(result.stdout)] == [False, False]
    assert "SSL_CERT_FILE" in json.loads(result.stdout)[0]["detail"]


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


PRODUCTION_HOST = "integration-api.meshconnect.com"
SANDBOX_HOST = "sandbox-integration-api.meshconnect.com"
NO_NETWORK = {"HTTPS_PROXY": "http://127.0.0.1:1", "NO_PROXY": ""}


@pytest.mark.parametrize(
    ("environment", "secret", "detail"),
    [
        (
            "production",
            "sk_sandbox_canary",
            (
                f"MESH_CLIENT_SECRET is a sandbox key (sk_sandbox_…), but {PRODUCTION_HOST} is the "
                "production host: set MESH_ENVIRONMENT=sandbox, or use production keys"
            ),
        ),
        (
            "sandbox",
            "sk_prod_canary",
            (
                f"MESH_CLIENT_SECRET is not a sandbox key (sk_sandbox_…), but {SANDBOX_HOST} is "
                "the sandbox host: use sandbox keys, or set MESH_ENVIRONMENT=production"
            ),
        ),
    ],
)
def test_doctor_notices_keys_of_the_other_environment(
    monkeypatch: pytest.MonkeyPatch, environment: str, secret: str, detail: str
) -> None:
    monkeypatch.setenv("MESH_CLIENT_ID", "some-id")
    monkeypatch.setenv("MESH_CLIENT_SECRET", secret)

    result = run("doctor", "--json", "--environment", environment, env=NO_NETWORK)

    keys = json.loads(result.stdout)[0]
    assert (keys["ok"], keys["detail"]) == (False, detail)
    assert "canary" not in result.output


@pytest.mark.parametrize(
    ("environment", "secret"), [("production", "sk_prod_canary"), ("sandbox", "sk_sandbox_canary")]
)
def test_doctor_accepts_keys_of_the_same_environment(
    monkeypatch: pytest.MonkeyPatch, environment: str, secret: str
) -> None:
    monkeypatch.setenv("MESH_CLIENT_ID", "some-id")
    monkeypatch.setenv("MESH_CLIENT_SECRET", secret)
    monkeypatch.setenv("MESH_ENVIRONMENT", environment)

    result = run("doctor", "--json", env=NO_NETWORK)

    assert json.loads(result.stdout)[0]["ok"]


def test_doctor_reports_a_wrong_base_url_once_and_checks_the_keys(
    mesh: MockServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MESH_BASE_URL", "ftp://nowhere")

    result = run("doctor")

    assert (result.exit_code, mesh.calls) == (2, [])
    assert [line.split()[0] for line in result.stdout.splitlines()] == ["ok", "FAIL"]
    assert result.stdout.count("MESH_BASE_URL must look like https://host") == 1
    assert "base_url" not in result.stdout


def test_doctor_reports_a_wrong_environment_once(mesh: MockServer) -> None:
    result = run("doctor", "--environment", "moon")

    assert (result.exit_code, mesh.calls) == (2, [])
    assert result.stdout.count("environment must be one of") == 1


def test_doctor_checks_the_keys_where_the_base_url_is_wrong(
    monkeypatch: pytest.MonkeyPatch, mesh: MockServer
) -> None:
    monkeypatch.setenv("MESH_BASE_URL", "ftp://nowhere")
    monkeypatch.delenv("MESH_CLIENT_ID")

    result = run("doctor", "--json")

    assert mesh.calls == []
    assert "MESH_CLIENT_ID" in json.loads(result.stdout)[0]["detail"]


@pytest.mark.parametrize(
    ("variables", "advice"),
    [
        ([], "check the name, the network, the proxy, SSL_CERT_FILE"),
        (
            ["REQUESTS_CA_BUNDLE"],
            (
                "SSL_CERT_FILE; REQUESTS_CA_BUNDLE is set, but not read here: set SSL_CERT_FILE to "
                "the same file"
            ),
        ),
        (["CURL_CA_BUNDLE"], "SSL_CERT_FILE; CURL_CA_BUNDLE is set, but not read here:"),
        (
            ["CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE"],
            "SSL_CERT_FILE; REQUESTS_CA_BUNDLE and CURL_CA_BUNDLE are set, but not read here:",
        ),
    ],
)
def test_doctor_names_certificate_variables_that_are_not_read(
    mesh: MockServer,
    serve: Serve,
    monkeypatch: pytest.MonkeyPatch,
    variables: list[str],
    advice: str,
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    monkeypatch.setenv("MESH_BASE_URL", serve(tls=context).url)
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    for name in variables:
        monkeypatch.setenv(name, "/etc/ssl/company.pem")

    result = run("doctor", "--json")

    connection = json.loads(result.stdout)[1]
    assert (result.exit_code, connection["ok"], mesh.calls) == (4, False, [])
    assert advice in connection["detail"]
    assert ("not read here" in connection["detail"]) is bool(variables)


def test_doctor_does_not_blame_certificates_for_a_refused_connection(
    mesh: MockServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MESH_BASE_URL", "https://localhost:1")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/etc/ssl/company.pem")

    result = run("doctor")

    assert (result.exit_code, mesh.calls) == (4, [])
    assert "REQUESTS_CA_BUNDLE" not in result.stdout
