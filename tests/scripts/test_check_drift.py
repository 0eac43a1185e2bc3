import runpy
import shutil
from pathlib import Path
from typing import Any

import check_drift
import pytest
from generate import OUTPUT, OVERLAY, PACKAGE, SPEC
from openapi_tools.json_values import SpecError


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let a copy of the generated tree be checked, where regenerating gives what is committed."""
    copy = tmp_path / "generated"
    shutil.copytree(OUTPUT, copy, ignore=shutil.ignore_patterns("__pycache__"))

    def regenerate(spec: Path, overlay: Path, output: Path) -> list[str]:
        assert (spec, overlay) == (SPEC, OVERLAY)
        shutil.copytree(OUTPUT, output)
        return []

    monkeypatch.setattr(check_drift, "OUTPUT", copy)
    monkeypatch.setattr(check_drift, "generate", regenerate)
    monkeypatch.setattr(check_drift, "check_source", lambda: None)
    return copy


def failure(capsys: pytest.CaptureFixture[str]) -> str:
    """Run the check, which has to fail saying what to run, and return the differences."""
    assert check_drift.main() == 1
    output = capsys.readouterr()
    assert output.err.endswith("is not what the spec gives, see above: run `make generate`\n")
    return output.out


def test_committed_project_has_no_drift(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        runpy.run_path(check_drift.__file__, run_name="__main__")

    output = capsys.readouterr()
    assert exit_.value.code == 0
    assert output.out.count("\n") == 1
    assert output.err == ""


def test_compiled_modules_are_ignored(tree: Path) -> None:
    (tree / PACKAGE / "__pycache__").mkdir()
    (tree / PACKAGE / "__pycache__" / "client.pyc").write_bytes(b"\xff")

    assert check_drift.main() == 0


def test_an_edited_line_is_shown_as_a_diff(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    edited = tree / PACKAGE / "spec.py"
    edited.write_text(edited.read_text().replace("API_KEY_HEADERS", "KEYS"))

    shown = failure(capsys)

    assert shown.startswith(
        f"changed: generated/{PACKAGE}/spec.py\n--- generated/{PACKAGE}/spec.py\n"
    )
    assert "\n-KEYS: dict[str, str] = {" in shown
    assert "\n+API_KEY_HEADERS: dict[str, str] = {" in shown


@pytest.mark.parametrize("change", [b"\r\n", b"\xff\n", b""])
def test_edit_of_a_single_byte_is_found(
    tree: Path, capsys: pytest.CaptureFixture[str], change: bytes
) -> None:
    edited = tree / PACKAGE / "errors.py"
    edited.write_bytes(edited.read_bytes().removesuffix(b"\n") + change)

    assert f"changed: generated/{PACKAGE}/errors.py" in failure(capsys)


@pytest.mark.parametrize("content", ["", "import os\n"])
def test_added_file_is_named(tree: Path, capsys: pytest.CaptureFixture[str], content: str) -> None:
    (tree / "stray.py").write_text(content)

    assert failure(capsys).splitlines()[0] == "added: generated/stray.py"


@pytest.mark.parametrize("name", ["py.typed", "models/__init__.py"])
def test_deleted_file_is_named(tree: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    (tree / PACKAGE / name).unlink()

    assert failure(capsys).splitlines()[0] == f"deleted: generated/{PACKAGE}/{name}"


def test_spec_that_differs_from_its_source_is_drift(
    tree: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> None:
        raise SpecError("mesh.yaml is edited")

    monkeypatch.setattr(check_drift, "check_source", refuse)

    assert check_drift.main() == 1
    assert capsys.readouterr().err == "error: mesh.yaml is edited\n"
    assert tree.exists()


def test_spec_without_a_client_is_an_error_of_its_own(
    tree: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise SpecError("mesh.yaml: paths: expected a mapping")

    monkeypatch.setattr(check_drift, "generate", refuse)

    assert check_drift.main() == 1
    assert capsys.readouterr().err == "error: mesh.yaml: paths: expected a mapping\n"
    assert tree.exists()
