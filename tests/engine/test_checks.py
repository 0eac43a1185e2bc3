"""Checks of settings, and what their messages say."""

from __future__ import annotations

import math

import httpx
import pytest

from mesh_facade import MeshConfigurationError
from mesh_facade.engine.checks import check_seconds, has_well_formed_host
from mesh_facade.options import find_base_url


def test_endless_time_is_refused_as_not_finite() -> None:
    with pytest.raises(MeshConfigurationError) as caught:
        check_seconds("timeout", math.inf)

    text = str(caught.value)
    assert text.startswith(
        "timeout must be a number of seconds greater than 0 and finite (at most "
    )
    assert text.endswith(", not inf")


@pytest.mark.parametrize(
    "host",
    [
        "mesh.example",
        "mesh.example.",
        "127.0.0.1",
        "[::1]",
        "my_proxy",
        "m" * 63 + ".example",
        "xn--strae-oqa.example",
    ],
)
def test_name_that_a_host_can_have_is_well_formed(host: str) -> None:
    assert has_well_formed_host(httpx.URL(f"https://{host}"))


@pytest.mark.parametrize(
    "host",
    ["", "mesh..example", ".example", "m" * 64 + ".example", "mesh." * 50 + "example", "xn--a"],
)
def test_name_that_no_host_can_have_is_not_well_formed(host: str) -> None:
    assert not has_well_formed_host(httpx.URL(f"https://{host}"))


@pytest.mark.parametrize("host", ["mesh..example", "xn--a"])
def test_base_url_with_a_name_that_no_host_can_have_is_refused(host: str) -> None:
    with pytest.raises(MeshConfigurationError, match=r"^base_url names no host: a label of its"):
        find_base_url(None, f"https://{host}")
