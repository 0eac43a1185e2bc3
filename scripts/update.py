"""Updates the spec from a source, and all that follows from it, wholly or not at all.

`make update` runs it. Import, generation, comparison and tests run in a copy of the working tree.
At the end, the copy is renamed, and the new files move from there into their places. If that is
interrupted, the renamed copy is still there, so the next command can finish it.
"""

import argparse
import os
import shutil
import subprocess
import sys

import import_spec
from changes import compare
from generate import FACADE, OUTPUT, OVERLAY, ROOT, SPEC, generate, put_in_place
from openapi_tools.command_line import command
from openapi_tools.json_values import SpecError

COPY = ROOT / ".make/update"
READY = ROOT / ".make/update.ready"
REPORT = ROOT / ".make/update.md"

_NOT_COPIED = (".git", ".venv", ".make", "__pycache__", "node_modules", ".*_cache", ".hypothesis")


def update(source: str) -> None:
    """Update from a source, or raise SpecError and leave everything as it was."""
    shutil.rmtree(COPY, ignore_errors=True)
    try:
        shutil.copytree(ROOT, COPY, ignore=shutil.ignore_patterns(*_NOT_COPIED), symlinks=True)
        _update_copy(source)
        COPY.rename(READY)
        finish()
    finally:
        shutil.rmtree(COPY, ignore_errors=True)


def _update_copy(source: str) -> None:
    """Update the copy, test it, and write the report; raise SpecError if the update is no good."""
    spec = COPY / SPEC.relative_to(ROOT)
    if import_spec.main([source, f"--output={spec}", "--adopt"]):
        raise SpecError("nothing was updated, see above")
    generate(spec, OVERLAY, COPY / OUTPUT.relative_to(ROOT), COPY / FACADE)
    changes = compare(SPEC, spec)
    passed = _run_tests()
    heading = f"# Mesh's spec, from {source}"
    verdict = "The tests passed." if passed else "The tests failed."
    markdown = changes.render("markdown", heading)
    REPORT.write_text(f"{markdown}\n\n{verdict}\n", encoding="utf-8")
    print(f"{changes.render('text', heading)}\n\n{verdict}\n\nThis report is in {REPORT}")
    if not passed:
        raise SpecError("nothing was updated, because the tests failed, see above")


def _run_tests() -> bool:
    """Run the tests of the copy on the copy; return True if they passed.

    Those that failed run once more, one at a time: on a busy machine, a test of a deadline may fail
    for want of time. One that fails because of the new spec fails again.
    """
    if _run_pytest("-n2"):
        return True
    print("Some tests failed; they run once more, one at a time.", flush=True)
    return _run_pytest("--last-failed", "--last-failed-no-failures=none")


def _run_pytest(*options: str) -> bool:
    """Run pytest in the copy; return True if there were tests, and all of them passed."""
    pytest = [sys.executable, "-m", "pytest", "-q", *options]
    packages = os.pathsep.join([str(COPY), str(COPY / OUTPUT.relative_to(ROOT))])
    environment = os.environ | {"PYTHONPATH": packages}
    return subprocess.run(pytest, cwd=COPY, env=environment, check=False).returncode == 0


def finish() -> None:
    """Move the new files into their places, from wherever an earlier run was interrupted."""
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
    parser.add_argument("--finish", action="store_true", help="only finish an interrupted update")
    options = parser.parse_args(argv)
    if READY.exists():
        finish()
        print("An update that had been interrupted while it moved files was finished.")
    if not options.finish:
        update(options.source or import_spec.read_settings()["source"])


if __name__ == "__main__":
    sys.exit(main())
