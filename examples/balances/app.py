"""A small web application that reads balances through Mesh and keeps them in a database.

    GET  /                the page
    GET  /balances        the same as JSON; amounts are strings
    POST /accounts        the payload that Mesh Link hands over
    POST /balances/read   read all balances now; answers with the JSON
    POST /                read all balances, then redirect to the page: for the page's button
    POST /accounts/{id}/remove
                          delete an account, then redirect to the page: for the page's button

It has no log-in: let it listen on loopback only. Start it with
`python -m uvicorn --factory examples.balances.app:create_app`.
"""

import asyncio
import contextlib
import logging
import os
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, FastAPI, HTTPException, Request
from fastapi import Path as PathParameter
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from fastapi.templating import Jinja2Templates
from sqlalchemy.exc import SQLAlchemyError
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware

from mesh_facade import AsyncMeshClient, MeshError

from .store import DEFAULT_URL, URL_VARIABLE, Account, AccountKey, Store
from .tokens import KEYS_VARIABLE, TokenCipher, read_link_payload

# The demo page shows the page in a frame: hence frame-ancestors 'self', not 'none'.
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; "
        "frame-ancestors 'self'; base-uri 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}

logger = logging.getLogger(__name__)
router = APIRouter()
templates = Jinja2Templates(Path(__file__).parent / "templates")


@contextlib.asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
    """Open the database and one Mesh client for as long as the application runs."""
    store: Store = app.state.store
    try:
        await asyncio.to_thread(store.open)
        async with AsyncMeshClient(deadline=20) as mesh:
            app.state.mesh = mesh
            yield
    finally:
        store.close()


def create_app() -> FastAPI:
    """Build the application from its environment variables.

    Raises:
        SettingsError: A variable is missing or cannot be used.
    """
    cipher = TokenCipher(os.environ.get(KEYS_VARIABLE, ""))
    app = FastAPI(
        lifespan=lifespan,
        openapi_url=None,
        exception_handlers={RequestValidationError: report_invalid_request},
    )
    app.state.store = Store(os.environ.get(URL_VARIABLE, DEFAULT_URL), cipher)
    app.include_router(router)
    # The middleware that is added last handles a request first.
    app.add_middleware(BaseHTTPMiddleware, dispatch=add_headers)
    app.add_middleware(BaseHTTPMiddleware, dispatch=reject_cross_site_posts)
    # Prevents DNS rebinding: another site's host name could be made to resolve to this machine.
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost"])
    return app


def _get_store(request: Request) -> Store:
    store: Store = request.app.state.store
    return store


def _get_mesh(request: Request) -> AsyncMeshClient:
    mesh: AsyncMeshClient = request.app.state.mesh
    return mesh


StoreDependency = Annotated[Store, Depends(_get_store)]
MeshDependency = Annotated[AsyncMeshClient, Depends(_get_mesh)]
# Databases refuse larger numbers.
AccountPk = Annotated[int, PathParameter(ge=1, le=2**31 - 1)]


@dataclass(frozen=True)
class BalanceRowResponse:
    """What an account holds in one currency. Amounts are strings; null where Mesh sent none."""

    currency: str | None
    cash: str | None
    buying_power: str | None
    cryptocurrency_buying_power: str | None


@dataclass(frozen=True)
class AccountResponse:
    """An account with its last balance, and without its tokens."""

    id: int
    name: str
    broker: str
    account_id: str
    reconnect_required: bool
    last_error: str | None
    read_at: datetime | None
    tokens_expire_at: datetime | None
    total_cash_usd: str | None
    total_buying_power_usd: str | None
    balances: list[BalanceRowResponse]


@dataclass(frozen=True)
class AccountsResponse:
    """All accounts."""

    accounts: list[AccountResponse]


@router.post("/accounts", status_code=201)
def link_accounts(payload: Annotated[Any, Body()], store: StoreDependency) -> dict[str, int]:
    """Take in the payload of Link's success callback; the browser posts it as JSON."""
    try:
        accounts = read_link_payload(payload)
    except (TypeError, ValueError) as error:  # the message names the field and quotes no token
        raise HTTPException(422, str(error)) from None
    store.link(accounts)
    return {"linked": len(accounts)}


@router.post("/accounts/{account_pk}/remove")
def remove_account(account_pk: AccountPk, store: StoreDependency) -> Response:
    """Delete an account, its token and its balance, and show the page again."""
    store.remove(account_pk)
    return RedirectResponse("/", status_code=303)


@router.post("/balances/read")
async def read_balances(store: StoreDependency, mesh: MeshDependency) -> AccountsResponse:
    """Read the balance of each account now, and return them all."""
    await read_all_balances(store, mesh)
    return await asyncio.to_thread(list_balances, store)


@router.get("/balances")
def list_balances(store: StoreDependency) -> AccountsResponse:
    """Return all accounts with their last balances."""
    return AccountsResponse([account_to_response(account) for account in store.accounts()])


@router.get("/")
def show_page(request: Request, store: StoreDependency) -> Response:
    """Return the page."""
    accounts = store.accounts()
    context = {"accounts": accounts, "amount": format_amount}
    return templates.TemplateResponse(request, "balances.html", context)


@router.post("/")
async def read_balances_for_page(store: StoreDependency, mesh: MeshDependency) -> Response:
    """Read the balance of each account now, and show the page again."""
    await read_all_balances(store, mesh)
    return RedirectResponse("/", status_code=303)


async def read_all_balances(store: Store, mesh: AsyncMeshClient) -> None:
    """Read many accounts at a time: all except those that the user must link again."""
    # An application that refreshes tokens does so here, before they expire: see
    # docs/guides/tokens.md.
    accounts = await asyncio.to_thread(store.readable_accounts)
    unread = {account.key for account in accounts}
    try:
        async with contextlib.aclosing(mesh.get_account_balances(accounts)) as outcomes:
            async for outcome in outcomes:
                key = outcome.account.key
                unread.remove(key)
                with log_database_error(key):
                    if outcome.error is None:
                        await asyncio.to_thread(store.record_balance, key, outcome.balance)
                    else:
                        await asyncio.to_thread(store.record_error, key, outcome.error)
    except MeshError as error:  # Mesh refused the API keys: the accounts in `unread` were not read
        for key in unread:
            with log_database_error(key):
                await asyncio.to_thread(store.record_error, key, error)


@contextlib.contextmanager
def log_database_error(key: AccountKey) -> Generator[None]:
    """Log an error of the database, so that the other accounts are stored all the same."""
    try:
        yield
    except SQLAlchemyError as error:
        # The class alone, and no traceback: some messages of databases quote values.
        problem = type(error).__name__
        logger.error("Account %d could not be stored: %s", key.id, problem)  # noqa: TRY400


def account_to_response(account: Account) -> AccountResponse:
    """Return an account ready for JSON."""
    balances = [
        BalanceRowResponse(
            currency=row.currency,
            cash=amount_to_string(row.cash),
            buying_power=amount_to_string(row.buying_power),
            cryptocurrency_buying_power=amount_to_string(row.cryptocurrency_buying_power),
        )
        for row in account.rows
    ]
    return AccountResponse(
        id=account.id,
        name=account.name,
        broker=account.broker,
        account_id=account.account_id,
        reconnect_required=account.reconnect_required,
        last_error=account.last_error,
        read_at=account.read_at,
        tokens_expire_at=account.tokens_expire_at,
        total_cash_usd=amount_to_string(account.total_cash_usd),
        total_buying_power_usd=amount_to_string(account.total_buying_power_usd),
        balances=balances,
    )


def amount_to_string(amount: Decimal | None) -> str | None:
    """Return an amount as a string: most programs read a JSON number as a float."""
    if amount is None:
        return None
    return format(amount, "f")


def format_amount(amount: Decimal | None) -> str:
    """Return an amount for people; Mesh sends null where it does not know one."""
    if amount is None:
        return "unknown"
    return format(amount, ",f")


async def reject_cross_site_posts(
    request: Request, call_next: Callable[[Request], Awaitable[Response]]
) -> Response:
    """Reject a POST that a page of another site makes the browser send."""
    # Browsers send this header with "none" if the user typed the address. Other programs omit it.
    site = request.headers.get("sec-fetch-site", "none")
    if request.method == "POST" and site not in {"none", "same-origin"}:
        return PlainTextResponse("This request came from another site.", status_code=403)
    return await call_next(request)


async def add_headers(
    request: Request, call_next: Callable[[Request], Awaitable[Response]]
) -> Response:
    """Add HEADERS to an answer, except those that it already has."""
    response = await call_next(request)
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    return response


async def report_invalid_request(_: Request, error: RequestValidationError) -> Response:
    """Say what is wrong with a request. FastAPI's own answer would quote it, tokens included."""
    reasons = [f"{item['loc'][0]}: {item['msg']}" for item in error.errors()]
    return JSONResponse({"detail": "; ".join(reasons)}, status_code=422)
