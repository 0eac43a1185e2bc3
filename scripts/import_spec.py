"""Imports what Mesh publishes into openapi/mesh.yaml, in canonical form: `make spec`.

A source is a docs page, in its older or newer shape, or a whole OpenAPI document, 3.0 or 3.1; its
content shows which. openapi/import.yaml holds the settings, and states the rules.
"""

import argparse
import sys
from collections.abc import Collection
from difflib import get_close_matches
from fnmatch import fnmatchcase
from pathlib import Path

from openapi_tools import settings as settings_file
from openapi_tools.canonical_form import to_canonical_form
from openapi_tools.command_line import command
from openapi_tools.documents import dump, write
from openapi_tools.download import read_bytes
from openapi_tools.json_values import JSONObject, SpecError
from openapi_tools.operations import operation_at, operations_of
from openapi_tools.provenance import keep_source, read_kept_source
from openapi_tools.settings import Settings
from openapi_tools.sources import parse_source
from openapi_tools.validation import check_openapi

OPENAPI = Path(__file__).resolve().parents[1] / "openapi"
SETTINGS = OPENAPI / "import.yaml"

_HEADER = """\
# What Mesh says of the pinned operations, in canonical form. Written by `make spec` from the file
# in source/; do not edit: corrections belong in overlay.yaml.
"""
_ROOT = ("openapi", "info", "servers", "security", "paths", "components")


def read_settings(path: Path = SETTINGS) -> Settings:
    """Return the settings in a file; raise SpecError for one that is missing or not known."""
    return settings_file.read_settings(path)


def import_source(content: bytes, settings: Settings, wanted: Collection[str] = ()) -> str:
    """Return the text of the spec that a source gives.

    The wanted operations are those that the settings pin, unless others are named: 'POST /path',
    where `*` stands for anything.
    """
    try:
        return _import_document(parse_source(content).document, settings, wanted)
    except RecursionError:
        raise SpecError("the document is nested too deeply") from None


def _import_document(document: JSONObject, settings: Settings, wanted: Collection[str] = ()) -> str:
    chosen = _choose_operations(document, wanted or settings["operations"])
    places = sorted(chosen.values())
    spec = to_canonical_form(document, places, settings["securitySchemes"], settings["schemas"])
    for name, pinned in settings["operations"].items():
        if name in chosen:
            operation = operation_at(spec, *chosen[name])
            operation["operationId"] = pinned["operationId"]
            operation["tags"] = [pinned["tag"]]
    spec["openapi"] = "3.0.3"
    spec["info"] = settings["info"]
    check_openapi(spec)
    parts = [dump({keyword: spec[keyword]}) for keyword in _ROOT if keyword in spec]
    return _HEADER + "".join(parts)


def _choose_operations(
    document: JSONObject, patterns: Collection[str]
) -> dict[str, tuple[str, str]]:
    """Return path and method of the operations whose names match one of the patterns."""
    operations = operations_of(document)
    chosen: dict[str, tuple[str, str]] = {}
    for pattern in patterns:
        matching = [name for name in operations if fnmatchcase(name, pattern)]
        if not matching:
            similar = get_close_matches(pattern, operations, n=3) or list(operations) or ["none"]
            raise SpecError(
                f"there is no operation '{pattern}'; the source has {', '.join(similar):.300}."
                " Name another with --operation, or pin another in openapi/import.yaml"
            )
        for name in matching:
            chosen[name] = operations[name]
    return chosen


def check_source(openapi: Path = OPENAPI) -> None:
    """Raise SpecError unless mesh.yaml, the kept source and the record of it belong together."""
    mesh = openapi / "mesh.yaml"
    file, content = read_kept_source(openapi / "source")
    spec = import_source(content, read_settings(openapi / "import.yaml"))
    if mesh.read_bytes() != spec.encode():
        raise SpecError(f"{mesh} is not what importing {file} gives: run `make spec`")


def import_file(
    source: str, output: Path, settings: Path, wanted: Collection[str], *, adopt: bool
) -> None:
    """Import a source into a file, and keep the source beside it if `adopt` is set."""
    content = read_bytes(source)
    if content.startswith(_HEADER.splitlines()[0].encode()):
        raise SpecError(
            "this is not a source, but what the importer wrote (mesh.yaml): name a docs page or"
            " Mesh's whole document, or correct the spec in openapi/overlay.yaml"
        )
    spec = import_source(content, read_settings(settings), wanted).encode()
    if adopt:
        keep_source(source, content, parse_source(content).suffix, output.parent / "source")
    write(output, spec)


@command()
def main(argv: list[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description="Import a docs page or an OpenAPI document.")
    parser.add_argument("source", help="a file, an https address, or - for standard input")
    parser.add_argument("--output", type=Path, required=True, help="where the spec is written")
    parser.add_argument("--settings", type=Path, default=SETTINGS)
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--operation", action="append", help="'POST /path', instead of the pinned")
    choice.add_argument("--all", action="store_const", const=["*"], dest="operation")
    choice.add_argument("--adopt", action="store_true", help="keep the source beside the output")
    args = parser.parse_args(argv)
    try:
        import_file(args.source, args.output, args.settings, args.operation or (), adopt=args.adopt)
    except (SpecError, OSError, UnicodeError) as error:
        raise SpecError(f"{args.source}: {error}") from error
    print(f"{args.output}: imported from {args.source}")


if __name__ == "__main__":
    sys.exit(main())
