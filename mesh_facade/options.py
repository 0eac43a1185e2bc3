"""Finds the URL of the server, from options, environment variables and the spec.

The servers of the two environments are the spec's: `operations/servers.py` takes them from the
generated client.
"""

import os

import httpx

from mesh_facade.engine.checks import (
    LARGEST_PORT,
    describe,
    has_valid_port,
    has_well_formed_host,
    is_loopback,
)
from mesh_facade.errors import MeshConfigurationError
from mesh_facade.operations.servers import PRODUCTION, SERVER_BY_ENVIRONMENT


def find_base_url(environment: str | None, base_url: str | httpx.URL | None) -> httpx.URL:
    """Return where calls go.

    That is `base_url`, else `MESH_BASE_URL`, else the server of `environment`, else of
    `MESH_ENVIRONMENT`, else of production.

    Raises:
        MeshConfigurationError: The environment is unknown, or the URL cannot be used.
    """
    source = "environment"
    if environment is None:
        source = "MESH_ENVIRONMENT"
        environment = os.environ.get("MESH_ENVIRONMENT") or PRODUCTION
    if environment not in list(SERVER_BY_ENVIRONMENT):  # a list: the argument may be unhashable
        names = ", ".join(sorted(SERVER_BY_ENVIRONMENT))
        raise MeshConfigurationError(
            f"{source} must be one of {names}, not {describe(environment)}"
        )
    source = "base_url"
    if base_url is None:
        source = "MESH_BASE_URL"
        base_url = os.environ.get("MESH_BASE_URL") or SERVER_BY_ENVIRONMENT[environment]
    try:
        url = httpx.URL(base_url)
    except (TypeError, ValueError, httpx.InvalidURL):
        url = None
    if url is None:  # not raised above: its context would show the URL, which may hold a password
        raise MeshConfigurationError(f"{source} is not a URL")
    problem = _find_problem(url)
    if problem:
        raise MeshConfigurationError(f"{source} {problem}")
    return url


def _find_problem(url: httpx.URL) -> str | None:
    """Return what is wrong with a URL, as the end of a sentence; None if nothing is."""
    if url.scheme not in {"https", "http"} or not url.raw_host:
        return "must look like https://host"
    if not has_well_formed_host(url):
        return "has a malformed host: a part of its name is empty, too long or not allowed"
    if not has_valid_port(url):
        return f"must have a port from 1 to {LARGEST_PORT}"
    if url.userinfo or url.query or url.fragment:
        return "must have no user name, no query and no fragment"
    if url.scheme == "http" and not is_loopback(url.host):
        return "must start with https://: plain http would show the keys to the network"
    return None
