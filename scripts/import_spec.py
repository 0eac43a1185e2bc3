"""Writes openapi/mesh.yaml, in canonical form, from what Mesh publishes: `make spec`.

A source is a docs page, in its older or newer shape, or a whole OpenAPI document, 3.0 or 3.1; its
content shows which. openapi/import.yaml holds the settings, and states the rules.
"""

import argparse
import re
import sys
from collections.abc import Collection
from difflib import get_close_matches
from pathlib import Path

from openapi_tools import settings as settings_file
from openapi_tools.canonical_form import to_canonical_form
from openapi_tools.command_line import command
from openapi_tools.documents import dump, write
from openapi_tools.download import read_bytes
from openapi_tools.json_values import JSONObject, SpecError
from openapi_tools.operations import operation_at, operations_of, replace_path_references
from openapi_tools.provenance import keep_source, read_kept_source, read_provenance
from openapi_tools.settings import Settings
from openapi_tools.sources import parse_source
from openapi_tools.validation import check_openapi

OPENAPI = Path(__file__).resolve().parents[1] / "openapi"
SETTINGS = OPENAPI / "import.yaml"

_HEADER_OF_PINNED = """\
# What Mesh says of the pinned operations, in canonical form. Written by `make spec` from the file
# in source/; do not edit: corrections belong in overlay.yaml.
"""
_HEADER_OF_OTHERS = """\
# Operations that Mesh publishes, in canonical form. Written by scripts/import_spec.py; not used by
# `make generate`.
"""
_ROOT_KEYWORDS = ("openapi", "info", "servers", "security", "paths", "components")


def read_settings(path: Path = SETTINGS) -> Settings:
    """Return the settings in a file.

    Raise SpecError if a setting is missing or unknown, and OSError if the file cannot be read.
    """
    return settings_file.read_settings(path)


def import_source(content: bytes, settings: Settings, patterns: Collection[str] = ()) -> str:
    """Return the text of the spec that a source gives.

    The operations that the settings pin are imported, unless `patterns` are given. A pattern is the
    name of an operation, such as 'POST /path', in which `*` stands for any text, and every other
    character for itself. Every operation whose name matches a pattern is imported.

    Raise SpecError if the source cannot be read or imported, if a pattern matches no operation, or
    if there is no operation with a pinned name. Also raise it if all pinned operations are
    imported, and the settings rename a schema that none of the imported operations needs.
    """
    try:
        return _import_document(parse_source(content).document, settings, patterns)
    except RecursionError:
        raise SpecError("the document is nested too deeply") from None


def _import_document(document: JSONObject, settings: Settings, patterns: Collection[str]) -> str:
    """Return the text of the spec that a document gives; see `import_source`."""
    document = replace_path_references(document)
    operations = operations_of(document)
    if patterns:
        header = _HEADER_OF_OTHERS
        chosen = _choose_matching(operations, patterns)
    else:
        header = _HEADER_OF_PINNED
        chosen = _choose_pinned(operations, settings["operations"])
    # Path and method of each chosen operation.
    locations = sorted(chosen.values())
    spec = to_canonical_form(
        document,
        locations,
        settings["securitySchemes"],
        settings["schemas"],
        # The settings rename schemas that the pinned operations need. If not all of these
        # operations are imported, some of these schemas may be missing.
        may_rename_unneeded_schemas=not all(name in chosen for name in settings["operations"]),
    )
    for name, pinned in settings["operations"].items():
        if name in chosen:
            path, method = chosen[name]
            operation = operation_at(spec, path, method)
            operation["operationId"] = pinned["operationId"]
            operation["tags"] = [pinned["tag"]]
    spec["openapi"] = "3.0.3"
    spec["info"] = settings["info"]
    check_openapi(spec)
    parts = [dump({keyword: spec[keyword]}) for keyword in _ROOT_KEYWORDS if keyword in spec]
    return header + "".join(parts)


def _choose_pinned(
    operations: dict[str, tuple[str, str]], pinned_names: Collection[str]
) -> dict[str, tuple[str, str]]:
    """Return the path and the method of each pinned operation, by its name.

    `operations` holds the path and the method of every operation, by its name. Raise SpecError if a
    pinned one is missing.
    """
    chosen: dict[str, tuple[str, str]] = {}
    for name in pinned_names:
        if name not in operations:
            raise _missing_operation(name, operations)
        chosen[name] = operations[name]
    return chosen


def _choose_matching(
    operations: dict[str, tuple[str, str]], patterns: Collection[str]
) -> dict[str, tuple[str, str]]:
    """Return the path and the method of each operation that matches a pattern, by its name.

    `operations` holds the path and the method of every operation, by its name. Raise SpecError if a
    pattern matches none.
    """
    chosen: dict[str, tuple[str, str]] = {}
    for pattern in patterns:
        matching = [name for name in operations if _matches(name, pattern)]
        if not matching:
            raise _missing_operation(pattern, operations)
        for name in matching:
            chosen[name] = operations[name]
    return chosen


def _missing_operation(wanted: str, names: Collection[str]) -> SpecError:
    """Return the error to raise if no operation has the pinned name, or none matches a pattern."""
    return SpecError(
        f"there is no operation '{wanted}'; the source has {_describe_operations(names, wanted)}."
        " Name another with --operation, or pin another in openapi/import.yaml"
    )


def _matches(name: str, pattern: str) -> bool:
    """Return True if a name matches a pattern, in which only `*` is special."""
    literal_parts = [re.escape(part) for part in pattern.split("*")]
    return re.fullmatch(".*".join(literal_parts), name, re.DOTALL) is not None


def _describe_operations(names: Collection[str], wanted: str) -> str:
    """Return three of the names for an error message, and how many more there are.

    Names that are similar to `wanted` are preferred.
    """
    if not names:
        return "none"
    shown = get_close_matches(wanted, names, n=3) or list(names)[:3]
    text = ", ".join(f"{name:.100}" for name in shown)
    others = len(names) - len(shown)
    if others:
        text += f" and {others} more"
    return text


def check_source(openapi: Path = OPENAPI) -> None:
    """Raise SpecError unless mesh.yaml, the kept source and the record of it belong together."""
    mesh = openapi / "mesh.yaml"
    file, content = read_kept_source(openapi / "source")
    spec = import_source(content, read_settings(openapi / "import.yaml"))
    if mesh.read_bytes() != spec.encode():
        raise SpecError(f"{mesh} differs from the spec that {file} gives: run `make spec`")


def import_into_file(
    source: str, output: Path, settings_path: Path, patterns: Collection[str], *, adopt: bool
) -> Path | None:
    """Import a source into a file.

    If `adopt` is set, also keep the source in the folder source/ beside that file, and return its
    path there; else return None. `patterns` are those of `import_source`.

    Raise SpecError or OSError, with the path of the file that is at fault, if that fails.
    """
    settings = read_settings(settings_path)
    try:
        content = read_bytes(source)
        _refuse_output_of_importer(content)
        spec = import_source(content, settings, patterns).encode()
    except (SpecError, OSError, UnicodeError) as error:
        raise SpecError(f"{source}: {error}") from error
    kept: Path | None = None
    if adopt:
        suffix = parse_source(content).suffix
        kept = keep_source(source, content, suffix, output.parent / "source")
    write(output, spec)
    return kept


def _refuse_output_of_importer(content: bytes) -> None:
    """Raise SpecError if the importer itself wrote the content."""
    for header in (_HEADER_OF_PINNED, _HEADER_OF_OTHERS):
        first_line = header.splitlines()[0]
        if content.startswith(first_line.encode()):
            raise SpecError(
                "this is not a source, but what the importer wrote (mesh.yaml): name a docs page or"
                " Mesh's whole document, or correct the spec in openapi/overlay.yaml"
            )


@command()
def main(argv: list[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description="Import a docs page or an OpenAPI document.")
    parser.add_argument(
        "source",
        nargs="?",
        help="a file, an https address, or - for standard input; by default, the file in the folder"
        " source/ beside OUTPUT",
    )
    parser.add_argument("--output", type=Path, required=True, help="where the spec is written")
    parser.add_argument(
        "--settings", type=Path, default=SETTINGS, help="a file such as openapi/import.yaml"
    )
    # The three exclude each other: a source is kept only for a spec of the pinned operations,
    # because `make check-drift` imports the pinned operations from the kept source.
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument(
        "--operation",
        action="append",
        dest="patterns",
        metavar="NAME",
        help="import this operation instead of the pinned ones: 'POST /path', where * stands for"
        " anything; may be given several times",
    )
    choice.add_argument(
        "--all",
        action="store_const",
        const=["*"],
        dest="patterns",
        help="import all operations instead of the pinned ones",
    )
    choice.add_argument(
        "--adopt", action="store_true", help="keep the source in the folder source/ beside OUTPUT"
    )
    args = parser.parse_args(argv)
    patterns = args.patterns or ()
    source = args.source
    if source is None:
        folder = args.output.parent / "source"
        source = str(folder / read_provenance(folder).file)
    kept = import_into_file(source, args.output, args.settings, patterns, adopt=args.adopt)
    message = f"{args.output}: imported from {source}"
    if kept is not None and str(kept) != source:
        message += f", which is now kept as {kept}"
    print(message)


if __name__ == "__main__":
    sys.exit(main())
