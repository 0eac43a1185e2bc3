"""AccountBalance and CurrencyBalance: exact, immutable, and as Mesh sent them."""

from __future__ import annotations

import copy
import decimal
import json
import pickle
import re
from decimal import Decimal
from typing import Any

import attrs
import pytest

from mesh_facade import AccountBalance, CurrencyBalance
from tests.support import balance_body, cash_body, read

USD = '{"currencyCode": "USD", "cash": 158.5, "buyingPower": 258.5}'
EUR = '{"currencyCode": "EUR", "cash": -102.88, "buyingPower": 0, "cryptocurrencyBuyingPower": 7}'
NO_TRAPS = decimal.Context(prec=1, traps=[])
ALL_TRAPS = decimal.Context(prec=1, Emax=1, Emin=-1, traps=list(NO_TRAPS.flags))


@pytest.fixture
def balance() -> AccountBalance:
    return read(balance_body(USD, EUR, totalCashUsdValue="10", totalBuyingPowerUsdValue="null"))


# --- amounts ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("12345678901234567.89", "12345678901234567.89"),
        ("0.1", "0.1"),
        ("-102.88", "-102.88"),
        ("158.50", "158.50"),
        ("1e2", "1E+2"),
        ("1E-7", "1E-7"),
        ("9" * 300, "9" * 300),
        ("1.7976931348623157e308", "1.7976931348623157E+308"),
        ("5e-324", "5E-324"),
        ("0." + "0" * 300 + "1", "1E-301"),
        ("0", "0"),
        ("-0", "-0"),
        ("0e400", "0E+400"),
    ],
)
def test_amount_is_read_exactly_from_its_own_text(text: str, amount: str) -> None:
    cash = read(cash_body(text)).cash("USD")

    assert isinstance(cash, Decimal)
    assert cash.compare_total(Decimal(amount)) == 0


@pytest.mark.parametrize("context", [NO_TRAPS, ALL_TRAPS], ids=["no traps", "all traps"])
def test_amounts_are_exact_in_any_decimal_context(context: decimal.Context) -> None:
    rows = ('{"currencyCode": "USD", "cash": 12345678901234567.89}',) * 2
    with decimal.localcontext(context):
        balance = read(balance_body(*rows, totalCashUsdValue="98765432109876543.21"))
        written = json.dumps(balance.to_dict())
        raw = balance.raw["content"]

    assert str(balance.rows[0].cash) == "12345678901234567.89"
    assert str(balance.cash("USD")) == "24691357802469135.78"
    assert str(balance.total_cash_usd) == str(raw["totalCashUsdValue"]) == "98765432109876543.21"
    assert '"12345678901234567.89"' in written


def test_null_and_missing_amounts_are_none_and_zero_stays_zero() -> None:
    balance = read(
        balance_body(
            '{"currencyCode": "USD", "cash": null, "buyingPower": 0}', totalCashUsdValue="null"
        )
    )

    assert balance["USD"] == CurrencyBalance("USD", None, Decimal(0), None)
    assert balance.total_cash_usd is None
    assert balance.total_buying_power_usd is None


def test_totals_are_taken_from_mesh_and_never_computed() -> None:
    balance = read(balance_body(USD, EUR, totalCashUsdValue="10", totalBuyingPowerUsdValue="-3.25"))

    assert balance.total_cash_usd == Decimal(10)
    assert balance.total_buying_power_usd == Decimal("-3.25")


# --- the mapping --------------------------------------------------------------------------------


def test_balance_is_a_mapping_by_upper_case_code_in_the_order_of_rows(
    balance: AccountBalance,
) -> None:
    assert list(balance) == ["USD", "EUR"]
    assert len(balance) == 2
    assert dict(balance) == {"USD": balance.rows[0], "EUR": balance.rows[1]}
    assert balance.get("GBP") is None


@pytest.mark.parametrize("code", ["EUR", "eur", "Eur"])
def test_currency_is_looked_up_in_any_case(balance: AccountBalance, code: str) -> None:
    assert code in balance
    assert balance[code] is balance.rows[1]
    assert balance.cash(code) == Decimal("-102.88")
    assert balance.buying_power(code) == Decimal(0)
    assert balance.cryptocurrency_buying_power(code) == Decimal(7)


def test_lower_case_code_of_a_row_is_a_key_in_upper_case() -> None:
    balance = read(balance_body('{"currencyCode": "usd", "cash": 1}'))

    assert list(balance) == ["USD"]
    assert balance["usd"] == CurrencyBalance("USD", Decimal(1), None, None)
    assert balance.rows[0].currency == "usd"


@pytest.mark.parametrize("code", ["u\u017fd", "\u0131nr", "\ufb00"])
def test_code_with_letters_beyond_ascii_is_a_currency_of_its_own(code: str) -> None:
    """Their upper case is made of ASCII letters: USD, INR, FF."""
    rows = [f'{{"currencyCode": "{each}", "cash": 1}}' for each in (code, code.upper())]

    balance = read(balance_body(*rows))

    assert list(balance) == [code, code.upper()]
    assert balance.cash(code.upper()) == 1
    assert balance.cash(code) == 1


def test_unlisted_currency_raises_key_error_with_the_listed_ones(
    balance: AccountBalance,
) -> None:
    for lookup in (
        balance.__getitem__,
        balance.cash,
        balance.buying_power,
        balance.cryptocurrency_buying_power,
    ):
        with pytest.raises(KeyError, match=r"'GBP': this account lists USD, EUR") as caught:
            lookup("GBP")
        assert caught.value.__context__ is None


def test_key_error_of_an_empty_balance_says_that_it_is_empty() -> None:
    with pytest.raises(KeyError, match="this account lists no currency"):
        read(balance_body())["USD"]


@pytest.mark.parametrize("key", [None, 5, b"USD", ("USD",)])
def test_key_that_is_not_a_string_raises_key_error(balance: AccountBalance, key: Any) -> None:
    assert key not in balance
    with pytest.raises(KeyError, match="this account lists USD, EUR"):
        balance[key]


def test_rows_of_the_same_currency_are_summed() -> None:
    balance = read(
        balance_body(
            '{"currencyCode": "USD", "cash": 0.1, "buyingPower": 1}',
            '{"currencyCode": "usd", "cash": 0.2, "buyingPower": 2}',
            '{"currencyCode": "USD", "cash": 1e20, "buyingPower": null}',
        )
    )

    assert balance["USD"] == CurrencyBalance("USD", Decimal("100000000000000000000.3"), None, None)
    assert list(balance) == ["USD"]
    assert [row.cash for row in balance.rows] == [Decimal("0.1"), Decimal("0.2"), Decimal("1e20")]
    assert balance.rows[1].currency == "usd"


def test_sum_is_none_if_any_row_is_none() -> None:
    null = '{"currencyCode": "USD", "cash": null}'
    one = '{"currencyCode": "USD", "cash": 1}'

    assert read(balance_body(null, one, one)).cash("USD") is None
    assert read(balance_body(one, one, null)).cash("USD") is None


@pytest.mark.parametrize("code", ["null", '""'])
def test_row_without_a_code_is_only_in_rows(code: str) -> None:
    balance = read(balance_body(f'{{"currencyCode": {code}, "cash": 5}}', '{"cash": 6}', USD))

    assert [row.cash for row in balance.rows] == [Decimal(5), Decimal(6), Decimal("158.5")]
    assert balance.rows[1].currency is None
    assert list(balance) == ["USD"]


@pytest.mark.parametrize("balances", ['"balances": null,', '"balances": [],', ""])
def test_null_empty_or_missing_balances_give_no_rows(balances: str) -> None:
    content = f'{{{balances} "totalCashUsdValue": 0}}'
    balance = read(f'{{"status": "ok", "content": {content}}}'.encode())

    assert balance.rows == ()
    assert not balance
    assert balance.total_cash_usd == Decimal(0)


# --- a value ------------------------------------------------------------------------------------


def test_balance_is_frozen(balance: Any) -> None:
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        balance.rows = ()
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        balance["USD"].cash = Decimal(0)
    with pytest.raises(TypeError):
        balance["USD"] = balance["EUR"]


def test_equality_and_hash_cover_rows_and_totals() -> None:
    one = read(balance_body(USD, totalCashUsdValue="10"))
    same = read(balance_body(USD, totalCashUsdValue="10.0", ofTomorrow='"new"'))
    others = [
        read(balance_body(EUR, totalCashUsdValue="10")),
        read(balance_body(USD, totalCashUsdValue="11")),
        read(balance_body(USD, totalCashUsdValue="10", totalBuyingPowerUsdValue="1")),
    ]

    assert one == same
    assert hash(one) == hash(same)
    assert one.raw != same.raw
    assert one not in others
    assert len({one, same, *others}) == 4
    assert len({one["USD"], same["USD"]}) == 1
    assert one != dict(one)


@pytest.mark.parametrize(
    "clone",
    [
        copy.copy,
        copy.deepcopy,
        *(
            lambda value, protocol=protocol: pickle.loads(pickle.dumps(value, protocol))  # noqa: S301 — our own
            for protocol in range(pickle.HIGHEST_PROTOCOL + 1)
        ),
    ],
)
def test_balance_survives_copying_and_pickling(balance: AccountBalance, clone: object) -> None:
    assert callable(clone)
    again = clone(balance)

    assert again == balance
    assert hash(again) == hash(balance)
    assert dict(again) == dict(balance)
    assert again.raw == balance.raw
    assert clone(balance["EUR"]) == balance["EUR"]


def test_repr_shows_totals_and_rows_only() -> None:
    balance = read(balance_body(USD, totalCashUsdValue="10", ofTomorrow='"new"'))

    assert repr(balance) == (
        "AccountBalance(total_cash_usd=10, total_buying_power_usd=None, "
        "rows=(CurrencyBalance(currency='USD', cash=Decimal('158.5'), "
        "buying_power=Decimal('258.5'), cryptocurrency_buying_power=None),))"
    )


# --- conversions ----------------------------------------------------------------------------


def test_raw_is_the_envelope_with_unknown_fields() -> None:
    balance = read(
        b'{"status": "ok", "message": "hi", "teamCode": 7, "content": {"totalCashUsdValue": 10.50,'
        b' "staked": [0.1], "balances": [{"currencyCode": "USD", "cash": 1.10, "lien": null}]}}'
    )

    assert balance.raw == {
        "status": "ok",
        "message": "hi",
        "teamCode": Decimal(7),
        "content": {
            "totalCashUsdValue": Decimal("10.5"),
            "staked": [Decimal("0.1")],
            "balances": [{"currencyCode": "USD", "cash": Decimal("1.1"), "lien": None}],
        },
    }
    assert str(balance.raw["content"]["balances"][0]["cash"]) == "1.10"
    assert isinstance(balance.raw["teamCode"], Decimal)


def test_raw_is_a_fresh_copy_each_time(balance: AccountBalance) -> None:
    balance.raw["content"]["balances"].clear()

    assert len(balance.raw["content"]["balances"]) == len(balance.rows) == 2


def test_to_dict_is_json_with_amounts_in_fixed_point() -> None:
    balance = read(
        balance_body(
            '{"currencyCode": "usd", "cash": 1e2, "buyingPower": 1E-7}',
            '{"cash": -0.50}',
            totalCashUsdValue="12345678901234567.890",
        )
    )

    written = balance.to_dict()

    assert written == {
        "rows": [
            {
                "currency": "usd",
                "cash": "100",
                "buying_power": "0.0000001",
                "cryptocurrency_buying_power": None,
            },
            {
                "currency": None,
                "cash": "-0.50",
                "buying_power": None,
                "cryptocurrency_buying_power": None,
            },
        ],
        "total_cash_usd": "12345678901234567.890",
        "total_buying_power_usd": None,
    }
    assert json.loads(json.dumps(written)) == written
    assert not re.search(r"\d[eE]", json.dumps(written))


def test_to_records_gives_each_row_with_decimals() -> None:
    balance = read(balance_body(USD, USD, '{"cash": 6}'))

    records = balance.to_records()

    assert records == [
        {
            "currency": "USD",
            "cash": Decimal("158.5"),
            "buying_power": Decimal("258.5"),
            "cryptocurrency_buying_power": None,
        },
    ] * 2 + [
        {
            "currency": None,
            "cash": Decimal(6),
            "buying_power": None,
            "cryptocurrency_buying_power": None,
        }
    ]


def test_request_id_is_kept_by_copies_and_ignored_by_equality_and_hash() -> None:
    one = AccountBalance((), Decimal(1), None, request_id="request-1")
    other = AccountBalance((), Decimal(1), None, request_id="request-2")

    assert one == other
    assert hash(one) == hash(other)
    assert pickle.loads(pickle.dumps(one)).request_id == "request-1"  # noqa: S301 — our own
    assert copy.deepcopy(one).request_id == "request-1"
