"""Which errors another attempt can help against."""

import pytest

from mesh_facade import MeshConnectionError, MeshError, MeshTLSError
from mesh_facade.engine.retries import is_transient


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MeshConnectionError("refused"), True),
        (MeshTLSError("certificate"), False),
        (MeshError("this client is closed"), False),
    ],
)
def test_error_is_transient(error: MeshError, *, expected: bool) -> None:
    assert is_transient(error) == expected


def test_refusal_of_a_proxy_is_not_transient() -> None:
    error = MeshConnectionError("the proxy refused to connect: HTTP 407")
    error.is_transient = False

    assert not is_transient(error)
