"""What Mesh Link hands over, and how its tokens are encrypted before they are stored."""

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
class AccountToLink:
    """What the application keeps of one account in a Link payload.

    The payload's refresh token is left out: this application does not refresh, and a secret that
    is not stored cannot leak.
    """

    broker: str
    account_id: str
    name: str
    auth_token: str = field(repr=False)
    lifetime: timedelta | None


def read_link_payload(payload: Mapping[str, Any]) -> list[AccountToLink]:
    """Return the accounts in a Link payload.

    Raises:
        ValueError: A field is missing, empty or unusable. No message here quotes a token.
        TypeError: The payload or one of its fields has another type.
    """
    linked_accounts = LinkedAccount.from_link_payload(payload)
    access = payload["accessToken"]
    accounts: list[AccountToLink] = []
    for index, linked in enumerate(linked_accounts):
        entry = access["accountTokens"][index]
        place = f"accessToken.accountTokens[{index}]"
        _check_identifier("accessToken.brokerType", linked.broker)
        _check_identifier(f"{place}.account.accountId", linked.key)
        broker_name = _name_to_show(access.get("brokerName"), linked.broker)
        account_name = _name_to_show(entry["account"].get("accountName"), linked.key)
        account = AccountToLink(
            broker=linked.broker,
            account_id=linked.key,
            name=f"{broker_name} · {account_name}",
            auth_token=linked.auth_token,
            lifetime=_lifetime_or_none(access.get("expiresInSeconds")),
        )
        accounts.append(account)
    return accounts


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

    def encrypt(self, auth_token: str) -> str:
        """Return a token, encrypted with the newest key."""
        # JSON can hold half a surrogate pair, which plain UTF-8 cannot.
        return self._newest.encrypt(auth_token.encode("utf-8", "surrogatepass")).decode()

    def decrypt(self, encrypted: str) -> str:
        """Return a token; raise SettingsError if no key decrypts it."""
        try:
            auth_token = self._any.decrypt(encrypted)
        except InvalidToken:
            raise SettingsError(
                f"no key in {KEYS_VARIABLE} decrypts the stored tokens: "
                "add the key that encrypted them, after the newest one"
            ) from None
        return auth_token.decode("utf-8", "surrogatepass")

    def needs_rotation(self, encrypted: str) -> bool:
        """Return True unless the newest key encrypted this token."""
        try:
            self._newest.decrypt(encrypted)
        except InvalidToken:
            return True
        return False


def _check_identifier(field_name: str, value: str) -> None:
    """Raise ValueError if an identifier is too long or holds a character that cannot be printed.

    No institution sends such an identifier, and not every database can store it.
    """
    if len(value) > LONGEST_NAME or not value.isprintable():
        raise ValueError(
            f"payload is not usable: {field_name} must be at most {LONGEST_NAME} printable "
            "characters"
        )


def _name_to_show(value: object, identifier: str) -> str:
    """Return the start of a name, or the identifier if the name is blank or cannot be printed."""
    if isinstance(value, str) and value.isprintable():
        name = value[:LONGEST_NAME].strip()
        if name:
            return name
    return identifier


def _lifetime_or_none(seconds: object) -> timedelta | None:
    """Return how long the tokens live, or None where the payload does not say so."""
    if isinstance(seconds, bool) or not isinstance(seconds, int):
        return None
    if not 0 < seconds <= LONGEST_LIFE.total_seconds():
        return None
    return timedelta(seconds=seconds)
