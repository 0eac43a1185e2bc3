"""`get_account_balance`: the request that is sent, and arguments that cannot be sent."""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from mesh_facade import BrokerType, __version__
from tests.support import OK, TOKEN, Script, response

if TYPE_CHECKING:
    from tests.conftest import Clock, Mode


def test_a_call_sends_one_request_with_token_and_broker(mode: Mode) -> None:
    script = Script(OK)

    balance = mode.client(transport=script).read(TOKEN, "coinbase")

    [sent] = script.requests
    assert (sent.method, sent.fields) == ("POST", {"authToken": TOKEN, "type": "coinbase"})
    assert sent.headers["Content-Type"] == "application/json"
    assert sent.headers["Accept"] == "application/json"
    assert sent.headers["Accept-Encoding"] == "gzip"
    assert sent.headers["User-Agent"] == (
        f"mesh-facade/{__version__} python/{platform.python_version()} httpx/{httpx.__version__}"
    )
    assert str(balance.cash("USD")) == "158.5"


@pytest.mark.parametrize("broker", [BrokerType.COINBASE, BrokerType.COINBASE.value])
def test_broker_may_be_an_enum_member_or_its_value(mode: Mode, broker: BrokerType | str) -> None:
    script = Script(OK)

    mode.client(transport=script).read(TOKEN, broker)

    assert script.requests[0].fields["type"] == BrokerType.COINBASE.value


@pytest.mark.parametrize("broker", ["brokerOfTomorrow", "Kraken OAuth", "ß🏦"])
def test_unknown_broker_is_sent_unchanged(mode: Mode, broker: str) -> None:
    script = Script(OK)

    mode.client(transport=script).read("tökén 🔑", broker)

    assert script.requests[0].fields == {"authToken": "tökén 🔑", "type": broker}


@pytest.mark.parametrize("name", ["auth_token", "broker"])
@pytest.mark.parametrize(
    ("value", "error_class", "problem"),
    [
        ("", ValueError, "is empty"),
        (" \t\n", ValueError, "is empty"),
        ("canary\ud800", ValueError, "is not Unicode text"),
        (None, TypeError, "must be a string, not NoneType"),
        (5, TypeError, "must be a string, not int"),
        (b"canary", TypeError, "must be a string, not bytes"),
        (["canary"], TypeError, "must be a string, not list"),
    ],
)
def test_invalid_argument_raises_before_a_request_is_sent(
    mode: Mode, name: str, value: Any, error_class: type[Exception], problem: str
) -> None:
    script = Script(OK)
    arguments = {"auth_token": TOKEN, "broker": "coinbase", name: value}

    with pytest.raises(error_class, match=f"^{name} {problem}") as caught:
        mode.client(transport=script).read(**arguments)

    assert "canary" not in str(caught.value)
    assert script.requests == []


def test_arguments_may_be_passed_by_name(mode: Mode) -> None:
    client = mode.client(transport=Script(OK)).client

    assert mode.run(client.get_account_balance(auth_token=TOKEN, broker="coinbase"))


@pytest.mark.parametrize("name", ["auth_token", "broker"])
@pytest.mark.parametrize(
    "value", ["canary\n", "\ncanary", "canary\r\n", "can\tary", "canary\x00", "canary\u2028"]
)
def test_argument_with_a_control_character_raises_value_error(
    mode: Mode, name: str, value: str
) -> None:
    script = Script(OK)
    arguments = {"auth_token": TOKEN, "broker": "coinbase", name: value}

    with pytest.raises(
        ValueError, match=rf"^{name} holds a line break .*: strip\(\) it where it is read$"
    ) as caught:
        mode.client(transport=script).read(**arguments)

    assert "can" not in str(caught.value).removeprefix(name)
    assert script.requests == []


def test_argument_with_an_invisible_character_is_sent_unchanged(mode: Mode) -> None:
    script = Script(OK)

    mode.client(transport=script).read("to\u200bken", "bro\u00adker")

    assert script.requests[0].fields == {"authToken": "to\u200bken", "type": "bro\u00adker"}


def test_user_agent_is_sent_with_each_attempt_of_each_client(mode: Mode, clock: Clock) -> None:
    script = Script(response(500, b""), OK)
    caller = mode.client(transport=script)

    caller.read()
    caller.with_options(timeout=1).read()

    expected = (
        f"mesh-facade/{__version__} python/{platform.python_version()} httpx/{httpx.__version__}"
    )
    agents = [request.headers.get_list("User-Agent") for request in script.requests]
    assert agents == [[expected]] * 3
    assert len(clock.pauses) == 1
