"""How to ask a SOCKS5 proxy for a connection (RFC 1928 and 1929), apart from how bytes travel.

httpcore's own way does not suffice: it takes whatever one read returns for a whole reply, so that a
reply in two pieces is an error that httpx does not know; its reads have no timeout; and it needs
one more package.
"""

import ipaddress
from collections.abc import Generator

import attrs
import httpcore

SOCKS_PORT = 1080
"""The port of a SOCKS proxy whose URL names none."""

_VERSION = 5
_NO_AUTHENTICATION = 0
_USER_AND_PASSWORD = 2
_CONNECT = b"\x05\x01\x00"
_IPV4 = 1
_DOMAIN = 3
_IPV6 = 4
_SUCCEEDED = 0
_BYTES_OF_ADDRESS = {_IPV4: 4, _IPV6: 16}
_BYTES_OF_PORT = 2
_REFUSALS = {
    1: "general failure",
    2: "not allowed by its rules",
    3: "network unreachable",
    4: "host unreachable",
    5: "connection refused",
    6: "time to live expired",
    7: "command not supported",
    8: "type of address not supported",
}
_TRANSIENT_REFUSALS = {1, 3, 4, 5, 6}


class SocksRefusal(httpcore.ProxyError):
    """A SOCKS proxy does not connect to the server.

    Attributes:
        reason: The proxy's reason, in our words.
        is_transient: Whether another attempt can help.
    """

    def __init__(self, reason: str, *, is_transient: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.is_transient = is_transient


@attrs.frozen
class Step:
    """Bytes to send, and how many bytes the reply to them has."""

    request: bytes
    reply_size: int


Negotiation = Generator[Step, bytes, None]


def negotiate(host: str, port: int, credentials: tuple[bytes, bytes] | None) -> Negotiation:
    """Yield each step of asking for a connection to a server; take the reply to it.

    Raises:
        SocksRefusal: The proxy refuses.
    """
    yield from _authenticate(credentials)
    reply = yield Step(_CONNECT + _encode_address(host) + port.to_bytes(2), 4)
    _check_version(reply)
    code = reply[1]
    if code != _SUCCEEDED:
        reason = f"SOCKS reply {code} ({_REFUSALS.get(code, 'unknown')})"
        raise SocksRefusal(reason, is_transient=code in _TRANSIENT_REFUSALS)
    # What follows is the address that the proxy connects from: nobody needs it.
    address_type = reply[3]
    if address_type == _DOMAIN:
        size = (yield Step(b"", 1))[0]
    elif address_type in _BYTES_OF_ADDRESS:
        size = _BYTES_OF_ADDRESS[address_type]
    else:
        raise SocksRefusal("its reply is not SOCKS5")
    yield Step(b"", size + _BYTES_OF_PORT)


def advance(negotiation: Negotiation, reply: bytes) -> Step | None:
    """Give a negotiation the reply to its last step; return the next, None if it has succeeded."""
    try:
        return negotiation.send(reply)
    except StopIteration:
        return None


def _authenticate(credentials: tuple[bytes, bytes] | None) -> Negotiation:
    methods = [_NO_AUTHENTICATION]
    if credentials is not None:
        methods.append(_USER_AND_PASSWORD)
    reply = yield Step(bytes([_VERSION, len(methods), *methods]), 2)
    _check_version(reply)
    method = reply[1]
    if method not in methods:
        raise SocksRefusal("it asks for an authentication that was not given")
    if method == _USER_AND_PASSWORD and credentials is not None:
        user, password = credentials
        request = bytes([1, len(user)]) + user + bytes([len(password)]) + password
        reply = yield Step(request, 2)
        if reply[1] != _SUCCEEDED:
            raise SocksRefusal("it does not accept the user name and password")


def _encode_address(host: str) -> bytes:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:  # a name, which the proxy looks up
        name = host.encode("ascii")
        return bytes([_DOMAIN, len(name)]) + name
    address_type = _IPV4 if address.version == 4 else _IPV6  # noqa: PLR2004 — its name
    return bytes([address_type]) + address.packed


def _check_version(reply: bytes) -> None:
    if reply[0] != _VERSION:
        raise SocksRefusal("its reply is not SOCKS5")
