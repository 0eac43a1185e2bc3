"""Reads the bytes of a source for `make spec`: a file, standard input, or an https address."""

import asyncio
import sys
from pathlib import Path

from httpx import URL, AsyncClient, HTTPError, InvalidURL, Request

from openapi_tools.json_values import SpecError

MAX_SECONDS = 30.0
MAX_BYTES = 16 * 2**20


def read_bytes(source: str) -> bytes:
    """Return the content of a file, of standard input (`-`) or of an https address."""
    if source == "-":
        return sys.stdin.buffer.read()
    if "://" not in source:
        return Path(source).read_bytes()
    return asyncio.run(_download(source))


async def _download(address: str) -> bytes:
    """Return the content of an https address."""
    try:
        async with asyncio.timeout(MAX_SECONDS):
            return await _fetch(address)
    except TimeoutError:
        raise SpecError(f"no whole answer within {MAX_SECONDS:g} s") from None
    except (HTTPError, InvalidURL) as error:
        raise SpecError(str(error)) from error


async def _fetch(address: str) -> bytes:
    """Return the body of the answer; a redirection to another host is refused."""

    async def check_host(request: Request) -> None:
        if (request.url.scheme, request.url.host) != ("https", URL(address).host):
            raise SpecError(f"{request.url} is not an https address of the host that was asked")

    content = bytearray()
    async with (
        AsyncClient(follow_redirects=True, event_hooks={"request": [check_host]}) as client,
        client.stream("GET", address, headers={"Accept-Encoding": "identity"}) as response,
    ):
        response.raise_for_status()
        async for chunk in response.aiter_raw():
            content += chunk
            if len(content) > MAX_BYTES:
                raise SpecError(f"there are more than {MAX_BYTES} bytes")
    return bytes(content)
