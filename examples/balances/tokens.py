"""What Mesh Link hands over, and how its tokens are encrypted before they are stored."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from mesh_facade import LinkedAccount

KEYS_VARIABLE = "BALANCES_ENCRYPTION_KEYS"
HOW_TO_MAKE_A_KEY = (
    "make one with: python -c "
    '"from cryptography.fernet import Fernet; print(Fernet.generate_key().decode())"'
)
LONGEST_NAME = 255
LONGEST_LIFE = timedelta(days=3650)


class SettingsError(ValueError):
    """A setting is missing or cannot be used. The message says which one and what to do."""


@dataclass(frozen=True)
class Tokens:
    """The secrets of one linked account. Their repr shows neither."""

    auth_token: str = field(repr=False)
    refresh_token: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Link:
    """What the application keeps of one account in a Link payload."""

    broker: str
    account_id: str
    name: str
    tokens: Tokens
    lifetime: timedelta | None


def read_link_payload(payload: Mapping[str, Any]) -> list[Link]:
    """Return the accounts in a Link payload.

    Raises:
        ValueError: A field is missing, empty or unusable. No message here quotes a token.
        TypeError: The payload or one of its fields has another type.
    """
    accounts = LinkedAccount.from_link_payload(payload)
    access = payload["accessToken"]
    broker_name = _text_or_none(access.get("brokerName")) or access["brokerType"]
    links: list[Link] = []
    for index, account in enumerate(accounts):
        entry = access["accountTokens"][index]
        place = f"accessToken.accountTokens[{index}]"
        _check_name("accessToken.brokerType", account.broker)
        _check_name(f"{place}.account.accountId", account.key)
        account_name = _text_or_none(entry["account"].get("accountName")) or account.key
        link = Link(
            broker=account.broker,
            account_id=account.key,
            name=f"{broker_name} · {account_name}",
            tokens=Tokens(account.auth_token, _string_or_none(entry.get("refreshToken"))),
            lifetime=_lifetime_or_none(access.get("expiresInSeconds")),
        )
        links.append(link)
    return links


class TokenCipher:
    """Encrypts tokens with the newest of your keys, and decrypts them with any of them."""

    def __init__(self, keys: str) -> None:
        """Take the value of BALANCES_ENCRYPTION_KEYS: Fernet keys, newest first, with commas."""
        if not keys.strip():
            raise SettingsError(f"{KEYS_VARIABLE} is missing: {HOW_TO_MAKE_A_KEY}")
        fernets: list[Fernet] = []
        for number, key in enumerate(keys.split(","), start=1):
            try:
                fernets.append(Fernet(key.strip()))
            except ValueError:
                raise SettingsError(
                    f"{KEYS_VARIABLE}: key {number} is not a Fernet key; {HOW_TO_MAKE_A_KEY}"
                ) from None
        self._newest = fernets[0]
        self._any = MultiFernet(fernets)

    def encrypt(self, tokens: Tokens) -> str:
        """Return the tokens of one account, encrypted with the newest key."""
        secrets = {"auth_token": tokens.auth_token, "refresh_token": tokens.refresh_token}
        return self._newest.encrypt(json.dumps(secrets).encode()).decode()

    def decrypt(self, encrypted: str) -> Tokens:
        """Return the tokens of one account; raise SettingsError if no key opens them."""
        try:
            secrets = json.loads(self._any.decrypt(encrypted))
        except InvalidToken:
            raise SettingsError(
                f"no key in {KEYS_VARIABLE} decrypts the stored tokens: "
                "add the key that encrypted them, after the newest one"
            ) from None
        return Tokens(secrets["auth_token"], secrets["refresh_token"])

    def needs_rotation(self, encrypted: str) -> bool:
        """Return True unless the newest key encrypted these tokens."""
        try:
            self._newest.decrypt(encrypted)
        except InvalidToken:
            return True
        return False


def _check_name(field_name: str, value: str) -> None:
    """Raise ValueError if a name is too long or holds a character that cannot be printed.

    No institution sends such a name, and not every database can store it.
    """
    if len(value) > LONGEST_NAME or not value.isprintable():
        raise ValueError(
            f"payload is not usable: {field_name} must be at most {LONGEST_NAME} printable "
            "characters"
        )


def _string_or_none(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _text_or_none(value: object) -> str | None:
    """Return a name to show, or None where the payload has none that can be shown."""
    if isinstance(value, str) and value.isprintable():
        return value[:LONGEST_NAME].strip()
    return None


def _lifetime_or_none(seconds: object) -> timedelta | None:
    """Return how long the tokens live, or None where the payload does not say so."""
    if isinstance(seconds, bool) or not isinstance(seconds, int):
        return None
    if not 0 < seconds <= LONGEST_LIFE.total_seconds():
        return None
    return timedelta(seconds=seconds)
