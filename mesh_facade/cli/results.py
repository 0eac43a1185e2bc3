"""The output file of `mesh-balance bulk`: the outcomes that it holds, and those that are added."""

import collections
import csv
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import IO

from mesh_facade import MeshAPIError, MeshResponseError, Outcome
from mesh_facade.cli.accounts import JSON
from mesh_facade.cli.terminal import one_line

COLUMNS = (
    "key",
    "broker",
    "total_cash_usd",
    "total_buying_power_usd",
    "rows",
    "error",
    "http_status",
    "error_type",
    "message",
    "attempts",
    "elapsed",
)
_CSV_HEADER = (",".join(COLUMNS) + "\n").encode()
_JSON_OPENING = b'{"key": "'

csv.field_size_limit(2**31 - 1)  # the rows of a balance are one cell, which is read again


class Results:
    """An output file: CSV or JSON lines, one line for each outcome.

    A line that a crash cut off is removed, and anything else that is not an outcome is refused.
    """

    def __init__(self, file: IO[bytes], path: Path) -> None:
        self.done: set[str] = set()
        self.failures = collections.Counter[str]()
        self._file = file
        self._path = path
        self._is_csv = path.suffix.lower() == ".csv"
        _lock(file, path)
        self._read()

    def add(self, outcome: Outcome) -> None:
        """Write an outcome as a line, at once."""
        values = _values(outcome)
        self._count(values)
        self._file.write(self._format(values))
        self._file.flush()

    def _read(self) -> None:
        header = _CSV_HEADER if self._is_csv else b""
        opening = header or _JSON_OPENING
        end = self._file.seek(0)
        for number, line in enumerate(self._file, 1):
            is_ours = end > 0 or opening.startswith(line[: len(opening)])
            if is_ours and not line.endswith(b"\n"):
                break  # half-written
            end += len(line)
            try:
                if line != header:
                    self._count(self._parse(line))
            except (ValueError, KeyError, TypeError, RecursionError, csv.Error):
                raise ValueError(
                    f"{self._path}, line {number} is no outcome: choose another output"
                ) from None
        self._file.truncate(end)
        if end == 0:
            self._file.write(header)

    def _count(self, values: Mapping[str, JSON]) -> None:
        self.done.add(str(values["key"]))
        error = values["error"]
        if error:
            self.failures[str(error)] += 1

    def _parse(self, line: bytes) -> dict[str, JSON]:
        if self._is_csv:
            cells = next(csv.reader([line.decode()]))
            return dict(zip(COLUMNS, cells, strict=True))
        values: dict[str, JSON] = json.loads(line)
        return values

    def _format(self, values: Mapping[str, JSON]) -> bytes:
        if not self._is_csv:
            return json.dumps(values).encode() + b"\n"
        cells = dict(values)
        if values["rows"]:
            cells["rows"] = json.dumps(values["rows"])
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerow(cells.values())
        return text.getvalue().encode()


def _lock(file: IO[bytes], path: Path) -> None:
    """Lock a file for this process; ValueError where another run holds it."""
    try:
        import fcntl  # noqa: PLC0415
    except ImportError:  # Windows has no such locks
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ValueError(f"{path} is being written by another run") from None


def _values(outcome: Outcome) -> dict[str, JSON]:
    """Return the value of each column for an outcome."""
    values: dict[str, JSON] = dict.fromkeys(COLUMNS)
    values["key"] = outcome.account.key
    values["broker"] = outcome.account.broker
    values["attempts"] = outcome.attempts
    values["elapsed"] = round(outcome.elapsed, 3)
    if outcome.balance is not None:
        values.update(outcome.balance.to_dict())
    error = outcome.error
    if error is not None:
        values["error"] = type(error).__name__
        values["message"] = one_line(str(error))
    if isinstance(error, MeshAPIError | MeshResponseError):
        values["http_status"] = error.http_status
    if isinstance(error, MeshAPIError):
        values["error_type"] = error.error_type
    return values
