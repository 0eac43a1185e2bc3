"""The operations of an OpenAPI document: their names, and where they are."""

from openapi_tools.json_values import JSONObject, expect_object

METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")


def operations_of(document: JSONObject) -> dict[str, tuple[str, str]]:
    """Return the path and the method of each operation, by its name: 'GET /path'."""
    operations: dict[str, tuple[str, str]] = {}
    for path, item in expect_object(document.get("paths"), "paths").items():
        if path.startswith("x-"):  # an extension, whose value may be anything
            continue
        methods = expect_object(item, f"paths.{path}")
        for method in METHODS:
            if method in methods:
                operations[f"{method.upper()} {path}"] = (path, method)
    return operations


def operation_at(document: JSONObject, path: str, method: str) -> JSONObject:
    """Return an operation itself, not a copy."""
    paths = expect_object(document["paths"], "paths")
    item = expect_object(paths[path], f"paths.{path}")
    return expect_object(item[method], f"paths.{path}.{method}")
