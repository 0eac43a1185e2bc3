"""Reads the accounts of `mesh-balance bulk`: from CSV or JSON lines, in a file or a pipe.

Whatever is wrong with a file is reported with its place, and without quoting any of its cells:
each of them may be a token.
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

# A column's name is quoted in an error only if it consists of these words. The first line of a
# file without heads is a record, so any other text in it may be a token.
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
        account: Its `key` is a string: the file's, or else the record's number.
        has_key: Whether the file names the key.
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
    """The accounts of a file, which can be read any number of times, one after the other."""

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
        """Yield a record for each account; ValueError names the first line that is wrong."""
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
            heads: list[str] = []
            line = 1
            try:
                for cells in reader:
                    if not heads:
                        heads = _normalize_heads(cells)
                        self._check_heads(heads)
                    elif any(cell.strip() for cell in cells):
                        yield _Row(line, self._name_cells(heads, cells, line))
                    line = reader.line_num + 1
            except csv.Error as error:
                raise self._error(f"{error}. Check the quotation marks.", line) from None

    def _detect_delimiter(self, first_line: str) -> str:
        """Return the delimiter by which the heads have the required columns."""
        missing: Sequence[str] = _REQUIRED
        for delimiter in _DELIMITERS:
            with self._open_text() as text:
                heads: list[str] = []
                for cells in csv.reader(text, delimiter=delimiter):
                    heads = _normalize_heads(cells)
                    if heads:
                        break
            still_missing = [name for name in _REQUIRED if name not in heads]
            if not still_missing:
                return delimiter
            if len(still_missing) < len(missing):
                missing = still_missing
        found = _describe_first_line(first_line)
        hint = ""
        if _HIDDEN_NAME in found:
            hint = f" {_HIDDEN_NAME} hides a text that may be a token."
        raise self._error(
            f"missing {_name_all('column', missing)} (found: {found}).{hint} The first line must "
            "name the columns auth_token, broker and, if you like, key, separated by commas, "
            "semicolons or tabs."
        )

    def _check_heads(self, heads: Sequence[str]) -> None:
        for name in _KNOWN:
            if heads.count(name) > 1:
                raise self._error(f"column '{name}' is there more than once.")

    def _name_cells(self, heads: Sequence[str], cells: Sequence[str], line: int) -> dict[str, JSON]:
        if len(cells) > len(heads) and any(cell.strip() for cell in cells[len(heads) :]):
            raise self._error(
                f"{len(cells)} cells, but the first line names {len(heads)} columns. A cell that "
                "contains the delimiter must stand in quotation marks.",
                line,
            )
        # A short row lacks its last cells: they are empty.
        return {head: cell.strip() for head, cell in zip(heads, cells, strict=False)}

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
        (broker + text).encode()  # UnicodeError for what the output cannot hold
        self._check_single_line("key", text, row.line)
        return Record(row.line, LinkedAccount(token, broker, text), has_key)

    def _read_text(self, row: _Row, name: str) -> str:
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

    A pipe can be read only once, so it is copied first: into memory, and what is too large for it
    into a temporary file that has no name and that nobody else can open.
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


def _normalize_heads(cells: Sequence[str]) -> list[str]:
    """Return the names of the columns in lower case; an empty list for a blank line."""
    heads = [cell.strip().lower() for cell in cells]
    if not any(heads):
        return []
    return heads


def _describe_first_line(line: str) -> str:
    """Return a first line with its delimiters, in which all but the names of columns is hidden."""
    description = ""
    for part in re.split(r"([,;|\t])", line):
        if part in ("", ",", ";", "|", "\t"):
            description += part
        else:
            description += _hide_unknown_name(part)
    return description


def _hide_unknown_name(name: str) -> str:
    """Return a column's name, or a question mark if it may be something else than a name."""
    stripped = name.strip(" '\"")
    words = re.split(r"[_ ]+", stripped.lower())
    if _NAME_WORDS.issuperset(words):
        return stripped
    return _HIDDEN_NAME


def _name_all(noun: str, names: Sequence[str]) -> str:
    """Return such as "column 'broker'", or "columns 'auth_token' and 'broker'"."""
    quoted = " and ".join(f"'{name}'" for name in names)
    if len(names) == 1:
        return f"{noun} {quoted}"
    return f"{noun}s {quoted}"
