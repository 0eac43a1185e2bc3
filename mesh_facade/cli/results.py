"""The outcomes of `mesh-balance bulk`: writes them, and reads those that an output holds already.

An output file holds one line for each outcome, as CSV or JSON lines, and at most one outcome for
each account, at any moment. An outcome is added at the end, in one piece, as soon as it is known; a
line that a crash cut off is removed when the file is opened again.

Accounts that failed are read again into a second file beside the output, the journal. When the run
ends, the output is replaced by one that holds the new outcomes in place of the old. A crash in
between leaves both files whole: the next run that opens the output finishes the replacement.
"""

import contextlib
import csv
import functools
import io
import json
import os
import re
import shutil
import sys
from collections.abc import Generator, Iterator, Mapping
from pathlib import Path
from typing import IO, Protocol, Self, cast

import attrs

from mesh_facade import LinkedAccount, MeshAPIError, MeshResponseError, Outcome
from mesh_facade.cli import fingerprints
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
    "fingerprint",
)
STDOUT = Path("-")

_CSV_SUFFIXES = (".csv",)
_JSON_SUFFIXES = (".jsonl", ".ndjson", ".json", "")
_CSV_HEADER = (",".join(COLUMNS) + "\n").encode()
_COLUMNS_OF_OLD_VERSIONS = frozenset(COLUMNS[:-1])
_CSV_HEADER_OF_OLD_VERSIONS = (",".join(COLUMNS[:-1]) + "\n").encode()
_JSON_OPENING = b'{"key": "'

# A spreadsheet runs a cell as a formula if it starts with one of these characters, of which some
# are full-width. It shows an apostrophe in front of them as text.
_FORMULA = re.compile("'*[=+\\-@\t\r＝＋－＠]")  # noqa: RUF001 — the full-width ones
_ESCAPED_FORMULA = re.compile("'+[=+\\-@\t\r＝＋－＠]")  # noqa: RUF001 — the same
_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?")


class OutcomeWriter(Protocol):
    """Takes the outcomes of a run."""

    def add(self, outcome: Outcome) -> None:
        """Write an outcome, at once."""


@attrs.frozen
class StoredOutcome:
    """The part of an outcome in an output file that a later run needs.

    Attributes:
        key: The account's key.
        broker: The account's broker.
        error: The name of the error's class; None if the account was read.
        fingerprint: Recognises the account; see `fingerprints`.
    """

    key: str
    broker: str
    error: str | None
    fingerprint: str

    def is_of(self, account: LinkedAccount) -> bool:
        """Return True if this outcome was read with the account's token and broker."""
        return fingerprints.matches(self.fingerprint, account)


class StandardOutput:
    """Writes outcomes as JSON lines to stdout."""

    def __init__(self) -> None:
        if sys.stdout is None:
            raise ValueError("stdout is closed: name an output file with -o")
        self._file = sys.stdout.buffer

    def add(self, outcome: Outcome) -> None:
        """Write an outcome as a line, at once."""
        self._file.write(_format_json(_list_values(outcome)))
        self._file.flush()


class OutputFile:
    """An output file, locked until it is closed.

    Attributes:
        path: Where it is.
        outcomes: The outcomes that it holds, by key; those that are added, too.

    Raises:
        ValueError: Another run writes the file, or it holds something else than outcomes.
        OSError: It cannot be opened.
    """

    def __init__(self, path: Path, *, is_csv: bool) -> None:
        self.path = path
        self.outcomes: dict[str, StoredOutcome] = {}
        self._is_csv = is_csv
        self._file = _open_private(path, "a+b")
        try:
            _lock(self._file, path)
            self._read()
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file, which also ends the lock."""
        self._file.close()

    def add(self, outcome: Outcome) -> None:
        """Write an outcome as a line, at once."""
        values = _list_values(outcome)
        stored = _make_stored_outcome(values)
        self._file.write(self._format(values))
        self._file.flush()
        self.outcomes[stored.key] = stored

    def lines(self) -> Iterator[tuple[str, bytes]]:
        """Yield the key and the line of each outcome."""
        self._file.seek(0)
        for line in self._file:
            if line != self._header:
                yield self._parse(line).key, line

    def replace_outcomes(self, journal: "OutputFile") -> None:
        """Replace this file by one with the journal's outcomes in place of its own; close both."""
        target = self.path.resolve()  # a symbolic link stays one
        merged = _place_beside(target, ".merged")
        with _open_private(merged, "wb") as file:
            shutil.copymode(target, merged)
            file.write(self._header)
            for key, line in self.lines():
                if key not in journal.outcomes:
                    file.write(line)
            for _, line in journal.lines():
                file.write(line)
            file.flush()
            os.fsync(file.fileno())
        # Windows replaces no open file. Until the journal is closed, its lock keeps others out.
        self.close()
        merged.replace(target)
        journal.close_and_remove()

    def close_and_remove(self) -> None:
        """Remove the file, and close it."""
        if os.name == "nt":  # pragma: no cover — Windows removes no open file
            self.close()
        self.path.unlink()
        self.close()

    @property
    def _header(self) -> bytes:
        """The first line of a CSV file; JSON lines have none."""
        if self._is_csv:
            return _CSV_HEADER
        return b""

    def _read(self) -> None:
        """Read the outcomes, and remove a line at the end that is only half-written.

        Raises:
            ValueError: A line is not an outcome.
        """
        self._file.seek(0)
        length = 0  # of the whole lines
        for number, line in enumerate(self._file, 1):
            if self._is_cut_off(line, number):
                break
            if line != self._header:
                outcome = self._parse_line(line, number)
                self.outcomes[outcome.key] = outcome
            length += len(line)
        self._file.truncate(length)
        if length == 0:
            self._file.write(self._header)
            self._file.flush()

    def _is_cut_off(self, line: bytes, number: int) -> bool:
        """Return True if a crash has cut off this line, so that it can be removed.

        A file of one unfinished line may be somebody else's. It is ours if that line begins as ours
        do.
        """
        if line.endswith(b"\n"):
            return False
        if number > 1:
            return True
        opening = self._header or _JSON_OPENING
        return opening.startswith(line[: len(opening)])

    def _parse_line(self, line: bytes, number: int) -> StoredOutcome:
        problem = f"line {number} is not an outcome of mesh-balance bulk"
        try:
            if not self._is_of_old_version(line):
                return self._parse(line)
            problem = (
                "it was written by an older version, so nothing shows which accounts its outcomes "
                "belong to"
            )
        except (ValueError, KeyError, TypeError, RecursionError, csv.Error):
            pass  # the error may quote the line
        raise ValueError(f"{self.path}: {problem}. Choose another output.")

    def _is_of_old_version(self, line: bytes) -> bool:
        """Return True for a line of a version that stored no fingerprints."""
        if self._is_csv:
            return line == _CSV_HEADER_OF_OLD_VERSIONS
        values = json.loads(line)
        return isinstance(values, dict) and values.keys() == _COLUMNS_OF_OLD_VERSIONS

    def _parse(self, line: bytes) -> StoredOutcome:
        if not self._is_csv:
            return _make_stored_outcome(json.loads(line))
        cells = next(csv.reader([line.decode()], strict=True))
        values: dict[str, JSON] = {}
        for column, cell in zip(COLUMNS, cells, strict=True):
            values[column] = unescape_formula(cell)
        if values["error"] == "":  # CSV has no null
            values["error"] = None
        return _make_stored_outcome(values)

    def _format(self, values: Mapping[str, JSON]) -> bytes:
        if self._is_csv:
            return _format_csv(values)
        return _format_json(values)


@contextlib.contextmanager
def open_output(path: Path) -> Generator[OutputFile]:
    """Open an output file, after finishing what a run that was killed left to do."""
    is_csv = check_output_name(path)
    output = OutputFile(path, is_csv=is_csv)
    try:
        journal_path = _journal_path(path)
        if journal_path.exists():
            with OutputFile(journal_path, is_csv=is_csv) as journal:
                output.replace_outcomes(journal)
            output = OutputFile(path, is_csv=is_csv)
        yield output
    finally:
        output.close()


@contextlib.contextmanager
def open_journal(output: OutputFile) -> Generator[OutputFile]:
    """Open a file for outcomes that replace those of an output; they do so when it is closed.

    The output is closed then, too.
    """
    is_csv = check_output_name(output.path)
    with OutputFile(_journal_path(output.path), is_csv=is_csv) as journal:
        try:
            yield journal
        finally:
            output.replace_outcomes(journal)


def check_output_name(path: Path) -> bool:
    """Return True for CSV, False for JSON lines; ValueError for a name of another format."""
    suffix = path.suffix.lower()
    if suffix in _CSV_SUFFIXES:
        return True
    if suffix in _JSON_SUFFIXES:
        return False
    raise ValueError(
        f"{path}: cannot write {suffix} files. Choose a name that ends in .csv for CSV, or in "
        ".jsonl for JSON lines."
    )


def escape_formula(cell: str) -> str:
    """Return a cell that no spreadsheet runs as a formula; `unescape_formula` restores it."""
    if _FORMULA.match(cell) and not _NUMBER.fullmatch(cell):
        return "'" + cell
    return cell


def unescape_formula(cell: str) -> str:
    """Return what `escape_formula` was given."""
    if _ESCAPED_FORMULA.match(cell):
        return cell[1:]
    return cell


def _open_private(path: Path, mode: str) -> IO[bytes]:
    """Open a file; a new one can be read by its owner alone, because balances are private."""
    opener = functools.partial(os.open, mode=0o600)
    return cast("IO[bytes]", open(path, mode, opener=opener))


def _place_beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _journal_path(output: Path) -> Path:
    return _place_beside(output.resolve(), ".retry")


def _lock(file: IO[bytes], path: Path) -> None:
    """Lock a file until it is closed; ValueError if another run writes it."""
    try:
        import fcntl  # noqa: PLC0415
    except ImportError:  # Windows has no such locks
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Another run may have replaced or removed the file after this one opened it.
        is_ours = os.path.samestat(os.fstat(file.fileno()), path.stat())
    except (BlockingIOError, FileNotFoundError):
        is_ours = False
    if not is_ours:
        raise ValueError(f"{path} is being written by another run. Try again when it has ended.")


def _list_values(outcome: Outcome) -> dict[str, JSON]:
    """Return the value of each column for an outcome."""
    values: dict[str, JSON] = dict.fromkeys(COLUMNS)
    values["key"] = outcome.account.key
    values["broker"] = outcome.account.broker
    values["attempts"] = outcome.attempts
    values["elapsed"] = round(outcome.elapsed, 3)
    values["fingerprint"] = fingerprints.make_fingerprint(outcome.account)
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


def _make_stored_outcome(values: Mapping[str, JSON]) -> StoredOutcome:
    """Return the outcome in these values.

    Raises:
        KeyError: A value is missing.
        TypeError: A value has another type.
    """
    error = values["error"]
    if error is not None:
        error = _check_text(error)
    return StoredOutcome(
        key=_check_text(values["key"]),
        broker=_check_text(values["broker"]),
        error=error,
        fingerprint=_check_text(values["fingerprint"]),
    )


def _check_text(value: JSON) -> str:
    if not isinstance(value, str):
        raise TypeError("not a string")
    return value


def _format_json(values: Mapping[str, JSON]) -> bytes:
    return json.dumps(values).encode() + b"\n"


def _format_csv(values: Mapping[str, JSON]) -> bytes:
    cells: list[JSON] = []
    for value in values.values():
        if isinstance(value, str):
            cells.append(escape_formula(value))
        elif isinstance(value, list):
            cells.append(json.dumps(value))
        else:
            cells.append(value)
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue().encode()
