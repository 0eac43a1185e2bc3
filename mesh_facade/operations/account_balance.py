"""The operation `getAccountBalance`: the fiat balance of one linked account.

It is a read, although its method is POST: it is safe to repeat.
"""

from collections.abc import Iterator
from decimal import Decimal
from typing import Protocol, TypeAlias, cast

from mesh_connect_client.api.balance import get_account_balance as generated_module
from mesh_connect_client.models import (
    B2BBrokerAccountBalance,
    B2BBrokerAccountBalanceModel,
    B2BBrokerAccountBalanceModelApiResult,
    BalanceBrokerBaseRequest,
    BrokerType,
)

from mesh_facade.balances import AccountBalance, CurrencyBalance
from mesh_facade.engine.strict_json import JSON, JSONObject
from mesh_facade.operations.envelope import TEXT_FIELDS, find_request_id
from mesh_facade.operations.field_checks import are_amounts, are_objects, are_texts, check_text
from mesh_facade.operations.operation import GeneratedArguments, GeneratedResponse, Operation
from mesh_facade.operations.wire_names import WireNames

Broker: TypeAlias = BrokerType | str
"""A broker of the spec's list, or any other name: unknown names are sent unchanged."""

_CONTENT = WireNames(B2BBrokerAccountBalanceModelApiResult)["content"]

_MODEL_NAMES = WireNames(B2BBrokerAccountBalanceModel)
_BALANCES = _MODEL_NAMES["balances"]
_TOTALS = (_MODEL_NAMES["total_cash_usd_value"], _MODEL_NAMES["total_buying_power_usd_value"])
_CONTENT_FIELDS = (_BALANCES, *_TOTALS)

_ROW_NAMES = WireNames(B2BBrokerAccountBalance)
_CURRENCY_CODE = _ROW_NAMES["currency_code"]
_AMOUNTS = (
    _ROW_NAMES["cash"],
    _ROW_NAMES["buying_power"],
    _ROW_NAMES["cryptocurrency_buying_power"],
)


def build_arguments(auth_token: str, broker: Broker) -> GeneratedArguments:
    """Check and convert the arguments of a call.

    Raises:
        TypeError: An argument is not a string.
        ValueError: An argument is empty, or holds a control character or half of a surrogate
            pair.
    """
    check_text("auth_token", auth_token)
    check_text("broker", broker)
    if isinstance(broker, BrokerType):
        broker = broker.value  # a plain string, as the model is annotated
    body = BalanceBrokerBaseRequest(auth_token=auth_token, type_=broker)
    return GeneratedArguments(keywords={"body": body}, secrets=(auth_token,))


def check_and_complete(envelope: JSONObject) -> str | None:
    """Check an envelope: return what is wrong, or None if it holds a balance as the spec allows it.

    One malformed field in any row makes the whole answer unusable: for example `"1.50"`, `true` or
    `[]` for an amount, or a number for a currency code. The call then raises MeshResponseError.

    If Mesh left out an amount or a code, it is added to the envelope as null, which means the same.
    The generated parser reads the same object (see `runner`), so it gives None whether the field
    was missing or null.
    """
    content = envelope.get(_CONTENT)
    # The spec allows a null, missing or empty content. It is not taken for an empty balance.
    if not isinstance(content, dict) or content.keys().isdisjoint(_CONTENT_FIELDS):
        return f"its {_CONTENT} holds no balance"
    rows = content.get(_BALANCES)
    if rows is None:
        rows = []
    if not isinstance(rows, list):
        return _problem_at(f"{_CONTENT}.{_BALANCES}")
    if not are_objects(rows):
        first = next(index for index, row in enumerate(rows) if not isinstance(row, dict))
        return _problem_at(f"{_CONTENT}.{_BALANCES}[{first}]")
    row_objects = cast("list[JSONObject]", rows)
    texts, amounts = _complete_and_collect(envelope, content, row_objects)
    if are_texts(texts) and are_amounts(amounts):  # all at once, which is fast
        return None
    # `next` always finds one. The same checks have just failed for all fields taken together, so
    # they fail for at least one of the fields alone.
    place = next(_places_of_malformed_fields(envelope, content, row_objects))
    return _problem_at(place)


def _problem_at(place: str) -> str:
    return f"its {place} is not what Mesh's spec allows"


def _complete_and_collect(
    envelope: JSONObject, content: JSONObject, rows: list[JSONObject]
) -> tuple[list[JSON], list[JSON]]:
    """Add the fields of the balance that Mesh left out, as null; return all texts and all amounts.

    `setdefault` adds a field if it is missing, and returns its value.
    """
    # TEXT_FIELDS are the envelope's, such as `message`. They are only checked, and not added.
    texts: list[JSON] = [envelope.get(key) for key in TEXT_FIELDS]
    texts += [row.setdefault(_CURRENCY_CODE, None) for row in rows]
    amounts: list[JSON] = [content.setdefault(key, None) for key in _TOTALS]
    for key in _AMOUNTS:
        amounts += [row.setdefault(key, None) for row in rows]
    return texts, amounts


def _places_of_malformed_fields(
    envelope: JSONObject, content: JSONObject, rows: list[JSONObject]
) -> Iterator[str]:
    """Check the completed fields one by one, and yield the place of each that is malformed.

    The caller takes only the first place, so the loop over the rows never runs to its end. That is
    why it is marked `no branch`, for the measurement of test coverage.
    """
    for key in TEXT_FIELDS:
        if not are_texts([envelope.get(key)]):
            yield key
    for key in _TOTALS:
        if not are_amounts([content[key]]):
            yield f"{_CONTENT}.{key}"
    for index, row in enumerate(rows):  # pragma: no branch
        if not are_texts([row[_CURRENCY_CODE]]):
            yield f"{_CONTENT}.{_BALANCES}[{index}].{_CURRENCY_CODE}"
        for key in _AMOUNTS:
            if not are_amounts([row[key]]):
                yield f"{_CONTENT}.{_BALANCES}[{index}].{key}"


class _ParsedRow(Protocol):
    """A generated row after `check_and_complete`.

    The generated annotations say float or Unset. But numbers were decoded as Decimal, and what was
    missing was added as null.
    """

    currency_code: str | None
    cash: Decimal | None
    buying_power: Decimal | None
    cryptocurrency_buying_power: Decimal | None


class _ParsedContent(Protocol):
    """A generated `content` after `check_and_complete`; a missing `balances` is Unset, so falsy."""

    balances: list[_ParsedRow] | None
    total_cash_usd_value: Decimal | None
    total_buying_power_usd_value: Decimal | None


def build_result(response: GeneratedResponse) -> AccountBalance:
    """Turn what the generated function returned into an AccountBalance."""
    parsed = cast("B2BBrokerAccountBalanceModelApiResult", response.parsed)
    content = cast("_ParsedContent", parsed.content)
    rows = [
        # By position, in the order of the class: keywords would take 1.5 times as long.
        CurrencyBalance(
            row.currency_code, row.cash, row.buying_power, row.cryptocurrency_buying_power
        )
        for row in content.balances or ()
    ]
    return AccountBalance(
        rows=tuple(rows),
        total_cash_usd=content.total_cash_usd_value,
        total_buying_power_usd=content.total_buying_power_usd_value,
        body=response.content,
        request_id=find_request_id(response.headers),
    )


GET_ACCOUNT_BALANCE = Operation(
    generated_module=generated_module,
    build_arguments=build_arguments,
    check_and_complete=check_and_complete,
    build_result=build_result,
    is_safe_to_repeat=True,
)
