from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, cast

from attrs import define as _attrs_define

from ..types import UNSET, Unset

T = TypeVar("T", bound="B2BBrokerAccountBalance")


@_attrs_define
class B2BBrokerAccountBalance:
    """
    Attributes:
        buying_power (float | None | Unset): Buying power indicating the maximum amount the user can spend to buy
            assets. E.g. available margin.
        cash (float | None | Unset): Withdrawable cash amount on the account.
        cryptocurrency_buying_power (float | None | Unset): Buying power available for placing cryptocurrency orders.
        currency_code (None | str | Unset): ISO 4217 currency code.
    """

    buying_power: float | None | Unset = UNSET
    cash: float | None | Unset = UNSET
    cryptocurrency_buying_power: float | None | Unset = UNSET
    currency_code: None | str | Unset = UNSET

    def to_dict(self) -> dict[str, Any]:
        buying_power: float | None | Unset
        if isinstance(self.buying_power, Unset):
            buying_power = UNSET
        else:
            buying_power = self.buying_power

        cash: float | None | Unset
        if isinstance(self.cash, Unset):
            cash = UNSET
        else:
            cash = self.cash

        cryptocurrency_buying_power: float | None | Unset
        if isinstance(self.cryptocurrency_buying_power, Unset):
            cryptocurrency_buying_power = UNSET
        else:
            cryptocurrency_buying_power = self.cryptocurrency_buying_power

        currency_code: None | str | Unset
        if isinstance(self.currency_code, Unset):
            currency_code = UNSET
        else:
            currency_code = self.currency_code

        field_dict: dict[str, Any] = {}

        field_dict.update({})
        if buying_power is not UNSET:
            field_dict["buyingPower"] = buying_power
        if cash is not UNSET:
            field_dict["cash"] = cash
        if cryptocurrency_buying_power is not UNSET:
            field_dict["cryptocurrencyBuyingPower"] = cryptocurrency_buying_power
        if currency_code is not UNSET:
            field_dict["currencyCode"] = currency_code

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)

        def _parse_buying_power(data: object) -> float | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(float | None | Unset, data)

        buying_power = _parse_buying_power(d.pop("buyingPower", UNSET))

        def _parse_cash(data: object) -> float | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(float | None | Unset, data)

        cash = _parse_cash(d.pop("cash", UNSET))

        def _parse_cryptocurrency_buying_power(data: object) -> float | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(float | None | Unset, data)

        cryptocurrency_buying_power = _parse_cryptocurrency_buying_power(
            d.pop("cryptocurrencyBuyingPower", UNSET)
        )

        def _parse_currency_code(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        currency_code = _parse_currency_code(d.pop("currencyCode", UNSET))

        b2b_broker_account_balance = cls(
            buying_power=buying_power,
            cash=cash,
            cryptocurrency_buying_power=cryptocurrency_buying_power,
            currency_code=currency_code,
        )

        return b2b_broker_account_balance
