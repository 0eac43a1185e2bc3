"""A mock Mesh server for tests and trials. Needs the extra `testing`.

    with MockServer() as mesh, mesh.client() as client:
        mesh.answers("a-token", cash={"USD": "158.5"})
        assert client.get_account_balance("a-token", "coinbase").cash("USD") == Decimal("158.5")

The modules: `mock_server` is the server as its users see it; `answers` and `faults` are the data
that it sends; `contract` checks requests against the OpenAPI document; `http_server` speaks HTTP;
`clients` closes the clients that were handed out; `pytest_plugin` has the fixtures.
"""

from mesh_facade.testing.faults import FAULTS, Fault
from mesh_facade.testing.mock_server import Call, MockServer

__all__ = ["FAULTS", "Call", "Fault", "MockServer"]
