"""The parts of httpx and httpcore that the engine relies on."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.conftest import Mode, Serve
from tests.support import OK, silent_port

Trace = Callable[[str, dict[str, Any]], object]
"""What httpcore calls with the name of an event and its details."""


@pytest.mark.parametrize(
    "method",
    [httpx.HTTPTransport.handle_request, httpx.AsyncHTTPTransport.handle_async_request],
)
def test_httpx_transports_use_nothing_but_their_pool(method: Callable[..., object]) -> None:
    used = set(inspect.getclosurevars(method).unbound)

    assert "_pool" in used
    assert not {name for name in used if name.startswith("_")} - {"_pool"}


def test_patched_httpx_transports_receive_the_calls(
    mode: Mode, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[httpx.URL] = []

    def answer(_: object, request: httpx.Request) -> httpx.Response:
        seen.append(request.url)
        return httpx.Response(200, content=OK)

    async def answer_async(_: object, request: httpx.Request) -> httpx.Response:
        return answer(_, request)

    monkeypatch.setattr(httpx.HTTPTransport, "handle_request", answer)
    monkeypatch.setattr(httpx.AsyncHTTPTransport, "handle_async_request", answer_async)
    caller = mode.client(base_url="https://mesh.example")

    for _ in range(2):
        caller.read()

    assert [url.host for url in seen] == ["mesh.example"] * 2


def send_with_trace(url: str, trace: Trace, mode: Mode) -> bytes:
    """Send a request through one of httpx's own transports, with a trace."""
    timeout = dict.fromkeys(("connect", "read", "write", "pool"), 5.0)
    request = httpx.Request("GET", url, extensions={"trace": trace, "timeout": timeout})
    if not mode.is_async:
        with httpx.HTTPTransport() as transport:
            return b"".join(transport.handle_request(request).stream)  # type: ignore[arg-type]

    async def send() -> bytes:
        async with httpx.AsyncHTTPTransport() as transport:
            answer = await transport.handle_async_request(request)
            return b"".join([chunk async for chunk in answer.stream])  # type: ignore[union-attr]

    body: bytes = mode.run(send())
    return body


def build_trace(mode: Mode, trace: Trace) -> Trace:
    async def trace_async(event: str, info: dict[str, Any]) -> None:
        trace(event, info)

    if mode.is_async:
        return trace_async
    return trace


def test_trace_reports_the_connection_and_the_start_of_a_request(mode: Mode, serve: Serve) -> None:
    events: list[str] = []
    server = serve()

    send_with_trace(server.url, build_trace(mode, lambda event, _: events.append(event)), mode)

    assert events[:3] == [
        "connection.connect_tcp.started",
        "connection.connect_tcp.complete",
        "http11.send_request_headers.started",
    ]


def test_timeout_changed_by_the_trace_takes_effect(mode: Mode) -> None:
    seen: list[float] = []

    def trace(event: str, info: dict[str, Any]) -> None:
        if event == "connection.connect_tcp.started":
            seen.append(info["timeout"])
            info["timeout"] = 0.05

    with silent_port() as port, pytest.raises(httpx.ConnectTimeout):
        send_with_trace(f"http://127.0.0.1:{port}", build_trace(mode, trace), mode)

    assert seen == [5.0]


def test_read_of_a_new_connection_can_be_replaced(mode: Mode, serve: Serve) -> None:
    arguments: list[tuple[int, float]] = []

    def trace(event: str, info: dict[str, Any]) -> None:
        if event == "connection.connect_tcp.complete":
            read = info["return_value"].read

            def replaced(max_bytes: int, timeout: float) -> object:
                arguments.append((max_bytes, timeout))
                return read(max_bytes, timeout)

            info["return_value"].read = replaced

    assert send_with_trace(serve().url, build_trace(mode, trace), mode) == OK
    assert arguments
    assert {timeout for _, timeout in arguments} == {5.0}
