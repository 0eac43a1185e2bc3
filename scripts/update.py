"""Updates the spec, the kept source and the generated client together: all of them, or none.

`make update` runs it. Import, generation, comparison and tests run in a copy of the working tree.
If all of them succeed, the copy is renamed to mark it as ready, and its new files move into the
working tree. If these moves are interrupted, the renamed copy is still there, and the next command
finishes them.
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
"""The copy of the working tree, while it is updated and tested."""
READY = ROOT / ".make/update.ready"
"""The copy under its second name: it passed the tests, and its new files are moving."""
REPORT = ROOT / ".make/update.md"

_NOT_COPIED = (".git", ".venv", ".make", "__pycache__", "node_modules", ".*_cache", ".hypothesis")


def update(source: str) -> None:
    """Update from a source: a file or an address.

    Raise SpecError or OSError if that fails. Before the new files move, nothing but the report has
    changed in the working tree. If their moves are interrupted, READY stays for `finish`.
    """
    shutil.rmtree(COPY, ignore_errors=True)
    try:
        shutil.copytree(ROOT, COPY, ignore=shutil.ignore_patterns(*_NOT_COPIED), symlinks=True)
        _update_copy(source)
        COPY.rename(READY)
        finish()
    finally:
        shutil.rmtree(COPY, ignore_errors=True)


def _update_copy(source: str) -> None:
    """Update the copy, test it, and write the report.

    Raise SpecError if the source cannot be imported, if no client can be generated from the spec,
    or if the tests fail.
    """
    spec = COPY / SPEC.relative_to(ROOT)
    import_exit_code = import_spec.main([source, f"--output={spec}", "--adopt"])
    if import_exit_code != 0:
        raise SpecError("nothing was updated, see above")
    generate(spec, OVERLAY, COPY / OUTPUT.relative_to(ROOT), COPY / FACADE)
    report = compare(SPEC, spec)
    passed = _run_tests()
    verdict = "The tests failed."
    if passed:
        verdict = "The tests passed."
    heading = f"# Mesh's spec, from {source}"
    markdown = report.render("markdown", heading)
    REPORT.write_text(f"{markdown}\n\n{verdict}\n", encoding="utf-8")
    print(f"{report.render('text', heading)}\n\n{verdict}\n\nThis report is in {REPORT}")
    if not passed:
        raise SpecError("nothing was updated, because the tests failed, see above")


def _run_tests() -> bool:
    """Run the tests in the copy; return True if they passed.

    Tests that failed run once more, one at a time: on a busy machine, a test of a deadline may fail
    because it ran too slowly. A test that fails because of the new spec fails again.
    """
    if _run_pytest("-n2"):
        return True
    print("Some tests failed; they run once more, one at a time.", flush=True)
    return _run_pytest("--last-failed", "--last-failed-no-failures=none")


def _run_pytest(*options: str) -> bool:
    """Run pytest in the copy; return True if all tests passed, and there was at least one."""
    pytest = [sys.executable, "-m", "pytest", "-q", *options]
    packages = os.pathsep.join([str(COPY), str(COPY / OUTPUT.relative_to(ROOT))])
    environment = os.environ | {"PYTHONPATH": packages}
    return subprocess.run(pytest, cwd=COPY, env=environment, check=False).returncode == 0


def finish() -> None:
    """Move the new files from READY into the working tree, and remove READY.

    If an earlier run was interrupted, the files that it moved are no longer in READY, and are left
    where they are.
    """
    for path in (SPEC, SPEC.parent / "source", OUTPUT):
        new = READY / path.relative_to(ROOT)
        if new.exists():
            put_in_place(path, new)
    shutil.rmtree(READY)


@command()
def main(argv: list[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description="Update the spec and all that follows from it.")
    parser.add_argument("source", nargs="?", help="a file or an address; without it, Mesh's own")
    parser.add_argument("--finish", action="store_true", help="only finish an interrupted update")
    options = parser.parse_args(argv)
    if READY.exists():
        finish()
        print("The moves of an interrupted update were finished.")
    if not options.finish:
        update(options.source or import_spec.read_settings()["source"])


if __name__ == "__main__":
    sys.exit(main())
