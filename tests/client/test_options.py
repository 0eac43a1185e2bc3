"""The options of a client: which values are refused, and why."""

from __future__ import annotations

import math
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from mesh_facade import MeshConfigurationError
from tests.support import OK, Script

if TYPE_CHECKING:
    from tests.conftest import Mode


@pytest.mark.parametrize("name", ["timeout", "deadline"])
@pytest.mark.parametrize(
    "value", [0, -1, 0.0, math.nan, math.inf, 1e10, 10**400, True, "5", None, [1]]
)
def test_timeout_and_deadline_must_be_positive_finite_numbers(
    mode: Mode, name: str, value: Any
) -> None:
    with pytest.raises(MeshConfigurationError, match=f"^{name} must be a number of seconds"):
        mode.client(**{name: value})


@pytest.mark.parametrize("name", ["max_attempts", "max_connections"])
@pytest.mark.parametrize("value", [0, -1, 1.0, 2.5, True, "5", None])
def test_counts_must_be_whole_numbers_of_at_least_one(mode: Mode, name: str, value: Any) -> None:
    with pytest.raises(MeshConfigurationError, match=f"^{name} must be a whole number of"):
        mode.client(**{name: value})


@pytest.mark.parametrize("option", [{"proxy": "http://127.0.0.1:1"}, {"verify": False}])
def test_transport_with_an_option_that_it_would_bypass_raises(mode: Mode, option: Any) -> None:
    with pytest.raises(MeshConfigurationError, match="transport would bypass proxy and verify"):
        mode.client(transport=Script(OK), **option)


def test_transport_of_the_other_mode_raises(mode: Mode) -> None:
    other = httpx.BaseTransport() if mode.is_async else httpx.AsyncBaseTransport()

    for transport in (other, "https://mesh.example", Script):
        with pytest.raises(MeshConfigurationError, match="transport must be an httpx"):
            mode.client(transport=transport)


@pytest.mark.parametrize("verify", ["/nowhere.pem", __file__, None, 1, Path("/nowhere")])
def test_verify_must_be_a_bool_or_an_ssl_context(mode: Mode, verify: Any) -> None:
    with pytest.raises(MeshConfigurationError, match="verify must be True, False or"):
        mode.client(verify=verify)


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "SSL_CERT_DIR"])
def test_ssl_cert_file_that_does_not_exist_raises(
    mode: Mode, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "/nowhere/at/all")

    if variable == "SSL_CERT_FILE":
        with pytest.raises(MeshConfigurationError, match="SSL_CERT_FILE names no file"):
            mode.client()
    else:  # OpenSSL looks into the folder when it needs a certificate, not before
        mode.client()


def test_verify_accepts_a_context_and_false(mode: Mode) -> None:
    context = ssl.create_default_context()

    assert mode.client(verify=context)
    assert mode.client(verify=False)


def test_unknown_option_raises_type_error_that_names_the_client(mode: Mode) -> None:
    with pytest.raises(TypeError, match=rf"^{mode.client_class.__name__}\.__init__\(\) .*'foo'"):
        mode.client(foo=1)
