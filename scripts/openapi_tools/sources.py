"""Recognises the kind of a source by its content, and reads it as an OpenAPI document.

The importer (`make spec`) uses it.
"""

from attrs import frozen

from openapi_tools.code_blocks import Page, split_page
from openapi_tools.docs_page import to_openapi
from openapi_tools.documents import begins_like_json, parse
from openapi_tools.json_values import JSONObject, SpecError, copy_object


@frozen
class Source:
    """A source that has been read."""

    document: JSONObject
    """Its content as an OpenAPI document, of version 3.0 or 3.1."""
    suffix: str
    """The suffix of a file with its content."""


def parse_source(content: bytes) -> Source:
    """Read a docs page, in its older or newer shape, or a whole OpenAPI document.

    Raise SpecError if the content is neither of them, or is not in UTF-8.
    """
    try:
        text = content.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise SpecError(f"not UTF-8: {error}") from None
    page = split_page(text)
    if page is not None:
        return Source(_read_page(page), ".md")
    document = _parse(text)
    if not _is_openapi(document):
        raise SpecError("this is neither a docs page nor an OpenAPI document, 3.0 or 3.1")
    suffix = ".yaml"
    if begins_like_json(text):
        suffix = ".json"
    return Source(document, suffix)


def _read_page(page: Page) -> JSONObject:
    document = _parse(page.block)
    if _is_openapi(document):
        return document
    if "openapi" in document:
        raise SpecError("this is neither a docs page nor an OpenAPI document, 3.0 or 3.1")
    return to_openapi(page.prose, document)


def _parse(text: str) -> JSONObject:
    return copy_object(parse(text), "document")


def _is_openapi(document: JSONObject) -> bool:
    return str(document.get("openapi")).startswith(("3.0", "3.1"))
