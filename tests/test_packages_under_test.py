"""The tests run on what the make target that started them says: a wheel, or httpx2."""

from __future__ import annotations

import os
from pathlib import Path

import httpcore
import httpx
import mesh_connect_client
import pytest

import mesh_facade


@pytest.mark.skipif("INSTALLED_INTO" not in os.environ, reason="this is not `make test-wheel`")
@pytest.mark.parametrize("package", [mesh_facade, mesh_connect_client])
def test_packages_under_test_come_from_the_installed_wheel(package: object) -> None:
    location = Path(str(getattr(package, "__file__", None)))
    assert location.is_relative_to(os.environ["INSTALLED_INTO"])


@pytest.mark.skipif("RUN_ON_HTTPX2" not in os.environ, reason="this is not `make test-httpx2`")
def test_httpx2_is_in_the_place_of_httpx() -> None:
    assert httpx.__name__ == "httpx2"
    assert httpcore.__name__ == "httpcore2"
