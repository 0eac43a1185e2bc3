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
        methods = expect_object(item, f"paths.{path}")
        if "$ref" in methods:
            raise SpecError(
                f"paths.{path}.$ref: a path that is a reference is not supported here: write its"
                " operations in its place"
            )
        for method in METHODS:
            if method in methods:
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
    target both have a keyword other than `summary` and `description`.
    """
    paths = dict(expect_object(document.get("paths"), "paths"))
    for path, item in paths.items():
        if not is_extension(path):
            place = f"paths.{path}"
            paths[path] = _replace_reference(document, expect_object(item, place), place)
    return {**document, "paths": paths}


def _replace_reference(document: JSONObject, path_item: JSONObject, place: str) -> JSONObject:
    """Return a path item with the target of its reference, if it has one, in its place.

    A summary or description beside the reference overrides that of the target. OpenAPI does not
    define what any other keyword means that both of them have.
    """
    replaced = dict(path_item)
    references: list[str] = []
    while "$ref" in replaced:
        reference = expect_text(replaced.pop("$ref"), f"{place}.$ref")
        references.append(reference)
        if reference in references[:-1]:
            circle = " → ".join(references)
            raise SpecError(f"{place}: these references lead in a circle: {circle}")
        target = resolve(document, reference, place)
        for keyword in replaced:
            if keyword in target and keyword not in _TEXTS:
                raise SpecError(
                    f"{place}.{keyword}: '{reference}', which stands beside it, has a '{keyword}',"
                    " too: remove one of the two from the source"
                )
        replaced = {**target, **replaced}
    return replaced
