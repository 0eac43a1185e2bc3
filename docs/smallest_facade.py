"""The smallest facade over a generated client, in one file that runs as it stands.

    python docs/smallest_facade.py

It shows the seam and the three decisions that matter most: what is an answer, what is an error,
what is sent twice. Copy it, put your generated client in place of `mesh_connect_client`, and change
what is marked CHANGE. What it leaves out, and why you will want it, is in docs/facade-pattern.md.
"""

import json
import time
from decimal import Decimal
from typing import Any

import httpx
from mesh_connect_client import Client  # CHANGE: your generated client, from here …
from mesh_connect_client.api.balance import get_account_balance
from mesh_connect_client.models import BalanceBrokerBaseRequest  # … to here

TIMEOUT = 10.0  # seconds for one network wait
DEADLINE = 30.0  # seconds after which no further attempt begins; it does not end one that runs
MAX_ATTEMPTS = 3


class ApiError(Exception):
    """The API answered with an error, or with something that is not a result."""

    def __init__(self, text: str, http_status: int) -> None:
        super().__init__(text)
        self.http_status = http_status


class ConnectionFailedError(Exception):
    """No answer came back."""


def check(response: httpx.Response) -> object:
    """Return the decoded body of a result; raise ApiError for anything else.

    CHANGE: what a result is. Here it is HTTP 2xx, status `ok`, and content.
    """
    try:
        envelope = json.loads(response.content, parse_float=Decimal, parse_int=Decimal)
    except ValueError:
        envelope = None
    if not isinstance(envelope, dict):
        raise ApiError(f"HTTP {response.status_code}, and not JSON", response.status_code)
    if not response.is_success or envelope.get("status") != "ok":
        status = envelope.get("status")
        raise ApiError(f"HTTP {response.status_code}: {status}", response.status_code)
    if not isinstance(envelope.get("content"), dict):
        raise ApiError("the answer has no content", response.status_code)
    return envelope


def is_transient(error: Exception) -> bool:
    """Return True if the same call may succeed a moment later."""
    if isinstance(error, ApiError):
        return error.http_status == httpx.codes.TOO_MANY_REQUESTS or error.http_status >= 500
    return isinstance(error, ConnectionFailedError)


class CheckedResponse(httpx.Response):
    """A checked answer. The generated parser reads it through `json()`, decoded already."""

    def __init__(self, value: object) -> None:
        super().__init__(httpx.codes.OK)
        self._value = value

    def json(self, **_: object) -> object:
        return self._value


class EngineClient(httpx.Client):
    """The seam: generated code calls `request()` on the httpx client that it is given."""

    def request(self, method: str, url: httpx.URL | str, **options: object) -> httpx.Response:
        give_up_at = time.monotonic() + DEADLINE
        attempts = 0
        while True:
            attempts += 1
            error: Exception
            try:
                response = super().request(method, url, **options)  # type: ignore[arg-type]
                return CheckedResponse(check(response))
            except ApiError as api_error:
                error = api_error
            except httpx.TransportError as transport_error:
                # Not its text, nor `from transport_error`: both may lead to secrets.
                error = ConnectionFailedError(type(transport_error).__name__)
            pause = 0.5 * attempts
            too_late = time.monotonic() + pause > give_up_at
            # CHANGE: only operations that are safe to repeat may come back here.
            if attempts == MAX_ATTEMPTS or too_late or not is_transient(error):
                break
            time.sleep(pause)
        raise error


class SmallFacade:
    """What an application uses."""

    def __init__(
        self, base_url: str, api_key: str, transport: httpx.BaseTransport | None = None
    ) -> None:
        engine = EngineClient(
            base_url=base_url,
            headers={"X-Client-Secret": api_key},  # CHANGE: how requests are signed
            timeout=TIMEOUT,
            transport=transport,
        )
        self._generated = Client(base_url=base_url).set_httpx_client(engine)

    def get_cash(self, auth_token: str, broker: str) -> dict[str, Decimal | None]:
        """Return the cash in each currency. CHANGE: one short method for each operation."""
        body = BalanceBrokerBaseRequest(auth_token, broker)
        response = get_account_balance.sync_detailed(client=self._generated, body=body)
        # The generated types allow for failures and say float; `check` has let neither through.
        result: Any = response.parsed
        rows = result.content.balances or []
        return {row.currency_code: row.cash for row in rows}


def main() -> None:
    """Show a result after a retry, and an error."""
    answers = [
        httpx.Response(503, text="<html>"),
        httpx.Response(
            200,
            text='{"status": "ok", "content": {"balances": '
            '[{"currencyCode": "USD", "cash": 12345678901234567.89}]}}',
        ),
        httpx.Response(401, text=""),
    ]
    transport = httpx.MockTransport(lambda _: answers.pop(0))
    facade = SmallFacade("https://mesh.example", "an-api-key", transport)
    print(facade.get_cash("a-token", "coinbase"))
    try:
        facade.get_cash("a-token", "coinbase")
    except ApiError as error:
        print(type(error).__name__, error)


if __name__ == "__main__":
    main()
