"""Reads the settings of the importer (`make spec`), which are in openapi/import.yaml."""

from pathlib import Path
from typing import TypedDict

from openapi_tools.documents import read_document
from openapi_tools.json_values import JSON, JSONObject, copy_object, expect_text


class PinnedOperation(TypedDict):
    """Our name and tag of an operation."""

    operationId: str
    tag: str


class Settings(TypedDict):
    """The settings, by the names that they have in the file."""

    source: str
    info: JSONObject
    operations: dict[str, PinnedOperation]
    securitySchemes: dict[str, str]
    schemas: dict[str, str]


def read_settings(path: Path) -> Settings:
    """Return the settings in a file.

    Raise SpecError if a setting is missing or unknown, and OSError if the file cannot be read.
    """
    needed = ("source", "info", "operations", "securitySchemes", "schemas")
    settings = copy_object(read_document(path), str(path), needed=needed)
    operations: dict[str, PinnedOperation] = {}
    for name, value in copy_object(settings["operations"], f"{path}: operations").items():
        place = f"{path}: operations.{name}"
        pinned = copy_object(value, place, needed=("operationId", "tag"))
        operations[name] = PinnedOperation(
            operationId=expect_text(pinned["operationId"], f"{place}.operationId"),
            tag=expect_text(pinned["tag"], f"{place}.tag"),
        )
    return Settings(
        source=expect_text(settings["source"], f"{path}: source"),
        info=copy_object(settings["info"], f"{path}: info"),
        operations=operations,
        securitySchemes=_read_names(settings["securitySchemes"], f"{path}: securitySchemes"),
        schemas=_read_names(settings["schemas"], f"{path}: schemas"),
    )


def _read_names(value: JSON, place: str) -> dict[str, str]:
    """Return our names by Mesh's; raise SpecError for a name that is not a text."""
    names: dict[str, str] = {}
    for theirs, ours in copy_object(value, place).items():
        names[theirs] = expect_text(ours, f"{place}.{theirs}")
    return names
