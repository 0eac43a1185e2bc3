"""The frame of each command in scripts/: it reports a failure in one line, with an exit code."""

import sys
from collections.abc import Callable
from functools import wraps

from openapi_tools.json_values import SpecError

Main = Callable[..., int | None]


def command(
    failure_code: int = 1, reported_errors: tuple[type[Exception], ...] = (SpecError, OSError)
) -> Callable[[Main], Callable[..., int]]:
    """Return a decorator for a main function, which prints a reported error as one line.

    The decorated function returns the exit code: that of `main`, 0 if `main` returns None, or
    `failure_code` after an error.
    """

    def decorate(main: Main) -> Callable[..., int]:
        @wraps(main)
        def run(*arguments: object) -> int:
            try:
                exit_code = main(*arguments)
            except reported_errors as error:
                print(f"error: {error}", file=sys.stderr)
                return failure_code
            return exit_code or 0

        return run

    return decorate
