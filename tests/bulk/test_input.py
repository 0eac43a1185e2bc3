"""Where accounts come from: iterables, async iterables, and their errors."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
import traceback
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from mesh_facade import AuthenticationError, LinkedAccount
from tests.bulk.support import (
    CountingTransport,
    make_accounts,
    make_async,
    only_async,
    open_run,
    read_all,
    take_until_error,
)
from tests.support import response

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from tests.conftest import Mode


def record(
    accounts: Iterator[LinkedAccount], drawn: list[LinkedAccount]
) -> Iterator[LinkedAccount]:
    """Yield accounts, and append each to a list when it is drawn."""
    for account in accounts:
        drawn.append(account)
        yield account


@pytest.mark.parametrize("accounts", [5, None])
def test_accounts_that_are_not_iterable_raise_type_error(mode: Mode, accounts: Any) -> None:
    with pytest.raises(TypeError, match="not iterable"):
        mode.client().client.get_account_balances(accounts)


def test_accounts_are_drawn_only_as_lanes_become_free(mode: Mode) -> None:
    drawn: list[LinkedAccount] = []
    accounts = record(make_accounts(50), drawn)
    caller = mode.client(transport=CountingTransport())

    with open_run(caller, accounts, concurrency=4) as outcomes:
        assert drawn == []
        for yielded in range(10):
            next(outcomes)
            assert len(drawn) <= 4 + yielded
        time.sleep(0.02)

    assert len(drawn) == 13


def test_accounts_are_drawn_in_the_iterating_thread(mode: Mode) -> None:
    threads: list[threading.Thread] = []

    def draw() -> Iterator[LinkedAccount]:
        for account in make_accounts(30):
            threads.append(threading.current_thread())
            yield account

    read_all(mode.client(transport=CountingTransport()), draw())

    assert set(threads) == {threading.current_thread()}


@only_async
def test_accounts_may_come_from_an_async_iterable(mode: Mode) -> None:
    outcomes = read_all(
        mode.client(transport=CountingTransport()), make_async(make_accounts(50)), concurrency=7
    )

    assert sorted(each.account.key for each in outcomes) == list(range(50))


@only_async
def test_async_iterable_is_drawn_only_as_lanes_become_free(mode: Mode) -> None:
    drawn: list[LinkedAccount] = []
    accounts = make_async(record(make_accounts(50), drawn))

    with open_run(mode.client(transport=CountingTransport()), accounts, concurrency=4) as outcomes:
        for yielded in range(10):
            next(outcomes)
            assert len(drawn) <= 4 + yielded


@only_async
def test_waiting_async_iterable_does_not_delay_outcomes(mode: Mode) -> None:
    async def feedback() -> AsyncIterator[LinkedAccount]:
        for account in make_accounts(3):
            yield account
            await asyncio.wait_for(is_yielded.wait(), 5)  # then comes the next account
            is_yielded.clear()

    async def read() -> list[object]:
        keys: list[object] = []
        async for outcome in caller.client.get_account_balances(feedback()):
            keys.append(outcome.account.key)
            is_yielded.set()
        return keys

    is_yielded = asyncio.Event()
    caller = mode.client(transport=CountingTransport())

    assert mode.run(read()) == [0, 1, 2]


@only_async
def test_closing_a_run_cancels_the_wait_for_an_async_iterable(mode: Mode) -> None:
    async def stuck() -> AsyncIterator[LinkedAccount]:
        yield LinkedAccount("token", "coinbase")
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.append(True)

    cancelled: list[bool] = []

    with open_run(mode.client(transport=CountingTransport()), stuck()) as outcomes:
        next(outcomes)

    assert cancelled == [True]


@only_async
def test_refused_keys_do_not_interrupt_the_end_of_an_async_generator(mode: Mode) -> None:
    async def draw() -> AsyncIterator[LinkedAccount]:
        try:
            for account in make_accounts(100):
                yield account
        finally:
            await asyncio.sleep(0.2)  # such as the closing of a database
            ends.append("closed")

    def take_longer_each_time(token: str) -> float:
        return 0.005 * int(token.removeprefix("token-"))

    ends: list[str] = []
    transport = CountingTransport(lambda _: response(401, b""), take_longer_each_time)
    caller = mode.client(transport=transport)

    with pytest.raises(AuthenticationError):
        read_all(caller, draw(), concurrency=20)

    assert len(transport.tokens) >= 20
    assert ends == ["closed"]


@only_async
def test_leaving_a_run_with_refused_keys_does_not_interrupt_the_end_of_an_async_generator(
    mode: Mode,
) -> None:
    async def draw() -> AsyncIterator[LinkedAccount]:
        try:
            for account in make_accounts(100):
                yield account
        finally:
            is_ending.set()
            await asyncio.sleep(0.2)  # such as the closing of a database
            ends.append("closed")

    async def leave_at_the_end_of_drawing() -> None:
        async with contextlib.aclosing(caller.client.get_account_balances(draw())) as outcomes:
            async for _ in outcomes:
                if is_ending.is_set():
                    break

    def take_longer_each_time(token: str) -> float:
        return 0.005 * int(token.removeprefix("token-"))

    is_ending = asyncio.Event()
    ends: list[str] = []
    transport = CountingTransport(lambda _: response(401, b""), take_longer_each_time)
    caller = mode.client(transport=transport)

    mode.run(leave_at_the_end_of_drawing())

    assert is_ending.is_set()
    assert ends == ["closed"]


@only_async
def test_async_generator_is_closed_in_the_task_that_drew_from_it(mode: Mode) -> None:
    async def draw() -> AsyncIterator[LinkedAccount]:
        tasks.append(asyncio.current_task())
        try:
            for account in make_accounts(9):
                yield account
        finally:
            tasks.append(asyncio.current_task())

    tasks: list[asyncio.Task[object] | None] = []
    caller = mode.client(transport=CountingTransport())

    with open_run(caller, draw(), concurrency=2) as outcomes:
        next(outcomes)  # the generator has yielded, and waits until a lane is free

    assert len(tasks) == 2
    assert tasks[0] is tasks[1]


class FewAccounts:
    """An async iterator that is not a generator, and that ends."""

    def __init__(self) -> None:
        self._accounts = iter(make_accounts(3))

    def __aiter__(self) -> FewAccounts:
        return self

    async def __anext__(self) -> LinkedAccount:
        for account in self._accounts:
            return account
        raise StopAsyncIteration


@only_async
def test_accounts_may_come_from_an_async_iterator_that_is_not_a_generator(mode: Mode) -> None:
    outcomes = read_all(mode.client(transport=CountingTransport()), FewAccounts())

    assert sorted(each.account.key for each in outcomes) == [0, 1, 2]


class EndlessAccounts:
    """An async iterator that is not a generator."""

    def __aiter__(self) -> EndlessAccounts:
        return self

    async def __anext__(self) -> LinkedAccount:
        return LinkedAccount("token", "coinbase")


@only_async
def test_async_iterator_of_another_class_can_be_left(mode: Mode) -> None:
    with open_run(mode.client(transport=CountingTransport()), EndlessAccounts()) as outcomes:
        assert next(outcomes).error is None


async def inside_a_timeout() -> AsyncIterator[LinkedAccount]:
    async with asyncio.timeout(0.05):
        for account in make_accounts(3):
            yield account
        await asyncio.Event().wait()


async def inside_a_task_group() -> AsyncIterator[LinkedAccount]:
    async def fail() -> None:
        await asyncio.sleep(0.01)
        raise InputError

    async with asyncio.TaskGroup() as group:
        group.create_task(fail())
        for account in make_accounts(3):
            yield account
        await asyncio.Event().wait()


@only_async
@pytest.mark.parametrize(
    ("draw", "error_class"),
    [(inside_a_timeout, TimeoutError), (inside_a_task_group, ExceptionGroup)],
)
def test_cancel_scope_of_an_async_iterable_cancels_no_account(
    mode: Mode,
    draw: Callable[[], AsyncIterator[LinkedAccount]],
    error_class: type[Exception],
) -> None:
    transport = CountingTransport(seconds=lambda _: 0.2)  # the iterable fails during the calls

    with open_run(mode.client(transport=transport), draw()) as outcomes:
        keys, _ = take_until_error(outcomes, error_class)

    assert sorted(str(key) for key in keys) == ["0", "1", "2"]


@only_async
@pytest.mark.parametrize(
    ("draw", "error_class"),
    [(inside_a_timeout, TimeoutError), (inside_a_task_group, ExceptionGroup)],
)
def test_cancel_scope_that_ends_while_all_lanes_are_busy_cancels_no_account(
    mode: Mode,
    draw: Callable[[], AsyncIterator[LinkedAccount]],
    error_class: type[Exception],
) -> None:
    transport = CountingTransport(seconds=lambda _: 0.2)  # the scope ends during the calls

    with open_run(mode.client(transport=transport), draw(), concurrency=2) as outcomes:
        keys, _ = take_until_error(outcomes, error_class)

    assert sorted(str(key) for key in keys) == ["0", "1"]


@only_async
def test_async_generator_may_yield_after_a_timeout_that_ended_while_all_lanes_were_busy(
    mode: Mode,
) -> None:
    async def draw() -> AsyncIterator[LinkedAccount]:
        try:
            async with asyncio.timeout(0.05):
                for account in make_accounts(3):
                    yield account
        except TimeoutError:
            yield LinkedAccount("token", "coinbase", "the last")

    transport = CountingTransport(seconds=lambda _: 0.2)

    outcomes = read_all(mode.client(transport=transport), draw(), concurrency=2)

    assert sorted(str(each.account.key) for each in outcomes) == ["0", "1", "the last"]
    assert [each.error for each in outcomes] == [None, None, None]


@only_async
@pytest.mark.parametrize("concurrency", [1, 2])
def test_async_generator_may_yield_within_a_new_timeout_each_time_that_one_ends(
    mode: Mode, concurrency: int
) -> None:
    async def draw() -> AsyncIterator[LinkedAccount]:
        for account in make_accounts(6):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.02):
                    yield account

    transport = CountingTransport(seconds=lambda _: 0.1)  # several timeouts end meanwhile

    outcomes = read_all(mode.client(transport=transport), draw(), concurrency=concurrency)

    assert sorted(str(each.account.key) for each in outcomes) == ["0", "1", "2", "3", "4", "5"]
    assert [each.error for each in outcomes] == [None] * 6


@only_async
def test_error_of_an_async_generator_comes_after_the_calls_in_flight_although_accounts_wait(
    mode: Mode,
) -> None:
    async def draw() -> AsyncIterator[LinkedAccount]:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.02):
                for account in make_accounts(3):
                    yield account
        async with asyncio.timeout(0.02):
            yield LinkedAccount("token", "coinbase", "waits for a lane")

    transport = CountingTransport(seconds=lambda _: 0.2)

    with open_run(mode.client(transport=transport), draw(), concurrency=1) as outcomes:
        keys, _ = take_until_error(outcomes, TimeoutError)

    assert keys == [0]


@only_async
def test_async_generator_may_end_at_a_timeout_that_ended_while_all_lanes_were_busy(
    mode: Mode,
) -> None:
    async def draw() -> AsyncIterator[LinkedAccount]:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.05):
                for account in make_accounts(3):
                    yield account

    transport = CountingTransport(seconds=lambda _: 0.2)

    outcomes = read_all(mode.client(transport=transport), draw(), concurrency=2)

    assert sorted(str(each.account.key) for each in outcomes) == ["0", "1"]


@only_async
def test_async_iterable_may_reset_a_context_variable_that_it_set(mode: Mode) -> None:
    async def draw() -> AsyncIterator[LinkedAccount]:
        for account in make_accounts(3):
            token = request_id.set(str(account.key))
            yield account
            request_id.reset(token)

    def answer(_: str) -> httpx.Response:
        seen.append(request_id.get())
        return response()

    seen: list[str] = []
    request_id: ContextVar[str] = ContextVar("request_id")

    outcomes = read_all(mode.client(transport=CountingTransport(answer)), draw())

    assert [each.error for each in outcomes] == [None, None, None]
    assert seen == ["0", "1", "2"]


@only_async
def test_async_iterable_that_yields_after_its_cancellation_is_drawn_no_further(mode: Mode) -> None:
    async def stubborn() -> AsyncIterator[LinkedAccount]:
        yield LinkedAccount("token-0", "coinbase")
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            yield LinkedAccount("token-1", "coinbase")

    transport = CountingTransport()

    with open_run(mode.client(transport=transport), stubborn()) as outcomes:
        next(outcomes)

    assert transport.tokens == ["token-0"]


@only_async
def test_cancellation_that_an_async_iterable_raises_reaches_the_caller(mode: Mode) -> None:
    async def draw() -> AsyncIterator[LinkedAccount]:
        yield LinkedAccount("token-0", "coinbase")
        raise asyncio.CancelledError

    with (
        open_run(mode.client(transport=CountingTransport()), draw()) as outcomes,
        pytest.raises(asyncio.CancelledError),
    ):
        list(outcomes)


class InputError(Exception):
    pass


def fail_after(count: int) -> Iterator[LinkedAccount]:
    yield from make_accounts(count)
    raise InputError("the file ends in mid-line")


@pytest.mark.parametrize("count", [0, 1, 7])
def test_error_of_the_input_is_raised_after_the_calls_in_flight(mode: Mode, count: int) -> None:
    with open_run(mode.client(transport=CountingTransport()), fail_after(count)) as outcomes:
        keys, error = take_until_error(outcomes, InputError)

    assert sorted(keys) == list(range(count))
    assert str(error) == "the file ends in mid-line"


def test_error_of_an_input_without_a_module_is_raised_after_the_calls_in_flight(mode: Mode) -> None:
    names: dict[str, Any] = {"accounts": make_accounts(1), "InputError": InputError}
    exec("def draw():\n    yield from accounts\n    raise InputError", names)  # noqa: S102 — our own
    assert "__name__" not in names

    with open_run(mode.client(transport=CountingTransport()), names["draw"]()) as outcomes:
        keys, _ = take_until_error(outcomes, InputError)

    assert keys == [0]


@only_async
def test_error_of_an_async_input_is_raised_after_the_calls_in_flight(mode: Mode) -> None:
    accounts = make_async(fail_after(7))

    with open_run(mode.client(transport=CountingTransport()), accounts) as outcomes:
        keys, _ = take_until_error(outcomes, InputError)

    assert sorted(keys) == list(range(7))


@pytest.mark.parametrize("place", [0, 3, 6])
def test_item_of_another_type_ends_the_run_after_the_calls_in_flight(
    mode: Mode, place: int
) -> None:
    accounts: list[Any] = [*make_accounts(6)]
    accounts.insert(place, ("canary-0006", "coinbase"))

    with open_run(mode.client(transport=CountingTransport()), accounts) as outcomes:
        keys, error = take_until_error(outcomes, TypeError)

    assert sorted(keys) == list(range(6))
    assert str(error) == "accounts must be LinkedAccounts, but one of them has the type tuple"
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    own = [frame for frame in frames if "mesh_facade" in frame.f_code.co_filename]
    assert "canary" not in repr([frame.f_locals for frame in own])
