"""Generates the client package anew from the spec and its overlay: `make generate`."""

import argparse
import re
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from openapi_python_client.config import ConfigFile
from openapi_tools import import_all
from openapi_tools.command_line import command
from openapi_tools.documents import dump, read_document
from openapi_tools.enum_names import name_enum_members
from openapi_tools.json_values import JSON, JSONObject, SpecError, copy_objects, expect_object
from openapi_tools.name_checks import check_names
from openapi_tools.nullable_enums import split_nullable_enums
from openapi_tools.operations import operation_at, operations_of
from openapi_tools.overlay import apply_overlay
from openapi_tools.processes import required_environment, run_captured
from openapi_tools.references import components_of
from openapi_tools.request_bodies import keep_one_media_type
from openapi_tools.validation import check_openapi
from pydantic import ValidationError

ROOT = Path(__file__).resolve().parent.parent
SPEC = ROOT / "openapi/mesh.yaml"
OVERLAY = ROOT / "openapi/overlay.yaml"
SETTINGS = ROOT / "openapi/generator.yaml"
OUTPUT = ROOT / "generated"
PACKAGE = "mesh_connect_client"
FACADE = "mesh_facade"

_SPEC_MODULE = '''"""The servers and the API keys of the spec."""

SERVERS: tuple[str, ...] = {servers!r}
"""The servers' URLs, in the order of the spec."""

API_KEY_HEADERS: dict[str, str] = {headers!r}
"""The header that carries each API key, by the name of the key's security scheme."""
'''


def generate(
    spec: Path,
    overlay: Path | None,
    output: Path,
    *,
    facade: Path | None = None,
    may_remove_other_files: bool = False,
) -> list[str]:
    """Generate a client from a spec, and replace the folder `output` by it.

    `output` must be new or empty, or hold an earlier generated client. Other files beside that
    client are refused, unless `may_remove_other_files`: then they are removed with the client.

    `facade` is the folder of the package mesh_facade. If it is given, that package must be
    importable with the new client.

    Return messages to print: about overlay actions and about generated names.

    Raise SpecError if no usable client can be generated, or if `output` must not be replaced. If an
    error is raised before the new client is in place, `output` is as it was before, and no new
    folder is left.
    """
    _check_settings()
    document, messages = _prepare_document(spec, overlay)
    output = output.resolve()
    if output.exists():
        _check_replaceable(output, may_remove_other_files=may_remove_other_files)
    # If the parents of `output` do not exist, they are made in the scratch folder, too. One move
    # then puts the outermost new folder in place, so an error cannot leave some of them behind.
    target = _outermost_new_folder(output)
    with TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent) as scratch:
        new = Path(scratch, "new")
        # Usually `target` is `output` itself, and the relative path is empty.
        package = new / output.relative_to(target) / PACKAGE
        package.mkdir(parents=True)
        _merge_descriptions(document)
        _write_our_files(document, package)
        _run_generator(package)
        _check_imports(package, facade)
        put_in_place(target, new)
    return messages


def _check_replaceable(output: Path, *, may_remove_other_files: bool) -> None:
    """Raise SpecError if a folder must not be replaced.

    A folder must not be replaced if it holds files but no generated client, or if it holds other
    files beside the client. With `may_remove_other_files`, other files beside the client are
    allowed.
    """
    names = sorted(entry.name for entry in output.iterdir())
    if not names:
        return
    advice = "so it was not replaced. Choose a new folder, or an empty one"
    if not (output / PACKAGE).is_dir():
        raise SpecError(f"{output}: this folder holds files, but no generated client, {advice}")
    others = [name for name in names if name != PACKAGE]
    if others and not may_remove_other_files:
        raise SpecError(
            f"{output}: this folder holds '{others[0]}' beside the generated client, {advice}"
        )


def _outermost_new_folder(output: Path) -> Path:
    """Return the outermost folder that must be made for `output`, or `output` if it exists."""
    folder = output
    while not folder.parent.exists():
        folder = folder.parent
    return folder


def _check_settings() -> None:
    """Raise SpecError for a misspelt setting, which the generator would silently ignore."""
    try:
        ConfigFile.model_validate(read_document(SETTINGS), extra="forbid")
    except ValidationError as error:
        raise SpecError(f"{SETTINGS}: {error}") from error


def _prepare_document(spec: Path, overlay: Path | None) -> tuple[JSONObject, list[str]]:
    """Return the document that the client is generated from, and messages to print.

    Raise SpecError if the spec is not valid, or if the overlay does not fit it.
    """
    document = expect_object(read_document(spec), str(spec))
    messages: list[str] = []
    if overlay:
        messages += apply_overlay(overlay, document)
    check_openapi(document, prefix=f"{spec}:")
    try:
        keep_one_media_type(document)
        paths_in_spec = split_nullable_enums(document)
        messages += name_enum_members(document, paths_in_spec)
        check_names(document)
    except SpecError as error:
        raise SpecError(f"{spec}: {error}") from None
    return document, messages


def _merge_descriptions(document: JSONObject) -> None:
    """Append the descriptions of an operation's parts to the description of the operation.

    The parts are its parameters, its responses, and the security schemes. The generator writes only
    the description of the operation itself into the client, as a docstring.
    """
    schemes = _security_schemes(document)
    for path, method in operations_of(document).values():
        operation = operation_at(document, path, method)
        # A list of pairs, not a dictionary: two parts may have the same name, for example a
        # parameter in the path and one in the query.
        parameters = copy_objects(operation.get("parameters", []), "parameters")
        parts: list[tuple[str, JSON]] = [(str(each.get("name")), each) for each in parameters]
        parts += expect_object(operation["responses"], "responses").items()
        for name, scheme in schemes.items():
            # The scheme of an API key names the header that carries it; other schemes do not.
            parts.append((str(scheme.get("name", name)), scheme))
        lines = [str(operation.get("description", ""))]
        for name, part in parts:
            if isinstance(part, dict) and "description" in part:
                lines.append(f"{name}: {part['description']}")
        operation["description"] = "\n- ".join(lines)


def _write_our_files(document: JSONObject, package: Path) -> None:
    """Write the files that the generator does not: spec.py, py.typed and openapi.yaml.

    They must be written before the generator runs: it reads openapi.yaml, and its hooks format
    spec.py.
    """
    servers = copy_objects(document.get("servers", []), "servers")
    urls = tuple(server["url"] for server in servers)
    headers: dict[str, JSON] = {}
    for name, scheme in _security_schemes(document).items():
        if scheme.get("in") == "header":
            headers[name] = scheme["name"]
    _write_text(package / "spec.py", _SPEC_MODULE.format(servers=urls, headers=headers))
    _write_text(package / "openapi.yaml", dump(document, sort_keys=False))
    _write_text(package / "py.typed", "")


def _write_text(path: Path, content: str) -> None:
    """Write a file with the same bytes on every system."""
    path.write_text(content, encoding="utf-8", newline="\n")


def _security_schemes(document: JSONObject) -> dict[str, JSONObject]:
    """Return the security schemes by name."""
    kind = "securitySchemes"
    schemes = components_of(document, kind)
    checked: dict[str, JSONObject] = {}
    for name, scheme in schemes.items():
        checked[name] = expect_object(scheme, f"components.{kind}.{name}")
    return checked


def _run_generator(package: Path) -> None:
    """Run the generator and its hooks in a fixed environment, not in the caller's.

    Raise SpecError if it fails or warns.
    """
    # With -P, Python does not import modules from the caller's folder.
    command_line = [sys.executable, "-P", "-m", "openapi_python_client", "generate", "--meta=none"]
    command_line += ["--fail-on-warning", "--overwrite", f"--output-path={package}"]
    command_line += [f"--path={package / 'openapi.yaml'}", f"--config={SETTINGS}"]
    environment = required_environment() | {
        "PATH": str(Path(sys.executable).parent),
        "PYTHONHASHSEED": "0",
        "PYTHONUTF8": "1",
    }
    run = run_captured(command_line, environment)
    if run.returncode:
        # Every line of the generator's own message helps. Of a traceback, only the last line says
        # what went wrong.
        reason = run.stderr
        if not reason or "Traceback" in reason:
            reason = _failure_reason(run)
        raise SpecError(f"the generator failed: {reason}")


def _check_imports(package: Path, facade: Path | None) -> None:
    """Raise SpecError if Python cannot import the package, or cannot import the facade with it."""
    reason = _import_error(package)
    if reason:
        problem = "the generated package cannot be imported, so nothing changed"
        advice = (
            "In openapi/overlay.yaml, correct the part of the spec from which the module in"
            " brackets is generated"
        )
        raise SpecError(f"{problem}: {reason}. {advice}.")
    if not facade:
        return
    reason = _import_error(package, facade)
    if reason:
        problem = f"{facade.name} cannot be imported with the new {PACKAGE}, so nothing changed"
        advice = f"Adapt {facade.name} or correct openapi/overlay.yaml, then generate again"
        hint = "`scripts/generate.py --output=FOLDER` writes the new package elsewhere"
        raise SpecError(f"{problem}: {reason}. {advice}; {hint}.")


def _import_error(package: Path, facade: Path | None = None) -> str:
    """Return why an import failed, or the empty string if it succeeded.

    Without `facade`, the package is imported. With `facade`, both are imported.

    A separate process imports them, isolated (`-I`) from the caller's environment and folder, and
    without leaving compiled modules behind (`-B`).
    """
    command_line = [sys.executable, "-I", "-B", "-X", "utf8", import_all.__file__, str(package)]
    imported_last = package
    if facade:
        # `_check_imports` has already imported the package without the facade, so only the facade
        # can fail now.
        command_line.append(str(facade))
        imported_last = facade
    run = run_captured(command_line, required_environment())
    if not run.returncode:
        return ""
    return f"{_failure_reason(run)} ({_failing_module(run.stderr, imported_last)})"


def _failing_module(traceback: str, package: Path) -> str:
    """Return the path of the module in which an import failed, beginning with the package's name.

    If the traceback names no module of the package, return the package's name alone.
    """
    modules = [Path(file) for file in re.findall(r'File "([^"]+)", line', traceback)]
    inside = [module for module in modules if package in module.parents]
    if not inside:
        return package.name
    return inside[-1].relative_to(package.parent).as_posix()


def _failure_reason(run: subprocess.CompletedProcess[str]) -> str:
    """Return the last line that a failed process wrote to stderr, or its exit code."""
    lines = run.stderr.strip().splitlines()
    if not lines:
        return f"its process ended with exit code {run.returncode}"
    return lines[-1].strip()


def put_in_place(target: Path, new: Path) -> None:
    """Replace `target`, a file or folder that need not exist, by `new`.

    An earlier file or folder is moved beside `new`, under the name of `new` plus `.old`. The caller
    deletes it. If a move fails or is interrupted, `target` is as it was before.
    """
    old = new.with_name(f"{new.name}.old")
    try:
        if target.exists():
            target.rename(old)
        new.rename(target)
    finally:
        # Both are true only if a move failed: the earlier file or folder was moved away, and
        # nothing has taken its place.
        if old.exists() and not target.exists():
            old.rename(target)


@command()
def main(argv: list[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description="Regenerate the client from the spec.")
    parser.add_argument("--spec", type=Path, default=SPEC, help="the OpenAPI document")
    parser.add_argument("--overlay", type=Path, default=OVERLAY, help="'none' for no overlay")
    parser.add_argument("--output", type=Path, default=OUTPUT, help="a folder, replaced as a whole")
    options = parser.parse_args(argv)
    overlay = options.overlay
    if str(overlay) == "none":
        overlay = None
    # The folder generated/ belongs to the generator, and the facade uses the client in it. A client
    # that is written elsewhere, to look at it, need not suit the facade.
    facade = None
    is_our_output = options.output.resolve() == OUTPUT
    if is_our_output:
        facade = ROOT / FACADE
    messages = generate(
        options.spec,
        overlay,
        options.output,
        facade=facade,
        may_remove_other_files=is_our_output,
    )
    print(*messages, f"{options.output}: generated from {options.spec}", sep="\n")


if __name__ == "__main__":
    sys.exit(main())
