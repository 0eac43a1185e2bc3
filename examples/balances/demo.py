"""Runs the application on a mock Mesh server, with buttons to link accounts and let a token die.

Start it with `make example`. Everything here is made up, and gone when it ends.
"""

import os
import socket
import sys
import tempfile
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import uvicorn
from cryptography.fernet import Fernet
from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import RedirectResponse, Response

from mesh_facade.testing import MockServer

from .app import HEADERS, create_app, templates
from .store import URL_VARIABLE
from .tokens import KEYS_VARIABLE

PORT = 8000
ALLOW_FRAME = HEADERS["Content-Security-Policy"] + "; frame-src 'self'"


@dataclass(frozen=True)
class DemoAccount:
    """An account that a user links, and what the mock server knows of it."""

    broker: str
    name: str
    account_id: str
    token: str
    cash: dict[str, str | None]
    buying_power: dict[str, str | None] | None = None
    total_cash_usd: str | None = None

    def link_payload(self) -> dict[str, object]:
        """Return the payload that Mesh Link would hand to the browser."""
        account = {"accountId": self.account_id, "accountName": self.name}
        account_token = {
            "account": account,
            "accessToken": self.token,
            "refreshToken": f"{self.token}-refresh",
        }
        return {
            "accessToken": {
                "brokerType": self.broker,
                "brokerName": self.broker.title(),
                "expiresInSeconds": 3600,
                "accountTokens": [account_token],
            }
        }


COINBASE = DemoAccount(
    broker="coinbase",
    name="Main",
    account_id="demo-account-1",
    token="demo-token-1",  # noqa: S106 — made up
    cash={"USD": "158.50", "EUR": "-102.88"},
    buying_power={"USD": "258.50", "EUR": "0"},
    total_cash_usd="38.24",
)
KRAKEN = DemoAccount(
    broker="kraken",
    name="Savings",
    account_id="demo-account-2",
    token="demo-token-2",  # noqa: S106 — made up
    cash={"USD": "12345678901234567.89", "CHF": None},
)
KRAKEN_AGAIN = DemoAccount(
    broker="kraken",
    name="Savings",
    account_id="demo-account-2",
    token="demo-token-3",  # noqa: S106 — made up
    cash={"USD": "12345678901234567.89", "CHF": "20.00"},
)


@dataclass(frozen=True)
class Step:
    """A button of the demo page: a user links `account`; if it is None, a token dies."""

    path: str
    button: str
    account: DemoAccount | None = None


STEPS = [
    Step("link-coinbase", "A user links a Coinbase account", COINBASE),
    Step("link-kraken", "A user links a Kraken account", KRAKEN),
    Step("expire", "The token of the Kraken account dies"),
    Step("link-kraken-again", "The user links the Kraken account again", KRAKEN_AGAIN),
]


def demo_routes(mesh: MockServer) -> APIRouter:
    """Return the routes of the demo page: a button for each step."""
    router = APIRouter(prefix="/demo")

    @router.get("")
    async def show_buttons(request: Request) -> Response:
        headers = {"Content-Security-Policy": ALLOW_FRAME}
        return templates.TemplateResponse(request, "demo.html", {"steps": STEPS}, headers=headers)

    for step in STEPS:
        router.add_api_route(f"/{step.path}", step_route(step, mesh), methods=["POST"])
    return router


def step_route(step: Step, mesh: MockServer) -> Callable[[Request], Awaitable[Response]]:
    """Return the route that takes a step and shows the demo page again."""

    async def take_step(request: Request) -> Response:
        if step.account is None:
            for account in (KRAKEN, KRAKEN_AGAIN):
                mesh.fails(account.token, "unauthorized-token")
        else:
            await link(request.app, mesh, step.account)
        return RedirectResponse("/demo", status_code=303)

    return take_step


async def link(app: FastAPI, mesh: MockServer, account: DemoAccount) -> None:
    """Post an account's payload to the application, as the browser of the user would."""
    # The token may have died in an earlier step: a token that Link hands over is alive.
    mesh.answers(
        account.token,
        cash=account.cash,
        buying_power=account.buying_power,
        total_cash_usd=account.total_cash_usd,
    )
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as browser:
        answer = await browser.post("/accounts", json=account.link_payload())
        answer.raise_for_status()


def instructions(address: str) -> str:
    """Return what to do with the demo, as text for the terminal."""
    lines = [
        f"The application: {address}/",
        f"The application, with buttons for the steps below: {address}/demo",
        "",
        "The same steps from another terminal:",
    ]
    for step in STEPS:
        lines += [f"# {step.button}.", f"curl -sS -X POST {address}/demo/{step.path}"]
        lines += ["# All balances are read.", f"curl -sS -X POST {address}/balances/read"]
    lines += ["", "Everything is made up, and gone after Ctrl-C."]
    return "\n".join(lines)


@contextmanager
def demo_server(port: int) -> Generator[tuple[uvicorn.Server, socket.socket]]:
    """Yield the application's server, not yet running, and the socket on which it will listen."""
    with (
        tempfile.TemporaryDirectory() as folder,
        MockServer() as mesh,
        open_socket(port) as listener,
    ):
        os.environ.update(mesh.environment)
        os.environ[URL_VARIABLE] = f"sqlite:///{Path(folder) / 'balances.db'}"
        os.environ[KEYS_VARIABLE] = Fernet.generate_key().decode()
        app = create_app()
        app.include_router(demo_routes(mesh))
        yield uvicorn.Server(uvicorn.Config(app, log_level="warning")), listener


def open_socket(port: int) -> socket.socket:
    """Listen on loopback: on this port, or on a free one if it is taken."""
    try:
        return socket.create_server(("127.0.0.1", port))
    except OSError:
        return socket.create_server(("127.0.0.1", 0))


def main() -> None:
    """Run the demo until Ctrl-C."""
    port = PORT
    if len(sys.argv) > 1:
        port = int(sys.argv[1])
    with demo_server(port) as (server, listener):
        print(instructions(f"http://127.0.0.1:{listener.getsockname()[1]}"), flush=True)
        with suppress(KeyboardInterrupt):
            server.run(sockets=[listener])


if __name__ == "__main__":
    main()
