"""The result of reading a balance: what one linked account holds, exact and immutable."""

import functools
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any, cast

import attrs

from mesh_facade.engine.strict_json import EXACT_CONTEXT, decode


@attrs.frozen(slots=False)  # with slots, making the rows of an answer takes longer
class CurrencyBalance:
    """What an account holds in one currency (the spec's `B2BBrokerAccountBalance`).

    Amounts are in that currency, exactly as Mesh wrote them. None is not zero: it means that Mesh
    sent null or nothing. An answer with an amount that is not a number, such as a string, never
    becomes a balance: the call raises MeshResponseError.

    Attributes:
        currency: ISO 4217 code (`currencyCode`).
        cash: Cash that can be withdrawn (`cash`); it can be negative.
        buying_power: The most that the user can spend to buy assets, margin included
            (`buyingPower`).
        cryptocurrency_buying_power: The same for cryptocurrency orders
            (`cryptocurrencyBuyingPower`).
    """

    currency: str | None
    cash: Decimal | None
    buying_power: Decimal | None
    cryptocurrency_buying_power: Decimal | None


@attrs.frozen(repr=False)
class AccountBalance(Mapping[str, CurrencyBalance]):
    """The fiat balance of a linked account (the spec's `B2BBrokerAccountBalanceModel`).

    A mapping by currency code: its keys are upper case, and look-ups ignore case. Where Mesh lists
    a currency twice, each amount of `balance[code]` is the exact sum over its rows. An amount that
    is None in one of the rows is None in the sum; the other amounts are not affected. A balance
    without currencies is falsy, as any empty mapping is.

    Two balances are equal if their rows and totals are.

    Attributes:
        rows: The rows as sent, including those without a currency code (`balances`).
        total_cash_usd: The value of all cash in US dollars as Mesh sent it (`totalCashUsdValue`),
            never computed here; None if Mesh sent null or nothing.
        total_buying_power_usd: The same for buying power (`totalBuyingPowerUsdValue`).
        request_id: The id to quote to Mesh's support (`X-Request-Id`, else `CF-Ray`); None if the
            answer had neither header.
    """

    rows: tuple[CurrencyBalance, ...]
    total_cash_usd: Decimal | None
    total_buying_power_usd: Decimal | None
    # The envelope as sent, for `raw`.
    _body: bytes = attrs.field(default=b"{}", eq=False, alias="body")
    request_id: str | None = attrs.field(default=None, eq=False)

    @functools.cached_property  # attrs makes a slot for its value
    def _by_code(self) -> dict[str, CurrencyBalance]:
        by_code: dict[str, CurrencyBalance] = {}
        for row in self.rows:
            if not row.currency:
                continue
            code = _upper_case(row.currency)
            if code in by_code:
                by_code[code] = _add(by_code[code], row)
            elif code == row.currency:
                by_code[code] = row
            else:
                by_code[code] = attrs.evolve(row, currency=code)
        return by_code

    def __getitem__(self, code: str) -> CurrencyBalance:
        """Return the balance in one currency.

        Raises:
            KeyError: The account does not list that currency; the message names those it lists.
        """
        balance = None
        if isinstance(code, str):  # `in` and `get` of Mapping call this with any object
            balance = self._by_code.get(_upper_case(code))
        if balance is None:
            listed = ", ".join(self._by_code) or "no currency"
            raise KeyError(f"{code!r}: this account lists {listed}")
        return balance

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_code)

    def __len__(self) -> int:
        return len(self._by_code)

    def __repr__(self) -> str:
        return (
            f"AccountBalance(total_cash_usd={self.total_cash_usd}, "
            f"total_buying_power_usd={self.total_buying_power_usd}, rows={self.rows!r})"
        )

    def cash(self, code: str) -> Decimal | None:
        """Return the cash in one currency; KeyError if the account does not list it."""
        return self[code].cash

    def buying_power(self, code: str) -> Decimal | None:
        """Return the buying power in one currency; KeyError if the account does not list it."""
        return self[code].buying_power

    def cryptocurrency_buying_power(self, code: str) -> Decimal | None:
        """Return the buying power for cryptocurrency orders; KeyError as for `cash`."""
        return self[code].cryptocurrency_buying_power

    # `Any` in these annotations lets callers index the JSON without narrowing each step.

    @property
    def raw(self) -> dict[str, Any]:
        """A fresh copy of Mesh's envelope, all of its fields, numbers as Decimal."""
        return cast("dict[str, Any]", decode(self._body))

    def to_dict(self) -> dict[str, Any]:
        """Return rows and totals ready for JSON: amounts are strings in fixed-point notation."""
        return {
            "rows": [
                {
                    "currency": row.currency,
                    "cash": _fixed_point(row.cash),
                    "buying_power": _fixed_point(row.buying_power),
                    "cryptocurrency_buying_power": _fixed_point(row.cryptocurrency_buying_power),
                }
                for row in self.rows
            ],
            "total_cash_usd": _fixed_point(self.total_cash_usd),
            "total_buying_power_usd": _fixed_point(self.total_buying_power_usd),
        }

    def to_records(self) -> list[dict[str, Any]]:
        """Return a dict for each row as sent, amounts as Decimal: for pandas.DataFrame, say."""
        return [attrs.asdict(row) for row in self.rows]


def _upper_case(code: str) -> str:
    """Return a currency code in upper case.

    A code with other letters than ASCII's stays as it is: the upper case of such a letter may be
    the letter of another currency's code.
    """
    if code.isascii():
        return code.upper()
    return code


def _fixed_point(amount: Decimal | None) -> str | None:
    """Return an amount with all of its digits and no exponent; None if it is None."""
    if amount is None:
        return None
    return format(amount, "f")


def _add(one: CurrencyBalance, other: CurrencyBalance) -> CurrencyBalance:
    """Return the sum of two rows of one currency."""
    return CurrencyBalance(
        currency=one.currency,
        cash=_sum(one.cash, other.cash),
        buying_power=_sum(one.buying_power, other.buying_power),
        cryptocurrency_buying_power=_sum(
            one.cryptocurrency_buying_power, other.cryptocurrency_buying_power
        ),
    )


def _sum(one: Decimal | None, other: Decimal | None) -> Decimal | None:
    """Return the exact sum; None if one of the amounts is unknown."""
    if one is None or other is None:
        return None
    return EXACT_CONTEXT.add(one, other)
