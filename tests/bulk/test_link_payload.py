"""`LinkedAccount.from_link_payload`: the accounts in a payload of Mesh Link."""

from __future__ import annotations

from typing import Any

import pytest

from mesh_facade import LinkedAccount


def build_account_token(number: int = 1, **changes: Any) -> dict[str, Any]:
    return {
        "account": {"accountId": f"account-{number}", "accountName": "Main", "cash": 12.5},
        "accessToken": f"canary-token-{number}",
        "refreshToken": "canary-refresh",
        **changes,
    }


def build_payload(*account_tokens: Any, **changes: Any) -> dict[str, Any]:
    access = {
        "accountTokens": list(account_tokens),
        "brokerType": "coinbase",
        "brokerName": "Coinbase",
        "expiresInSeconds": 3600,
        "brokerBrandInfo": {"logo": "…"},
        **changes,
    }
    return {"accessToken": access}


def test_each_account_token_becomes_a_linked_account() -> None:
    accounts = LinkedAccount.from_link_payload(
        build_payload(build_account_token(1), build_account_token(2))
    )

    assert accounts == [
        LinkedAccount("canary-token-1", "coinbase", "account-1"),
        LinkedAccount("canary-token-2", "coinbase", "account-2"),
    ]


def test_unknown_fields_are_ignored() -> None:
    payload = build_payload(build_account_token(tomorrow=[1], tokenId="t"), tomorrow={})
    payload["tomorrow"] = None

    assert [account.key for account in LinkedAccount.from_link_payload(payload)] == ["account-1"]


def test_null_delayed_auth_beside_a_token_is_ignored() -> None:
    payload = build_payload(build_account_token())
    payload["delayedAuth"] = None

    assert len(LinkedAccount.from_link_payload(payload)) == 1


DELAYED = {"delayedAuth": {"refreshToken": "canary-refresh", "brokerType": "vanguard"}}


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        (DELAYED, "payload holds no access token yet, but delayedAuth"),
        ({}, "accessToken is missing"),
        ({"accessToken": None}, "accessToken is missing"),
        ({"accessToken": {}}, "accessToken.brokerType is missing"),
        (
            build_payload(build_account_token(), brokerType=None),
            "accessToken.brokerType is missing",
        ),
        (build_payload(build_account_token(), brokerType=" "), "accessToken.brokerType is empty"),
        (
            build_payload(build_account_token(), accountTokens=None),
            "accessToken.accountTokens is missing",
        ),
        (build_payload(), "accessToken.accountTokens is empty"),
        (build_payload({}), r"accessToken.accountTokens\[0\].accessToken is missing"),
        (
            build_payload(build_account_token(accessToken="")),
            r"accountTokens\[0\].accessToken is empty",
        ),
        (
            build_payload(build_account_token(), build_account_token(account=None)),
            r"\[1\].account is missing",
        ),
        (build_payload(build_account_token(account={})), r"\[0\].account.accountId is missing"),
    ],
)
def test_payload_without_a_required_field_raises_value_error(payload: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        LinkedAccount.from_link_payload(payload)
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        (None, "payload must be a mapping, .* not NoneType"),
        ('{"accessToken": "canary"}', "payload must be a mapping, .* not str"),
        ([build_payload(build_account_token())], "payload must be a mapping, .* not list"),
        ({"accessToken": "canary"}, "accessToken must be an object, not str"),
        (
            build_payload(build_account_token(), accountTokens={}),
            "accountTokens must be a list, not dict",
        ),
        (build_payload("canary"), r"accountTokens\[0\] must be an object, not str"),
        (
            build_payload(build_account_token(accessToken=7)),
            r"\[0\].accessToken must be a string, not int",
        ),
        (
            build_payload(build_account_token(account=[])),
            r"\[0\].account must be an object, not list",
        ),
        (
            build_payload(build_account_token(), brokerType=3),
            "brokerType must be a string, not int",
        ),
    ],
)
def test_payload_of_another_shape_raises_type_error(payload: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message) as caught:
        LinkedAccount.from_link_payload(payload)
    assert "canary" not in str(caught.value)
