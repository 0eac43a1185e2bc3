"""This project as contenders: the generated operation as it was generated, and the facade.

Only public names are used, so that `compare.py` can run the same code on another checkout.
"""

import asyncio
import json
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
    Calls,
    repeat,
    repeat_async,
    share_between_tasks,
)

from mesh_facade import AsyncMeshClient, LinkedAccount, MeshClient, Outcome

UNUSED_URL = "http://127.0.0.1:9"
"""The base URL where answers come from memory."""


# --- one call after another -----------------------------------------------------------------------


def sync_generated(url: str) -> Calls:
    """Use the generated operation as it was generated."""
    client = Client(base_url=url, headers=dict(HEADERS))
    request = BalanceBrokerBaseRequest(TOKEN, "coinbase")

    def call() -> object:
        return get_account_balance.sync(client=client, body=request)

    return repeat(call)


def sync_facade(url: str) -> Calls:
    """Use the facade with everything on."""
    mesh = MeshClient(CLIENT_ID, CLIENT_SECRET, base_url=url)

    def call() -> object:
        return mesh.get_account_balance(TOKEN, "coinbase")

    return repeat(call)


def async_generated(url: str) -> Calls:
    """Use the generated operation as it was generated."""
    client = Client(base_url=url, headers=dict(HEADERS))
    request = BalanceBrokerBaseRequest(TOKEN, "coinbase")

    async def call() -> object:
        return await get_account_balance.asyncio(client=client, body=request)

    return repeat_async(call)


def async_facade(url: str) -> Calls:
    """Use the facade with everything on."""
    mesh = AsyncMeshClient(CLIENT_ID, CLIENT_SECRET, base_url=url)

    async def call() -> object:
        return await mesh.get_account_balance(TOKEN, "coinbase")

    return repeat_async(call)


# --- many at once ---------------------------------------------------------------------------------


def tasks_generated(url: str, concurrency: int) -> Calls:
    """Share a generated client that may keep as many connections as there are tasks."""
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
    """Return as many accounts, none of which fails."""
    for key in range(count):
        yield LinkedAccount(TOKEN, "coinbase", key)


def tasks_facade(url: str, concurrency: int) -> Calls:
    """Use bulk with a number of tasks."""
    mesh = AsyncMeshClient(CLIENT_ID, CLIENT_SECRET, base_url=url, max_connections=concurrency)
    runner = asyncio.Runner()

    async def read(count: int) -> None:
        outcomes = mesh.get_account_balances(linked_accounts(count), concurrency=concurrency)
        async for outcome in outcomes:
            assert outcome.error is None, outcome.error

    def calls(count: int) -> None:
        runner.run(read(count))

    return calls


def threads_facade(url: str, concurrency: int) -> Calls:
    """Use bulk with a number of threads."""
    mesh = MeshClient(CLIENT_ID, CLIENT_SECRET, base_url=url, max_connections=concurrency)

    def calls(count: int) -> None:
        outcomes = mesh.get_account_balances(linked_accounts(count), concurrency=concurrency)
        for outcome in outcomes:
            assert outcome.error is None, outcome.error

    return calls


# --- answers from memory --------------------------------------------------------------------------


class DecimalResponse(httpx.Response):
    """A response that decodes numbers exactly, which is the least that money needs."""

    def json(self, **_: object) -> object:
        """Decode with a Decimal for each number."""
        return json.loads(self.content, parse_float=Decimal, parse_int=Decimal)


def memory_transport(rows: int, response_class: type[httpx.Response]) -> httpx.MockTransport:
    """Return a transport that answers every request with a balance of so many rows."""
    body = balance_body(rows)

    def respond(_: httpx.Request) -> httpx.Response:
        return response_class(200, headers={"Content-Type": "application/json"}, content=body)

    return httpx.MockTransport(respond)


def generated_in_memory(rows: int, response_class: type[httpx.Response]) -> Calls:
    """Run the generated operation on answers from memory."""
    transport = memory_transport(rows, response_class)
    client = Client(base_url=UNUSED_URL, headers=dict(HEADERS), httpx_args={"transport": transport})
    request = BalanceBrokerBaseRequest(TOKEN, "coinbase")

    def call() -> object:
        return get_account_balance.sync(client=client, body=request)

    return repeat(call)


def memory_generated(rows: int) -> Calls:
    """Decode as generated code does: with floats, and without checks."""
    return generated_in_memory(rows, httpx.Response)


def memory_generated_decimals(rows: int) -> Calls:
    """Decode exact numbers, still without checks."""
    return generated_in_memory(rows, DecimalResponse)


def memory_facade(rows: int) -> Calls:
    """Decode exact numbers and check every field."""
    transport = memory_transport(rows, httpx.Response)
    mesh = MeshClient(CLIENT_ID, CLIENT_SECRET, base_url=UNUSED_URL, transport=transport)

    def call() -> object:
        return mesh.get_account_balance(TOKEN, "coinbase")

    return repeat(call)


# --- bulk runs in which one account in twenty fails -----------------------------------------------


def accounts_of_which_some_fail(count: int) -> Iterator[LinkedAccount]:
    """Return as many accounts; every twentieth fails, in ten ways by turns (see server.py)."""
    for key in range(count):
        if key % 20 == 0:
            yield LinkedAccount(f"fails-in-way-{key // 20 % 10}", "coinbase", key)
        else:
            yield LinkedAccount(TOKEN, "coinbase", key)


class Tally:
    """Counts the outcomes of a run."""

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
        """Fail unless each account came once, and one in twenty failed."""
        assert self._seen == b"\x01" * self._count
        assert self._failed == self._count // 20


def bulk_threads(url: str) -> Calls:
    """Read through bulk, with threads."""
    mesh = MeshClient(CLIENT_ID, CLIENT_SECRET, base_url=url)

    def calls(count: int) -> None:
        tally = Tally(count)
        for outcome in mesh.get_account_balances(accounts_of_which_some_fail(count)):
            tally.add(outcome)
        tally.check()

    return calls


def bulk_tasks(url: str) -> Calls:
    """Read through bulk, with tasks."""
    mesh = AsyncMeshClient(CLIENT_ID, CLIENT_SECRET, base_url=url)
    runner = asyncio.Runner()

    async def read(count: int) -> None:
        tally = Tally(count)
        async for outcome in mesh.get_account_balances(accounts_of_which_some_fail(count)):
            tally.add(outcome)
        tally.check()

    def calls(count: int) -> None:
        runner.run(read(count))

    return calls
