"""Updates the spec, the kept source and the generated client together: all of them, or none.

`make update` runs it. Import, generation, comparison and tests run in a copy of the working tree.
If all of them succeed, the copy is renamed to mark it as ready, and its new files move into the
working tree. If these moves are interrupted, the renamed copy is still there, and the next command
finishes them. Only one update at a time runs in a working tree.
"""

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager

import import_spec
from changes import Report, compare
from generate import FACADE, OUTPUT, OVERLAY, ROOT, SPEC, generate, put_in_place
from openapi_tools.command_line import command
from openapi_tools.json_values import SpecError

COPY = ROOT / ".make/update"
"""The copy of the working tree, while it is updated and tested."""
READY = ROOT / ".make/update.ready"
"""The copy under its second name: it passed the tests, and its new files are moving."""
REPORT = ROOT / ".make/update.md"

# What the tests in the copy do not need: git's own files, caches, and installed packages.
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
    new_spec = COPY / SPEC.relative_to(ROOT)
    import_exit_code = import_spec.main([source, f"--output={new_spec}", "--adopt"])
    if import_exit_code != 0:
        raise SpecError("nothing was updated, see above")
    messages = generate(
        new_spec,
        OVERLAY,
        COPY / OUTPUT.relative_to(ROOT),
        facade=COPY / FACADE,
        may_remove_other_files=True,
    )
    report = compare(SPEC, new_spec)
    passed = _run_tests()
    verdict = "The tests failed."
    if passed:
        verdict = "The tests passed."
    heading = f"# Mesh's spec, from {source}"
    markdown = _render(report, "markdown", heading, messages, verdict)
    REPORT.write_text(f"{markdown}\n", encoding="utf-8")
    text = _render(report, "text", heading, messages, verdict)
    print(f"{text}\n\nThis report is in {REPORT}")
    if not passed:
        raise SpecError("nothing was updated, because the tests failed, see above")


def _render(report: Report, form: str, heading: str, messages: list[str], verdict: str) -> str:
    """Return the report of an update, as text or markdown.

    `messages` are those of the generation: about overlay actions and about generated names.
    """
    parts = [report.render(form, heading)]
    if messages:
        items = [f"- {message}" for message in messages]
        parts.append("\n".join(["When the client was generated:", "", *items]))
    parts.append(verdict)
    return "\n\n".join(parts)


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
    """Run pytest in the copy; return True if it found tests and all of them passed."""
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


@contextmanager
def _lock() -> Generator[None]:
    """Keep other updates out of this working tree, on systems that have file locks.

    Raise SpecError if one is running. The system releases the lock of a process that is killed.
    """
    try:
        import fcntl  # noqa: PLC0415
    except ImportError:  # Windows has no such locks
        yield
        return
    folder = COPY.parent
    folder.mkdir(exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            # The folder itself is locked, so that no lock file stays behind.
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SpecError(
                f"another `make update` is running in {ROOT}, so this one did nothing: run it again"
                " when the other has ended"
            ) from None
        except OSError:
            # Some network file systems cannot lock a folder. The update then runs without a lock,
            # which is safe as long as no other update runs.
            pass
        yield
    finally:
        os.close(descriptor)


@command()
def main(argv: list[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description="Update the spec and all that follows from it.")
    parser.add_argument("source", nargs="?", help="a file or an address; without it, Mesh's own")
    parser.add_argument("--finish", action="store_true", help="only finish an interrupted update")
    options = parser.parse_args(argv)
    with _lock():
        if READY.exists():
            finish()
            print("The moves of an interrupted update were finished.")
        if not options.finish:
            update(options.source or import_spec.read_settings()["source"])


if __name__ == "__main__":
    sys.exit(main())
