"""Which answers are a balance, by the contract."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from mesh_facade import MeshResponseError
from tests.operations.support import class_of_result
from tests.support import OK, Script, balance_body, cash_body, envelope, read, response

if TYPE_CHECKING:
    from tests.conftest import Mode


@pytest.mark.parametrize(
    "content",
    [
        b'{"balances": null}',
        b'{"balances": [{}]}',
        b'{"totalCashUsdValue": null}',
        b'{"totalBuyingPowerUsdValue": 1}',
        b'{"balances": [], "ofTomorrow": {"cash": "1.50"}}',
        b'{"balances": [{"currencyCode": "DOGE2", "cash": 1, "ofTomorrow": true}]}',
    ],
)
def test_content_that_the_spec_allows_is_a_balance(content: bytes) -> None:
    assert read(b'{"status": "ok", "ofTomorrow": [1], "content": %b}' % content) is not None


@pytest.mark.parametrize(
    "content",
    [
        b"null",
        b"{}",
        b"[]",
        b"5",
        b'"balances"',
        b'{"ofTomorrow": 1}',
        b'{"balances": {}}',
        b'{"balances": "none"}',
        b'{"balances": false}',
        b'{"balances": 0}',
        b'{"balances": [null]}',
        b'{"balances": [[]]}',
        b'{"balances": ["USD"]}',
    ],
)
def test_malformed_content_raises_response_error(content: bytes) -> None:
    assert class_of_result(200, b'{"status": "ok", "content": %b}' % content) is MeshResponseError


def test_missing_content_raises_response_error() -> None:
    assert class_of_result(200, envelope("ok")) is MeshResponseError


@pytest.mark.parametrize("wrong", ['"1.50"', "true", "false", "[]", "[1]", "{}", '""'])
@pytest.mark.parametrize("name", ["cash", "buyingPower", "cryptocurrencyBuyingPower"])
def test_malformed_amount_among_good_rows_raises_response_error(name: str, wrong: str) -> None:
    good = '{"currencyCode": "USD", "cash": 1, "buyingPower": 1, "cryptocurrencyBuyingPower": 1}'

    body = balance_body(good, f'{{"currencyCode": "EUR", "{name}": {wrong}}}', good)

    with pytest.raises(MeshResponseError, match=r"content\.balances"):
        read(body)


@pytest.mark.parametrize("wrong", ['"1.50"', "true", "[]", "{}"])
@pytest.mark.parametrize("name", ["totalCashUsdValue", "totalBuyingPowerUsdValue"])
def test_malformed_total_raises_response_error(name: str, wrong: str) -> None:
    assert class_of_result(200, balance_body(**{name: wrong})) is MeshResponseError


@pytest.mark.parametrize("code", ["5", "true", '["USD"]', "{}", "840.0"])
def test_malformed_currency_code_raises_response_error(code: str) -> None:
    with pytest.raises(MeshResponseError, match=r"content\.balances"):
        read(balance_body(f'{{"currencyCode": {code}, "cash": 1}}'))


@pytest.mark.parametrize("name", ["message", "displayMessage", "errorHash", "errorType"])
@pytest.mark.parametrize("wrong", [5, True, [], {}])
def test_malformed_text_of_the_envelope_raises_response_error(name: str, wrong: object) -> None:
    body = json.dumps({**json.loads(OK), name: wrong}).encode()

    assert class_of_result(200, body) is MeshResponseError


def test_error_data_beside_a_balance_may_be_any_json() -> None:
    for value in (None, 5, "text", [1], {"a": 1}):
        assert read(json.dumps({**json.loads(OK), "errorData": value}).encode())


@pytest.mark.parametrize(
    "amount",
    [
        "1e309",
        "-1e309",
        "1e999",
        "0e-999999999",
        "0e1000",
        "1.7976931348623159e308",
        "9" * 5000,
        "1e-400",
        "-4e-325",
        "1e99999999999999999999",
        "-1e99999999999999999999",
        "1e-99999999999999999999",
    ],
)
def test_amount_outside_the_range_of_a_double_raises_response_error(amount: str) -> None:
    with pytest.raises(MeshResponseError):
        read(cash_body(amount))


@pytest.mark.parametrize(
    ("headers", "request_id"),
    [
        ({"X-Request-Id": "request-1"}, "request-1"),
        ({"CF-Ray": "ray-1"}, "ray-1"),
        ({"X-Request-Id": "request-1", "CF-Ray": "ray-1"}, "request-1"),
        ({"X-Request-Id": "", "CF-Ray": "ray-1"}, "ray-1"),
        ({}, None),
    ],
)
def test_request_id_of_a_balance_comes_from_the_headers(
    mode: Mode, headers: dict[str, str], request_id: str | None
) -> None:
    balance = mode.client(transport=Script(response(200, OK, headers))).read()

    assert balance.request_id == request_id


@pytest.mark.parametrize(
    ("body", "place"),
    [
        (b'{"status": "ok", "content": {"balances": 5}}', "content.balances"),
        (b'{"status": "ok", "content": {"balances": [{}, 5]}}', "content.balances[1]"),
        (
            b'{"status": "ok", "content": {"balances": [{"cash": 1}, {"buyingPower": "1"}]}}',
            "content.balances[1].buyingPower",
        ),
        (
            b'{"status": "ok", "content": {"balances": [{"cash": 1}, {"currencyCode": 1}]}}',
            "content.balances[1].currencyCode",
        ),
        (
            b'{"status": "ok", "content": {"balances": [], "totalCashUsdValue": true}}',
            "content.totalCashUsdValue",
        ),
        (b'{"status": "ok", "message": 5, "content": {"balances": []}}', "message"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_error_names_the_place_of_the_malformed_field(body: bytes, place: str) -> None:
    with pytest.raises(MeshResponseError) as caught:
        read(body)

    assert str(caught.value) == (
        f"Mesh's answer (HTTP 200) cannot be used: its {place} is not what Mesh's spec allows"
    )


@pytest.mark.parametrize("content", [b"null", b"{}", b"5", b'{"ofTomorrow": 1}'])
def test_error_says_that_the_content_holds_no_balance(content: bytes) -> None:
    with pytest.raises(MeshResponseError) as caught:
        read(b'{"status": "ok", "content": %b}' % content)

    assert str(caught.value) == (
        "Mesh's answer (HTTP 200) cannot be used: its content holds no balance"
    )
