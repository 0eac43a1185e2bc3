"""Reads the accounts of `mesh-balance bulk`: from CSV or JSON lines, in a file or a pipe.

A mistake in a file is reported with its line. No cell is quoted, because each may be a token.
"""

import codecs
import contextlib
import csv
import io
import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Generator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, cast

import attrs

from mesh_facade import LinkedAccount

JSON = str | int | float | bool | None | list["JSON"] | dict[str, "JSON"]

STDIN = Path("-")

_DELIMITERS = (",", ";", "\t")
_REQUIRED = ("auth_token", "broker")
_KNOWN = ("auth_token", "broker", "key")
_SPOOL_SIZE = 64 * 1024 * 1024  # bytes that are kept in memory, before a temporary file is used

# A column's name is quoted in an error only if it consists of these words. If a file does not name
# its columns, its first line is a record, so any other text in it may be a token.
_NAME_WORDS_TEXT = """
access account auth broker brokerage client comment created currency customer date email exchange
expires expiry external id institution key label link linked name note notes number portfolio ref
reference refresh status token type updated user
accesstoken accountid accountname accounttoken authtoken brokername brokertype clientid customerid
refreshtoken tokenid userid
"""
_NAME_WORDS = frozenset(_NAME_WORDS_TEXT.split())
_HIDDEN_NAME = "?"

# A cell may be as long as the file allows; Python's own limit is 128 KiB.
csv.field_size_limit(2**31 - 1)


@attrs.frozen
class Record:
    """An account as the file names it.

    Attributes:
        line: The line of the file where the record starts.
        account: The account. Its `key` is a string: the file's, or the record's number if the file
            has none.
        has_key: Whether the file has the key.
    """

    line: int
    account: LinkedAccount
    has_key: bool


@attrs.frozen
class _Row:
    """The fields of a record, by the names of `_KNOWN`, and the line where it starts."""

    line: int
    fields: Mapping[str, JSON]


class AccountsFile:
    """The accounts of a file. They can be read any number of times, but not twice at once.

    Args:
        name: The name of the file, for messages.
        file: The content; it can be read from the start again.
        source: Where the content comes from: the same, or the pipe that it was copied from.
    """

    def __init__(self, name: str, file: IO[bytes], source: IO[bytes]) -> None:
        self.name = name
        self._file = file
        self._source = source

    def is_same_file(self, path: Path) -> bool:
        """Return True if the accounts come from the file at `path`."""
        try:
            return os.path.samestat(os.fstat(self._source.fileno()), path.stat())
        except OSError:  # there is no such file, or the accounts come from no file of the system
            return False

    def read(self) -> Iterator[Record]:
        """Yield a record for each account.

        Raises:
            ValueError: A line is wrong; the message says which and why.
        """
        lines_by_key: dict[str, int] = {}
        try:
            for number, row in enumerate(self._read_rows(), 1):
                record = self._make_record(row, number)
                key = record.account.key
                if key in lines_by_key:
                    raise self._error(
                        f"the key is the same as in line {lines_by_key[key]}. Each account needs "
                        "a key of its own.",
                        row.line,
                    )
                lines_by_key[key] = row.line
                yield record
        except UnicodeError as error:
            raise self._error(f"{error}. Save the file as UTF-8 or UTF-16.") from None

    def _read_rows(self) -> Iterator[_Row]:
        first_line = self._find_first_line()
        if first_line.startswith("{"):
            return self._read_json_lines()
        if first_line.startswith("["):
            raise self._error("a JSON array. JSON lines are expected: one object on each line.")
        if first_line:
            return self._read_csv(first_line)
        return iter(())

    def _find_first_line(self) -> str:
        """Return the first line that is not blank, or an empty string."""
        with self._open_text() as text:
            for line in text:
                if line.strip():
                    return line.strip()
        return ""

    @contextlib.contextmanager
    def _open_text(self) -> Generator[io.TextIOWrapper]:
        """Open the file from its start; it stays open afterwards."""
        self._file.seek(0)
        encoding = _detect_encoding(self._file.read(4))
        self._file.seek(0)
        text = io.TextIOWrapper(self._file, encoding=encoding, newline="")
        try:
            yield text
        finally:
            text.detach()

    def _read_json_lines(self) -> Iterator[_Row]:
        with self._open_text() as text:
            for number, line in enumerate(text, 1):
                if line.strip():
                    yield _Row(number, self._parse_json(line, number))

    def _parse_json(self, line: str, number: int) -> dict[str, JSON]:
        value = None
        # The decoder's error holds the line, so it must not be the cause of ours.
        with contextlib.suppress(ValueError, RecursionError):
            value = json.loads(line)
        if not isinstance(value, dict):
            raise self._error("not a JSON object. One object is expected on each line.", number)
        fields = cast("dict[str, JSON]", value)
        missing = [name for name in _REQUIRED if name not in fields]
        if missing:
            found = ",".join(_hide_unknown_name(name) for name in fields)
            raise self._error(f"missing {_name_all('field', missing)} (found: {found}).", number)
        return fields

    def _read_csv(self, first_line: str) -> Iterator[_Row]:
        delimiter = self._detect_delimiter(first_line)
        with self._open_text() as text:
            reader = csv.reader(text, delimiter=delimiter, strict=True)
            columns: list[str] = []
            line = 1
            try:
                for cells in reader:
                    if not columns:
                        columns = _normalize_column_names(cells)
                        self._check_column_names(columns)
                    elif any(cell.strip() for cell in cells):
                        yield _Row(line, self._name_cells(columns, cells, line))
                    line = reader.line_num + 1
            except csv.Error as error:
                raise self._error(f"{error}. Check the quotation marks.", line) from None

    def _detect_delimiter(self, first_line: str) -> str:
        """Return the delimiter with which the first line names the required columns.

        Raises:
            ValueError: It names them with none of the delimiters.
        """
        missing: Sequence[str] = _REQUIRED
        for delimiter in _DELIMITERS:
            with self._open_text() as text:
                columns: list[str] = []
                for cells in csv.reader(text, delimiter=delimiter):
                    columns = _normalize_column_names(cells)
                    if columns:
                        break
            not_found = [name for name in _REQUIRED if name not in columns]
            if not not_found:
                return delimiter
            # The error is about the delimiter that comes closest.
            if len(not_found) < len(missing):
                missing = not_found
        found = _describe_first_line(first_line)
        hint = ""
        if _HIDDEN_NAME in found:
            hint = f" {_HIDDEN_NAME} hides a text that may be a token."
        raise self._error(
            f"missing {_name_all('column', missing)} (found: {found}).{hint} The first line must "
            "name the columns auth_token, broker and, if you like, key, separated by commas, "
            "semicolons or tabs."
        )

    def _check_column_names(self, columns: Sequence[str]) -> None:
        for name in _KNOWN:
            if columns.count(name) > 1:
                raise self._error(f"column '{name}' is there more than once.")

    def _name_cells(
        self, columns: Sequence[str], cells: Sequence[str], line: int
    ) -> dict[str, JSON]:
        """Return the cells of a row by the names of their columns."""
        surplus = cells[len(columns) :]
        if any(cell.strip() for cell in surplus):
            raise self._error(
                f"{len(cells)} cells, but the first line names {len(columns)} columns. A cell that "
                "contains the delimiter must stand in quotation marks.",
                line,
            )
        # A short row lacks its last cells: they are empty.
        return {column: cell.strip() for column, cell in zip(columns, cells, strict=False)}

    def _make_record(self, row: _Row, number: int) -> Record:
        token = self._read_text(row, "auth_token")
        broker = self._read_text(row, "broker")
        key = row.fields.get("key")
        if isinstance(key, bool | list | dict):
            raise self._error("'key' must be a string or a number.", row.line)
        has_key = key is not None and key != ""
        if not has_key:
            key = number
        text = str(key)
        for stored in (broker, text):
            stored.encode()  # UnicodeError for a text that the output cannot hold
        self._check_single_line("key", text, row.line)
        return Record(row.line, LinkedAccount(token, broker, text), has_key)

    def _read_text(self, row: _Row, name: str) -> str:
        """Return a field that must be a string on one line."""
        value = row.fields.get(name)
        if value is None or value == "":
            raise self._error(f"'{name}' is empty.", row.line)
        if not isinstance(value, str):
            raise self._error(f"'{name}' must be a string.", row.line)
        self._check_single_line(name, value, row.line)
        return value

    def _check_single_line(self, name: str, value: str, line: int) -> None:
        if "\n" in value or "\r" in value:
            raise self._error(f"'{name}' contains a line end.", line)

    def _error(self, problem: str, line: int | None = None) -> ValueError:
        place = self.name
        if line is not None:
            place = f"{self.name}, line {line}"
        return ValueError(f"{place}: {problem}")


@contextlib.contextmanager
def open_accounts(path: Path) -> Generator[AccountsFile]:
    """Open a file of accounts; `-` is stdin.

    A pipe can be read only once, so it is copied first: up to 64 MiB into memory, and more into a
    temporary file that has no name, so that nobody else can open it.

    Raises:
        ValueError: Stdin is closed.
        OSError: The file cannot be opened.
    """
    with contextlib.ExitStack() as stack:
        if path == STDIN:
            if sys.stdin is None:
                raise ValueError("stdin is closed: name a file of accounts instead of '-'")
            name = "stdin"
            source: IO[bytes] = sys.stdin.buffer
            is_pipe = True  # a file would have to be read from where it stands
        else:
            name = str(path)
            source = stack.enter_context(path.open("rb"))
            is_pipe = not source.seekable()
        file = source
        if is_pipe:
            file = stack.enter_context(tempfile.SpooledTemporaryFile(max_size=_SPOOL_SIZE))
            shutil.copyfileobj(source, file)
        yield AccountsFile(name, file, source)


def _detect_encoding(start: bytes) -> str:
    """Return the encoding of a text that starts with an ASCII character, or with a BOM."""
    if start.startswith(codecs.BOM_UTF8):
        return "utf-8-sig"
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    if start[1:2] == b"\0":
        return "utf-16-le"
    if start[:1] == b"\0":
        return "utf-16-be"
    return "utf-8"


def _normalize_column_names(cells: Sequence[str]) -> list[str]:
    """Return the names of the columns in lower case; an empty list for a blank line."""
    names = [cell.strip().lower() for cell in cells]
    if not any(names):
        return []
    return names


def _describe_first_line(line: str) -> str:
    """Return a first line with its delimiters; texts that may be tokens are hidden."""
    description = ""
    for part in re.split(r"([,;|\t])", line):
        if part in ("", ",", ";", "|", "\t"):
            description += part
        else:
            description += _hide_unknown_name(part)
    return description


def _hide_unknown_name(name: str) -> str:
    """Return a column's name, or a question mark if the text may be a token."""
    stripped = name.strip(" '\"")
    words = re.split(r"[_ ]+", stripped.lower())
    if all(word in _NAME_WORDS for word in words):
        return stripped
    return _HIDDEN_NAME


def _name_all(noun: str, names: Sequence[str]) -> str:
    """Return such as "column 'broker'", or "columns 'auth_token' and 'broker'"."""
    quoted = " and ".join(f"'{name}'" for name in names)
    if len(names) == 1:
        return f"{noun} {quoted}"
    return f"{noun}s {quoted}"
