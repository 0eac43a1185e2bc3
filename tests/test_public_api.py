"""The public names: signatures, documentation, the tree of errors, what an import loads."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from importlib import metadata
from typing import Any, get_type_hints

import pytest

import mesh_facade
from mesh_facade import AsyncMeshClient, MeshClient, errors

NAMES = [
    "AccountBalance",
    "AsyncMeshClient",
    "Attempt",
    "AuthenticationError",
    "BadRequestError",
    "BrokerType",
    "ConflictError",
    "CurrencyBalance",
    "FailedOutcome",
    "LinkedAccount",
    "LockedError",
    "MeshAPIError",
    "MeshClient",
    "MeshConfigurationError",
    "MeshConnectionError",
    "MeshError",
    "MeshResponseError",
    "MeshTLSError",
    "MeshTimeoutError",
    "NotFoundError",
    "Outcome",
    "PermissionDeniedError",
    "RateLimitError",
    "ServerError",
    "SuccessfulOutcome",
    "UnavailableForLegalReasonsError",
    "__version__",
]
OPTIONS = {
    "client_id": None,
    "client_secret": None,
    "environment": None,
    "base_url": None,
    "timeout": 10.0,
    "deadline": 30.0,
    "max_attempts": 3,
    "max_connections": 100,
    "proxy": None,
    "verify": True,
    "transport": None,
    "on_attempt": None,
}
ASYNC_NAMES = {"close": "aclose", "__enter__": "__aenter__", "__exit__": "__aexit__"}


def test_export_list_is_complete() -> None:
    assert mesh_facade.__all__ == NAMES
    assert {name for name in vars(mesh_facade) if name[0].isupper()} == set(NAMES[:-1])


def test_each_exported_name_exists() -> None:
    for name in NAMES:
        assert getattr(mesh_facade, name) is not None


def test_version_is_that_of_the_distribution() -> None:
    assert mesh_facade.__version__ == metadata.version("mesh-facade")


def test_each_public_class_and_method_has_a_docstring() -> None:
    for name in NAMES[:-1]:
        value = getattr(mesh_facade, name)
        if name == "Outcome":  # a union of two classes, which are documented
            continue
        assert inspect.getdoc(value), name
        for attribute, member in vars(value).items():
            if inspect.isfunction(member) and not attribute.startswith("_"):
                assert inspect.getdoc(member), f"{name}.{attribute}"


@pytest.mark.parametrize("client_class", [MeshClient, AsyncMeshClient])
def test_client_has_exactly_these_options(client_class: type[Any]) -> None:
    parameters_of = inspect.signature(client_class).parameters

    assert {name: parameter.default for name, parameter in parameters_of.items()} == OPTIONS
    kinds = [parameter.kind for parameter in parameters_of.values()]
    assert kinds[:2] == [inspect.Parameter.POSITIONAL_OR_KEYWORD] * 2
    assert set(kinds[2:]) == {inspect.Parameter.KEYWORD_ONLY}


def test_each_option_is_documented() -> None:
    documentation = inspect.getdoc(MeshClient) or ""

    assert re.findall(r"^    (\w+): ", documentation, re.MULTILINE)[: len(OPTIONS)] == list(OPTIONS)


def public_names_of(client_class: type[Any]) -> set[str]:
    own = {name for each in client_class.__mro__[:-1] for name in vars(each)}
    paired = own.intersection([*ASYNC_NAMES, *ASYNC_NAMES.values()])
    return {name for name in own if not name.startswith("_")} | paired


def parameters_of(method: Any) -> list[tuple[str, Any, Any]]:
    found = inspect.signature(method).parameters.values()
    return [(each.name, each.kind, each.default) for each in found]


def test_both_clients_have_the_same_methods_and_signatures() -> None:
    names = public_names_of(MeshClient)

    assert {ASYNC_NAMES.get(name, name) for name in names} == public_names_of(AsyncMeshClient)
    assert {"get_account_balance", "with_options", "close"} <= names
    for name in names:
        sync = getattr(MeshClient, name)
        twin = getattr(AsyncMeshClient, ASYNC_NAMES.get(name, name))
        if name == "get_account_balances":  # the twin takes async iterables too, and returns one
            assert parameters_of(sync) == parameters_of(twin)
            continue
        assert inspect.signature(sync) == inspect.signature(twin), name
        assert get_type_hints(sync) == get_type_hints(twin), name


def test_get_account_balance_takes_token_and_broker_in_both_clients() -> None:
    signature = inspect.signature(MeshClient.get_account_balance)

    assert list(signature.parameters) == ["self", "auth_token", "broker"]
    assert inspect.iscoroutinefunction(AsyncMeshClient.get_account_balance)
    assert inspect.iscoroutinefunction(AsyncMeshClient.aclose)


def test_with_options_takes_only_timeout_deadline_and_max_attempts() -> None:
    parameters = inspect.signature(MeshClient.with_options).parameters

    assert list(parameters) == ["self", "timeout", "deadline", "max_attempts"]


def read_tree_from_docstring() -> dict[str, str]:
    """Read each class and its parent off the tree in the docstring."""
    lines = (errors.__doc__ or "").splitlines()
    tree = {"MeshError": "Exception"}
    path = ["MeshError"]
    for line in lines:
        names = re.findall(r"[├└]── (\w+)", line)
        if names:
            depth = len(line.split("── ")[0]) // 4 + 1
            tree |= dict.fromkeys(names, path[depth - 1])
            path[depth:] = [names[-1]]
    return tree


def test_error_classes_match_the_tree_in_the_docstring() -> None:
    classes = {
        name: value
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, Exception)
    }

    assert {
        name: value.__bases__[0].__name__ for name, value in classes.items()
    } == read_tree_from_docstring()
    assert set(classes) < set(NAMES)
    assert all(getattr(mesh_facade, name) is value for name, value in classes.items())
    assert [name for name, value in classes.items() if len(value.__bases__) > 1] == [
        "MeshConfigurationError"
    ]


def test_each_error_has_attempts_and_api_errors_have_their_fields() -> None:
    for name in read_tree_from_docstring():
        assert getattr(errors, name)("x").attempts == 0
    refusal = mesh_facade.MeshAPIError("x")
    fields = "http_status status error_type message display_message error_hash error_data"
    for field in [*fields.split(), "team_code", "retry_after", "reconnect_required", "request_id"]:
        assert hasattr(refusal, field)


def find_loaded_packages(statement: str) -> set[str]:
    program = f"{statement}; import sys; print(*sys.modules)"
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return {name.partition(".")[0] for name in run.stdout.split()}


def test_import_loads_only_packages_that_a_call_needs() -> None:
    needed = find_loaded_packages("import httpx, httpcore, attrs, urllib.request")
    more = find_loaded_packages("import mesh_facade") - needed

    assert {name for name in more if name not in sys.stdlib_module_names} == {
        "mesh_connect_client",
        "mesh_facade",
    }
