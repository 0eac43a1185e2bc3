"""The two clients: their options, and one short method for each operation.

A method names an operation and passes its arguments on. (`get_account_balances` has no operation of
its own: `bulk` runs the one of `get_account_balance` for each account.) The operation says which
generated function runs, what an answer means, and whether a request may be repeated
(`mesh_facade/operations/`). How a call is carried out (connections, deadlines, retries) is in
`mesh_facade/engine/`.

Both constructors list all options, and both clients have all methods. This repetition is
deliberate: editors and type checkers see each option, and Python's TypeError for a wrong argument
names the method that was called, and not a helper.

Options and arguments can be secrets, and `self` leads to the API keys. So each constructor and each
method that may raise is decorated with `keeps_secrets_out_of_tracebacks`. While a bulk run is
iterated, `bulk` keeps them out.
"""

import functools
import platform
import ssl
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Generator, Iterable
from typing import Generic, NoReturn, Self, TypeVar

import attrs
import httpx
from mesh_connect_client.models import BrokerType

from mesh_facade import bulk, logs
from mesh_facade._version import __version__
from mesh_facade.balances import AccountBalance
from mesh_facade.bulk import LinkedAccount, Outcome
from mesh_facade.credentials import AsyncClientSecret, ClientSecret, Credentials
from mesh_facade.engine.attempts import Attempt, OnAttempt
from mesh_facade.engine.checks import check_count
from mesh_facade.engine.connection import Connection, TaskTransportAdapter, ThreadTransportAdapter
from mesh_facade.engine.engine import Engine
from mesh_facade.engine.pool import ConnectionPool
from mesh_facade.engine.proxies import find_proxy, uses_tls
from mesh_facade.engine.redaction import keeps_secrets_out_of_tracebacks
from mesh_facade.engine.retries import RetryBudget, RetryPolicy
from mesh_facade.engine.task_connection import TaskConnection
from mesh_facade.engine.thread_connection import ThreadConnection
from mesh_facade.engine.tls import find_ssl_context
from mesh_facade.engine.waiting import TaskWaiting, ThreadWaiting, Waiting
from mesh_facade.errors import MeshConfigurationError
from mesh_facade.operations.account_balance import GET_ACCOUNT_BALANCE
from mesh_facade.operations.runner import Runner, TaskRunner, ThreadRunner
from mesh_facade.options import find_base_url

USER_AGENT = (
    f"mesh-facade/{__version__} python/{platform.python_version()} httpx/{httpx.__version__}"
)

RunnerT = TypeVar("RunnerT", bound=Runner)
TransportT = TypeVar("TransportT")


class _BaseClient(Generic[RunnerT, TransportT]):
    """What the two clients share: a runner, which makes the calls, and the caller's transport."""

    def __init__(self, runner: RunnerT, transport: TransportT | None) -> None:
        self._runner = runner
        self._transport = transport

    def _sibling(
        self, timeout: float | None, deadline: float | None, max_attempts: int | None
    ) -> Self:
        """Return a client that shares the connections, with other bounds for its calls.

        None leaves a bound as it is. The client is a copy with another engine, because the
        constructor would build connections of its own.
        """
        engine = self._runner.engine
        if timeout is not None:
            engine = attrs.evolve(engine, timeout=timeout)
        if deadline is not None:
            engine = attrs.evolve(engine, deadline=deadline)
        if max_attempts is not None:
            engine = attrs.evolve(engine, max_attempts=max_attempts)
        # Not `copy.copy`, which would call `__reduce__` below, and raise TypeError.
        sibling = type(self).__new__(type(self))
        sibling.__dict__.update(self.__dict__)  # attributes of a caller's subclass as well
        sibling._runner = self._runner.with_engine(engine)  # noqa: SLF001 — of the same class
        return sibling

    def __repr__(self) -> str:
        return f"{type(self).__name__}(base_url={self._runner.engine.base_url!r})"

    @keeps_secrets_out_of_tracebacks
    def __reduce__(self) -> NoReturn:
        raise TypeError(
            f"{type(self).__name__} cannot be copied or pickled, because it holds secrets and "
            "connections: pass its options, and build a client where you need it"
        )


class MeshClient(_BaseClient[ThreadRunner, httpx.BaseTransport]):
    """Reads balances through Mesh; safe to share between threads.

    Args:
        client_id: Your Mesh client id; if None, `MESH_CLIENT_ID`.
        client_secret: Its secret, or a function that returns the current one, for rotation; if
            None, `MESH_CLIENT_SECRET`.
        environment: `"production"` or `"sandbox"`, one of the spec's `servers`; if None,
            `MESH_ENVIRONMENT`, else production.
        base_url: Another server than the environment's; if None, `MESH_BASE_URL`. It must be https,
            except on loopback.
        timeout: Seconds that one network wait may take: to connect, to send, or for the next bytes.
        deadline: Seconds that a call may take in all: waiting for a connection, attempts and
            pauses. It cannot interrupt a look-up of the host's name, or your own functions.
        max_attempts: How many attempts a call may make. Connection faults, timeouts, rate limits,
            server errors and HTTP 408 lead to another one; other errors, such as refused
            certificates or a proxy that refuses for good, are raised at once. The retry budget of
            the client can allow fewer: it begins with 10 retries, every tenth call adds one, and it
            never holds more than 10.
        max_connections: How many calls run at once, each on a connection of its own; others wait
            for their turn. If the process may open fewer files, fewer run at once.
        proxy: A proxy's URL, `http://`, `https://`, `socks5://` or `socks5h://` (without a scheme,
            `http://`); if None, the variables `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY` decide, as
            curl reads them, then the settings of macOS or Windows. A variable that cannot be used
            is skipped, with a warning in the log.
        verify: Whether to verify the certificates of the server and of an `https://` proxy, or an
            `ssl.SSLContext`, which may hold a client certificate.
        transport: Your own httpx transport instead of the connections kept here; closing the
            client closes it. `deadline` then bounds a call only as far as the transport heeds
            httpx's timeouts.
        on_attempt: Called with an `Attempt` after each attempt, for metrics. Exceptions that it
            raises propagate to the caller; in a bulk run they are the account's outcome.

    Raises:
        MeshConfigurationError: A key is missing or malformed, an option or a variable `MESH_…`
            cannot be used, or the certificates cannot be read (`SSL_CERT_FILE`, `SSL_CERT_DIR`).
    """

    @keeps_secrets_out_of_tracebacks
    def __init__(  # noqa: PLR0913 — one keyword for each option
        self,
        client_id: str | None = None,
        client_secret: ClientSecret | None = None,
        *,
        environment: str | None = None,
        base_url: str | httpx.URL | None = None,
        timeout: float = 10.0,
        deadline: float = 30.0,
        max_attempts: int = 3,
        max_connections: int = 100,
        proxy: str | httpx.URL | httpx.Proxy | None = None,
        verify: bool | ssl.SSLContext = True,
        transport: httpx.BaseTransport | None = None,
        on_attempt: Callable[[Attempt], object] | None = None,
    ) -> None:
        _check_transport(transport, httpx.BaseTransport, proxy, verify)
        make_transport_adapter = None
        if transport is not None:
            make_transport_adapter = functools.partial(ThreadTransportAdapter, transport)
        engine = _build_engine(
            ThreadWaiting(),
            ThreadConnection,
            make_transport_adapter,
            client_id,
            client_secret,
            environment=environment,
            base_url=base_url,
            timeout=timeout,
            deadline=deadline,
            max_attempts=max_attempts,
            max_connections=max_connections,
            proxy=proxy,
            verify=verify,
            on_attempt=on_attempt,
        )
        super().__init__(ThreadRunner(engine, RetryPolicy(RetryBudget())), transport)

    @keeps_secrets_out_of_tracebacks
    def get_account_balance(self, auth_token: str, broker: BrokerType | str) -> AccountBalance:
        """Read the balance of a linked account, in real time (`POST /api/v1/balance/get`).

        Args:
            auth_token: The user's secret token, which Mesh gave when the account was linked.
            broker: The account's `brokerType` as Mesh gave it then. One that the spec does not
                know is sent as it is.

        Raises:
            TypeError: An argument is not a string; nothing was sent.
            ValueError: An argument is empty or cannot be sent; nothing was sent.
            MeshConnectionError: No complete answer came.
            MeshResponseError: An answer came back that cannot be used: Mesh's spec does not allow
                it, it holds no balance, or it is too large.
            MeshAPIError: Mesh answered with an error; the subclass says which.
            MeshConfigurationError: Your secret function returned something that cannot be an API
                key.
            MeshError: The client is closed.
            Exception: Whatever your secret function or `on_attempt` raised. (An error of httpx
                among these has lost its request.)
        """
        return self._runner.run(GET_ACCOUNT_BALANCE, auth_token, broker).value

    @keeps_secrets_out_of_tracebacks
    def get_account_balances(
        self,
        accounts: Iterable[LinkedAccount],
        *,
        concurrency: int = 20,
        max_pause: float | None = None,
    ) -> Generator[Outcome, None, None]:
        """Read many balances at once, in threads; yield each outcome as it comes.

        An error that occurs while an account is read becomes that account's outcome; the other
        accounts are read all the same. `accounts` are drawn in the calling thread, as calls finish.
        While your iterable blocks, no outcome is yielded.

        If Mesh answers 429 with a `Retry-After`, all calls of the run pause until it is over, and
        the account is attempted again: at most 10 times. The pause extends the `deadline` of each
        call that waits, and the attempt before it does not count towards `max_attempts`. A
        `Retry-After` of more than 300 seconds is not waited for: the 429 is the account's outcome,
        and the run goes on without a pause.

        To stop early, close the generator (`contextlib.closing`). Closing waits for calls in
        flight, at most for one second longer than `deadline`, and drops their outcomes. `break`
        alone does not close a generator while a variable refers to it.

        Args:
            accounts: What to read.
            concurrency: How many are read at a time; those above `max_connections` wait for a
                connection, within their `deadline`.
            max_pause: Seconds, more than 0, that the run may pause in all. If a pause would exceed
                what is left, the 429 is the account's outcome, and the run goes on without a pause.
                None sets no such limit: then one account can pause the run 10 times, for up to 300
                seconds each.

        Raises:
            MeshConfigurationError: `concurrency` or `max_pause` cannot be used; raised at once.
            AuthenticationError: The API keys are evidently refused: at least 5 different accounts
                in succession, or `concurrency` if that is more, failed with this error and
                `reconnect_required` False. (Accounts that got no answer are not counted, and do
                not reset the count.) The outcomes of calls in flight are yielded first.
            TypeError: `accounts` is not iterable (raised at once), or one of them is not a
                LinkedAccount.
            RuntimeError: The system allows no thread at all.
            Exception: Whatever `accounts` raises, after the outcomes of calls in flight.
        """
        return bulk.read_in_threads(
            self._runner, accounts, concurrency=concurrency, max_pause=max_pause
        )

    @keeps_secrets_out_of_tracebacks
    def with_options(
        self,
        *,
        timeout: float | None = None,
        deadline: float | None = None,
        max_attempts: int | None = None,
    ) -> Self:
        """Return a client with other bounds that shares connections, keys and retry budget.

        None leaves a bound as it is. Closing one of the clients closes the connections of all.

        Raises:
            MeshConfigurationError: A bound cannot be used.
        """
        return self._sibling(timeout, deadline, max_attempts)

    @keeps_secrets_out_of_tracebacks
    def close(self) -> None:
        """Close idle connections now; a connection in use is closed when its call ends.

        This does not wait for calls. A call that pauses between two attempts ends at once, and
        raises the error of its last attempt. A transport of your own is closed at once. Closing
        twice is fine.
        """
        self._runner.engine.pool.close()
        if self._transport is not None:
            self._transport.close()

    def __enter__(self) -> Self:
        return self

    @keeps_secrets_out_of_tracebacks
    def __exit__(self, *_: object) -> None:
        self.close()


class AsyncMeshClient(_BaseClient[TaskRunner, httpx.AsyncBaseTransport]):
    """Reads balances through Mesh, for asyncio.

    The options are those of `MeshClient`, with three differences: `client_secret` may be an async
    function too, `transport` is an `httpx.AsyncBaseTransport`, and `deadline` also bounds the
    look-up of the host's name, a secret function that is async, and a transport of your own.
    """

    @keeps_secrets_out_of_tracebacks
    def __init__(  # noqa: PLR0913 — one keyword for each option
        self,
        client_id: str | None = None,
        client_secret: AsyncClientSecret | None = None,
        *,
        environment: str | None = None,
        base_url: str | httpx.URL | None = None,
        timeout: float = 10.0,
        deadline: float = 30.0,
        max_attempts: int = 3,
        max_connections: int = 100,
        proxy: str | httpx.URL | httpx.Proxy | None = None,
        verify: bool | ssl.SSLContext = True,
        transport: httpx.AsyncBaseTransport | None = None,
        on_attempt: Callable[[Attempt], object] | None = None,
    ) -> None:
        _check_transport(transport, httpx.AsyncBaseTransport, proxy, verify)
        make_transport_adapter = None
        if transport is not None:
            make_transport_adapter = functools.partial(TaskTransportAdapter, transport)
        engine = _build_engine(
            TaskWaiting(),
            TaskConnection,
            make_transport_adapter,
            client_id,
            client_secret,
            environment=environment,
            base_url=base_url,
            timeout=timeout,
            deadline=deadline,
            max_attempts=max_attempts,
            max_connections=max_connections,
            proxy=proxy,
            verify=verify,
            on_attempt=on_attempt,
        )
        super().__init__(TaskRunner(engine, RetryPolicy(RetryBudget())), transport)

    @keeps_secrets_out_of_tracebacks
    async def get_account_balance(
        self, auth_token: str, broker: BrokerType | str
    ) -> AccountBalance:
        """Read the balance of a linked account; see `MeshClient.get_account_balance`.

        It also raises MeshError if no event loop of asyncio is running.
        """
        result = await self._runner.run(GET_ACCOUNT_BALANCE, auth_token, broker)
        return result.value

    @keeps_secrets_out_of_tracebacks
    def get_account_balances(
        self,
        accounts: Iterable[LinkedAccount] | AsyncIterable[LinkedAccount],
        *,
        concurrency: int = 20,
        max_pause: float | None = None,
    ) -> AsyncGenerator[Outcome, None]:
        """Read many balances at once, in tasks; see `MeshClient.get_account_balances`.

        `accounts` may be an async iterable too: outcomes are yielded while it waits for its next
        account. If `accounts` is an async generator, it is closed when the run ends. To stop early,
        close the generator that this method returns with `contextlib.aclosing`: calls in flight are
        cancelled.
        """
        return bulk.read_in_tasks(
            self._runner, accounts, concurrency=concurrency, max_pause=max_pause
        )

    @keeps_secrets_out_of_tracebacks
    def with_options(
        self,
        *,
        timeout: float | None = None,
        deadline: float | None = None,
        max_attempts: int | None = None,
    ) -> Self:
        """Return a client with other bounds; see `MeshClient.with_options`."""
        return self._sibling(timeout, deadline, max_attempts)

    @keeps_secrets_out_of_tracebacks
    async def aclose(self) -> None:
        """Close idle connections now; a connection in use is closed when its call ends.

        This does not wait for calls. A call that pauses between two attempts ends at once, and
        raises the error of its last attempt. A transport of your own is closed at once. Closing
        twice is fine.

        Raises:
            MeshError: No event loop of asyncio is running. Idle connections stay open until their
                event loops end.
        """
        try:
            self._runner.engine.pool.close()
        finally:
            if self._transport is not None:
                await self._transport.aclose()

    async def __aenter__(self) -> Self:
        return self

    @keeps_secrets_out_of_tracebacks
    async def __aexit__(self, *_: object) -> None:
        await self.aclose()


def _check_transport(
    transport: object, transport_class: type[object], proxy: object, verify: object
) -> None:
    """Raise MeshConfigurationError if a caller's transport cannot be used as asked."""
    if transport is None:
        return
    if proxy is not None or verify is not True:
        raise MeshConfigurationError(
            "transport would bypass proxy and verify: set these on the transport instead"
        )
    if not isinstance(transport, transport_class):
        raise MeshConfigurationError(f"transport must be an httpx.{transport_class.__name__}")


def _build_engine(  # noqa: PLR0913 — one keyword for each option
    waiting: Waiting,
    connection_class: type[ThreadConnection] | type[TaskConnection],
    make_transport_adapter: Callable[[], Connection] | None,
    client_id: str | None,
    client_secret: AsyncClientSecret | None,
    *,
    environment: str | None,
    base_url: str | httpx.URL | None,
    timeout: float,
    deadline: float,
    max_attempts: int,
    max_connections: int,
    proxy: str | httpx.URL | httpx.Proxy | None,
    verify: bool | ssl.SSLContext,
    on_attempt: OnAttempt | None,
) -> Engine:
    """Check the options of a client, and return the engine that they describe.

    (The engine checks `timeout`, `deadline` and `max_attempts` when it is made.) `waiting` and
    `connection_class` are those of threads or of tasks. If the caller has passed a transport,
    `make_transport_adapter` wraps it in a connection, and `connection_class` is not used.
    Otherwise, `make_transport_adapter` is None.
    """
    logs.configure_logging()
    url = find_base_url(environment, base_url)
    check_count("max_connections", max_connections)
    if make_transport_adapter is not None:
        make_connection = make_transport_adapter
    else:
        found_proxy = find_proxy(url, proxy)
        ssl_context = find_ssl_context(verify, is_tls=uses_tls(url, found_proxy))
        make_connection = functools.partial(connection_class, url, ssl_context, found_proxy)
    pool = ConnectionPool(waiting, make_connection, max_connections)
    return Engine(
        base_url=str(url),
        waiting=waiting,
        pool=pool,
        authentication=Credentials(client_id, client_secret),
        user_agent=USER_AGENT,
        timeout=timeout,
        deadline=deadline,
        max_attempts=max_attempts,
        stop_signal=pool.stop_signal,
        on_attempt=on_attempt,
    )
