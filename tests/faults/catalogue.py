"""The faults: what goes over the wire, and what a careful client with three attempts reports."""

from __future__ import annotations

import enum
import random

import attrs

from tests.faults.server import (
    CLOSE,
    RESET,
    SILENCE,
    Answer,
    Drip,
    Endless,
    OnePacket,
    Pause,
    Script,
    Stage,
    Unencrypted,
    head,
)


class Verdict(enum.Enum):
    """What a careful client reports."""

    ANSWER = "the user's own answer"
    NO_ANSWER = "no complete, valid HTTP answer came back"
    LATE = "out of time"
    UNTRUSTED = "TLS was refused"
    BAD_ANSWER = "an HTTP answer, but not the agreed JSON"


@attrs.frozen
class Bounds:
    """The seconds that a client may take: for one wait, and for a whole call."""

    timeout: float
    deadline: float


QUICK_BOUNDS = Bounds(timeout=10, deadline=20)
"""For faults without any wait: a client that comes near to these bounds has a defect."""
WAITING_BOUNDS = Bounds(timeout=0.4, deadline=1.75)
"""For faults in which each attempt waits in vain: there is time for three attempts."""
ENDLESS_BOUNDS = Bounds(timeout=10, deadline=0.75)
"""For faults in which no single wait is long: only the deadline ends the call."""


@attrs.frozen
class Fault:
    """A misbehaviour, and how a careful client must react.

    Attributes:
        attempts: The number of attempts made by a client with `max_attempts=3`.
        gets_free_retry: True if, on a kept connection, a client cannot tell the fault from an idle
            connection that the server has closed. It then sends the request once more, which does
            not count as an attempt.
        is_busy: True if it keeps the processor busy, so that few clients may meet it at once.
        tls: True if it needs a connection with TLS, False if it needs one without, None for both.
    """

    name: str
    script: Script
    verdict: Verdict = Verdict.NO_ANSWER
    attempts: int = 3
    stage: Stage = Stage.AFTER_REQUEST
    bounds: Bounds = QUICK_BOUNDS
    gets_free_retry: bool = False
    tls: bool | None = None
    is_busy: bool = False

    def expected_script_runs(self, *, reused: bool) -> int:
        """Return how often the server must have run the script in a call."""
        if self.stage in {Stage.NOT_LISTENING, Stage.NOT_ACCEPTING}:
            return 0
        if reused and self.gets_free_retry:
            return self.attempts + 1
        return self.attempts


def _late(name: str, script: Script, stage: Stage = Stage.AFTER_REQUEST) -> Fault:
    """Return a fault in which each of three attempts waits in vain."""
    return Fault(name, script, Verdict.LATE, stage=stage, bounds=WAITING_BOUNDS)


def _ended_by_deadline(
    name: str,
    script: Script,
    stage: Stage = Stage.AFTER_REQUEST,
    *,
    tls: bool | None = None,
    is_busy: bool = False,
) -> Fault:
    """Return a fault in which bytes keep coming until the deadline ends the first attempt."""
    return Fault(
        name,
        script,
        Verdict.LATE,
        attempts=1,
        stage=stage,
        bounds=ENDLESS_BOUNDS,
        tls=tls,
        is_busy=is_busy,
    )


def _untrusted(name: str, script: Script) -> Fault:
    return Fault(name, script, Verdict.UNTRUSTED, attempts=1, stage=Stage.ON_CONNECTION, tls=True)


def _harmless(name: str, script: Script) -> Fault:
    return Fault(name, script, Verdict.ANSWER, attempts=1)


def _bad_answer(name: str, script: Script) -> Fault:
    return Fault(name, script, Verdict.BAD_ANSWER, attempts=1)


def _with_head(answer: Answer, *headers: str) -> bytes:
    return head(*headers) + answer.body


def _with_length_of_another_answer(answer: Answer, status: str) -> bytes:
    """Return a head whose status has no content, and the other user's answer as its content."""
    length = len(answer.for_another_user)
    return head(f"Content-Length: {length}", status=f"HTTP/1.1 {status}") + answer.for_another_user


def _head_of(answer: Answer) -> bytes:
    return head(f"Content-Length: {len(answer.body)}")


def _cut_in_body(answer: Answer) -> bytes:
    missing = len(answer.body) // 2
    return answer.with_length[:-missing]


def _cut_in_chunk(answer: Answer) -> bytes:
    missing = len(answer.chunked_body) // 2
    return answer.chunked[:-missing]


_CHUNKED = head("Transfer-Encoding: chunked")
_REQUEST_TIMEOUT = head("Content-Length: 0", status="HTTP/1.1 408 Request Timeout")
_NO_CONTENT = head(status="HTTP/1.1 204 No Content")
_EARLY_HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n"
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_LONG_HINTS = head("Link: " + 4000 * "x", status="HTTP/1.1 103 Early Hints")
_TLS_RECORD_HEADER = b"\x16\x03\x03\x40\x00"  # the header of a handshake record of 16 KiB
_TLS_ALERT = b"\x15\x03\x03\x00\x02\x02\x28"  # handshake_failure, fatal
_HTTP2_SETTINGS = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
_NOISE = random.Random(1).randbytes(2000)  # noqa: S311 — no secret; the same in each run

_CONNECTING = (
    Fault("refused", lambda _: [], stage=Stage.NOT_LISTENING),
    _late("never-accepted", lambda _: [], Stage.NOT_ACCEPTING),
    Fault("closed-on-accept", lambda _: [CLOSE], stage=Stage.ON_CONNECTION),
    Fault("reset-on-accept", lambda _: [RESET], stage=Stage.ON_CONNECTION),
    _late("silent-on-accept", lambda _: [SILENCE], Stage.ON_CONNECTION),
    _untrusted("plain-text-for-tls", lambda _: [b"HTTP/1.1 400 Bad Request\r\n\r\n", CLOSE]),
    _untrusted("noise-for-tls", lambda _: [_NOISE, CLOSE]),
    _untrusted("tls-alert", lambda _: [_TLS_ALERT, CLOSE]),
    Fault(
        "closed-in-tls-handshake",
        lambda _: [_TLS_RECORD_HEADER, CLOSE],
        stage=Stage.ON_CONNECTION,
        tls=True,
    ),
    Fault(
        "reset-in-tls-handshake",
        lambda _: [_TLS_RECORD_HEADER, Pause(), RESET],
        stage=Stage.ON_CONNECTION,
        tls=True,
    ),
    _ended_by_deadline(
        "drips-in-tls-handshake",
        lambda _: [_TLS_RECORD_HEADER, Drip(bytes(1000))],
        Stage.ON_CONNECTION,
        tls=True,
    ),
)

_BROKEN_OFF = (
    Fault(
        "closed-while-we-send", lambda _: [CLOSE], stage=Stage.ON_FIRST_BYTE, gets_free_retry=True
    ),
    Fault(
        "reset-while-we-send", lambda _: [RESET], stage=Stage.ON_FIRST_BYTE, gets_free_retry=True
    ),
    Fault("closed-before-answer", lambda _: [CLOSE], gets_free_retry=True),
    Fault("reset-before-answer", lambda _: [RESET], gets_free_retry=True),
    Fault("closed-in-status-line", lambda a: [a.with_length[:12], CLOSE]),
    Fault("reset-in-status-line", lambda a: [a.with_length[:12], RESET]),
    Fault("closed-in-headers", lambda a: [a.with_length[:40], CLOSE]),
    Fault("reset-in-headers", lambda a: [a.with_length[:40], RESET]),
    Fault("closed-before-body", lambda a: [_head_of(a), CLOSE]),
    Fault("reset-before-body", lambda a: [_head_of(a), RESET]),
    Fault("closed-in-body", lambda a: [_cut_in_body(a), CLOSE]),
    Fault("reset-in-body", lambda a: [_cut_in_body(a), RESET]),
    Fault("closed-one-byte-early", lambda a: [a.with_length[:-1], CLOSE]),
    Fault("closed-in-chunk-size", lambda a: [a.chunked[: len(_CHUNKED) + 1], CLOSE]),
    Fault("closed-in-chunk", lambda a: [_cut_in_chunk(a), CLOSE]),
    Fault("reset-in-chunk", lambda a: [_cut_in_chunk(a), RESET]),
    Fault("closed-without-last-chunk", lambda a: [a.chunked[:-5], CLOSE]),
    Fault("closed-in-last-chunk", lambda a: [a.chunked[:-2], CLOSE]),
    Fault("closed-after-interim", lambda _: [_CONTINUE, CLOSE]),
    Fault(  # with TLS, Python takes a reset for an end of file
        "reset-instead-of-end-of-file", lambda a: [_with_head(a)[:-20], Pause(), RESET], tls=False
    ),
    _bad_answer("cut-by-end-of-file", lambda a: [_with_head(a)[:-20], CLOSE]),
)

_SLOW = (
    _late("silent-before-answer", lambda _: [SILENCE]),
    _late("silent-in-status-line", lambda a: [a.with_length[:12], SILENCE]),
    _late("silent-in-headers", lambda a: [a.with_length[:40], SILENCE]),
    _late("silent-before-body", lambda a: [_head_of(a), SILENCE]),
    _late("silent-in-body", lambda a: [_cut_in_body(a), SILENCE]),
    _late("silent-in-chunk", lambda a: [_cut_in_chunk(a), SILENCE]),
    _late("silent-before-last-chunk", lambda a: [a.chunked[:-5], SILENCE]),
    _late("silent-after-interim", lambda _: [_CONTINUE, SILENCE]),
    _late("no-length-and-never-closed", lambda a: [_with_head(a), SILENCE]),
    _late(
        "length-too-long", lambda a: [_with_head(a, f"Content-Length: {len(a.body) + 1}"), SILENCE]
    ),
    _ended_by_deadline("drips-in-headers", lambda a: [Drip(a.with_length)]),
    _ended_by_deadline("drips-in-body", lambda a: [_head_of(a), Drip(a.body)]),
    _ended_by_deadline("drips-in-chunks", lambda a: [_CHUNKED, Drip(a.chunked_body)]),
    _ended_by_deadline(
        "header-after-header", lambda a: [_head_of(a)[:-2], Endless(b"X-More: 1\r\n", 0.05)]
    ),
    _ended_by_deadline("chunk-after-chunk", lambda _: [_CHUNKED, Endless(b"1\r\n \r\n", 0.05)]),
    _ended_by_deadline("interim-after-interim", lambda _: [Endless(_CONTINUE, 0.05)]),
    _ended_by_deadline("flood-of-interims", lambda _: [Endless(_LONG_HINTS * 16)], is_busy=True),
)

_SMUGGLED = (
    _harmless("answered-twice", lambda a: [a.with_length + a.with_length]),
    _harmless("other-users-answer-glued-on", lambda a: [a.with_length + a.for_another_user]),
    _harmless("other-users-answer-after-chunks", lambda a: [a.chunked + a.for_another_user]),
    _harmless("other-users-answer-in-pieces", lambda a: [a.with_length + a.for_another_user[:30]]),
    _harmless(
        "other-users-answer-in-next-record",
        lambda a: [OnePacket([a.with_length, a.for_another_user])],
    ),
    _harmless("other-users-answer-later", lambda a: [a.with_length, Pause(), a.for_another_user]),
    _harmless(
        "timeout-sent-while-idle", lambda a: [a.with_length, Pause(), _REQUEST_TIMEOUT, CLOSE]
    ),
    _harmless(
        "length-and-chunks",
        lambda a: [
            head("Content-Length: 5", "Transfer-Encoding: chunked")
            + a.chunked_body
            + a.for_another_user
        ],
    ),
    _bad_answer(
        "length-too-short", lambda a: [_with_head(a, f"Content-Length: {len(a.body) - 20}")]
    ),
    _bad_answer("length-zero", lambda a: [_with_head(a, "Content-Length: 0"), a.for_another_user]),
    _bad_answer("content-after-204", lambda a: [_NO_CONTENT + a.for_another_user]),
    _bad_answer(
        "content-after-204-with-its-length",
        lambda a: [_with_length_of_another_answer(a, "204 No Content")],
    ),
    _bad_answer(
        "content-after-304-with-its-length",
        lambda a: [_with_length_of_another_answer(a, "304 Not Modified")],
    ),
    Fault(
        "two-lengths",
        lambda a: [_with_head(a, f"Content-Length: {len(a.body)}", "Content-Length: 9")],
    ),
)

_GARBAGE = (
    Fault("noise", lambda _: [_NOISE, CLOSE]),
    Fault("endless-noise", lambda _: [Endless(b"x" * 4096)]),
    Fault("body-without-head", lambda a: [a.body, CLOSE]),
    Fault("http-2", lambda _: [_HTTP2_SETTINGS * 4, CLOSE]),
    Fault("status-of-four-digits", lambda a: [a.with_length.replace(b"200", b"2000"), CLOSE]),
    Fault("status-of-letters", lambda a: [a.with_length.replace(b"200", b"yes"), CLOSE]),
    Fault("switching-protocols", lambda _: [b"HTTP/1.1 101 Switching Protocols\r\n\r\n", CLOSE]),
    Fault("header-without-colon", lambda a: [_with_head(a, "Content-Length 5"), CLOSE]),
    Fault("header-with-nul", lambda a: [_with_head(a, "X-Nul: \0"), CLOSE]),
    Fault("space-before-colon", lambda a: [_with_head(a, "Content-Length : 5"), CLOSE]),
    Fault("length-negative", lambda a: [_with_head(a, "Content-Length: -5"), CLOSE]),
    Fault("length-of-letters", lambda a: [_with_head(a, "Content-Length: all"), CLOSE]),
    Fault("length-astronomic", lambda a: [_with_head(a, f"Content-Length: {10**15}"), CLOSE]),
    Fault("unknown-transfer-encoding", lambda a: [_with_head(a, "Transfer-Encoding: br"), CLOSE]),
    Fault("chunk-size-of-letters", lambda _: [_CHUNKED + b"size\r\n", CLOSE]),
    Fault("chunk-size-negative", lambda _: [_CHUNKED + b"-5\r\nhello\r\n", CLOSE]),
    Fault("chunk-size-astronomic", lambda _: [_CHUNKED + b"f" * 40 + b"\r\n", CLOSE]),
    Fault("endless-chunk-extension", lambda _: [_CHUNKED + b"5;", Endless(b"x" * 4096)]),
    Fault("giant-header", lambda a: [_with_head(a, "X-Giant: " + "x" * 300_000), CLOSE]),
    Fault("countless-headers", lambda _: [head()[:-2], Endless(b"X-More: 1\r\n" * 400)]),
    Fault(
        "noise-beneath-tls",
        lambda a: [_cut_in_body(a), Unencrypted(_NOISE)],  # a close might overtake the noise
        Verdict.UNTRUSTED,
        attempts=1,
        tls=True,
    ),
    _bad_answer("endless-body", lambda _: [_CHUNKED, Endless(b"1000\r\n" + b" " * 4096 + b"\r\n")]),
)

_HARMLESS = (
    _harmless("one-interim", lambda a: [_CONTINUE + a.with_length]),
    _harmless("hints-with-headers", lambda a: [_EARLY_HINTS + a.with_length]),
    _harmless("end-of-file", lambda a: [_with_head(a), CLOSE]),
    _harmless("http-1.0", lambda a: [head(status="HTTP/1.0 200 OK") + a.body, CLOSE]),
    _harmless("trailers", lambda a: [a.chunked[:-2] + b"X-Trailer: 1\r\n\r\n"]),
    _harmless("bare-line-feeds", lambda a: [_head_of(a).replace(b"\r", b"") + a.body]),
    _harmless("closed-after-answer", lambda a: [a.with_length, CLOSE]),
    _harmless("reset-after-answer", lambda a: [a.with_length, Pause(), RESET]),
)

FAULTS: tuple[Fault, ...] = (
    *_CONNECTING,
    *_BROKEN_OFF,
    *_SLOW,
    *_SMUGGLED,
    *_GARBAGE,
    *_HARMLESS,
)
