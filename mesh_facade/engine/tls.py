"""SSL contexts, made once for all clients: reading the certificates takes longer than ten calls."""

import functools
import os
import ssl

import httpx

from mesh_facade.errors import MeshConfigurationError


def find_ssl_context(verify: object, *, is_tls: bool) -> ssl.SSLContext:
    """Return the context for the option `verify`.

    Args:
        verify: True, False or an `ssl.SSLContext`.
        is_tls: False if the server is spoken to in plain HTTP: certificates are not read then.

    Raises:
        MeshConfigurationError: `verify` is something else, or the certificates cannot be read.
    """
    if isinstance(verify, ssl.SSLContext):
        return verify
    if isinstance(verify, (str, os.PathLike)):
        raise MeshConfigurationError(
            "verify must be True, False or an ssl.SSLContext, not a path: write "
            "verify=ssl.create_default_context(cafile=...)"
        )
    if not isinstance(verify, bool):
        raise MeshConfigurationError(
            f"verify must be True, False or an ssl.SSLContext, not {type(verify).__name__}"
        )
    problem = ""
    try:
        return _make_context(_fingerprints(), verify=verify and is_tls)
    except OSError:
        problem = "SSL_CERT_FILE or SSL_CERT_DIR names nothing that can be read"
    raise MeshConfigurationError(problem)


def _fingerprints() -> tuple[object, ...]:
    """Return what changes when the certificates do: their names, and when they were written."""
    return (os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))


@functools.lru_cache
def _make_context(_fingerprints: tuple[object, ...], *, verify: bool) -> ssl.SSLContext:
    return httpx.create_ssl_context(verify=verify)
