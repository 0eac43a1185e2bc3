"""Contains all the data models used in inputs/outputs"""

from .api_result import ApiResult
from .api_result_status import ApiResultStatus
from .b2b_broker_account_balance import B2BBrokerAccountBalance
from .b2b_broker_account_balance_model import B2BBrokerAccountBalanceModel
from .b2b_broker_account_balance_model_api_result import (
    B2BBrokerAccountBalanceModelApiResult,
)
from .balance_broker_base_request import BalanceBrokerBaseRequest
from .broker_type import BrokerType

__all__ = (
    "ApiResult",
    "ApiResultStatus",
    "B2BBrokerAccountBalance",
    "B2BBrokerAccountBalanceModel",
    "B2BBrokerAccountBalanceModelApiResult",
    "BalanceBrokerBaseRequest",
    "BrokerType",
)
