"""JSON as the contract wants it: strict, and each number read from its own text."""

import json
from decimal import MAX_EMAX, MAX_PREC, MIN_EMIN, Context, Inexact, InvalidOperation, Overflow
from typing import Any, NoReturn

EXACT = Context(
    prec=MAX_PREC, Emax=MAX_EMAX, Emin=MIN_EMIN, traps=[Inexact, InvalidOperation, Overflow]
)
"""Rounds nothing, whatever decimal context the caller has set: it raises ArithmeticError."""


def decode(body: bytes) -> Any:
    """Decode a body; numbers become Decimal.

    Raises ValueError where it is not UTF-8, or not JSON that all readers agree about (a key twice
    in an object, NaN, half of a surrogate pair), ArithmeticError where an exponent is beyond
    Decimal, RecursionError where it is nested too deeply.
    """
    text = body.decode()
    value = _QUICK.decode(text)
    if text.count(":") != _count_members(value):  # one in a string, or a key twice
        value = _STRICT.decode(text)
    if "\\" in text:  # in an escape may stand half of a surrogate pair
        json.dumps(value, ensure_ascii=False, default=str).encode()
    return value


def _count_members(value: Any) -> int:
    """Count the members of all objects but those deep within lists."""
    if type(value) is dict:
        return len(value) + sum(map(_count_members, value.values()))
    return sum(map(len, value)) if type(value) is list and {*map(type, value)} == {dict} else 0


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) == len(pairs):
        return members
    raise ValueError("an object has a key twice")


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


_QUICK, _STRICT = (
    json.JSONDecoder(
        parse_float=EXACT.create_decimal,
        parse_int=EXACT.create_decimal,
        parse_constant=_refuse,
        object_pairs_hook=hook,  # it takes a third more of the time
    )
    for hook in (None, _unique)
)
