"""The options of the mock server's clients are those of the clients themselves."""

from __future__ import annotations

import inspect
from typing import Any, get_args, get_type_hints

import pytest

from mesh_facade import AsyncMeshClient, MeshClient, MeshConfigurationError
from mesh_facade.testing import MockServer
from mesh_facade.testing.client_options import AsyncMeshClientOptions, MeshClientOptions


@pytest.mark.parametrize(
    ("options", "client_class"),
    [(MeshClientOptions, MeshClient), (AsyncMeshClientOptions, AsyncMeshClient)],
)
def test_options_have_the_names_and_types_of_the_clients_parameters(
    options: type[Any], client_class: type[Any]
) -> None:
    expected = get_type_hints(client_class.__init__)
    del expected["return"]
    actual = get_type_hints(options)

    assert actual.keys() == inspect.signature(client_class).parameters.keys()
    for name, hint in actual.items():
        # The members of a union may stand in another order.
        assert set(get_args(hint) or [hint]) == set(get_args(expected[name]) or [expected[name]])


def test_clients_refuse_an_option_that_cannot_be_used() -> None:
    with pytest.raises(MeshConfigurationError, match="max_attempts"):
        MockServer().client(max_attempts=0)
    with pytest.raises(MeshConfigurationError, match="max_attempts"):
        MockServer().async_client(max_attempts=0)
