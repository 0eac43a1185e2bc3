"""Starts `mesh-balance`, so that Ctrl-C ends it with a message even while it is starting.

Nearly all of the start-up time goes into imports, so the imports take place within `main`, which
handles Ctrl-C. For the same reason, this module stands beside the package `mesh_facade` and not in
it: Python imports all of a package before the first line of a module in it.
"""

import os
import sys

_STDERR = 2  # the file descriptor
_INTERRUPTED = 130  # the exit code; `mesh_facade.cli.exit_codes` may not have been imported yet


def main() -> None:
    """Import the command line, and run it."""
    try:
        from mesh_facade.cli import main as run_command  # noqa: PLC0415 — see above

        run_command()
    except KeyboardInterrupt:
        _report_interruption()
        sys.exit(_INTERRUPTED)


def _report_interruption() -> None:
    try:  # noqa: SIM105 — contextlib would have to be imported before Ctrl-C is handled
        os.write(_STDERR, b"interrupted\n")
    except OSError:
        pass  # stderr is closed, or its reader has ended: the exit code says enough


if __name__ == "__main__":
    main()
