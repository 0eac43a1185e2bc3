"""What the mock server answers to a token."""

from __future__ import annotations

import json
import re
import time
from decimal import Decimal
from typing import Any

import httpx
import pytest

from mesh_facade.testing import MockServer
from tests.testing.support import BODY, KEYS, PATH, Either


def test_the_default_answer_is_the_example_of_the_document(either: Either) -> None:
    _, client = either

    answer = client.post(PATH, json=BODY)

    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.json()["status"] == "ok"
    assert answer.json()["content"]["balances"][0] == {
        "cash": 158.5,
        "buyingPower": 258.5,
        "currencyCode": "USD",
    }


def test_amounts_are_sent_with_every_digit(either: Either) -> None:
    mesh, client = either

    mesh.answers(
        "a-token",
        cash={"USD": "12345678901234567.890", "EUR": None, "JPY": "NaN"},
        buying_power={"USD": 10**30, "CHF": Decimal("-0.10")},
        cryptocurrency_buying_power={"EUR": Decimal("1E-7")},
        total_cash_usd="158.50",
    )

    content = client.post(PATH, json=BODY).text
    numbers = json.loads(content, parse_float=str, parse_int=str, parse_constant=str)
    assert numbers == {
        "status": "ok",
        "message": "",
        "errorType": "",
        "content": {
            "balances": [
                {
                    "currencyCode": "USD",
                    "cash": "12345678901234567.890",
                    "buyingPower": "1" + "0" * 30,
                },
                {"currencyCode": "EUR", "cash": None, "cryptocurrencyBuyingPower": "1E-7"},
                {"currencyCode": "JPY", "cash": "NaN"},
                {"currencyCode": "CHF", "buyingPower": "-0.10"},
            ],
            "totalCashUsdValue": "158.50",
            "totalBuyingPowerUsdValue": None,
        },
    }


def test_a_balance_may_have_a_total_alone_or_no_currency(either: Either) -> None:
    mesh, client = either

    mesh.answers("a-token", total_buying_power_usd=7)
    assert client.post(PATH, json=BODY).json()["content"] == {
        "balances": [],
        "totalCashUsdValue": None,
        "totalBuyingPowerUsdValue": 7,
    }

    mesh.answers("a-token", cash={})
    assert client.post(PATH, json=BODY).json()["content"]["balances"] == []


@pytest.mark.parametrize("amount", ["1,5", "", "ten", True, [1], "\0"])
def test_an_amount_that_is_not_a_number_raises_value_error(amount: Any) -> None:
    with pytest.raises(ValueError, match=re.escape(f"{amount!r} is not an amount")):
        MockServer().answers("a-token", cash={"USD": amount})


@pytest.mark.parametrize("content", [None, {}, {"balances": None, "new": [1, "two"]}])
def test_content_is_sent_in_an_ok_envelope(either: Either, content: Any) -> None:
    mesh, client = either

    mesh.answers("a-token", content=content)

    envelope = client.post(PATH, json=BODY).json()
    assert envelope == {"content": content, "status": "ok", "message": "", "errorType": ""}


@pytest.mark.parametrize("envelope", [None, [], {"status": "new", "teamCode": Decimal("1.10")}])
def test_a_json_body_is_sent_unchanged(either: Either, envelope: Any) -> None:
    mesh, client = either

    mesh.answers("a-token", body=envelope)

    assert client.post(PATH, json=BODY).json() == json.loads(json.dumps(envelope, default=float))


def test_body_status_and_headers_are_sent_unchanged(either: Either) -> None:
    mesh, client = either

    mesh.answers("a-token", body=b"\xff", status=599, headers={"content-type": "image/png"})

    answer = client.post(PATH, json=BODY)
    assert (answer.status_code, answer.content) == (599, b"\xff")
    assert answer.headers.get_list("Content-Type") == ["image/png"]


def test_a_body_with_a_wrong_content_encoding_is_sent_unchanged(either: Either) -> None:
    mesh, client = either

    mesh.answers("a-token", body=b"no gzip", headers={"Content-Encoding": "gzip"})

    with pytest.raises(httpx.DecodingError):
        client.post(PATH, json=BODY)


def test_a_status_without_a_body_is_sent_with_its_example_or_an_empty_body(either: Either) -> None:
    mesh, client = either

    mesh.answers("a-token", status=400)
    assert client.post(PATH, json=BODY).json()["status"] == "badRequest"

    mesh.answers("a-token", status=503)
    answer = client.post(PATH, json=BODY)
    assert (answer.status_code, answer.content) == (503, b"")


@pytest.mark.parametrize("content", [b"{}", [b"{}"], {"cash": b"1"}, object()])
def test_content_that_is_no_json_raises_type_error(content: Any) -> None:
    with pytest.raises(TypeError):
        MockServer().answers("a-token", content=content)


@pytest.mark.parametrize(
    "things",
    [
        {"body": {}, "content": None},
        {"content": {}, "total_cash_usd": 1},
        {"cash": {}, "body": b""},
    ],
)
def test_two_arguments_that_each_make_a_body_raise_value_error(things: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="one of them"):
        MockServer().answers("a-token", **things)


def test_an_answer_is_sent_for_its_own_token_only(either: Either) -> None:
    mesh, client = either
    mesh.answers("a-token", status=503)
    mesh.answers("another", status=504)

    assert client.post(PATH, json=BODY).status_code == 503
    assert client.post(PATH, json=BODY | {"authToken": "another"}).status_code == 504
    assert client.post(PATH, json=BODY | {"authToken": "unheard-of"}).status_code == 200


def test_the_server_waits_for_the_delay_before_it_answers(mesh: MockServer) -> None:
    mesh.answers("a-token", delay=0.05)

    start = time.monotonic()
    httpx.post(mesh.url + PATH, json=BODY, headers=KEYS)

    assert time.monotonic() - start >= 0.05


def test_in_process_a_delay_takes_no_time_unless_it_exceeds_the_read_timeout() -> None:
    mesh = MockServer()
    with httpx.Client(transport=mesh.transport(), headers=KEYS, timeout=9) as client:
        mesh.answers("a-token", delay=9)
        assert client.post(mesh.url + PATH, json=BODY).status_code == 200
        mesh.answers("a-token", delay=9.1)
        with pytest.raises(httpx.ReadTimeout) as caught:
            client.post(mesh.url + PATH, json=BODY)
        assert caught.value.request.url == mesh.url + PATH
        assert client.post(mesh.url + PATH, json=BODY, timeout=None).status_code == 200


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"status": 100}, "status_code"),
        ({"status": 1000}, "status"),
        ({"headers": {"X-A": "one\r\ntwo"}}, "header value"),
        ({"headers": {"X-A": "\u20ac"}}, "encode"),
        ({"headers": {"content-length": "5"}}, "truncated"),
        ({"headers": {"Transfer-Encoding": "br"}}, "chunked"),
    ],
)
def test_a_head_that_http_cannot_carry_raises_value_error(
    arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        MockServer().answers("a-token", **arguments)
