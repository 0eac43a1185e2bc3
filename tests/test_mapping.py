"""Which error an answer is: HTTP status x envelope status, and what a balance may look like."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mesh_facade import (
    AuthenticationError,
    BadRequestError,
    ConflictError,
    LockedError,
    MeshAPIError,
    MeshClient,
    MeshError,
    MeshResponseError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    ServerError,
    UnavailableForLegalReasonsError,
)
from tests.support import KEYS, OK, Script, balance_body, cash_body, envelope, read, response

BY_HTTP_STATUS: dict[int, type[MeshError]] = {
    **dict.fromkeys((101, 300, 301, 302, 303, 304, 307, 308, 399), MeshResponseError),
    400: BadRequestError,
    401: AuthenticationError,
    403: PermissionDeniedError,
    404: NotFoundError,
    409: ConflictError,
    423: LockedError,
    429: RateLimitError,
    451: UnavailableForLegalReasonsError,
    **dict.fromkeys((402, 405, 408, 410, 418, 422, 499), MeshAPIError),
    **dict.fromkeys((500, 502, 503, 504, 520, 522, 529, 599, 600, 999), ServerError),
}
BY_STATUS: dict[str, type[MeshError]] = {
    "badRequest": BadRequestError,
    "permissionDenied": PermissionDeniedError,
    "notFound": NotFoundError,
    "conflict": ConflictError,
    "locked": LockedError,
    "tooManyRequest": RateLimitError,
    "unavailableForLegalReasons": UnavailableForLegalReasonsError,
    "serverFailure": ServerError,
}
UNDECIDED = {
    "ok": OK,
    "unknown status": envelope("ofTomorrow"),
    "status of another type": json.dumps({"status": 5}).encode(),
    "no status": b'{"content": {}}',
    "list": b"[]",
    "null": b"null",
    "HTML": b"<html>Bad gateway</html>",
    "nothing": b"",
    "not UTF-8": b"\xff\xfe",
    "a known status twice": b'{"status": "locked", "status": "locked"}',
}


def outcome(status: int, body: bytes) -> type[Any]:
    """Return the class of what one attempt ends with."""
    with MeshClient(**KEYS, transport=Script(response(status, body)), max_attempts=1) as mesh:
        try:
            return type(mesh.get_account_balance("a-token", "coinbase"))
        except MeshError as error:
            return type(error) if vars(error).get("http_status") == status else MeshError


# --- which error --------------------------------------------------------------------------------


@pytest.mark.parametrize("status", BY_STATUS)
@pytest.mark.parametrize("http_status", [200, 202, 299, 302, 400, 401, 404, 429, 500, 520, 999])
def test_a_known_status_decides_at_any_http_status(http_status: int, status: str) -> None:
    assert outcome(http_status, envelope(status)) is BY_STATUS[status]


@pytest.mark.parametrize("status", ["BadRequest", "TooManyRequest", "SERVERFAILURE"])
def test_a_known_status_is_known_in_any_case(status: str) -> None:
    known = {name.lower(): error_class for name, error_class in BY_STATUS.items()}

    assert outcome(200, envelope(status)) is known[status.lower()]


@pytest.mark.parametrize("body", UNDECIDED.values(), ids=UNDECIDED)
@pytest.mark.parametrize("http_status", BY_HTTP_STATUS)
def test_else_the_http_status_decides_where_it_is_not_2xx(http_status: int, body: bytes) -> None:
    assert outcome(http_status, body) is BY_HTTP_STATUS[http_status]


@pytest.mark.parametrize("status", ["ofTomorrow", "", "OK ", "Ok", "okay"])
def test_2xx_with_an_unknown_status_is_an_api_error(status: str) -> None:
    assert outcome(200, envelope(status, content=json.loads(OK)["content"])) is MeshAPIError


@pytest.mark.parametrize("http_status", [200, 201, 204, 299])
@pytest.mark.parametrize(
    "body",
    [b"", b"null", b"[]", b"{}", b'"ok"', b"1", b'{"status": null}', b'{"status": ["ok"]}'],
)
def test_2xx_without_a_status_is_no_answer_that_the_contract_allows(
    http_status: int, body: bytes
) -> None:
    assert outcome(http_status, body) is MeshResponseError


@pytest.mark.parametrize("http_status", [200, 201, 202, 206, 226, 299])
def test_every_2xx_with_ok_and_a_content_is_a_balance(http_status: int) -> None:
    with MeshClient(**KEYS, transport=Script(response(http_status))) as mesh:
        assert mesh.get_account_balance("a-token", "coinbase") == read(OK)


# --- what a balance may look like ---------------------------------------------------------------


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
def test_what_the_contract_allows_is_a_balance(content: bytes) -> None:
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
def test_a_content_that_is_none_is_refused(content: bytes) -> None:
    assert outcome(200, b'{"status": "ok", "content": %b}' % content) is MeshResponseError


def test_a_missing_content_is_refused() -> None:
    assert outcome(200, envelope("ok")) is MeshResponseError


@pytest.mark.parametrize("wrong", ['"1.50"', "true", "false", "[]", "[1]", "{}", '""'])
@pytest.mark.parametrize("name", ["cash", "buyingPower", "cryptocurrencyBuyingPower"])
def test_an_amount_of_another_type_is_refused_also_in_one_row_among_good_ones(
    name: str, wrong: str
) -> None:
    good = '{"currencyCode": "USD", "cash": 1, "buyingPower": 1, "cryptocurrencyBuyingPower": 1}'

    body = balance_body(good, f'{{"currencyCode": "EUR", "{name}": {wrong}}}', good)

    with pytest.raises(MeshResponseError, match=r"content\.balances"):
        read(body)


@pytest.mark.parametrize("wrong", ['"1.50"', "true", "[]", "{}"])
@pytest.mark.parametrize("name", ["totalCashUsdValue", "totalBuyingPowerUsdValue"])
def test_a_total_of_another_type_is_refused(name: str, wrong: str) -> None:
    assert outcome(200, balance_body(**{name: wrong})) is MeshResponseError


@pytest.mark.parametrize("code", ["5", "true", '["USD"]', "{}", "840.0"])
def test_a_code_of_another_type_is_refused(code: str) -> None:
    with pytest.raises(MeshResponseError, match=r"content\.balances"):
        read(balance_body(f'{{"currencyCode": {code}, "cash": 1}}'))


@pytest.mark.parametrize("name", ["message", "displayMessage", "errorHash", "errorType"])
@pytest.mark.parametrize("wrong", [5, True, [], {}])
def test_a_text_of_the_envelope_of_another_type_is_refused(name: str, wrong: object) -> None:
    body = json.dumps({**json.loads(OK), name: wrong}).encode()

    assert outcome(200, body) is MeshResponseError


def test_error_data_beside_a_balance_may_be_anything() -> None:
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
def test_an_amount_that_no_finite_double_holds_is_refused(amount: str) -> None:
    with pytest.raises(MeshResponseError):
        read(cash_body(amount))


# --- what is JSON -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    {
        "cut off": OK[:-1],
        "more behind it": OK + b"x",
        "twice": OK + OK,
        "single quotes": OK.replace(b'"', b"'"),
        "BOM": b"\xef\xbb\xbf" + OK,
        "UTF-16": OK.decode().encode("utf-16"),
        "UTF-32": OK.decode().encode("utf-32"),
        "Latin-1": cash_body("1").replace(b"USD", b"US\xc4"),
        "half of a surrogate pair in UTF-8": cash_body("1").replace(b"USD", b"\xed\xa0\x80"),
        "half of a surrogate pair escaped": cash_body("1").replace(b"USD", b"\\ud800"),
        "half of a surrogate pair in a key": OK.replace(b'"status"', b'"\\udc00": 1, "status"'),
        "NaN": cash_body("NaN"),
        "Infinity": cash_body("Infinity"),
        "-Infinity": cash_body("-Infinity"),
        "NaN in an unknown field": balance_body(ofTomorrow="NaN"),
        "leading zero": cash_body("01"),
        "leading plus": cash_body("+1"),
        "hexadecimal": cash_body("0x10"),
        "no digit behind the point": cash_body("1."),
        "a key twice": cash_body("1").replace(b'"cash"', b'"cash": 2, "cash"'),
        "a key twice in an unknown field": balance_body(ofTomorrow='{"a": 1, "a": 1}'),
        "a key twice deep in lists": balance_body(ofTomorrow='[[{"a": 1, "a": 1}], 1]'),
        "a key twice, and colons in strings": balance_body(ofTomorrow='{"a": ":", "a": "::"}'),
        "an exponent beyond Decimal": balance_body(ofTomorrow="1e99999999999999999999"),
        "an exponent below Decimal": balance_body(ofTomorrow="1e-99999999999999999999"),
        "nested too deeply": balance_body(ofTomorrow="[" * 100_000 + "]" * 100_000),
        "a control character": cash_body("1").replace(b"USD", b"U\nD"),
    }.items(),
    ids=lambda item: item[0],
)
def test_a_body_that_is_not_json_for_all_readers_is_refused(body: tuple[str, bytes]) -> None:
    assert outcome(200, body[1]) is MeshResponseError


@pytest.mark.parametrize(
    "field", ['"at 12:30"', '{"a": {"b": ":"}}', '[[{"a": 1}], {"b": {"c": 2}}]', '["12", "3:4"]']
)
def test_colons_and_objects_anywhere_are_no_key_twice(field: str) -> None:
    assert read(balance_body(ofTomorrow=field)).raw["content"]["ofTomorrow"] == json.loads(field)


def test_what_readers_do_agree_about_is_accepted() -> None:
    body = b' \r\n\t{"status":"ok","content":{"balances":[{"currencyCode":"\\ud83d\\ude00\\n"}]}} '

    assert read(body).rows[0].currency == "\U0001f600\n"


def test_the_refusal_does_not_quote_the_body() -> None:
    for body in (b"canary", b'{"status": "ok", "canary": 1, "canary": 1}', cash_body('"canary"')):
        with pytest.raises(MeshResponseError) as caught:
            read(body)
        assert "canary" not in str(caught.value)
