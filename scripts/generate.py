"""Regenerates the client package from the spec and its overlay: `make generate`."""

import argparse
import os
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
from openapi_tools.json_values import JSON, JSONObject, SpecError, items, mapping
from openapi_tools.name_checks import check_names
from openapi_tools.nullable_enums import split_nullable_enums
from openapi_tools.operations import operation_at, operations_of
from openapi_tools.overlay import apply_overlay
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

_SPEC_MODULE = '''"""What the spec says beside its operations."""

SERVERS: tuple[str, ...] = {servers}
"""The servers' URLs, in the order of the spec."""

API_KEY_HEADERS: dict[str, str] = {headers}
"""The header that carries each API key, by the name of the key's security scheme."""
'''


def generate(
    spec: Path, overlay: Path | None, output: Path, facade: Path | None = None
) -> list[str]:
    """Replace the folder `output` by a new client, or leave it as it was.

    With `facade`, the folder of the package mesh_facade, the new client must also be one with which
    the facade can be imported. Return notes for the reader, on the overlay and on names. Raise
    SpecError if there is no client to be made from the spec.
    """
    _check_settings()
    document, notes = _prepare_document(spec, overlay)
    output = output.resolve()
    output.mkdir(parents=True, exist_ok=True)
    if any(output.iterdir()) and not (output / PACKAGE).is_dir():
        raise SpecError(f"{output}: holds something else; name a new folder, or an empty one")
    with TemporaryDirectory(prefix=f".{output.name}-", dir=output.parent) as scratch:
        package = Path(scratch, "new", PACKAGE)
        package.mkdir(parents=True)
        _write_spec(document, package)
        _run_generator(package)
        _check_imports(package, facade)
        put_in_place(output, package.parent)
    return notes


def _check_settings() -> None:
    """Refuse a misspelt setting, which the generator would silently ignore."""
    try:
        ConfigFile.model_validate(read_document(SETTINGS), extra="forbid")
    except ValidationError as error:
        raise SpecError(f"{SETTINGS}: {error}") from error


def _prepare_document(spec: Path, overlay: Path | None) -> tuple[JSONObject, list[str]]:
    """Return the document that the client is generated from, and notes for the reader."""
    document = mapping(read_document(spec), str(spec))
    notes: list[str] = []
    if overlay:
        notes += apply_overlay(overlay, document)
    check_openapi(document, f"{spec}:")
    try:
        keep_one_media_type(document)
        split_nullable_enums(document)
        notes += name_enum_members(document)
        check_names(document)
    except SpecError as error:
        raise SpecError(f"{spec}: {error}") from None
    return document, notes


def _write_spec(document: JSONObject, package: Path) -> None:
    """Write what stands beside the generator's own files, in time for it to format them as well."""
    keys = _list_keys(document)
    for path, method in operations_of(document).values():
        _describe_parts(operation_at(document, path, method), list(keys.values()))
    servers = tuple(server["url"] for server in items(document.get("servers", []), "servers"))
    headers = {name: key["name"] for name, key in keys.items() if key.get("in") == "header"}
    module = _SPEC_MODULE.format(servers=servers, headers=headers)
    effective = dump(document, sort_keys=False)
    for file, content in {"spec.py": module, "openapi.yaml": effective, "py.typed": ""}.items():
        (package / file).write_text(content, encoding="utf-8", newline="\n")


def _list_keys(document: JSONObject) -> dict[str, JSONObject]:
    """Return the security schemes by name."""
    kind = "securitySchemes"
    schemes = components_of(document, kind)
    return {name: mapping(scheme, f"components.{kind}.{name}") for name, scheme in schemes.items()}


def _describe_parts(operation: JSONObject, keys: list[JSONObject]) -> None:
    """Add the descriptions of an operation's parts to its own, the only one that is generated."""
    parts: dict[str, JSON] = {}
    for parameter in items(operation.get("parameters", []), "parameters"):
        parts[str(parameter.get("name"))] = parameter
    parts |= mapping(operation["responses"], "responses")
    for key in keys:
        parts[str(key.get("name"))] = key
    lines = [str(operation.get("description", ""))]
    for name, part in parts.items():
        if isinstance(part, dict) and "description" in part:
            lines.append(f"{name}: {part['description']}")
    operation["description"] = "\n- ".join(lines)


def _run_generator(package: Path) -> None:
    """Run the generator and its hooks, out of reach of the caller's environment."""
    generator = [sys.executable, "-P", "-m", "openapi_python_client", "generate", "--meta=none"]
    generator += ["--fail-on-warning", "--overwrite", f"--output-path={package}"]
    generator += [f"--path={package / 'openapi.yaml'}", f"--config={SETTINGS}"]
    environment = {
        "PATH": str(Path(sys.executable).parent),
        "PYTHONHASHSEED": "0",
        "PYTHONUTF8": "1",
    }
    run = subprocess.run(generator, env=environment, capture_output=True, text=True, check=False)
    if run.returncode:
        reason = run.stderr
        if "Traceback" in reason:
            reason = _last_line(reason)
        raise SpecError(f"the generator failed: {reason}")


def _check_imports(package: Path, facade: Path | None) -> None:
    """Refuse a package that Python cannot import, or with which the facade cannot be imported."""
    reason = _import_error(package)
    if reason:
        problem = "the generated package cannot be imported, so nothing changed"
        advice = "Correct in openapi/overlay.yaml what this module is generated from"
        raise SpecError(f"{problem}: {reason}. {advice}.")
    if not facade:
        return
    reason = _import_error(package, facade)
    if reason:
        problem = f"{facade.name} cannot be imported with the new {PACKAGE}, so nothing changed"
        advice = f"Adapt {facade.name} or correct openapi/overlay.yaml, then generate again"
        look = "`scripts/generate.py --output=FOLDER` writes the new package elsewhere"
        raise SpecError(f"{problem}: {reason}. {advice}; {look}.")


def _import_error(*packages: Path) -> str:
    """Return why packages cannot be imported, or the empty string.

    A process of its own imports them, isolated (`-I`) from the caller's environment and folder, and
    without leaving compiled modules behind (`-B`).
    """
    python = [sys.executable, "-I", "-B", "-X", "utf8", import_all.__file__]
    # Without this variable, Python on Windows has no random numbers and no sockets.
    environment = {name: value for name, value in os.environ.items() if name == "SYSTEMROOT"}
    run = subprocess.run(
        [*python, *map(str, packages)], env=environment, capture_output=True, text=True, check=False
    )
    if not run.returncode:
        return ""
    return f"{_last_line(run.stderr)} ({_failing_module(run.stderr, packages[-1])})"


def _failing_module(traceback: str, package: Path) -> str:
    """Return the path in a package of the module at which an import failed."""
    modules = [Path(file) for file in re.findall(r'File "([^"]+)", line', traceback)]
    inside = [module for module in modules if package in module.parents]
    if not inside:
        return package.name
    return inside[-1].relative_to(package.parent).as_posix()


def _last_line(text: str) -> str:
    return text.strip().splitlines()[-1].strip()


def put_in_place(target: Path, new: Path) -> None:
    """Move `new` to `target`. If that fails, whatever was at `target` stays there."""
    old = new.with_name(f"{new.name}.old")
    if target.exists():
        target.rename(old)
    try:
        new.rename(target)
    finally:
        if not target.exists():
            old.rename(target)


@command
def main(argv: list[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description="Regenerate the client from the spec.")
    parser.add_argument("--spec", type=Path, default=SPEC)
    parser.add_argument("--overlay", type=Path, default=OVERLAY, help="'none' for no overlay")
    parser.add_argument("--output", type=Path, default=OUTPUT, help="a folder, replaced as a whole")
    options = parser.parse_args(argv)
    overlay = None if str(options.overlay) == "none" else options.overlay
    # The facade has to be importable with the project's own client only.
    facade = ROOT / FACADE if options.output.resolve() == OUTPUT else None
    notes = generate(options.spec, overlay, options.output, facade)
    print(*notes, f"{options.output}: generated from {options.spec}", sep="\n")


if __name__ == "__main__":
    sys.exit(main())
