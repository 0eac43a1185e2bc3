"""How to ask a SOCKS5 proxy for a connection (RFC 1928 and 1929). Sending and reading is elsewhere.

httpcore's own way does not suffice: it assumes that one read returns a whole reply, so a reply in
two pieces raises an error that httpx does not translate; its reads have no timeout; and it needs
one more package.
"""

import enum
import ipaddress
from collections.abc import Generator
from typing import TypeAlias

import attrs
import httpcore

SOCKS_PORT = 1080
"""The port of a SOCKS proxy whose URL names none."""

_VERSION = 5
_CONNECT = b"\x05\x01\x00"  # the version, the command to connect, and a byte that is always 0
_SUCCEEDED = 0
_BYTES_OF_PORT = 2


class _Method(enum.IntEnum):
    """How a client says who it is."""

    NO_AUTHENTICATION = 0
    USER_AND_PASSWORD = 2


class _AddressType(enum.IntEnum):
    """What kind of address follows."""

    IPV4 = 1
    DOMAIN = 3
    IPV6 = 4


@attrs.frozen
class _Refusal:
    """What a reply code means, and whether another attempt can help."""

    reason: str
    is_transient: bool


_REFUSALS = {
    1: _Refusal("general failure", is_transient=True),
    2: _Refusal("not allowed by its rules", is_transient=False),
    3: _Refusal("network unreachable", is_transient=True),
    4: _Refusal("host unreachable", is_transient=True),
    5: _Refusal("connection refused", is_transient=True),
    6: _Refusal("time to live expired", is_transient=True),
    7: _Refusal("command not supported", is_transient=False),
    8: _Refusal("type of address not supported", is_transient=False),
}
_UNKNOWN_REFUSAL = _Refusal("unknown", is_transient=False)


class SocksRefusal(httpcore.ProxyError):
    """A SOCKS proxy refused to connect to the server, or what it sent is not SOCKS5.

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
    """Bytes to send, perhaps none, and how many bytes of reply to wait for."""

    request: bytes
    reply_size: int


Negotiation: TypeAlias = Generator[Step, bytes, None]


def negotiate(host: str, port: int, credentials: tuple[bytes, bytes] | None) -> Negotiation:
    """Yield the steps of asking a proxy for a connection to a server.

    The caller sends the reply to each step into the generator (see `advance`).

    Raises:
        SocksRefusal: The proxy refuses, or what it sends is not SOCKS5.
    """
    yield from _authenticate(credentials)
    reply = yield Step(_CONNECT + _encode_address(host) + port.to_bytes(2), 4)
    _check_version(reply)
    code = reply[1]
    if code != _SUCCEEDED:
        refusal = _REFUSALS.get(code, _UNKNOWN_REFUSAL)
        reason = f"SOCKS reply {code} ({refusal.reason})"
        raise SocksRefusal(reason, is_transient=refusal.is_transient)
    # What follows is the address that the proxy connects from: nobody needs it.
    address_type = reply[3]
    if address_type == _AddressType.IPV4:
        size = 4
    elif address_type == _AddressType.IPV6:
        size = 16
    elif address_type == _AddressType.DOMAIN:
        length = yield Step(b"", 1)
        size = length[0]
    else:
        raise SocksRefusal("its reply is not SOCKS5")
    yield Step(b"", size + _BYTES_OF_PORT)


def advance(negotiation: Negotiation, reply: bytes) -> Step | None:
    """Give a negotiation the reply to its last step; return its next step.

    None means that it has succeeded.

    Raises:
        SocksRefusal: The proxy refuses, or what it sends is not SOCKS5.
    """
    try:
        return negotiation.send(reply)
    except StopIteration:
        return None


def _authenticate(credentials: tuple[bytes, bytes] | None) -> Negotiation:
    methods = [_Method.NO_AUTHENTICATION]
    if credentials is not None:
        methods.append(_Method.USER_AND_PASSWORD)
    reply = yield Step(bytes([_VERSION, len(methods), *methods]), 2)
    _check_version(reply)
    method = reply[1]
    if method not in methods:
        if credentials is not None:
            raise SocksRefusal("it does not accept authentication by user name and password")
        raise SocksRefusal("it asks for an authentication that was not given")
    if method == _Method.USER_AND_PASSWORD and credentials is not None:
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
        return bytes([_AddressType.DOMAIN, len(name)]) + name
    if isinstance(address, ipaddress.IPv4Address):
        return bytes([_AddressType.IPV4]) + address.packed
    return bytes([_AddressType.IPV6]) + address.packed


def _check_version(reply: bytes) -> None:
    if reply[0] != _VERSION:
        raise SocksRefusal("its reply is not SOCKS5")
