"""Brings the spec up to date with a source, and all that follows from it: wholly or not at all.

Import, generation, comparison and tests run in a copy of the checkout. What is new moves from there
into its place at the end. The copy has another name by then: a killed move can be finished.
"""

import argparse
import os
import shutil
import subprocess
import sys

import import_spec
from changes import compare
from generate import OUTPUT, OVERLAY, ROOT, SPEC, generate, put_in_place
from openapi_tools.command_line import command
from openapi_tools.documents import SpecError

COPY = ROOT / ".make/update"
READY = ROOT / ".make/update.ready"
REPORT = ROOT / ".make/update.md"
_LEFT_OUT = (".git", ".venv", ".make", "__pycache__", "node_modules", ".*_cache", ".hypothesis")


def update(source: str) -> None:
    """Update from a source, or raise `SpecError` and leave all as it was."""
    spec, output = COPY / SPEC.relative_to(ROOT), COPY / OUTPUT.relative_to(ROOT)
    shutil.rmtree(COPY, ignore_errors=True)
    try:
        shutil.copytree(ROOT, COPY, ignore=shutil.ignore_patterns(*_LEFT_OUT), symlinks=True)
        if import_spec.main([source, f"--output={spec}", "--adopt"]):
            raise SpecError("nothing was updated, see above")
        generate(spec, OVERLAY, output)
        changes = compare(SPEC, spec)
        pytest = [sys.executable, "-m", "pytest", "-q", "-n2", "-p", "no:cacheprovider"]
        environment = os.environ | {"PYTHONPATH": f"{COPY}{os.pathsep}{output}"}
        failed = subprocess.run(pytest, cwd=COPY, env=environment, check=False).returncode
        verdict = "failed" if failed else "passed"
        told = f"# Mesh's spec, from {source}\n\n{{}}\n\nThe tests {verdict}.\n"
        REPORT.write_text(told.format(changes.render("markdown")), encoding="utf-8")
        print(told.format(changes.render("text")), f"This report is in {REPORT}", sep="\n")
        if failed:
            raise SpecError("nothing was updated, see above")
        COPY.rename(READY)
        finish()
    finally:
        shutil.rmtree(COPY, ignore_errors=True)


def finish() -> None:
    """Move what is new into its place, from wherever that was killed."""
    for path in (SPEC, SPEC.parent / "source", OUTPUT):
        new = READY / path.relative_to(ROOT)
        if new.exists():
            put_in_place(path, new)
    shutil.rmtree(READY)


@command
def main(argv: list[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description="Update the spec and all that follows from it.")
    parser.add_argument("source", nargs="?", help="a file or an address; if none, Mesh's own")
    parser.add_argument("--finish", action="store_true", help="only finish what was killed")
    options = parser.parse_args(argv)
    if READY.exists():
        finish()
        print("An update that had been killed while it moved files was finished.")
    if not options.finish:
        update(options.source or import_spec.read_settings()["source"])


if __name__ == "__main__":
    sys.exit(main())
