"""Keeps the source that the spec was imported from, with the record of where it comes from.

`make spec` writes both, and `make check-drift` reads them.
"""

import datetime as dt
import hashlib
import re
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from attrs import asdict, frozen

from openapi_tools.documents import dump, read_document, write
from openapi_tools.json_values import SpecError, copy_object, expect_text

RECORD = "provenance.yaml"

_FIRST_LINE_OF_PAGE = re.compile(rb"# Source: (\S+)")


@frozen
class Provenance:
    """Where the source in a folder comes from."""

    file: str
    origin: str
    imported: str
    sha256: str

    def write(self, folder: Path) -> None:
        """Write the record into a folder."""
        record = asdict(self)
        record["from"] = record.pop("origin")
        write(folder / RECORD, dump(record).encode())


def read_provenance(folder: Path) -> Provenance:
    """Return the record in a folder."""
    path = folder / RECORD
    record = copy_object(
        read_document(path), str(path), needed=("file", "from", "imported", "sha256")
    )
    values = {key: expect_text(value, f"{path}: {key}") for key, value in record.items()}
    file = values["file"]
    if PurePosixPath(file).name != file:
        raise SpecError(f"{path}: file: expected the name of a file in {folder}, not '{file}'")
    return Provenance(file, values["from"], values["imported"], values["sha256"])


def read_kept_source(folder: Path) -> tuple[str, bytes]:
    """Return the name and the content of the source in a folder.

    Raise SpecError if it is not the source that the record describes, or if the folder holds
    another file.
    """
    record = read_provenance(folder)
    path = folder / record.file
    content = path.read_bytes()
    if _digest(content) != record.sha256:
        raise SpecError(
            f"{path} is not the file that {RECORD} records. To get that file back, run"
            f" `git restore {path}`. To take this one as the new source, run `make spec`"
        )
    for other in sorted(folder.iterdir()):
        is_hidden = other.name.startswith(".")  # macOS leaves such files in folders
        if other.name not in {record.file, RECORD} and not is_hidden:
            raise SpecError(f"{other} is not the source of the spec, {record.file}: move it away")
    return record.file, content


def keep_source(source: str, content: bytes, suffix: str, folder: Path) -> Path:
    """Keep a source with its record, in place of the last one; return its path.

    `suffix` is the suffix of the kept file. If the last source had the same suffix, its file name
    is used again, because the documentation names that file. Otherwise, `source` gives the name.
    The record of a source that has not changed stays as it is.
    """
    last: Provenance | None = None
    if (folder / RECORD).exists():
        last = read_provenance(folder)
    record = Provenance(
        file=_file_name(source, suffix, last),
        origin=_origin(source, content),
        imported=dt.datetime.now(dt.UTC).date().isoformat(),
        sha256=_digest(content),
    )
    if last is not None and last.sha256 == record.sha256:
        record = last
    folder.mkdir(exist_ok=True)
    write(folder / record.file, content)
    record.write(folder)
    if last is not None and last.file != record.file:
        (folder / last.file).unlink(missing_ok=True)
    return folder / record.file


def _file_name(source: str, suffix: str, last: Provenance | None) -> str:
    if last is not None and PurePosixPath(last.file).suffix == suffix:
        return last.file
    path = source
    if "://" in source:
        path = urlsplit(source).path
    name = Path(path).stem + suffix
    if name in {suffix, f"-{suffix}", RECORD}:
        return f"source{suffix}"
    return name


def _origin(source: str, content: bytes) -> str:
    """Return the address that a source comes from, or else the name of its file."""
    if "://" in source:
        return source
    first_line = _FIRST_LINE_OF_PAGE.match(content)  # a saved docs page begins with its address
    if first_line:
        return first_line[1].decode()
    return Path(source).name


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
