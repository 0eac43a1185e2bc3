"""This project as contenders: the generated operation as it was generated, and the facade.

Each contender's function sets a client up, and returns a function that makes a number of calls.

Only public names are used, so that `compare.py` can run the same code on another checkout.
"""

import asyncio
import json
import math
from collections.abc import Iterator
from decimal import Decimal

import httpx
from mesh_connect_client import Client
from mesh_connect_client.api.balance import get_account_balance
from mesh_connect_client.models import BalanceBrokerBaseRequest
from server import balance_body
from workload import (
    CLIENT_ID,
    CLIENT_SECRET,
    HEADERS,
    TOKEN,
    MakeCalls,
    repeat,
    repeat_async,
    share_between_tasks,
)

from mesh_facade import AsyncMeshClient, LinkedAccount, MeshClient, Outcome

UNUSED_URL = "http://127.0.0.1:9"
"""The base URL where answers come from memory."""


# --- one call after another -----------------------------------------------------------------------


def sync_generated(url: str) -> MakeCalls:
    """Return a function that makes calls with the generated operation."""
    client = Client(base_url=url, headers=dict(HEADERS))
    request = BalanceBrokerBaseRequest(TOKEN, "coinbase")

    def call() -> object:
        return get_account_balance.sync(client=client, body=request)

    return repeat(call)


def sync_facade(url: str) -> MakeCalls:
    """Return a function that makes calls with the facade, everything switched on."""
    mesh = MeshClient(CLIENT_ID, CLIENT_SECRET, base_url=url)

    def call() -> object:
        return mesh.get_account_balance(TOKEN, "coinbase")

    return repeat(call)


def async_generated(url: str) -> MakeCalls:
    """Return a function that makes calls with the generated operation."""
    client = Client(base_url=url, headers=dict(HEADERS))
    request = BalanceBrokerBaseRequest(TOKEN, "coinbase")

    async def call() -> object:
        return await get_account_balance.asyncio(client=client, body=request)

    return repeat_async(call)


def async_facade(url: str) -> MakeCalls:
    """Return a function that makes calls with the facade, everything switched on."""
    mesh = AsyncMeshClient(CLIENT_ID, CLIENT_SECRET, base_url=url)

    async def call() -> object:
        return await mesh.get_account_balance(TOKEN, "coinbase")

    return repeat_async(call)


# --- many at once ---------------------------------------------------------------------------------


def tasks_generated(url: str, concurrency: int) -> MakeCalls:
    """Return a function whose tasks share a generated client, with a connection for each."""
    limits = httpx.Limits(max_connections=concurrency, max_keepalive_connections=concurrency)
    client = Client(
        base_url=url,
        headers=dict(HEADERS),
        timeout=httpx.Timeout(60),
        httpx_args={"limits": limits},
    )
    request = BalanceBrokerBaseRequest(TOKEN, "coinbase")

    async def call() -> object:
        return await get_account_balance.asyncio(client=client, body=request)

    return share_between_tasks(call, concurrency)


def linked_accounts(count: int) -> Iterator[LinkedAccount]:
    """Yield `count` accounts, none of which fails."""
    for key in range(count):
        yield LinkedAccount(TOKEN, "coinbase", key)


def tasks_facade(url: str, concurrency: int) -> MakeCalls:
    """Return a function that reads accounts in bulk, with `concurrency` tasks."""
    mesh = AsyncMeshClient(CLIENT_ID, CLIENT_SECRET, base_url=url, max_connections=concurrency)
    runner = asyncio.Runner()

    async def read(count: int) -> None:
        outcomes = mesh.get_account_balances(linked_accounts(count), concurrency=concurrency)
        async for outcome in outcomes:
            assert outcome.error is None, outcome.error

    def make_calls(count: int) -> None:
        runner.run(read(count))

    return make_calls


def threads_facade(url: str, concurrency: int) -> MakeCalls:
    """Return a function that reads accounts in bulk, with `concurrency` threads."""
    mesh = MeshClient(CLIENT_ID, CLIENT_SECRET, base_url=url, max_connections=concurrency)

    def make_calls(count: int) -> None:
        outcomes = mesh.get_account_balances(linked_accounts(count), concurrency=concurrency)
        for outcome in outcomes:
            assert outcome.error is None, outcome.error

    return make_calls


# --- answers from memory --------------------------------------------------------------------------


class DecimalResponse(httpx.Response):
    """A response that decodes numbers exactly, which is the least that money needs."""

    def json(self, **_: object) -> object:
        """Decode with a Decimal for each number."""
        return json.loads(self.content, parse_float=Decimal, parse_int=Decimal)


def memory_transport(rows: int, response_class: type[httpx.Response]) -> httpx.MockTransport:
    """Return a transport that answers every request with a balance of `rows` rows."""
    body = balance_body(rows)

    def respond(_: httpx.Request) -> httpx.Response:
        return response_class(200, headers={"Content-Type": "application/json"}, content=body)

    return httpx.MockTransport(respond)


def repeat_generated(rows: int, response_class: type[httpx.Response]) -> MakeCalls:
    """Return a function that runs the generated operation on answers from memory."""
    transport = memory_transport(rows, response_class)
    client = Client(base_url=UNUSED_URL, headers=dict(HEADERS), httpx_args={"transport": transport})
    request = BalanceBrokerBaseRequest(TOKEN, "coinbase")

    def call() -> object:
        return get_account_balance.sync(client=client, body=request)

    return repeat(call)


def memory_generated(rows: int) -> MakeCalls:
    """Return a function that decodes as generated code does: with floats, and without checks."""
    return repeat_generated(rows, httpx.Response)


def memory_generated_decimals(rows: int) -> MakeCalls:
    """Return a function that decodes exact numbers, still without checks."""
    return repeat_generated(rows, DecimalResponse)


def memory_facade(rows: int) -> MakeCalls:
    """Return a function that decodes exact numbers and checks every field."""
    transport = memory_transport(rows, httpx.Response)
    mesh = MeshClient(CLIENT_ID, CLIENT_SECRET, base_url=UNUSED_URL, transport=transport)

    def call() -> object:
        return mesh.get_account_balance(TOKEN, "coinbase")

    return repeat(call)


# --- bulk runs in which one account in twenty fails -----------------------------------------------


def accounts_of_which_some_fail(count: int) -> Iterator[LinkedAccount]:
    """Yield `count` accounts; the first of each twenty fails, in ten ways by turns.

    server.py lists the ways to fail.
    """
    for key in range(count):
        if key % 20 == 0:
            yield LinkedAccount(f"fails-in-way-{key // 20 % 10}", "coinbase", key)
        else:
            yield LinkedAccount(TOKEN, "coinbase", key)


class Tally:
    """Counts the outcomes of a run that reads `accounts_of_which_some_fail(count)`."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._seen = bytearray(count)
        self._failed = 0

    def add(self, outcome: Outcome) -> None:
        """Count an outcome."""
        self._seen[outcome.account.key] += 1
        if outcome.error is not None:
            self._failed += 1

    def check(self) -> None:
        """Fail unless each account has one outcome, and the first of each twenty failed."""
        assert self._seen == b"\x01" * self._count
        assert self._failed == math.ceil(self._count / 20)


def bulk_threads(url: str) -> MakeCalls:
    """Return a function that reads accounts in bulk, with threads; some fail."""
    mesh = MeshClient(CLIENT_ID, CLIENT_SECRET, base_url=url)

    def make_calls(count: int) -> None:
        tally = Tally(count)
        for outcome in mesh.get_account_balances(accounts_of_which_some_fail(count)):
            tally.add(outcome)
        tally.check()

    return make_calls


def bulk_tasks(url: str) -> MakeCalls:
    """Return a function that reads accounts in bulk, with tasks; some fail."""
    mesh = AsyncMeshClient(CLIENT_ID, CLIENT_SECRET, base_url=url)
    runner = asyncio.Runner()

    async def read(count: int) -> None:
        tally = Tally(count)
        async for outcome in mesh.get_account_balances(accounts_of_which_some_fail(count)):
            tally.add(outcome)
        tally.check()

    def make_calls(count: int) -> None:
        runner.run(read(count))

    return make_calls
