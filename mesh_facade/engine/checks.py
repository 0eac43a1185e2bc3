"""Checks of settings. The error of a check says what to change."""

import ipaddress
import threading

from mesh_facade.errors import MeshConfigurationError

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
            f"{threading.TIMEOUT_MAX:.0f}), not {value!r}"
        )


def check_count(name: str, value: object) -> None:
    """Raise MeshConfigurationError unless `value` is a whole number of at least 1."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise MeshConfigurationError(f"{name} must be a whole number of at least 1, not {value!r}")


def is_well_formed(host: str) -> bool:
    """Return True if the system can look a host up: no label of its name is empty or too long."""
    try:
        host.encode("idna")
    except UnicodeError:
        return False
    return len(host) <= _LONGEST_HOST


def is_loopback(host: str) -> bool:
    """Return True if `host` is a loopback address or `localhost`."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
