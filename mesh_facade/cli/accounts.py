"""Reads the accounts of `mesh-balance bulk`: from CSV or JSON lines, in a file or a pipe.

An error message names the line of the mistake. It never quotes a cell, because any cell may hold a
token.
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
from typing import IO, TypeAlias

import attrs

from mesh_facade import LinkedAccount
from mesh_facade.cli.broker_names import names_a_broker

JSON: TypeAlias = str | int | float | bool | list["JSON"] | dict[str, "JSON"] | None

STDIN = Path("-")

_DELIMITERS = (",", ";", "\t")
_REQUIRED_FIELDS = ("auth_token", "broker")
_FIELDS = ("auth_token", "broker", "key")
_SPOOL_SIZE = 64 * 1024 * 1024  # bytes; a longer copy of a pipe is kept in a temporary file

# An error message quotes the name of a column only if the name consists of these words. In a file
# without column names the first line is a record, so any other word in it may be a token.
_NAME_WORDS_TEXT = """
access account auth broker brokerage client comment created currency customer date email exchange
expires expiry external id institution key label link linked name note notes number portfolio ref
reference refresh status token type updated user
accesstoken accountid accountname accounttoken authtoken brokername brokertype clientid customerid
refreshtoken tokenid userid
"""
_NAME_WORDS = frozenset(_NAME_WORDS_TEXT.split())
_HIDDEN_NAME = "?"

# A cell may be as long as the file allows, but Python's own limit is 128 KiB. This call changes the
# limit for the whole process, so also for the cells that `results` reads.
csv.field_size_limit(2**31 - 1)


@attrs.frozen
class Record:
    """An account, and where the file lists it.

    Attributes:
        line_number: The line of the file where the record starts.
        account: The account. Its `key` is a string: the key in the file, or the number of the
            record (from 1) if the record has no key.
        has_key: Whether the record has a key.
    """

    line_number: int
    account: LinkedAccount
    has_key: bool


class _RepeatedFieldError(Exception):
    """A JSON object has two fields of one name."""


@attrs.frozen
class _Row:
    """A row of CSV or a line of JSON, before its fields are checked.

    Attributes:
        line_number: The line of the file where the row starts.
        fields: The fields by name. Those that are not in `_FIELDS` are ignored.
    """

    line_number: int
    fields: Mapping[str, JSON]


class AccountsFile:
    """The accounts of a file, which can be read repeatedly.

    Finish or drop one iterator of `read_records` before you start the next: they share the position
    in the file.

    Args:
        name: The name of the file, for error messages.
        content: The accounts, in a file that can be rewound.
        source: The file or the pipe that the user named. For stdin or a pipe, `content` is a copy
            of it; for another file, `content` and `source` are the same.
    """

    def __init__(self, name: str, content: IO[bytes], source: IO[bytes]) -> None:
        self.name = name
        self._content = content
        self._source = source

    def is_same_file(self, path: Path) -> bool:
        """Return True if the accounts come from the file at `path`."""
        try:
            return os.path.samestat(os.fstat(self._source.fileno()), path.stat())
        except OSError:  # `path` does not exist, or the source has no file descriptor
            return False

    def read_records(self) -> Iterator[Record]:
        """Yield a record for each account, from the start of the file.

        Raises:
            ValueError: The file has a mistake; the message says where and which.
            OSError: The file cannot be read.
        """
        problem = None
        try:
            yield from self._read_records_with_unique_keys()
        except UnicodeDecodeError as error:
            # The message leaves out the error's position, because Python counts it from the start
            # of the part that it has read last, and not from the start of the file.
            problem = (
                f"it is not {error.encoding} ({error.reason}). Save it as CSV or JSON lines, in "
                "UTF-8 or UTF-16."
            )
        # Raised outside the except block: the caught error would become its context, and reveal a
        # part of the file, which may be a token.
        if problem is not None:
            raise self._error(problem)

    def _read_records_with_unique_keys(self) -> Iterator[Record]:
        """Yield a record for each row.

        Raises:
            ValueError: The file has a mistake, such as two records with the same key.
            UnicodeDecodeError: The file cannot be decoded.
        """
        line_numbers: dict[str, int] = {}  # by key
        keys_from_numbers: set[str] = set()  # of accounts without a key
        for number, row in enumerate(self._read_rows(), 1):
            record = self._make_record(row, number)
            key = record.account.key
            if key in line_numbers:
                other_has_key = key not in keys_from_numbers
                problem = _describe_equal_keys(
                    record, line_numbers[key], other_has_key=other_has_key
                )
                raise self._error(problem, row.line_number)
            line_numbers[key] = row.line_number
            if not record.has_key:
                keys_from_numbers.add(key)
            yield record

    def _read_rows(self) -> Iterator[_Row]:
        """Return the rows of the file, whose format is detected from its first line.

        Raises:
            ValueError: The file has a mistake. The returned iterator may raise this, too.
            UnicodeDecodeError: The file cannot be decoded. The iterator may raise this, too.
        """
        first_line = self._find_first_line()
        if first_line.startswith("{"):
            return self._read_json_lines()
        if first_line.startswith("["):
            raise self._error(
                "found a JSON array instead of JSON lines. Write one object on each line."
            )
        if first_line:
            return self._read_csv(first_line)
        return iter(())

    def _find_first_line(self) -> str:
        """Return the first line that is not blank, stripped; an empty string if there is none."""
        with self._open_text() as text:
            for line in text:
                if line.strip():
                    return line.strip()
        return ""

    @contextlib.contextmanager
    def _open_text(self) -> Generator[io.TextIOWrapper]:
        """Decode the content from its start. Leave the underlying file open at the end."""
        self._content.seek(0)
        encoding = _detect_encoding(self._content.read(4))
        self._content.seek(0)
        text = io.TextIOWrapper(self._content, encoding=encoding, newline="")
        try:
            yield text
        finally:
            text.detach()

    def _read_json_lines(self) -> Iterator[_Row]:
        """Yield a row for each line that is not blank.

        Raises:
            ValueError: A line is not a JSON object, or lacks a required field.
        """
        with self._open_text() as text:
            for line_number, line in enumerate(text, 1):
                if line.strip():
                    yield _Row(line_number, self._parse_json(line, line_number))

    def _parse_json(self, line: str, line_number: int) -> dict[str, JSON]:
        """Return the fields in a line.

        Raises:
            ValueError: The line is not a JSON object, lacks a required field, or has a field twice.
        """
        value: JSON = None
        has_repeated_field = False
        try:
            value = json.loads(line, object_pairs_hook=_make_object)
        except _RepeatedFieldError:
            has_repeated_field = True
        except (ValueError, RecursionError):
            pass  # nothing is raised here, because the decoder's error holds the line
        if has_repeated_field:
            raise self._error("an object has a field twice. Keep only one of the two.", line_number)
        if not isinstance(value, dict):
            raise self._error(
                "not a JSON object. One object is expected on each line.", line_number
            )
        missing = [name for name in _REQUIRED_FIELDS if name not in value]
        if missing:
            found = ",".join(_hide_unknown_name(name) for name in value)
            raise self._error(_describe_missing("field", missing, found), line_number)
        return value

    def _read_csv(self, first_line: str) -> Iterator[_Row]:
        """Yield each row after the column names, except those whose cells are all blank.

        Raises:
            ValueError: The column names or a row are wrong, or the quotation marks do not match.
        """
        delimiter = self._detect_delimiter(first_line)
        with self._open_text() as text:
            reader = csv.reader(text, delimiter=delimiter, strict=True)
            columns: list[str] = []
            row_start = 1  # the number of the line where the row of this turn starts
            try:
                for cells in reader:
                    if not columns:
                        columns = _normalize_column_names(cells)
                        self._check_column_names(columns)
                    elif any(cell.strip() for cell in cells):
                        yield _Row(row_start, self._name_cells(columns, cells, row_start))
                    row_start = reader.line_num + 1
            except csv.Error as error:
                raise self._error(f"{error}. Check the quotation marks.", row_start) from None

    def _detect_delimiter(self, first_line: str) -> str:
        """Return the delimiter that separates the column names.

        `first_line` is only for the error message. The column names are read from the file, because
        a quoted name may continue on the next line.

        Raises:
            ValueError: No delimiter gives all required columns.
        """
        fewest_missing: Sequence[str] = _REQUIRED_FIELDS
        for delimiter in _DELIMITERS:
            columns = self._read_column_names(delimiter)
            missing = [name for name in _REQUIRED_FIELDS if name not in columns]
            if not missing:
                return delimiter
            if len(missing) < len(fewest_missing):
                fewest_missing = missing
        found = _describe_first_line(first_line)
        problem = _describe_missing("column", fewest_missing, found)
        raise self._error(
            f"{problem} The first line must name the columns auth_token, broker and, optionally, "
            "key, separated by commas, semicolons or tabs."
        )

    def _read_column_names(self, delimiter: str) -> list[str]:
        """Return the cells of the first row that is not blank, in lower case."""
        with self._open_text() as text:
            for cells in csv.reader(text, delimiter=delimiter):
                columns = _normalize_column_names(cells)
                if columns:
                    return columns
        return []

    def _check_column_names(self, columns: Sequence[str]) -> None:
        """Raise ValueError if a column of `_FIELDS` appears more than once."""
        for name in _FIELDS:
            if columns.count(name) > 1:
                raise self._error(
                    f"column '{name}' appears more than once. Remove or rename the others."
                )

    def _name_cells(
        self, columns: Sequence[str], cells: Sequence[str], line_number: int
    ) -> dict[str, JSON]:
        """Return the cells of a row by the names of their columns.

        Raises:
            ValueError: There are more cells than columns.
        """
        surplus = cells[len(columns) :]
        if any(cell.strip() for cell in surplus):
            raise self._error(
                f"{len(cells)} cells, but the first line names {len(columns)} columns. Put cells "
                "that contain the delimiter in quotation marks.",
                line_number,
            )
        # A row may have fewer cells than there are columns. Its last columns are then missing,
        # which means the same as empty.
        return {column: cell.strip() for column, cell in zip(columns, cells, strict=False)}

    def _make_record(self, row: _Row, number: int) -> Record:
        """Check the fields of a row, and return its record; `number` replaces a missing key.

        Raises:
            ValueError: A field is missing, empty or of the wrong type, it holds a line break, the
                broker or the key holds half of a surrogate pair, or the token and the broker are in
                the wrong fields.
        """
        auth_token = self._require_text(row, "auth_token")
        broker = self._require_text(row, "broker")
        if names_a_broker(auth_token) and not names_a_broker(broker):
            # Else the token would be sent, logged and written into the output as a broker.
            raise self._error(
                "'auth_token' is the name of a broker. Are the columns auth_token and broker in "
                "the wrong order?",
                row.line_number,
            )
        key = row.fields.get("key")
        if isinstance(key, bool | list | dict):
            raise self._error("'key' must be a string or a number.", row.line_number)
        has_key = key is not None and str(key).strip() != ""
        if not has_key:
            key = number
        key_text = str(key)
        self._check_encodable("broker", broker, row.line_number)
        self._check_encodable("key", key_text, row.line_number)
        self._check_single_line("key", key_text, row.line_number)
        account = LinkedAccount(auth_token, broker, key_text)
        return Record(row.line_number, account, has_key)

    def _require_text(self, row: _Row, name: str) -> str:
        """Return the value of a field.

        Raises:
            ValueError: The field is missing or empty, or it is not a string on one line.
        """
        value = row.fields.get(name)
        if value is None:
            raise self._error(f"'{name}' is empty.", row.line_number)
        if not isinstance(value, str):
            raise self._error(f"'{name}' must be a string.", row.line_number)
        if value.strip() == "":
            raise self._error(f"'{name}' is empty.", row.line_number)
        self._check_single_line(name, value, row.line_number)
        return value

    def _check_single_line(self, name: str, value: str, line_number: int) -> None:
        """Raise ValueError if the value of a field contains a line break."""
        if "\n" in value or "\r" in value:
            raise self._error(f"'{name}' contains a line break.", line_number)

    def _check_encodable(self, name: str, value: str, line_number: int) -> None:
        """Raise ValueError if the output could not hold the value of a field.

        An escape in JSON can stand for half of a surrogate pair, which UTF-8 cannot encode.
        """
        reason = None
        try:
            value.encode()
        except UnicodeEncodeError as error:
            reason = error.reason
        # Raised outside the except block: the caught error would become its context, and reveal the
        # value.
        if reason is not None:
            raise self._error(
                f"'{name}' cannot be encoded as UTF-8: {reason}. Correct its \\u escapes.",
                line_number,
            )

    def _error(self, problem: str, line_number: int | None = None) -> ValueError:
        """Return an error whose message names the file, and the line if it is known."""
        place = self.name
        if line_number is not None:
            place = f"{self.name}, line {line_number}"
        return ValueError(f"{place}: {problem}")


@contextlib.contextmanager
def open_accounts(path: Path) -> Generator[AccountsFile]:
    """Open a file of accounts; `-` is stdin.

    A pipe can be read only once, so it is copied first: up to 64 MiB into memory, and more into a
    temporary file, which is deleted when it is closed. On Linux and macOS that file has no name, so
    nobody else can open it.

    Raises:
        ValueError: Stdin is closed.
        OSError: The file cannot be opened, or the pipe cannot be copied.
    """
    with contextlib.ExitStack() as stack:
        if path == STDIN:
            if sys.stdin is None:
                raise ValueError("stdin is closed: name a file of accounts instead of '-'")
            name = "stdin"
            source: IO[bytes] = sys.stdin.buffer
            # Even if stdin is a file, it may have been read in part already: rewinding it to the
            # start of the file would add lines that do not belong to the input.
            must_copy = True
        else:
            name = str(path)
            source = stack.enter_context(path.open("rb"))
            must_copy = not source.seekable()
        content = source
        if must_copy:
            content = stack.enter_context(tempfile.SpooledTemporaryFile(max_size=_SPOOL_SIZE))
            shutil.copyfileobj(source, content)
        yield AccountsFile(name, content, source)


def _detect_encoding(start: bytes) -> str:
    """Return the encoding of a text from its first bytes.

    UTF-16 without a byte order mark is recognized only if the text starts with an ASCII character.
    """
    if start.startswith(codecs.BOM_UTF8):
        return "utf-8-sig"
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    if start[1:2] == b"\0":
        return "utf-16-le"
    if start[:1] == b"\0":
        return "utf-16-be"
    return "utf-8"


def _make_object(fields: list[tuple[str, JSON]]) -> dict[str, JSON]:
    """Return the fields of a JSON object; raise _RepeatedFieldError if two have the same name."""
    by_name = dict(fields)
    if len(by_name) < len(fields):
        raise _RepeatedFieldError
    return by_name


def _normalize_column_names(cells: Sequence[str]) -> list[str]:
    """Return the names of the columns in lower case; an empty list for a blank line."""
    names = [cell.strip().lower() for cell in cells]
    if not any(names):
        return []
    return names


def _describe_equal_keys(record: Record, other_line: int, *, other_has_key: bool) -> str:
    """Return the message for a record that has the same key as an earlier one.

    Record numbers can be quoted, because they are not text from the file.
    """
    key = record.account.key
    if not record.has_key:
        return (
            f"this account has no key, so its record number {key} is its key, but line "
            f"{other_line} has the same key. Give this account a key of its own."
        )
    if not other_has_key:
        return (
            f"the key is the same as the record number {key} of line {other_line}, which has no "
            "key. Give each account a key of its own."
        )
    return f"the key is the same as in line {other_line}. Each account needs a key of its own."


def _describe_missing(noun: str, missing: Sequence[str], found: str) -> str:
    """Return the message for missing columns or fields.

    Args:
        noun: "column" or "field".
        missing: The names that are missing.
        found: The names in the file, as the message shows them.
    """
    message = f"missing {_quote_names(noun, missing)} (found: {found})."
    if _HIDDEN_NAME in found:
        message += f" {_HIDDEN_NAME} stands for text that is not shown, because it may be a token."
    return message


def _describe_first_line(line: str) -> str:
    """Return a line for an error message, without the cells that may be tokens."""
    description = ""
    # A vertical bar is not a delimiter, but it may have been meant as one: the message shows it.
    for part in re.split(r"([,;|\t])", line):
        if part in ("", ",", ";", "|", "\t"):
            description += part
        else:
            description += _hide_unknown_name(part)
    return description


def _hide_unknown_name(name: str) -> str:
    """Return the name of a column or field, or `_HIDDEN_NAME` if it may be a token."""
    stripped = name.strip(" '\"")
    words = re.split(r"[_ ]+", stripped.lower())
    if all(word in _NAME_WORDS for word in words):
        return stripped
    return _HIDDEN_NAME


def _quote_names(noun: str, names: Sequence[str]) -> str:
    """Return a phrase such as "column 'broker'" or "columns 'auth_token' and 'broker'"."""
    quoted = " and ".join(f"'{name}'" for name in names)
    if len(names) == 1:
        return f"{noun} {quoted}"
    return f"{noun}s {quoted}"
