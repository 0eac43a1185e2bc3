"""Runs the application on a mock Mesh server, with controls for what users and time would do.

Start it with `make example`. Everything here is made up, and gone when it ends.
"""

import json
import os
import shlex
import socket
import sys
import tempfile
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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


def link_payload(broker: str, name: str, account_id: str, token: str) -> dict[str, Any]:
    """Return a payload as Mesh Link would hand it to the browser."""
    account = {"accountId": account_id, "accountName": name}
    return {
        "accessToken": {
            "brokerType": broker,
            "brokerName": broker.title(),
            "expiresInSeconds": 3600,
            "accountTokens": [
                {"account": account, "accessToken": token, "refreshToken": f"{token}-refresh"}
            ],
        }
    }


COINBASE = link_payload("coinbase", "Main", "demo-account-1", "demo-token-1")
KRAKEN = link_payload("kraken", "Savings", "demo-account-2", "demo-token-2")
KRAKEN_AGAIN = link_payload("kraken", "Savings", "demo-account-2", "demo-token-3")


@dataclass(frozen=True)
class Step:
    """Something that happens outside the application: a Link payload arrives, or a token dies."""

    path: str
    button: str
    payload: dict[str, Any] | None = None

    def curl(self, address: str) -> str:
        """Return the command that does the same as the button."""
        if self.payload is None:
            return f"curl -sS -X POST {address}/demo/{self.path}"
        body = shlex.quote(json.dumps(self.payload))
        return f"curl -sS -H 'Content-Type: application/json' -d {body} {address}/accounts"


STEPS = [
    Step("link-coinbase", "A user links a Coinbase account", COINBASE),
    Step("link-kraken", "A user links a Kraken account", KRAKEN),
    Step("expire", "The token of the Kraken account dies"),
    Step("link-kraken-again", "The user links the Kraken account again", KRAKEN_AGAIN),
]


def controls(mesh: MockServer) -> APIRouter:
    """Return the routes of the demo page: a button for each step."""
    router = APIRouter(prefix="/demo")

    @router.get("")
    async def show_controls(request: Request) -> Response:
        headers = {"Content-Security-Policy": ALLOW_FRAME}
        return templates.TemplateResponse(request, "demo.html", {"steps": STEPS}, headers=headers)

    for step in STEPS:
        router.add_api_route(f"/{step.path}", step_route(step, mesh), methods=["POST"])
    return router


def step_route(step: Step, mesh: MockServer) -> Callable[[Request], Awaitable[Response]]:
    """Return the route that takes a step and shows the demo page again."""

    async def take_step(request: Request) -> Response:
        if step.payload is None:
            mesh.fails("demo-token-2", "unauthorized-token")
        else:
            await post_payload(request.app, step.payload)
        return RedirectResponse("/demo", status_code=303)

    return take_step


async def post_payload(app: FastAPI, payload: dict[str, Any]) -> None:
    """Post a payload to the application, as the browser of the user would."""
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as browser:
        answer = await browser.post("/accounts", json=payload)
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
        lines += [f"# {step.button}.", step.curl(address)]
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
        mesh.answers(
            "demo-token-1",
            cash={"USD": "158.50", "EUR": "-102.88"},
            buying_power={"USD": "258.50", "EUR": "0"},
            total_cash_usd="38.24",
        )
        mesh.answers("demo-token-2", cash={"USD": "12345678901234567.89", "CHF": None})
        mesh.answers("demo-token-3", cash={"USD": "12345678901234567.89", "CHF": "20.00"})
        os.environ.update(mesh.environment)
        os.environ[URL_VARIABLE] = f"sqlite:///{Path(folder) / 'balances.db'}"
        os.environ[KEYS_VARIABLE] = Fernet.generate_key().decode()
        app = create_app()
        app.include_router(controls(mesh))
        yield uvicorn.Server(uvicorn.Config(app, log_level="warning")), listener


def open_socket(port: int) -> socket.socket:
    """Listen on loopback: on this port, or on a free one if it is taken."""
    try:
        return socket.create_server(("127.0.0.1", port))
    except OSError:
        return socket.create_server(("127.0.0.1", 0))


def main() -> None:
    """Run the demo until Ctrl-C."""
    port = int(sys.argv[1]) if len(sys.argv) > 1 else PORT
    with demo_server(port) as (server, listener):
        print(instructions(f"http://127.0.0.1:{listener.getsockname()[1]}"), flush=True)
        with suppress(KeyboardInterrupt):
            server.run(sockets=[listener])


if __name__ == "__main__":
    main()
