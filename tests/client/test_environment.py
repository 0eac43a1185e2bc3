"""Where a client sends its calls: `environment`, `base_url` and their variables."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import yaml

from mesh_facade import MeshConfigurationError
from tests.support import OK, Script

if TYPE_CHECKING:
    from tests.conftest import Mode

ROOT = Path(__file__).parents[2]
SPEC: Any = yaml.safe_load((ROOT / "openapi/mesh.yaml").read_text(encoding="utf-8"))
SERVERS = [server["url"] for server in SPEC["servers"]]
PRODUCTION = SERVERS[0]
SANDBOX = SERVERS[1]


[PATH] = [
    path
    for path, methods in SPEC["paths"].items()
    for operation in methods.values()
    if operation["operationId"] == "getAccountBalance"
]


def find_destination(mode: Mode, **options: Any) -> str:
    """Return where a client with these options sends its calls."""
    script = Script(OK)
    mode.client(transport=script, **options).read()
    return str(script.requests[0].url)


def test_calls_go_to_production_by_default(mode: Mode) -> None:
    assert find_destination(mode) == PRODUCTION + PATH


@pytest.mark.parametrize(
    ("environment", "host"), [("production", PRODUCTION), ("sandbox", SANDBOX)]
)
def test_each_environment_is_a_server_of_the_spec(
    mode: Mode, environment: str, host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert find_destination(mode, environment=environment) == host + PATH

    monkeypatch.setenv("MESH_ENVIRONMENT", environment)
    assert find_destination(mode) == host + PATH


def test_environment_argument_overrides_the_variable(
    mode: Mode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MESH_ENVIRONMENT", "sandbox")

    assert find_destination(mode, environment="production") == PRODUCTION + PATH


def test_empty_variables_are_ignored(mode: Mode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MESH_ENVIRONMENT", "")
    monkeypatch.setenv("MESH_BASE_URL", "")

    assert find_destination(mode) == PRODUCTION + PATH


@pytest.mark.parametrize("environment", ["", "Sandbox", "staging", "sandbox ", 5, ["sandbox"]])
def test_unknown_environment_raises_with_the_known_ones(mode: Mode, environment: Any) -> None:
    match = "environment must be one of production, sandbox, not"

    with pytest.raises(MeshConfigurationError, match=match):
        mode.client(environment=environment)


def test_unknown_environment_in_the_variable_raises(
    mode: Mode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MESH_ENVIRONMENT", "staging")

    with pytest.raises(MeshConfigurationError, match="MESH_ENVIRONMENT must be one of"):
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
def test_base_url_overrides_the_environment(
    mode: Mode, base_url: str | httpx.URL, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = "https://mesh.example" + PATH
    assert find_destination(mode, base_url=base_url, environment="sandbox") == expected

    monkeypatch.setenv("MESH_BASE_URL", str(base_url))
    assert find_destination(mode, environment="sandbox") == expected


def test_base_url_argument_overrides_the_variable(
    mode: Mode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MESH_BASE_URL", "https://elsewhere.example")

    assert find_destination(mode, base_url="https://mesh.example") == "https://mesh.example" + PATH


def test_path_of_the_base_url_is_kept(mode: Mode) -> None:
    expected = "https://gateway.example/mesh" + PATH

    assert find_destination(mode, base_url="https://gateway.example/mesh/") == expected


@pytest.mark.parametrize(
    "base_url",
    ["", "mesh.example", "//mesh.example", "/path", "https://", "ftp://mesh.example", "https:/x"],
)
def test_base_url_without_web_scheme_or_host_raises(mode: Mode, base_url: str) -> None:
    with pytest.raises(MeshConfigurationError, match="base_url must look like https://host"):
        mode.client(base_url=base_url)


@pytest.mark.parametrize("base_url", [5, b"https://x", "https://host:port", "https://h\n", ["x"]])
def test_base_url_that_is_not_a_url_raises(mode: Mode, base_url: Any) -> None:
    with pytest.raises(MeshConfigurationError, match="base_url is not a URL") as caught:
        mode.client(base_url=base_url)

    assert caught.value.__context__ is None


@pytest.mark.parametrize("part", ["user:canary@host", "user@host", "host/?canary=1", "host/#x"])
def test_base_url_with_user_query_or_fragment_raises_without_quoting_it(
    mode: Mode, part: str
) -> None:
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
    with pytest.raises(MeshConfigurationError, match="MESH_BASE_URL must start with https://"):
        mode.client()


@pytest.mark.parametrize("host", ["localhost:8080", "LOCALHOST", "127.0.0.1", "127.8.7.6", "[::1]"])
def test_plain_http_is_allowed_on_loopback(mode: Mode, host: str) -> None:
    url = httpx.URL(find_destination(mode, base_url=f"http://{host}"))

    assert url == httpx.URL(f"http://{host}{PATH}")
