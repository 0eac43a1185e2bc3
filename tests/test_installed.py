"""`make test-wheel` runs the tests on the wheel; here is what makes sure of it."""

import os
from pathlib import Path

import mesh_connect_client
import pytest

import mesh_facade

pytestmark = pytest.mark.skipif(
    "INSTALLED_INTO" not in os.environ, reason="`make test-wheel` runs it on an installed wheel"
)


@pytest.mark.parametrize("package", [mesh_facade, mesh_connect_client])
def test_packages_under_test_come_from_the_installed_wheel(package: object) -> None:
    location = Path(str(getattr(package, "__file__", None)))
    assert location.is_relative_to(os.environ["INSTALLED_INTO"])
