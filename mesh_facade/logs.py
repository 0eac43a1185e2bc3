"""`MESH_LOG`: shows this package's log records in a program that does not configure logging."""

import logging
import os
import sys
from typing import TextIO

from mesh_facade.engine.checks import describe
from mesh_facade.errors import MeshConfigurationError

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO}
_FORMAT = "%(asctime)s %(name)s %(levelname)s %(message)s"
_KEY_FIELDS = ("mesh_call_key", "mesh_attempt_key")


class _Formatter(logging.Formatter):
    """Writes a record on a line; in a bulk run, the account's key comes last."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 — logging's own name
        line = super().formatMessage(record)
        for field in _KEY_FIELDS:
            key = getattr(record, field, None)
            if key is not None:
                line += f" (key: {key!r})"
        return line


class _Handler(logging.StreamHandler[TextIO]):
    """Prints records on stderr, until the program configures logging itself."""

    def handle(self, record: logging.LogRecord) -> bool:
        handlers = logging.getLogger().handlers + logging.getLogger("mesh_facade").handlers
        if any(handler is not self for handler in handlers):  # the others print the record too
            return False
        return super().handle(record)

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr  # the program may have replaced it
        super().emit(record)


_handler = _Handler()
_handler.setFormatter(_Formatter(_FORMAT))


def configure_logging() -> None:
    """Print the package's log records on stderr if `MESH_LOG` asks for it.

    `info` gives one record for each call, `debug` also one for each attempt that failed. If the
    program has configured logging itself, `MESH_LOG` changes nothing. If it does so later, its own
    handlers print the records.

    Raises:
        MeshConfigurationError: `MESH_LOG` is neither `debug` nor `info`.
    """
    wanted = os.environ.get("MESH_LOG", "").strip().lower()
    if not wanted:
        return
    if wanted not in _LEVELS:
        raise MeshConfigurationError(f"MESH_LOG must be debug or info, not {describe(wanted)}")
    logger = logging.getLogger("mesh_facade")
    if not logger.hasHandlers():
        # There is one handler, and a logger takes it only once, so two clients that are built at
        # the same time cannot add two. There is no lock, because a fork could leave it held.
        logger.addHandler(_handler)
        logger.setLevel(_LEVELS[wanted])
