"""What the tests of the example application share: it runs, and a browser talks to it."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import uvicorn

from examples.balances.app import create_app


def account_token(
    token: str = "token-canary-1", account_id: str = "account-1", **changes: Any
) -> dict[str, Any]:
    account = {"accountId": account_id, "accountName": "Main"}
    return {
        "account": account,
        "accessToken": token,
        "refreshToken": f"{token}-refresh",
        **changes,
    }


def payload(*account_tokens: Any, **changes: Any) -> dict[str, Any]:
    access = {
        "accountTokens": list(account_tokens or [account_token()]),
        "brokerType": "coinbase",
        "brokerName": "Coinbase",
        **changes,
    }
    return {"accessToken": access}


class Browser:
    """Talks to the running application, as a user's browser would."""

    def __init__(self, http: httpx.Client) -> None:
        self.http = http

    def link(
        self, token: str = "token-canary-1", account_id: str = "account-1", **changes: Any
    ) -> None:
        """Hand over what Link gave for one account."""
        linked = payload(account_token(token, account_id), **changes)
        assert self.http.post("/accounts", json=linked).json() == {"linked": 1}

    def read(self) -> list[dict[str, Any]]:
        """Have all balances read; return the accounts."""
        answer = self.http.post("/balances/read")
        return accounts_of(answer)

    def accounts(self) -> list[dict[str, Any]]:
        return accounts_of(self.http.get("/balances"))

    def page(self) -> str:
        """Return the page's text, without line breaks."""
        answer = self.http.get("/")
        assert answer.status_code == 200
        return " ".join(answer.text.split())

    def text(self) -> str:
        """Return what a person reads on the page."""
        return " ".join(re.sub("<[^>]+>", " ", self.page()).split())


def accounts_of(answer: httpx.Response) -> list[dict[str, Any]]:
    assert answer.status_code == 200, answer.text
    accounts: list[dict[str, Any]] = answer.json()["accounts"]
    return accounts


def cash_of(account: dict[str, Any]) -> dict[str, str | None]:
    return {row["currency"]: row["cash"] for row in account["balances"]}


@contextlib.contextmanager
def running() -> Iterator[Browser]:
    """Run the application on loopback, and yield a browser that has opened it."""
    server = uvicorn.Server(uvicorn.Config(create_app(), log_config=None))
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        running_server(server, listener) as browser,
    ):
        yield browser


@contextlib.contextmanager
def running_server(server: uvicorn.Server, listener: socket.socket) -> Iterator[Browser]:
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive(), "the application did not start"
            time.sleep(0.01)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with httpx.Client(base_url=url, trust_env=False, timeout=60) as http:
            yield Browser(http)
    finally:
        server.should_exit = True
        thread.join(30)
