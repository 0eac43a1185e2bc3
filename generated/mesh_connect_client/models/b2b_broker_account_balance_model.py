from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from attrs import define as _attrs_define

from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.b2b_broker_account_balance import B2BBrokerAccountBalance


T = TypeVar("T", bound="B2BBrokerAccountBalanceModel")


@_attrs_define
class B2BBrokerAccountBalanceModel:
    """
    Attributes:
        balances (list[B2BBrokerAccountBalance] | None | Unset):
        total_buying_power_usd_value (float | None | Unset): Total USD value of all Buying Power
        total_cash_usd_value (float | None | Unset): Total USD value of all currencies
    """

    balances: list[B2BBrokerAccountBalance] | None | Unset = UNSET
    total_buying_power_usd_value: float | None | Unset = UNSET
    total_cash_usd_value: float | None | Unset = UNSET

    def to_dict(self) -> dict[str, Any]:
        balances: list[dict[str, Any]] | None | Unset
        if isinstance(self.balances, Unset):
            balances = UNSET
        elif isinstance(self.balances, list):
            balances = []
            for balances_type_0_item_data in self.balances:
                balances_type_0_item = balances_type_0_item_data.to_dict()
                balances.append(balances_type_0_item)

        else:
            balances = self.balances

        total_buying_power_usd_value: float | None | Unset
        if isinstance(self.total_buying_power_usd_value, Unset):
            total_buying_power_usd_value = UNSET
        else:
            total_buying_power_usd_value = self.total_buying_power_usd_value

        total_cash_usd_value: float | None | Unset
        if isinstance(self.total_cash_usd_value, Unset):
            total_cash_usd_value = UNSET
        else:
            total_cash_usd_value = self.total_cash_usd_value

        field_dict: dict[str, Any] = {}

        field_dict.update({})
        if balances is not UNSET:
            field_dict["balances"] = balances
        if total_buying_power_usd_value is not UNSET:
            field_dict["totalBuyingPowerUsdValue"] = total_buying_power_usd_value
        if total_cash_usd_value is not UNSET:
            field_dict["totalCashUsdValue"] = total_cash_usd_value

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.b2b_broker_account_balance import B2BBrokerAccountBalance  # noqa: PLC0415

        d = dict(src_dict)

        def _parse_balances(
            data: object,
        ) -> list[B2BBrokerAccountBalance] | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, list):
                    raise TypeError()
                balances_type_0 = []
                _balances_type_0 = data
                for balances_type_0_item_data in _balances_type_0:
                    balances_type_0_item = B2BBrokerAccountBalance.from_dict(
                        balances_type_0_item_data
                    )

                    balances_type_0.append(balances_type_0_item)

                return balances_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(list[B2BBrokerAccountBalance] | None | Unset, data)

        balances = _parse_balances(d.pop("balances", UNSET))

        def _parse_total_buying_power_usd_value(data: object) -> float | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(float | None | Unset, data)

        total_buying_power_usd_value = _parse_total_buying_power_usd_value(
            d.pop("totalBuyingPowerUsdValue", UNSET)
        )

        def _parse_total_cash_usd_value(data: object) -> float | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(float | None | Unset, data)

        total_cash_usd_value = _parse_total_cash_usd_value(
            d.pop("totalCashUsdValue", UNSET)
        )

        b2b_broker_account_balance_model = cls(
            balances=balances,
            total_buying_power_usd_value=total_buying_power_usd_value,
            total_cash_usd_value=total_cash_usd_value,
        )

        return b2b_broker_account_balance_model
