"""A pytest plugin: mock Mesh servers as fixtures. Needs the extra `testing`.

def test_the_cash_is_shown(mesh):
    mesh.answers("a-token", cash={"USD": "158.5"})
    assert show_cash(mesh.client(), "a-token") == "158.50 USD"
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from mesh_facade.testing import MockServer


@pytest.fixture
def mesh_in_process() -> "MockServer":
    """Return a mock Mesh server without a socket: its clients are answered within the process."""
    from mesh_facade.testing import MockServer  # noqa: PLC0415 — half a second that most tests save

    return MockServer()


@pytest.fixture
def mesh(mesh_in_process: "MockServer") -> Iterator["MockServer"]:
    """Start a mock Mesh server on a port of this machine; `mesh.client()` is a client of it.

    For programs of their own, `mesh.environment` has the variables that point them here.
    """
    with mesh_in_process:
        yield mesh_in_process
