"""HTTP libraries as contenders: they send the same request and decode the answer, nothing else.

Each contender's function sets a client up, and returns a function that makes a number of calls.
Libraries are imported where they are used, so that no contender pays for another one.
"""

import http.client
import json
import socket
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from workload import (
    BODY,
    HEADERS,
    PATH,
    MakeCalls,
    repeat,
    repeat_async,
    share_between_tasks,
    share_between_threads,
)

if TYPE_CHECKING:
    import httpx
    import httpx2

SECONDS = 60
"""The timeout where many calls wait for their turn."""


def address(url: str) -> tuple[str, int]:
    """Return the host and the port of a URL."""
    parts = urlsplit(url)
    assert parts.hostname
    assert parts.port
    return parts.hostname, parts.port


# --- the floor: bytes over a socket, and the standard library -------------------------------------


def request_bytes(url: str) -> bytes:
    """Return the request as it goes over the wire."""
    body = json.dumps(BODY)
    lines = [f"POST {PATH} HTTP/1.1", f"Host: {urlsplit(url).netloc}"]
    for name, value in HEADERS.items():
        lines.append(f"{name}: {value}")
    lines.append("Content-Type: application/json")
    lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", body]).encode()


def sync_socket(url: str) -> MakeCalls:
    """Return a function that writes requests to a socket, and decodes the answers."""
    connection = socket.create_connection(address(url))
    request = request_bytes(url)

    def call() -> object:
        connection.sendall(request)
        received = connection.recv(65536)
        _, _, body = received.partition(b"\r\n\r\n")
        return json.loads(body)

    return repeat(call)


def sync_http_client(url: str) -> MakeCalls:
    """Return a function that makes calls with the standard library."""
    host, port = address(url)
    connection = http.client.HTTPConnection(host, port)
    headers = HEADERS | {"Content-Type": "application/json"}

    def call() -> object:
        connection.request("POST", PATH, json.dumps(BODY), headers)
        return json.loads(connection.getresponse().read())

    return repeat(call)


# --- httpx, and httpx2, its maintained fork -------------------------------------------------------


def post_with(client: "httpx.Client | httpx2.Client") -> Callable[[], object]:
    """Return a function that makes one call with a client of httpx or httpx2."""

    def call() -> object:
        return client.post(PATH, json=BODY).json()

    return call


def post_async_with(
    client: "httpx.AsyncClient | httpx2.AsyncClient",
) -> Callable[[], Awaitable[object]]:
    """Return a function that makes one call with an async client of httpx or httpx2."""

    async def call() -> object:
        response = await client.post(PATH, json=BODY)
        return response.json()

    return call


def sync_httpx(url: str) -> MakeCalls:
    """Return a function that makes calls with httpx as its documentation shows it."""
    import httpx

    return repeat(post_with(httpx.Client(base_url=url, headers=HEADERS)))


def async_httpx(url: str) -> MakeCalls:
    """Return a function that makes calls with httpx as its documentation shows it."""
    import httpx

    return repeat_async(post_async_with(httpx.AsyncClient(base_url=url, headers=HEADERS)))


def tasks_httpx(url: str, concurrency: int) -> MakeCalls:
    """Return a function whose tasks share one client, which may keep a connection for each."""
    import httpx

    limits = httpx.Limits(max_connections=concurrency, max_keepalive_connections=concurrency)
    client = httpx.AsyncClient(base_url=url, headers=HEADERS, limits=limits, timeout=SECONDS)
    return share_between_tasks(post_async_with(client), concurrency)


def threads_httpx(url: str, concurrency: int) -> MakeCalls:
    """Return a function whose threads share one client, which may keep a connection for each."""
    import httpx

    limits = httpx.Limits(max_connections=concurrency, max_keepalive_connections=concurrency)
    client = httpx.Client(base_url=url, headers=HEADERS, limits=limits, timeout=SECONDS)
    return share_between_threads(post_with(client), concurrency)


def sync_httpx2(url: str) -> MakeCalls:
    """Return a function that makes calls with httpx2 as its documentation shows it."""
    import httpx2

    return repeat(post_with(httpx2.Client(base_url=url, headers=HEADERS)))


def async_httpx2(url: str) -> MakeCalls:
    """Return a function that makes calls with httpx2 as its documentation shows it."""
    import httpx2

    return repeat_async(post_async_with(httpx2.AsyncClient(base_url=url, headers=HEADERS)))


def tasks_httpx2(url: str, concurrency: int) -> MakeCalls:
    """Return a function whose tasks share one client, which may keep a connection for each."""
    import httpx2

    limits = httpx2.Limits(max_connections=concurrency, max_keepalive_connections=concurrency)
    client = httpx2.AsyncClient(base_url=url, headers=HEADERS, limits=limits, timeout=SECONDS)
    return share_between_tasks(post_async_with(client), concurrency)


def threads_httpx2(url: str, concurrency: int) -> MakeCalls:
    """Return a function whose threads share one client, which may keep a connection for each."""
    import httpx2

    limits = httpx2.Limits(max_connections=concurrency, max_keepalive_connections=concurrency)
    client = httpx2.Client(base_url=url, headers=HEADERS, limits=limits, timeout=SECONDS)
    return share_between_threads(post_with(client), concurrency)


# --- pyreqwest and pyqwest, written in Rust: what is possible -------------------------------------


def post_with_pyreqwest(url: str) -> Callable[[], object]:
    """Return a function that makes one call with a new client of pyreqwest."""
    from pyreqwest.client import SyncClient, SyncClientBuilder

    client: SyncClient = SyncClientBuilder().base_url(url).default_headers(HEADERS).build()

    def call() -> object:
        return client.post(PATH).body_json(BODY).build().send().json()

    return call


def sync_pyreqwest(url: str) -> MakeCalls:
    """Return a function that makes calls with pyreqwest."""
    return repeat(post_with_pyreqwest(url))


def threads_pyreqwest(url: str, concurrency: int) -> MakeCalls:
    """Return a function whose threads share one client of pyreqwest."""
    return share_between_threads(post_with_pyreqwest(url), concurrency)


def async_pyreqwest(url: str) -> MakeCalls:
    """Return a function that makes calls with pyreqwest."""
    return tasks_pyreqwest(url, concurrency=1)


def tasks_pyreqwest(url: str, concurrency: int) -> MakeCalls:
    """Return a function whose tasks share one client of pyreqwest."""
    from pyreqwest.client import Client, ClientBuilder

    client: Client = ClientBuilder().base_url(url).default_headers(HEADERS).build()

    async def call() -> object:
        response = await client.post(PATH).body_json(BODY).build().send()
        return await response.json()

    return share_between_tasks(call, concurrency)


def post_with_pyqwest(url: str) -> Callable[[], object]:
    """Return a function that makes one call with a new client of pyqwest."""
    import pyqwest

    client = pyqwest.SyncClient()
    headers = HEADERS | {"Content-Type": "application/json"}

    def call() -> object:
        return client.post(url + PATH, headers, json.dumps(BODY).encode()).json()

    return call


def sync_pyqwest(url: str) -> MakeCalls:
    """Return a function that makes calls with pyqwest."""
    return repeat(post_with_pyqwest(url))


def threads_pyqwest(url: str, concurrency: int) -> MakeCalls:
    """Return a function whose threads share one client of pyqwest."""
    return share_between_threads(post_with_pyqwest(url), concurrency)


def async_pyqwest(url: str) -> MakeCalls:
    """Return a function that makes calls with pyqwest."""
    return tasks_pyqwest(url, concurrency=1)


def tasks_pyqwest(url: str, concurrency: int) -> MakeCalls:
    """Return a function whose tasks share one client of pyqwest."""
    import pyqwest

    client = pyqwest.Client()
    headers = HEADERS | {"Content-Type": "application/json"}

    async def call() -> object:
        response = await client.post(url + PATH, headers, json.dumps(BODY).encode())
        return response.json()

    return share_between_tasks(call, concurrency)
