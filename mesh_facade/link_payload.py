"""Reads the payload that Mesh Link hands to the application when a user has linked an account.

The payload holds secret tokens, so the errors here name fields and types, never values. The spec
does not describe it, so its field names are written by hand.
"""

from collections.abc import Iterator, Mapping
from typing import cast

import attrs


@attrs.frozen
class AccountToken:
    """An entry of `accessToken.accountTokens`, with the broker of the payload."""

    access_token: str = attrs.field(repr=False)
    broker_type: str
    account_id: str


def read_account_tokens(payload: Mapping[str, object]) -> Iterator[AccountToken]:
    """Yield the account tokens of a payload.

    Raises:
        ValueError: A field is missing or empty, or the institution grants access later
            (`delayedAuth`).
        TypeError: The payload or a field has another type.
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
    access = _require_object(payload, "accessToken", "")
    broker = _require_text(access, "brokerType", "accessToken.")
    account_tokens = _require_field(access, "accountTokens", "accessToken.")
    if not isinstance(account_tokens, list):
        raise _wrong_type("accessToken.accountTokens", "a list", account_tokens)
    if not account_tokens:
        raise ValueError("payload is not usable: accessToken.accountTokens is empty")
    for index, account_token in enumerate(cast("list[object]", account_tokens)):
        place = f"accessToken.accountTokens[{index}]"
        if not isinstance(account_token, Mapping):
            raise _wrong_type(place, "an object", account_token)
        fields = cast("Mapping[str, object]", account_token)
        access_token = _require_text(fields, "accessToken", f"{place}.")
        account = _require_object(fields, "account", f"{place}.")
        yield AccountToken(
            access_token=access_token,
            broker_type=broker,
            account_id=_require_text(account, "accountId", f"{place}.account."),
        )


def _require_field(holder: Mapping[str, object], name: str, prefix: str) -> object:
    """Return a field; raise ValueError if it is missing or null.

    Args:
        holder: The object that has the field.
        name: The field's name.
        prefix: Where the object is in the payload, with a dot at its end; for the message.
    """
    value = holder.get(name)
    if value is None:
        raise ValueError(f"payload is not usable: {prefix}{name} is missing")
    return value


def _require_object(holder: Mapping[str, object], name: str, prefix: str) -> Mapping[str, object]:
    """Return a field that is an object; see `_require_field` for the arguments.

    Raises:
        ValueError: The field is missing or null.
        TypeError: It is not an object.
    """
    value = _require_field(holder, name, prefix)
    if not isinstance(value, Mapping):
        raise _wrong_type(prefix + name, "an object", value)
    return cast("Mapping[str, object]", value)


def _require_text(holder: Mapping[str, object], name: str, prefix: str) -> str:
    """Return a field that is a string; see `_require_field` for the arguments.

    Raises:
        ValueError: The field is missing, null or blank.
        TypeError: It is not a string.
    """
    value = _require_field(holder, name, prefix)
    if not isinstance(value, str):
        raise _wrong_type(prefix + name, "a string", value)
    if not value.strip():
        raise ValueError(f"payload is not usable: {prefix}{name} is empty")
    return value


def _wrong_type(place: str, expected: str, value: object) -> TypeError:
    return TypeError(
        f"payload is not usable: {place} must be {expected}, not {type(value).__name__}"
    )
