"""The frame of each command in scripts/: it reports a failure in one line, with an exit code."""

import sys
from collections.abc import Callable
from functools import wraps

from openapi_tools.json_values import SpecError


def command(main: Callable[..., int | None], failure: int = 1) -> Callable[..., int]:
    """Decorate a main function: print its SpecError or OSError as one line on stderr.

    The decorated function returns the exit code: that of `main`, 0 if `main` returns None, or
    `failure` after an error.
    """

    @wraps(main)
    def run(*arguments: object) -> int:
        try:
            exit_code = main(*arguments)
        except (SpecError, OSError) as error:
            print(f"error: {error}", file=sys.stderr)
            return failure
        return exit_code or 0

    return run
