"""Strict JSON: only what all readers of JSON agree about, and each number exactly as written."""

import json
from decimal import (
    MAX_EMAX,
    MAX_PREC,
    MIN_EMIN,
    Context,
    Decimal,
    Inexact,
    InvalidOperation,
    Overflow,
)
from typing import NoReturn, TypeAlias, cast

JSON: TypeAlias = "dict[str, JSON] | list[JSON] | str | Decimal | bool | None"
JSONObject: TypeAlias = "dict[str, JSON]"

EXACT_CONTEXT = Context(
    prec=MAX_PREC, Emax=MAX_EMAX, Emin=MIN_EMIN, traps=[Inexact, InvalidOperation, Overflow]
)
"""Never rounds: an operation whose result it cannot hold exactly raises ArithmeticError.

The decimal context that the caller has set makes no difference.
"""


def decode(body: bytes) -> JSON:
    """Decode a JSON text; numbers become Decimal.

    Looking for duplicate keys while decoding takes a third longer, so the text is first decoded
    without that. If it has exactly as many colons as the result has members, no key was given
    twice. Otherwise one may have been, so the text is decoded again, by a decoder that raises
    ValueError in that case. (A colon in a string has the same effect, or a count that is too low.)

    Raises:
        UnicodeDecodeError: The text is not UTF-8.
        UnicodeEncodeError: A string holds half of a surrogate pair, written as an escape.
        ValueError: The text is not JSON, an object has a key twice, or a constant such as NaN is
            not JSON.
        ArithmeticError: An exponent is beyond what Decimal can hold.
        RecursionError: The text is nested too deeply.
    """
    text = body.decode()
    value = cast("JSON", _QUICK_DECODER.decode(text))
    if text.count(":") != _count_members(value):
        value = cast("JSON", _STRICT_DECODER.decode(text))
    if "\\" in text:
        _check_surrogates(value)
    return value


def _count_members(value: JSON) -> int:
    """Return the number of members of all objects in a value, or a lower number, never a higher.

    In a list of objects, what is nested in their members is not counted. A list that has any other
    item counts as 0. If the number is too low, the only harm is that the text is decoded again.
    """
    if isinstance(value, dict):
        count = len(value)
        for member in value.values():
            if isinstance(member, (dict, list)):
                count += _count_members(member)
        return count
    count = 0
    if isinstance(value, list):
        for item in value:
            if not isinstance(item, dict):
                return 0
            count += len(item)
    return count


def _check_surrogates(value: JSON) -> None:
    """Raise UnicodeEncodeError if a string holds half of a surrogate pair, written as an escape.

    Only such a string cannot be encoded; `default=str` is for Decimal.
    """
    json.dumps(value, ensure_ascii=False, default=str).encode()


def _to_object(members: list[tuple[str, JSON]]) -> JSONObject:
    """Build an object; raise ValueError if a key is given twice."""
    result = dict(members)
    if len(result) < len(members):
        raise ValueError("an object has a key twice")
    return result


def _refuse_constant(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


_QUICK_DECODER = json.JSONDecoder(
    parse_float=EXACT_CONTEXT.create_decimal,
    parse_int=EXACT_CONTEXT.create_decimal,
    parse_constant=_refuse_constant,
)
_STRICT_DECODER = json.JSONDecoder(
    parse_float=EXACT_CONTEXT.create_decimal,
    parse_int=EXACT_CONTEXT.create_decimal,
    parse_constant=_refuse_constant,
    object_pairs_hook=_to_object,
)
