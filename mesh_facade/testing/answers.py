"""Answers as data, and how their JSON is written without losing a digit."""

import enum
import json
from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import TypeAlias

import attrs
import h11

JSON: TypeAlias = (
    Mapping[str, "JSON"] | Sequence["JSON"] | str | int | float | Decimal | bool | None
)
"""What can be written as JSON. A Decimal becomes a number."""

Amount: TypeAlias = str | int | Decimal | None
"""An amount of money. None becomes `null`."""

Amounts: TypeAlias = Mapping[str, Amount] | None
"""Amounts by currency code."""


NOWHERE = "https://mock-server.invalid"
"""The address of a mock server that does not listen: no host will ever have it (RFC 6761)."""


class Failure(enum.Enum):
    """How a connection fails while an answer is due."""

    CLOSED = "The server closes the connection and sends nothing."
    RESET = "The server resets the connection and sends nothing."
    TRUNCATED = "The server closes the connection after half of the body."


@attrs.frozen(kw_only=True)
class Answer:
    """What the mock server sends.

    Attributes:
        status: The HTTP status.
        body: The body; None stands for the OpenAPI document's example for the status.
        headers: The headers beside `Content-Length`, which the server sets itself.
        delay: Seconds that pass before the answer.
        byte_interval: Seconds that pass before each byte of the body; 0 sends it at once.
        failure: How the connection fails; None where it does not.
    """

    status: int = 200
    body: bytes | None = None
    headers: Mapping[str, str] = attrs.field(factory=dict[str, str])
    delay: float = 0.0
    byte_interval: float = 0.0
    failure: Failure | None = None


def check_head(status: int, headers: Mapping[str, str]) -> None:
    """Raise ValueError unless an HTTP server can send this status and these headers."""
    names = {name.lower() for name in headers}
    if "content-length" in names:
        raise ValueError(
            "Content-Length cannot be chosen: the mock server counts the body itself. "
            "For a body that is cut short, use the fault 'truncated'."
        )
    try:
        h11.Response(status_code=status, headers=list(headers.items()))
    except (h11.LocalProtocolError, UnicodeEncodeError) as error:
        raise ValueError(f"an HTTP server cannot send this status and headers: {error}") from None


def write_json(value: JSON) -> str:
    """Write JSON in which a Decimal is a number with each of its digits."""
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, Mapping):
        members = [f"{json.dumps(str(name))}: {write_json(item)}" for name, item in value.items()]
        return "{" + ", ".join(members) + "}"
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return "[" + ", ".join([write_json(item) for item in value]) + "]"
    return json.dumps(value)


def envelope(status: str, error_type: str = "", message: str = "") -> bytes:
    """Write Mesh's envelope without a content."""
    members = {"status": status, "message": message, "errorType": error_type}
    return write_json(members).encode()


def envelope_with_content(content: JSON, status: str = "ok") -> bytes:
    """Write Mesh's envelope around a content."""
    members = {"content": content, "status": status, "message": "", "errorType": ""}
    return write_json(members).encode()


def balance_content(
    *,
    cash: Amounts,
    buying_power: Amounts,
    cryptocurrency_buying_power: Amounts,
    total_cash_usd: Amount,
    total_buying_power_usd: Amount,
) -> dict[str, JSON]:
    """Arrange amounts as the content of a balance: one row for each currency, and the totals.

    Raises:
        ValueError: One of the amounts is not a number.
    """
    columns = {
        "cash": cash,
        "buyingPower": buying_power,
        "cryptocurrencyBuyingPower": cryptocurrency_buying_power,
    }
    rows: dict[str, dict[str, JSON]] = {}
    for name, amounts in columns.items():
        for currency, amount in (amounts or {}).items():
            row = rows.setdefault(currency, {"currencyCode": currency})
            row[name] = _number(amount)
    return {
        "balances": list(rows.values()),
        "totalCashUsdValue": _number(total_cash_usd),
        "totalBuyingPowerUsdValue": _number(total_buying_power_usd),
    }


def _number(amount: Amount) -> Decimal | None:
    if amount is None:
        return None
    try:
        return Decimal(str(amount))
    except InvalidOperation:
        raise ValueError(
            f"{amount!r} is not an amount: give a string of digits, an int, a Decimal or None"
        ) from None
