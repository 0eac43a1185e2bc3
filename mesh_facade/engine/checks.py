"""Checks of settings. The error of a check says what to change."""

import ipaddress
import re
import threading

import httpx

from mesh_facade.errors import MeshConfigurationError

_SHORT_WORD = re.compile("[A-Za-z]{0,20}|[0-9]{1,4}")
_LONGEST_HOST = 253  # characters of a host's name, as DNS has it


def check_seconds(name: str, value: object) -> None:
    """Raise MeshConfigurationError unless `value` is a positive, finite number of seconds."""
    if (
        not isinstance(value, (int, float))
        or isinstance(value, bool)
        or not 0 < value <= threading.TIMEOUT_MAX
    ):
        raise MeshConfigurationError(
            f"{name} must be a number of seconds greater than 0 and finite (at most "
            f"{threading.TIMEOUT_MAX:.0f}), not {describe(value)}"
        )


def describe(value: object) -> str:
    """Return an option's wrong value for an error message; only its type, if it could be a secret.

    Numbers, None and short words are quoted. A key or a token is longer, or has other characters,
    and a mapping of settings may hold one.
    """
    if value is None or isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, str) and _SHORT_WORD.fullmatch(value):
        return repr(value)
    return f"an object of the type {type(value).__name__}"


def check_count(name: str, value: object) -> None:
    """Raise MeshConfigurationError unless `value` is a whole number of at least 1."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise MeshConfigurationError(
            f"{name} must be a whole number of at least 1, not {describe(value)}"
        )


def has_well_formed_host(url: httpx.URL) -> bool:
    """Return True if the system can look up the host of a URL.

    No label of its name may be empty or too long, or begin with `xn--` and not be decodable.
    """
    host = url.raw_host.decode("ascii")
    try:
        host.encode("idna")
        url.host.encode()  # httpx decodes it
    except UnicodeError:
        return False
    return 0 < len(host) <= _LONGEST_HOST


def is_loopback(host: str) -> bool:
    """Return True if `host` is a loopback address or `localhost`."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
