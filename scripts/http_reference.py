"""Writes the HTTP reference of the documentation from openapi/mesh.yaml, as Markdown.

`make docs` runs it as a hook of MkDocs (see mkdocs.yml): where a page has the line MARKER, the
servers, keys, operations and schemas of the spec are inserted.
"""

import json
from pathlib import Path
from typing import Any, TypeAlias, cast

from openapi_tools.documents import read_document
from openapi_tools.references import schema_name

# openapi/mesh.yaml was validated when it was written, so its parts are used without checks.
Json: TypeAlias = dict[str, Any]

SPEC = Path(__file__).parent.parent / "openapi" / "mesh.yaml"
MARKER = "<!-- The tables of openapi/mesh.yaml are inserted here. -->"


def on_page_markdown(markdown: str, **_: object) -> str:
    """Insert the reference into a page that has the marker; MkDocs calls this for every page."""
    if MARKER not in markdown:
        return markdown
    document = cast("Json", read_document(SPEC))
    return markdown.replace(MARKER, render(document))


def render(document: Json) -> str:
    """Return the reference of an OpenAPI document."""
    parts = [_render_servers(document), _render_keys(document)]
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            parts.append(_render_operation(method.upper(), path, operation))
    parts.append("## Schemas\n")
    for name, schema in document["components"]["schemas"].items():
        parts.append(_render_schema(name, schema))
    return "\n".join(parts)


# --- the parts of the page ----------------------------------------------------------------------


def _render_servers(document: Json) -> str:
    lines = [f"- `{server['url']}`" for server in document["servers"]]
    return "## Servers\n\n" + "\n".join(lines) + "\n"


def _render_keys(document: Json) -> str:
    rows = [
        [f"`{scheme['name']}`", scheme["in"], _description_of(scheme)]
        for scheme in document["components"]["securitySchemes"].values()
    ]
    table = _table(["name", "sent in", "description"], rows)
    return f"## Keys\n\nEvery request carries all of them.\n\n{table}"


def _render_operation(method: str, path: str, operation: Json) -> str:
    parts = [f"## {method} {path}\n"]
    parts.append(f"{_description_of(operation)}\n")
    if "requestBody" in operation:
        parts.append("### Request body\n")
        parts.append(_render_content(operation["requestBody"]))
    for status, response in operation["responses"].items():
        parts.append(f"### Response {status}\n")
        parts.append(f"{_description_of(response)}\n")
        parts.append(_render_content(response))
    return "\n".join(parts)


def _render_content(message: Json) -> str:
    """Return the body's types and examples."""
    parts = []
    for media_type, content in message.get("content", {}).items():
        schema = content.get("schema", {})
        if not schema:
            parts.append("Mesh does not describe the body.\n")
            continue
        parts.append(f"`{media_type}`: {_type_of(schema)}\n")
        if "example" in content:
            example = json.dumps(content["example"], indent=2, ensure_ascii=False)
            parts.append(f"```json\n{example}\n```\n")
    return "\n".join(parts)


def _render_schema(name: str, schema: Json) -> str:
    parts = [f"### {name}\n"]
    if "description" in schema:
        parts.append(f"{_description_of(schema)}\n")
    if "enum" in schema:
        values = ", ".join(f"`{value}`" for value in schema["enum"])
        parts.append(f"One of {values}.\n")
    elif "properties" in schema:
        parts.append(_table(["field", "type", "required", "description"], _field_rows(schema)))
    else:
        parts.append(f"{_type_of(schema)}\n")
    return "\n".join(parts)


def _field_rows(schema: Json) -> list[list[str]]:
    required = schema.get("required", [])
    rows: list[list[str]] = []
    for name, field in schema["properties"].items():
        is_required = "yes" if name in required else "no"
        rows.append([f"`{name}`", _type_of(field), is_required, _description_of(field)])
    return rows


# --- types and cells ----------------------------------------------------------------------------


def _type_of(schema: Json) -> str:
    """Return the type of a schema in words, with links to the schemas that it names."""
    name = _type_without_null(schema)
    if schema.get("nullable") and name not in {"any value", "null"}:
        return f"{name} or null"
    return name


def _type_without_null(schema: Json) -> str:
    if "$ref" in schema:
        name = schema_name(schema["$ref"])
        return f"[{name}](#{str(name).lower()})"
    for word, joint in (("allOf", " and "), ("anyOf", " or "), ("oneOf", " or ")):
        if word in schema:
            return joint.join(_type_of(part) for part in schema[word])
    if schema.get("enum") == [None]:
        return "null"
    type_name: str = schema.get("type", "any value")
    if type_name == "array":
        return f"array of {_type_of(schema['items'])}"
    if "format" in schema:
        return f"{type_name} ({schema['format']})"
    return type_name


def _description_of(part: Json) -> str:
    """Return the first paragraph of a description as one line, safe in a cell of a table.

    What follows the first paragraph is Markdown with headings, which does not fit into a cell.
    """
    description: str = part.get("description", "")
    paragraph = description.strip().replace("\r\n", "\n").split("\n\n")[0]
    return " ".join(paragraph.split()).replace("|", "\\|").replace("<", "&lt;")


def _table(headings: list[str], rows: list[list[str]]) -> str:
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines) + "\n"
