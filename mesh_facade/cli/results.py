"""Writes the outcomes of `mesh-balance bulk`, and reads the outcomes that an output file holds.

An output file has one line for each outcome, as CSV or JSON lines. It never holds two outcomes of
the same account. Each outcome is appended in one piece as soon as it is known. If a crash cuts a
line off, the next run that opens the file removes that line.

With `--retry-failed`, new outcomes are first written to a second file beside the output, the
journal. When the run ends, the journal is merged into the output: its outcomes replace the old
outcomes of the same accounts. If a crash prevents that, both files stay complete, and the next run
that opens the output merges them.
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
from collections.abc import Generator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Protocol, Self, cast

import attrs

from mesh_facade import LinkedAccount, MeshAPIError, MeshResponseError, Outcome
from mesh_facade.cli import fingerprints
from mesh_facade.cli.accounts import JSON
from mesh_facade.cli.failures import Failure
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
_JSON_OPENING = b'{"key": "'

# Old versions stored no fingerprints, which are the last column.
_COLUMNS_OF_OLD_VERSIONS = COLUMNS[:-1]

# A spreadsheet evaluates a cell as a formula if it starts with one of these characters, of which
# some are full-width. An apostrophe in front of the character prevents that. If a cell already
# has apostrophes there, it gets one more, so that removing one restores every cell. A plain number,
# such as -5, is left as it is.
_FORMULA = re.compile("'*[=+\\-@\t\r＝＋－＠]")  # noqa: RUF001 — the full-width ones
_ESCAPED_FORMULA = re.compile("'+[=+\\-@\t\r＝＋－＠]")  # noqa: RUF001 — the same
_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?")


class _NotAnOutcomeError(ValueError):
    """A line of an output file is not an outcome."""


# What reading a line can raise if it is not an outcome; `_NotAnOutcomeError` is a ValueError.
_PARSING_ERRORS = (ValueError, RecursionError, csv.Error)


class OutcomeWriter(Protocol):
    """Writes the outcomes of a run: `StandardOutput` or `OutputFile`."""

    def add(self, outcome: Outcome) -> None:
        """Write an outcome without delay.

        Raises:
            OSError: It cannot be written.
        """


@attrs.frozen
class StoredOutcome:
    """The part of an outcome in an output file that a later run needs.

    Attributes:
        key: The account's key.
        broker: The account's broker.
        failure: Why the account could not be read; None if it was read.
        fingerprint: The fingerprint of the account's token and broker; see `fingerprints`.
    """

    key: str
    broker: str
    failure: Failure | None
    fingerprint: str

    @property
    def shows_accepted_api_keys(self) -> bool:
        """True if this outcome shows that Mesh accepted the API keys of the run that wrote it.

        A balance and a dead token show it. Another failure may show it too, but an output does not
        store enough of it to tell.
        """
        return self.failure is None or self.failure.is_dead_token

    def was_read_with(self, account: LinkedAccount) -> bool:
        """Return True if this outcome was read with the account's token and broker."""
        return fingerprints.matches(self.fingerprint, account)


class StandardOutput:
    """Writes outcomes as JSON lines to stdout.

    Raises:
        ValueError: Stdout is closed.
    """

    def __init__(self) -> None:
        if sys.stdout is None:
            raise ValueError("stdout is closed: name an output file with -o")
        self._file = sys.stdout.buffer

    def add(self, outcome: Outcome) -> None:
        """Write an outcome as a line, and flush it."""
        self._file.write(_format_json(_make_values(outcome)))
        self._file.flush()


class OutputFile:
    """An output file, locked until it is closed.

    Attributes:
        path: The path of the file.
        outcomes: The outcomes in the file, by key. `add` adds to them.

    Raises:
        ValueError: Another run has locked the file, or the file holds anything but outcomes.
        OSError: The file cannot be opened.
    """

    def __init__(self, path: Path, *, is_csv: bool) -> None:
        self.path = path
        self.outcomes: dict[str, StoredOutcome] = {}
        self._is_csv = is_csv
        self._file = _open_private(path, "a+b")
        try:
            _lock(self._file, path)
            self._read_and_repair()
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file, which also unlocks it. Closing it twice does nothing."""
        self._file.close()

    def add(self, outcome: Outcome) -> None:
        """Write an outcome as a line at the end of the file, and flush it."""
        values = _make_values(outcome)
        stored = _make_stored_outcome(values)
        self._file.write(self._format(values))
        self._file.flush()
        self.outcomes[stored.key] = stored

    def keyed_lines(self) -> Iterator[tuple[str, bytes]]:
        """Yield the key and the line of each outcome."""
        self._file.seek(0)
        for line in self._file:
            if not self._is_header(line, COLUMNS):
                yield self._parse_line(line).key, line

    def merge_and_close(self, journal: "OutputFile") -> None:
        """Merge the journal into this file, remove the journal, and close both.

        An outcome of the journal replaces the outcome with the same key. The merged outcomes are
        written to a third file, which then takes the place of this one in a single step. If that
        fails, the third file is removed, and the other two stay as they are.

        Raises:
            OSError: A file cannot be written, replaced or removed.
        """
        target = self.path.resolve()  # if the path is a symbolic link, the link is kept
        merged = _append_suffix(target, ".merged")
        try:
            self._write_merged(merged, target, journal)
            # This file stays locked until it is replaced. Otherwise another run could lock the old
            # file, pass the check in `_lock`, and then write to a file without a name. The journal
            # stays locked until it is removed, so that no other run merges it, too.
            if os.name == "nt":  # pragma: no cover — Windows cannot replace an open file
                self.close()
            merged.replace(target)
        except (OSError, KeyboardInterrupt):
            merged.unlink(missing_ok=True)
            raise
        journal.remove_and_close()
        self.close()

    def _write_merged(self, merged: Path, target: Path, journal: "OutputFile") -> None:
        """Write the outcomes of this file and of the journal to a new file."""
        with _open_private(merged, "wb") as file:
            shutil.copymode(target, merged)
            file.write(self._header)
            journal_keys = {key for key, _ in journal.keyed_lines()}
            for key, line in self.keyed_lines():
                if key not in journal_keys:
                    file.write(line)
            for _, line in journal.keyed_lines():
                file.write(line)
            file.flush()
            os.fsync(file.fileno())

    def remove_and_close(self) -> None:
        """Remove the file, and close it."""
        if os.name == "nt":  # pragma: no cover — Windows cannot remove an open file
            self.close()
        self.path.unlink()
        self.close()

    @property
    def _header(self) -> bytes:
        """The first line of a CSV file; empty for JSON lines."""
        if self._is_csv:
            return _CSV_HEADER
        return b""

    def _read_and_repair(self) -> None:
        """Read the outcomes, remove an incomplete last line, and write a missing header.

        Raises:
            ValueError: A line is not an outcome, or a key has two outcomes.
        """
        self._file.seek(0)
        complete_length = 0  # the length in bytes of the lines that are not cut off
        for number, line in enumerate(self._file, 1):
            if self._may_be_removed(line, number):
                break
            if not self._is_header(line, COLUMNS):
                outcome = self._read_outcome(line, number)
                if outcome.key in self.outcomes:
                    raise ValueError(
                        f"{self.path}: line {number} is a second outcome with the key "
                        f"{one_line(outcome.key)}: another program has joined two files or changed "
                        "keys. Choose another output, or remove the wrong line."
                    )
                self.outcomes[outcome.key] = outcome
            complete_length += len(line)
        self._file.truncate(complete_length)
        if complete_length == 0:
            self._file.write(self._header)
            self._file.flush()

    def _may_be_removed(self, line: bytes, number: int) -> bool:
        """Return True if this line has no line end and may be removed.

        A line that follows complete lines may always be removed: a crash has cut it off. If this
        line is the whole file, another program may have written it. Then it may be removed only if
        it starts like the first line of an output. Even so, a complete JSON object stays if its
        fields are not exactly those of an outcome. `_parse_line` refuses a file whose line stays.
        """
        if line.endswith(b"\n"):
            return False
        if number > 1:
            return True
        if self._is_header(line, COLUMNS):
            # Another program saved the file again, without a line end. The first outcome would be
            # appended to this line, so `_read_and_repair` removes it and writes the header anew.
            return True
        opening = _JSON_OPENING
        if self._is_csv:
            opening = _CSV_HEADER
        elif _is_other_json_object(line):
            return False
        if len(line) < len(opening):
            return opening.startswith(line)
        return line.startswith(opening)

    def _is_header(self, line: bytes, columns: Sequence[str]) -> bool:
        """Return True if a line of CSV names these columns.

        The cells are compared, because a spreadsheet program may have saved the file again: with
        quotation marks, other line ends or a byte order mark.
        """
        if not self._is_csv:
            return False
        # A header has the name of the last column. To search for that name is faster than to parse
        # each line.
        if columns[-1].encode() not in line:
            return False
        try:
            cells = next(csv.reader([line.decode("utf-8-sig")], strict=True))
        except _PARSING_ERRORS:
            return False
        return cells == list(columns)

    def _read_outcome(self, line: bytes, number: int) -> StoredOutcome:
        """Return the outcome in a line.

        Raises:
            ValueError: The line is not an outcome, or an older version wrote it. The message says
                what to do.
        """
        try:
            return self._parse_line(line)
        except _PARSING_ERRORS:
            # The error may quote the line. So nothing is raised in this block: Python would attach
            # the error to ours, as its context.
            pass
        problem = f"line {number} is not an outcome of mesh-balance bulk"
        if self._is_of_old_version(line):
            problem = (
                "it was written by an older version of mesh-balance, without the fingerprints that "
                "show which accounts its outcomes belong to"
            )
        raise ValueError(f"{self.path}: {problem}. Choose another output.")

    def _is_of_old_version(self, line: bytes) -> bool:
        """Return True if this line was written by an old version, without a fingerprint."""
        if self._is_csv:
            return self._is_header(line, _COLUMNS_OF_OLD_VERSIONS)
        try:
            values = json.loads(line)
        except _PARSING_ERRORS:
            return False
        return isinstance(values, dict) and values.keys() == set(_COLUMNS_OF_OLD_VERSIONS)

    def _parse_line(self, line: bytes) -> StoredOutcome:
        """Return the outcome in a line; raise one of `_PARSING_ERRORS` if it holds none."""
        if not line.endswith(b"\n"):
            # An incomplete first line that another program may have written; see `_may_be_removed`.
            raise _NotAnOutcomeError
        if not self._is_csv:
            return _make_stored_outcome(json.loads(line))
        cells = next(csv.reader([line.decode()], strict=True))
        values: dict[str, JSON] = {}
        for column, cell in zip(COLUMNS, cells, strict=True):
            values[column] = unescape_formula(cell)
        for column in ("error", "error_type"):
            if values[column] == "":  # CSV has no null
                values[column] = None
        return _make_stored_outcome(values)

    def _format(self, values: Mapping[str, JSON]) -> bytes:
        if self._is_csv:
            return _format_csv(values)
        return _format_json(values)


def _is_other_json_object(line: bytes) -> bool:
    """Return True if a line is a complete JSON object, but not an outcome."""
    try:
        values = json.loads(line)
    except _PARSING_ERRORS:
        return False
    return isinstance(values, dict) and values.keys() != set(COLUMNS)


@contextlib.contextmanager
def open_output(path: Path) -> Generator[OutputFile]:
    """Open an output file. If a killed run left a journal, merge it into the output first.

    Raises:
        ValueError: The name has an unknown suffix, its folder does not exist, another run has
            locked the output or the journal, or one of them holds anything but outcomes.
        OSError: A file cannot be opened, written, replaced or removed.
    """
    check_output_name(path)
    is_csv = _is_csv_name(path)
    output = OutputFile(path, is_csv=is_csv)
    try:
        journal_path = _journal_path(path)
        if journal_path.exists():
            with OutputFile(journal_path, is_csv=is_csv) as journal:
                output.merge_and_close(journal)
            output = OutputFile(path, is_csv=is_csv)  # the merged file
        yield output
    finally:
        output.close()


@contextlib.contextmanager
def open_journal(output: OutputFile) -> Generator[OutputFile]:
    """Open the journal of an output. At the end, merge it into the output, and close both.

    They are merged even if an exception ends the `with` block, so that no new outcome is lost.

    Raises:
        ValueError: Another run has locked the journal.
        OSError: A file cannot be opened, written, replaced or removed.
    """
    is_csv = _is_csv_name(output.path)
    with OutputFile(_journal_path(output.path), is_csv=is_csv) as journal:
        try:
            yield journal
        finally:
            output.merge_and_close(journal)


def check_output_name(path: Path) -> None:
    """Raise ValueError unless the suffix is one of CSV or JSON lines, and the folder exists."""
    suffix = path.suffix.lower()
    if suffix not in _CSV_SUFFIXES + _JSON_SUFFIXES:
        raise ValueError(
            f"{path}: cannot write {suffix} files. Choose a name that ends in .csv for CSV, or in "
            ".jsonl for JSON lines."
        )
    if not path.parent.exists():
        raise ValueError(f"{path}: the folder {path.parent} does not exist. Make the folder first.")


def escape_formula(cell: str) -> str:
    """Return a cell that no spreadsheet evaluates; `unescape_formula` restores it."""
    if _FORMULA.match(cell) and not _NUMBER.fullmatch(cell):
        return "'" + cell
    return cell


def unescape_formula(cell: str) -> str:
    """Return the cell that `escape_formula` was given."""
    if _ESCAPED_FORMULA.match(cell):
        return cell[1:]
    return cell


def _is_csv_name(path: Path) -> bool:
    return path.suffix.lower() in _CSV_SUFFIXES


def _open_private(path: Path, mode: str) -> IO[bytes]:
    """Open a file. Only its owner can read a new file, because balances are private."""
    opener = functools.partial(os.open, mode=0o600)
    return cast("IO[bytes]", open(path, mode, opener=opener))


def _append_suffix(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _journal_path(output: Path) -> Path:
    return _append_suffix(output.resolve(), ".retry")


def _lock(file: IO[bytes], path: Path) -> None:
    """Lock a file until it is closed.

    Raises:
        ValueError: Another run has locked the file, or has replaced or removed it.
        OSError: The file system cannot lock files.
    """
    try:
        import fcntl  # noqa: PLC0415
    except ImportError:  # Windows has no such locks
        return
    message = f"{path} is being written by another run. Try again when it has ended."
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ValueError(message) from None
    # Another run may have replaced or removed the file after this run opened it.
    try:
        current = path.stat()
    except FileNotFoundError:
        raise ValueError(message) from None
    if not os.path.samestat(os.fstat(file.fileno()), current):
        raise ValueError(message)


def _make_values(outcome: Outcome) -> dict[str, JSON]:
    """Return the values of an outcome by column, in the order of `COLUMNS`."""
    values: dict[str, JSON] = dict.fromkeys(COLUMNS)  # None unless the outcome has the value
    values["key"] = outcome.account.key
    values["broker"] = outcome.account.broker
    values["attempts"] = outcome.attempts
    values["elapsed"] = round(outcome.elapsed, 3)
    values["fingerprint"] = fingerprints.make_fingerprint(outcome.account)
    if outcome.balance is not None:
        balance = outcome.balance.to_dict()
        values["total_cash_usd"] = balance["total_cash_usd"]
        values["total_buying_power_usd"] = balance["total_buying_power_usd"]
        values["rows"] = balance["rows"]
    error = outcome.error
    if error is not None:
        failure = Failure.from_error(error)
        values["error"] = failure.error
        values["error_type"] = failure.error_type
        values["message"] = one_line(str(error))
    if isinstance(error, MeshAPIError | MeshResponseError):
        values["http_status"] = error.http_status
    return values


def _make_stored_outcome(values: JSON) -> StoredOutcome:
    """Return the stored outcome that consists of these values by column.

    Raises:
        _NotAnOutcomeError: A value is missing or has the wrong type.
    """
    if not isinstance(values, dict):
        raise _NotAnOutcomeError
    failure = None
    error = _read_text_or_null(values, "error")
    if error is not None:
        failure = Failure(error, _read_text_or_null(values, "error_type"))
    return StoredOutcome(
        key=_require_text(values, "key"),
        broker=_require_text(values, "broker"),
        failure=failure,
        fingerprint=_require_text(values, "fingerprint"),
    )


def _require_text(values: Mapping[str, JSON], column: str) -> str:
    """Return the value of a column; raise _NotAnOutcomeError if it is not a string."""
    text = _read_text_or_null(values, column)
    if text is None:
        raise _NotAnOutcomeError
    return text


def _read_text_or_null(values: Mapping[str, JSON], column: str) -> str | None:
    """Return the value of a column; raise _NotAnOutcomeError unless it is a string or null."""
    if column not in values:
        raise _NotAnOutcomeError
    value = values[column]
    if value is not None and not isinstance(value, str):
        raise _NotAnOutcomeError
    return value


def _format_json(values: Mapping[str, JSON]) -> bytes:
    return json.dumps(values).encode() + b"\n"


def _format_csv(values: Mapping[str, JSON]) -> bytes:
    """Return a line of CSV; a list becomes a cell that holds JSON."""
    cells: list[JSON] = []
    for column in COLUMNS:
        value = values[column]
        if isinstance(value, str):
            cells.append(escape_formula(value))
        elif isinstance(value, list):
            cells.append(json.dumps(value))
        else:
            cells.append(value)
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue().encode()
