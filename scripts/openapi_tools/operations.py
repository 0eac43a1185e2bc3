"""The operations of an OpenAPI document: their names, and where they are."""

from openapi_tools.json_values import JSONObject, SpecError, expect_object, expect_text
from openapi_tools.keywords import is_extension
from openapi_tools.references import resolve

METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")

_TEXTS = frozenset({"summary", "description"})


def operations_of(document: JSONObject) -> dict[str, tuple[str, str]]:
    """Return the path and the method of each operation, by its name: 'GET /path'.

    Raise SpecError if a path is a reference, because its operations are elsewhere.
    """
    operations: dict[str, tuple[str, str]] = {}
    for path, item in expect_object(document.get("paths"), "paths").items():
        if is_extension(path):
            continue
        path_item = expect_object(item, f"paths.{path}")
        if "$ref" in path_item:
            raise SpecError(
                f"paths.{path}.$ref: a path that is a reference is not supported here: write its"
                " operations in its place"
            )
        for method in METHODS:
            if method in path_item:
                operations[f"{method.upper()} {path}"] = (path, method)
    return operations


def operation_at(document: JSONObject, path: str, method: str) -> JSONObject:
    """Return an operation itself, not a copy."""
    paths = expect_object(document["paths"], "paths")
    item = expect_object(paths[path], f"paths.{path}")
    return expect_object(item[method], f"paths.{path}.{method}")


def replace_path_references(document: JSONObject) -> JSONObject:
    """Return a document in which every path that is a reference is replaced by its target.

    Raise SpecError if a target is missing, if references lead in a circle, or if a path and its
    target have the same keyword, unless that is `summary` or `description`.
    """
    paths = dict(expect_object(document.get("paths"), "paths"))
    for path, item in paths.items():
        if not is_extension(path):
            place = f"paths.{path}"
            paths[path] = _replace_reference(document, expect_object(item, place), place)
    return {**document, "paths": paths}


def _replace_reference(document: JSONObject, path_item: JSONObject, place: str) -> JSONObject:
    """Return a path item in which `$ref` is replaced by the fields of its target.

    The target may have a `$ref` itself, which is replaced, too. A path item without `$ref` is
    copied.

    A `summary` or `description` beside the reference overrides that of the target. If the path item
    and the target both have some other keyword, OpenAPI does not define its meaning, so this
    function raises SpecError.
    """
    replaced = dict(path_item)
    # The place of each field of `replaced` in the document, for the error messages.
    places = dict.fromkeys(path_item, place)
    references: list[str] = []
    while "$ref" in replaced:
        place_of_reference = places.pop("$ref")
        reference = expect_text(replaced.pop("$ref"), f"{place_of_reference}.$ref")
        references.append(reference)
        if reference in references[:-1]:
            circle = " → ".join(references)
            raise SpecError(f"{place}: these references lead in a circle: {circle}")
        target = resolve(document, reference, place_of_reference)
        for keyword in replaced:
            if keyword in target and keyword not in _TEXTS:
                raise SpecError(
                    f"{places[keyword]}.{keyword}: the reference beside it leads to '{reference}',"
                    f" which has a '{keyword}', too: remove one of the two from the source"
                )
        replaced = {**target, **replaced}
        places = {**dict.fromkeys(target, reference), **places}
    return replaced
