"""Leaves one media type to a request body that may be sent in several, for `make generate`.

Many of Mesh's operations list `text/json` and `application/*+json` beside `application/json`, each
with the same schema. From such a list the generator makes a function that sends the last of these
as the Content-Type, and, where the body is required, a module that Python cannot import.
"""

from openapi_tools.json_values import JSONObject, expect_object, to_text
from openapi_tools.operations import operation_at, operations_of

PREFERRED = "application/json"


def keep_one_media_type(document: JSONObject) -> None:
    """Remove each media type whose schema application/json has as well, in place."""
    for path, method in operations_of(document).values():
        body = operation_at(document, path, method).get("requestBody")
        if isinstance(body, dict) and isinstance(body.get("content"), dict):
            place = f"paths.{path}.{method}.requestBody"
            _remove_alternatives(expect_object(body["content"], place))


def _remove_alternatives(content: JSONObject) -> None:
    if PREFERRED not in content:
        return
    schema = to_text(_schema_of(content, PREFERRED))
    for media_type in list(content):
        if media_type != PREFERRED and to_text(_schema_of(content, media_type)) == schema:
            del content[media_type]


def _schema_of(content: JSONObject, media_type: str) -> JSONObject:
    media = expect_object(content[media_type], media_type)
    return expect_object(media.get("schema", {}), f"{media_type}.schema")
