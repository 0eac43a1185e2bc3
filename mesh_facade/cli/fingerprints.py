"""Recognises an account again, without storing its token.

A fingerprint is a keyed hash (HMAC-SHA256) of an account's token and broker under a random salt. It
shows whether an account is the one that an outcome was read for. It does not give the token away,
because a token is long and random: there is nothing to guess it from. Each fingerprint has a salt
of its own, so equal tokens do not have equal fingerprints.
"""

import hmac
import json
import secrets
from collections.abc import Iterable

from mesh_facade import LinkedAccount

_PREFIX = "hmac-sha256"
_SALT_BYTES = 16


def make_fingerprint(account: LinkedAccount) -> str:
    """Return a new fingerprint of an account."""
    salt = secrets.token_hex(_SALT_BYTES)
    return f"{_PREFIX}:{salt}:{_hash(_encode(account), salt)}"


def matches(fingerprint: str, account: LinkedAccount) -> bool:
    """Return True if a fingerprint was made of this account's token and broker."""
    return _is_made_of(fingerprint, _encode(account))


def find_match(fingerprints: Iterable[str], account: LinkedAccount) -> str | None:
    """Return the first fingerprint that matches an account; None if none does.

    This is faster than `matches` for each fingerprint, because the account is encoded only once.
    """
    message = _encode(account)
    for fingerprint in fingerprints:
        if _is_made_of(fingerprint, message):
            return fingerprint
    return None


def _is_made_of(fingerprint: str, message: bytes) -> bool:
    _, _, salt_and_hash = fingerprint.partition(":")
    salt, _, expected = salt_and_hash.partition(":")
    return hmac.compare_digest(_hash(message, salt).encode(), expected.encode())


def _encode(account: LinkedAccount) -> bytes:
    """Return the message that is hashed for an account."""
    return json.dumps([account.auth_token, str(account.broker)]).encode()


def _hash(message: bytes, salt: str) -> str:
    return hmac.digest(salt.encode(), message, "sha256").hex()
