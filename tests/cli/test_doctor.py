"""`mesh-balance doctor`: the checks of keys, address, proxy, connection and clock."""

from __future__ import annotations

import datetime as dt
import json
import ssl
import sys
import time
from pathlib import Path

import httpx
import pytest
import trustme

from mesh_facade.testing import MockServer
from tests.cli.support import run
from tests.conftest import Serve
from tests.support import Peer


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


def test_unreadable_certificates_are_about_the_connection_and_not_about_the_keys(
    mesh: MockServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MESH_BASE_URL", "https://localhost:1")
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere.pem")

    result = run("doctor", "--json")

    assert (result.exit_code, mesh.calls) == (2, [])
    assert [each["ok"] for each in json.loads(result.stdout)] == [True, False]
    assert "SSL_CERT_FILE" in json.loads(result.stdout)[1]["detail"]


def answer_with_date(serve: Serve, date: str) -> str:
    """Serve answers with this header Date, and return the URL."""

    def answer(peer: Peer) -> None:
        peer.receive()
        peer.answer(b"", f"Date: {date}")

    return serve(answer).url


@pytest.mark.parametrize(
    ("date", "difference"),
    [
        ("Wed, 21 Oct 2015 07:28:00 GMT", " s ahead of the clock of "),
        ("Wed, 21 Oct 2015 07:28:00 -0000", " s ahead of the clock of "),
        ("Fri, 21 Oct 2499 07:28:00 GMT", " s behind the clock of "),
    ],
)
def test_doctor_reports_a_clock_that_differs_from_the_servers(
    mesh: MockServer, serve: Serve, monkeypatch: pytest.MonkeyPatch, date: str, difference: str
) -> None:
    url = answer_with_date(serve, date)
    monkeypatch.setenv("MESH_BASE_URL", url)

    result = run("doctor", "--json")

    connection = json.loads(result.stdout)[1]
    assert (result.exit_code, connection["ok"], mesh.calls) == (2, False, [])
    address = url.removeprefix("http://")
    assert connection["detail"].endswith(f"{difference}{address}: set it")
    assert connection["detail"].startswith("the clock of this machine is ")
    assert "is -" not in connection["detail"]


@pytest.mark.parametrize(
    "date",
    [
        "tomorrow",
        f"Wed, 21 Oct {10**20} 07:28:00 GMT",
        "Wed, 21 Oct 99999 07:28:00 GMT",
        f"Wed, 21 Oct 2015 07:28:00 +{10**30}",
    ],
)
def test_doctor_says_that_the_clocks_were_not_compared_if_the_server_sends_no_time(
    mesh: MockServer, serve: Serve, monkeypatch: pytest.MonkeyPatch, date: str
) -> None:
    monkeypatch.setenv("MESH_BASE_URL", answer_with_date(serve, date))

    result = run("doctor", "--json")

    connection = json.loads(result.stdout)[1]
    assert (result.exit_code, connection["ok"], mesh.calls) == (0, True, [])
    assert connection["detail"].endswith(
        ", and the clocks were not compared, because it sends no readable time"
    )


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no time.tzset")
def test_date_in_the_zone_minus_0000_is_read_as_utc(
    mesh: MockServer, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = dt.datetime.now(dt.UTC)
    monkeypatch.setenv("MESH_BASE_URL", answer_with_date(serve, f"{now:%a, %d %b %Y %T} -0000"))
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()

    result = run("doctor")
    monkeypatch.undo()
    time.tzset()

    assert (result.exit_code, mesh.calls) == (0, [])
    assert result.stdout.endswith(", and the clocks agree\n")


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
                "MESH_CLIENT_SECRET is a sandbox key (it starts with sk_sandbox_), but "
                f"{PRODUCTION_HOST} is the production host: use production keys, or set "
                "MESH_ENVIRONMENT=sandbox"
            ),
        ),
        (
            "sandbox",
            "sk_prod_canary",
            (
                "MESH_CLIENT_SECRET is not a sandbox key (it does not start with sk_sandbox_), but "
                f"{SANDBOX_HOST} is the sandbox host: use sandbox keys, or set "
                "MESH_ENVIRONMENT=production"
            ),
        ),
    ],
)
def test_doctor_notices_keys_of_the_other_environment(
    monkeypatch: pytest.MonkeyPatch, environment: str, secret: str, detail: str
) -> None:
    monkeypatch.setenv("MESH_CLIENT_ID", "some-id")
    monkeypatch.setenv("MESH_CLIENT_SECRET", secret)
    monkeypatch.setenv("MESH_ENVIRONMENT", environment)

    result = run("doctor", "--json", env=NO_NETWORK)

    keys = json.loads(result.stdout)[0]
    assert (keys["ok"], keys["detail"]) == (False, detail)
    assert "canary" not in result.output


@pytest.mark.parametrize(
    ("options", "base_url", "advice"),
    [
        (["--environment", "production"], "", "pass --environment sandbox"),
        ([], f"https://{PRODUCTION_HOST}", "unset MESH_BASE_URL and set MESH_ENVIRONMENT=sandbox"),
        (
            ["--environment", "sandbox"],
            f"https://{PRODUCTION_HOST}",
            "unset MESH_BASE_URL and pass --environment sandbox",
        ),
    ],
)
def test_advice_on_the_environment_changes_what_chose_the_host(
    monkeypatch: pytest.MonkeyPatch, options: list[str], base_url: str, advice: str
) -> None:
    """MESH_BASE_URL takes precedence over the option, and the option over MESH_ENVIRONMENT."""
    monkeypatch.setenv("MESH_CLIENT_ID", "some-id")
    monkeypatch.setenv("MESH_CLIENT_SECRET", "sk_sandbox_canary")
    monkeypatch.setenv("MESH_BASE_URL", base_url)

    result = run("doctor", "--json", *options, env=NO_NETWORK)

    assert json.loads(result.stdout)[0]["detail"].endswith(f": use production keys, or {advice}")


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
        ([], "check the host name, the network, the proxy and SSL_CERT_FILE"),
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


def test_doctor_says_that_a_server_does_not_speak_tls(
    mesh: MockServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MESH_BASE_URL", mesh.url.replace("http://", "https://"))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/etc/ssl/company.pem")

    result = run("doctor", "--json")

    connection = json.loads(result.stdout)[1]
    assert (result.exit_code, connection["ok"]) == (4, False)
    assert connection["detail"].endswith(
        "): the server does not answer with TLS: check the port, and whether the URL should start "
        "with http:// or https://"
    )


@pytest.mark.parametrize(
    ("reason", "text"),
    [
        ("RECORD_LAYER_FAILURE", "[SSL: RECORD_LAYER_FAILURE] record layer failure (_ssl.c:1000)"),
        (None, "[SSL] record layer failure (_ssl.c:1000)"),  # Python does not know the reason
    ],
)
def test_doctor_understands_the_reason_that_newer_openssl_gives(
    monkeypatch: pytest.MonkeyPatch, mesh: MockServer, reason: str | None, text: str
) -> None:
    def refuse(*_: object, **__: object) -> None:
        tls_error = ssl.SSLError(1, text)
        tls_error.reason = reason  # type: ignore[assignment] — it is None there
        raise httpx.ConnectError(text) from tls_error

    monkeypatch.setattr("mesh_facade.cli.doctor.ThreadConnection.send", refuse)
    monkeypatch.setenv("MESH_BASE_URL", mesh.url)

    result = run("doctor", "--json")

    assert "does not answer with TLS" in json.loads(result.stdout)[1]["detail"]


def test_doctor_names_a_proxy_that_may_not_speak_tls(
    mesh: MockServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MESH_BASE_URL", "https://mesh.example")
    monkeypatch.setenv("HTTPS_PROXY", mesh.url.replace("http://", "https://"))

    result = run("doctor", "--json")

    assert json.loads(result.stdout)[1]["detail"].endswith(
        "): the server or the proxy does not answer with TLS: check the ports, and whether the "
        "URLs should start with http:// or https://"
    )


def test_doctor_names_both_variables_of_certificates(
    mesh: MockServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MESH_BASE_URL", "https://localhost:1")
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))

    result = run("doctor", "--json")

    assert "SSL_CERT_FILE (or SSL_CERT_DIR)" in json.loads(result.stdout)[1]["detail"]
    assert mesh.calls == []


def test_doctor_does_not_recommend_certificates_that_are_read_already(
    mesh: MockServer, serve: Serve, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    company = tmp_path / "company.pem"
    trustme.CA().cert_pem.write_to_path(company)
    monkeypatch.setenv("MESH_BASE_URL", serve(tls=context).url)
    for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.setenv(name, str(company))

    result = run("doctor", "--json")

    assert json.loads(result.stdout)[1]["detail"].endswith("the proxy and SSL_CERT_FILE")
    assert mesh.calls == []


def test_doctor_does_not_blame_certificates_for_a_refused_connection(
    mesh: MockServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MESH_BASE_URL", "https://localhost:1")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/etc/ssl/company.pem")

    result = run("doctor")

    assert (result.exit_code, mesh.calls) == (4, [])
    assert "REQUESTS_CA_BUNDLE" not in result.stdout
