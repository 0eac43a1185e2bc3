import ast
import inspect
import os
import runpy
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_type_hints

import generate
import pytest
import yaml
from mesh_connect_client import AuthenticatedClient, Client
from mesh_connect_client import spec as generated_spec
from mesh_connect_client.api.balance import get_account_balance
from mesh_connect_client.models import (
    ApiResult,
    ApiResultStatus,
    B2BBrokerAccountBalanceModel,
    B2BBrokerAccountBalanceModelApiResult,
    BalanceBrokerBaseRequest,
    BrokerType,
)
from mesh_connect_client.types import Unset
from openapi_schema_validator import OAS30ReadValidator
from openapi_tools import import_all
from openapi_tools.documents import read_document
from openapi_tools.json_values import SpecError

# What the generated modules import for type checkers only.
MODELS = {"B2BBrokerAccountBalanceModel": B2BBrokerAccountBalanceModel}


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Generate from the project's own spec, over an earlier tree with files that are no more."""
    output = tmp_path_factory.mktemp("first") / "generated"
    (output / generate.PACKAGE).mkdir(parents=True)
    (output / generate.PACKAGE / "stale.py").touch()
    (output / "stray.txt").touch()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(generate, "OUTPUT", output)
        assert generate.main([f"--output={output}"]) == 0
    return output


@pytest.fixture
def old_tree(tmp_path: Path) -> Path:
    output = tmp_path / "generated"
    (output / generate.PACKAGE).mkdir(parents=True)
    (output / generate.PACKAGE / "client.py").write_text("old")
    return output


def contents(tree: Path) -> dict[str, bytes]:
    return {str(p.relative_to(tree)): p.read_bytes() for p in tree.rglob("*") if p.is_file()}


def spec_file(folder: Path, **changes: Any) -> Path:
    """Write the project's spec with some of its fields replaced."""
    path = folder / "spec.yaml"
    path.write_text(yaml.safe_dump(read_document(generate.SPEC) | changes))
    return path


# --- the tree -----------------------------------------------------------------------------------


def test_no_file_of_an_earlier_tree_survives(tree: Path) -> None:
    files = contents(tree)

    assert f"{generate.PACKAGE}/py.typed" in files
    assert not [name for name in files if "stale" in name or "stray" in name]


def test_second_run_gives_the_same_bytes_in_any_folder_and_environment(
    tree: Path, tmp_path: Path
) -> None:
    (tmp_path / "types.py").write_text("raise SystemExit('the caller's modules were imported')")
    (tmp_path / "ruff.toml").write_text("line-length = 40")
    ruff = tmp_path / "ruff"
    ruff.write_text("#!/bin/sh\nexit 1\n")
    ruff.chmod(0o755)
    hostile = {
        "PATH": f"{tmp_path}{os.pathsep}/usr/bin",
        "LC_ALL": "tr_TR.ISO-8859-9",
        "PYTHONUTF8": "0",
        "PYTHONHASHSEED": "77",
        "RUFF_LINE_LENGTH": "40",
        "TZ": "Asia/Tokyo",
    }

    output = tmp_path / "elsewhere" / "generated"
    command = [sys.executable, generate.__file__, f"--output={output}"]
    subprocess.run(command, cwd=tmp_path, env=hostile, check=True)

    assert contents(output) == contents(tree)


def test_generated_files_have_unix_line_ends_and_are_formatted(tree: Path) -> None:
    assert not [name for name, content in contents(tree).items() if b"\r" in content]
    command = [sys.executable, "-m", "ruff", "format", "--isolated", "--no-cache", "--check", tree]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0


def test_the_effective_document_is_the_spec_as_the_overlay_corrects_it(tree: Path) -> None:
    effective = read_document(tree / generate.PACKAGE / "openapi.yaml")
    spec = read_document(generate.SPEC)

    assert effective["servers"] == spec["servers"]
    assert effective["components"]["schemas"].keys() == spec["components"]["schemas"].keys()
    with_body = [each for each in operations(effective) if "requestBody" in each]
    assert "getAccountBalance" in [each["operationId"] for each in with_body]
    assert all(each["requestBody"]["required"] is True for each in with_body)


@pytest.mark.parametrize(
    "envelope",
    [{"status": "unheardOf"}, {"content": None}, {"errorData": None}, {"errorData": [1]}],
)
def test_effective_document_allows_the_answers_that_mesh_may_give(
    tree: Path, envelope: Any
) -> None:
    effective = read_document(tree / generate.PACKAGE / "openapi.yaml")
    schemas = effective["components"]["schemas"]
    schema = schemas["B2BBrokerAccountBalanceModelApiResult"] | {"components": {"schemas": schemas}}

    assert list(OAS30ReadValidator(schema).iter_errors(envelope)) == []


# --- descriptions -------------------------------------------------------------------------------


def operations(document: Any) -> Iterator[Any]:
    for path, method in generate.operations_of(document).values():
        yield document["paths"][path][method]


def descriptions(node: Any, place: str = "$") -> Iterator[tuple[str, str]]:
    """Walk a spec's texts: each description, and each summary, with its place."""
    if isinstance(node, dict):
        for key, value in node.items():
            is_text = key in {"description", "summary"} and isinstance(value, str)
            yield from (
                [(f"{place}.{key}", value)] if is_text else descriptions(value, f"{place}.{key}")
            )


def docstrings(tree: Path) -> str:
    texts = [
        text
        for path in tree.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        for text in [ast.get_docstring(node)]
        if text
    ]
    return normalised("\n".join(texts))


def normalised(text: str) -> str:
    return " ".join(text.split())


def test_every_description_of_the_spec_is_found_in_the_docstrings(tree: Path) -> None:
    spec = read_document(generate.SPEC)
    told = {place: text for place, text in descriptions(spec) if not place.startswith("$.info")}
    found = docstrings(tree)

    assert len(told) >= 15
    assert [place for place, text in told.items() if normalised(text) not in found] == []


# --- what the overlay is for, in the committed client -------------------------------------------


def test_request_accepts_any_broker_and_the_enum_of_brokers_stays() -> None:
    assert get_type_hints(BalanceBrokerBaseRequest)["type_"] is str
    assert BrokerType.COINBASE == "coinbase"


@pytest.mark.parametrize("envelope", [ApiResult, B2BBrokerAccountBalanceModelApiResult])
def test_envelope_accepts_any_status_and_the_enum_of_statuses_stays(envelope: Any) -> None:
    assert get_type_hints(envelope, localns=MODELS)["status"] == str | Unset
    assert envelope.from_dict({"status": "unheardOf"}).status == "unheardOf"
    assert ApiResultStatus.OK == "ok"


def test_the_type_of_the_content_and_of_the_error_data_admits_null() -> None:
    hints = get_type_hints(B2BBrokerAccountBalanceModelApiResult, localns=MODELS)

    assert hints["content"] == B2BBrokerAccountBalanceModel | None | Unset
    assert hints["error_data"] == Any | Unset


def test_the_operation_needs_its_body_and_takes_a_client_without_a_token() -> None:
    parameters = inspect.signature(get_account_balance.sync_detailed).parameters

    assert parameters["body"].default is inspect.Parameter.empty
    assert parameters["client"].annotation == AuthenticatedClient | Client


def test_the_hosts_and_the_headers_of_the_keys_are_the_specs() -> None:
    spec = read_document(generate.SPEC)

    assert tuple(server["url"] for server in spec["servers"]) == generated_spec.SERVERS
    assert generated_spec.API_KEY_HEADERS == {
        "Client-Id": "X-Client-Id",
        "Client-Secret": "X-Client-Secret",
    }


def test_script_runs_as_a_command(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["generate.py", "--help"])

    with pytest.raises(SystemExit) as exit_:
        runpy.run_path(generate.__file__, run_name="__main__")

    assert exit_.value.code == 0
    assert "--spec" in capsys.readouterr().out


# --- what is refused, and what is left then -----------------------------------------------------


def failure(capsys: pytest.CaptureFixture[str], *options: str) -> str:
    """Run the command, which has to fail with one line, and return that line."""
    assert generate.main(list(options)) == 1
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith("error: ")
    assert output.err.count("\n") == 1
    return output.err


def answering(kind: str, **schema: Any) -> Any:
    answer = {"200": {"description": "OK", "content": {kind: {"schema": schema}}}}
    return {"/a": {"get": {"operationId": "a", "responses": answer}}}


HEAD = "openapi: 3.0.3\ninfo: {title: A, version: '1'}\n"
NOWHERE = {"$ref": "#/components/schemas/Nowhere"}


@pytest.mark.parametrize(
    ("spec", "complaint"),
    [
        ("a: [", "not YAML"),
        ("[]", "expected a mapping"),
        (f"{HEAD}paths: {{}}".replace("3.0.3", "3.1.0"), "$.openapi: '3.1.0' does not match"),
        ("{openapi: 3.0.3, paths: {}}", "spec.yaml: $: 'info' is a required property"),
        (f"{HEAD}paths: {{/a: {{get: {{}}}}}}", "$.paths['/a'].get: 'responses' is a required"),
        (f"{HEAD}paths: []", "spec.yaml: $.paths: [] is not of type 'object'"),
        (f"{HEAD}paths: {{}}\nservers: [{{}}]", "$.servers[0]: 'url' is a required property"),
        (f"{HEAD}paths: {answering('a/b', **NOWHERE)}", "nothing at '/components/schemas/Nowhere'"),
    ],
)
def test_invalid_spec_is_refused_and_the_old_tree_stays(
    capsys: pytest.CaptureFixture[str], old_tree: Path, tmp_path: Path, spec: str, complaint: str
) -> None:
    path = tmp_path / "spec.yaml"
    path.write_text(spec)

    error = failure(capsys, f"--spec={path}", "--overlay=none", f"--output={old_tree}")

    assert complaint in error
    assert contents(old_tree) == {f"{generate.PACKAGE}/client.py": b"old"}
    assert {path.name for path in tmp_path.iterdir()} == {"spec.yaml", "generated"}


def test_warning_of_the_generator_is_an_error(
    capsys: pytest.CaptureFixture[str], old_tree: Path, tmp_path: Path
) -> None:
    spec = spec_file(tmp_path, paths=answering("application/of-tomorrow"))

    error = failure(capsys, f"--spec={spec}", "--overlay=none", f"--output={old_tree}")

    assert "Unsupported content_type" in error
    assert contents(old_tree) == {f"{generate.PACKAGE}/client.py": b"old"}


def test_error_names_the_missing_spec(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert "nowhere.yaml" in failure(capsys, f"--spec={tmp_path / 'nowhere.yaml'}")


def test_error_names_the_overlay_that_does_not_fit(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    spec = spec_file(tmp_path, components={})

    assert "overlay.yaml: action 1: " in failure(capsys, f"--spec={spec}")


@pytest.mark.parametrize(
    "setting", ["post_hook: []", "class_overrides: {A: {clas_name: B}}", "literal_enums: perhaps"]
)
def test_unknown_setting_of_the_generator_is_refused(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    setting: str,
) -> None:
    settings = tmp_path / "generator.yaml"
    settings.write_text(setting)
    monkeypatch.setattr(generate, "SETTINGS", settings)

    error = failure(capsys, f"--output={tmp_path / 'generated'}")

    assert f"{settings}: 1 validation error" in error
    assert setting.partition(":")[0] in error


def test_folder_with_other_files_is_not_replaced(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "thesis.txt").write_text("work of years")

    error = failure(capsys, f"--output={tmp_path}")

    assert f"{tmp_path}: this folder holds files, but no generated client" in error
    assert "Choose a new folder, or an empty one" in error
    assert contents(tmp_path) == {"thesis.txt": b"work of years"}


def test_folder_that_holds_a_client_beside_other_files_is_not_replaced(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(generate, "_run_generator", lambda _: None)
    (tmp_path / generate.PACKAGE).mkdir()
    (tmp_path / generate.PACKAGE / "client.py").write_text("old")
    (tmp_path / "thesis.txt").write_text("work of years")

    error = failure(capsys, f"--output={tmp_path}")

    assert f"{tmp_path}: this folder holds 'thesis.txt' beside the generated client" in error
    assert "Choose a new folder, or an empty one" in error
    assert contents(tmp_path) == {
        "thesis.txt": b"work of years",
        f"{generate.PACKAGE}/client.py": b"old",
    }


def test_old_tree_stays_if_the_new_one_cannot_be_moved(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, old_tree: Path
) -> None:
    rename = Path.rename

    def failing_rename(path: Path, target: Path) -> Path:
        if path.name == "new":
            raise OSError(28, "No space left on device", str(target))
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", failing_rename)
    monkeypatch.setattr(generate, "_run_generator", lambda _: None)

    assert "No space left" in failure(capsys, f"--output={old_tree}")

    assert contents(old_tree) == {f"{generate.PACKAGE}/client.py": b"old"}


def test_failure_leaves_no_new_folder(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    spec = spec_file(tmp_path, paths=answering("application/of-tomorrow"))
    output = tmp_path / "new" / "folder" / "generated"

    error = failure(capsys, f"--spec={spec}", "--overlay=none", f"--output={output}")

    assert "Unsupported content_type" in error
    assert [path.name for path in tmp_path.iterdir()] == ["spec.yaml"]


def test_empty_folder_is_replaced(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    output = tmp_path / "generated"
    output.mkdir()
    monkeypatch.setattr(generate, "_run_generator", lambda _: None)

    assert generate.main([f"--output={output}"]) == 0

    assert [path.name for path in output.iterdir()] == [generate.PACKAGE]


def test_old_tree_stays_if_the_moves_are_interrupted(
    monkeypatch: pytest.MonkeyPatch, old_tree: Path
) -> None:
    rename = Path.rename

    def interrupted_rename(path: Path, target: Path) -> Path:
        moved = rename(path, target)
        if path == old_tree:
            raise KeyboardInterrupt
        return moved

    monkeypatch.setattr(Path, "rename", interrupted_rename)
    monkeypatch.setattr(generate, "_run_generator", lambda _: None)

    with pytest.raises(KeyboardInterrupt):
        generate.main([f"--output={old_tree}"])

    assert contents(old_tree) == {f"{generate.PACKAGE}/client.py": b"old"}


def test_failed_move_to_a_new_place_raises_its_own_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    rename = Path.rename

    def failing_rename(path: Path, target: Path) -> Path:
        if path.name == "new":
            raise OSError(28, "No space left on device", str(target))
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", failing_rename)

    with pytest.raises(OSError, match="No space left"):
        generate.put_in_place(tmp_path / "target", tmp_path / "new")


def test_unneeded_action_of_the_overlay_is_reported(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    overlay = tmp_path / "overlay.yaml"
    action = {
        "target": "$.info",
        "update": {"version": read_document(generate.SPEC)["info"]["version"]},
    }
    overlay.write_text(yaml.safe_dump({"overlay": "1.0.0", "actions": [action]}))
    monkeypatch.setattr(generate, "_run_generator", lambda _: None)

    assert generate.main([f"--overlay={overlay}", f"--output={tmp_path / 'generated'}"]) == 0

    assert "action 1: $.info: the action has no effect, because the spec" in capsys.readouterr().out


def test_other_headers_and_parts_without_description_are_left_out(
    tmp_path: Path,
) -> None:
    document = {
        "paths": {
            "/a": {
                "get": {
                    "parameters": [{"name": "UserId", "description": "Whose"}, {"name": "Other"}],
                    "responses": {"200": {"description": "OK"}},
                }
            }
        },
        "components": {"securitySchemes": {"Bearer": {"type": "http", "description": "A token"}}},
    }

    generate._merge_descriptions(document)
    generate._write_our_files(document, tmp_path)

    assert (
        document["paths"]["/a"]["get"]["description"]
        == "\n- UserId: Whose\n- 200: OK\n- Bearer: A token"
    )
    assert "API_KEY_HEADERS: dict[str, str] = {}" in (tmp_path / "spec.py").read_text()


def test_every_part_of_an_operation_keeps_its_description() -> None:
    schemes = {
        "Bearer": {"type": "http", "scheme": "bearer", "description": "A token"},
        "Login": {"type": "oauth2", "flows": {}, "description": "A login"},
    }
    parameters = [
        {"in": "path", "name": "id", "description": "Which account"},
        {"in": "query", "name": "id", "description": "Which user"},
    ]
    document = {
        "paths": {"/a/{id}": {"get": {"parameters": parameters, "responses": {}}}},
        "components": {"securitySchemes": schemes},
    }

    generate._merge_descriptions(document)

    assert document["paths"]["/a/{id}"]["get"]["description"].splitlines() == [
        "",
        "- id: Which account",
        "- id: Which user",
        "- Bearer: A token",
        "- Login: A login",
    ]


# --- a package that cannot be imported ----------------------------------------------------------


def test_package_that_cannot_be_imported_is_refused_and_the_old_tree_stays(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, old_tree: Path
) -> None:
    def generate_broken(package: Path) -> None:
        (package / "__init__.py").touch()
        (package / "models.py").write_text("from .nowhere import BrokerType\n")

    monkeypatch.setattr(generate, "_run_generator", generate_broken)

    error = failure(capsys, f"--output={old_tree}")

    assert "the generated package cannot be imported, so nothing changed: ModuleNotFound" in error
    assert f"({generate.PACKAGE}/models.py). In openapi/overlay.yaml, correct" in error
    assert contents(old_tree) == {f"{generate.PACKAGE}/client.py": b"old"}


def test_import_that_ends_without_a_traceback_is_reported_with_its_exit_code(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, old_tree: Path
) -> None:
    def generate_silently_ending(package: Path) -> None:
        (package / "__init__.py").write_text("import os; os._exit(3)\n")

    monkeypatch.setattr(generate, "_run_generator", generate_silently_ending)

    error = failure(capsys, f"--output={old_tree}")

    assert f"its process ended with exit code 3 ({generate.PACKAGE}). In openapi" in error
    assert contents(old_tree) == {f"{generate.PACKAGE}/client.py": b"old"}


def test_facade_that_is_not_there_is_refused_by_its_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(
        generate, "_run_generator", lambda package: (package / "__init__.py").touch()
    )

    with pytest.raises(SpecError, match=r"No module named 'my_facade' \(my_facade\)\. Adapt"):
        generate.generate(generate.SPEC, None, tmp_path / "new", facade=tmp_path / "my_facade")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let `--output` be the project's own, whose facade imports one class of the client."""
    facade = tmp_path / generate.FACADE
    facade.mkdir()
    (facade / "__init__.py").write_text(f"from {generate.PACKAGE}.models import BrokerType\n")
    monkeypatch.setattr(generate, "ROOT", tmp_path)
    monkeypatch.setattr(generate, "OUTPUT", tmp_path / "generated")
    return tmp_path


def test_package_that_the_facade_cannot_import_is_refused_and_the_old_tree_stays(
    capsys: pytest.CaptureFixture[str], old_tree: Path, project: Path
) -> None:
    components = read_document(generate.SPEC)["components"]
    components["schemas"]["Broker"] = components["schemas"].pop("BrokerType")
    spec = spec_file(project, components=components)

    error = failure(capsys, f"--spec={spec}", f"--output={old_tree}")

    assert "mesh_facade cannot be imported with the new mesh_connect_client" in error
    assert "cannot import name 'BrokerType'" in error
    assert "`scripts/generate.py --output=FOLDER`" in error
    assert contents(old_tree) == {f"{generate.PACKAGE}/client.py": b"old"}


def test_package_that_does_not_suit_the_facade_can_be_written_elsewhere(project: Path) -> None:
    components = read_document(generate.SPEC)["components"]
    components["schemas"]["Broker"] = components["schemas"].pop("BrokerType")
    spec = spec_file(project, components=components)

    assert generate.main([f"--spec={spec}", f"--output={project / 'elsewhere'}"]) == 0


def test_package_that_the_facade_can_import_is_put_in_place_without_compiled_modules(
    old_tree: Path, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    caller = project / "caller"
    caller.mkdir()
    (caller / "attrs.py").write_text("raise SystemExit('imported from the caller')")
    monkeypatch.chdir(caller)
    monkeypatch.setenv("PYTHONPATH", str(caller))
    monkeypatch.setenv("SYSTEMROOT", "C:\\Windows")

    assert generate.main([f"--output={old_tree}"]) == 0

    assert "client.py" in {path.name for path in (old_tree / generate.PACKAGE).iterdir()}
    assert not list(old_tree.rglob("__pycache__"))


def test_error_holds_the_last_line_of_the_generators_traceback(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nprintf 'Traceback\\n  File x\\nValueError: why\\n' >&2; exit 1\n")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))

    error = failure(capsys, f"--output={tmp_path / 'generated'}")

    assert error == "error: the generator failed: ValueError: why\n"


def test_generator_that_ends_without_a_word_is_reported_with_its_exit_code(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nexit 3\n")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))

    error = failure(capsys, f"--output={tmp_path / 'generated'}")

    assert error == "error: the generator failed: its process ended with exit code 3\n"


def test_generator_runs_with_the_variable_that_python_on_windows_needs(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\necho "root is $SYSTEMROOT, home is $HOME" >&2; exit 1\n')
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    monkeypatch.setenv("SYSTEMROOT", "Windows")

    error = failure(capsys, f"--output={tmp_path / 'generated'}")

    assert error == "error: the generator failed: root is Windows, home is\n"


def test_message_of_a_program_is_read_as_utf_8_whatever_the_locale_is(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho 'déjà \\0377' >&2; exit 1\n", encoding="utf-8")
    python.chmod(0o755)
    program = (
        "import sys, generate; sys.executable = sys.argv[1]; sys.exit(generate.main(sys.argv[2:]))"
    )
    command = [sys.executable, "-c", program, python, f"--output={tmp_path / 'generated'}"]
    environment = {
        "LC_ALL": "C",
        "PYTHONUTF8": "0",
        "PYTHONCOERCECLOCALE": "0",
        "PYTHONIOENCODING": "utf-8",
        "PYTHONPATH": str(Path(generate.__file__).parent),
    }

    run = subprocess.run(command, env=environment, capture_output=True, check=False)

    assert run.returncode == 1
    assert run.stderr.decode() == "error: the generator failed: déjà \ufffd\n"


@pytest.fixture
def _forget_made_up_modules(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Keep the modules and folders that a test imports from out of other tests."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield
    for name in list(sys.modules):
        if name.startswith("made_up_"):
            del sys.modules[name]


@pytest.mark.usefixtures("_forget_made_up_modules")
def test_import_all_imports_every_module_of_a_package_and_its_user(tmp_path: Path) -> None:
    for name in ("made_up_client", "made_up_client/models", "made_up_facade"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").touch()
    (tmp_path / "made_up_client/models/broker.py").touch()
    (tmp_path / "made_up_facade/extra.py").write_text("raise ImportError('an extra is missing')")

    import_all.main([str(tmp_path / "made_up_client"), str(tmp_path / "made_up_facade")])

    assert {"made_up_client.models.broker", "made_up_facade"} <= sys.modules.keys()
    assert "made_up_facade.extra" not in sys.modules


@pytest.mark.usefixtures("_forget_made_up_modules")
def test_import_all_runs_as_a_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "made_up_package").mkdir()
    (tmp_path / "made_up_package/__init__.py").touch()
    arguments = ["import_all.py", str(tmp_path / "made_up_package")]
    monkeypatch.setattr(sys, "argv", arguments)

    runpy.run_path(import_all.__file__, run_name="__main__")

    assert "made_up_package" in sys.modules
