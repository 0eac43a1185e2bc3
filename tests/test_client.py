"""A call: what is sent, what bounds it, what is kept from it, and what the next one gets."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import gc
import gzip
import json
import os
import platform
import random
import socket
import ssl
import sys
import threading
import time
import zlib
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import trustme

from mesh_facade import (
    AsyncMeshClient,
    BrokerType,
    MeshClient,
    MeshConnectionError,
    MeshError,
    MeshResponseError,
    MeshTimeoutError,
    MeshTLSError,
    ServerError,
    __version__,
)
from mesh_facade.engine.waiting import ThreadSlots, run_blocking
from tests.support import (
    CLIENT_SECRET,
    KEYS,
    OK,
    TOKEN,
    Peer,
    Script,
    cash_body,
    message,
    response,
    silent_port,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from tests.conftest import Caller, Clock, Mode, Serve

LIMIT = 1024 * 1024


# --- what is sent -------------------------------------------------------------------------------


def test_a_call_sends_one_request_with_token_and_broker(mode: Mode) -> None:
    script = Script(OK)

    balance = mode.client(transport=script).read(TOKEN, "coinbase")

    [sent] = script.requests
    assert (sent.method, sent.fields) == ("POST", {"authToken": TOKEN, "type": "coinbase"})
    assert sent.headers["Content-Type"] == "application/json"
    assert sent.headers["Accept"] == "application/json"
    assert sent.headers["Accept-Encoding"] == "gzip"
    assert sent.headers["User-Agent"] == (
        f"mesh-facade/{__version__} python/{platform.python_version()} httpx/{httpx.__version__}"
    )
    assert str(balance.cash("USD")) == "158.5"


@pytest.mark.parametrize("broker", [BrokerType.COINBASE, BrokerType.COINBASE.value])
def test_a_broker_is_a_member_or_its_value(mode: Mode, broker: Any) -> None:
    script = Script(OK)

    mode.client(transport=script).read(TOKEN, broker)

    assert script.requests[0].fields["type"] == BrokerType.COINBASE.value


@pytest.mark.parametrize("broker", ["brokerOfTomorrow", "Kraken OAuth", "ß🏦"])
def test_a_broker_that_no_list_knows_is_sent_as_it_is(mode: Mode, broker: str) -> None:
    script = Script(OK)

    mode.client(transport=script).read("tökén 🔑", broker)

    assert script.requests[0].fields == {"authToken": "tökén 🔑", "type": broker}


@pytest.mark.parametrize("name", ["auth_token", "broker"])
@pytest.mark.parametrize(
    ("value", "error_class", "problem"),
    [
        ("", ValueError, "is empty"),
        (" \t\n", ValueError, "is empty"),
        ("canary\ud800", ValueError, "is not Unicode text"),
        (None, TypeError, "must be a string, not NoneType"),
        (5, TypeError, "must be a string, not int"),
        (b"canary", TypeError, "must be a string, not bytes"),
        (["canary"], TypeError, "must be a string, not list"),
    ],
)
def test_an_argument_that_cannot_be_sent_is_refused_before_anything_is(
    mode: Mode, name: str, value: Any, error_class: type[Exception], problem: str
) -> None:
    script = Script(OK)
    arguments = {"auth_token": TOKEN, "broker": "coinbase", name: value}

    with pytest.raises(error_class, match=f"^{name} {problem}") as caught:
        mode.client(transport=script).read(**arguments)

    assert "canary" not in str(caught.value)
    assert script.requests == []


def test_arguments_may_be_given_by_name(mode: Mode) -> None:
    client = mode.client(transport=Script(OK)).client

    assert mode.run(client.get_account_balance(auth_token=TOKEN, broker="coinbase"))


# --- connections --------------------------------------------------------------------------------


def test_calls_in_turn_use_one_connection(mode: Mode, serve: Serve) -> None:
    server = serve()
    caller = mode.client(base_url=server.url)

    for _ in range(5):
        caller.read()
    caller.with_options(timeout=5).read()

    assert (server.connections, len(server.requests)) == (1, 6)


def test_a_connection_is_used_again_after_a_refusal_that_was_read_whole(
    mode: Mode, serve: Serve
) -> None:
    def refuse_then_answer(peer: Peer) -> None:
        peer.receive()
        peer.answer(b"<html>", status=403)
        peer.answer_all()

    server = serve(refuse_then_answer)
    caller = mode.client(base_url=server.url)

    with pytest.raises(MeshError):
        caller.read()
    assert caller.read()
    assert server.connections == 1


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x;a=b\r\n%b\r\n0\r\n%b\r\n"


@pytest.mark.parametrize(
    ("answer", "connections"),
    {
        "by length": (message(), 1),
        "by chunks": (CHUNKED % (len(OK), OK, b""), 1),
        "by chunks with trailers": (CHUNKED % (len(OK), OK, b"A: b\r\n"), 3),
        "announced closing": (message(OK, "Connection: close"), 3),
        "after an interim answer": (b"HTTP/1.1 103 Early\r\nA: b\r\n\r\n" + message(), 3),
        "with another answer behind it": (message() + message(cash_body("666")), 3),
        "with a stray line behind it": (message() + b"\r\n", 3),
        "by chunks with another answer": (CHUNKED % (len(OK), OK, b"") + message(), 3),
    }.values(),
    ids=str,
)
def test_a_connection_is_kept_only_where_its_answer_ended_with_its_last_byte(
    mode: Mode, serve: Serve, answer: bytes, connections: int
) -> None:
    def answer_all(peer: Peer) -> None:
        while True:
            peer.receive()
            peer.send(answer)

    server = serve(answer_all)
    caller = mode.client(base_url=server.url)

    for _ in range(3):
        assert str(caller.read().cash("USD")) == "158.5"

    assert server.connections == connections


def test_an_answer_that_is_framed_by_the_end_of_the_connection_is_read(
    mode: Mode, serve: Serve
) -> None:
    def answer_and_close(peer: Peer) -> None:
        peer.receive()
        peer.send(b"HTTP/1.1 200 OK\r\n\r\n" + OK)

    server = serve(answer_and_close)
    caller = mode.client(base_url=server.url)

    assert caller.read() == caller.read()
    assert server.connections == 2


def test_an_answer_that_comes_while_nobody_asks_is_never_the_next_calls(
    mode: Mode, serve: Serve
) -> None:
    sent = threading.Event()

    def answer_twice(peer: Peer) -> None:
        peer.receive()
        peer.answer(cash_body(str(peer.number)))
        asked.wait(5)
        peer.answer(cash_body("666"))
        sent.set()
        peer.answer_all()

    asked = threading.Event()
    server = serve(answer_twice)
    caller = mode.client(base_url=server.url)

    assert caller.read().cash("USD") == 0
    asked.set()
    sent.wait(5)

    assert caller.read().cash("USD") == 1
    assert server.connections == 2


@pytest.mark.parametrize("end", [Peer.close, Peer.reset])
def test_a_kept_connection_that_the_server_had_closed_costs_one_free_try(
    mode: Mode, serve: Serve, clock: Clock, end: Callable[[Peer], None]
) -> None:
    def answer_once(peer: Peer) -> None:
        peer.receive()
        peer.answer()
        peer.receive()  # it had decided to close when this came in
        end(peer)

    server = serve(answer_once)
    caller = mode.client(base_url=server.url, max_attempts=1)

    assert caller.read()
    assert caller.read()

    assert (server.connections, len(server.requests)) == (2, 3)
    assert clock.pauses == []


def test_the_free_try_is_one_and_on_a_new_connection(
    mode: Mode, serve: Serve, clock: Clock
) -> None:
    def answer_first(peer: Peer) -> None:
        peer.receive()
        if peer.number < 2:
            together.wait(5)
            peer.answer()
            peer.receive()

    together = threading.Barrier(2)
    server = serve(answer_first)
    caller = mode.client(base_url=server.url, max_attempts=1)
    in_parallel(caller, 2)  # two connections are kept, both are dead

    with pytest.raises(MeshConnectionError) as caught:
        caller.read()

    assert caught.value.attempts == 1
    assert (server.connections, len(server.requests)) == (3, 4)
    assert clock.pauses == []


def test_an_answer_that_breaks_on_a_kept_connection_is_no_free_try(
    mode: Mode, serve: Serve
) -> None:
    def break_second(peer: Peer) -> None:
        peer.receive()
        peer.answer()
        peer.receive()
        peer.send(message()[:40])

    server = serve(break_second)
    caller = mode.client(base_url=server.url, max_attempts=1)
    caller.read()

    with pytest.raises(MeshConnectionError) as caught:
        caller.read()

    assert caught.value.attempts == 1
    assert server.connections == 1


def test_more_framing_than_is_recorded_is_read_and_its_connection_not_kept(
    mode: Mode, serve: Serve
) -> None:
    extended = b"1;" + b"x" * 60_000 + b"\r\n \r\n"

    def answer(peer: Peer) -> None:
        while True:
            peer.receive()
            head, chunks = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", extended * 40
            peer.send(head + chunks + b"%x\r\n%b\r\n0\r\n\r\n" % (len(OK), OK))

    server = serve(answer)
    caller = mode.client(base_url=server.url)

    assert caller.read() == caller.read()
    assert server.connections == 2


def in_parallel(caller: Caller, calls: int) -> list[Any]:
    """Make calls at once, each with a token of its own; return what they returned or raised."""
    if caller.mode.is_async:

        async def gather() -> list[Any]:
            tasks = (
                caller.client.get_account_balance(f"token-{n}", "coinbase") for n in range(calls)
            )
            return await asyncio.gather(*tasks, return_exceptions=True)

        outcomes: list[Any] = caller.mode.run(gather())
        return outcomes

    def call(number: int) -> Any:
        try:
            return caller.read(f"token-{number}")
        except MeshError as error:
            return error

    with ThreadPoolExecutor(calls) as executor:
        return list(executor.map(call, range(calls)))


def answer_own(peer: Peer) -> None:
    """Answer each request with the number in its token."""
    while True:
        peer.receive()
        peer.answer(cash_body(json.loads(peer.last.partition(b"\r\n\r\n")[2])["authToken"][6:]))


def test_first_use_by_many_at_once_gives_each_its_own_answer(mode: Mode, serve: Serve) -> None:
    server = serve(answer_own)
    caller = mode.client(base_url=server.url)

    for _ in range(3):
        assert [balance.cash("USD") for balance in in_parallel(caller, 40)] == list(range(40))

    assert server.connections <= 40


def test_first_use_by_many_threads_at_once_makes_one_set_of_slots() -> None:
    active: list[None] = []

    def answer(_: httpx.Request) -> httpx.Response:
        active.append(None)
        time.sleep(0.0005)  # long enough for another thread to come in, were it let
        most = len(active)
        active.pop()
        return response(200, cash_body(str(most)))

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as executor:
            for _ in range(50):
                transport = httpx.MockTransport(answer)
                with MeshClient(**KEYS, transport=transport, max_connections=1) as mesh:
                    together = threading.Barrier(8)

                    def call(mesh: MeshClient, together: threading.Barrier) -> Any:
                        together.wait()
                        return mesh.get_account_balance(TOKEN, "coinbase").cash("USD")

                    calls = [executor.submit(call, mesh, together) for _ in range(8)]
                    assert [call.result() for call in calls] == [1] * 8
    finally:
        sys.setswitchinterval(interval)


def test_no_more_than_max_connections_are_opened_and_who_waits_gets_a_turn(
    mode: Mode, serve: Serve
) -> None:
    server = serve(answer_own)
    caller = mode.client(base_url=server.url, max_connections=3)

    assert [balance.cash("USD") for balance in in_parallel(caller, 30)] == list(range(30))
    assert server.connections <= 3


def test_a_connection_that_does_not_become_free_in_time_is_a_timeout(
    mode: Mode, serve: Serve
) -> None:
    def answer_late(peer: Peer) -> None:
        peer.receive()
        is_asked.set()
        go_on.wait(5)
        peer.answer()
        peer.answer_all()

    is_asked, go_on = threading.Event(), threading.Event()
    server = serve(answer_late)
    caller = mode.client(base_url=server.url, max_connections=1)
    hasty = caller.with_options(deadline=0.2)
    outcomes: list[Any] = []

    if mode.is_async:

        async def both() -> None:
            slow = asyncio.create_task(caller.client.get_account_balance(TOKEN, "coinbase"))
            await asyncio.to_thread(is_asked.wait, 5)
            try:
                await hasty.client.get_account_balance(TOKEN, "coinbase")
            except MeshError as error:
                outcomes.append(error)
            go_on.set()
            outcomes.append(await slow)

        mode.run(both())
    else:
        with ThreadPoolExecutor(1) as executor:
            slow = executor.submit(caller.read)
            is_asked.wait(5)
            with pytest.raises(MeshTimeoutError) as caught:
                hasty.read()
            go_on.set()
            outcomes += [caught.value, slow.result()]

    error, balance = outcomes
    assert type(error) is MeshTimeoutError
    assert str(error) == "no free connection within the deadline of 0.2 s"
    assert error.attempts == 0
    assert balance
    assert caller.read()
    assert (server.connections, len(server.requests)) == (1, 2)


def test_a_turn_that_comes_as_the_time_runs_out_is_passed_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def give_just_after_the_time_ran_out(_: object, __: float) -> None:
        slots.release()
        raise TimeoutError

    slots = ThreadSlots(1)
    run_blocking(slots.acquire(1))
    monkeypatch.setattr(concurrent.futures.Future, "result", give_just_after_the_time_ran_out)
    with pytest.raises(TimeoutError):
        run_blocking(slots.acquire(1))
    monkeypatch.undo()

    run_blocking(slots.acquire(1))
    with pytest.raises(TimeoutError):
        run_blocking(slots.acquire(0))


def test_a_turn_that_was_given_up_is_passed_over() -> None:
    slots = ThreadSlots(1)
    run_blocking(slots.acquire(1))
    with pytest.raises(TimeoutError):
        run_blocking(slots.acquire(0))

    slots.release()

    run_blocking(slots.acquire(1))


def test_a_request_reaches_the_server_in_one_piece(mode: Mode, serve: Serve) -> None:
    pieces: list[bytes] = []

    def look_and_answer(peer: Peer) -> None:
        while True:
            pieces.append(peer._file.peek())
            peer.receive()
            peer.answer()

    server = serve(look_and_answer)
    caller = mode.client(base_url=server.url)
    caller.read()
    caller.read()

    assert pieces[:2] == server.requests
    assert all(piece.endswith(b"}") for piece in pieces[:2])


def test_what_is_idle_for_long_is_closed(mode: Mode, serve: Serve, clock: Clock) -> None:
    server = serve(answer_own)
    caller = mode.client(base_url=server.url)
    in_parallel(caller, 4)
    opened = server.connections

    clock.now += 31
    for _ in range(2 * opened):
        caller.read("token-0")

    server.wait_until_open(1)


# --- closing ------------------------------------------------------------------------------------


def test_a_client_closes_its_connections_when_its_block_ends(mode: Mode, serve: Serve) -> None:
    server = serve()

    if mode.is_async:

        async def block() -> None:
            async with AsyncMeshClient(**KEYS, base_url=server.url) as mesh:
                assert await mesh.get_account_balance(TOKEN, "coinbase")

        mode.run(block())
    else:
        with MeshClient(**KEYS, base_url=server.url) as mesh:
            assert mesh.get_account_balance(TOKEN, "coinbase")

    server.wait_until_open(0)


def test_closing_twice_is_fine_and_a_call_after_it_is_an_error(mode: Mode, serve: Serve) -> None:
    server = serve()
    caller = mode.client(base_url=server.url)
    caller.read()

    caller.close()
    caller.close()

    for closed in (caller, caller.with_options(timeout=1)):
        with pytest.raises(MeshError, match=r"^this client is closed$") as caught:
            closed.read()
        assert type(caught.value) is MeshError
    assert len(server.requests) == 1


def test_closing_a_client_that_was_never_used_is_fine(mode: Mode) -> None:
    mode.client().close()


def test_closing_one_of_the_clients_that_share_connections_closes_all(mode: Mode) -> None:
    caller = mode.client(transport=Script(OK))

    caller.with_options(timeout=1).close()

    with pytest.raises(MeshError, match="closed"):
        caller.read()


def test_a_transport_of_the_caller_s_is_closed_with_the_client(mode: Mode) -> None:
    class Closing(Script):
        is_closed = False

        def close(self) -> None:
            self.is_closed = True

        async def aclose(self) -> None:
            self.close()

    script = Closing(OK)
    caller = mode.client(transport=script)
    caller.read()
    assert not script.is_closed

    caller.close()
    assert script.is_closed


def test_a_call_under_way_ends_when_the_client_is_closed(mode: Mode, serve: Serve) -> None:
    def answer_when_closed(peer: Peer) -> None:
        peer.receive()
        is_asked.set()
        is_closed.wait(5)
        peer.answer()
        peer.hold()

    is_asked, is_closed = threading.Event(), threading.Event()
    server = serve(answer_when_closed)
    caller = mode.client(base_url=server.url)

    if mode.is_async:

        async def close_within() -> Any:
            call = asyncio.create_task(caller.client.get_account_balance(TOKEN, "coinbase"))
            await asyncio.to_thread(is_asked.wait, 5)
            await caller.client.aclose()
            is_closed.set()
            return await call

        assert mode.run(close_within())
    else:
        with ThreadPoolExecutor(1) as executor:
            call = executor.submit(caller.read)
            is_asked.wait(5)
            caller.close()
            is_closed.set()
            assert call.result()

    server.wait_until_open(0)


# --- with_options -------------------------------------------------------------------------------


def test_with_options_changes_what_is_given_and_keeps_the_rest(mode: Mode, clock: Clock) -> None:
    script = Script(response(500, b""))
    caller = mode.client(transport=script, max_attempts=2)

    for changed, attempts in [
        (caller.with_options(timeout=3), 2),
        (caller.with_options(deadline=20), 2),
        (caller.with_options(max_attempts=1), 1),
        (caller.with_options(), 2),
        (caller, 2),
    ]:
        with pytest.raises(ServerError) as caught:
            changed.read()
        assert caught.value.attempts == attempts
    assert type(caller.with_options().client) is mode.client_class
    assert clock.pauses


def test_with_options_bounds_the_wait(mode: Mode, serve: Serve) -> None:
    server = serve(lambda peer: (peer.receive(), peer.hold()))
    caller = mode.client(base_url=server.url)

    with pytest.raises(MeshTimeoutError, match=r"the timeout of 0\.05 s"):
        caller.with_options(timeout=0.05, max_attempts=1).read()
    with pytest.raises(MeshTimeoutError, match=r"the deadline of 0\.05 s"):
        caller.with_options(deadline=0.05).read()


# --- a transport of the caller's ----------------------------------------------------------------


class Watched(httpx.SyncByteStream, httpx.AsyncByteStream):
    """Chunks of an answer, an error among them raised, and whether it was closed."""

    def __init__(self, *chunks: bytes | Exception) -> None:
        self.chunks = chunks
        self.is_closed = False

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self.chunks:
            if isinstance(chunk, Exception):
                raise chunk
            yield chunk

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in self:
            yield chunk

    def close(self) -> None:
        self.is_closed = True

    async def aclose(self) -> None:
        self.is_closed = True


@pytest.mark.parametrize(
    "chunks",
    [(OK,), (b"x" * 2**20, b"y", b"z"), (b"{", httpx.ReadError("gone"))],
    ids=["whole", "too large", "broken"],
)
def test_an_answer_is_closed_however_it_ends(mode: Mode, chunks: tuple[Any, ...]) -> None:
    stream = Watched(*chunks)
    transport = httpx.MockTransport(lambda _: httpx.Response(200, stream=stream))

    with contextlib.suppress(MeshError):
        mode.client(transport=transport, max_attempts=1).read()

    assert stream.is_closed


def test_whatever_httpx_raises_is_a_connection_error(mode: Mode) -> None:
    caller = mode.client(transport=Script(httpx.DecodingError("canary")), max_attempts=1)

    with pytest.raises(MeshConnectionError, match=r"the connection failed \(DecodingError\)$"):
        caller.read()


def test_a_failure_that_is_its_own_cause_is_told_once(mode: Mode) -> None:
    failure = OSError(5, "went round")
    failure.__cause__ = failure
    caller = mode.client(transport=Script(failure), max_attempts=1)

    with pytest.raises(MeshConnectionError, match="went round"):
        caller.read()


def test_what_the_caller_is_just_handling_has_no_part_in_the_failure(mode: Mode) -> None:
    caller = mode.client(base_url="http://127.0.0.1:1", max_attempts=1)

    def read_while_handling_an_error() -> None:
        with contextlib.ExitStack() as stack:
            stack.callback(caller.read)
            raise ssl.SSLError(1, "of the caller's own")

    with pytest.raises(MeshConnectionError) as caught:
        read_while_handling_an_error()

    assert type(caught.value) is MeshConnectionError
    assert "own" not in str(caught.value)


# --- time ---------------------------------------------------------------------------------------


def test_a_silent_server_is_attempted_again_until_timeouts_or_deadline_end_it(
    mode: Mode, serve: Serve
) -> None:
    server = serve(lambda peer: (peer.receive(), peer.hold()))

    with pytest.raises(MeshTimeoutError, match=r"within the timeout of 0\.05 s \(ReadTimeout\)"):
        mode.client(base_url=server.url, timeout=0.05, max_attempts=1).read()
    assert len(server.requests) == 1


HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n"
DRIPS: dict[str, tuple[bytes, bytes]] = {
    "head": (b"", HEAD * 99),
    "body": (HEAD + b"\r\n", b" " * 9999),
    "chunks": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n" * 999),
    "interim answers": (b"", b"HTTP/1.1 103 Early\r\n\r\n" * 999),
    "end of connection": (b"HTTP/1.1 200 OK\r\n\r\n", b" " * 9999),
}


@pytest.mark.parametrize(("start", "drip"), DRIPS.values(), ids=DRIPS)
def test_a_drip_ends_at_the_deadline(mode: Mode, serve: Serve, start: bytes, drip: bytes) -> None:
    def answer(peer: Peer) -> None:
        peer.receive()
        peer.send(start)
        peer.drip(drip)

    server = serve(answer)
    caller = mode.client(base_url=server.url, deadline=0.25)
    started = time.monotonic()

    with pytest.raises(MeshTimeoutError, match=r"within the deadline of 0\.25 s") as caught:
        caller.read()

    assert 0.2 < time.monotonic() - started < 0.5
    assert caught.value.attempts == 1
    assert len(server.requests) == 1


def test_a_drip_ends_at_the_deadline_on_a_kept_connection_too(mode: Mode, serve: Serve) -> None:
    def answer(peer: Peer) -> None:
        peer.receive()
        peer.answer()
        peer.receive()
        peer.drip(HEAD * 99)

    server = serve(answer)
    caller = mode.client(base_url=server.url)
    caller.read()
    started = time.monotonic()

    with pytest.raises(MeshTimeoutError):
        caller.with_options(deadline=0.3).read()

    assert time.monotonic() - started < 0.55
    assert server.connections == 1


def test_a_pause_is_really_waited(mode: Mode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(random, "uniform", lambda *_: 0.05)
    started = time.monotonic()

    mode.client(transport=Script(response(500, b""), OK)).read()

    assert 0.05 <= time.monotonic() - started < 0.5


def test_a_connection_that_nobody_accepts_ends_at_the_deadline(
    mode: Mode, monkeypatch: pytest.MonkeyPatch
) -> None:
    with silent_port() as port:
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))] * 4
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)  # tried in turn
        caller = mode.client(base_url=f"http://localhost:{port}", deadline=0.25, max_attempts=1)
        started = time.monotonic()

        with pytest.raises(MeshTimeoutError):
            caller.read()

        assert time.monotonic() - started < 0.65


def test_a_slow_look_up_of_the_host_never_holds_up_the_event_loop(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[int] = []
    is_over = threading.Event()

    def look_up(*_: Any, **__: Any) -> Any:
        threads.append(threading.get_ident())
        if threading.get_ident() != threading.main_thread().ident:
            is_over.wait(5)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", server.port))]

    async def call() -> float:
        started = time.monotonic()
        async with AsyncMeshClient(**KEYS, base_url=f"http://localhost:{server.port}") as mesh:
            with pytest.raises(MeshTimeoutError):
                await mesh.with_options(deadline=0.2).get_account_balance(TOKEN, "coinbase")
        is_over.set()
        return time.monotonic() - started

    server = serve()
    monkeypatch.setattr(socket, "getaddrinfo", look_up)

    assert asyncio.run(call()) < 0.45
    assert threading.main_thread().ident not in threads


# --- bodies -------------------------------------------------------------------------------------


def padded(size: int) -> bytes:
    return OK + b" " * (size - len(OK))


def test_a_body_of_exactly_the_limit_is_read(mode: Mode) -> None:
    assert mode.client(transport=Script(padded(LIMIT))).read()
    zipped = response(200, gzip.compress(padded(LIMIT)), {"Content-Encoding": "gzip"})
    assert mode.client(transport=Script(zipped)).read()


@pytest.mark.parametrize("encoding", ["identity", "gzip"])
def test_a_body_over_the_limit_is_refused(mode: Mode, encoding: str) -> None:
    body = padded(LIMIT + 1)
    body = gzip.compress(body) if encoding == "gzip" else body
    script = Script(response(200, body, {"Content-Encoding": encoding}))

    with pytest.raises(MeshResponseError, match="its body is larger than 1048576 bytes"):
        mode.client(transport=script).read()

    assert len(script.requests) == 1


class Stream(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A body that goes on and on; counts what was taken of it."""

    def __init__(self, chunk: bytes, count: int, start: bytes = b"") -> None:
        self._chunk, self._count, self._start = chunk, count, start
        self.taken = 0

    def __iter__(self) -> Iterator[bytes]:
        yield self._start
        while self.taken < self._count:
            self.taken += 1
            yield self._chunk

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in self:
            yield chunk


class Streaming(httpx.BaseTransport, httpx.AsyncBaseTransport):
    def __init__(self, stream: Stream, headers: dict[str, str] | None = None) -> None:
        self._answer = httpx.Response(200, headers=headers, stream=stream)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        del request
        return self._answer

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return self.handle_request(request)


def test_an_endless_body_is_refused_while_it_is_read(mode: Mode) -> None:
    stream = Stream(b" " * 65536, 10**6)

    with pytest.raises(MeshResponseError, match="larger than"):
        mode.client(transport=Streaming(stream)).read()

    assert stream.taken == 17


def test_gzip_that_inflates_to_nothing_is_refused_once_it_is_too_long(mode: Mode) -> None:
    nothing = b"\0\0\0\xff\xff"  # a stored block without content
    stream = Stream(nothing * 10_000, 10**6, start=gzip.compress(b"")[:10])

    with pytest.raises(MeshResponseError, match="larger than"):
        mode.client(transport=Streaming(stream, {"Content-Encoding": "gzip"})).read()

    assert stream.taken < 100


def test_a_gzip_bomb_is_refused_without_being_inflated(mode: Mode, serve: Serve) -> None:
    squeeze = zlib.compressobj(wbits=31)
    bomb = b"".join(squeeze.compress(bytes(2**20)) for _ in range(100)) + squeeze.flush()

    def answer(peer: Peer) -> None:
        peer.receive()
        peer.answer(bomb, "Content-Encoding: gzip")

    caller = mode.client(base_url=serve(answer).url)
    started = time.monotonic()

    with pytest.raises(MeshResponseError, match="larger than"):
        caller.read()

    assert time.monotonic() - started < 0.5


@pytest.mark.parametrize("encoding", ["gzip", "GZIP", " gzip ", "identity", "Identity"])
def test_gzip_and_plain_are_read(mode: Mode, encoding: str) -> None:
    body = gzip.compress(OK) if "gzip" in encoding.lower() else OK

    assert (
        mode.client(transport=Script(response(200, body, {"Content-Encoding": encoding}))).read()
        == mode.client(transport=Script(OK)).read()
    )


def test_gzip_in_small_pieces_is_read(mode: Mode, serve: Serve) -> None:
    body = gzip.compress(OK)

    def answer(peer: Peer) -> None:
        while True:
            peer.receive()
            head = (
                b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n"
            )
            peer.send(head + b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n")

    server = serve(answer)
    caller = mode.client(base_url=server.url)

    assert caller.read() == caller.read()
    assert server.connections == 1


@pytest.mark.parametrize("encoding", ["br", "zstd", "deflate", "gzip, gzip", "x-gzip", "gzip;q=1"])
def test_an_encoding_that_nobody_asked_for_is_refused(mode: Mode, encoding: str) -> None:
    script = Script(response(200, OK, {"Content-Encoding": encoding}))

    with pytest.raises(MeshResponseError, match="its body has an encoding that was not asked for"):
        mode.client(transport=script).read()


@pytest.mark.parametrize(
    "body",
    {
        "is plain": OK,
        "is empty": b"",
        "is cut off": gzip.compress(OK)[:-1],
        "lacks its checksum": gzip.compress(OK)[:-8],
        "has a wrong checksum": gzip.compress(OK)[:-8] + bytes(8),
        "has more behind it": gzip.compress(OK) + b"x",
        "is two": gzip.compress(OK) + gzip.compress(b" "),
        "is zlib": zlib.compress(OK),
    }.items(),
    ids=lambda item: item[0],
)
def test_gzip_that_is_none_is_refused(mode: Mode, body: tuple[str, bytes]) -> None:
    script = Script(response(200, body[1], {"Content-Encoding": "gzip"}))

    with pytest.raises(MeshResponseError, match="its gzip encoding"):
        mode.client(transport=script).read()


def test_a_refused_body_costs_the_connection_and_not_the_next_call(
    mode: Mode, serve: Serve
) -> None:
    def answer(peer: Peer) -> None:
        peer.receive()
        if peer.number == 0:
            peer.answer(bytes(3 * LIMIT))
        peer.answer()
        peer.answer_all()

    server = serve(answer)
    caller = mode.client(base_url=server.url)

    with pytest.raises(MeshResponseError, match="larger than"):
        caller.read()
    assert caller.read()
    assert server.connections == 2


# --- redirects and cookies ----------------------------------------------------------------------


@pytest.mark.parametrize("http_status", [300, 301, 302, 303, 307, 308])
def test_redirects_are_never_followed(mode: Mode, serve: Serve, http_status: int) -> None:
    sink = serve()

    def redirect(peer: Peer) -> None:
        while True:
            peer.receive()
            peer.answer(b"", f"Location: {sink.url}/", status=http_status)

    caller = mode.client(base_url=serve(redirect).url)

    with pytest.raises(MeshResponseError, match=f"HTTP {http_status}"):
        caller.read()

    assert sink.connections == 0


def test_cookies_are_never_sent_back(mode: Mode, serve: Serve) -> None:
    def set_cookie(peer: Peer) -> None:
        while True:
            peer.receive()
            peer.answer(OK, "Set-Cookie: session=of-one-user; Path=/")

    server = serve(set_cookie)
    caller = mode.client(base_url=server.url)

    for _ in range(3):
        caller.read()
    caller.with_options(timeout=1).read()

    assert len(server.requests) == 4
    assert not [request for request in server.requests if b"cookie" in request.lower()]


# --- failures on the network --------------------------------------------------------------------


def test_a_port_where_nobody_listens_is_a_connection_error(mode: Mode) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = "http://127.0.0.1:{1}".format(*listener.getsockname())
    caller = mode.client(base_url=url, max_attempts=1)

    with pytest.raises(MeshConnectionError) as caught:
        caller.read()

    assert type(caught.value) is MeshConnectionError


def test_a_host_that_nobody_knows_is_a_connection_error(
    mode: Mode, monkeypatch: pytest.MonkeyPatch
) -> None:
    def look_up(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    caller = mode.client(base_url="https://mesh.invalid", max_attempts=1)

    with pytest.raises(MeshConnectionError, match="Name or service not known") as caught:
        caller.read()

    assert type(caught.value) is MeshConnectionError


BREAKS: dict[str, tuple[bytes, Callable[[Peer], None]]] = {
    "closed before an answer": (b"", Peer.close),
    "reset before an answer": (b"", Peer.reset),
    "closed within the head": (message()[:20], Peer.close),
    "closed within the body": (message()[:-5], Peer.close),
    "reset within the body": (message()[:-5], Peer.reset),
    "closed within a chunk": ((CHUNKED % (99, OK, b""))[:80], Peer.close),
    "garbage": (b"\0\1\2\3\r\n\r\n", Peer.close),
    "another protocol": (b"SSH-2.0-OpenSSH\r\n", Peer.close),
    "a body that is no chunk": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        Peer.close,
    ),
}


@pytest.mark.parametrize(("data", "end"), BREAKS.values(), ids=BREAKS)
def test_what_breaks_is_attempted_again_and_then_a_connection_error(
    mode: Mode, serve: Serve, clock: Clock, data: bytes, end: Callable[[Peer], None]
) -> None:
    def answer_third(peer: Peer) -> None:
        peer.receive()
        if peer.number % 3 < 2:
            peer.send(data)
            end(peer)
        else:
            peer.answer()

    server = serve(answer_third)
    caller = mode.client(base_url=server.url)

    assert str(caller.read().cash("USD")) == "158.5"
    with pytest.raises(MeshConnectionError) as caught:
        caller.with_options(max_attempts=2).read()

    assert type(caught.value) is MeshConnectionError
    assert (len(server.requests), len(clock.pauses)) == (5, 3)


# --- TLS ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def server_context(authority: trustme.CA, *names: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names).configure_cert(context)
    return context


@pytest.fixture
def trust(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


def test_https_is_spoken_with_a_context_of_the_caller_s(
    mode: Mode, serve: Serve, authority: trustme.CA, trust: ssl.SSLContext
) -> None:
    server = serve(tls=server_context(authority, "127.0.0.1"))
    caller = mode.client(base_url=server.url, verify=trust)

    assert caller.read() == caller.read()
    assert server.connections == 1


def test_https_is_spoken_with_the_certificates_of_the_environment(
    mode: Mode,
    serve: Serve,
    authority: trustme.CA,
    tmp_path: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = serve(tls=server_context(authority, "127.0.0.1"))
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))

    with pytest.raises(MeshTLSError):
        mode.client(base_url=server.url).read()
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    assert mode.client(base_url=server.url).read()


def test_a_certificate_need_not_be_verified(
    mode: Mode, serve: Serve, authority: trustme.CA
) -> None:
    server = serve(tls=server_context(authority, "127.0.0.1"))

    assert mode.client(base_url=server.url, verify=False).read()


@pytest.mark.parametrize("case", ["unknown authority", "another host"])
def test_a_certificate_that_is_refused_is_never_retried_and_no_secret_is_sent(
    mode: Mode, serve: Serve, authority: trustme.CA, trust: ssl.SSLContext, case: str
) -> None:
    name = "127.0.0.1" if case == "unknown authority" else "mesh.example"
    server = serve(tls=server_context(authority, name))
    verify = True if case == "unknown authority" else trust
    caller = mode.client(base_url=server.url, verify=verify)

    with pytest.raises(MeshTLSError) as caught:
        caller.read()

    assert caught.value.attempts == 1
    assert (server.connections, server.requests) == (1, [])


def test_a_server_that_speaks_no_tls_is_a_tls_error(mode: Mode, serve: Serve) -> None:
    def answer(peer: Peer) -> None:
        peer.answer(b"", status=400)
        peer.hold()

    server = serve(answer)
    caller = mode.client(base_url=f"https://127.0.0.1:{server.port}")

    with pytest.raises(MeshTLSError) as caught:
        caller.read()

    assert caught.value.attempts == 1
    assert CLIENT_SECRET.encode() not in b"".join(server.requests)


def test_a_connection_that_ends_within_the_handshake_is_attempted_again(
    mode: Mode, serve: Serve, clock: Clock
) -> None:
    server = serve(Peer.close)
    caller = mode.client(base_url=f"https://127.0.0.1:{server.port}", max_attempts=2)

    with pytest.raises(MeshConnectionError) as caught:
        caller.read()

    assert type(caught.value) is MeshConnectionError
    assert server.connections == 2
    assert len(clock.pauses) == 1


def test_a_drip_ends_at_the_deadline_under_tls_too(
    mode: Mode, serve: Serve, authority: trustme.CA, trust: ssl.SSLContext
) -> None:
    def answer(peer: Peer) -> None:
        peer.receive()
        peer.drip(HEAD * 99)

    server = serve(answer, tls=server_context(authority, "127.0.0.1"))
    started = time.monotonic()

    with pytest.raises(MeshTimeoutError):
        mode.client(base_url=server.url, verify=trust, deadline=0.25).read()

    assert time.monotonic() - started < 0.65


# --- processes and event loops ------------------------------------------------------------------


@pytest.mark.filterwarnings(
    "ignore::ResourceWarning",  # the first loop was closed with its connection open
    "ignore::pytest.PytestUnraisableExceptionWarning",
)
def test_an_async_client_works_in_a_second_event_loop(serve: Serve) -> None:
    server = serve()
    mesh = AsyncMeshClient(**KEYS, base_url=server.url)

    async def call() -> Any:
        return await mesh.get_account_balance(TOKEN, "coinbase")

    async def call_and_close() -> Any:
        async with mesh:
            return await call()

    assert asyncio.run(call()) == asyncio.run(call_and_close())
    assert server.connections == 2
    gc.collect()


def test_an_async_client_outside_an_event_loop_says_so() -> None:
    call = AsyncMeshClient(**KEYS).get_account_balance(TOKEN, "coinbase")

    with pytest.raises(MeshError, match="works only in a running asyncio event loop"):
        call.send(None)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")  # it is what is tested
def test_a_forked_child_has_connections_of_its_own(serve: Serve) -> None:
    server = serve(answer_own)
    with MeshClient(**KEYS, base_url=server.url) as mesh:
        assert mesh.get_account_balance("token-1", "coinbase").cash("USD") == 1
        child = os.fork()
        if child == 0:  # pragma: no cover — measured in the parent alone
            try:
                is_right = mesh.get_account_balance("token-2", "coinbase").cash("USD") == 2
                os._exit(0 if is_right else 1)
            finally:
                os._exit(2)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert mesh.get_account_balance("token-3", "coinbase").cash("USD") == 3

    assert server.connections == 2


def test_another_process_id_means_another_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    script = Script(OK)
    with MeshClient(**KEYS, transport=script, max_connections=1) as mesh:
        mesh.get_account_balance(TOKEN, "coinbase")
        monkeypatch.setattr(os, "getpid", lambda: -1)
        assert mesh.get_account_balance(TOKEN, "coinbase")
