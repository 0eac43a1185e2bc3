"""A pytest plugin: mock Mesh servers as fixtures. Needs the extra `testing`.

    def test_the_cash_is_shown(mesh):
        mesh.answers("a-token", cash={"USD": "158.5"})
        assert show_cash(mesh.client(), "a-token") == "158.50 USD"

pytest finds the plugin by itself. It closes the clients that the fixtures hand out.
"""

from collections.abc import Iterator

import pytest

from mesh_facade.testing.mock_server import MockServer


@pytest.fixture(scope="session")
def mesh_server() -> Iterator[MockServer]:
    """Run one mock Mesh server for all tests, at one address.

    Use it in session-scoped fixtures, to start a program that is to call it: `environment` has the
    variables that point the program here. In tests, use `mesh`, which is the same server.
    """
    with MockServer() as server:
        yield server


@pytest.fixture
def mesh(mesh_server: MockServer) -> Iterator[MockServer]:
    """Return the mock Mesh server of the session, without the answers and calls of other tests.

    `mesh.client()` is a client of it, which is closed after the test. `mesh.environment`
    has the environment variables with which a program in another process calls this server.
    """
    with mesh_server.isolated():
        yield mesh_server


@pytest.fixture
def mesh_in_process() -> Iterator[MockServer]:
    """Return a mock Mesh server without a socket: its clients are answered within the process.

    Its clients are closed after the test.
    """
    server = MockServer()
    with server.isolated():
        yield server
