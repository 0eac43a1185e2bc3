"""Runs an operation: each call runs its generated function, unmodified, exactly once.

The generated function sends its request through the httpx client of a generated `Client`. That
httpx client is one of ours, which passes the request to the engine. The engine makes the attempts,
has the operation judge each answer, and raises an error or returns an answer that was accepted. So
however many attempts a call takes, the generated parser sees one answer: the accepted one, as HTTP
200. Its JSON is the very object that the operation has checked and completed
(`httpx_clients.AcceptedResponse`).
"""

from typing import Generic, ParamSpec, Self, TypeVar

import attrs
from mesh_connect_client import Client

from mesh_facade.engine.engine import CallLoop, Engine
from mesh_facade.engine.httpx_clients import ATTEMPTS_HEADER, AsyncEngineClient, EngineClient
from mesh_facade.engine.redaction import redact
from mesh_facade.engine.retries import NeverRetry, RetryPolicy
from mesh_facade.errors import MeshError
from mesh_facade.operations.operation import GeneratedResponse, Operation

P = ParamSpec("P")
R = TypeVar("R")


@attrs.define
class CallResult(Generic[R]):
    """The result of a call, and how many attempts it took."""

    value: R
    attempts: int


class Runner:
    """The base of `ThreadRunner` and `TaskRunner`; holds a generated `Client` per operation."""

    def __init__(self, engine: Engine, retry_policy: RetryPolicy) -> None:
        self.engine = engine
        self.retry_policy = retry_policy
        self._clients: dict[object, Client] = {}

    def with_engine(self, engine: Engine, retry_policy: RetryPolicy | None = None) -> Self:
        """Return a runner with another engine and, if one is given, another retry policy."""
        if retry_policy is None:
            retry_policy = self.retry_policy
        return type(self)(engine, retry_policy)

    def _client(self, operation: Operation[P, R]) -> Client:
        """Return the generated client on which an operation runs; make it on the first call."""
        client = self._clients.get(operation)
        if client is None:
            policy = self.retry_policy
            if not operation.is_safe_to_repeat:
                policy = NeverRetry(policy.budget)
            client = Client(base_url=self.engine.base_url)
            self._attach_engine(client, CallLoop(self.engine, operation, policy))
            # setdefault is atomic: threads that get here at once share the first one's client.
            client = self._clients.setdefault(operation, client)
        return client

    def _attach_engine(self, client: Client, call_loop: CallLoop) -> None:
        """Let the generated client send its requests through the engine."""
        raise NotImplementedError


class ThreadRunner(Runner):
    """Runs each operation in the thread that calls it."""

    def run(self, operation: Operation[P, R], *args: P.args, **kwargs: P.kwargs) -> CallResult[R]:
        """Run an operation; raise its error if it fails."""
        arguments = operation.build_arguments(*args, **kwargs)
        client = self._client(operation)
        try:
            response = operation.generated_module.sync_detailed(client=client, **arguments.keywords)
        except MeshError as error:
            redact(error, arguments.secrets)
            raise
        return _result(operation, response)

    def _attach_engine(self, client: Client, call_loop: CallLoop) -> None:
        client.set_httpx_client(EngineClient(call_loop))


class TaskRunner(Runner):
    """Runs each operation in the task of asyncio that calls it."""

    async def run(
        self, operation: Operation[P, R], *args: P.args, **kwargs: P.kwargs
    ) -> CallResult[R]:
        """Run an operation; raise its error if it fails."""
        arguments = operation.build_arguments(*args, **kwargs)
        client = self._client(operation)
        try:
            response = await operation.generated_module.asyncio_detailed(
                client=client, **arguments.keywords
            )
        except MeshError as error:
            redact(error, arguments.secrets)
            raise
        return _result(operation, response)

    def _attach_engine(self, client: Client, call_loop: CallLoop) -> None:
        client.set_async_httpx_client(AsyncEngineClient(call_loop))


def _result(operation: Operation[P, R], response: GeneratedResponse) -> CallResult[R]:
    # The engine reports attempts in a header, because a generated function passes headers through.
    attempts = int(response.headers[ATTEMPTS_HEADER])
    return CallResult(operation.build_result(response), attempts)
