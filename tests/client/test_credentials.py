"""The API keys: where they come from, which are refused, how they are sent."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from mesh_facade import MeshConfigurationError
from mesh_facade.credentials import Credentials
from tests.support import CLIENT_ID, CLIENT_SECRET, KEYS, OK, Script

if TYPE_CHECKING:
    from tests.conftest import Mode


def test_both_keys_are_sent_as_headers(mode: Mode) -> None:
    script = Script(OK)

    mode.client(transport=script).read()

    [sent] = script.requests
    assert (sent.headers["X-Client-Id"], sent.headers["X-Client-Secret"]) == (
        CLIENT_ID,
        CLIENT_SECRET,
    )


def test_credentials_work_as_httpx_auth_in_both_modes() -> None:
    script = Script(OK)
    keys = Credentials(CLIENT_ID, CLIENT_SECRET)

    async def get() -> None:
        async with httpx.AsyncClient(transport=script, auth=keys) as client:
            await client.get("https://mesh.example")

    asyncio.run(get())
    with httpx.Client(transport=script, auth=keys) as client:
        client.get("https://mesh.example")

    sent = [
        (each.headers["X-Client-Id"], each.headers["X-Client-Secret"]) for each in script.requests
    ]
    assert sent == [(CLIENT_ID, CLIENT_SECRET)] * 2


def test_keys_are_read_from_the_environment_when_the_client_is_built(
    mode: Mode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MESH_CLIENT_ID", "id-from-outside")
    monkeypatch.setenv("MESH_CLIENT_SECRET", "secret-from-outside")
    script = Script(OK)

    caller = mode.client(client_id=None, client_secret=None, transport=script)
    monkeypatch.delenv("MESH_CLIENT_ID")
    caller.read()

    headers = script.requests[0].headers
    assert headers["X-Client-Id"] == "id-from-outside"
    assert headers["X-Client-Secret"] == "secret-from-outside"


def test_key_arguments_override_the_environment(
    mode: Mode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MESH_CLIENT_ID", "id-from-outside")
    monkeypatch.setenv("MESH_CLIENT_SECRET", "secret-from-outside")
    script = Script(OK)

    mode.client(transport=script).read()

    assert script.requests[0].headers["X-Client-Id"] == CLIENT_ID
    assert script.requests[0].headers["X-Client-Secret"] == CLIENT_SECRET


@pytest.mark.parametrize("name", KEYS)
@pytest.mark.parametrize("value", [None, ""])
def test_missing_key_raises_with_instructions(mode: Mode, name: str, value: Any) -> None:
    match = rf"^{name} is missing: pass {name}= or set MESH_{name.upper()}$"

    with pytest.raises(MeshConfigurationError, match=match):
        mode.client(**{name: value})


@pytest.mark.parametrize("name", KEYS)
def test_empty_key_raises_although_the_environment_has_one(
    mode: Mode, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"MESH_{name.upper()}", "from-outside")

    with pytest.raises(MeshConfigurationError, match=f"^{name} is missing"):
        mode.client(**{name: ""})


@pytest.mark.parametrize("name", KEYS)
@pytest.mark.parametrize(
    "value", ["canary\n", "canary ", " canary", "can ary", "canary\r", "canäry", "canary\x7f", "\t"]
)
def test_key_with_an_invalid_character_raises_without_quoting_it(
    mode: Mode, name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(MeshConfigurationError, match=f"^{name} holds ") as given:
        mode.client(**{name: value})
    monkeypatch.setenv(f"MESH_{name.upper()}", value)
    with pytest.raises(MeshConfigurationError, match=f"^{name} holds ") as found:
        mode.client(**{name: None})

    assert "can" not in str(given.value) + str(found.value)


@pytest.mark.parametrize("name", KEYS)
@pytest.mark.parametrize("value", [5, b"canary", ["canary"], False])
def test_key_that_is_not_a_string_raises_without_quoting_it(
    mode: Mode, name: str, value: object
) -> None:
    match = f"^{name} must be a string, not {type(value).__name__}$"

    with pytest.raises(MeshConfigurationError, match=match):
        mode.client(**{name: value})
