"""Imports what Mesh publishes into openapi/mesh.yaml, in canonical form.

Its content shows what a source is: a docs page, in its older or newer shape, or a whole document,
OpenAPI 3.0 or 3.1. openapi/import.yaml holds the settings, and states the rules.
"""

import argparse
import asyncio
import datetime as dt
import hashlib
import re
import sys
from collections.abc import Collection
from fnmatch import fnmatchcase
from pathlib import Path

from httpx import URL, AsyncClient, HTTPError, InvalidURL, Request
from openapi_tools.canonical_form import canonical, check_openapi, operations_of
from openapi_tools.command_line import command
from openapi_tools.docs_page import to_openapi
from openapi_tools.documents import (
    Json,
    SpecError,
    dump,
    fields,
    parse,
    read_document,
    write,
)

OPENAPI = Path(__file__).resolve().parents[1] / "openapi"
FETCH_SECONDS = 30
MAX_BYTES = 16 * 2**20

_HEADER = """\
# What Mesh says of the pinned operations, in canonical form. Written by `make spec` from the file
# in source/; do not edit: corrections belong in overlay.yaml.
"""
_RECORD = "provenance.yaml"
_ROOT = ("openapi", "info", "servers", "security", "paths", "components")
_BLOCK = re.compile(r"^(`{3,})ya?ml.*\n((?:.*\n)*?)\1[ \t]*$", re.MULTILINE)


def read_settings(path: Path = OPENAPI / "import.yaml") -> Json:
    """Return the settings of a file, refusing words that are missing or misspelt."""
    needed = ("source", "info", "operations", "securitySchemes", "schemas")
    settings = fields(read_document(path), str(path), needed)
    for word in ("operations", "securitySchemes", "schemas"):
        fields(settings[word], f"{path}: {word}")
    for name, pinned in settings["operations"].items():
        fields(pinned, f"{path}: operations.{name}", ("operationId", "tag"))
    return settings


def read_source(source: str) -> bytes:
    """Return the content of a file, of standard input (`-`) or of an https address."""
    if source == "-":
        return sys.stdin.buffer.read()
    return asyncio.run(_fetch(source)) if "://" in source else Path(source).read_bytes()


async def _fetch(address: str) -> bytes:
    async def stay(request: Request) -> None:
        if (request.url.scheme, request.url.host) != ("https", URL(address).host):
            raise SpecError(f"{request.url} is not an https address of the host that was asked")

    content = b""
    async with (
        asyncio.timeout(FETCH_SECONDS),
        AsyncClient(follow_redirects=True, event_hooks={"request": [stay]}) as client,
        client.stream("GET", address, headers={"Accept-Encoding": "identity"}) as response,
    ):
        response.raise_for_status()
        async for chunk in response.aiter_raw():
            content += chunk
            if len(content) > MAX_BYTES:
                raise SpecError(f"there are more than {MAX_BYTES} bytes")
    return content


def import_source(data: bytes, settings: Json, wanted: Collection[str] = ()) -> str:
    """Return the text of the spec that a source gives.

    Wanted are the operations that the settings pin, unless others are named ('POST /path', where
    `*` stands for anything).
    """
    document = _recognise(data)
    places = operations_of(document)
    chosen: dict[str, tuple[str, str]] = {}
    for pattern in wanted or settings["operations"]:
        found = {name: place for name, place in places.items() if fnmatchcase(name, pattern)}
        if not found:
            raise SpecError(f"there is no operation '{pattern}', but {', '.join(places):.300}")
        chosen |= found
    keys, names = settings["securitySchemes"], settings["schemas"]
    spec = canonical(document, sorted(chosen.values()), keys, names)
    for name, (path, method) in chosen.items():
        if pinned := settings["operations"].get(name):
            told = {"operationId": pinned["operationId"], "tags": [pinned["tag"]]}
            spec["paths"][path][method] |= told
    spec |= {"openapi": "3.0.3", "info": settings["info"]}
    check_openapi(spec)
    return _HEADER + "".join(dump({word: spec[word]}) for word in _ROOT if word in spec)


def _recognise(data: bytes) -> Json:
    """Return what a source tells, as an OpenAPI document."""
    text = data.decode("utf-8-sig").replace("\r\n", "\n")
    blocks = list(_BLOCK.finditer(text))
    if len(blocks) > 1:
        raise SpecError("the page has more than one YAML block")
    start, end = blocks[0].span(2) if blocks else (0, len(text))
    block = "\n" * text.count("\n", 0, start) + text[start:end]  # lines keep their number
    document = fields(parse(block, "this is neither YAML nor JSON"), "document")
    if str(document.get("openapi")).startswith(("3.0", "3.1")):
        return document
    if blocks and "openapi" not in document:
        return to_openapi(text[: blocks[0].start()], document)
    raise SpecError("this is neither a docs page nor an OpenAPI document, 3.0 or 3.1")


def _read_record(folder: Path) -> Json:
    needed = ("file", "from", "imported", "sha256")
    return fields(read_document(folder / _RECORD), str(folder / _RECORD), needed)


def adopt(source: str, data: bytes, folder: Path) -> None:
    """Keep a source with the record of where it is from, in place of the last one."""
    name = Path(source.partition("?")[0]).name
    told = re.match(rb"# Source: (\S+)", data)  # a saved docs page says where it is from
    record: Json = {
        "file": name,
        "from": source if "://" in source else told[1].decode() if told else name,
        "imported": dt.datetime.now(dt.UTC).date().isoformat(),
        "sha256": hashlib.sha256(data).hexdigest(),
    }
    last = record
    if (folder / _RECORD).exists():
        last = _read_record(folder)
        record = last if last["sha256"] == record["sha256"] else record
    folder.mkdir(exist_ok=True)
    write(folder / record["file"], data)
    write(folder / _RECORD, dump(record).encode())
    if last["file"] != record["file"]:
        (folder / last["file"]).unlink(missing_ok=True)


def check_source(openapi: Path = OPENAPI) -> None:
    """Refuse a mesh.yaml, a source and a record of this that do not belong together."""
    folder, mesh = openapi / "source", openapi / "mesh.yaml"
    record = _read_record(folder)
    source = folder / record["file"]
    data = source.read_bytes()
    if hashlib.sha256(data).hexdigest() != record["sha256"]:
        raise SpecError(f"{source} is not the file that {_RECORD} records: run `make spec`")
    if mesh.read_bytes() != import_source(data, read_settings(openapi / "import.yaml")).encode():
        raise SpecError(f"{mesh} is not what importing {source.name} gives: run `make spec`")


@command
def main(argv: list[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description="Import a docs page or an OpenAPI document.")
    parser.add_argument("source", help="a file, an https address, or - for standard input")
    parser.add_argument("--output", type=Path, required=True, help="where the spec is written")
    parser.add_argument("--settings", type=Path, default=OPENAPI / "import.yaml")
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--operation", action="append", help="'POST /path', instead of the pinned")
    choice.add_argument("--all", action="store_const", const=["*"], dest="operation")
    choice.add_argument("--adopt", action="store_true", help="keep the source beside the output")
    args = parser.parse_args(argv)
    try:
        data = read_source(args.source)
        spec = import_source(data, read_settings(args.settings), args.operation or ()).encode()
        if args.adopt:
            adopt(args.source, data, args.output.parent / "source")
        write(args.output, spec)
    except (SpecError, OSError, RecursionError, UnicodeError, HTTPError, InvalidURL) as error:
        reason = str(error) or f"no whole answer within {FETCH_SECONDS} s"
        raise SpecError(f"{args.source}: {reason}") from error
    print(f"{args.output}: imported from {args.source}")


if __name__ == "__main__":
    sys.exit(main())
