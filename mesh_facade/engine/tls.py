"""SSL contexts, made once for all clients: reading the certificates takes longer than ten calls."""

import functools
import os
import ssl

import certifi
import httpx

from mesh_facade.engine.descriptors import describe_descriptor_limit, is_out_of_descriptors
from mesh_facade.errors import MeshConfigurationError


def find_ssl_context(verify: object, *, is_tls: bool) -> ssl.SSLContext:
    """Return the context for the option `verify`.

    Args:
        verify: True, False or an `ssl.SSLContext`.
        is_tls: False if neither the server nor the proxy is reached through TLS: then no
            certificates are read.

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
    is_verified = verify and is_tls
    try:
        return _make_context(_make_cache_key(), verify=is_verified)
    except OSError as error:
        failure = error
    # Raised after the `except` block. Within it, the OSError, which names neither a variable nor
    # advice, would become the context of this error.
    if is_out_of_descriptors(failure, None):
        raise MeshConfigurationError(
            "the certificates cannot be read, because too many files are open "
            f"{describe_descriptor_limit()}: raise the limit, or close files"
        )
    raise MeshConfigurationError(_describe_problem())


def _make_cache_key() -> tuple[object, ...]:
    """Return a value that changes whenever a new context must be made.

    It holds the variables that a context depends on, and when the files of certificates were
    written: a file may be replaced under the same name, such as a mounted secret that is rotated.
    """
    file = os.environ.get("SSL_CERT_FILE")
    folder = os.environ.get("SSL_CERT_DIR")
    variables = (file, folder, os.environ.get("SSLKEYLOGFILE"))
    if file:
        return (*variables, _stamp(file))
    if folder:
        return (*variables, _stamp(folder), *_stamps_in(folder))
    return (*variables, _stamp(certifi.where()))


def _stamp(path: str) -> tuple[int, ...] | None:
    """Return a value that changes when a file is written or replaced; None if there is none."""
    try:
        status = os.stat(path)  # noqa: PTH116 — Path would change a text such as ""
    except (OSError, ValueError):
        return None
    return (status.st_mtime_ns, status.st_size, status.st_ino, status.st_dev)


def _stamps_in(folder: str) -> list[object]:
    """Return the stamps of a folder's files, by their names."""
    try:
        names = sorted(os.listdir(folder))  # noqa: PTH208 — for the same reason
    except (OSError, ValueError):
        return []
    return [(name, _stamp(os.path.join(folder, name))) for name in names]  # noqa: PTH118 — the same


@functools.lru_cache(maxsize=8)
def _make_context(cache_key: tuple[object, ...], *, verify: bool) -> ssl.SSLContext:
    del cache_key  # it is there for `lru_cache`
    return httpx.create_ssl_context(verify=verify)


def _describe_problem() -> str:
    """Return why no context could be made, and what to change."""
    key_log = os.environ.get("SSLKEYLOGFILE")
    if key_log and not _can_write_keys(key_log):
        return "SSLKEYLOGFILE names a file that cannot be written: unset it, or name another file"
    if os.environ.get("SSL_CERT_FILE"):
        return (
            "SSL_CERT_FILE names no file of certificates that can be read: name one in PEM format, "
            "or unset it"
        )
    if os.environ.get("SSL_CERT_DIR"):
        return "SSL_CERT_DIR names no folder of certificates that can be read: change or unset it"
    return (
        f"certifi's certificates cannot be read ({certifi.where()}): install certifi again, or set "
        "SSL_CERT_FILE to a file of certificates in PEM format"
    )


def _can_write_keys(path: str) -> bool:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).keylog_filename = path
    except (OSError, ValueError):
        return False
    return True
