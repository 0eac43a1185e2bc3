"""Bulk: an outcome for every account, as it comes, whatever happens to the others."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import pickle
import subprocess
import sys
import threading
import time
import traceback
import tracemalloc
from collections import Counter
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from mesh_facade import (
    AuthenticationError,
    BadRequestError,
    LinkedAccount,
    MeshAPIError,
    MeshConfigurationError,
    MeshConnectionError,
    MeshError,
    MeshResponseError,
    MeshTimeoutError,
    Outcome,
    PermissionDeniedError,
    RateLimitError,
    ServerError,
    pacing,
)
from mesh_facade.engine.retries import CallState, Pause, RetryBudget
from mesh_facade.testing import MockServer
from tests.support import OK, Peer, Script, response

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator

    from tests.conftest import Caller, Clock, Mode, Serve

only_sync = pytest.mark.parametrize("mode", ["sync"], indirect=True)
only_async = pytest.mark.parametrize("mode", ["async"], indirect=True)

TEN_WAYS: dict[str, type[MeshError]] = {
    "truncated": MeshConnectionError,
    "server-failure": ServerError,
    "html-502": ServerError,
    "unauthorized-token": BadRequestError,
    "permission-denied": PermissionDeniedError,
    "unknown-status": MeshAPIError,
    "null-content": MeshResponseError,
    "not-json": MeshResponseError,
    "reset": MeshConnectionError,
    "redirect": MeshResponseError,
}


def linked(count: int) -> Iterator[LinkedAccount]:
    for key in range(count):
        yield LinkedAccount(f"token-{key}", "coinbase", key)


async def one_by_one(accounts: Iterable[LinkedAccount]) -> AsyncIterator[LinkedAccount]:
    for account in accounts:
        await asyncio.sleep(0)
        yield account


@contextlib.contextmanager
def outcomes_of(caller: Caller, accounts: Any, **options: Any) -> Iterator[Iterator[Outcome]]:
    """Iterate over a run of either mode, and close it at the end."""
    run = caller.client.get_account_balances(accounts, **options)

    def each() -> Iterator[Outcome]:
        if not caller.mode.is_async:
            yield from run
        with contextlib.suppress(StopAsyncIteration):
            while caller.mode.is_async:
                yield caller.mode.run(run.asend(None))

    try:
        yield each()
    finally:
        caller.mode.run(run.aclose() if caller.mode.is_async else run.close())


def read_all(caller: Caller, accounts: Any, **options: Any) -> list[Outcome]:
    with outcomes_of(caller, accounts, **options) as outcomes:
        return list(outcomes)


class Answers(httpx.MockTransport):
    """Answers by token, in process and after a while; it counts the calls under way."""

    def __init__(
        self,
        answer: Callable[[str], httpx.Response] = lambda _: response(),
        seconds: Callable[[str], float] = lambda _: 0.002,
    ) -> None:
        super().__init__(lambda _: response())
        self.answer = answer
        self.seconds = seconds
        self.tokens: list[str] = []
        self.now = self.most = 0
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def _under_way(self, request: httpx.Request) -> Iterator[str]:
        token = json.loads(request.content)["authToken"]
        with self._lock:
            self.tokens.append(token)
            self.now += 1
            self.most = max(self.most, self.now)
        try:
            yield token
        finally:
            with self._lock:
                self.now -= 1

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        with self._under_way(request) as token:
            time.sleep(self.seconds(token))
        return self.answer(token)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        with self._under_way(request) as token:
            await asyncio.sleep(self.seconds(token))
        return self.answer(token)


def paced(seconds: object) -> httpx.Response:
    return response(429, b"", {"Retry-After": str(seconds)})


@pytest.fixture
def mesh() -> Iterator[MockServer]:
    with MockServer() as mesh:
        yield mesh


def client_of(mesh: MockServer, mode: Mode, **options: Any) -> Caller:
    keys = {"client_id": mesh.client_id, "client_secret": mesh.client_secret}
    return mode.client(**{"base_url": mesh.url, **keys, **options})


# --- an outcome for every account ---------------------------------------------------------------


def test_every_account_gives_one_outcome_with_its_own_balance(mode: Mode, mesh: MockServer) -> None:
    for account in linked(60):
        mesh.answers(account.auth_token, cash={"USD": account.key})
    caller = client_of(mesh, mode)

    outcomes = read_all(caller, linked(60), concurrency=7)

    assert {each.account.key: each.balance.cash("USD") for each in outcomes} == {
        key: Decimal(key) for key in range(60)
    }
    assert len(outcomes) == 60
    assert {(each.error, each.attempts) for each in outcomes} == {(None, 1)}
    assert all(0 < each.elapsed < 10 for each in outcomes)


def test_outcomes_come_in_order_of_completion(mode: Mode, mesh: MockServer) -> None:
    mesh.answers("token-0", delay=0.3)
    mesh.answers("token-1", delay=0.15)
    caller = client_of(mesh, mode)

    assert [each.account.key for each in read_all(caller, linked(3))] == [2, 1, 0]


def test_an_error_is_its_accounts_outcome_and_stops_no_other(mode: Mode, mesh: MockServer) -> None:
    for fault in TEN_WAYS:
        mesh.fails(fault, fault)
    mesh.answers("good", cash={"USD": 1})
    tokens = [token for fault in TEN_WAYS for token in (fault, "good")]
    caller = client_of(mesh, mode, max_attempts=1)

    outcomes = read_all(caller, [LinkedAccount(token, "x", token) for token in tokens])

    good = [each for each in outcomes if each.account.key == "good"]
    bad = {each.account.key: each for each in outcomes if each.account.key != "good"}
    assert {type(each.error) for each in good} == {type(None)}
    assert len(good) == len(TEN_WAYS)
    assert {key: type(each.error) for key, each in bad.items()} == TEN_WAYS
    assert {each.balance for each in bad.values()} == {None}


@pytest.mark.parametrize(("token", "error_class"), [("", ValueError), (None, TypeError)])
def test_arguments_that_cannot_be_sent_are_an_outcome(
    mode: Mode, token: Any, error_class: type[Exception]
) -> None:
    accounts = [LinkedAccount(token, "coinbase", "bad"), LinkedAccount("token", "coinbase", "good")]

    outcomes = read_all(mode.client(transport=Answers()), accounts, concurrency=1)

    bad, good = outcomes
    assert (type(bad.error), bad.balance, bad.attempts) == (error_class, None, 0)
    assert good.balance is not None


def test_attempts_are_told(mode: Mode, clock: Clock) -> None:
    caller = mode.client(transport=Script(response(503, b""), OK))

    [outcome] = read_all(caller, linked(1))

    assert (outcome.attempts, outcome.error) == (2, None)
    assert clock.pauses


def test_no_accounts_give_no_outcomes(mode: Mode) -> None:
    assert read_all(mode.client(transport=Answers()), []) == []


def test_a_closed_client_gives_its_error_for_each(mode: Mode) -> None:
    caller = mode.client(transport=Answers())
    caller.close()

    assert [str(each.error) for each in read_all(caller, linked(2))] == [
        "this client is closed"
    ] * 2


def test_more_lanes_than_connections_take_turns(mode: Mode, serve: Serve) -> None:
    server = serve()

    outcomes = read_all(mode.client(base_url=server.url, max_connections=3), linked(40))

    assert all(each.balance for each in outcomes)
    assert server.connections == 3


def test_other_bounds_hold_in_bulk_too(mode: Mode, serve: Serve) -> None:
    caller = mode.client(base_url=serve(Peer.hold).url).with_options(deadline=0.1)

    [outcome] = read_all(caller, linked(1))

    assert type(outcome.error) is MeshTimeoutError


def test_the_generated_operation_runs_on_the_same_connections(mode: Mode, serve: Serve) -> None:
    server = serve()
    caller = mode.client(base_url=server.url)
    caller.read()

    read_all(caller, linked(5), concurrency=1)

    assert server.connections == 1


# --- how many at a time -------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{"concurrency": 1}, {"concurrency": 3}, {}])
def test_as_many_are_read_at_a_time_as_are_asked_for_or_twenty(
    mode: Mode, options: dict[str, int]
) -> None:
    transport = Answers(seconds=lambda _: 0.05)
    concurrency = options.get("concurrency", 20)
    count = 3 * concurrency

    assert len(read_all(mode.client(transport=transport), linked(count), **options)) == count
    assert transport.most == concurrency


@pytest.mark.parametrize("concurrency", [0, -1, 2.5, "20", True, None])
def test_a_concurrency_that_is_none_is_refused_at_once(mode: Mode, concurrency: Any) -> None:
    drawn: list[Any] = []

    with pytest.raises(MeshConfigurationError, match=r"^concurrency must be a whole number"):
        mode.client().client.get_account_balances(map(drawn.append, [1]), concurrency=concurrency)
    assert drawn == []


@pytest.mark.parametrize("accounts", [5, None])
def test_what_is_not_iterable_is_refused_at_once(mode: Mode, accounts: Any) -> None:
    with pytest.raises(TypeError, match="not iterable"):
        mode.client().client.get_account_balances(accounts)


def test_accounts_are_drawn_only_as_lanes_become_free(mode: Mode) -> None:
    drawn: list[LinkedAccount] = []
    accounts = (drawn.append(account) or account for account in linked(50))
    caller = mode.client(transport=Answers())

    with outcomes_of(caller, accounts, concurrency=4) as outcomes:
        assert drawn == []
        for yielded in range(10):
            next(outcomes)
            assert len(drawn) <= 4 + yielded
        time.sleep(0.02)

    assert len(drawn) == 13


def test_accounts_are_drawn_in_the_thread_that_iterates(mode: Mode) -> None:
    threads: list[threading.Thread] = []
    accounts = (threads.append(threading.current_thread()) or each for each in linked(30))

    read_all(mode.client(transport=Answers()), accounts)

    assert set(threads) == {threading.current_thread()}


def test_no_more_threads_start_than_there_are_accounts(mode: Mode) -> None:
    before, most = threading.active_count(), []

    def answer(_: str) -> httpx.Response:
        most.append(threading.active_count())
        return response()

    read_all(mode.client(transport=Answers(answer)), linked(3), concurrency=50)

    assert max(most) - before <= 3


def peak_of(caller: Caller, count: int) -> int:
    gc.collect()
    tracemalloc.start()
    with outcomes_of(caller, linked(count)) as outcomes:
        assert sum(1 for _ in outcomes) == count
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak


def test_memory_does_not_grow_with_the_number_of_accounts(mode: Mode) -> None:
    caller = mode.client(transport=httpx.MockTransport(lambda _: response()))
    peak_of(caller, 100)

    assert peak_of(caller, 800) < peak_of(caller, 100) + 500_000  # kept, 700 outcomes take 800 kB


@only_sync
def test_the_sync_client_reads_in_bulk_where_a_loop_runs_as_well(mode: Mode) -> None:
    async def read() -> int:
        return len(read_all(caller, linked(5)))

    caller = mode.client(transport=Answers())

    assert asyncio.run(read()) == 5


# --- async iterables ----------------------------------------------------------------------------


@only_async
def test_accounts_may_come_from_an_async_iterable(mode: Mode) -> None:
    outcomes = read_all(mode.client(transport=Answers()), one_by_one(linked(50)), concurrency=7)

    assert sorted(each.account.key for each in outcomes) == list(range(50))


@only_async
def test_an_async_iterable_is_drawn_only_as_lanes_become_free(mode: Mode) -> None:
    drawn: list[LinkedAccount] = []
    accounts = one_by_one(drawn.append(account) or account for account in linked(50))

    with outcomes_of(mode.client(transport=Answers()), accounts, concurrency=4) as outcomes:
        for yielded in range(10):
            next(outcomes)
            assert len(drawn) <= 4 + yielded


@only_async
def test_an_async_iterable_that_makes_one_wait_holds_up_no_outcome(mode: Mode) -> None:
    async def feedback() -> AsyncIterator[LinkedAccount]:
        for account in linked(3):
            yield account
            await asyncio.wait_for(seen.wait(), 5)  # nothing more before the outcome is out
            seen.clear()

    async def read() -> list[Any]:
        keys = []
        async for outcome in caller.client.get_account_balances(feedback()):
            keys.append(outcome.account.key)
            seen.set()
        return keys

    seen = asyncio.Event()
    caller = mode.client(transport=Answers())

    assert mode.run(read()) == [0, 1, 2]


@only_async
def test_an_async_iterable_is_not_waited_for_once_the_run_is_closed(mode: Mode) -> None:
    async def stuck() -> AsyncIterator[LinkedAccount]:
        yield LinkedAccount("token", "coinbase")
        try:
            await asyncio.Event().wait()
        finally:
            left.append(True)

    left: list[bool] = []

    with outcomes_of(mode.client(transport=Answers()), stuck()) as outcomes:
        next(outcomes)

    assert left == [True]


# --- what ends a run early ----------------------------------------------------------------------


class InputError(Exception):
    pass


def broken_after(count: int) -> Iterator[LinkedAccount]:
    yield from linked(count)
    raise InputError("the file ends in mid-line")


def take(outcomes: Iterator[Outcome], error_class: type[Exception]) -> tuple[list[Any], Exception]:
    """Return the keys of all outcomes, and the error that follows them."""
    keys: list[Any] = []
    with pytest.raises(error_class) as caught:
        keys.extend(outcome.account.key for outcome in outcomes)
    return keys, caught.value


@pytest.mark.parametrize("count", [0, 1, 7])
def test_what_the_input_raises_comes_after_what_is_in_flight(mode: Mode, count: int) -> None:
    with outcomes_of(mode.client(transport=Answers()), broken_after(count)) as outcomes:
        keys, error = take(outcomes, InputError)

    assert sorted(keys) == list(range(count))
    assert str(error) == "the file ends in mid-line"


@only_async
def test_what_an_async_input_raises_comes_after_what_is_in_flight(mode: Mode) -> None:
    accounts = one_by_one(broken_after(7))

    with outcomes_of(mode.client(transport=Answers()), accounts) as outcomes:
        keys, _ = take(outcomes, InputError)

    assert sorted(keys) == list(range(7))


@pytest.mark.parametrize("place", [0, 3, 6])
def test_what_is_no_linked_account_ends_the_run_after_what_is_in_flight(
    mode: Mode, place: int
) -> None:
    accounts: list[Any] = [*linked(6)]
    accounts.insert(place, ("canary-0006", "coinbase"))

    with outcomes_of(mode.client(transport=Answers()), accounts) as outcomes:
        keys, error = take(outcomes, TypeError)

    assert sorted(keys) == list(range(6))
    assert str(error) == "accounts must be LinkedAccounts, but one of them is a tuple"
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    own = [frame for frame in frames if "mesh_facade" in frame.f_code.co_filename]
    assert "canary" not in repr([frame.f_locals for frame in own])


def refused(_: str = "") -> httpx.Response:
    return response(401, b"")


def test_evidently_refused_keys_end_the_run_after_calls_in_flight(mode: Mode) -> None:
    transport = Answers(refused)

    with outcomes_of(mode.client(transport=transport), linked(2000)) as outcomes:
        keys, error = take(outcomes, AuthenticationError)

    assert sorted(keys) == list(range(len(transport.tokens)))
    assert 20 <= len(keys) <= 40
    assert (type(error), getattr(error, "http_status", None)) == (AuthenticationError, 401)


def test_keys_that_were_accepted_once_are_evidently_refused_later(mode: Mode) -> None:
    transport = Answers(lambda token: refused() if int(token[6:]) >= 30 else response())

    with outcomes_of(mode.client(transport=transport), linked(2000), concurrency=3) as outcomes:
        keys, _ = take(outcomes, AuthenticationError)

    assert set(range(35)) <= set(keys)
    assert len(keys) <= 38


def test_one_bare_401_is_its_accounts_outcome_and_ends_nothing(mode: Mode) -> None:
    transport = Answers(lambda token: refused() if token == "token-2" else response())

    outcomes = read_all(mode.client(transport=transport), linked(50))

    assert {each.account.key: type(each.error) for each in outcomes if each.error} == {
        2: AuthenticationError
    }
    assert len(outcomes) == 50


def test_four_accounts_that_are_all_refused_are_no_evidence(mode: Mode) -> None:
    outcomes = read_all(mode.client(transport=Answers(refused)), linked(4), concurrency=1)

    assert [type(each.error) for each in outcomes] == [AuthenticationError] * 4


def test_a_success_in_between_ends_a_row_of_refusals(mode: Mode) -> None:
    transport = Answers(lambda token: response() if int(token[6:]) % 5 == 4 else refused())

    outcomes = read_all(mode.client(transport=transport), linked(50), concurrency=1)

    assert len(outcomes) == 50


def test_one_account_that_is_refused_many_times_is_no_evidence(mode: Mode) -> None:
    accounts = [LinkedAccount("token", "coinbase", "mine")] * 50

    assert len(read_all(mode.client(transport=Answers(refused)), accounts)) == 50


def test_failures_of_the_network_neither_end_nor_lengthen_a_row_of_refusals(mode: Mode) -> None:
    def answer(token: str) -> httpx.Response:
        if int(token[6:]) % 2:
            raise httpx.ConnectError("")
        return refused()

    transport = Answers(answer)
    caller = mode.client(transport=transport, max_attempts=1)

    with outcomes_of(caller, linked(100), concurrency=1) as outcomes:
        keys, _ = take(outcomes, AuthenticationError)

    assert keys == list(range(9))


def test_a_refused_run_raises_after_its_outcomes_even_where_all_were_drawn(mode: Mode) -> None:
    transport = Answers(refused, seconds=lambda _: 0.2)

    with outcomes_of(mode.client(transport=transport), linked(5), concurrency=5) as outcomes:
        keys, _ = take(outcomes, AuthenticationError)

    assert sorted(keys) == [0, 1, 2, 3, 4]


def test_a_dead_user_token_ends_nothing(mode: Mode) -> None:
    body = b'{"errorType": "unauthorizedToken"}'

    outcomes = read_all(mode.client(transport=Answers(lambda _: response(401, body))), linked(30))

    assert {type(each.error) for each in outcomes} == {AuthenticationError}
    assert len(outcomes) == 30


def test_the_frames_of_refused_keys_know_no_token(mode: Mode) -> None:
    transport = Answers(refused)
    accounts = [LinkedAccount(f"canary-{number}", "coinbase") for number in range(5)]
    with outcomes_of(mode.client(transport=transport), accounts, concurrency=5) as outcomes:
        _, error = take(outcomes, AuthenticationError)

    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    own = [frame for frame in frames if "mesh_facade" in frame.f_code.co_filename]
    known = [repr(value) for frame in own for value in frame.f_locals.values()]
    assert own
    assert "canary" not in "".join(known)
    assert error.__context__ is None


@only_sync
def test_what_ends_the_program_is_no_outcome(mode: Mode) -> None:
    def secret() -> str:
        raise SystemExit(3)

    caller = mode.client(transport=Answers(), client_secret=secret)

    with outcomes_of(caller, linked(1)) as outcomes, pytest.raises(SystemExit):
        next(outcomes)


# --- pauses -------------------------------------------------------------------------------------


class Limited(Answers):
    """Turns calls away, from one on, until its `Retry-After` is over."""

    def __init__(self, first: int, retry_after: float) -> None:
        super().__init__(self._limit)
        self.first = first
        self.retry_after = retry_after
        self.opens_at = 0.0
        self.turned_away: list[str] = []

    def _limit(self, token: str) -> httpx.Response:
        now = time.monotonic()
        if len(self.tokens) >= self.first and not self.opens_at:
            self.opens_at = now + self.retry_after
        if now < self.opens_at:
            self.turned_away.append(token)
            return paced(self.retry_after)
        return response()


def test_a_rate_limit_pauses_all_lanes_once(mode: Mode) -> None:
    transport = Limited(30, 0.3)
    began_at = time.monotonic()

    outcomes = read_all(mode.client(transport=transport), linked(100), concurrency=8)

    assert Counter(each.account.key for each in outcomes) == Counter(range(100))
    assert {(each.error, each.attempts) for each in outcomes} <= {(None, 1), (None, 2)}
    assert 1 <= len(transport.turned_away) <= 8
    assert len(transport.tokens) == 100 + len(transport.turned_away)
    assert 0.3 <= time.monotonic() - began_at < 5
    waited = [each.elapsed for each in outcomes if each.elapsed >= 0.3]
    assert len(waited) >= len(transport.turned_away)


def test_pauses_take_nothing_from_the_retry_budget(mode: Mode) -> None:
    turned_away: set[str] = set()

    def answer(token: str) -> httpx.Response:
        if token in turned_away:
            return response()
        turned_away.add(token)
        return paced(0.001)

    outcomes = read_all(mode.client(transport=Answers(answer), max_attempts=1), linked(40))

    assert {(each.error, each.attempts) for each in outcomes} == {(None, 2)}


def test_a_rate_limit_without_a_time_is_retried_as_ever(mode: Mode, clock: Clock) -> None:
    caller = mode.client(transport=Script(response(429, b"")))

    [outcome] = read_all(caller, linked(1))

    assert (type(outcome.error), outcome.attempts) == (RateLimitError, 3)
    assert len(clock.pauses) == 2


def test_other_attempts_of_an_account_are_counted_across_pauses(mode: Mode) -> None:
    script = Script(response(503, b"", {"Retry-After": "0"}), paced(0), OK)

    [outcome] = read_all(mode.client(transport=script), linked(1))

    assert (outcome.error, outcome.attempts) == (None, 3)


def test_a_rate_limit_without_end_becomes_the_outcome(mode: Mode) -> None:
    script = Script(paced(0))

    [outcome] = read_all(mode.client(transport=script), linked(1))

    assert (type(outcome.error), outcome.attempts) == (RateLimitError, 11)
    assert len(script.requests) == pacing.MOST_PAUSES + 1 == 11


def test_a_pause_too_long_to_wait_out_becomes_the_outcome(mode: Mode) -> None:
    script = Script(paced(301), paced(300.5), OK)

    outcomes = read_all(mode.client(transport=script), linked(3), concurrency=1)

    assert [getattr(each.error, "retry_after", None) for each in outcomes] == [301, 300.5, None]
    assert pacing.LONGEST_PAUSE == 300


def test_a_retry_waits_for_the_end_of_a_pause(mode: Mode) -> None:
    at: list[float] = []

    def answer(token: str) -> httpx.Response:
        at.append(time.monotonic())
        if len(at) > 2:
            return response()
        return paced(0.3) if token == "token-0" else response(503, b"", {"Retry-After": "0"})

    transport = Answers(answer, lambda token: 0.05 if token == "token-1" else 0)
    outcomes = read_all(mode.client(transport=transport), linked(2))

    assert {each.error for each in outcomes} == {None}
    assert min(at[2:]) - at[0] >= 0.3


def test_other_failures_are_retried_within_the_deadline_as_in_a_single_call(clock: Clock) -> None:
    policy = pacing.BulkRetryPolicy(RetryBudget(), max_pause=None)
    state = CallState(1, 3, 0, seconds_left=10.0)

    paused = policy.find_pause(RateLimitError(retry_after=11.0), state)
    retried = policy.find_pause(ServerError(), state)

    assert paused == Pause(11.0, extends_deadline=True)
    assert policy.seconds_to_hold() == 11.0
    assert retried is not None
    assert retried.seconds <= 0.5
    assert not retried.extends_deadline
    assert clock.pauses == []


# --- stopping -----------------------------------------------------------------------------------


def tasks_of(mode: Mode) -> int:
    async def count() -> int:
        return len(asyncio.all_tasks()) - 1

    return mode.run(count()) if mode.is_async else 0  # type: ignore[no-any-return]


@pytest.mark.parametrize("yielded", [0, 1, 25])
def test_closing_the_iterator_stops_the_work_and_leaks_nothing(mode: Mode, yielded: int) -> None:
    threads = threading.active_count()
    transport = Answers()

    with outcomes_of(mode.client(transport=transport), linked(100_000)) as outcomes:
        for _ in range(yielded):
            next(outcomes)
    sent = len(transport.tokens)
    time.sleep(0.02)

    assert (threading.active_count(), tasks_of(mode), transport.now) == (threads, 0, 0)
    assert len(transport.tokens) == sent <= (yielded + 20 if yielded else 0)


@only_sync
def test_breaking_off_stops_the_work(mode: Mode) -> None:
    threads = threading.active_count()

    for _ in mode.client(transport=Answers()).client.get_account_balances(linked(100_000)):
        break

    assert threading.active_count() == threads


def test_closing_wakes_those_that_wait_for_the_end_of_a_pause(mode: Mode) -> None:
    transport = Answers(lambda token: response() if token == "token-0" else paced(60))
    threads, began_at = threading.active_count(), time.monotonic()

    with outcomes_of(mode.client(transport=transport), linked(9)) as outcomes:
        next(outcomes)
        time.sleep(0.05)

    assert time.monotonic() - began_at < 2
    assert (threading.active_count(), tasks_of(mode)) == (threads, 0)


@only_sync
def test_closing_lets_calls_under_way_end_and_repeats_none(mode: Mode) -> None:
    ended: list[str] = []

    def answer(token: str) -> httpx.Response:
        ended.append(token)
        return response() if token == "token-0" else response(503, b"")

    transport = Answers(answer, lambda token: 0.2 if token == "token-0" else 0.5)

    with outcomes_of(mode.client(transport=transport), linked(2)) as outcomes:
        next(outcomes)

    assert ended == ["token-0", "token-1"]


@only_async
def test_cancelling_the_task_that_iterates_cancels_its_lanes(mode: Mode, mesh: MockServer) -> None:
    async def read() -> int:
        mesh.answers("token-0", delay=30)
        task = asyncio.create_task(collect())
        await asyncio.sleep(0.1)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        return len(asyncio.all_tasks()) - 1

    async def collect() -> None:
        async for _ in client.get_account_balances(linked(5)):
            pass

    client = client_of(mesh, mode).client

    assert mode.run(read()) == 0


def test_a_client_goes_on_after_a_run_was_closed(mode: Mode, serve: Serve) -> None:
    caller = mode.client(base_url=serve().url, max_connections=4)

    for _ in range(5):
        with outcomes_of(caller, linked(1000), concurrency=8) as outcomes:
            next(outcomes)

    assert len(read_all(caller, linked(20))) == 20


INTERRUPTED = """
import asyncio, signal, sys, threading, os
from mesh_facade import AsyncMeshClient, LinkedAccount, MeshClient

def accounts():
    while True:
        yield LinkedAccount("slow" if sys.argv[2] == "waiting" else "a-token", "coinbase")

def interrupt():
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGINT))

def read():
    with MeshClient(deadline=1) as mesh:
        for _ in mesh.get_account_balances(accounts()): pass

async def read_async():
    async with AsyncMeshClient(deadline=1) as mesh:
        async for _ in mesh.get_account_balances(accounts()): pass

interrupt()
try:
    asyncio.run(read_async()) if sys.argv[1] == "async" else read()
except KeyboardInterrupt:
    print("interrupted", threading.active_count())
"""


@pytest.mark.parametrize("state", ["busy", "waiting"])
def test_ctrl_c_stops_the_work_and_leaks_nothing(mode: Mode, mesh: MockServer, state: str) -> None:
    mesh.answers("slow", delay=30)
    arguments = ["async" if mode.is_async else "sync", state]
    began_at = time.monotonic()

    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", INTERRUPTED, *arguments],
        env=os.environ | mesh.environment,
        capture_output=True,
        text=True,
        check=False,
    )

    assert (ran.stdout, ran.stderr) == ("interrupted 1\n", "")
    assert time.monotonic() - began_at < 15


# --- accounts and outcomes ----------------------------------------------------------------------


def test_the_repr_of_account_and_outcome_shows_no_token(mode: Mode) -> None:
    account = LinkedAccount("canary-0005", "coinbase", "a-key")

    [outcome] = read_all(mode.client(transport=Answers()), [account])

    assert repr(account) == "LinkedAccount(broker='coinbase', key='a-key')"
    assert "a-key" in repr(outcome)
    assert "canary" not in repr(outcome)


@pytest.mark.parametrize("status", [200, 503])
def test_accounts_and_outcomes_can_be_pickled(mode: Mode, status: int) -> None:
    transport = Answers(lambda _: response(status))

    [outcome] = read_all(mode.client(transport=transport, max_attempts=1), linked(1))
    copied = pickle.loads(pickle.dumps(outcome))  # noqa: S301 — it was pickled here

    assert copied.account == outcome.account == LinkedAccount("token-0", "coinbase", key=0)
    assert copied.balance == outcome.balance
    assert (type(copied.error), str(copied.error)) == (type(outcome.error), str(outcome.error))
    assert (copied.attempts, copied.elapsed) == (outcome.attempts, outcome.elapsed)


def test_a_key_is_whatever_tells_accounts_apart_or_nothing() -> None:
    assert LinkedAccount("token", "coinbase").key is None
    assert LinkedAccount("token", "coinbase", key=("a", 1)).key == ("a", 1)
