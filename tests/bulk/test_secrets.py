"""No token is shown by accounts and outcomes, and no frame keeps one longer than it must."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
import traceback
import weakref
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Any, Self

import httpx
import pytest

from mesh_facade import AsyncMeshClient, LinkedAccount, MeshError
from tests.bulk.support import (
    Accounts,
    CountingTransport,
    make_accounts,
    only_async,
    only_sync,
    open_run,
    read_all,
)
from tests.support import response
from tests.trust.secret_search import CLIENT_ID, CLIENT_SECRET, TOKEN, leaks_in

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from types import FrameType

    from tests.conftest import Caller, Mode


def test_repr_of_account_and_outcome_shows_no_token(mode: Mode) -> None:
    account = LinkedAccount("canary-0005", "coinbase", "a-key")

    [outcome] = read_all(mode.client(transport=CountingTransport()), [account])

    assert repr(account) == "LinkedAccount(broker='coinbase', key='a-key')"
    assert "a-key" in repr(outcome)
    assert "canary" not in repr(outcome)


class InputError(Exception):
    """What the input raises."""


def fail_after_one_account() -> Iterator[LinkedAccount]:
    yield LinkedAccount(TOKEN, "coinbase")
    raise InputError


def interrupt_after_one_account() -> Iterator[LinkedAccount]:
    yield LinkedAccount(TOKEN, "coinbase")
    raise KeyboardInterrupt


async def fail_after_one_account_in_a_task() -> AsyncIterator[LinkedAccount]:
    yield LinkedAccount(TOKEN, "coinbase")
    raise InputError


def error_of_a_run(mode: Mode, accounts: Accounts) -> InputError:
    """Return the error with which the input of a run ends it."""
    caller = mode.client(
        client_id=CLIENT_ID, client_secret=CLIENT_SECRET, transport=CountingTransport()
    )
    with pytest.raises(InputError) as caught:
        read_all(caller, accounts)
    return caught.value


def test_error_of_the_input_leads_to_no_secret(mode: Mode) -> None:
    error = error_of_a_run(mode, fail_after_one_account())

    assert leaks_in(error) == {}
    assert "fail_after_one_account" in "".join(traceback.format_exception(error))


def test_error_about_an_item_of_another_type_leads_to_no_secret(mode: Mode) -> None:
    caller = mode.client(
        client_id=CLIENT_ID, client_secret=CLIENT_SECRET, transport=CountingTransport()
    )
    not_drawn = [LinkedAccount(TOKEN, "coinbase")] * 100
    accounts: list[Any] = [LinkedAccount(TOKEN, "coinbase"), (TOKEN, "coinbase"), *not_drawn]

    with pytest.raises(TypeError) as caught:
        read_all(caller, iter(accounts), concurrency=1)

    assert leaks_in(caught.value) == {}


@only_sync
def test_interruption_of_a_run_leads_to_no_secret(mode: Mode) -> None:
    caller = mode.client(
        client_id=CLIENT_ID, client_secret=CLIENT_SECRET, transport=CountingTransport()
    )

    with pytest.raises(KeyboardInterrupt) as caught:
        read_all(caller, interrupt_after_one_account())

    assert leaks_in(caught.value) == {}


@only_async
def test_error_of_an_async_input_leads_to_no_secret(mode: Mode) -> None:
    error = error_of_a_run(mode, fail_after_one_account_in_a_task())

    assert leaks_in(error) == {}
    assert "fail_after_one_account_in_a_task" in "".join(traceback.format_exception(error))


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_interruption_by_a_callback_or_an_input_leads_to_no_secret(
    kind: type[BaseException],
) -> None:
    def interrupt(_: object) -> None:
        raise kind

    async def fail() -> AsyncIterator[LinkedAccount]:
        yield LinkedAccount(TOKEN, "coinbase")
        raise kind

    async def read(accounts: Any, on_attempt: Any) -> None:
        mesh = AsyncMeshClient(
            CLIENT_ID, CLIENT_SECRET, transport=CountingTransport(), on_attempt=on_attempt
        )
        async for _ in mesh.get_account_balances(accounts):
            pass

    for accounts, on_attempt in (([LinkedAccount(TOKEN, "coinbase")], interrupt), (fail(), None)):
        with pytest.raises(kind) as caught:
            asyncio.run(read(accounts, on_attempt))

        assert leaks_in(caught.value) == {}


def test_error_of_a_scope_that_ends_while_all_lanes_are_busy_leads_to_no_secret() -> None:
    async def draw() -> AsyncIterator[LinkedAccount]:
        async with asyncio.timeout(0.05):
            while True:
                yield LinkedAccount(TOKEN, "coinbase")

    async def read() -> None:
        transport = CountingTransport(seconds=lambda _: 0.2)
        mesh = AsyncMeshClient(CLIENT_ID, CLIENT_SECRET, transport=transport)
        async for _ in mesh.get_account_balances(draw(), concurrency=1):
            pass

    with pytest.raises(TimeoutError) as caught:
        asyncio.run(read())

    assert leaks_in(caught.value) == {}


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_interruption_of_the_start_of_a_lane_leads_to_no_secret(kind: type[BaseException]) -> None:
    def interrupt_lanes(
        loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any
    ) -> asyncio.Task[Any]:
        """Do as `asyncio.eager_task_factory` does if the first step of a lane is interrupted."""
        if getattr(coroutine, "__name__", "") != "_read":
            return asyncio.Task(coroutine, loop=loop, **options)
        coroutine.close()
        raise kind

    async def draw() -> AsyncIterator[LinkedAccount]:
        yield LinkedAccount(TOKEN, "coinbase")

    async def read() -> None:
        asyncio.get_running_loop().set_task_factory(interrupt_lanes)
        mesh = AsyncMeshClient(CLIENT_ID, CLIENT_SECRET, transport=CountingTransport())
        async for _ in mesh.get_account_balances(draw()):
            pass

    with pytest.raises(kind) as caught:
        asyncio.run(read())

    assert leaks_in(caught.value) == {}


def test_error_of_an_input_that_cannot_be_closed_leads_to_no_secret() -> None:
    class Input:
        def __aiter__(self) -> Self:
            return self

        async def __anext__(self) -> LinkedAccount:
            raise LookupError("no account")

    class Generator(Input, AsyncGenerator[LinkedAccount, None]):
        async def asend(self, _: object) -> LinkedAccount:
            raise NotImplementedError

        async def athrow(self, *_: object) -> LinkedAccount:  # type: ignore[override]
            raise NotImplementedError

        async def aclose(self) -> None:
            raise OSError("cannot be closed")

    async def read() -> None:
        mesh = AsyncMeshClient(CLIENT_ID, CLIENT_SECRET, transport=CountingTransport())
        async for _ in mesh.get_account_balances(Generator()):
            pass

    with pytest.raises(OSError, match="cannot be closed") as caught:
        asyncio.run(read())

    assert leaks_in(caught.value) == {}


def test_error_about_an_option_of_a_run_leads_to_no_secret(mode: Mode) -> None:
    caller = mode.client(client_id=CLIENT_ID, client_secret=CLIENT_SECRET)

    with pytest.raises(MeshError) as caught:
        caller.client.get_account_balances([LinkedAccount(TOKEN, "coinbase")], concurrency=0)

    assert leaks_in(caught.value) == {}


def test_error_about_a_link_payload_leads_to_no_token() -> None:
    token = {"account": {"accountId": 5}, "accessToken": TOKEN}
    payload = {"accessToken": {"brokerType": "coinbase", "accountTokens": [token]}}

    with pytest.raises(TypeError) as caught:
        LinkedAccount.from_link_payload(payload)

    del payload, token
    assert leaks_in(caught.value) == {}


def raise_key_error(_: object) -> None:
    raise KeyError("of on_attempt")


def test_outcome_error_of_another_class_leads_to_no_secret(mode: Mode) -> None:
    caller = mode.client(
        client_id=CLIENT_ID,
        client_secret=CLIENT_SECRET,
        transport=CountingTransport(),
        on_attempt=raise_key_error,
    )

    [outcome] = read_all(caller, [LinkedAccount(TOKEN, "coinbase")])

    assert isinstance(outcome.error, KeyError)
    assert leaks_in(outcome.error) == {}


@only_sync
def test_second_ctrl_c_while_a_run_closes_leads_to_no_secret(
    mode: Mode, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_end = threading.Event()

    def answer(token: str) -> httpx.Response:
        if token != TOKEN:
            may_end.wait(5)
        return response()

    def interrupt(_: threading.Thread, timeout: float | None = None) -> None:
        del timeout
        raise KeyboardInterrupt

    caller = mode.client(transport=CountingTransport(answer))
    accounts = [LinkedAccount(TOKEN, "coinbase"), LinkedAccount("other", "coinbase")]
    run = caller.client.get_account_balances(accounts)
    next(run)

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "join", interrupt)
        with pytest.raises(KeyboardInterrupt) as caught:
            run.close()

    may_end.set()
    del accounts
    assert leaks_in(caught.value) == {}


@only_async
def test_cancellation_while_a_run_closes_leads_to_no_secret(mode: Mode) -> None:
    async def cancel_the_closing() -> BaseException | None:
        accounts = [LinkedAccount(TOKEN, "coinbase")] * 2
        run = caller.client.get_account_balances(accounts)
        await anext(run)
        closing = asyncio.create_task(run.aclose())
        await asyncio.sleep(0)
        closing.cancel()
        try:
            await closing
        except asyncio.CancelledError as error:
            return error
        return None

    transport = CountingTransport(seconds=lambda _: 0.01 * len(transport.tokens))
    caller = mode.client(transport=transport)

    error = mode.run(cancel_the_closing())

    assert error is not None
    assert leaks_in(error) == {}


# --- frames that wait -----------------------------------------------------------------------------


def accounts_in(frame: FrameType | None) -> list[LinkedAccount]:
    """Return the accounts in the local variables of a frame."""
    assert frame is not None
    return [value for value in frame.f_locals.values() if isinstance(value, LinkedAccount)]


def test_frame_that_draws_keeps_no_account_while_the_input_is_asked_for_the_next(
    mode: Mode,
) -> None:
    kept: list[LinkedAccount] = []

    def draw() -> Iterator[LinkedAccount]:
        for account in make_accounts(3):
            yield account
            kept.extend(accounts_in(sys._getframe(1)))

    read_all(mode.client(transport=CountingTransport()), draw())

    assert kept == []


@only_async
def test_task_that_draws_keeps_no_account_while_it_waits_for_a_lane(mode: Mode) -> None:
    drawing_tasks: list[asyncio.Task[Any] | None] = []
    kept: list[LinkedAccount] = []

    def answer(_: str) -> httpx.Response:
        drawing_task: Any = drawing_tasks[0]
        kept.extend(accounts_in(drawing_task.get_coro().cr_frame))
        return response()

    async def draw() -> AsyncIterator[LinkedAccount]:
        drawing_tasks.append(asyncio.current_task())
        for account in make_accounts(3):
            yield account

    outcomes = read_all(mode.client(transport=CountingTransport(answer)), draw(), concurrency=1)

    assert [outcome.error for outcome in outcomes] == [None, None, None]
    assert kept == []


def test_error_of_the_input_is_freed_without_the_garbage_collector(mode: Mode) -> None:
    caller = mode.client(transport=CountingTransport())

    gc.disable()
    try:
        reference = reference_to_error_of_a_run(caller)
        assert reference() is None
    finally:
        gc.enable()


def reference_to_error_of_a_run(caller: Caller) -> weakref.ref[InputError]:
    """Iterate over a run until its input fails; return a weak reference to the error."""

    async def read() -> weakref.ref[InputError]:
        try:
            async for _ in caller.client.get_account_balances(fail_after_one_account()):
                pass
        except InputError as error:
            return weakref.ref(error)
        raise AssertionError

    if caller.mode.is_async:
        reference: weakref.ref[InputError] = caller.mode.run(read())
        return reference
    try:
        for _ in caller.client.get_account_balances(fail_after_one_account()):
            pass
    except InputError as error:
        return weakref.ref(error)
    raise AssertionError


# --- errors that the caller is handling -----------------------------------------------------------


class HandledError(Exception):
    """What the caller is handling while a run goes on."""


def fail_with_a_local_variable() -> None:
    of_caller = "kept"
    raise HandledError(of_caller)


def assert_frames_are_kept(error: HandledError) -> None:
    innermost = [frame for frame, _ in traceback.walk_tb(error.__traceback__)][-1]
    assert innermost.f_locals == {"of_caller": "kept"}


def test_closing_a_run_leaves_the_frames_of_an_error_that_the_caller_handles(mode: Mode) -> None:
    caller = mode.client(transport=CountingTransport())

    try:
        fail_with_a_local_variable()
    except HandledError as handled:
        with open_run(caller, make_accounts(3)) as outcomes:
            next(outcomes)
        assert_frames_are_kept(handled)


def test_interrupted_run_leaves_the_frames_of_an_error_that_the_caller_handles(mode: Mode) -> None:
    def interrupt() -> Iterator[LinkedAccount]:
        yield from make_accounts(1)
        raise asyncio.CancelledError

    caller = mode.client(transport=CountingTransport())

    try:
        fail_with_a_local_variable()
    except HandledError as handled:
        with pytest.raises(asyncio.CancelledError):
            read_all(caller, interrupt())
        assert_frames_are_kept(handled)


def test_failed_outcome_leaves_the_frames_of_an_error_that_the_caller_handles(mode: Mode) -> None:
    caller = mode.client(transport=CountingTransport(), on_attempt=raise_key_error)

    try:
        fail_with_a_local_variable()
    except HandledError as handled:
        [outcome] = read_all(caller, make_accounts(1))
        assert isinstance(outcome.error, KeyError)
        assert_frames_are_kept(handled)


def test_item_of_another_type_leaves_the_frames_of_an_error_that_the_caller_handles(
    mode: Mode,
) -> None:
    accounts: list[Any] = ["no account"]
    caller = mode.client(transport=CountingTransport())

    try:
        fail_with_a_local_variable()
    except HandledError as handled:
        with pytest.raises(TypeError):
            read_all(caller, accounts)
        assert_frames_are_kept(handled)
