"""Import what Mesh publishes into openapi/mesh.yaml, in canonical form.

A source is a docs page, in its older or newer shape, or a whole OpenAPI document (3.0 or 3.1, JSON
or YAML): its content shows which. openapi/import.yaml holds the settings, and states the rules.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime as dt
import hashlib
import json
import re
import sys
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import yaml
from canonical import Json, SpecError, canonical, fields, operations_of
from docs_page import to_openapi
from openapi_spec_validator import OpenAPIV30SpecValidator

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

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
_JSON_SCALAR = re.compile(r"(null|true|false|-?(0|[1-9]\d*)(\.\d+)?([eE][-+]?\d+)?)?")


class _Dumper(yaml.CSafeDumper):
    """YAML for reading: text of several lines stands in several lines."""


def _represent(dumper: yaml.CSafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text and "\r" not in text else None
    if _JSON_SCALAR.fullmatch(text):
        style = "'"
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style)


_Dumper.add_representer(str, _represent)


def read_settings(path: Path = OPENAPI / "import.yaml") -> Json:
    """Return the settings of a file, refusing words that are missing or misspelt."""
    needed = ("source", "info", "operations", "securitySchemes", "schemas")
    settings = fields(_load(path.read_text("utf-8")), str(path), needed)
    for name, pinned in fields(settings["operations"], f"{path}: operations").items():
        fields(pinned, f"{path}: operations.{name}", ("operationId", "tag"))
    return settings


def read_source(source: str) -> bytes:
    """Return the content of a file, of standard input (`-`) or of an https address."""
    if source == "-":
        return sys.stdin.buffer.read()
    return asyncio.run(_fetch(source)) if "://" in source else Path(source).read_bytes()


async def _fetch(address: str) -> bytes:
    async def stay(request: httpx.Request) -> None:
        if (request.url.scheme, request.url.host) != ("https", httpx.URL(address).host):
            raise SpecError(f"{request.url} is not an https address of the host that was asked")

    content = b""
    async with (
        asyncio.timeout(FETCH_SECONDS),
        httpx.AsyncClient(follow_redirects=True, event_hooks={"request": [stay]}) as client,
        client.stream("GET", address, headers={"Accept-Encoding": "identity"}) as response,
    ):
        response.raise_for_status()
        async for chunk in response.aiter_raw():
            content += chunk
            if len(content) > MAX_BYTES:
                raise SpecError(f"there are more than {MAX_BYTES} bytes")
    return content


def import_source(data: bytes, settings: Json, wanted: Collection[str] = ()) -> str:
    """Return the text of the spec that a source gives, or raise `SpecError`.

    Wanted are the operations that the settings pin, unless others are named ('POST /path', where
    `*` stands for anything).
    """
    document = _recognise(data)
    where = operations_of(document)
    chosen: set[tuple[str, str]] = set()
    for pattern in wanted or settings["operations"]:
        found = [name for name in where if fnmatchcase(name, pattern)]
        if not found:
            raise SpecError(f"there is no operation '{pattern}', but {', '.join(where):.300}")
        chosen |= {where[name] for name in found}
    for path, method in chosen:
        place = f"paths.{path}.{method}"
        operation: Json = {"operationId": re.sub(r"\W+", "_", f"{method}{path}").strip("_")}
        operation |= fields(document["paths"][path][method], place)
        if pinned := settings["operations"].get(f"{method.upper()} {path}"):
            operation |= {"operationId": pinned["operationId"], "tags": [pinned["tag"]]}
        document["paths"][path][method] = operation
    spec = canonical(document, sorted(chosen), settings["securitySchemes"], settings["schemas"])
    spec |= {"openapi": "3.0.3", "info": settings["info"]}
    _validate(spec)
    return _HEADER + "".join(_dump({word: spec[word]}) for word in _ROOT if word in spec)


def _validate(spec: Json) -> None:
    for refusal in OpenAPIV30SpecValidator(spec).iter_errors():
        error = refusal
        while error.context:  # of what failed in each alternative, the innermost says most
            error = max(
                error.context, key=lambda e: (len(e.absolute_path), e.validator != "required")
            )
        raise SpecError(f"{error.json_path}: {error.message:.200}")


def _recognise(data: bytes) -> Json:
    """Return what a source tells, as an OpenAPI document."""
    try:
        text = data.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise SpecError(f"byte {error.start}: this is not UTF-8 text") from None
    blocks = list(_BLOCK.finditer(text))
    if len(blocks) > 1:
        raise SpecError("the page has more than one YAML block")
    start, end = blocks[0].span(2) if blocks else (0, len(text))
    document = _load("\n" * text.count("\n", 0, start) + text[start:end])  # lines keep their number
    if str(document.get("openapi")).startswith(("3.0", "3.1")):
        return document
    if blocks and "openapi" not in document:
        return to_openapi(text[: blocks[0].start()], document)
    raise SpecError("this is neither a docs page nor an OpenAPI document, 3.0 or 3.1")


def _load(text: str) -> Json:
    try:  # JSON apart: YAML does not know its escapes of surrogate pairs
        if text.startswith("{"):
            return fields(json.loads(text, object_pairs_hook=_mapping), "document")
        return fields(_value(yaml.compose(text, yaml.CBaseLoader)), "document")
    except (ValueError, yaml.YAMLError) as error:
        reason = str(error).replace('in "<unicode string>", ', "at ")
        raise SpecError(f"this is neither YAML nor JSON: {reason}") from None


def _value(node: yaml.Node | None) -> Any:
    """Return the value of a node by the types of JSON, as OpenAPI has it: a date is text."""
    if isinstance(node, yaml.MappingNode):
        return _mapping([(str(key.value), _value(item)) for key, item in node.value])
    if isinstance(node, yaml.SequenceNode):
        return [_value(item) for item in node.value]
    if isinstance(node, yaml.ScalarNode) and not node.style and _JSON_SCALAR.fullmatch(node.value):
        return json.loads(node.value or "null")
    return node and node.value


def _mapping(pairs: list[tuple[str, Any]]) -> Json:
    mapping: Json = {}
    for key, item in pairs:
        if key in mapping:
            raise SpecError(f"the key '{key}' is given twice in a mapping")
        mapping[key] = item
    return mapping


def _dump(document: Json) -> str:
    """Return YAML without anchors, its mappings sorted."""
    tree = json.loads(json.dumps(document))
    return yaml.dump(tree, Dumper=_Dumper, allow_unicode=True, width=90)


def adopt(source: str, data: bytes, folder: Path) -> None:
    """Keep a source, alone in a folder with the record of where it is from."""
    name = Path(source.partition("?")[0]).name
    told = re.match(rb"# Source: (\S+)", data)  # a saved docs page says where it is from
    record: Json = {
        "file": name,
        "from": source if "://" in source else told[1].decode() if told else name,
        "imported": dt.datetime.now(dt.UTC).date().isoformat(),
        "sha256": hashlib.sha256(data).hexdigest(),
    }
    if (folder / _RECORD).exists():
        last = _load((folder / _RECORD).read_text("utf-8"))
        record = last if last.get("sha256") == record["sha256"] else record
    folder.mkdir(exist_ok=True)
    _replace(folder / record["file"], data)
    _replace(folder / _RECORD, _dump(record).encode())
    for stray in set(folder.iterdir()) - {folder / record["file"], folder / _RECORD}:
        stray.unlink()


def source_problems(openapi: Path = OPENAPI) -> list[str]:
    """Return why mesh.yaml, its source and the record of this do not belong together, if so."""
    folder = openapi / "source"
    try:
        record = _load((folder / _RECORD).read_text("utf-8"))
        data = (folder / record["file"]).read_bytes()
        spec = import_source(data, read_settings(openapi / "import.yaml"))
        belongs = (openapi / "mesh.yaml").read_bytes() == spec.encode()
    except (KeyError, OSError, SpecError) as error:
        return [f"{folder}: {error}"]
    problems: list[str] = []
    if hashlib.sha256(data).hexdigest() != record["sha256"]:
        problems.append(f"{folder / record['file']} is not the file that {_RECORD} records")
    if not belongs:
        problems.append(f"{openapi / 'mesh.yaml'} is not what importing {record['file']} gives")
    return problems


def _replace(path: Path, content: bytes) -> None:
    draft = path.with_name(f".{path.name}.new")
    draft.write_bytes(content)
    draft.replace(path)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line, and return its exit code."""
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
        spec = import_source(data, read_settings(args.settings), args.operation or ())
        if args.adopt:
            adopt(args.source, data, args.output.parent / "source")
        _replace(args.output, spec.encode())
    except (SpecError, OSError, RecursionError, httpx.HTTPError, httpx.InvalidURL) as error:
        reason = " ".join(str(error).split()) or f"no whole answer within {FETCH_SECONDS} s"
        print(f"error: {args.source}: {reason}", file=sys.stderr)
        return 1
    print(f"{args.output}: imported from {args.source}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
