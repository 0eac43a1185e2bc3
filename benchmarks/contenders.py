"""The contenders: each a function that sets a client up and returns what makes `n` calls.

    python benchmarks/contenders.py WORK NAME OPTIONS

runs one of them in a process of its own: it reads numbers of calls from its input, one a line, and
prints for each how many seconds they took, and the most memory in KiB that the process ever held.
"""

import asyncio
import contextlib
import functools
import http.client
import json
import resource
import socket
import sys
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from http import HTTPStatus
from typing import Any

import httpx
from mesh_connect_client import Client
from mesh_connect_client.api.balance import get_account_balance
from mesh_connect_client.models import (
    B2BBrokerAccountBalanceModelApiResult,
    BalanceBrokerBaseRequest,
)
from mesh_connect_client.types import Response

import mesh_facade
from mesh_facade import AsyncMeshClient, LinkedAccount, MeshClient, _engine, _wire

Calls = Callable[[int], None]
CONTENDERS: dict[tuple[str, str], Callable[..., Calls]] = {}

TOKEN = "a-token-of-the-length-that-tokens-have-" + "x" * 60
KEYS = {"client_id": "a-client-id", "client_secret": "a-client-secret-that-is-made-up"}
HEADERS = {"X-Client-Id": KEYS["client_id"], "X-Client-Secret": KEYS["client_secret"]}
BODY = {"authToken": TOKEN, "type": "coinbase"}
PATH = "/api/v1/balance/get"
"""What the contenders without our code send: the same as the facade does."""


def contender(work: str) -> Callable[[Callable[..., Calls]], Callable[..., Calls]]:
    """Register a contender for a kind of work, under its function's name."""

    def register(set_up: Callable[..., Calls]) -> Callable[..., Calls]:
        CONTENDERS[work, set_up.__name__.removeprefix(f"{work}_").replace("_", " ")] = set_up
        return set_up

    return register


def repeat(call: Callable[[], Any]) -> Calls:
    """Make calls one after another."""

    def calls(count: int) -> None:
        for _ in range(count):
            call()

    return calls


# --- one call after another, sync ----------------------------------------------------------------


def request_bytes(url: str) -> bytes:
    """Write the request as it goes over the wire."""
    body = json.dumps(BODY)
    lines = [f"POST {PATH} HTTP/1.1", f"Host: {httpx.URL(url).netloc.decode()}"]
    lines += [f"{name}: {value}" for name, value in HEADERS.items()]
    lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", body]).encode()


@contender("sync")
def sync_raw_socket(url: str) -> Calls:
    """Write and read bytes, and decode."""
    parts = httpx.URL(url)
    connection = socket.create_connection((parts.host, parts.port))
    request = request_bytes(url)

    def call() -> Any:
        connection.sendall(request)
        received = connection.recv(65536)
        return json.loads(received.partition(b"\r\n\r\n")[2])

    return repeat(call)


@contender("sync")
def sync_http_client(url: str) -> Calls:
    """Use the standard library."""
    parts = httpx.URL(url)
    connection = http.client.HTTPConnection(parts.host, parts.port)
    headers = {**HEADERS, "Content-Type": "application/json"}

    def call() -> Any:
        connection.request("POST", PATH, json.dumps(BODY), headers)
        return json.loads(connection.getresponse().read())

    return repeat(call)


@contender("sync")
def sync_bare_httpx(url: str) -> Calls:
    """Use httpx as its documentation shows it."""
    client = httpx.Client(base_url=url, headers=HEADERS)
    return repeat(lambda: client.post(PATH, json=BODY).json())


@contender("sync")
def sync_generated(url: str) -> Calls:
    """Use the generated operation as it was generated."""
    client = Client(base_url=url, headers=dict(HEADERS))
    request = BalanceBrokerBaseRequest(TOKEN, "coinbase")
    return repeat(lambda: get_account_balance.sync_detailed(client=client, body=request).parsed)


@contender("sync")
def sync_facade(url: str) -> Calls:
    """Use this project, everything on."""
    mesh = MeshClient(**KEYS, base_url=url)
    return repeat(lambda: mesh.get_account_balance(TOKEN, "coinbase"))


@contender("sync")
def sync_plaid(url: str) -> Calls:
    """Read a balance through Plaid's client."""
    import plaid
    from plaid.api.plaid_api import PlaidApi
    from plaid.model.accounts_balance_get_request import AccountsBalanceGetRequest

    keys = {"clientId": KEYS["client_id"], "secret": KEYS["client_secret"]}
    api = PlaidApi(plaid.ApiClient(plaid.Configuration(host=url, api_key=keys)))
    return repeat(lambda: api.accounts_balance_get(AccountsBalanceGetRequest(access_token=TOKEN)))


@contender("sync")
def sync_stripe(url: str) -> Calls:
    """Read a balance through Stripe's client."""
    import stripe

    client = stripe.StripeClient("a-made-up-key", base_addresses={"api": url})
    return repeat(client.v1.balance.retrieve)


@contender("sync")
def sync_openai(url: str) -> Calls:
    """Ask for a completion of five characters through OpenAI's client."""
    import openai

    client = openai.OpenAI(api_key="a-made-up-key", base_url=f"{url}/v1")
    ask: Any = {"model": "a-model", "messages": [{"role": "user", "content": "balance?"}]}
    return repeat(lambda: client.chat.completions.create(**ask))


def open_github(url: str) -> Any:
    """Return githubkit's client without its cache, and so that it keeps its connection."""
    import githubkit

    return githubkit.GitHub("a-made-up-token", base_url=url, http_cache=False).__enter__()


@contender("sync")
def sync_githubkit_get(url: str) -> Calls:
    """Read two short texts through githubkit: a request without a body."""
    github = open_github(url)
    return repeat(lambda: github.rest.gitignore.get_template("C").parsed_data)


@contender("sync")
def sync_githubkit_post(url: str) -> Calls:
    """Create a label through githubkit: bodies both ways, as in a call of ours."""
    github = open_github(url)
    where = {"owner": "an-owner", "repo": "a-repository"}
    return repeat(lambda: github.rest.issues.create_label(**where, name="balance").parsed_data)


# --- one call after another, async ---------------------------------------------------------------


def repeat_async(call: Callable[[], Coroutine[Any, Any, Any]]) -> Calls:
    """Await calls one after another, on one event loop."""
    runner = asyncio.Runner()

    async def calls(count: int) -> None:
        for _ in range(count):
            await call()

    return lambda count: runner.run(calls(count))


@contender("async")
def async_bare_httpx(url: str) -> Calls:
    """Use httpx as its documentation shows it."""
    client = httpx.AsyncClient(base_url=url, headers=HEADERS)

    async def call() -> Any:
        return (await client.post(PATH, json=BODY)).json()

    return repeat_async(call)


@contender("async")
def async_generated(url: str) -> Calls:
    """Use the generated operation as it was generated."""
    client = Client(base_url=url, headers=dict(HEADERS))
    request = BalanceBrokerBaseRequest(TOKEN, "coinbase")
    return repeat_async(lambda: get_account_balance.asyncio(client=client, body=request))


@contender("async")
def async_facade(url: str) -> Calls:
    """Use this project, everything on."""
    mesh = AsyncMeshClient(**KEYS, base_url=url)
    return repeat_async(lambda: mesh.get_account_balance(TOKEN, "coinbase"))


# --- many at once --------------------------------------------------------------------------------


@contender("tasks")
def tasks_bare_httpx(url: str, concurrency: int) -> Calls:
    """Gather over one client that may keep as many connections as there are tasks."""
    limits = httpx.Limits(max_connections=concurrency, max_keepalive_connections=concurrency)
    client = httpx.AsyncClient(base_url=url, headers=HEADERS, limits=limits, timeout=60)
    return share_out_async(lambda: client.post(PATH, json=BODY), concurrency)


@contender("tasks")
def tasks_generated(url: str, concurrency: int) -> Calls:
    """Gather over the generated operation, with the same limits."""
    limits = httpx.Limits(max_connections=concurrency, max_keepalive_connections=concurrency)
    patient = httpx.Timeout(60)
    client = Client(url, headers=dict(HEADERS), timeout=patient, httpx_args={"limits": limits})
    request = BalanceBrokerBaseRequest(TOKEN, "coinbase")
    return share_out_async(
        lambda: get_account_balance.asyncio(client=client, body=request), concurrency
    )


def share_out_async(call: Callable[[], Coroutine[Any, Any, Any]], concurrency: int) -> Calls:
    """Let so many tasks take turns at a number of calls."""
    runner = asyncio.Runner()

    async def work(turns: Iterator[int]) -> None:
        for _ in turns:
            answer = await call()
            if isinstance(answer, httpx.Response):
                answer.json()

    async def calls(count: int) -> None:
        turns = iter(range(count))
        await asyncio.gather(*(work(turns) for _ in range(concurrency)))

    return lambda count: runner.run(calls(count))


@contender("tasks")
def tasks_facade(url: str, concurrency: int) -> Calls:
    """Use bulk."""
    mesh = AsyncMeshClient(**KEYS, base_url=url, max_connections=concurrency)
    runner = asyncio.Runner()

    async def calls(count: int) -> None:
        accounts = (LinkedAccount(TOKEN, "coinbase", key) for key in range(count))
        async for outcome in mesh.get_account_balances(accounts, concurrency=concurrency):
            assert outcome.balance, outcome.error

    return lambda count: runner.run(calls(count))


@contender("threads")
def threads_bare_httpx(url: str, concurrency: int) -> Calls:
    """Share one client between threads."""
    limits = httpx.Limits(max_connections=concurrency, max_keepalive_connections=concurrency)
    client = httpx.Client(base_url=url, headers=HEADERS, limits=limits, timeout=60)

    def call(_: int) -> Any:
        return client.post(PATH, json=BODY).json()

    def calls(count: int) -> None:
        with ThreadPoolExecutor(concurrency) as threads:
            for answer in threads.map(call, range(count)):
                assert answer

    return calls


@contender("threads")
def threads_facade(url: str, concurrency: int) -> Calls:
    """Use bulk."""
    mesh = MeshClient(**KEYS, base_url=url, max_connections=concurrency)

    def calls(count: int) -> None:
        accounts = (LinkedAccount(TOKEN, "coinbase", key) for key in range(count))
        for outcome in mesh.get_account_balances(accounts, concurrency=concurrency):
            assert outcome.balance, outcome.error

    return calls


# --- decoding ------------------------------------------------------------------------------------


@contender("decode")
def decode_generated(rows: int) -> Calls:
    """Decode as generated code does: floats, and no checks."""
    body = balance_body(rows)
    return repeat(lambda: B2BBrokerAccountBalanceModelApiResult.from_dict(json.loads(body)))


@contender("decode")
def decode_decimals(rows: int) -> Calls:
    """Do the same with exact numbers, and still no checks: what none can do without."""
    body = balance_body(rows)
    loads = functools.partial(json.loads, parse_float=Decimal, parse_int=Decimal)
    return repeat(lambda: B2BBrokerAccountBalanceModelApiResult.from_dict(loads(body)))


@contender("decode")
def decode_unchecked(rows: int) -> Calls:
    """Make the AccountBalance of that, too: what is more than this is the price of the checks."""
    body = balance_body(rows)
    loads = functools.partial(json.loads, parse_float=Decimal, parse_int=Decimal)

    def call() -> Any:
        parsed = B2BBrokerAccountBalanceModelApiResult.from_dict(loads(body))
        return _wire.account_balance(Response(HTTPStatus.OK, body, {}, parsed))

    return repeat(call)


@contender("decode")
def decode_facade(rows: int) -> Calls:
    """Do all that lies between the bytes and the AccountBalance, the generated model included."""
    response, content = httpx.Response(200), balance_body(rows)

    def call() -> Any:
        body = _wire.Body(response)
        body.feed(content)
        accepted = _wire.judge(response, body, _wire.find_balance_problem)
        answer: Any = _engine.Accepted(*accepted, 1)  # type: ignore[misc] — it is no error
        parsed = B2BBrokerAccountBalanceModelApiResult.from_dict(answer.json())
        detailed = Response(answer.status_code, answer.content, answer.headers, parsed)
        return _wire.account_balance(detailed)

    return repeat(call)


def balance_body(rows: int) -> bytes:
    """Return what the server answers."""
    from server import answer, balance

    return answer(balance(rows)).partition(b"\r\n\r\n")[2]


# --- memory --------------------------------------------------------------------------------------


@contender("memory")
def memory_facade(url: str, *, is_async: bool) -> Calls:
    """Read through bulk; every twentieth account fails, in ten ways."""

    def accounts(count: int) -> Iterator[LinkedAccount]:
        for key in range(count):
            fails = f"fails-in-way-{key // 20 % 10}" if key % 20 == 0 else TOKEN
            yield LinkedAccount(fails, "coinbase", key)

    def calls(count: int) -> None:
        seen, failed = bytearray(count), 0
        for outcome in outcomes(accounts(count)):
            seen[outcome.account.key] += 1
            failed += outcome.error is not None
        assert set(seen) == {1}
        assert failed == count / 20

    def outcomes(accounts: Iterator[LinkedAccount]) -> Iterator[mesh_facade.Outcome]:
        if not is_async:
            yield from MeshClient(**KEYS, base_url=url).get_account_balances(accounts)
            return
        with asyncio.Runner() as runner:
            run = AsyncMeshClient(**KEYS, base_url=url).get_account_balances(accounts)
            with contextlib.suppress(StopAsyncIteration):
                while True:
                    yield runner.run(run.asend(None))  # type: ignore[arg-type]

    return calls


def main() -> None:
    """Be the contender that the arguments name."""
    work, name, options = sys.argv[1:]
    calls = CONTENDERS[work, name](**json.loads(options))
    for line in sys.stdin:
        began_at = time.perf_counter()
        calls(int(line))
        seconds = time.perf_counter() - began_at
        print(seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, flush=True)


if __name__ == "__main__":
    main()
