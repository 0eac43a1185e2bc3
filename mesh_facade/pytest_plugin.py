"""A pytest plugin: the fixture `mesh`, a stand-in that listens for as long as the test runs."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from mesh_facade.testing import StandIn


@pytest.fixture
def mesh() -> Iterator["StandIn"]:
    """Start a stand-in for Mesh; `mesh.client()` is a client of it."""
    from mesh_facade.testing import StandIn  # noqa: PLC0415 — half a second that most tests save

    with StandIn() as stand_in:
        yield stand_in
