"""The fixtures that applications get."""

from __future__ import annotations

from decimal import Decimal

import pytest

from mesh_facade.testing import MockServer

pytest_plugins = ["pytester"]

# What a careful application sets. pytest reports a ResourceWarning of the garbage collector as a
# PytestUnraisableExceptionWarning, which this turns into a failure as well.
STRICT = ["-W", "error", "-p", "no:randomly", "-p", "no:cacheprovider"]


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


def test_pytest_finds_the_plugin_and_loads_openapi_core_only_when_a_fixture_is_used(
    pytester: pytest.Pytester,
) -> None:
    pytester.makepyfile("""
        import sys

        def test_not_used():
            assert not {"openapi_core", "mesh_facade.testing.contract"} & sys.modules.keys()

        def test_used(mesh, mesh_server, mesh_in_process):
            assert mesh is mesh_server
            assert mesh.url.startswith("http://127.0.0.1:")
            assert mesh_in_process is not mesh
        """)

    done = pytester.runpytest_subprocess("-p", "no:randomly", "-p", "no:cacheprovider")

    done.assert_outcomes(passed=2)


def test_the_plugin_closes_the_clients_that_it_hands_out(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("""
        import asyncio
        import gc
        from decimal import Decimal

        import pytest

        from mesh_facade import MeshError

        open_clients = []

        def show_cash(client, token):
            balance = client.get_account_balance(token, "coinbase")
            return f"{balance['USD'].cash:.2f} USD"

        def test_the_example_of_the_plugin(mesh):
            mesh.answers("a-token", cash={"USD": "158.5"})
            assert show_cash(mesh.client(), "a-token") == "158.50 USD"
            gc.collect()

        def test_other_clients(mesh, mesh_in_process):
            async def read():
                client = mesh.async_client()
                open_clients.append(client)
                await client.get_account_balance("a-token", "coinbase")

            with asyncio.Runner() as runner:
                runner.run(read())
                for server in (mesh, mesh_in_process):
                    client = server.client()
                    client.get_account_balance("a-token", "coinbase")
                    open_clients.append(client)
                runner.run(open_clients[0].aclose())

        def test_they_are_closed():
            for client in open_clients[1:]:
                with pytest.raises(MeshError, match="closed"):
                    client.get_account_balance("a-token", "coinbase")
            open_clients.clear()
            gc.collect()
        """)

    done = pytester.runpytest_subprocess(*STRICT)

    done.assert_outcomes(passed=3)


def test_async_clients_are_closed_in_an_event_loop_that_outlives_the_test(
    pytester: pytest.Pytester,
) -> None:
    pytester.makepyfile("""
        import asyncio
        import gc

        import pytest

        @pytest.fixture(scope="module")
        def runner():
            with asyncio.Runner() as runner:
                yield runner
                gc.collect()

        def test_a_call(runner, mesh):
            async def read():
                await mesh.async_client().get_account_balance("a-token", "coinbase")

            runner.run(read())

        def test_nothing_is_left(runner):
            gc.collect()
        """)

    done = pytester.runpytest_subprocess(*STRICT)

    done.assert_outcomes(passed=2)


def test_mesh_server_has_one_address_for_the_session_and_mesh_resets_it(
    pytester: pytest.Pytester,
) -> None:
    pytester.makepyfile("""
        import pytest

        urls = set()

        @pytest.fixture(scope="session")
        def client_of_the_session(mesh_server):
            mesh_server.fails("a-token", "html-502")
            return mesh_server.client(max_attempts=1)

        def test_answers_and_calls_from_before_the_test_are_forgotten(
            client_of_the_session, mesh
        ):
            client_of_the_session.get_account_balance("a-token", "coinbase")
            assert len(mesh.calls) == 1
            mesh.fails("a-token", "html-502")
            urls.add(mesh.url)

        def test_answers_and_calls_of_the_test_before_are_forgotten(client_of_the_session, mesh):
            assert mesh.calls == []
            client_of_the_session.get_account_balance("a-token", "coinbase")
            urls.add(mesh.url)

        def test_the_address_stayed_and_nothing_is_left(mesh_server):
            assert urls == {mesh_server.url}
            assert mesh_server.calls == []
        """)

    done = pytester.runpytest_subprocess(*STRICT)

    done.assert_outcomes(passed=3)
