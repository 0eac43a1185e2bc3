from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from attrs import define as _attrs_define

T = TypeVar("T", bound="BalanceBrokerBaseRequest")


@_attrs_define
class BalanceBrokerBaseRequest:
    """
    Attributes:
        auth_token (str): Auth token that allows connecting to the target institution
        type_ (str): Type of the institution to connect

            ### Supported integrations:
            ```Robinhood```
            ```Coinbase```
            ```Kraken```
            ```CryptoCom```
            ```Binance```
            ```Gemini```
            ```OkCoin```
            ```KuCoin```
            ```CexIo```
            ```BinanceInternational```
            ```Bitstamp```
            ```GateIo```
            ```Okx```
            ```BitFlyer```
            ```Coinlist```
            ```Huobi```
            ```Bitfinex```
            ```KrakenDirect```
            ```BinanceInternationalDirect```
            ```BitfinexDirect```
            ```Bybit```
            ```Paxos```
            ```CoinbasePrime```
            ```BtcTurkDirect```
            ```KuCoinDirect```
            ```OkxOAuth```
            ```ParibuDirect```
            ```RobinhoodConnect```
            ```BlockchainCom```
            ```BitsoDirect```
            ```BybitDirect```
            ```ParibuOAuth```
            ```BinanceTrDirect```
            ```BybitDirectMobile```
            ```Sandbox```
    """

    auth_token: str
    type_: str

    def to_dict(self) -> dict[str, Any]:
        auth_token = self.auth_token

        type_ = self.type_

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "authToken": auth_token,
                "type": type_,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        auth_token = d.pop("authToken")

        type_ = d.pop("type")

        balance_broker_base_request = cls(
            auth_token=auth_token,
            type_=type_,
        )

        return balance_broker_base_request
