"""Reads balances on a Dask cluster: bulk on each partition. Needs the extra `dask`."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from mesh_facade import LinkedAccount, MeshClient, MeshConfigurationError, Outcome

if TYPE_CHECKING:
    from dask.bag import Bag


def fetch_balances(accounts: "Bag", *, concurrency: int = 20, **options: Any) -> "Bag":
    """Return a bag with an outcome for each account of a bag, which is read when it is computed.

    A partition is read by one worker, with the client keys of its own environment. Accounts, and so
    their tokens, travel to the workers and back: use TLS between them. Where a worker dies, its
    partitions are read again as a whole, and nothing of the first time is in the result.

    Args:
        accounts: A bag of `LinkedAccount`.
        concurrency: How many accounts of a partition are read at a time.
        options: Those of `MeshClient`, but not the keys.

    Raises:
        MeshConfigurationError: Keys are among the options. Where a worker's keys are missing or
            refused, computing the bag raises as `MeshClient.get_account_balances` does.
    """
    if keys := options.keys() & {"client_id", "client_secret"}:
        names = " and ".join(f"MESH_{key.upper()}" for key in sorted(keys))
        raise MeshConfigurationError(f"keys do not go into a graph: set {names} on the workers")
    bag: Any = accounts  # Dask has no types
    outcomes: Bag = bag.map_partitions(_fetch, concurrency, options)
    return outcomes


def _fetch(accounts: Iterable[LinkedAccount], concurrency: int, options: Any) -> list[Outcome]:
    with MeshClient(**options) as mesh:
        return list(mesh.get_account_balances(accounts, concurrency=concurrency))
