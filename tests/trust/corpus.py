"""Bodies that are allowed or refused: a fixed corpus, and a check against the spec's schemas."""

from __future__ import annotations

import json
import math
from decimal import Decimal
from pathlib import Path
from typing import Any, NoReturn

import yaml

_SPEC = yaml.safe_load((Path(__file__).parents[2] / "openapi" / "mesh.yaml").read_bytes())
_SCHEMAS: dict[str, Any] = _SPEC["components"]["schemas"]
ENVELOPE = _SCHEMAS["B2BBrokerAccountBalanceModelApiResult"]
CONTENT = _SCHEMAS["B2BBrokerAccountBalanceModel"]
KNOWN_STATUSES = _SCHEMAS["ApiResultStatus"]["enum"]

# --- the check against the schemas --------------------------------------------------------------


def resolve(schema: dict[str, Any]) -> dict[str, Any]:
    """Follow a reference, also one in `allOf`, which the spec uses beside `nullable`."""
    inner = schema["allOf"][0] if "allOf" in schema else schema
    if "$ref" not in inner:
        return schema
    found = _SCHEMAS[inner["$ref"].rpartition("/")[2]]
    return {**found, "nullable": schema.get("nullable", False)}


def is_balance(body: bytes) -> bool:
    """Return True if an HTTP 200 with this body is a balance, by the spec and the contract."""
    try:
        text = body.decode()
        envelope = json.loads(
            text,
            parse_float=Decimal,
            parse_int=Decimal,
            parse_constant=_refuse,
            object_pairs_hook=_no_key_twice,
        )
        json.dumps(envelope, ensure_ascii=False, default=str).encode()
    except (ValueError, ArithmeticError, RecursionError):
        return False
    if not isinstance(envelope, dict) or envelope.get("status") != "ok":
        return False
    content = envelope.get("content")
    return (
        isinstance(content, dict)
        and any(name in content for name in CONTENT["properties"])
        and _conforms(envelope, ENVELOPE)
    )


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)


def _no_key_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) < len(pairs):
        raise ValueError("a key twice")
    return dict(pairs)


def _conforms(value: object, schema: dict[str, Any]) -> bool:
    schema = resolve(schema)
    if value is None:
        return bool(schema.get("nullable"))
    match schema.get("type"):
        case "object":
            return isinstance(value, dict) and all(
                _conforms(value[name], inner)
                for name, inner in schema["properties"].items()
                if name in value
            )
        case "array":
            return isinstance(value, list) and all(_conforms(i, schema["items"]) for i in value)
        case "number":
            return isinstance(value, Decimal) and _is_double(value)
        case "string":
            return isinstance(value, str)
        case _:
            return True


def _is_double(value: Decimal) -> bool:
    return not value or 0 < abs(float(value)) < math.inf


# --- the fixed corpus ---------------------------------------------------------------------------


def envelope(content: str, *, status: str = '"ok"', more: str = "") -> bytes:
    return f'{{"status": {status}, "content": {content}{more}}}'.encode()


def rows(*rows: str, more: str = "") -> bytes:
    return envelope(f'{{"balances": [{", ".join(rows)}]{more}}}')


def cash(amount: str) -> bytes:
    return rows(f'{{"currencyCode": "USD", "cash": {amount}}}')


GOOD_ROW = '{"currencyCode": "EUR", "cash": 1, "buyingPower": 2, "cryptocurrencyBuyingPower": 3}'
_GOOD = rows(GOOD_ROW)
_WRONG_AMOUNTS = ('"1.50"', '""', "true", "false", "[]", "[1]", "{}", '{"value": 1}')
_AMOUNTS = ("cash", "buyingPower", "cryptocurrencyBuyingPower")
_TOTALS = ("totalCashUsdValue", "totalBuyingPowerUsdValue")
_DEEP = "[" * 100_000 + "]" * 100_000

ALLOWED: dict[str, bytes] = {
    "a row": _GOOD,
    "no rows": envelope('{"balances": []}'),
    "null for the rows": envelope('{"balances": null}'),
    "a total alone": envelope('{"totalCashUsdValue": 1}'),
    "null for a total alone": envelope('{"totalBuyingPowerUsdValue": null}'),
    "an empty row": rows("{}"),
    "a row of nulls": rows('{"currencyCode": null, "cash": null, "buyingPower": null}'),
    "a row without a code": rows('{"cash": 1}'),
    "an empty code": rows('{"currencyCode": "", "cash": 1}'),
    "an unknown currency": rows('{"currencyCode": "ZZZZ-9", "cash": 1}'),
    "a code that is not ASCII": rows('{"currencyCode": "€✓", "cash": 1}'),
    "a code in escapes": rows('{"currencyCode": "\\u0055SD", "cash": 1}'),
    "a whole surrogate pair": rows('{"currencyCode": "\\ud83d\\ude00", "cash": 1}'),
    "the same currency twice": rows(GOOD_ROW, GOOD_ROW),
    "a thousand rows": rows(*[GOOD_ROW] * 1000),
    "unknown fields everywhere": envelope(
        '{"balances": [{"cash": 1, "new": [1]}], "newer": {"a": null}}', more=', "newest": 1e999'
    ),
    "error data beside it": envelope('{"balances": []}', more=', "errorData": {"any": [1, "x"]}'),
    "white space around": b" \r\n\t" + _GOOD + b"\n ",
    "null for the texts": envelope('{"balances": []}', more=', "message": null, "errorHash": null'),
    **{
        f"the amount {amount}": cash(amount)
        for amount in (
            *("0", "-0", "-0.0", "0.00", "158.5", "-102.88", "1E5", "1e-5", "1.0e+2"),
            *("12345678901234567.89", "1e308", "-1e308", "5e-324", "0.1", "1" * 300, "1" * 100),
            *("0." + "1" * 5000, "9007199254740993", "1.7976931348623157e308"),
        )
    },
}
REFUSED: dict[str, bytes] = {
    "nothing": b"",
    "white space": b" \n",
    "null": b"null",
    "a number": b"1",
    "a string": b'"ok"',
    "true": b"true",
    "an empty list": b"[]",
    "an empty object": b"{}",
    "a list around": b"[" + _GOOD + b"]",
    "an envelope in a string": json.dumps(_GOOD.decode()).encode(),
    "two envelopes": _GOOD + _GOOD,
    "two lines of JSON": _GOOD + b"\n" + _GOOD,
    "half of it": _GOOD[: len(_GOOD) // 2],
    "all but the last brace": _GOOD[:-1],
    "a comma too many": _GOOD[:-1] + b",}",
    "single quotes": _GOOD.replace(b'"', b"'"),
    "a comment": _GOOD[:-1] + b"/* */}",
    "a NUL behind it": _GOOD + b"\0",
    "a raw line end in a string": cash("1").replace(b"USD", b"U\nSD"),
    "HTML": b"<html><body>Bad gateway</body></html>",
    "XML": b'<?xml version="1.0"?><status>ok</status>',
    "JSONP": b"callback(" + _GOOD + b")",
    "a guard before it": b")]}',\n" + _GOOD,
    "a BOM": b"\xef\xbb\xbf" + _GOOD,
    "UTF-16": _GOOD.decode().encode("utf-16"),
    "UTF-16 without a BOM": _GOOD.decode().encode("utf-16-le"),
    "UTF-32": _GOOD.decode().encode("utf-32"),
    "Latin-1": cash("1").replace(b"USD", "£".encode("latin-1")),
    "overlong UTF-8": cash("1").replace(b"USD", b"\xc0\xaf"),
    "a surrogate in UTF-8": cash("1").replace(b"USD", b"\xed\xa0\x80"),
    "UTF-8 cut off": cash("1").replace(b"USD", b"\xe2\x82"),
    "half of a surrogate pair": cash("1").replace(b"USD", b"\\ud800"),
    "the other half": cash("1").replace(b"USD", b"\\ude00"),
    "half of a pair in a key": cash("1").replace(b"cash", b"cash\\ud83d"),
    "half of a pair in an unknown field": envelope('{"balances": []}', more=', "new": "\\udfff"'),
    "the status twice": b'{"status": "badRequest", ' + _GOOD[1:],
    "the content twice": envelope('{"balances": []}', more=', "content": {"balances": []}'),
    "the cash twice": rows('{"cash": 1, "cash": 1}'),
    "the cash twice, once in escapes": rows('{"cash": 1, "c\\u0061sh": 2}'),
    "an unknown field twice": envelope('{"balances": []}', more=', "new": 1, "new": 2'),
    "lists 100,000 deep": envelope(_DEEP),
    "lists 100,000 deep in an unknown field": envelope(
        '{"balances": []}', more=f', "new": {_DEEP}'
    ),
    "objects 100,000 deep": envelope('{"a":' * 100_000 + "1" + "}" * 100_000),
    "lists that never end": b"[" * 100_000,
    "no status": b'{"content": {"balances": []}}',
    "no content": b'{"status": "ok"}',
    "null for the content": envelope("null"),
    "an empty content": envelope("{}"),
    "a content without any known field": envelope('{"Balances": [], "cash": 1}'),
    "a list for the content": envelope('[{"balances": []}]'),
    "a string for the content": envelope('"{}"'),
    "a number for the content": envelope("0"),
    "false for the content": envelope("false"),
    "an object for the rows": envelope(f'{{"balances": {GOOD_ROW}}}'),
    "a string for the rows": envelope('{"balances": "none"}'),
    "false for the rows": envelope('{"balances": false}'),
    "a number for the rows": envelope('{"balances": 0}'),
    "a null row among good ones": rows(GOOD_ROW, "null", GOOD_ROW),
    "a list for a row": rows(GOOD_ROW, "[]", GOOD_ROW),
    "a number for a row": rows(GOOD_ROW, "1"),
    "a string for a row": rows('"USD"', GOOD_ROW),
    "a row in a list": rows(f"[{GOOD_ROW}]"),
    **{
        f"the amount {amount[:40]}": cash(amount)
        for amount in (
            *("NaN", "-NaN", "Infinity", "-Infinity", "nan", "inf", "1e999", "-1e999", "1.8e308"),
            *("1e-999", "9" * 5000, "-" + "9" * 5000, "1e99999999999999999999", "01", "+1", ".5"),
            *("1.", "1e", "0x10", "1_000", "1,000", "--1", "1 000", "١", "$1", "1.5 USD"),  # noqa: RUF001
        )
    },
    **{
        f"{wrong} for {name} of one row among good ones": rows(
            GOOD_ROW, f'{{"currencyCode": "USD", "{name}": {wrong}}}', GOOD_ROW
        )
        for name in _AMOUNTS
        for wrong in _WRONG_AMOUNTS
    },
    **{
        f"{wrong} for {name}": envelope(f'{{"balances": [], "{name}": {wrong}}}')
        for name in _TOTALS
        for wrong in _WRONG_AMOUNTS
    },
    **{
        f"{wrong} for a code": rows(GOOD_ROW, f'{{"currencyCode": {wrong}, "cash": 1}}')
        for wrong in ("5", "true", '["USD"]', "{}")
    },
    **{
        f"{wrong} for {name}": envelope('{"balances": []}', more=f', "{name}": {wrong}')
        for name in ("message", "displayMessage", "errorHash", "errorType")
        for wrong in ("5", "false", "[]", '{"en": "x"}')
    },
    **{
        f"{status} for the status": envelope('{"balances": []}', status=status)
        for status in ("null", "true", "0", "200", '["ok"]', '{"value": "ok"}')
    },
}
