"""What the facade's tests share: answers, and a transport and a server that give them."""

from __future__ import annotations

import contextlib
import json
import secrets
import socket
import struct
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Self

import attrs
import httpx

from mesh_facade import AccountBalance, MeshClient
from tests.faults.server import fill_backlog

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Generator, Mapping

CLIENT_ID = "client-id/canary+0001"
CLIENT_SECRET = "client-secret/canary+0002???>>>"  # its base64 has a + and a /
TOKEN = 'auth-token/"canary" +0003'
KEYS: dict[str, Any] = {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}

OK = (
    b'{"status": "ok", "content": {"balances": [{"currencyCode": "USD", "cash": 158.5, '
    b'"buyingPower": 258.5}], "totalCashUsdValue": 10, "totalBuyingPowerUsdValue": 10}}'
)


def envelope(status: str = "ok", **fields: Any) -> bytes:
    return json.dumps({"status": status, **fields}).encode()


def balance_body(*rows: str, **totals: str) -> bytes:
    """Write an accepted envelope; rows and totals are JSON text, so that no digit is lost."""
    fields = ['"balances": [' + ", ".join(rows) + "]"]
    for name, number in totals.items():
        fields.append(f'"{name}": {number}')
    content = "{" + ", ".join(fields) + "}"
    return f'{{"status": "ok", "content": {content}}}'.encode()


def cash_body(amount: str) -> bytes:
    return balance_body(f'{{"currencyCode": "USD", "cash": {amount}}}')


def read(body: bytes) -> AccountBalance:
    """Return the balance that a client reads from an answer with this body."""
    with MeshClient(**KEYS, transport=Script(body)) as mesh:
        return mesh.get_account_balance(TOKEN, "coinbase")


# --- in process ---------------------------------------------------------------------------------


@attrs.frozen
class Sent:
    """A request, as it was when it was sent."""

    method: str
    url: httpx.URL
    headers: httpx.Headers
    fields: Any


class Script(httpx.MockTransport):
    """Gives its answers in turn, and then the last one for ever.

    An answer is a body, a response, or an exception that the transport raises.
    """

    def __init__(self, *answers: bytes | httpx.Response | BaseException) -> None:
        super().__init__(self._respond)
        self._answers = deque(answers or (OK,))
        self.requests: list[Sent] = []

    def _respond(self, request: httpx.Request) -> httpx.Response:
        headers = httpx.Headers(request.headers)
        sent = Sent(request.method, request.url, headers, json.loads(request.content or "null"))
        self.requests.append(sent)
        answer = self._answers[0]
        if len(self._answers) > 1:
            self._answers.popleft()
        if isinstance(answer, BaseException):
            raise answer
        if isinstance(answer, httpx.Response):
            return answer
        return response(body=answer)


def response(
    status: int = 200,
    body: bytes = OK,
    headers: Mapping[str, str] | list[tuple[str, str]] | None = None,
) -> httpx.Response:
    return httpx.Response(status, headers=headers, stream=httpx.ByteStream(body))


def threads_begun_since(before: set[threading.Thread]) -> set[threading.Thread]:
    """Return the threads that run now but are not in `before`.

    Threads that earlier tests left behind may have ended since, so their number tells nothing.
    """
    return set(threading.enumerate()) - before


# --- on loopback --------------------------------------------------------------------------------


class Peer:
    """The server's end of a connection.

    Attributes:
        server: The server.
        number: How many connections the server had accepted before this one.
        last_request: The last request, with its body.
        is_open: Whether the server has left the connection open.
    """

    def __init__(self, server: Server, connection: socket.socket, number: int) -> None:
        self.server = server
        self.number = number
        self.last_request = b""
        self.is_open = True
        self._socket = connection
        self._file = connection.makefile("rb")

    def receive(self, seconds: float | None = None) -> bytes:
        """Read the next request, and return its head.

        Raises:
            EOFError: The client has closed the connection.
            TimeoutError: Nothing came for so many seconds.
        """
        self._socket.settimeout(seconds)
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            line = self._file.readline()
            if not line:
                raise EOFError
            head += line
        body_length = 0
        for line in head.lower().splitlines():
            name, _, value = line.partition(b":")
            if name == b"content-length":
                body_length = int(value)
        self.last_request = head + self._file.read(body_length)
        self.server.requests.append(self.last_request)
        return head

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def answer(self, body: bytes = OK, *lines: str, status: int = 200) -> None:
        self.send(message(body, *lines, status=status))

    def answer_all(self) -> None:
        """Answer each request, for as long as the client keeps the connection."""
        while True:
            self.receive()
            self.answer()

    def drip(self, data: bytes) -> None:
        """Send a byte at a time, 20 a second; faster once the server is being closed.

        Raises:
            OSError: The client has closed the connection.
        """
        for byte in data:
            self.send(bytes([byte]))
            self.server.is_over.wait(0.05)

    def hold(self) -> None:
        """Send nothing until the client closes the connection."""
        self._file.read()

    def reset(self) -> None:
        """Close the connection in a way that the client sees as a reset."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._file.close()
        self._socket.close()

    def hang_up(self) -> None:
        with contextlib.suppress(OSError):  # it was closed before
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.is_open = False
        self.hang_up()
        self._file.close()
        self._socket.close()


def message(body: bytes = OK, *lines: str, status: int = 200) -> bytes:
    """Return an HTTP/1.1 answer with the length of its body, as it goes over the wire."""
    head = [f"HTTP/1.1 {status} Said", f"Content-Length: {len(body)}", *lines, "", ""]
    return "\r\n".join(head).encode() + body


@contextlib.contextmanager
def refusing_port() -> Generator[int]:
    """Yield a port on loopback that refuses connections: it is taken, and nobody listens on it."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


def port_for_a_program() -> int:
    """Return a free port on loopback, for a program that takes its port as an argument.

    Sockets that ask the system for any port get a higher one, so none of them takes this port
    before the program does.
    """
    while True:
        port = 20_000 + secrets.randbelow(10_000)  # pytest-randomly repeats the numbers of `random`
        try:
            probe = socket.create_server(("127.0.0.1", port))
        except OSError:  # the port is in use
            continue
        probe.close()
        return port


@contextlib.contextmanager
def silent_port() -> Generator[int]:
    """Yield a port on loopback where a connection is neither accepted nor refused."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        port = listener.getsockname()[1]
        for filler in fill_backlog(port):
            stack.enter_context(filler)
        yield port


class Server:
    """A server on loopback that runs `handle` for each connection, in a thread of its own.

    Attributes:
        port: The port that it listens on.
        url: Its base URL.
        connections: How many connections it has accepted.
        requests: All requests that its handlers have received, with their bodies.
        is_over: Set when the test is done with the server; handlers that wait should end then.
    """

    def __init__(
        self, handle: Callable[[Peer], object] = Peer.answer_all, tls: ssl.SSLContext | None = None
    ) -> None:
        self._handle = handle
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._threads: list[threading.Thread] = []
        self._peers: list[Peer] = []
        self.port: int = self._listener.getsockname()[1]
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
        self.connections = 0
        self.requests: list[bytes] = []
        self.is_over = threading.Event()

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self.is_over.set()
        # This connection wakes the thread that waits in `accept`, and that thread then ends. Not
        # every system can shut down a listening socket instead.
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
            pass
        for peer in self._peers:
            peer.hang_up()
        for thread in self._threads:
            thread.join(5)
        self._listener.close()

    def wait_until_open(self, count: int) -> None:
        """Wait until exactly `count` connections are open."""
        deadline = time.monotonic() + 5
        while sum(peer.is_open for peer in self._peers) != count:
            assert time.monotonic() < deadline
            time.sleep(0.005)

    def _start(self, run: Callable[..., None], *arguments: Any) -> None:
        thread = threading.Thread(target=run, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            if self.is_over.is_set():
                connection.close()
                return
            self.connections += 1
            self._start(self._serve, connection, self.connections - 1)

    def _serve(self, connection: socket.socket, number: int) -> None:
        # A handler may read or write until the client closes, which ends it with an error.
        with contextlib.closing(connection), contextlib.suppress(OSError, EOFError):
            if self._tls:
                connection = self._tls.wrap_socket(connection, server_side=True)
            peer = Peer(self, connection, number)
            self._peers.append(peer)
            with contextlib.closing(peer):
                self._handle(peer)
