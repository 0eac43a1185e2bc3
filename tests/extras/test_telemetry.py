"""OpenTelemetry's own instrumentation of httpx works on the facade's connections."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from mesh_facade import ServerError
from tests.conftest import Clock, Mode, Serve
from tests.support import KEYS, OK, TOKEN, Peer


@pytest.fixture
def exporter() -> Iterator[InMemorySpanExporter]:
    spans = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    instrumentor = HTTPXClientInstrumentor()
    instrumentor.instrument(tracer_provider=provider)
    yield spans
    instrumentor.uninstrument()
    provider.shutdown()


def fail_twice(peer: Peer) -> None:
    for status in (500, 503, 200):
        peer.receive()
        peer.answer(OK, status=status)
    peer.answer_all()


def everything(span: ReadableSpan) -> str:
    return repr([span.name, dict(span.attributes or {}), span.events, span.status, span.to_json()])


def test_each_attempt_is_a_span_that_tells_no_secret(
    mode: Mode, serve: Serve, clock: Clock, exporter: InMemorySpanExporter
) -> None:
    caller = mode.client(base_url=serve(fail_twice).url)

    caller.read()

    spans = exporter.get_finished_spans()
    assert [(span.attributes or {})["http.status_code"] for span in spans] == [500, 503, 200]
    assert len(clock.pauses) == 2
    text = "".join(everything(span) for span in spans)
    assert "/api/v1/balance/get" in text
    assert not [secret for secret in (TOKEN, *KEYS.values()) if secret in text]


def test_a_call_that_fails_tells_its_attempts(
    mode: Mode, serve: Serve, clock: Clock, exporter: InMemorySpanExporter
) -> None:
    def fail(peer: Peer) -> None:
        while True:
            peer.receive()
            peer.answer(b"", status=500)

    with pytest.raises(ServerError) as caught:
        mode.client(base_url=serve(fail).url).read()

    assert len(exporter.get_finished_spans()) == caught.value.attempts == 3
    assert len(clock.pauses) == 2


def test_the_trace_context_goes_along(
    mode: Mode, serve: Serve, exporter: InMemorySpanExporter
) -> None:
    server = serve()

    mode.client(base_url=server.url).read()

    [span] = exporter.get_finished_spans()
    assert span.context
    assert f"{span.context.trace_id:032x}".encode() in server.requests[0]
