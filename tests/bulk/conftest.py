"""A mock server for the tests of bulk runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mesh_facade.testing import MockServer

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def mesh() -> Iterator[MockServer]:
    with MockServer() as mesh:
        yield mesh
