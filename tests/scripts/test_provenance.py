"""The source that is kept beside the spec, and the record of where it comes from."""

import datetime as dt
import hashlib
import json
from pathlib import Path

import import_spec
import pytest
import yaml
from openapi_tools.json_values import SpecError

from tests.scripts.importing import OPENAPI, PAGE, SETTINGS_FILE, SPEC, Json, run_importer


@pytest.fixture
def openapi(tmp_path: Path) -> Path:
    """A folder that an import with --adopt has filled."""
    folder = tmp_path / "openapi"
    folder.mkdir()
    (folder / "import.yaml").write_bytes(SETTINGS_FILE.read_bytes())
    assert adopted(folder, PAGE) == 0
    return folder


def adopted(folder: Path, source: Path | str) -> int:
    return run_importer(source, folder / "mesh.yaml", "--adopt")


def record_of(folder: Path) -> Json:
    record: Json = yaml.safe_load((folder / "source" / "provenance.yaml").read_text("utf-8"))
    return record


def test_the_committed_source_and_spec_belong_together() -> None:
    import_spec.check_source()


def test_an_adopted_source_is_kept_byte_for_byte_with_its_record(openapi: Path) -> None:
    kept = openapi / "source" / PAGE.name
    assert kept.read_bytes() == PAGE.read_bytes()
    assert record_of(openapi) == {
        "file": PAGE.name,
        "from": "https://docs.meshconnect.com/api-reference/balance/get-account-balance.md",
        "imported": dt.datetime.now(dt.UTC).date().isoformat(),
        "sha256": hashlib.sha256(PAGE.read_bytes()).hexdigest(),
    }
    import_spec.check_source(openapi)


def test_a_source_of_another_kind_takes_the_place_of_the_last(
    openapi: Path, tmp_path: Path
) -> None:
    source = tmp_path / "spec.json"
    source.write_text(json.dumps(SPEC), "utf-8")
    assert adopted(openapi, source) == 0
    assert sorted(path.name for path in (openapi / "source").iterdir()) == [
        "provenance.yaml",
        "spec.json",
    ]
    assert record_of(openapi)["from"] == "spec.json"
    import_spec.check_source(openapi)


def test_other_files_in_the_folder_of_the_source_stay(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "thesis.txt").write_text("work of years")
    assert adopted(tmp_path, PAGE) == 0
    assert (tmp_path / "source" / "thesis.txt").read_text() == "work of years"


def test_the_record_of_a_fetched_source_has_its_address(
    openapi: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fetch(_: str) -> bytes:
        return json.dumps(SPEC).encode()

    monkeypatch.setattr(import_spec, "read_bytes", fetch)
    assert adopted(openapi, "https://a.example/spec.json?v=1") == 0
    assert record_of(openapi)["from"] == "https://a.example/spec.json?v=1"
    assert record_of(openapi)["file"] == "spec.json"


def test_the_record_changes_only_when_the_source_does(openapi: Path, tmp_path: Path) -> None:
    record = openapi / "source" / "provenance.yaml"
    past = record.read_text("utf-8").replace(record_of(openapi)["imported"], "2020-01-01")
    record.write_text(past, "utf-8")
    copy = tmp_path / "copy.md"
    copy.write_bytes(PAGE.read_bytes())
    assert adopted(openapi, copy) == 0
    assert record.read_text("utf-8") == past
    assert sorted(path.name for path in record.parent.iterdir()) == [PAGE.name, record.name]
    copy.write_text(json.dumps(SPEC), "utf-8")
    assert adopted(openapi, copy) == 0
    assert record_of(openapi)["imported"] == dt.datetime.now(dt.UTC).date().isoformat()


def test_a_source_that_is_refused_is_not_adopted(openapi: Path, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in openapi.rglob("*") if path.is_file()}
    assert adopted(openapi, tmp_path) == 1
    assert {path: path.read_bytes() for path in openapi.rglob("*") if path.is_file()} == before


def test_only_the_pinned_operations_can_be_adopted(openapi: Path) -> None:
    with pytest.raises(SystemExit, match="2"):
        import_spec.main([str(PAGE), "--output", str(openapi / "mesh.yaml"), "--adopt", "--all"])


@pytest.mark.parametrize(
    ("file", "problem"),
    [
        (
            f"source/{PAGE.name}",
            (
                f"{PAGE.name} is not the file that provenance.yaml records. To get that file back, "
                "run `git restore PATH`. To take this one as the new source, run `make spec`"
            ),
        ),
        ("mesh.yaml", f"mesh.yaml differs from the spec that {PAGE.name} gives: run `make spec`"),
    ],
)
def test_an_edited_file_is_reported(openapi: Path, file: str, problem: str) -> None:
    with (openapi / file).open("a", encoding="utf-8") as edited:
        edited.write("\n")
    with pytest.raises(SpecError) as caught:
        import_spec.check_source(openapi)
    path = str(openapi / file)
    assert str(caught.value).replace(f"restore {path}", "restore PATH").endswith(problem)


def test_another_file_beside_the_source_is_reported(openapi: Path) -> None:
    (openapi / "source" / ".DS_Store").touch()  # macOS leaves such files
    import_spec.check_source(openapi)
    (openapi / "source" / "copy.md").touch()
    with pytest.raises(SpecError, match=r"copy\.md is not the source of the spec"):
        import_spec.check_source(openapi)


def test_without_a_source_the_kept_one_is_imported(
    openapi: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = openapi / "source" / PAGE.name
    (openapi / "source" / "copy.md").touch()
    output = openapi / "mesh.yaml"
    output.unlink()

    exit_code = import_spec.main(
        ["--output", str(output), "--settings", str(SETTINGS_FILE), "--adopt"]
    )

    assert exit_code == 0
    assert output.exists()
    assert capsys.readouterr().out.endswith(f"{output}: imported from {kept}\n")


@pytest.mark.parametrize(
    "file", [f"source/{PAGE.name}", "source/provenance.yaml", "mesh.yaml", "import.yaml"]
)
def test_a_missing_file_is_reported(openapi: Path, file: str) -> None:
    (openapi / file).unlink()
    with pytest.raises(FileNotFoundError, match=file):
        import_spec.check_source(openapi)


def test_a_record_that_names_no_file_is_reported(openapi: Path) -> None:
    (openapi / "source" / "provenance.yaml").write_text("from: here\n", "utf-8")
    with pytest.raises(SpecError, match=r"provenance\.yaml: 'file' is missing"):
        import_spec.check_source(openapi)
    assert adopted(openapi, PAGE) == 1


def test_a_page_under_another_name_is_kept_under_the_name_of_the_last_page(
    openapi: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "saved-as-something-else.md"
    other.write_bytes(PAGE.read_bytes() + b"\nMore.\n")
    assert adopted(openapi, other) == 0
    kept = openapi / "source" / PAGE.name
    assert capsys.readouterr().out.endswith(f"from {other}, which is now kept as {kept}\n")
    assert kept.read_bytes() == other.read_bytes()
    assert sorted(path.name for path in (openapi / "source").iterdir()) == [
        PAGE.name,
        "provenance.yaml",
    ]
    assert record_of(openapi)["file"] == PAGE.name
    import_spec.check_source(openapi)


def test_the_source_that_readme_names_is_the_kept_one() -> None:
    readme = (OPENAPI.parent / "README.md").read_text("utf-8")
    assert f"openapi/source/{record_of(OPENAPI)['file']}" in readme


@pytest.mark.parametrize(
    ("source", "file"),
    [
        ("https://a.example/", "source.yaml"),
        ("https://a.example/?from=mesh.json", "source.yaml"),
        ("-", "source.yaml"),
        ("provenance.yaml", "source.yaml"),  # the name of the record itself
        ("https://a.example/mesh.json?v=1", "mesh.yaml"),
        ("a folder/what?.yml", "what?.yaml"),
    ],
)
def test_the_source_names_the_kept_file_or_it_is_called_source(
    openapi: Path, source: str, file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(_: str) -> bytes:
        return yaml.safe_dump(SPEC).encode()

    monkeypatch.setattr(import_spec, "read_bytes", read)
    assert adopted(openapi, source) == 0
    assert record_of(openapi)["file"] == file
    import_spec.check_source(openapi)


def test_a_record_that_names_a_file_elsewhere_is_refused(openapi: Path) -> None:
    record = openapi / "source" / "provenance.yaml"
    text = record.read_text("utf-8")
    record.write_text(text.replace(f"file: {PAGE.name}", "file: ../mesh.yaml"), "utf-8")
    with pytest.raises(
        SpecError, match=r"file: expected the name of a file in .*, not '\.\./mesh\.yaml'"
    ):
        import_spec.check_source(openapi)
    assert adopted(openapi, PAGE) == 1


@pytest.mark.parametrize("options", [["--adopt"], []])
def test_the_importers_own_output_is_refused_as_a_source(
    openapi: Path, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    mesh = openapi / "mesh.yaml"
    before = mesh.read_bytes()
    capsys.readouterr()
    assert import_spec.main([str(mesh), "--output", str(mesh), *options]) == 1
    assert capsys.readouterr().err.startswith(
        f"error: {mesh}: this is not a source, but what the importer wrote (mesh.yaml)"
    )
    assert mesh.read_bytes() == before
    assert record_of(openapi)["file"] == PAGE.name
