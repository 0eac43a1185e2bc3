"""What the contenders share: what they send, and the loops that repeat a call."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

MakeCalls = Callable[[int], None]
"""A function that makes a number of calls, and returns when all of them are done."""

TOKEN = "a-token-of-the-length-that-tokens-have-" + "x" * 60
CLIENT_ID = "a-client-id"
CLIENT_SECRET = "a-client-secret-that-is-made-up"
PATH = "/api/v1/balance/get"
HEADERS = {"X-Client-Id": CLIENT_ID, "X-Client-Secret": CLIENT_SECRET}
BODY = {"authToken": TOKEN, "type": "coinbase"}


def repeat(call: Callable[[], object]) -> MakeCalls:
    """Return a function that makes calls one after another."""

    def make_calls(count: int) -> None:
        for _ in range(count):
            call()

    return make_calls


def repeat_async(call: Callable[[], Awaitable[object]]) -> MakeCalls:
    """Return a function that awaits calls one after another, on one event loop."""
    runner = asyncio.Runner()

    async def await_all(count: int) -> None:
        for _ in range(count):
            await call()

    def make_calls(count: int) -> None:
        runner.run(await_all(count))

    return make_calls


def share_between_tasks(call: Callable[[], Awaitable[object]], concurrency: int) -> MakeCalls:
    """Return a function that shares calls between tasks, on one event loop."""
    runner = asyncio.Runner()

    async def work(turns: Iterator[int]) -> None:
        for _ in turns:
            await call()

    async def await_all(count: int) -> None:
        turns = iter(range(count))
        async with asyncio.TaskGroup() as tasks:
            for _ in range(concurrency):
                tasks.create_task(work(turns))

    def make_calls(count: int) -> None:
        runner.run(await_all(count))

    return make_calls


def share_between_threads(call: Callable[[], object], concurrency: int) -> MakeCalls:
    """Return a function that shares calls between threads."""

    def make_calls(count: int) -> None:
        with ThreadPoolExecutor(concurrency) as threads:
            made = [threads.submit(call) for _ in range(count)]
        for future in made:
            future.result()  # raises what the call raised

    return make_calls
