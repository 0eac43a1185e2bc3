"""The operation `refreshToken`: new tokens for a refresh token."""

from typing import Any, cast

import attrs
from mesh_connect_client.api.token import refresh_token as generated_refresh_token
from mesh_connect_client.models import (
    B2BBrokerRefreshTokenResponse,
    B2BBrokerRefreshTokenResponseApiResult,
    BrokerAccountTokens,
    BrokerRefreshTokenRequest,
)
from mesh_connect_client.types import Response

from mesh_facade.engine.strict_json import JSONObject
from mesh_facade.operations.field_checks import are_texts, check_text
from mesh_facade.operations.operation import GeneratedArguments, Operation
from mesh_facade.operations.wire_names import WireNames

_CONTENT = WireNames(B2BBrokerRefreshTokenResponseApiResult)["content"]
_STATUS = WireNames(B2BBrokerRefreshTokenResponse)["status"]
_PAIRS = WireNames(B2BBrokerRefreshTokenResponse)["broker_account_tokens"]
_AUTH_TOKEN = WireNames(BrokerAccountTokens)["access_token"]
_REFRESH_TOKEN = WireNames(BrokerAccountTokens)["refresh_token"]


@attrs.frozen
class TokenPair:
    """The new tokens of one account; None if Mesh sent null or nothing. Its repr shows neither."""

    auth_token: str | None = attrs.field(repr=False)
    refresh_token: str | None = attrs.field(repr=False)


@attrs.frozen
class RefreshedTokens:
    """The answer to a refresh (the spec's `B2BBrokerRefreshTokenResponse`).

    Attributes:
        status: `succeeded`, `failed`, `mfaRequired`, or one that Mesh has added since.
        pairs: The new tokens of each account; empty unless the refresh succeeded.
    """

    status: str
    pairs: tuple[TokenPair, ...]


def build_arguments(refresh_token: str, broker: str) -> GeneratedArguments:
    """Check the arguments of a call, and name the secrets among them."""
    check_text("refresh_token", refresh_token)
    check_text("broker", broker)
    body = BrokerRefreshTokenRequest(refresh_token=refresh_token, type_=broker)
    return GeneratedArguments({"body": body}, secrets=(refresh_token,))


def find_problem(envelope: JSONObject) -> str | None:
    """Return what keeps an envelope with the status `ok` from being a result."""
    content = envelope.get(_CONTENT)
    if not isinstance(content, dict) or not isinstance(content.get(_STATUS), str):
        return "its content has no status"
    pairs = content.setdefault(_PAIRS)
    if pairs is None:
        return None
    if not isinstance(pairs, list):
        return "its tokens are not a list"
    for pair in pairs:
        if not isinstance(pair, dict):
            return "its tokens are not a list of objects"
        if not are_texts([pair.setdefault(_AUTH_TOKEN), pair.setdefault(_REFRESH_TOKEN)]):
            return "one of its tokens is not a string"
    return None


def build_result(response: Response[Any]) -> RefreshedTokens:
    """Turn what the generated function returned into the result."""
    content = cast("Any", response.parsed).content  # `find_problem` has made sure that it is there
    pairs = content.broker_account_tokens or ()
    return RefreshedTokens(
        status=content.status,
        pairs=tuple(TokenPair(pair.access_token, pair.refresh_token) for pair in pairs),
    )


REFRESH_TOKEN = Operation(
    generated=generated_refresh_token,
    build_arguments=build_arguments,
    find_problem=find_problem,
    build_result=build_result,
    is_safe_to_repeat=False,  # Mesh may have replaced the token before an answer was lost
)
