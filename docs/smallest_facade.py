"""The smallest facade over a generated client, in one file that runs as it stands.

    make demo                                # once: it installs what this file imports
    .venv/bin/python docs/smallest_facade.py

It shows the seam and the three decisions that matter most: what is an answer, what is an error,
what is sent twice. Copy it, put your generated client in place of `mesh_connect_client`, and change
what is marked CHANGE. What it leaves out, and why you will want it, is in docs/facade-pattern.md.
"""

import contextlib
import json
import time
from decimal import Decimal
from typing import Any, NoReturn

import httpx

# CHANGE: the parts of your generated client.
from mesh_connect_client import Client
from mesh_connect_client.api.balance import get_account_balance
from mesh_connect_client.models import BalanceBrokerBaseRequest

TIMEOUT = 10.0  # seconds for one network wait
DEADLINE = 30.0  # seconds after which no further attempt begins; it does not end one that runs
MAX_ATTEMPTS = 3


class ApiError(Exception):
    """The API answered with an error, or with something that is not a result."""

    def __init__(self, text: str, http_status: int) -> None:
        super().__init__(text)
        self.http_status = http_status


class ConnectionFailedError(Exception):
    """No answer came back, or none that could be read to its end."""


def refuse_constant(constant: str) -> NoReturn:
    """Refuse NaN and Infinity, which `json` takes for numbers."""
    raise ValueError(f"{constant} is not JSON")


def check(response: httpx.Response) -> object:
    """Return the decoded body of a result; raise ApiError for anything else.

    CHANGE: what a result is. Here it is HTTP 200 (the only success that this spec documents, so the
    only one that the generated parser reads), the status `ok`, and content with a list of
    balances.
    """
    http_status = response.status_code
    try:
        envelope = json.loads(
            response.content,
            parse_float=Decimal,
            parse_int=Decimal,
            parse_constant=refuse_constant,
        )
    except (ValueError, ArithmeticError, RecursionError):
        envelope = None
    if not isinstance(envelope, dict):
        raise ApiError(f"HTTP {http_status}, and no JSON object", http_status)
    status = envelope.get("status")
    if http_status != httpx.codes.OK or status != "ok":
        raise ApiError(f"HTTP {http_status}: {status}", http_status)
    content = envelope.get("content")
    if not isinstance(content, dict):
        raise ApiError("the answer has no content", http_status)
    rows = content.get("balances")
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ApiError("the answer has no list of balances", http_status)
    return envelope


def is_transient(error: Exception) -> bool:
    """Return True if another attempt is worth making.

    CHANGE: which errors are transient. Here only the HTTP status of an answer counts, so a status
    such as `tooManyRequest` that comes with HTTP 200 is not retried.
    """
    if isinstance(error, ApiError):
        return error.http_status == httpx.codes.TOO_MANY_REQUESTS or error.http_status >= 500
    return isinstance(error, ConnectionFailedError)


class CheckedResponse(httpx.Response):
    """A checked answer. The generated parser reads it through `json()`, decoded already."""

    def __init__(self, response: httpx.Response, value: object) -> None:
        super().__init__(response.status_code)
        self.headers = response.headers
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
                return CheckedResponse(response, check(response))
            except ApiError as api_error:
                error = api_error
            except httpx.HTTPError as http_error:
                # Not its text, nor `from http_error`: both may lead to secrets.
                error = ConnectionFailedError(type(http_error).__name__)
            pause = 0.5 * attempts
            too_late = time.monotonic() + pause > give_up_at
            # CHANGE: add to this condition that the operation is not safe to repeat, if one is not.
            if attempts == MAX_ATTEMPTS or too_late or not is_transient(error):
                break
            time.sleep(pause)
        raise error


class SmallFacade:
    """What an application uses."""

    def __init__(
        self, base_url: str, api_key: str, transport: httpx.BaseTransport | None = None
    ) -> None:
        self._engine = EngineClient(
            base_url=base_url,
            headers={"X-Client-Secret": api_key},  # CHANGE: how requests are signed
            timeout=TIMEOUT,
            transport=transport,
        )
        # The generated client's own settings (headers, timeout, …) no longer count from here on.
        self._generated = Client(base_url=base_url).set_httpx_client(self._engine)

    def get_cash(self, auth_token: str, broker: str) -> dict[str, Decimal | None]:
        """Return the cash in each currency. CHANGE: one short method for each operation."""
        body = BalanceBrokerBaseRequest(auth_token, broker)
        response = get_account_balance.sync_detailed(client=self._generated, body=body)
        # The generated types allow for failures, and say float. `check` has let no failure through,
        # and has made each number a Decimal. But the generated parser accepts values of any type.
        result: Any = response.parsed
        cash: dict[str, Decimal | None] = {}
        for row in result.content.balances:
            if not isinstance(row.currency_code, str) or row.currency_code in cash:
                raise ApiError("a currency is missing, or there twice", response.status_code)
            if not isinstance(row.cash, Decimal | None):
                raise ApiError("an amount is neither a number nor null", response.status_code)
            cash[row.currency_code] = row.cash
        return cash

    def close(self) -> None:
        """Close the connections."""
        self._engine.close()


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
    with contextlib.closing(SmallFacade("https://mesh.example", "an-api-key", transport)) as facade:
        print(facade.get_cash("a-token", "coinbase"))
        try:
            facade.get_cash("a-token", "coinbase")
        except ApiError as error:
            print(type(error).__name__, error)


if __name__ == "__main__":
    main()
