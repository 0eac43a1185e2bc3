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
    value = _DECODER.decode(text)
    if "\\u" in text:  # the one way to write half of a surrogate pair
        json.dumps(value, ensure_ascii=False, default=str).encode()
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) == len(pairs):
        return members
    raise ValueError("an object has a key twice")


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


_DECODER = json.JSONDecoder(
    parse_float=EXACT.create_decimal,
    parse_int=EXACT.create_decimal,
    parse_constant=_refuse,
    object_pairs_hook=_unique,
)
