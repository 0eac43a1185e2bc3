"""Fails if source, spec, overlay and generated/ do not belong together.

If generated/ differs from what the spec gives, it prints the differences.

`make check-drift` runs it, and so does `make test`.
"""

import sys
from difflib import unified_diff
from pathlib import Path
from tempfile import TemporaryDirectory

from generate import OUTPUT, OVERLAY, SPEC, generate
from import_spec import check_source
from openapi_tools.command_line import command
from openapi_tools.json_values import SpecError


def check_generated() -> None:
    """Raise SpecError if generated/ differs from a fresh generation; print what differs."""
    with TemporaryDirectory() as scratch:
        fresh = Path(scratch, OUTPUT.name)
        generate(SPEC, OVERLAY, fresh)
        expected = _read_lines(fresh)
        committed = _read_lines(OUTPUT)
    for name in sorted(committed.keys() | expected.keys()):
        if committed.get(name) != expected.get(name):
            _print_difference(name, committed.get(name), expected.get(name))
    if committed != expected:
        raise SpecError(f"{OUTPUT} is not what the spec gives, see above: run `make generate`")


def _print_difference(name: str, committed: list[str] | None, expected: list[str] | None) -> None:
    """Print how a committed file differs from the expected one.

    The word before its name says what was done to the committed file. The diff below it shows what
    `make generate` would change.
    """
    if committed is None:
        kind = "deleted"
    elif expected is None:
        kind = "added"
    else:
        kind = "changed"
    path = f"{OUTPUT.name}/{name}"
    print(f"{kind}: {path}")
    print(*unified_diff(committed or [], expected or [], path, path, lineterm=""), sep="\n")


def _read_lines(tree: Path) -> dict[str, list[str]]:
    """Return the lines of each file in a folder, by its path; compiled modules are left out."""
    lines: dict[str, list[str]] = {}
    for path in tree.rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            text = path.read_bytes().decode("utf-8", "replace")
            lines[path.relative_to(tree).as_posix()] = text.split("\n")
    return lines


@command()
def main() -> None:
    """Run the command line."""
    check_source()
    check_generated()
    print("No drift: the source, the spec, the overlay and generated/ belong together.")


if __name__ == "__main__":
    sys.exit(main())
