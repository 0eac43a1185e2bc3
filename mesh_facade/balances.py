"""What a call returns: the balance of one linked account, exact and immutable."""

import functools
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

import attrs

from mesh_facade._json import EXACT, decode


@attrs.frozen(slots=False)
class CurrencyBalance:
    """What an account holds in one currency (the spec's `B2BBrokerAccountBalance`).

    Amounts are in that currency, exactly as Mesh wrote them; None is not zero: it means that Mesh
    sent null or nothing.

    Attributes:
        currency: ISO 4217 code (`currencyCode`).
        cash: Cash that can be withdrawn; it can be negative.
        buying_power: The most that the user can spend to buy assets, margin included.
        cryptocurrency_buying_power: The same for cryptocurrency orders.
    """

    currency: str | None
    cash: Decimal | None
    buying_power: Decimal | None
    cryptocurrency_buying_power: Decimal | None


@attrs.frozen(repr=False)
class AccountBalance(Mapping[str, CurrencyBalance]):
    """The fiat balance of a linked account (the spec's `B2BBrokerAccountBalanceModel`).

    A mapping by currency code, looked up in upper or lower case. Where Mesh lists a currency
    twice, its rows are summed exactly.

    Attributes:
        rows: The rows as sent, those without a currency code too.
        total_cash_usd: What Mesh says all cash is worth in US dollars (`totalCashUsdValue`), never
            computed here; None where it sent null or nothing.
        total_buying_power_usd: The same for buying power (`totalBuyingPowerUsdValue`).
    """

    rows: tuple[CurrencyBalance, ...]
    total_cash_usd: Decimal | None
    total_buying_power_usd: Decimal | None
    _body: bytes = attrs.field(default=b"{}", eq=False)

    @functools.cached_property
    def _by_code(self) -> dict[str, CurrencyBalance]:
        by_code: dict[str, CurrencyBalance] = {}
        for row in self.rows:
            if row.currency:
                code = row.currency.upper()
                by_code[code] = _sum(code, by_code.get(code), row)
        return by_code

    def __getitem__(self, code: str) -> CurrencyBalance:
        """Return the balance in one currency; KeyError names those that the account lists."""
        try:
            return self._by_code[code.upper()]
        except (KeyError, AttributeError):
            listed = ", ".join(self._by_code) or "no currency"
        raise KeyError(f"{code!r}: this account lists {listed}")

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_code)

    def __len__(self) -> int:
        return len(self._by_code)

    def __repr__(self) -> str:
        totals = f"{self.total_cash_usd=!s}, {self.total_buying_power_usd=!s}".replace("self.", "")
        return f"AccountBalance({totals}, rows={self.rows!r})"

    def cash(self, code: str) -> Decimal | None:
        """Return the cash in one currency; errors as for `[code]`."""
        return self[code].cash

    def buying_power(self, code: str) -> Decimal | None:
        """Return the buying power in one currency; errors as for `[code]`."""
        return self[code].buying_power

    def cryptocurrency_buying_power(self, code: str) -> Decimal | None:
        """Return the buying power for cryptocurrency orders; errors as for `[code]`."""
        return self[code].cryptocurrency_buying_power

    @property
    def raw(self) -> dict[str, Any]:
        """A fresh copy of Mesh's envelope, numbers as Decimal, fields that no spec knows too."""
        envelope: dict[str, Any] = decode(self._body)
        return envelope

    def to_dict(self) -> dict[str, Any]:
        """Return rows and totals ready for JSON: amounts are strings in fixed-point notation."""
        return {
            "rows": [{key: _plain(v) for key, v in row.items()} for row in self.to_records()],
            "total_cash_usd": _plain(self.total_cash_usd),
            "total_buying_power_usd": _plain(self.total_buying_power_usd),
        }

    def to_records(self) -> list[dict[str, Any]]:
        """Return a dict for each row as sent, amounts as Decimal: what a DataFrame takes."""
        return [attrs.asdict(row) for row in self.rows]


def _plain(value: str | Decimal | None) -> str | None:
    return format(value, "f") if isinstance(value, Decimal) else value


def _sum(code: str, first: CurrencyBalance | None, row: CurrencyBalance) -> CurrencyBalance:
    if first is None:
        return row if row.currency == code else attrs.evolve(row, currency=code)
    pairs = zip(attrs.astuple(first)[1:], attrs.astuple(row)[1:], strict=True)
    return CurrencyBalance(code, *(None if None in pair else EXACT.add(*pair) for pair in pairs))
