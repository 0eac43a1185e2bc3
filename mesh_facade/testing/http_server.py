"""An HTTP/1.1 server on loopback: h11 reads and writes, asyncio moves the bytes.

The event loop runs in a thread of its own, so that the server works in any process, whether or
not that has an event loop itself. It is a `SelectorEventLoop` on each system, because the default
event loop of Windows lacks `add_reader`.
"""

import asyncio
import contextlib
import functools
import socket
import struct
import sys
from collections.abc import Callable, Sequence
from typing import TypeAlias

import h11
import httpx
from anyio.from_thread import BlockingPortal, start_blocking_portal

from mesh_facade.testing.answers import Answer, Failure

_NO_CONTENT = 204
_NOT_MODIFIED = 304
_READ_SIZE = 65536
_BACKLOG = 1024  # connections that may wait to be accepted
_ACCEPT_PAUSE = 0.1  # seconds to wait before accepting again after `accept` has failed
_DRAIN_SECONDS = 1.0  # seconds in which the rest of a refused request is read and dropped


def _linger_format() -> str:
    """Return the `struct` format of SO_LINGER's value, two integers: on or off, and seconds."""
    if sys.platform == "win32":  # pragma: no cover
        return "hh"
    return "ii"


_RESET_ON_CLOSE = struct.pack(_linger_format(), 1, 0)  # closing then resets the connection

Responder: TypeAlias = Callable[[httpx.Request], tuple[Answer, bytes]]
"""Returns the answer to a request, and the body to send.

The server ignores `Answer.body`, which is None if the body is the document's example.
"""


def response_headers(answer: Answer, body: bytes) -> httpx.Headers:
    """Return the headers to send; the answer's own replace the default ones of the same name."""
    headers = httpx.Headers({"Content-Type": "application/json"})
    if answer.status != _NO_CONTENT:  # HTTP forbids a length in such an answer
        headers["Content-Length"] = str(len(body))
    headers.update(answer.headers)
    return headers


def has_no_body(request: httpx.Request, status: int) -> bool:
    """Return True if HTTP forbids a body in the answer to this request."""
    return request.method == "HEAD" or status in {_NO_CONTENT, _NOT_MODIFIED}


class HTTPServer:
    """Listens on 127.0.0.1 from `start` to `stop`, and serves any number of clients at once."""

    def __init__(self, respond: Responder) -> None:
        self._respond = respond
        self._portal: BlockingPortal | None = None
        self._listener: socket.socket | None = None
        self._resources = contextlib.ExitStack()  # closing it stops the server
        self._serving_tasks: set[asyncio.Task[None]] = set()
        self._end_of_pause: asyncio.TimerHandle | None = None

    def start(self, port: int) -> str:
        """Listen on a port, 0 for a free one, and return the server's URL.

        Raises:
            OSError: The port is taken.
            RuntimeError: The server is already listening.
        """
        if self._portal is not None:
            raise RuntimeError(
                "this server has been started already: stop it before you start it again, or use "
                "another one"
            )
        with contextlib.ExitStack() as stack:
            listener = socket.create_server(("127.0.0.1", port), backlog=_BACKLOG)
            stack.enter_context(listener)
            listener.setblocking(False)  # noqa: FBT003 — the standard library's signature
            portal = stack.enter_context(
                start_blocking_portal("asyncio", {"loop_factory": asyncio.SelectorEventLoop})
            )
            portal.call(self._start_accepting, listener)
            stack.callback(portal.call, self._stop_accepting, listener)
            self._portal = portal
            self._listener = listener
            self._resources = stack.pop_all()
            _, port = listener.getsockname()
        return f"http://127.0.0.1:{port}"

    def stop(self) -> None:
        """Stop listening, drop all connections and end the thread."""
        self._portal = None
        self._listener = None
        self._resources.close()

    def drop_connections(self) -> None:
        """Drop all connections, answered or not, and go on listening."""
        if self._portal is not None and self._listener is not None:
            self._portal.call(self._drop_connections, self._listener)

    # `asyncio.start_server` would be shorter. But closing its server leaves open the connections
    # that it has accepted but not yet begun to serve.

    async def _start_accepting(self, listener: socket.socket) -> None:
        asyncio.get_running_loop().add_reader(listener, self._accept, listener)

    async def _stop_accepting(self, listener: socket.socket) -> None:
        asyncio.get_running_loop().remove_reader(listener)
        if self._end_of_pause is not None:
            self._end_of_pause.cancel()
        await self._cancel_connections()

    def _accept(self, listener: socket.socket) -> None:
        try:
            connection, _ = listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return  # the client has left again
        except OSError:
            self._pause_accepting(listener)
            return
        task = asyncio.get_running_loop().create_task(self._serve(connection))
        self._serving_tasks.add(task)
        task.add_done_callback(functools.partial(self._forget, connection))

    def _pause_accepting(self, listener: socket.socket) -> None:
        """Stop accepting for a moment, because the process has too many files open, for example.

        The connection goes on waiting. Without a pause, the event loop would call `_accept` again
        and again meanwhile.
        """
        loop = asyncio.get_running_loop()
        loop.remove_reader(listener)
        self._end_of_pause = loop.call_later(
            _ACCEPT_PAUSE, loop.add_reader, listener, self._accept, listener
        )

    def _forget(self, connection: socket.socket, task: asyncio.Task[None]) -> None:
        self._serving_tasks.discard(task)
        connection.close()  # if the task was cancelled before it began, nobody else does

    async def _drop_connections(self, listener: socket.socket) -> None:
        """Drop the accepted connections, and those that wait to be accepted.

        A killed program may have left a request on a waiting connection. If the server accepted
        that connection later, it would answer and record the old request.
        """
        self._drop_waiting(listener)
        await self._cancel_connections()
        self._drop_waiting(listener)  # now there are descriptors for them, if there were none

    def _drop_waiting(self, listener: socket.socket) -> None:
        """Drop the connections that wait to be accepted."""
        while True:
            try:
                connection, _ = listener.accept()
            except ConnectionError:  # pragma: no cover — macOS and Windows: the client has left
                continue
            except OSError:
                return  # usually BlockingIOError: no connection is waiting
            connection.close()

    async def _cancel_connections(self) -> None:
        tasks = list(self._serving_tasks)
        if tasks:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    async def _serve(self, connection: socket.socket) -> None:
        reader, writer = await asyncio.open_connection(sock=connection)
        try:
            await _Connection(reader, writer, self._respond).serve()
            writer.close()
            await writer.wait_closed()
        except OSError:
            pass  # the client has gone, perhaps before it read the whole answer
        finally:
            writer.transport.abort()


class _Connection:
    """One client's connection: it may carry any number of requests, one after the other."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, respond: Responder
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._respond = respond
        self._http = h11.Connection(h11.SERVER)
        self._method = ""  # of the request that is being read, once its head has been read

    async def serve(self) -> None:
        """Answer requests until one side wants to close."""
        is_kept_alive = True
        while is_kept_alive:
            try:
                request = await self._receive_request()
            except h11.RemoteProtocolError as error:
                await self._refuse(error)
                return
            if request is None:
                return
            answer, body = self._respond(request)
            await asyncio.sleep(answer.delay)
            if answer.failure is not None:
                await self._fail(answer, body)
                return
            await self._send_answer(answer, body)
            # HTTP/1.0 and `Connection: close` leave h11 in MUST_CLOSE instead.
            is_kept_alive = self._http.our_state is h11.DONE
            if is_kept_alive:
                self._http.start_next_cycle()

    async def _receive_request(self) -> httpx.Request | None:
        """Wait for a request and return it; None if the client has closed the connection."""
        self._method = ""
        head = await self._next_event()
        if not isinstance(head, h11.Request):
            return None
        self._method = head.method.decode("ascii")
        body = bytearray()
        while True:
            event = await self._next_event()
            if not isinstance(event, h11.Data):
                break
            body += event.data
        request = httpx.Request(
            self._method,
            self._read_target(head.target.decode("ascii")),
            headers=list(head.headers),
            stream=httpx.ByteStream(bytes(body)),
        )
        request.read()
        return request

    async def _next_event(self) -> h11.Event:
        while True:
            event = self._http.next_event()
            if isinstance(event, h11.Event):
                return event
            # It is h11.NEED_DATA. (The only other value, h11.PAUSED, comes only between the end of
            # a request and `start_next_cycle`, where this is not called.)
            if self._http.they_are_waiting_for_100_continue:
                await self._send([h11.InformationalResponse(status_code=100, headers=[])])
            self._http.receive_data(await self._reader.read(_READ_SIZE))

    def _read_target(self, target: str) -> httpx.URL:
        """Return the URL of a request; `target` is a path, or a whole URL as proxies get it.

        Raises:
            h11.RemoteProtocolError: It is not a URL.
        """
        _, port = self._writer.get_extra_info("sockname")
        origin = f"http://127.0.0.1:{port}"
        try:
            if target.startswith("/"):
                return httpx.URL(origin + target)
            return httpx.URL(origin).join(target)
        except httpx.InvalidURL as error:
            raise h11.RemoteProtocolError(f"the request's target is not a URL: {error}") from None

    async def _refuse(self, error: h11.RemoteProtocolError) -> None:
        """Answer a malformed request with what is wrong, and let the client read the answer."""
        message = f"{error}\n".encode()
        head = h11.Response(
            status_code=error.error_status_hint,
            headers=[
                ("Content-Type", "text/plain"),
                ("Content-Length", str(len(message))),
                ("Connection", "close"),
            ],
        )
        if self._method == "HEAD":  # HTTP forbids a body in the answer
            await self._send([head, h11.EndOfMessage()])
        else:
            await self._send([head, h11.Data(data=message), h11.EndOfMessage()])
        # Closing while the client still sends would reset the connection and lose the answer.
        self._writer.write_eof()
        try:
            async with asyncio.timeout(_DRAIN_SECONDS):
                while await self._reader.read(_READ_SIZE):
                    pass
        except TimeoutError:
            pass  # the client has had time to read the answer

    async def _send_answer(self, answer: Answer, body: bytes) -> None:
        head = _head(answer, response_headers(answer, body))
        if answer.byte_interval:
            await self._send([head])
            for byte in body:
                await asyncio.sleep(answer.byte_interval)
                await self._send([h11.Data(data=bytes([byte]))])
            await self._send([h11.EndOfMessage()])
        elif body:
            await self._send([head, h11.Data(data=body), h11.EndOfMessage()])
        else:
            await self._send([head, h11.EndOfMessage()])

    async def _fail(self, answer: Answer, body: bytes) -> None:
        """Prepare a failure, which is complete when `HTTPServer._serve` closes the connection.

        For a reset, tell the system to reset the connection when it is closed. For a truncated
        answer, send its first half.
        """
        if answer.failure is Failure.RESET:
            connection: socket.socket = self._writer.get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        elif answer.failure is Failure.TRUNCATED:
            headers = response_headers(answer, body)
            # One byte more than the body has, so that even an empty body is cut short.
            headers["Content-Length"] = str(len(body) + 1)
            half = body[: len(body) // 2]
            await self._send([_head(answer, headers), h11.Data(data=half)])

    async def _send(self, events: Sequence[h11.Event]) -> None:
        data = [self._http.send(event) or b"" for event in events]
        # One write, because a small second one would be held back until the client has acknowledged
        # the first (Nagle's algorithm).
        self._writer.write(b"".join(data))
        await self._writer.drain()


def _head(answer: Answer, headers: httpx.Headers) -> h11.Response:
    return h11.Response(
        status_code=answer.status,
        reason=httpx.codes.get_reason_phrase(answer.status).encode(),
        headers=headers.raw,
    )
