"""The two clients: thin shells over the generated operation and the engine under it."""

import ssl
import traceback
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Generator, Iterable
from types import TracebackType
from typing import Any, Generic, NoReturn, Self, TypeVar

import attrs
import httpx
from mesh_connect_client import Client
from mesh_connect_client.api.balance import get_account_balance
from mesh_connect_client.models import BrokerType
from mesh_connect_client.spec import API_KEY_HEADERS, SERVERS
from mesh_connect_client.types import Response

from mesh_facade import _configuration, _wire, bulk
from mesh_facade._engine import ATTEMPTS, AsyncEngine, Attempt, Engine, SyncEngine
from mesh_facade._network import TaskConnection, ThreadConnection
from mesh_facade._pool import AsyncPool, Pool
from mesh_facade._retry import Budget
from mesh_facade.balances import AccountBalance
from mesh_facade.bulk import LinkedAccount, Outcome
from mesh_facade.credentials import AsyncClientSecret, ClientSecret, Credentials, redact
from mesh_facade.errors import MeshConfigurationError, MeshError

_KEY_HEADERS = [API_KEY_HEADERS["Client-Id"], API_KEY_HEADERS["Client-Secret"]]

Secret = TypeVar("Secret", bound=AsyncClientSecret)
Transport = TypeVar("Transport")


class _Shell(Generic[Secret, Transport]):
    """What both clients share: how they are built, and that they do not leave the process."""

    _pool_class = Pool
    _transport_class: type[Any] = httpx.BaseTransport
    _connection_class: type[ThreadConnection | TaskConnection] = ThreadConnection

    def __init__(  # noqa: PLR0913 — one keyword for each option
        self,
        client_id: str | None = None,
        client_secret: Secret | None = None,
        *,
        environment: str | None = None,
        base_url: str | httpx.URL | None = None,
        timeout: float = 10.0,
        deadline: float = 30.0,
        max_attempts: int = 3,
        max_connections: int = 100,
        proxy: str | httpx.URL | httpx.Proxy | None = None,
        verify: bool | ssl.SSLContext = True,
        transport: Transport | None = None,
        on_attempt: Callable[[Attempt], object] | None = None,
    ) -> None:
        url = _configuration.find_base_url(environment, base_url, SERVERS)
        if transport is not None and (proxy is not None or verify is not True):
            raise MeshConfigurationError("transport would bypass proxy and verify: set them on it")
        if not isinstance(transport, self._transport_class | None):
            raise MeshConfigurationError(f"transport must be a {self._transport_class.__name__}")
        _configuration.check_count("max_connections", max_connections)
        found_proxy = _configuration.find_proxy(url, proxy)
        open_connection = _configuration.connection_maker(
            self._connection_class, url, found_proxy, verify=verify
        )
        engine = Engine(
            base_url=str(url),
            pool=self._pool_class(open_connection, max_connections, transport),
            credentials=Credentials(client_id, client_secret, headers=_KEY_HEADERS),
            find_problem=_wire.find_balance_problem,
            budget=Budget(),
            timeout=timeout,
            deadline=deadline,
            max_attempts=max_attempts,
            on_attempt=on_attempt,
        )
        self._run_on(engine)

    def _run_on(self, engine: Engine) -> None:
        self._engine = engine
        self._generated = Client(base_url=engine.base_url)
        self._generated.set_httpx_client(SyncEngine(engine))

    def with_options(
        self,
        *,
        timeout: float | None = None,
        deadline: float | None = None,
        max_attempts: int | None = None,
    ) -> Self:
        """Return a client with other bounds, which shares connections, keys and retry budget.

        What is None stays as it is. Closing one of the clients closes the connections of all.
        """
        bounds = {"timeout": timeout, "deadline": deadline, "max_attempts": max_attempts}
        changes: dict[str, Any] = {
            name: value for name, value in bounds.items() if value is not None
        }
        return self._evolve(**changes)

    def _evolve(self, **changes: Any) -> Self:
        sibling = object.__new__(type(self))
        sibling._run_on(attrs.evolve(self._engine, **changes))
        return sibling

    def __repr__(self) -> str:
        return f"{type(self).__name__}(base_url={self._engine.base_url!r})"

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            f"{type(self).__name__} cannot be copied or pickled, for it holds secrets and "
            "connections: pass its options, and build one where it is used"
        )


class MeshClient(_Shell[ClientSecret, httpx.BaseTransport]):
    """Reads balances through Mesh; safe to share between threads.

    Args:
        client_id: Your Mesh client id; where None, `MESH_CLIENT_ID`.
        client_secret: Its secret, or a function that returns the current one, for rotation (in
            `AsyncMeshClient` also an async one); where None, `MESH_CLIENT_SECRET`.
        environment: `"production"` or `"sandbox"`: which of the spec's `servers`; where None,
            `MESH_ENVIRONMENT`, else production.
        base_url: Another server than the environment's; where None, `MESH_BASE_URL`. https only,
            except on loopback.
        timeout: Seconds that one network wait may take.
        deadline: Seconds that a call may take in all: waiting for a connection, attempts and
            pauses. In `MeshClient` it cannot cut short a look-up of the host's name, nor your own
            secret function.
        max_attempts: How often a call is attempted.
        max_connections: How many calls run at once; others wait for their turn.
        proxy: A proxy's URL, `http://` or `socks5://`; where None, `HTTPS_PROXY`, `ALL_PROXY` and
            `NO_PROXY`.
        verify: Whether to verify the server's certificate, or an `ssl.SSLContext`, which may hold
            a client certificate.
        transport: Your own httpx transport in place of the connections kept here. `deadline` then
            bounds it as far as it heeds httpx's timeouts.
        on_attempt: Is called with an `Attempt` after each, for metrics. What it raises, the call
            raises.

    Raises:
        MeshConfigurationError: A key is missing or malformed, or an option cannot be used.
    """

    def get_account_balance(self, auth_token: str, broker: BrokerType | str) -> AccountBalance:
        """Read the balance of a linked account, in real time (`POST /api/v1/balance/get`).

        Args:
            auth_token: The user's secret token, which Mesh gave when the account was linked.
            broker: The account's `brokerType` as Mesh gave it then; one that no list knows is
                sent as it is.

        Raises:
            TypeError: An argument is not a string; nothing was sent.
            ValueError: An argument is empty; nothing was sent.
            MeshConnectionError: Nothing usable came back.
            MeshResponseError: The answer is not what the contract allows.
            MeshAPIError: Mesh said no; the subclass says why.
            MeshError: The client is closed.
        """
        call = self._call(auth_token, broker)
        del self, auth_token
        return call.result()

    def _call(self, auth_token: str, broker: BrokerType | str) -> "Call":
        with Call(auth_token) as call:
            call.accept(
                get_account_balance.sync_detailed(
                    client=self._generated, body=_wire.balance_request(auth_token, broker)
                )
            )
        del self, auth_token
        return call

    def get_account_balances(
        self, accounts: Iterable[LinkedAccount], *, concurrency: int = 20
    ) -> Generator[Outcome, None, None]:
        """Read many balances at once, in threads; yield each outcome as it comes.

        An account's error is its outcome, and stops no other. `accounts` are drawn in the calling
        thread, as lanes become free. Where Mesh answers 429 with a `Retry-After`, all lanes pause,
        and the account is read again as if for the first time, at most 10 times and never after
        more than 300 seconds; `deadline` does not count pauses. To stop, break, or close the
        iterator: what is in flight ends first, within its deadline, and is dropped.

        Args:
            accounts: What to read.
            concurrency: How many are read at a time; those above `max_connections` wait for a
                connection, within their `deadline`.

        Raises:
            MeshConfigurationError: `concurrency` is not a whole number from 1.
            AuthenticationError: The client keys were refused; what was in flight is yielded first.
            TypeError: One of `accounts` is no LinkedAccount; what was in flight is yielded first.
            Exception: What `accounts` raises; what was in flight is yielded first.
        """
        return iter(bulk.Run(self._evolve, MeshClient._call, accounts, concurrency))

    def close(self) -> None:
        """Close the connections; calls under way end first. Closing twice is fine."""
        self._engine.pool.close()
        if transport := self._engine.pool.shared:
            transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AsyncMeshClient(_Shell[AsyncClientSecret, httpx.AsyncBaseTransport]):
    """Reads balances through Mesh, for asyncio; built with the same options as `MeshClient`."""

    _pool_class = AsyncPool
    _transport_class = httpx.AsyncBaseTransport
    _connection_class = TaskConnection

    def _run_on(self, engine: Engine) -> None:
        super()._run_on(engine)
        self._generated.set_async_httpx_client(AsyncEngine(engine))

    async def get_account_balance(
        self, auth_token: str, broker: BrokerType | str
    ) -> AccountBalance:
        """Read the balance of a linked account; see `MeshClient.get_account_balance`."""
        call = await self._call(auth_token, broker)
        del self, auth_token
        return call.result()

    async def _call(self, auth_token: str, broker: BrokerType | str) -> "Call":
        with Call(auth_token) as call:
            call.accept(
                await get_account_balance.asyncio_detailed(
                    client=self._generated, body=_wire.balance_request(auth_token, broker)
                )
            )
        del self, auth_token
        return call

    def get_account_balances(
        self,
        accounts: Iterable[LinkedAccount] | AsyncIterable[LinkedAccount],
        *,
        concurrency: int = 20,
    ) -> AsyncGenerator[Outcome, None]:
        """Read many balances at once, in tasks; see `MeshClient.get_account_balances`.

        To stop early, use `contextlib.aclosing`: what is in flight is cancelled.
        """
        run = bulk.AsyncRun(self._evolve, AsyncMeshClient._call, accounts, concurrency)
        return run.outcomes()

    async def aclose(self) -> None:
        """Close the connections; calls under way end first. Closing twice is fine."""
        self._engine.pool.close()
        if transport := self._engine.pool.shared:
            await transport.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()


class Call:
    """How a call ended. It takes what was raised, so that the shell can drop its secrets first.

    The frames below the shell hold the token, and a traceback holds the frames.
    """

    balance: AccountBalance
    error: BaseException | None = None
    attempts: int = 0

    def __init__(self, auth_token: str) -> None:
        self._secrets = [auth_token] if isinstance(auth_token, str) else []

    def accept(self, answer: Response[Any]) -> None:
        """Take the answer of the generated operation."""
        self.balance = _wire.account_balance(answer)
        self.attempts = int(answer.headers[ATTEMPTS])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: object, error: BaseException | None, __: TracebackType | None) -> bool:
        if isinstance(error, MeshError):
            redact(error, self._secrets).with_traceback(None)
            error.__context__ = None
            self.attempts = error.attempts
        self._secrets.clear()
        self.error = error
        _clear_frames(error)  # not one of ours: it keeps its traceback, without the values
        return True

    def result(self) -> AccountBalance:
        """Return the balance, or raise what was raised."""
        if self.error is not None:
            raise self.error
        return self.balance


def _clear_frames(error: BaseException | None) -> None:
    """Clear the frames of an error and of all that it leads to; there may be circles."""
    seen: list[BaseException] = []
    left = [error]
    while left:
        if (each := left.pop()) is not None and each not in seen:
            seen.append(each)
            traceback.clear_frames(each.__traceback__)
            left += [each.__cause__, each.__context__]
            left += each.exceptions if isinstance(each, BaseExceptionGroup) else []
