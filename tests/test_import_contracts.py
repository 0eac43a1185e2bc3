"""The contracts of pyproject.toml on imports: each catches what it forbids, and nothing else.

They run on a package made for the test, with the names of mesh_facade and a module for each.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PYPROJECT = Path(__file__).parent.parent / "pyproject.toml"
LINT_IMPORTS = Path(sys.executable).with_name("lint-imports")

LAYERS = "Each layer imports only what lies below it; the engine knows nothing of ours but errors"
GENERATED = "Only operations and client import the generated client"
EXTRAS = "Nothing but an extra imports an extra"
PUBLIC_NAMES = "Extras use the public names of mesh_facade"

ALLOWED_IMPORTS = {
    "mesh_facade/__init__.py": """
        from mesh_connect_client.models import BrokerType
        from mesh_facade import errors
        from mesh_facade.balances import balances
        from mesh_facade.bulk import bulk
        from mesh_facade.client import client
        from mesh_facade.engine.attempts import attempts
        """,
    "mesh_facade/_version.py": "",
    "mesh_facade/balances.py": "import mesh_facade.engine.attempts, mesh_facade.errors",
    "mesh_facade/bulk.py": """
        import mesh_facade.balances, mesh_facade.engine.attempts, mesh_facade.errors
        import mesh_facade.link_payload, mesh_facade.operations.account_balance
        """,
    "mesh_facade/client.py": """
        import mesh_connect_client
        import mesh_facade._version, mesh_facade.balances, mesh_facade.bulk
        import mesh_facade.credentials, mesh_facade.engine, mesh_facade.errors
        import mesh_facade.operations.account_balance, mesh_facade.options
        """,
    "mesh_facade/credentials.py": "import mesh_facade.errors, mesh_facade.operations.envelope",
    "mesh_facade/errors.py": "",
    "mesh_facade/link_payload.py": "",
    "mesh_facade/logs.py": "import mesh_facade.errors",
    "mesh_facade/pacing.py": "import mesh_facade.engine.attempts, mesh_facade.errors",
    "mesh_facade/options.py": "import mesh_facade.errors, mesh_facade.operations.envelope",
    "mesh_facade/engine/__init__.py": "import mesh_facade.engine.attempts",
    "mesh_facade/engine/attempts.py": "import httpx, mesh_facade.errors",
    "mesh_facade/engine/proxies.py": "import mesh_facade.errors",
    "mesh_facade/engine/redaction.py": "import mesh_facade.errors",
    "mesh_facade/engine/thread_connection.py": "import mesh_facade.errors",
    "mesh_facade/engine/tls.py": "import mesh_facade.errors",
    "mesh_facade/operations/__init__.py": "",
    "mesh_facade/operations/servers.py": "import mesh_connect_client.models",
    "mesh_facade/operations/envelope.py": """
        import mesh_connect_client.models, mesh_facade.engine, mesh_facade.errors
        """,
    "mesh_facade/operations/account_balance.py": """
        import mesh_connect_client.api, mesh_facade.balances, mesh_facade.operations.envelope
        """,
    "mesh_facade/cli/__init__.py": "from mesh_facade.cli import doctor",
    "mesh_facade/cli/doctor.py": """
        from mesh_facade import MeshClient
        from mesh_facade.testing import mock_server
        import mesh_facade.engine.proxies, mesh_facade.operations.servers, mesh_facade.options
        import mesh_facade.engine.thread_connection, mesh_facade.engine.tls
        """,
    "mesh_facade/testing/__init__.py": "from mesh_facade.testing import mock_server",
    "mesh_facade/testing/mock_server.py": "from mesh_facade import MeshClient",
    "mesh_facade/dask.py": """
        from mesh_facade import MeshClient
        import mesh_facade.engine.redaction
        """,
    "mesh_connect_client/__init__.py": "",
    "mesh_connect_client/api.py": "import mesh_connect_client.models",
    "mesh_connect_client/models.py": "",
}


def lint_imports(folder: Path) -> tuple[int, list[str]]:
    """Run the contracts in a folder; return the exit code and the names of those broken."""
    if not LINT_IMPORTS.exists():
        pytest.skip("import-linter is not installed: see requirements/extras.in")
    shutil.copy(PYPROJECT, folder)
    environment = os.environ | {"PYTHONPATH": str(folder), "COLUMNS": "200"}
    command = [LINT_IMPORTS, "--no-cache", "--no-logo"]
    ran = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    broken: list[str] = []
    for line in ran.stdout.splitlines():
        name, separator, _ = line.partition(" BROKEN")
        if separator:
            broken.append(name)
    assert broken or "0 broken" in ran.stdout, ran.stdout + ran.stderr
    return ran.returncode, broken


def write_package(folder: Path) -> None:
    """Write the modules with the imports that the contracts allow."""
    for name, source in ALLOWED_IMPORTS.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = [line.strip() for line in source.splitlines()]
        path.write_text("\n".join(lines) + "\n")


def test_the_imports_of_the_design_keep_all_contracts(tmp_path: Path) -> None:
    write_package(tmp_path)
    assert lint_imports(tmp_path) == (0, [])


@pytest.mark.parametrize(
    ("module", "statement", "contracts"),
    [
        ("engine/attempts", "import mesh_facade.balances", [LAYERS]),
        ("engine/attempts", "import mesh_facade.options", [LAYERS]),
        ("engine/attempts", "from mesh_facade.operations import envelope", [LAYERS]),
        ("engine/attempts", "from mesh_facade import MeshClient", [LAYERS]),
        ("engine/attempts", "import mesh_facade._version", [LAYERS]),
        ("engine/attempts", "import mesh_connect_client.models", [GENERATED]),
        ("errors", "import mesh_facade.engine", [LAYERS]),
        ("balances", "import mesh_facade.operations.envelope", [LAYERS]),
        ("balances", "import mesh_connect_client", [GENERATED]),
        ("operations/envelope", "import mesh_facade.client", [LAYERS]),
        ("operations/account_balance", "import mesh_facade.bulk", [LAYERS]),
        ("credentials", "import mesh_connect_client", [GENERATED]),
        ("credentials", "import mesh_facade.options", [LAYERS]),
        ("balances", "import mesh_facade.link_payload", [LAYERS]),
        ("bulk", "import mesh_facade.client", [LAYERS]),
        ("bulk", "import mesh_connect_client.models", [GENERATED]),
        ("client", "import mesh_facade.cli", [LAYERS, EXTRAS]),
        ("client", "def f():\n    import mesh_facade.testing.mock_server", [LAYERS, EXTRAS]),
        ("__init__", "import mesh_facade.dask", [EXTRAS]),
        ("__init__", "import mesh_connect_client.api", [GENERATED]),
        ("testing/mock_server", "import mesh_facade.cli", [LAYERS]),
        ("testing/mock_server", "import mesh_connect_client", [GENERATED]),
        ("testing/mock_server", "import mesh_facade.engine.attempts", [PUBLIC_NAMES]),
        ("cli/doctor", "import mesh_facade.credentials", [PUBLIC_NAMES]),
        ("cli/doctor", "from mesh_facade.errors import MeshError", [PUBLIC_NAMES]),
        ("dask", "import mesh_facade.client", [PUBLIC_NAMES]),
    ],
)
def test_import_against_the_design_breaks_its_contract(
    tmp_path: Path, module: str, statement: str, contracts: list[str]
) -> None:
    write_package(tmp_path)
    with (tmp_path / f"mesh_facade/{module}.py").open("a") as source:
        source.write(f"{statement}\n")
    assert lint_imports(tmp_path) == (1, contracts)


def test_new_module_must_be_given_its_layer(tmp_path: Path) -> None:
    write_package(tmp_path)
    (tmp_path / "mesh_facade" / "newcomer.py").touch()
    assert lint_imports(tmp_path) == (1, [LAYERS])
