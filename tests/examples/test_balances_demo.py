"""`make example`: the application on a mock Mesh server, with a button or command for each step."""

from __future__ import annotations

import os
import re
import runpy
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import uvicorn

from examples.balances import demo
from tests.examples.support import Browser, cash_of, running_server

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the variables that the demo sets out of other tests."""
    monkeypatch.setattr(os, "environ", os.environ.copy())


@pytest.fixture
def browser() -> Iterator[Browser]:
    with demo.demo_server(0) as (server, listener), running_server(server, listener) as browser:
        yield browser


def press(browser: Browser, button: str) -> None:
    page = browser.http.get("/demo").text
    [path] = re.findall(f'action="([^"]+)"><button>{button}</button>', page)
    answer = browser.http.post(path)
    assert (answer.status_code, answer.headers["location"]) == (303, "/demo")


def test_the_buttons_link_two_accounts_let_a_token_die_and_mend_it(browser: Browser) -> None:
    press(browser, "A user links a Coinbase account")
    press(browser, "A user links a Kraken account")
    coinbase, kraken = browser.read()
    assert cash_of(coinbase) == {"USD": "158.50", "EUR": "-102.88"}
    assert cash_of(kraken) == {"USD": "12345678901234567.89", "CHF": None}

    press(browser, "The token of the Kraken account dies")
    browser.read()
    assert "Kraken · Savings Link this account again." in browser.text()

    press(browser, "The user links the Kraken account again")
    assert "Link this account again." not in browser.text()
    coinbase, kraken = browser.read()
    assert cash_of(kraken) == {"USD": "12345678901234567.89", "CHF": "20.00"}
    assert (coinbase["last_error"], kraken["last_error"]) == (None, None)


KRAKEN_BUTTONS = ["A user links a Kraken account", "The user links the Kraken account again"]


@pytest.mark.parametrize("button", KRAKEN_BUTTONS)
def test_the_token_dies_each_time_and_each_link_mends_it(browser: Browser, button: str) -> None:
    for _ in range(2):
        press(browser, button)
        assert browser.read()[0]["last_error"] is None

        press(browser, "The token of the Kraken account dies")
        assert browser.read()[0]["reconnect_required"] is True


def test_another_users_link_does_not_mend_a_dead_token(browser: Browser) -> None:
    press(browser, "A user links a Kraken account")
    press(browser, "The token of the Kraken account dies")

    press(browser, "A user links a Coinbase account")

    assert [account["reconnect_required"] for account in browser.read()] == [True, False]


def test_the_token_button_does_no_harm_before_an_account_is_linked(browser: Browser) -> None:
    press(browser, "The token of the Kraken account dies")

    assert browser.read() == []


def test_the_demo_page_shows_the_application_in_a_frame(browser: Browser) -> None:
    answer = browser.http.get("/demo")

    assert '<iframe src="/"' in answer.text
    assert answer.headers["content-security-policy"].endswith("; frame-src 'self'")


def test_the_printed_commands_do_the_same_as_the_buttons(browser: Browser) -> None:
    text = demo.instructions(str(browser.http.base_url).rstrip("/"))
    commands = [line for line in text.splitlines() if line.startswith("curl")]

    shown = [run(command) for command in commands]

    assert len(commands) == 8
    assert [names for names in shown if names] == [
        "Coinbase · Main",
        "Coinbase · Main, Kraken · Savings",
        "Coinbase · Main, Kraken · Savings (link again)",
        "Coinbase · Main, Kraken · Savings",
    ]


def run(command: str) -> str:
    """Send what a curl command sends; return the accounts that the answer lists."""
    words = shlex.split(command)
    assert words[:2] == ["curl", "-sS"]
    assert words[2:4] == ["-X", "POST"]
    answer = httpx.post(words[-1], trust_env=False)
    assert answer.status_code in {200, 201, 303}
    if not words[-1].endswith("/balances/read"):
        return ""
    return ", ".join(
        account["name"] + (" (link again)" if account["reconnect_required"] else "")
        for account in answer.json()["accounts"]
    )


def test_a_port_that_is_taken_is_replaced_by_a_free_one() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        with demo.open_socket(port) as listener:
            assert listener.getsockname()[1] != port


@pytest.mark.parametrize("arguments", [[], ["0"]])
def test_main_prints_the_address_and_ends_quietly_on_ctrl_c(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(_: uvicorn.Server, sockets: list[socket.socket]) -> None:
        assert f":{sockets[0].getsockname()[1]}/\n" in capsys.readouterr().out
        raise KeyboardInterrupt

    monkeypatch.setattr(sys, "argv", ["demo", *arguments])
    monkeypatch.setattr(uvicorn.Server, "run", interrupt)
    monkeypatch.delitem(sys.modules, demo.__name__)  # runpy warns of a module that it finds there

    runpy.run_module(demo.__name__, run_name="__main__")


def test_the_program_serves_the_page_until_it_is_interrupted() -> None:
    program = [sys.executable, "-m", "examples.balances.demo", "0"]
    with subprocess.Popen(program, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        address = process.stdout.readline().removeprefix("The application: ").strip()
        transport = httpx.HTTPTransport(retries=5)  # it prints just before it answers
        with httpx.Client(transport=transport, trust_env=False) as http:
            assert "No account is linked yet." in http.get(address, timeout=30).text
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
