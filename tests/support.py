"""What the facade's tests share: answers, a transport and a server that are told what to do."""

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
    members = [f'"balances": [{", ".join(rows)}]', *(f'"{k}": {v}' for k, v in totals.items())]
    return f'{{"status": "ok", "content": {{{", ".join(members)}}}}}'.encode()


def cash_body(amount: str) -> bytes:
    return balance_body(f'{{"currencyCode": "USD", "cash": {amount}}}')


def read(body: bytes) -> AccountBalance:
    """Return what a client makes of an answer with this body."""
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
    """Gives its answers in turn, and then the last one for ever; an exception is raised."""

    def __init__(self, *answers: bytes | httpx.Response | BaseException) -> None:
        super().__init__(self._respond)
        self._answers = deque(answers or (OK,))
        self.requests: list[Sent] = []

    def _respond(self, request: httpx.Request) -> httpx.Response:
        headers = httpx.Headers(request.headers)
        sent = Sent(request.method, request.url, headers, json.loads(request.content or "null"))
        self.requests.append(sent)
        answer = self._answers[0] if len(self._answers) == 1 else self._answers.popleft()
        if isinstance(answer, BaseException):
            raise answer
        return answer if isinstance(answer, httpx.Response) else response(body=answer)


def response(
    status: int = 200,
    body: bytes = OK,
    headers: Mapping[str, str] | list[tuple[str, str]] | None = None,
) -> httpx.Response:
    return httpx.Response(status, headers=headers, stream=httpx.ByteStream(body))


def threads_begun_since(before: set[threading.Thread]) -> set[threading.Thread]:
    """Return the threads that run now and did not before; those of other tests may have ended."""
    return set(threading.enumerate()) - before


# --- on loopback --------------------------------------------------------------------------------


class Peer:
    """The server's end of a connection; `number` counts the connections from 0."""

    def __init__(self, server: Server, connection: socket.socket, number: int) -> None:
        self.server = server
        self.number = number
        self.last = b""
        self.is_open = True
        self._socket = connection
        self._file = connection.makefile("rb")

    def receive(self, seconds: float | None = None) -> bytes:
        """Return the next request's head; EOFError where the client has closed."""
        self._socket.settimeout(seconds)
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            line = self._file.readline()
            if not line:
                raise EOFError
            head += line
        pairs = [line.partition(b":") for line in head.lower().splitlines()]
        lengths = [int(value) for name, _, value in pairs if name == b"content-length"]
        self.last = head + self._file.read(sum(lengths))
        self.server.requests.append(self.last)
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
        """Send a byte at a time, 20 a second, until the client has had enough."""
        for byte in data:
            self.send(bytes([byte]))
            self.server.is_over.wait(0.05)

    def hold(self) -> None:
        """Say nothing until the client closes."""
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
    """Write an HTTP/1.1 answer, framed by its length."""
    head = [f"HTTP/1.1 {status} Said", f"Content-Length: {len(body)}", *lines, "", ""]
    return "\r\n".join(head).encode() + body


@contextlib.contextmanager
def refusing_port() -> Generator[int]:
    """Yield a port on loopback that refuses connections: it is taken, and nobody listens on it."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


def port_for_a_program() -> int:
    """Return a free port on loopback for a program that must be told its port.

    It is below the ports that the system gives to others that ask for any port, so none of them
    takes it before the program does.
    """
    while True:
        port = 20_000 + secrets.randbelow(10_000)  # pytest-randomly repeats the numbers of `random`
        with contextlib.suppress(OSError):  # it is in use
            socket.create_server(("127.0.0.1", port)).close()
            return port


@contextlib.contextmanager
def silent_port() -> Generator[int]:
    """Yield a port on loopback where a connection is neither accepted nor refused."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):  # they fill the queue
            client = stack.enter_context(socket.socket())
            client.settimeout(0)
            client.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


class Server:
    """A server on loopback that runs `handle` for each connection, in a thread of its own."""

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
        # It ends the thread that accepts. Not every system can shut down a socket that listens.
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
            pass
        for peer in self._peers:
            peer.hang_up()
        for thread in self._threads:
            thread.join(5)
        self._listener.close()

    def wait_until_open(self, count: int) -> None:
        """Wait until so many connections are open, no more and no fewer."""
        limit = time.monotonic() + 5
        while sum(peer.is_open for peer in self._peers) != count:
            assert time.monotonic() < limit
            time.sleep(0.005)

    def _start(self, run: Callable[..., None], *arguments: Any) -> None:
        thread = threading.Thread(target=run, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # the test has closed it
            while True:
                connection, _ = self._listener.accept()
                if self.is_over.is_set():
                    connection.close()
                    return
                self.connections += 1
                self._start(self._converse, connection, self.connections - 1)

    def _converse(self, connection: socket.socket, number: int) -> None:
        with contextlib.closing(connection), contextlib.suppress(OSError, EOFError):
            if self._tls:
                connection = self._tls.wrap_socket(connection, server_side=True)
            peer = Peer(self, connection, number)
            self._peers.append(peer)
            with contextlib.closing(peer):
                self._handle(peer)
