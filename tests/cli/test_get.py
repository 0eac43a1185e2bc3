"""`mesh-balance get`: one account."""

from __future__ import annotations

import json
import sys
from typing import Any

import click
import pytest

from mesh_facade import cli
from mesh_facade.testing import MockServer
from tests.cli.support import TOKEN, run


def test_get_prints_a_table_with_aligned_decimal_points(mesh: MockServer) -> None:
    mesh.answers(TOKEN, cash={"USD": "158.5", "EUR": "-12345678901234567.891", "JPY": 7})

    result = run("get", "--broker", "coinbase", input=f"{TOKEN}\n")

    assert result.exit_code == 0, result.output
    head, *rows = result.stdout.splitlines()
    assert head.split() == ["currency", "cash", "buying", "power", "crypto", "buying", "power"]
    assert [row.split()[:2] for row in rows] == [
        ["USD", "158.5"],
        ["EUR", "-12345678901234567.891"],
        ["JPY", "7"],
        ["total", "in"],
    ]
    usd, eur = (row.index(".") for row in rows[:2])
    assert usd == eur
    assert rows[2].index("7") == usd - 1


def test_get_prints_json_for_programs(mesh: MockServer) -> None:
    mesh.answers(TOKEN, cash={"USD": "0.10"}, total_cash_usd="0.10")

    result = run("get", "--broker", "coinbase", "--json", env={"MESH_AUTH_TOKEN": TOKEN})

    assert json.loads(result.stdout)["rows"][0]["cash"] == "0.10"
    assert json.loads(result.stdout)["total_cash_usd"] == "0.10"


def test_get_asks_for_the_token_on_a_terminal_without_echoing_it(
    mesh: MockServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    mesh.answers(TOKEN, cash={"USD": 1})
    prompt_options: list[dict[str, Any]] = []

    def prompt(_: str, **options: Any) -> str:
        prompt_options.append(options)
        return TOKEN

    monkeypatch.setattr(click, "prompt", prompt)
    monkeypatch.setattr(sys.modules["click.testing"]._NamedTextIOWrapper, "isatty", lambda _: True)

    assert run("get", "--broker", "coinbase").exit_code == 0
    assert prompt_options == [{"hide_input": True, "err": True}]


def test_closed_stdin_is_reported_as_a_missing_token(
    mesh: MockServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", None)

    with pytest.raises(SystemExit) as exit_:
        cli.main(["get", "--broker", "coinbase"])

    assert (exit_.value.code, mesh.calls) == (2, [])
    assert capsys.readouterr().err == (
        "error: the auth token is missing: set MESH_AUTH_TOKEN, or write the token to stdin\n"
    )


def test_empty_variable_is_reported_with_its_name(
    mesh: MockServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MESH_AUTH_TOKEN", "")

    result = run("get", "--broker", "coinbase")

    assert (result.exit_code, mesh.calls) == (2, [])
    assert result.stderr == "error: MESH_AUTH_TOKEN is empty: set it to the user's auth token\n"


@pytest.mark.parametrize(
    ("broker", "hint"),
    [
        ("coinbse", "; did you mean the broker coinbase?\n"),
        ("Coinbase", "; did you mean the broker coinbase?\n"),
        ("xyzzy", "; `mesh-balance brokers` lists the known brokers\n"),
        ("coinbase", "HTTP 400: badRequest: invalidField\n"),
    ],
)
def test_refused_request_with_an_unknown_broker_hints_at_the_known_ones(
    mesh: MockServer, broker: str, hint: str
) -> None:
    mesh.fails(TOKEN, "bad-request")

    result = run("get", "--broker", broker, input=TOKEN)

    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.count("\n") == 1
    assert result.stderr.endswith(hint)
    assert [call.fields["type"] for call in mesh.calls] == [broker]


def test_dead_token_gives_no_hint_at_the_broker(mesh: MockServer) -> None:
    mesh.fails(TOKEN, "unauthorized-token")

    result = run("get", "--broker", "coinbse", input=TOKEN)

    assert result.exit_code == 1
    assert "did you mean" not in result.stderr
    assert result.stderr.endswith(
        "; refresh the token, or if that fails let the user link the account again\n"
    )


def test_unknown_broker_is_asked_for_without_a_warning(mesh: MockServer) -> None:
    result = run("get", "--broker", "brokerOfTomorrow", input=TOKEN)

    assert (result.exit_code, result.stderr) == (0, "")
    assert [call.fields["type"] for call in mesh.calls] == ["brokerOfTomorrow"]


def test_control_characters_from_the_server_do_not_reach_the_terminal(mesh: MockServer) -> None:
    row = {"currencyCode": "\x1b[31mU\nSD", "cash": 1, "buyingPower": None}
    mesh.answers(TOKEN, content={"balances": [{**row, "cryptocurrencyBuyingPower": None}]})

    result = run("get", "--broker", "x", input=TOKEN)

    assert "\x1b" not in result.stdout
    assert result.stdout.splitlines()[1].split() == ["[31mU", "SD", "1", "-", "-"]
