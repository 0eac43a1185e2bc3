"""Strict JSON: which bodies are refused because readers disagree about them."""

from __future__ import annotations

import json

import pytest

from mesh_facade import MeshResponseError
from tests.operations.support import class_of_result
from tests.support import OK, balance_body, cash_body, read


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
def test_ambiguous_or_malformed_json_raises_response_error(body: tuple[str, bytes]) -> None:
    assert class_of_result(200, body[1]) is MeshResponseError


@pytest.mark.parametrize(
    "field", ['"at 12:30"', '{"a": {"b": ":"}}', '[[{"a": 1}], {"b": {"c": 2}}]', '["12", "3:4"]']
)
def test_colons_in_strings_are_not_taken_for_duplicate_keys(field: str) -> None:
    assert read(balance_body(ofTomorrow=field)).raw["content"]["ofTomorrow"] == json.loads(field)


def test_whitespace_and_escapes_are_accepted() -> None:
    body = b' \r\n\t{"status":"ok","content":{"balances":[{"currencyCode":"\\ud83d\\ude00\\n"}]}} '

    assert read(body).rows[0].currency == "\U0001f600\n"


def test_response_error_does_not_quote_the_body() -> None:
    for body in (b"canary", b'{"status": "ok", "canary": 1, "canary": 1}', cash_body('"canary"')):
        with pytest.raises(MeshResponseError) as caught:
            read(body)
        assert "canary" not in str(caught.value)


def test_escape_of_half_a_surrogate_pair_is_named() -> None:
    body = cash_body("1").replace(b"USD", b"\\ud800")

    with pytest.raises(MeshResponseError, match="holds an escape of half a surrogate pair"):
        read(body)
