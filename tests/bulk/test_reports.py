"""Reports of attempts in a bulk run: `Attempt.key`, log fields, pauses, context variables."""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING

import httpx
import pytest

from mesh_facade import Attempt, LinkedAccount, MeshClient
from tests.bulk.support import (
    CountingTransport,
    make_accounts,
    only_sync,
    open_run,
    rate_limited,
    read_all,
)
from tests.support import KEYS, OK, Script, response

if TYPE_CHECKING:
    from tests.conftest import Clock, Mode


def fail_with_503(_: str) -> httpx.Response:
    return response(503, b"")


def test_attempts_carry_the_key_of_their_account(mode: Mode) -> None:
    attempts: list[Attempt] = []
    caller = mode.client(transport=CountingTransport(), on_attempt=attempts.append)

    read_all(caller, make_accounts(30), concurrency=7)

    assert sorted(str(attempt.key) for attempt in attempts) == sorted(map(str, range(30)))


def test_attempts_of_a_single_call_have_no_key(mode: Mode) -> None:
    attempts: list[Attempt] = []
    caller = mode.client(transport=CountingTransport(), on_attempt=attempts.append)

    read_all(caller, make_accounts(1))
    caller.read()

    assert [attempt.key for attempt in attempts] == [0, None]


def test_log_records_carry_the_key_of_their_account(
    mode: Mode, caplog: pytest.LogCaptureFixture
) -> None:
    caller = mode.client(transport=CountingTransport(fail_with_503), max_attempts=1)

    with caplog.at_level(logging.DEBUG, logger="mesh_facade"):
        read_all(caller, make_accounts(5))

    records = [
        record
        for record in caplog.records
        if record.name == "mesh_facade" and record.levelno == logging.DEBUG
    ]
    keys = [vars(record)["mesh_attempt_key"] for record in records]
    assert sorted(keys) == [0, 1, 2, 3, 4]
    assert "token-" not in caplog.text


def test_attempts_are_numbered_across_pauses_and_only_the_last_has_no_pause(mode: Mode) -> None:
    attempts: list[Attempt] = []
    caller = mode.client(transport=Script(rate_limited(0)), on_attempt=attempts.append)

    [outcome] = read_all(caller, make_accounts(1))

    assert [attempt.number for attempt in attempts] == list(range(1, 12))
    assert [attempt.pause is None for attempt in attempts] == [False] * 10 + [True]
    assert [attempt.error for attempt in attempts] == ["RateLimitError"] * 11
    assert [attempt.key for attempt in attempts] == [0] * 11
    assert outcome.attempts == 11


def test_pause_of_an_attempt_is_the_time_that_the_run_pauses(mode: Mode, clock: Clock) -> None:
    attempts: list[Attempt] = []
    caller = mode.client(transport=Script(rate_limited(20), OK), on_attempt=attempts.append)

    read_all(caller, make_accounts(1))

    assert [attempt.pause for attempt in attempts] == [20.0, None]
    assert clock.pauses == [20.0]


request_name: contextvars.ContextVar[str] = contextvars.ContextVar("request_name", default="none")


class ContextRecordingTransport(CountingTransport):
    """Records the value of `request_name` that each call sees, by token."""

    def __init__(self) -> None:
        super().__init__(self._record)
        self.seen: dict[str, str] = {}

    def _record(self, token: str) -> httpx.Response:
        self.seen[token] = request_name.get()
        request_name.set("changed by a lane")
        return response()


def test_lanes_see_the_context_variables_at_the_time_an_account_is_drawn(mode: Mode) -> None:
    def draw() -> Iterator[LinkedAccount]:
        for account in make_accounts(9):
            request_name.set(f"request-{account.key}")
            yield account

    transport = ContextRecordingTransport()

    with open_run(mode.client(transport=transport), draw(), concurrency=3) as outcomes:
        list(outcomes)

    assert transport.seen == {f"token-{number}": f"request-{number}" for number in range(9)}


@only_sync
def test_lanes_do_not_change_context_variables_of_the_caller(mode: Mode) -> None:
    transport = ContextRecordingTransport()

    def run() -> str:
        request_name.set("request-of-the-caller")
        read_all(mode.client(transport=transport), make_accounts(3))
        return request_name.get()

    assert contextvars.copy_context().run(run) == "request-of-the-caller"
    assert transport.seen == {f"token-{number}": "request-of-the-caller" for number in range(3)}


def test_sync_lanes_see_the_context_variables_of_a_task() -> None:
    transport = ContextRecordingTransport()

    async def read(name: str) -> None:
        request_name.set(name)
        with MeshClient(**KEYS, transport=transport) as mesh:
            list(mesh.get_account_balances([LinkedAccount(f"token-{name}", "coinbase")]))

    async def read_both() -> None:
        await asyncio.gather(read("first"), read("second"))

    asyncio.run(read_both())

    assert transport.seen == {"token-first": "first", "token-second": "second"}
