"""Proxies on loopback: HTTP CONNECT and SOCKS5, with TLS or without, healthy or slow.

Each is a `Server` of tests/support.py with one of these handlers. A tunnel always leads to the port
that the client named, on this machine: no name is looked up.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import ssl
from collections.abc import Callable

from tests.support import Peer

Handler = Callable[[Peer], None]
Send = Callable[[bytes], None]
SECONDS_PER_BYTE = 0.05


def send_whole(peer: Peer) -> Send:
    return peer.send


def send_dripping(peer: Peer) -> Send:
    return peer.drip


def http_proxy(
    reply: Callable[[Peer], Send] = send_whole,
    tunnel: Callable[[Peer], Send] = send_whole,
    *,
    tunnelled: list[bytes] | None = None,
    answer: bytes = b"HTTP/1.1 200 Connected\r\n\r\n",
) -> Handler:
    """Return a handler for CONNECT.

    Args:
        reply: How it sends its own reply: whole or dripping.
        tunnel: How it sends what comes from the server.
        tunnelled: A list that gets all that passes through the tunnel, in both directions.
        answer: Its reply. A tunnel follows only if it is HTTP 200.
    """

    def handle(peer: Peer) -> None:
        head = peer.receive()
        target = head.split()[1].decode()
        reply(peer)(answer)
        if answer.startswith(b"HTTP/1.1 200"):
            run_tunnel(peer, int(target.rpartition(":")[2]), tunnel(peer), tunnelled)

    return handle


def socks_proxy(  # noqa: PLR0913 — each is a property of the proxy
    reply: Callable[[Peer], Send] = send_whole,
    tunnel: Callable[[Peer], Send] = send_whole,
    *,
    tunnelled: list[bytes] | None = None,
    credentials: tuple[bytes, bytes] | None = None,
    code: int = 0,
    bound_address: bytes = b"\x01\x7f\x00\x00\x01",
) -> Handler:
    """Return a handler for SOCKS5.

    Args:
        reply: How it sends its own replies: whole or dripping.
        tunnel: How it sends what comes from the server.
        tunnelled: A list that gets all that passes through the tunnel, in both directions.
        credentials: The user name and password that it demands; None for neither.
        code: Its reply to the request to connect; 0 means that it has connected.
        bound_address: The type and the bytes of the address that it reports.
    """

    def handle(peer: Peer) -> None:
        send = reply(peer)
        version, count = peer._file.read(2)
        methods = peer._file.read(count)
        method = 0
        if credentials is not None:
            method = 2
        if version != 5 or method not in methods:
            send(b"\x05\xff")
            return
        send(bytes([5, method]))
        if credentials is not None:
            user = peer._file.read(peer._file.read(2)[1])
            password = peer._file.read(peer._file.read(1)[0])
            if (user, password) != credentials:
                send(b"\x01\x01")
                return
            send(b"\x01\x00")
        host, port = _read_target(peer)
        peer.server.requests.append(host)
        send(bytes([5, code, 0]) + bound_address + b"\x00\x50")
        if code == 0:
            run_tunnel(peer, port, tunnel(peer), tunnelled)

    return handle


def _read_target(peer: Peer) -> tuple[bytes, int]:
    _, _, _, address_type = peer._file.read(4)
    size = 4  # an IPv4 address
    if address_type == 3:
        size = peer._file.read(1)[0]
    elif address_type == 4:
        size = 16
    host = peer._file.read(size)
    return host, int.from_bytes(peer._file.read(2), "big")


def forwarder(port: int, send: Callable[[Peer], Send]) -> Handler:
    """Return a handler that leads to a port; `send` says how it sends what comes from there."""

    def handle(peer: Peer) -> None:
        run_tunnel(peer, port, send(peer))

    return handle


def run_tunnel(peer: Peer, port: int, send: Send, tunnelled: list[bytes] | None = None) -> None:
    """Carry bytes between a client and a port of this machine until either side has ended."""
    if tunnelled is None:
        tunnelled = []  # nobody reads it
    client = peer._socket
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)) as server:
        while not peer.server.is_over.is_set():
            if _has_data(client, server):
                data = client.recv(65536)
                if not data:
                    return
                tunnelled.append(data)
                server.sendall(data)
            if _has_data(server, client):
                data = server.recv(65536)
                if not data:
                    return
                tunnelled.append(data)
                send(data)


def _has_data(side: socket.socket, other: socket.socket) -> bool:
    """Return True if a side has sent something; wait a moment if neither has."""
    if isinstance(side, ssl.SSLSocket) and side.pending():
        return True
    with selectors.DefaultSelector() as selector:
        selector.register(side, selectors.EVENT_READ)
        selector.register(other, selectors.EVENT_READ)
        readable = [key.fileobj for key, _ in selector.select(0.05)]
    return side in readable
