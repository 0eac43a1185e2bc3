"""A pytest plugin: stand-ins for Mesh as fixtures. Needs the extra `testing`.

def test_the_cash_is_shown(mesh):
    mesh.answers("a-token", cash={"USD": "158.5"})
    assert show_cash(mesh.client(), "a-token") == "158.50 USD"
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from mesh_facade.testing import StandIn


@pytest.fixture
def mesh_in_process() -> "StandIn":
    """Return a stand-in for Mesh without a socket: its clients are answered within the process."""
    from mesh_facade.testing import StandIn  # noqa: PLC0415 — half a second that most tests save

    return StandIn()


@pytest.fixture
def mesh(mesh_in_process: "StandIn") -> Iterator["StandIn"]:
    """Start a stand-in for Mesh on a port of this machine; `mesh.client()` is a client of it.

    For programs of their own, `mesh.environment` has the variables that point them here.
    """
    with mesh_in_process:
        yield mesh_in_process
