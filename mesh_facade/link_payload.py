"""Reads the payload that Mesh Link hands to the application when a user has linked an account.

The payload holds secret tokens, so the errors here name fields and types, never values.
"""

from collections.abc import Iterator, Mapping
from typing import TypeVar, cast

T = TypeVar("T")


def read_account_tokens(payload: Mapping[str, object]) -> Iterator[tuple[str, str, str]]:
    """Yield (access token, broker type, account id) for each account token of a payload.

    Raises ValueError where a field is missing or empty, TypeError where it has another type.
    """
    if not isinstance(payload, Mapping):
        raise TypeError(
            "payload must be a mapping, decoded from the JSON that Link handed over, "
            f"not {type(payload).__name__}"
        )
    if payload.get("accessToken") is None and payload.get("delayedAuth") is not None:
        raise ValueError(
            "payload holds no access token yet, but delayedAuth: the institution grants access "
            "later; wait until Mesh reports that, then use the payload or token it gives you"
        )
    access = _field(payload, "accessToken", "", Mapping)
    broker = _text(access, "brokerType", "accessToken.")
    account_tokens = _field(access, "accountTokens", "accessToken.", list)
    if not account_tokens:
        raise ValueError("payload is not usable: accessToken.accountTokens is empty")
    for index, account_token in enumerate(account_tokens):
        place = f"accessToken.accountTokens[{index}]"
        if not isinstance(account_token, Mapping):
            raise _wrong_type(place, "an object", account_token)
        token = _text(account_token, "accessToken", f"{place}.")
        account = _field(account_token, "account", f"{place}.", Mapping)
        yield token, broker, _text(account, "accountId", f"{place}.account.")


def _field(holder: Mapping[str, object], name: str, prefix: str, kind: type[T]) -> T:
    value = holder.get(name)
    if value is None:
        raise ValueError(f"payload is not usable: {prefix}{name} is missing")
    if not isinstance(value, kind):
        expected = {str: "a string", list: "a list"}.get(cast("type", kind), "an object")
        raise _wrong_type(prefix + name, expected, value)
    return value


def _text(holder: Mapping[str, object], name: str, prefix: str) -> str:
    text = _field(holder, name, prefix, str)
    if not text.strip():
        raise ValueError(f"payload is not usable: {prefix}{name} is empty")
    return text


def _wrong_type(place: str, expected: str, value: object) -> TypeError:
    return TypeError(
        f"payload is not usable: {place} must be {expected}, not {type(value).__name__}"
    )
