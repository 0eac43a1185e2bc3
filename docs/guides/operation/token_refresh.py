"""The operation `refreshToken`: new tokens for a refresh token.

It is not safe to repeat: the institution may replace a refresh token when it is used. The optional
fields of the request are left out, so it does not do for WeBull and Vanguard, which also need the
current access token.
"""

from collections.abc import Iterator
from decimal import Decimal
from typing import Protocol, cast

import attrs
from mesh_connect_client.api.token import refresh_token as generated_module
from mesh_connect_client.models import (
    B2BBrokerRefreshTokenResponse,
    B2BBrokerRefreshTokenResponseApiResult,
    BrokerAccountTokens,
    BrokerRefreshTokenRequest,
    BrokerType,
)

from mesh_facade.engine.strict_json import JSON, JSONObject
from mesh_facade.operations.envelope import TEXT_FIELDS
from mesh_facade.operations.field_checks import are_amounts, are_texts, check_text
from mesh_facade.operations.operation import GeneratedArguments, GeneratedResponse, Operation
from mesh_facade.operations.wire_names import WireNames

_CONTENT = WireNames(B2BBrokerRefreshTokenResponseApiResult)["content"]

_MODEL = WireNames(B2BBrokerRefreshTokenResponse)
_STATUS = _MODEL["status"]
_PAIRS = _MODEL["broker_account_tokens"]
_EXPIRES_IN_SECONDS = _MODEL["expires_in_seconds"]

_PAIR = WireNames(BrokerAccountTokens)
_AUTH_TOKEN = _PAIR["access_token"]
_REFRESH_TOKEN = _PAIR["refresh_token"]


@attrs.frozen
class TokenPair:
    """The new tokens of one account. Its repr shows neither.

    Attributes:
        auth_token: The token for `get_account_balance`; None if Mesh sent null or nothing.
        refresh_token: The token for the next refresh; None if Mesh sent null or nothing.
    """

    auth_token: str | None = attrs.field(repr=False)
    refresh_token: str | None = attrs.field(repr=False)


@attrs.frozen
class RefreshedTokens:
    """The answer to a refresh (the spec's `B2BBrokerRefreshTokenResponse`).

    Attributes:
        status: `succeeded`, `failed`, `mfaRequired`, or one that Mesh has added since.
        pairs: The new tokens of each account, in Mesh's order; empty if Mesh sent none.
        expires_in_seconds: How many whole seconds the auth tokens live; None if Mesh does not say.
    """

    status: str
    pairs: tuple[TokenPair, ...]
    expires_in_seconds: int | None


def build_arguments(refresh_token: str, broker: BrokerType | str) -> GeneratedArguments:
    """Check and convert the arguments of a call, and name the secrets among them.

    Raises:
        TypeError: An argument is not a string.
        ValueError: An argument is empty, or holds a character that cannot be sent.
    """
    check_text("refresh_token", refresh_token)
    check_text("broker", broker)
    if isinstance(broker, BrokerType):
        broker = broker.value
    body = BrokerRefreshTokenRequest(refresh_token=refresh_token, type_=broker)
    return GeneratedArguments(keywords={"body": body}, secrets=(refresh_token,))


def check_and_complete(envelope: JSONObject) -> str | None:
    """Check an envelope: return what is wrong, or None if it holds a result as the spec allows it.

    The fields that the result holds are checked. If Mesh left one out, it is added as null, so that
    the generated parser gives None for both.
    """
    places = list(_malformed_fields(envelope))
    if not places:
        return None
    return f"its {places[0]} is not what Mesh's spec allows"


def _malformed_fields(envelope: JSONObject) -> Iterator[str]:
    """Yield the place of each field that the spec does not allow."""
    for key in TEXT_FIELDS:
        if not are_texts([envelope.get(key)]):
            yield key
    content = envelope.get(_CONTENT)
    if not isinstance(content, dict):
        yield _CONTENT
        return
    if not isinstance(content.get(_STATUS), str):
        yield f"{_CONTENT}.{_STATUS}"
    if not are_amounts([content.setdefault(_EXPIRES_IN_SECONDS)]):
        yield f"{_CONTENT}.{_EXPIRES_IN_SECONDS}"
    yield from _malformed_pairs(content.setdefault(_PAIRS))


def _malformed_pairs(pairs: JSON) -> Iterator[str]:
    """Yield the place of each malformed field among the tokens."""
    if pairs is None:
        return
    if not isinstance(pairs, list):
        yield f"{_CONTENT}.{_PAIRS}"
        return
    for index, pair in enumerate(pairs):
        if not isinstance(pair, dict):
            yield f"{_CONTENT}.{_PAIRS}[{index}]"
            continue
        for key in (_AUTH_TOKEN, _REFRESH_TOKEN):
            if not are_texts([pair.setdefault(key)]):
                yield f"{_CONTENT}.{_PAIRS}[{index}].{key}"


class _ParsedPair(Protocol):
    """A generated pair of tokens after `check_and_complete`."""

    access_token: str | None
    refresh_token: str | None


class _ParsedContent(Protocol):
    """A generated `content` after `check_and_complete`: nothing is Unset, numbers are Decimals."""

    status: str
    broker_account_tokens: list[_ParsedPair] | None
    expires_in_seconds: Decimal | None


def build_result(response: GeneratedResponse) -> RefreshedTokens:
    """Turn what the generated function returned into the result."""
    parsed = cast("B2BBrokerRefreshTokenResponseApiResult", response.parsed)
    content = cast("_ParsedContent", parsed.content)
    pairs = [
        TokenPair(pair.access_token, pair.refresh_token)
        for pair in content.broker_account_tokens or ()
    ]
    expires_in_seconds: int | None = None
    if content.expires_in_seconds is not None:
        expires_in_seconds = int(content.expires_in_seconds)
    return RefreshedTokens(content.status, tuple(pairs), expires_in_seconds)


REFRESH_TOKEN = Operation(
    generated_module=generated_module,
    build_arguments=build_arguments,
    check_and_complete=check_and_complete,
    build_result=build_result,
    is_safe_to_repeat=False,
)
