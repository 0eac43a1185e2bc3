"""Checks of settings. The error of a check says what to change."""

import ipaddress
import re
import threading

import httpx

from mesh_facade.errors import MeshConfigurationError

_SHORT_WORD = re.compile("[A-Za-z]{0,20}|[0-9]{1,4}")
_LONGEST_NUMBER = 100  # bits; Python refuses to write out a number of 4,301 digits
_LONGEST_HOST = 253  # characters of a host's name, as DNS has it
LARGEST_PORT = 65_535


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
    """Return an option's wrong value for an error message, or its type if it could be a secret.

    Only numbers, None and short words are quoted. A longer string, or one with other characters,
    could be a key or a token. Any other object could contain one.
    """
    if isinstance(value, int) and value.bit_length() > _LONGEST_NUMBER:
        return f"a number of {value.bit_length()} bits"
    if value is None or isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, str) and _SHORT_WORD.fullmatch(value):
        return repr(value)
    if isinstance(value, str):
        return f"a text of {len(value)} characters (not shown, because it could be a secret)"
    return f"an object of the type {type(value).__name__}"


def check_count(name: str, value: object) -> None:
    """Raise MeshConfigurationError unless `value` is a whole number of at least 1."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise MeshConfigurationError(
            f"{name} must be a whole number of at least 1, not {describe(value)}"
        )


def has_well_formed_host(url: httpx.URL) -> bool:
    """Return True if a URL has a host that the system can look up, and that httpx can show."""
    host = url.raw_host.decode("ascii")
    is_ipv6 = ":" in host
    if "%" in host and not is_ipv6:  # httpx writes a space, for example, as `%20`
        return False
    try:
        host.encode("idna")  # fails if a label, the part between two dots, is empty or too long
        _ = url.host  # fails if a name begins with `xn--` and httpx cannot decode it
    except UnicodeError:
        return False
    return 0 < len(host) <= _LONGEST_HOST


def has_valid_port(url: httpx.URL) -> bool:
    """Return True if a URL has a port that exists, or none; httpx accepts any number."""
    return url.port is None or 0 < url.port <= LARGEST_PORT


def is_loopback(host: str) -> bool:
    """Return True if `host` is a loopback address or `localhost`."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
