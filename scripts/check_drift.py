"""Fails, with a diff, where source, spec, overlay and generated tree do not belong together."""

import sys
from difflib import unified_diff
from pathlib import Path
from tempfile import TemporaryDirectory

from generate import OUTPUT, OVERLAY, SPEC, generate
from import_spec import check_source
from openapi_tools.command_line import command
from openapi_tools.documents import SpecError


def check_generated() -> None:
    """Refuse a generated tree that is not what the spec gives: name and show what differs."""
    with TemporaryDirectory() as scratch:
        generate(SPEC, OVERLAY, Path(scratch, OUTPUT.name))
        old, new = _read(OUTPUT), _read(Path(scratch, OUTPUT.name))
    for name in sorted(old.keys() | new.keys()):
        if old.get(name) != new.get(name):
            kind = "deleted" if name not in old else "changed" if name in new else "added"
            path = f"{OUTPUT.name}/{name}"
            print(f"{kind}: {path}")
            diff = unified_diff(old.get(name, []), new.get(name, []), path, path, lineterm="")
            print(*diff, sep="\n")
    if old != new:
        raise SpecError(f"{OUTPUT} is not what the spec gives, see above: run `make generate`")


def _read(tree: Path) -> dict[str, list[str]]:
    return {
        path.relative_to(tree).as_posix(): path.read_bytes().decode("utf-8", "replace").split("\n")
        for path in tree.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


@command
def main() -> None:
    """Run the command line."""
    check_source()
    check_generated()
    print("No drift: source, spec, overlay and generated tree belong together.")


if __name__ == "__main__":
    sys.exit(main())
