"""Fails, with a diff, where source, spec, overlay and generated tree do not belong together."""

import sys
from collections.abc import Iterator
from difflib import unified_diff
from pathlib import Path
from tempfile import TemporaryDirectory

from generate import OUTPUT, OVERLAY, SPEC, generate
from import_spec import source_problems
from shared import SpecError, command


def drift() -> Iterator[str]:
    """Name each generated file that is not what the spec gives, and yield its diff."""
    with TemporaryDirectory() as scratch:
        fresh = Path(scratch, OUTPUT.name)
        generate(SPEC, OVERLAY, fresh)
        old, new = _read(OUTPUT), _read(fresh)
    for name in sorted(old.keys() | new.keys()):
        if old.get(name) != new.get(name):
            kind = "deleted" if name not in old else "changed" if name in new else "added"
            path = f"{OUTPUT.name}/{name}"
            yield f"{kind}: {path}"
            yield from unified_diff(old.get(name, []), new.get(name, []), path, path, lineterm="")


def _read(tree: Path) -> dict[str, list[str]]:
    return {
        path.relative_to(tree).as_posix(): path.read_bytes().decode("utf-8", "replace").split("\n")
        for path in tree.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


@command
def main() -> None:
    """Run the command line."""
    if found := [*source_problems(), *drift()]:
        print(*found, sep="\n")
        raise SpecError("drift, see above: run `make spec` and `make generate`")
    print("No drift: source, spec, overlay and generated tree belong together.")


if __name__ == "__main__":
    sys.exit(main())
