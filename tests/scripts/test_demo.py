"""The demo proves what it says, shows a balance and an error, and fails where a proof fails."""

from __future__ import annotations

import runpy
from typing import TYPE_CHECKING

import check_drift
import demo
import pytest
from openapi_tools.json_values import SpecError

from mesh_facade import AsyncMeshClient, MeshClient
from mesh_facade.testing import MockServer

if TYPE_CHECKING:
    from pathlib import Path


def test_demo_prints_five_steps(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        runpy.run_path(demo.__file__, run_name="__main__")

    assert caught.value.code == 0
    out, err = capsys.readouterr()
    assert err == ""
    steps = [line for line in out.splitlines() if line[0] != " "]
    assert [step[:2] for step in steps] == ["1.", "2.", "3.", "4.", "5."]
    assert "Imported the source in openapi/source/" in steps[0]
    assert "mesh.yaml is the same, byte for byte" in steps[0]
    assert "generated/ is the same, byte for byte" in steps[1]
    assert "http://127.0.0.1:" in steps[2]
    assert "AuthenticationError" in steps[4]


@pytest.fixture
def _asyncio_without_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep Python 3.11 tracing, and so coverage true: it stops where asyncio waits for a socket."""
    listening = MockServer.async_client
    monkeypatch.setattr(
        MockServer, "async_client", lambda mesh: listening(mesh, transport=mesh.transport())
    )


@pytest.mark.usefixtures("_asyncio_without_sockets")
def test_the_balance_is_an_aligned_table(capsys: pytest.CaptureFixture[str]) -> None:
    demo.main()

    indented = [line for line in capsys.readouterr().out.splitlines() if line[0] == " "]
    *table, note = indented
    assert "whose totals are not the sums of its rows" in note
    assert [line.split() for line in table] == [
        ["cash", "buying", "power"],
        ["USD", "158.5", "258.5"],
        ["EUR", "10", "10"],
        ["total", "in", "USD", "10", "10"],
    ]
    assert len({len(line) for line in table}) == 1


def fails_with(capsys: pytest.CaptureFixture[str]) -> str:
    assert demo.main() == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    return line


def test_spec_that_differs_from_the_page_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse() -> None:
        raise SpecError("mesh.yaml is another: run `make spec`")

    monkeypatch.setattr(demo, "check_source", refuse)

    assert fails_with(capsys) == "error: mesh.yaml is another: run `make spec`"


def test_client_that_differs_from_the_spec_fails_and_names_a_file(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    stale = tmp_path / "generated"
    stale.mkdir()
    (stale / "__init__.py").touch()
    monkeypatch.setattr(check_drift, "OUTPUT", stale)

    assert demo.main() == 1

    output = capsys.readouterr()
    assert "added: generated/__init__.py\n" in output.out
    assert output.err.endswith("see above: run `make generate`\n")


@pytest.mark.usefixtures("_asyncio_without_sockets")
def test_two_different_balances_fail(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    read_with_asyncio = MockServer.async_client

    def async_client(mesh: MockServer) -> AsyncMeshClient:
        mesh.answers(demo.AUTH_TOKEN, cash={"USD": "158.6"})
        return read_with_asyncio(mesh)

    monkeypatch.setattr(MockServer, "async_client", async_client)

    assert "different balances" in fails_with(capsys)


@pytest.mark.usefixtures("_asyncio_without_sockets")
def test_an_accepted_wrong_secret_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def client(mesh: MockServer, **_: object) -> MeshClient:
        return MeshClient(mesh.client_id, mesh.client_secret, base_url=mesh.url)

    monkeypatch.setattr(MockServer, "client", client)

    assert "wrong secret was accepted" in fails_with(capsys)


def test_mock_server_with_a_malformed_key_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(MockServer, "client_secret", "no key")

    assert "client_secret" in fails_with(capsys)
