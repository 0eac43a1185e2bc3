"""Regenerates the client package from the spec and its overlay."""

import argparse
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml
from openapi_python_client.config import ConfigFile
from openapi_tools.canonical_form import check_openapi, operations_of
from openapi_tools.command_line import command
from openapi_tools.documents import Json, SpecError, fields, read_document
from openapi_tools.overlay import apply_overlay
from pydantic import ValidationError

ROOT = Path(__file__).resolve().parent.parent
SPEC = ROOT / "openapi/mesh.yaml"
OVERLAY = ROOT / "openapi/overlay.yaml"
SETTINGS = ROOT / "openapi/generator.yaml"
OUTPUT = ROOT / "generated"
PACKAGE = "mesh_connect_client"

_SPEC_MODULE = '''"""What the spec says beside its operations."""

SERVERS: tuple[str, ...] = {servers}
"""The servers' URLs, in the order of the spec."""

API_KEY_HEADERS: dict[str, str] = {headers}
"""The header that carries each API key, by the name of the key's security scheme."""
'''


def generate(spec: Path, overlay: Path | None, output: Path) -> list[str]:
    """Replace the folder `output` by a new client, or leave it; return notes on the overlay."""
    try:
        # The generator itself would silently ignore a setting that it does not know.
        ConfigFile.model_validate(read_document(SETTINGS), extra="forbid")
    except ValidationError as error:
        raise SpecError(f"{SETTINGS}: {error}") from error
    document = fields(read_document(spec), str(spec))
    notes = apply_overlay(overlay, document) if overlay else []
    check_openapi(document, f"{spec}:")
    output = output.resolve()
    output.mkdir(parents=True, exist_ok=True)
    if any(output.iterdir()) and not (output / PACKAGE).is_dir():
        raise SpecError(f"{output}: holds something else; name a new folder, or an empty one")
    with TemporaryDirectory(prefix=f".{output.name}-", dir=output.parent) as scratch:
        package = Path(scratch, "new", PACKAGE)
        package.mkdir(parents=True)
        _write_spec(document, package)
        _run_generator(package)
        put_in_place(output, package.parent)
    return notes


def _write_spec(document: Json, package: Path) -> None:
    """Write what stands beside the generator's own files, in time for it to format them as well."""
    keys = document.get("components", {}).get("securitySchemes", {})
    for path, method in operations_of(document).values():
        operation = document["paths"][path][method]
        parts = {one.get("name"): one for one in operation.get("parameters", [])}
        parts |= operation["responses"] | {key.get("name"): key for key in keys.values()}
        # The generator reads an operation's description, but not those of all its parts.
        told = [f"{name}: {of['description']}" for name, of in parts.items() if "description" in of]
        operation["description"] = "\n- ".join([operation.get("description", ""), *told])
    module = _SPEC_MODULE.format(
        servers=tuple(server["url"] for server in document.get("servers", [])),
        headers={name: key["name"] for name, key in keys.items() if key.get("in") == "header"},
    )
    text = yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=100)
    for file, content in {"spec.py": module, "openapi.yaml": text, "py.typed": ""}.items():
        (package / file).write_text(content, encoding="utf-8", newline="\n")


def _run_generator(package: Path) -> None:
    """Run the generator and its hooks, out of reach of the caller's environment."""
    generator = [sys.executable, "-P", "-m", "openapi_python_client", "generate", "--meta=none"]
    generator += ["--fail-on-warning", "--overwrite", f"--output-path={package}"]
    generator += [f"--path={package / 'openapi.yaml'}", f"--config={SETTINGS}"]
    tools = {"PATH": str(Path(sys.executable).parent), "PYTHONHASHSEED": "0", "PYTHONUTF8": "1"}
    run = subprocess.run(generator, env=tools, capture_output=True, text=True, check=False)
    if run.returncode:
        raise SpecError(f"the generator failed: {run.stderr}")


def put_in_place(target: Path, new: Path) -> None:
    """Move what is new to where something old may be, which stays there if that fails."""
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
    overlay = options.overlay if str(options.overlay) != "none" else None
    notes = generate(options.spec, overlay, options.output)
    print(*notes, f"{options.output}: generated from {options.spec}", sep="\n")


if __name__ == "__main__":
    sys.exit(main())
