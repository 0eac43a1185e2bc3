"""Reads the accounts of `mesh-balance bulk` from a CSV file or from JSON lines."""

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TextIO

from mesh_facade import LinkedAccount

JSON = str | int | float | bool | None | list["JSON"] | dict[str, "JSON"]


def read_accounts(path: Path) -> Iterator[LinkedAccount]:
    """Yield accounts, each with a key of its own.

    Raises ValueError, which names the first bad record and quotes nothing of it: it may hold a
    token.
    """
    keys: set[str] = set()
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            for number, record in enumerate(_read_records(file), 1):
                account = _make_account(record, number, path)
                if account.key in keys:
                    raise ValueError(
                        f"{path}, record {number}: its key {account.key!r} was there before"
                    )
                keys.add(account.key)
                yield account
    except (UnicodeError, io.UnsupportedOperation) as error:  # the latter: a pipe is read once
        raise ValueError(f"{path}: {error}") from None


def _read_records(file: TextIO) -> Iterable[Mapping[str, JSON]]:
    is_json = file.read(1) == "{"
    file.seek(0)
    if is_json:
        return (_parse_json(line) for line in file)
    return csv.DictReader(file)


def _make_account(record: Mapping[str, JSON], number: int, path: Path) -> LinkedAccount:
    token = record.get("auth_token")
    broker = record.get("broker")
    key = record.get("key")
    if not isinstance(token, str) or not isinstance(broker, str) or not token or not broker:
        raise ValueError(f"{path}, record {number}: it needs auth_token and broker")
    if key is None or key == "":
        key = number
    text = str(key)
    (broker + text).encode()  # raises UnicodeError for what the output cannot hold
    if any(line_end in broker + text for line_end in "\r\n"):
        raise ValueError(f"{path}, record {number}: a line ends within it")
    return LinkedAccount(token, broker, text)


def _parse_json(line: str) -> dict[str, JSON]:
    """Return the object of a line, an empty one where the line holds no object."""
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(value, dict):
        return {}
    return value
