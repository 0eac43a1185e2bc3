"""The servers of the spec, by environment."""

from __future__ import annotations

import pytest

from mesh_facade.operations.servers import map_environments_to_servers


def test_servers_are_sorted_by_environment() -> None:
    servers = ["https://mesh.example", "https://sandbox-mesh.example"]

    assert map_environments_to_servers(servers) == {
        "production": "https://mesh.example",
        "sandbox": "https://sandbox-mesh.example",
    }


def test_second_server_for_an_environment_is_refused() -> None:
    servers = ["https://mesh.example", "https://mesh-eu.example"]

    with pytest.raises(LookupError, match="two servers for production"):
        map_environments_to_servers(servers)
