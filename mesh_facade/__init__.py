"""Read the fiat balance of a linked account through Mesh: exact, typed, safe to repeat."""

from mesh_connect_client.models import BrokerType

from mesh_facade._version import __version__
from mesh_facade.balances import AccountBalance, CurrencyBalance
from mesh_facade.bulk import FailedOutcome, LinkedAccount, Outcome, SuccessfulOutcome
from mesh_facade.client import AsyncMeshClient, MeshClient
from mesh_facade.engine.attempts import Attempt
from mesh_facade.errors import (
    AuthenticationError,
    BadRequestError,
    ConflictError,
    LockedError,
    MeshAPIError,
    MeshConfigurationError,
    MeshConnectionError,
    MeshError,
    MeshResponseError,
    MeshTimeoutError,
    MeshTLSError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    ServerError,
    UnavailableForLegalReasonsError,
)

__all__ = [
    "AccountBalance",
    "AsyncMeshClient",
    "Attempt",
    "AuthenticationError",
    "BadRequestError",
    "BrokerType",
    "ConflictError",
    "CurrencyBalance",
    "FailedOutcome",
    "LinkedAccount",
    "LockedError",
    "MeshAPIError",
    "MeshClient",
    "MeshConfigurationError",
    "MeshConnectionError",
    "MeshError",
    "MeshResponseError",
    "MeshTLSError",
    "MeshTimeoutError",
    "NotFoundError",
    "Outcome",
    "PermissionDeniedError",
    "RateLimitError",
    "ServerError",
    "SuccessfulOutcome",
    "UnavailableForLegalReasonsError",
    "__version__",
]
