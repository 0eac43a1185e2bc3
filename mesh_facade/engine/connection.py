"""What the pool and the engine know of a connection, and what all connections have in common.

httpx's own connections do not suffice. Its timeouts bound one wait, so a server that sends a byte a
second holds a call for as long as it likes. And httpx does not check whether anything came in after
the end of an answer: it takes that for the next answer. Here each wait gets what is left of the
call's deadline, and a connection is used again only if its last answer ended with the last byte
that came in.

`thread_connection` and `task_connection` show how threads and tasks open and use one. See
`mesh_facade/engine/__init__.py` for who ends a call at its deadline, and for what happens to the
connection of a cancelled call.
"""

import contextlib
import math
import re
import time
from collections.abc import Generator
from typing import TYPE_CHECKING

import httpcore
import httpx

from mesh_facade.engine.proxies import is_socks
from mesh_facade.engine.socks import SOCKS_PORT

if TYPE_CHECKING:
    from mesh_facade.engine.pool import Home

MOST_BYTES_KEPT = 64 * 1024
"""Bytes of an answer that are kept for the check of its end.

The connection of a larger answer is closed.
"""
MOST_BYTES_WRITTEN = 4 * 1024
"""Bytes that a thread writes at a time.

If the system takes only part of a write, httpcore begins the timeout anew for the rest. A piece as
small as this is normally taken whole, so that one timeout bounds it.
"""

# How the head and the chunks of an answer end. In the head, h11 accepts bare line feeds too.
_ANSWER_HEAD_END = re.compile(rb"\n\r?\n")
_ANSWER_LAST_CHUNK = b"\r\n0\r\n\r\n"
_STATUSES_WITHOUT_CONTENT = {204, 304}
# How the head and the chunks of a request end, as h11 writes them.
_REQUEST_HEAD_END = b"\r\n\r\n"
_REQUEST_LAST_CHUNK = b"0\r\n\r\n"


class Connection:
    """One connection, and what is known of it.

    Attributes:
        home: The slots and idle connections of its process or event loop, which it returns to
            after a call; set by the pool.
        deadline_at: When the call that uses it must end, as `time.monotonic()` counts.
        heeds_deadline: Whether its own waits end at the deadline.
        has_begun_opening: Whether a call has ever begun to open it. The opening may have failed,
            and the connection may be closed by now.
        is_reused: Whether an earlier attempt has used it.
        is_clean: Whether another call may use it: the answer was read to its end, and its last byte
            is the last that came in. The engine sets it to False before it sends a request.
        idle_since: When it was last given back to the pool.
        cause_of_failed_opening: What made the last step of opening it fail, where that is known;
            None if it was opened. It is kept here because httpcore's proxies drop the causes of
            their errors.
    """

    home: "Home"
    heeds_deadline = True

    def __init__(self) -> None:
        self.deadline_at = math.inf
        self.has_begun_opening = False
        self.is_reused = False
        self.is_clean = False
        self.idle_since = 0.0
        self.cause_of_failed_opening: BaseException | None = None
        self._received = bytearray()

    @property
    def is_nested(self) -> bool:
        """Whether it is TLS within TLS. Then it is never used again.

        Bytes that come in after an answer could go unnoticed. A thread checks only the socket, so
        it misses what either TLS holds in memory. A task checks the socket and the inner TLS, to
        the server, but not the outer TLS, to the proxy. (With one TLS, a thread misses nothing:
        each read takes a whole record, and OpenSSL does not read beyond it.)
        """
        return False

    @property
    def has_received(self) -> bool:
        """Whether anything of an answer has come in since it was lent."""
        return bool(self._received)

    def lend_to_call(self, deadline_at: float, home: "Home") -> None:
        """Lend it to a call, for one attempt: set the deadline, and forget what came in before."""
        self.deadline_at = deadline_at
        self.home = home
        self.is_reused = self.has_begun_opening
        self._received.clear()

    def send(self, request: httpx.Request) -> httpx.Response:
        """Send a request, and return the answer; its body is read later.

        Raises:
            httpx.RequestError: No answer came.
            NotImplementedError: This is a connection for tasks.
        """
        raise NotImplementedError

    async def send_async(self, request: httpx.Request) -> httpx.Response:
        """Do as `send`, in a task; a connection for threads raises NotImplementedError."""
        raise NotImplementedError

    def has_unread_data(self) -> bool:
        """Return True if anything came in since the last answer, or if either side has closed it.

        Raises:
            httpcore.ConnectError: It was never opened.
        """
        return False

    def close(self) -> None:
        """Close it; never raises."""

    def record_cleanliness(self, response: httpx.Response, content_size: int) -> None:
        """Set `is_clean` if the answer's last byte is the last byte that came in.

        If more bytes might follow, the connection is not used again: the next call, perhaps another
        user's, would take them for its answer.

        Args:
            response: The answer; its content was read.
            content_size: How many bytes of content the HTTP library took from the connection. It
                takes none after the head of a 204 or a 304, whatever Content-Length says, and keeps
                what follows for the next answer.

        After an answer with `Connection: close`, httpcore has closed the connection already. It
        may get `is_clean` all the same: `Home.take` finds it closed, and does not lend it.
        """
        if self.is_nested:
            return
        if response.status_code in _STATUSES_WITHOUT_CONTENT:
            return  # anything that came in after the head was not read
        if len(self._received) > MOST_BYTES_KEPT:
            return  # the end was not kept
        end_of_head = _ANSWER_HEAD_END.search(self._received)
        if end_of_head is None:
            return  # nothing was kept: this is a caller's transport
        body = self._received[end_of_head.end() :]
        lengths = response.headers.get_list("content-length")
        if "transfer-encoding" not in response.headers:
            self.is_clean = lengths == [str(len(body))] and content_size == len(body)
        elif not lengths:  # with both headers, it would be doubtful where the answer ends
            # A further answer could end in a last chunk as well, but it would begin with HTTP/.
            self.is_clean = body.endswith(_ANSWER_LAST_CHUNK) and b"HTTP/" not in body

    @contextlib.contextmanager
    def recording_cause(self) -> Generator[None]:
        """Surround a step of opening: if it raises, record the cause of the exception.

        A cause that was recorded before is dropped. It explains an earlier step, such as an address
        that refused, and not this one.
        """
        self.cause_of_failed_opening = None
        try:
            yield
        except Exception as error:
            self.cause_of_failed_opening = error.__cause__
            raise

    def _time_left(self, timeout: float | None) -> float:
        """Return the seconds that a wait may take: its timeout, or less if the deadline is near.

        Zero or less means that the deadline has passed.
        """
        left = self.deadline_at - time.monotonic()
        if timeout is None:
            return left
        return min(left, timeout)

    def _keep(self, data: bytes) -> None:
        """Keep what came in, for the check of the answer's end."""
        if len(self._received) <= MOST_BYTES_KEPT:
            self._received += data


class TransportAdapter(Connection):
    """A transport of the caller's own, in the place of a connection of ours.

    The connections behind it are the transport's own matter. So this never becomes `is_clean`, the
    pool never keeps it, and `close` does nothing.
    """

    heeds_deadline = False


class ThreadTransportAdapter(TransportAdapter):
    """A caller's transport for threads."""

    def __init__(self, transport: httpx.BaseTransport) -> None:
        super().__init__()
        self._transport = transport

    def send(self, request: httpx.Request) -> httpx.Response:
        return self._transport.handle_request(request)


class TaskTransportAdapter(TransportAdapter):
    """A caller's transport for tasks."""

    def __init__(self, transport: httpx.AsyncBaseTransport) -> None:
        super().__init__()
        self._transport = transport

    async def send_async(self, request: httpx.Request) -> httpx.Response:
        return await self._transport.handle_async_request(request)


class HeadJoiner:
    """Holds a request's head back until its body is written too: one write takes half the time."""

    def __init__(self) -> None:
        self._head = b""

    def feed(self, data: bytes) -> bytes:
        """Take what httpcore writes, and return what to write now.

        For a head: nothing. For the body: head and body together. (httpcore writes the whole head
        at once, and the body next.) If there is no body, httpcore writes `b""` next, and that
        releases the head.
        """
        # A piece of a body may end in a blank line too. It is held back until httpcore writes the
        # next piece or the end of the message. The last chunk also ends in a blank line, but it is
        # never held back, because nothing comes after it.
        if data.endswith(_REQUEST_HEAD_END) and data != _REQUEST_LAST_CHUNK:
            self._head += data
            return b""
        joined = self._head + data
        self._head = b""
        return joined


class SocketConnection(Connection):
    """A connection of our own: what is the same for threads and for tasks.

    httpcore asks for two things: a network backend, which opens connections, and a stream, which
    sends and receives on one. Each of the two subclasses is both, for its one connection.
    """

    def __init__(self, proxy: httpx.Proxy | None) -> None:
        super().__init__()
        self._socks_proxy: httpx.Proxy | None = None
        if is_socks(proxy):
            self._socks_proxy = proxy
        self._head_joiner = HeadJoiner()

    def _begin_opening(self) -> None:
        """Record that opening has begun.

        Raises:
            httpcore.ConnectError: It had begun before. Without this error, httpcore's classes for
                proxies would open another connection in place of one that they find closed, and
                the pool would not know of it.
        """
        if self.has_begun_opening:
            raise httpcore.ConnectError("the connection was closed")
        self.has_begun_opening = True

    def _first_hop(self, host: str, port: int) -> tuple[str, int]:
        """Return the host and port to connect to: those of the SOCKS proxy, if there is one."""
        if self._socks_proxy is None:
            return host, port
        url = self._socks_proxy.url
        # Not `url.host`, which httpx decodes: a look-up would encode it again, by other rules.
        return url.raw_host.decode("ascii"), url.port or SOCKS_PORT


def format_address(address: tuple[object, ...]) -> str:
    """Return an address that `getaddrinfo` has returned, without the port, as text.

    An IPv6 address that is valid on one network only, such as fe80::1, gets the number of the
    interface to that network: fe80::1%2.
    """
    host = str(address[0])
    if len(address) == 4 and address[3] != 0:  # noqa: PLR2004 — host, port, flow and interface
        return f"{host}%{address[3]}"
    return host
