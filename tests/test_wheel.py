"""The wheel holds what it should, and works away from the checkout."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from mesh_facade.testing import MockServer

ROOT = Path(__file__).parent.parent
EXAMPLE = """
import mesh_connect_client, mesh_facade, sys
assert mesh_facade.__file__.startswith(sys.argv[1]), mesh_facade.__file__
assert mesh_connect_client.__file__.startswith(sys.argv[1]), mesh_connect_client.__file__
with mesh_facade.MeshClient(environment="sandbox") as mesh:
    print(mesh.get_account_balance("a-token", "coinbase")["USD"].cash)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (built,) = folder.iterdir()
    return built


def test_the_wheel_carries_both_packages_their_types_and_the_spec(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {
        "mesh_facade/py.typed",
        "mesh_facade/testing/mock_server.py",
        "mesh_connect_client/py.typed",
        "mesh_connect_client/openapi.yaml",
    } <= names
    assert {name.split("/")[0].split("-")[0] for name in names} == {
        "mesh_facade",
        "mesh_connect_client",
    }


def test_the_wheel_carries_the_spec_byte_for_byte(wheel: Path) -> None:
    packed = zipfile.ZipFile(wheel).read("mesh_connect_client/mesh.yaml")
    assert packed == (ROOT / "openapi" / "mesh.yaml").read_bytes()


def test_the_example_works_from_the_installed_wheel(wheel: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    install = ["install", "--quiet", "--no-deps", "--no-index", "--target", str(site), str(wheel)]
    subprocess.run([sys.executable, "-m", "pip", *install], check=True, capture_output=True)
    with MockServer() as server:
        ran = subprocess.run(
            [sys.executable, "-c", EXAMPLE, str(site)],
            cwd=tmp_path,
            env=os.environ | server.environment | {"PYTHONPATH": str(site)},
            capture_output=True,
            text=True,
            check=False,
        )
    assert (ran.stdout, ran.stderr) == ("158.5\n", "")
