from http import HTTPStatus
from typing import Any

import httpx

from ... import errors
from ...client import AuthenticatedClient, Client
from ...models.api_result import ApiResult
from ...models.b2b_broker_account_balance_model_api_result import (
    B2BBrokerAccountBalanceModelApiResult,
)
from ...models.balance_broker_base_request import BalanceBrokerBaseRequest
from ...types import Response


def _get_kwargs(
    *,
    body: BalanceBrokerBaseRequest,
) -> dict[str, Any]:
    headers: dict[str, Any] = {}

    _kwargs: dict[str, Any] = {
        "method": "post",
        "url": "/api/v1/balance/get",
    }

    _kwargs["json"] = body.to_dict()

    headers["Content-Type"] = "application/json"

    _kwargs["headers"] = headers
    return _kwargs


def _parse_response(
    *, client: AuthenticatedClient | Client, response: httpx.Response
) -> Any | ApiResult | B2BBrokerAccountBalanceModelApiResult | None:
    if response.status_code == 200:
        response_200 = B2BBrokerAccountBalanceModelApiResult.from_dict(response.json())

        return response_200

    if response.status_code == 400:
        response_400 = ApiResult.from_dict(response.json())

        return response_400

    if response.status_code == 401:
        response_401 = response.json()
        return response_401

    if response.status_code == 403:
        response_403 = response.json()
        return response_403

    if client.raise_on_unexpected_status:
        raise errors.UnexpectedStatus(response.status_code, response.content)
    else:
        return None


def _build_response(
    *, client: AuthenticatedClient | Client, response: httpx.Response
) -> Response[Any | ApiResult | B2BBrokerAccountBalanceModelApiResult]:
    return Response(
        status_code=HTTPStatus(response.status_code),
        content=response.content,
        headers=response.headers,
        parsed=_parse_response(client=client, response=response),
    )


def sync_detailed(
    *,
    client: AuthenticatedClient | Client,
    body: BalanceBrokerBaseRequest,
) -> Response[Any | ApiResult | B2BBrokerAccountBalanceModelApiResult]:
    """Get account balance

     Get real-time account fiat balances.
    - 200: OK
    - 400: Bad Request
    - 401: Unauthorized
    - 403: The API key used does not have read permission to call this Mesh endpoint.
    - X-Client-Id: Contact Mesh to get client Id
    - X-Client-Secret: Contact Mesh to get client Secret

    Args:
        body (BalanceBrokerBaseRequest):

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Response[Any | ApiResult | B2BBrokerAccountBalanceModelApiResult]
    """

    kwargs = _get_kwargs(
        body=body,
    )

    response = client.get_httpx_client().request(
        **kwargs,
    )

    return _build_response(client=client, response=response)


def sync(
    *,
    client: AuthenticatedClient | Client,
    body: BalanceBrokerBaseRequest,
) -> Any | ApiResult | B2BBrokerAccountBalanceModelApiResult | None:
    """Get account balance

     Get real-time account fiat balances.
    - 200: OK
    - 400: Bad Request
    - 401: Unauthorized
    - 403: The API key used does not have read permission to call this Mesh endpoint.
    - X-Client-Id: Contact Mesh to get client Id
    - X-Client-Secret: Contact Mesh to get client Secret

    Args:
        body (BalanceBrokerBaseRequest):

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Any | ApiResult | B2BBrokerAccountBalanceModelApiResult
    """

    return sync_detailed(
        client=client,
        body=body,
    ).parsed


async def asyncio_detailed(
    *,
    client: AuthenticatedClient | Client,
    body: BalanceBrokerBaseRequest,
) -> Response[Any | ApiResult | B2BBrokerAccountBalanceModelApiResult]:
    """Get account balance

     Get real-time account fiat balances.
    - 200: OK
    - 400: Bad Request
    - 401: Unauthorized
    - 403: The API key used does not have read permission to call this Mesh endpoint.
    - X-Client-Id: Contact Mesh to get client Id
    - X-Client-Secret: Contact Mesh to get client Secret

    Args:
        body (BalanceBrokerBaseRequest):

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Response[Any | ApiResult | B2BBrokerAccountBalanceModelApiResult]
    """

    kwargs = _get_kwargs(
        body=body,
    )

    response = await client.get_async_httpx_client().request(**kwargs)

    return _build_response(client=client, response=response)


async def asyncio(
    *,
    client: AuthenticatedClient | Client,
    body: BalanceBrokerBaseRequest,
) -> Any | ApiResult | B2BBrokerAccountBalanceModelApiResult | None:
    """Get account balance

     Get real-time account fiat balances.
    - 200: OK
    - 400: Bad Request
    - 401: Unauthorized
    - 403: The API key used does not have read permission to call this Mesh endpoint.
    - X-Client-Id: Contact Mesh to get client Id
    - X-Client-Secret: Contact Mesh to get client Secret

    Args:
        body (BalanceBrokerBaseRequest):

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Any | ApiResult | B2BBrokerAccountBalanceModelApiResult
    """

    return (
        await asyncio_detailed(
            client=client,
            body=body,
        )
    ).parsed
