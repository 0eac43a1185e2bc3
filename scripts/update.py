"""Brings the spec up to date with a source, and all that follows from it: wholly or not at all.

Import, generation, comparison and tests run in a copy of the checkout. What is new moves from there
into its place at the end. A journal tells that it does, so that a killed move can be finished.
"""

import argparse
import os
import shutil
import subprocess
import sys

import import_spec
from canonical import SpecError
from changes import compare
from generate import OUTPUT, OVERLAY, ROOT, SPEC, generate

COPY = ROOT / ".make/update"
JOURNAL = ROOT / ".make/update.journal"
REPORT = ROOT / ".make/update.md"
_LEFT_OUT = (".git", ".venv", ".make", "__pycache__", "node_modules", ".*_cache", ".hypothesis")


def update(source: str, *, tested: bool) -> bool:
    """Update from a source; return whether that was done."""
    spec, output = COPY / SPEC.relative_to(ROOT), COPY / OUTPUT.relative_to(ROOT)
    shutil.rmtree(COPY, ignore_errors=True)
    try:
        shutil.copytree(ROOT, COPY, ignore=shutil.ignore_patterns(*_LEFT_OUT), symlinks=True)
        if import_spec.main([source, f"--output={spec}", "--adopt"]):
            return False
        generate(spec, OVERLAY, output)
        changes = compare(SPEC, spec)
        passed = not tested or _pass_tests()
        tests = "passed" if passed and tested else "failed" if tested else "were left out"
        told = f"# Mesh's spec, from {source}\n\n{{}}\n\nThe tests {tests}.\n"
        REPORT.write_text(told.format(changes.render("markdown")), encoding="utf-8")
        print(told.format(changes.render("text")), f"This report is in {REPORT}", sep="\n")
        if passed:
            JOURNAL.touch()
            finish()
        return passed
    finally:
        if not JOURNAL.exists():
            shutil.rmtree(COPY, ignore_errors=True)


def _pass_tests() -> bool:
    paths = os.pathsep.join([str(COPY), str(COPY / OUTPUT.relative_to(ROOT))])
    command = [sys.executable, "-m", "pytest", "-q", "-n2", "-p", "no:cacheprovider"]
    environment = os.environ | {"PYTHONPATH": paths}
    return subprocess.run(command, cwd=COPY, env=environment, check=False).returncode == 0


def finish() -> bool:
    """Finish the move that the journal tells of, from wherever it was killed."""
    if not JOURNAL.exists():
        return False
    for path in (SPEC, SPEC.parent / "source", OUTPUT):
        new = COPY / path.relative_to(ROOT)
        if new.exists():
            if path.exists():
                path.rename(COPY / f"{path.name}.old")
            new.rename(path)
    shutil.rmtree(COPY, ignore_errors=True)
    JOURNAL.unlink()
    return True


def main(argv: list[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description="Update the spec and all that follows from it.")
    parser.add_argument("source", nargs="?", help="a file or an address; if none, Mesh's own")
    parser.add_argument("--untested", action="store_true", help="leave out the tests")
    parser.add_argument("--finish", action="store_true", help="only finish what was killed")
    options = parser.parse_args(argv)
    try:
        if finish():
            print("An update that had been killed while it moved files was finished.")
        if options.finish:
            return 0
        source = options.source or import_spec.read_settings()["source"]
        if update(source, tested=not options.untested):
            return 0
    except (SpecError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
    print("error: nothing was updated, see above", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
