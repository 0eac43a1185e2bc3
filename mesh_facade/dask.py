"""Reads balances on a Dask cluster: bulk on each partition. Needs the extra `dask`."""

import ssl
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

import httpx

from mesh_facade import Attempt, LinkedAccount, MeshClient, MeshConfigurationError, Outcome
from mesh_facade.engine.redaction import keeps_secrets_out_of_tracebacks

if TYPE_CHECKING:
    from dask.bag import Bag

_VARIABLE_BY_KEY = {"client_id": "MESH_CLIENT_ID", "client_secret": "MESH_CLIENT_SECRET"}


class WorkerOptions(TypedDict, total=False):
    """The options of `MeshClient` without the two API keys; `MeshClient` documents them."""

    environment: str | None
    base_url: str | httpx.URL | None
    timeout: float
    deadline: float
    max_attempts: int
    max_connections: int
    proxy: str | httpx.URL | httpx.Proxy | None
    verify: bool | ssl.SSLContext
    transport: httpx.BaseTransport | None
    on_attempt: Callable[[Attempt], object] | None


@keeps_secrets_out_of_tracebacks
def fetch_balances(
    accounts: "Bag", *, concurrency: int = 20, **options: Unpack[WorkerOptions]
) -> "Bag":
    """Return a bag with an outcome for each account; computing the bag reads the balances.

    A partition is read by one worker, with the API keys of its own environment. Accounts, and so
    their tokens, travel to the workers and back: use TLS between them. If a worker dies, its
    partitions are read again as a whole, and the result holds each account once.

    Args:
        accounts: A bag of `LinkedAccount`.
        concurrency: How many accounts of a partition are read at a time.
        options: Options of `MeshClient`, but not the keys. They travel to the workers, so they must
            be things that can be pickled.

    Raises:
        MeshConfigurationError: Keys are among the options. If a worker's keys are missing,
            computing the bag raises this error, too. If Mesh refuses them, computing the bag raises
            `AuthenticationError` as `MeshClient.get_account_balances` does; in a partition with
            fewer than 5 accounts, or fewer than `concurrency`, the error is each account's outcome.
    """
    variables = [variable for name, variable in _VARIABLE_BY_KEY.items() if name in options]
    if variables:
        names = " and ".join(variables)
        raise MeshConfigurationError(
            f"API keys would become part of the Dask graph: set {names} on the workers instead"
        )
    bag: Any = accounts  # Dask has no types
    outcomes: Bag = bag.map_partitions(_read_partition, concurrency, options)
    return outcomes


@keeps_secrets_out_of_tracebacks
def _read_partition(
    accounts: Iterable[LinkedAccount], concurrency: int, options: WorkerOptions
) -> list[Outcome]:
    with MeshClient(**options) as mesh:
        return list(mesh.get_account_balances(accounts, concurrency=concurrency))
