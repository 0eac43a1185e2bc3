"""The servers of the spec, by environment."""

from __future__ import annotations

import pytest

from mesh_facade.operations.servers import sort_servers


def test_servers_are_sorted_by_environment() -> None:
    servers = ["https://mesh.example", "https://sandbox-mesh.example"]

    assert sort_servers(servers) == {
        "production": "https://mesh.example",
        "sandbox": "https://sandbox-mesh.example",
    }


def test_second_server_for_an_environment_is_refused() -> None:
    servers = ["https://mesh.example", "https://mesh-eu.example"]

    with pytest.raises(LookupError, match="two servers for production"):
        sort_servers(servers)
