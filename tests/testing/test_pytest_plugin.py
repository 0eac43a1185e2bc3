"""The fixtures that applications get."""

from __future__ import annotations

from decimal import Decimal

import pytest

from mesh_facade.testing import MockServer

pytest_plugins = ["pytester"]


def test_mesh_is_a_running_mock_server(mesh: MockServer) -> None:
    mesh.answers("a-token", cash={"USD": "158.5"})

    with mesh.client() as client:
        assert client.get_account_balance("a-token", "coinbase").cash("USD") == Decimal("158.5")

    assert mesh.url.startswith("http://127.0.0.1:")
    assert [call.path for call in mesh.calls] == ["/api/v1/balance/get"]


def test_mesh_in_process_opens_no_socket(mesh_in_process: MockServer) -> None:
    mesh_in_process.fails("a-token", "unknown-status")

    with mesh_in_process.client() as client, pytest.raises(Exception, match="ofTomorrow"):
        client.get_account_balance("a-token", "coinbase")

    assert mesh_in_process.url == "https://mock-server.invalid"
    assert len(mesh_in_process.calls) == 1


def test_the_plugin_is_there_by_itself_and_loads_the_stand_in_when_it_is_used(
    pytester: pytest.Pytester,
) -> None:
    pytester.makepyfile("""
        import sys

        def test_not_used():
            assert "mesh_facade.testing" not in sys.modules

        def test_used(mesh, mesh_in_process):
            assert mesh is mesh_in_process
            assert mesh.url.startswith("http://127.0.0.1:")
        """)

    done = pytester.runpytest_subprocess("-p", "no:randomly", "-p", "no:cacheprovider")

    done.assert_outcomes(passed=2)
