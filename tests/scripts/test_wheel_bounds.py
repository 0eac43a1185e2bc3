"""The lower bounds of a wheel are pinned, and what was installed is compared with them."""

from __future__ import annotations

import runpy
import sys
import zipfile
from pathlib import Path

import pytest
import wheel_bounds

EXTRAS = ["cli", "dask"]


def write_wheel(folder: Path, *requirements: str, name: str = "mesh-facade") -> Path:
    """Write a wheel that holds nothing but its metadata."""
    wheel = folder / "mesh_facade-1.0-py3-none-any.whl"
    lines = ["Metadata-Version: 2.4", f"Name: {name}", "Version: 1.0"]
    lines += [f"Provides-Extra: {extra}" for extra in EXTRAS]
    lines += [f"Requires-Dist: {requirement}" for requirement in requirements]
    with zipfile.ZipFile(wheel, "w") as archive:
        folder_name = f"{name.replace('-', '_')}-1.0.dist-info"
        archive.writestr(f"{folder_name}/METADATA", "\n".join([*lines, "", ""]))
    return wheel


def install(site_packages: Path, **versions: str) -> Path:
    """Make a site-packages folder that holds the metadata of these distributions."""
    for name, version in versions.items():
        folder = site_packages / f"{name}-{version}.dist-info"
        folder.mkdir(parents=True)
        (folder / "METADATA").write_text(f"Name: {name}\nVersion: {version}\n")
    return site_packages


def test_every_lower_bound_is_pinned_those_of_the_extras_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wheel = write_wheel(
        tmp_path,
        "httpx<0.29,>=0.28.1",
        "click<9,>=8.2; extra == 'cli'",
        "mesh-facade[dask]; extra == 'cli'",
        "dask[bag]>=2024.8; extra == 'dask'",
        "PyYAML>=6",
    )

    assert wheel_bounds.main(["pin", str(wheel)]) == 0

    printed = capsys.readouterr().out.splitlines()
    assert printed == ["httpx==0.28.1", "click==8.2", "dask==2024.8", "pyyaml==6"]


def test_requirements_of_other_environments_are_left_out(tmp_path: Path) -> None:
    wheel = write_wheel(tmp_path, "httpx>=0.28.1; python_version < '3'", "attrs>=23.2")
    requirements = wheel_bounds.direct_requirements(wheel)
    assert [requirement.name for requirement in requirements] == ["attrs"]


@pytest.mark.parametrize("bounds", [("8.1", "8.2"), ("8.2", "8.1")])
def test_the_higher_of_two_lower_bounds_is_pinned(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], bounds: tuple[str, str]
) -> None:
    wheel = write_wheel(tmp_path, *[f"click>={bound}" for bound in bounds])
    assert wheel_bounds.main(["pin", str(wheel)]) == 0
    assert capsys.readouterr().out == "click==8.2\n"


def test_dependency_without_a_lower_bound_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wheel = write_wheel(tmp_path, "httpx<0.29")
    assert wheel_bounds.main(["pin", str(wheel)]) == 1
    assert "httpx<0.29: no lower bound" in capsys.readouterr().err


def test_another_project_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wheel = write_wheel(tmp_path, name="another")
    assert wheel_bounds.main(["pin", str(wheel)]) == 1
    assert f"{wheel}: no metadata of mesh-facade" in capsys.readouterr().err


def test_versions_at_their_lower_bounds_pass(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wheel = write_wheel(tmp_path, "attrs>=23.2", "PyYAML>=6.0.1")
    site_packages = install(tmp_path / "site-packages", attrs="23.2.0", PyYAML="6.0.1")

    assert wheel_bounds.main(["check", str(wheel), str(site_packages)]) == 0

    assert capsys.readouterr().out == "At their lower bounds: attrs 23.2, pyyaml 6.0.1\n"


def test_newer_and_missing_versions_fail_and_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wheel = write_wheel(tmp_path, "attrs>=23.2", "PyYAML>=6.0.1", "httpx>=0.28.1")
    site_packages = install(tmp_path / "site-packages", attrs="26.1.0", httpx="0.28.1")

    assert wheel_bounds.main(["check", str(wheel), str(site_packages)]) == 1

    assert capsys.readouterr().err.splitlines() == [
        "error: attrs: 26.1.0 is installed, not its lower bound 23.2",
        "error: pyyaml: not installed, its lower bound is 6.0.1",
    ]


def test_the_script_runs_as_a_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    wheel = write_wheel(tmp_path, "attrs>=23.2")
    monkeypatch.setattr(sys, "argv", ["wheel_bounds.py", "pin", str(wheel)])

    with pytest.raises(SystemExit) as exit_info:
        runpy.run_path(wheel_bounds.__file__, run_name="__main__")

    assert exit_info.value.code == 0
    assert capsys.readouterr().out == "attrs==23.2\n"
