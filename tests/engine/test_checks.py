"""Checks of settings, and what their messages say."""

from __future__ import annotations

import math
import os

import httpx
import pytest

from mesh_facade import MeshConfigurationError
from mesh_facade.engine.checks import check_count, check_seconds, has_well_formed_host
from mesh_facade.options import find_base_url


def test_endless_time_is_refused_as_not_finite() -> None:
    with pytest.raises(MeshConfigurationError) as caught:
        check_seconds("timeout", math.inf)

    text = str(caught.value)
    assert text.startswith(
        "timeout must be a number of seconds greater than 0 and finite (at most "
    )
    assert text.endswith(", not inf")


def test_huge_number_is_described_by_its_bits() -> None:
    with pytest.raises(MeshConfigurationError, match=r"at least 1, not a number of 16610 bits$"):
        check_count("concurrency", -(10**5000))


@pytest.mark.parametrize(
    "host",
    [
        "mesh.example",
        "mesh.example.",
        "127.0.0.1",
        "[::1]",
        "[fe80::1%eth0]",
        "my_proxy",
        "m" * 63 + ".example",
        "xn--strae-oqa.example",
    ],
)
def test_name_that_a_host_can_have_is_well_formed(host: str) -> None:
    assert has_well_formed_host(httpx.URL(f"https://{host}"))


@pytest.mark.parametrize(
    "host",
    [
        "",
        "mesh..example",
        ".example",
        "m" * 64 + ".example",
        "mesh." * 50 + "example",
        "xn--a",
        "mesh example",
    ],
)
def test_name_that_no_host_can_have_is_not_well_formed(host: str) -> None:
    assert not has_well_formed_host(httpx.URL(f"https://{host}"))


@pytest.mark.parametrize("host", ["mesh..example", "xn--a", "mesh example"])
def test_base_url_with_a_name_that_no_host_can_have_is_refused(host: str) -> None:
    with pytest.raises(MeshConfigurationError, match=r"^base_url has a malformed host: a part of"):
        find_base_url(None, f"https://{host}")


@pytest.mark.parametrize("port", [0, -1, 65_536, 99_999])
def test_base_url_with_a_port_that_does_not_exist_is_refused(port: int) -> None:
    with pytest.raises(
        MeshConfigurationError, match=r"^base_url must have a port from 1 to 65535$"
    ):
        find_base_url(None, f"https://mesh.example:{port}")


@pytest.mark.parametrize("port", [1, 65_535])
def test_base_url_with_the_first_and_the_last_port_is_used(port: int) -> None:
    assert find_base_url(None, f"https://mesh.example:{port}").port == port


def test_base_url_that_is_not_utf8_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MESH_BASE_URL", os.fsdecode(b"https://mesh.example/\xff"))

    with pytest.raises(MeshConfigurationError, match=r"^MESH_BASE_URL is not a URL$"):
        find_base_url(None, None)


def test_long_text_is_described_by_its_length_alone() -> None:
    with pytest.raises(MeshConfigurationError) as caught:
        find_base_url("sand-box-of-canary", None)

    assert str(caught.value) == (
        "environment must be one of production, sandbox, not a text of 18 characters (not shown, "
        "because it could be a secret)"
    )
