"""The command line, as people and programs meet it, over a mock Mesh server."""

from __future__ import annotations

import contextlib
import csv
import functools
import json
import os
import random
import runpy
import signal
import socket
import subprocess
import sys
import threading
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from mesh_facade import AsyncMeshClient, BrokerType, MeshConnectionError, RateLimitError, cli
from mesh_facade.testing import MockServer
from tests.conftest import Serve

TOKEN = "a-token-that-nobody-else-may-see"
KILLS, ACCOUNTS = (
    int(os.environ.get(name, few)) for name, few in (("KILLS", 3), ("ACCOUNTS", 300))
)
PROGRAM = [sys.executable, "-c", "from mesh_facade.cli import main; main()"]


@pytest.fixture(scope="module")
def shared() -> Any:
    """Serve one mock server for all tests here: each has tokens of its own."""
    with MockServer() as mock_server:
        yield mock_server


@pytest.fixture
def mesh(shared: MockServer, monkeypatch: pytest.MonkeyPatch) -> MockServer:
    """Point the command line at a mock server that knows nothing yet."""
    for name, value in shared.environment.items():
        monkeypatch.setenv(name, value)
    for name in ("MESH_AUTH_TOKEN", "MESH_ENVIRONMENT", "NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    shared._told.clear()
    shared.calls.clear()
    return shared


@pytest.fixture
def in_process(mesh: MockServer, monkeypatch: pytest.MonkeyPatch) -> MockServer:
    """Answer without a socket: coverage loses sight of what stands above a loop that waits."""
    client = functools.partial(AsyncMeshClient, transport=mesh.transport())
    monkeypatch.setattr(cli, "AsyncMeshClient", client)
    return mesh


def run(*arguments: str, **options: Any) -> Result:
    return CliRunner().invoke(cli.main, list(arguments), **options)


def write_accounts(path: Path, count: int) -> Path:
    lines = [f"{TOKEN}-{number},coinbase,account-{number}" for number in range(count)]
    path.write_text("\n".join(["auth_token,broker,key", *lines, ""]))
    return path


def read_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


# --- get ----------------------------------------------------------------------------------------


def test_get_prints_a_table_whose_decimal_points_stand_below_each_other(mesh: MockServer) -> None:
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


def test_get_asks_for_the_token_on_a_terminal_without_showing_it(
    mesh: MockServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    mesh.answers(TOKEN, cash={"USD": 1})
    asked: list[dict[str, Any]] = []

    def prompt(_: str, **options: Any) -> str:
        asked.append(options)
        return TOKEN

    monkeypatch.setattr(click, "prompt", prompt)
    monkeypatch.setattr(sys.modules["click.testing"]._NamedTextIOWrapper, "isatty", lambda _: True)

    assert run("get", "--broker", "coinbase").exit_code == 0
    assert asked == [{"hide_input": True, "err": True}]


def test_a_closed_stdin_holds_no_token(
    mesh: MockServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", None)

    with pytest.raises(SystemExit) as exit_:
        cli.main(["get", "--broker", "coinbase"])

    assert (exit_.value.code, mesh.calls) == (2, [])
    assert capsys.readouterr().err.startswith("error: auth_token")


def test_what_a_server_says_neither_ends_the_line_nor_steers_the_terminal(mesh: MockServer) -> None:
    said = {"currencyCode": "\x1b[31mU\nSD", "cash": 1, "buyingPower": None}
    mesh.answers(TOKEN, content={"balances": [{**said, "cryptocurrencyBuyingPower": None}]})

    result = run("get", "--broker", "x", input=TOKEN)

    assert "\x1b" not in result.stdout
    assert result.stdout.splitlines()[1].split() == ["[31mU", "SD", "1", "-", "-"]


@pytest.mark.parametrize(
    ("failure", "exit_code", "advice"),
    [
        ("unauthorized-token", 1, "link the account again"),
        ("server-failure-200", 1, "try again later"),
        ("rate-limited", 1, "try again later"),
        ("permission-denied", 1, "HTTP 403"),
        ("not-json", 1, "cannot be used"),
        ("reset", 4, "`mesh-balance doctor` tells more"),
    ],
)
def test_a_failure_is_one_line_and_an_exit_code(
    mesh: MockServer, monkeypatch: pytest.MonkeyPatch, failure: str, exit_code: int, advice: str
) -> None:
    monkeypatch.setattr(time, "sleep", lambda _: None)
    mesh.fails(TOKEN, failure)

    result = run("get", "--broker", "coinbase", input=TOKEN)

    assert result.exit_code == exit_code
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert advice in result.stderr
    assert TOKEN not in result.stderr


def test_refused_keys_are_exit_code_three(mesh: MockServer) -> None:
    result = run(
        "get", "--broker", "coinbase", input=TOKEN, env={"MESH_CLIENT_SECRET": "another-secret"}
    )

    assert mesh.calls
    assert result.exit_code == 3
    assert "doctor" in result.stderr
    assert "another-secret" not in result.output


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["get"], "--broker"),
        (["get", "--broker", "x", "--token", "t"], "--token"),
        (["get", "--broker", "x"], "auth_token is empty"),
        (["get", "--broker", "x", "--environment", "moon"], "environment must be one of"),
        (["bulk", "nowhere.csv", "-o", "x"], "nowhere.csv"),
        (["nothing"], "nothing"),
    ],
)
def test_wrong_usage_is_exit_code_two(mesh: MockServer, arguments: list[str], told: str) -> None:
    result = run(*arguments)

    assert (result.exit_code, mesh.calls) == (2, [])
    assert told in result.stderr


# --- brokers, doctor, mock server, help ------------------------------------------------------------


def test_brokers_lists_what_the_spec_knows() -> None:
    assert run("brokers").stdout.split() == [broker.value for broker in BrokerType]
    assert json.loads(run("brokers", "--search", "COINB", "--json").stdout) == [
        broker.value for broker in BrokerType if "coinb" in broker.value.lower()
    ]


def test_brokers_complete_in_the_shell() -> None:
    completed = cli._complete_broker(None, None, "coinb")

    assert "coinbase" in completed
    assert all(name.startswith("coinb") for name in completed)


def test_doctor_finds_nothing_wrong_and_sends_no_key(mesh: MockServer) -> None:
    result = run("doctor")

    assert result.exit_code == 0
    assert [line[:2] for line in result.stdout.splitlines()] == ["ok", "ok"]
    assert [
        (call.method, dict(call.headers).keys() & mesh._keys.keys()) for call in mesh.calls
    ] == [("HEAD", set())]


def test_doctor_says_what_is_missing_and_goes_on(
    mesh: MockServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MESH_CLIENT_SECRET")

    result = run("doctor", "--json")

    assert result.exit_code == 2
    keys, connection = json.loads(result.stdout)
    assert (keys["ok"], connection["ok"]) == (False, True)
    assert "MESH_CLIENT_SECRET" in keys["told"]
    assert mesh.client_id not in result.output


def test_doctor_names_a_host_that_cannot_be_reached(
    mesh: MockServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MESH_BASE_URL", "http://127.0.0.1:1")

    result = run("doctor")

    assert mesh.calls == []
    assert result.exit_code == 4
    assert "cannot reach 127.0.0.1 (ConnectError" in result.stdout


def test_doctor_names_the_proxy_without_its_password(
    mesh: MockServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MESH_BASE_URL", "https://localhost:1")
    monkeypatch.setenv("HTTPS_PROXY", "http://user:a-password@127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", "")

    result = run("doctor")

    assert mesh.calls == []
    assert "through the proxy 127.0.0.1" in result.stdout
    assert "a-password" not in result.output


def test_doctor_says_what_a_proxy_needs(mesh: MockServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MESH_BASE_URL", "https://localhost:1")
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", "")
    monkeypatch.setitem(sys.modules, "socksio", None)

    result = run("doctor")

    assert (result.exit_code, mesh.calls) == (2, [])
    keys, connection = result.stdout.splitlines()
    assert keys.startswith("ok")  # the client itself needs no package for SOCKS
    assert "httpx[socks]" in connection


def test_doctor_goes_on_where_the_certificates_cannot_be_read(
    mesh: MockServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MESH_BASE_URL", "https://localhost:1")
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere.pem")

    result = run("doctor", "--json")

    assert (result.exit_code, mesh.calls) == (2, [])
    assert [each["ok"] for each in json.loads(result.stdout)] == [False, False]
    assert "SSL_CERT_FILE" in json.loads(result.stdout)[0]["told"]


@pytest.mark.parametrize(
    ("date", "exit_code"), [("Wed, 21 Oct 2015 07:28:00 GMT", 2), ("tomorrow", 0)]
)
def test_doctor_compares_the_clocks(
    mesh: MockServer, serve: Serve, monkeypatch: pytest.MonkeyPatch, date: str, exit_code: int
) -> None:
    def answer(peer: Any) -> None:
        peer.receive()
        peer.answer(b"", f"Date: {date}")

    monkeypatch.setenv("MESH_BASE_URL", serve(answer).url)

    result = run("doctor")

    assert mesh.calls == []
    assert result.exit_code == exit_code
    assert ("s ahead of" in result.stdout) is bool(exit_code)


def test_mock_server_prints_what_to_set_serves_and_ends_when_interrupted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[str] = []
    monkeypatch.setattr(click, "echo", told.append)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    client = MockServer().client(base_url=url, transport=None, max_attempts=1)
    seen: list[object] = []

    def call() -> None:
        """Read as a program beside it would, then press Ctrl-C."""
        try:
            while not seen:
                with contextlib.suppress(MeshConnectionError):  # it does not listen yet
                    seen.append(client.get_account_balance("a-token", "coinbase").cash("USD"))
            while len(told) < 3:
                time.sleep(0.001)
            with pytest.raises(RateLimitError) as caught:
                client.get_account_balance("rate-limited", "coinbase")
            seen.append(type(caught.value))
        finally:
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    caller = threading.Thread(target=call, daemon=True)
    caller.start()
    with client:
        result = run("mock-server", "--port", str(port))
        caller.join()

    assert (result.exit_code, seen) == (0, [Decimal("158.5"), RateLimitError])
    assert told == [
        "export MESH_CLIENT_ID=mock-client-id",
        "export MESH_CLIENT_SECRET=mock-client-secret",
        f"export MESH_BASE_URL={url}",
    ]


def test_mock_server_refuses_a_port_that_it_cannot_have(shared: MockServer) -> None:
    for port, told in (
        (shared.url.rpartition(":")[2], "in use"),
        ("70000", "--port"),
        ("a", "'a'"),
    ):
        result = run("mock-server", "--port", port)
        assert result.exit_code == 2
        assert told in result.stderr


def test_help_tells_the_exit_codes_and_loads_neither_rich_nor_the_mock_server() -> None:
    program = (
        "import sys; from click.testing import CliRunner; from mesh_facade.cli import main;"
        "sys.modules.pop('rich', None);"
        "print(CliRunner().invoke(main, ['--help']).output);"
        "print({'mesh_facade.testing', 'openapi_core'} & sys.modules.keys())"
    )

    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    assert "3 keys refused" in done.stdout
    assert done.stdout.rstrip().endswith("set()")


def test_without_its_packages_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "click", None)

    with pytest.raises(SystemExit) as caught:
        runpy.run_path(str(cli.__file__))

    assert str(caught.value) == (
        "error: mesh-balance needs more packages: pip install 'mesh-facade[cli]'"
    )


# --- bulk ---------------------------------------------------------------------------------------


def test_bulk_writes_an_outcome_for_each_account(in_process: MockServer, tmp_path: Path) -> None:
    accounts, output = write_accounts(tmp_path / "accounts.csv", 5), tmp_path / "balances.jsonl"
    in_process.answers(f"{TOKEN}-1", cash={"USD": "12345678901234567.89"})
    in_process.fails(f"{TOKEN}-2", "unauthorized-token")

    result = run("bulk", str(accounts), "-o", str(output))

    assert result.exit_code == 1
    assert result.stderr == f"1 of 5 accounts failed: see {output}\n"
    told = {line["key"]: line for line in read_lines(output)}
    assert sorted(told) == [f"account-{number}" for number in range(5)]
    assert told["account-1"]["rows"][0]["cash"] == "12345678901234567.89"
    assert told["account-1"]["error"] is None
    assert (told["account-2"]["error"], told["account-2"]["rows"]) == ("BadRequestError", None)
    assert told["account-2"]["error_type"] == "unauthorizedToken"
    assert (output.stat().st_mode & 0o777) == 0o600
    assert TOKEN not in output.read_text()


def test_bulk_takes_json_lines_and_gives_csv(in_process: MockServer, tmp_path: Path) -> None:
    accounts, output = tmp_path / "accounts.jsonl", tmp_path / "balances.csv"
    records = [{"auth_token": f"{TOKEN}-{number}", "broker": "coinbase"} for number in range(3)]
    accounts.write_text("".join(json.dumps(record) + "\n" for record in records))
    in_process.answers(f"{TOKEN}-1", cash={"USD": "1.50"}, total_cash_usd="1.50")

    assert run("bulk", str(accounts), "-o", str(output)).exit_code == 0

    with output.open(newline="") as file:
        told = {line["key"]: line for line in csv.DictReader(file)}
    assert sorted(told) == ["1", "2", "3"]
    assert told["2"]["total_cash_usd"] == "1.50"
    assert json.loads(told["2"]["rows"])[0]["cash"] == "1.50"
    assert run("bulk", str(accounts), "-o", str(output)).exit_code == 0
    assert len(in_process.calls) == 3


def test_bulk_reads_what_a_spreadsheet_saves(mesh: MockServer, tmp_path: Path) -> None:
    accounts, output = tmp_path / "accounts.csv", tmp_path / "balances.jsonl"
    accounts.write_bytes(b"\xef\xbb\xbfbroker,auth_token\r\ncoinbase,some-token\r\n")

    assert run("bulk", str(accounts), "-o", str(output)).exit_code == 0
    assert [line["key"] for line in read_lines(output)] == ["1"]
    assert len(mesh.calls) == 1


def test_bulk_takes_zero_for_a_key_and_a_null_for_none(mesh: MockServer, tmp_path: Path) -> None:
    accounts, output = tmp_path / "accounts.jsonl", tmp_path / "balances.jsonl"
    keys = [0, 1, None]
    records = [{"auth_token": TOKEN, "broker": "coinbase", "key": key} for key in keys]
    accounts.write_text("".join(json.dumps(record) + "\n" for record in records))

    assert run("bulk", str(accounts), "-o", str(output)).exit_code == 0
    assert sorted(line["key"] for line in read_lines(output)) == ["0", "1", "3"]
    assert len(mesh.calls) == 3


@pytest.mark.parametrize("suffix", ["jsonl", "csv"])
@pytest.mark.parametrize("cut", [0, 1, 40])
def test_bulk_goes_on_where_it_was_and_repairs_the_last_line(
    mesh: MockServer, tmp_path: Path, suffix: str, cut: int
) -> None:
    accounts, output = write_accounts(tmp_path / "accounts.csv", 6), tmp_path / f"out.{suffix}"
    run("bulk", str(accounts), "-o", str(output))
    whole = output.read_bytes()
    lines = whole.splitlines(keepends=True)
    output.write_bytes(b"".join(lines[:-2]) + lines[-2][:cut])
    mesh.calls.clear()

    assert run("bulk", str(accounts), "-o", str(output)).exit_code == 0

    assert len(mesh.calls) == 2
    assert len(output.read_bytes().splitlines()) == len(lines)
    assert output.read_bytes().startswith(b"".join(lines[:-2]))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "holds no account"),
        ("auth_token,broker\n", "holds no account: CSV or JSON lines are expected"),
        ("token,broker\nt,coinbase\n", "record 1: it needs auth_token and broker"),
        ("auth_token,broker\nt,coinbase\nt\n", "record 2: it needs"),
        ("auth_token,broker,key\nt,b,1\nt,b,1\n", "record 2: its key '1' was there before"),
        ('{"auth_token": "t", "broker": "b"}\n{"auth_tok\n', "record 2: it needs"),
        ('auth_token,broker,key\nt,b,"1\n2"\n', "record 1: a line ends within it"),
        ('{"auth_token": "t", "broker": "b\\nc"}\n', "record 1: a line ends within it"),
        ('{"auth_token": "t", "broker": "b\\rc"}\n', "record 1: a line ends within it"),
        ('{"auth_token": "t", "broker": 1}\n', "record 1: it needs"),
        ('{"auth_token": "t", "broker": "b"}\n[]\n', "record 2: it needs"),
        ('{"auth_token": ' + "[" * 100_000, "record 1: it needs"),
        ('{"auth_token": "t", "broker": "b", "key": "\\ud800"}\n', "surrogates not allowed"),
        (b"auth_token,broker\n\xff,b\n", "accounts.csv: 'utf-8' codec can't decode"),
    ],
)
def test_bad_input_is_one_line_before_anything_is_read_or_written(
    mesh: MockServer, tmp_path: Path, text: str | bytes, told: str
) -> None:
    accounts, output = tmp_path / "accounts.csv", tmp_path / "balances.jsonl"
    accounts.write_bytes(text if isinstance(text, bytes) else text.encode())

    result = run("bulk", str(accounts), "-o", str(output))

    assert (result.exit_code, mesh.calls, output.exists()) == (2, [], False)
    assert told in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("name", "text"),
    [
        *(
            ("x.jsonl", text)
            for text in ('{"a": 1}\n', "hello\n", "[]\n", '{"a": 1}', "hello", "[]")
        ),
        *(("x.csv", text) for text in ("a,b\n", "a,b", "keys", "a\rb\n")),
        ("x.jsonl", "[" * 100_000),
    ],
)
def test_a_file_that_is_no_output_is_left_alone(
    mesh: MockServer, tmp_path: Path, name: str, text: str
) -> None:
    accounts, output = write_accounts(tmp_path / "accounts.csv", 2), tmp_path / name
    output.write_text(text)

    result = run("bulk", str(accounts), "-o", str(output))

    assert (result.exit_code, output.read_bytes(), mesh.calls) == (2, text.encode(), [])
    assert "line 1 is no outcome: choose another output" in result.stderr


@pytest.mark.parametrize("end", ["", "\n"])
def test_an_output_that_is_the_input_is_left_alone(
    mesh: MockServer, tmp_path: Path, end: str
) -> None:
    accounts = tmp_path / "accounts.jsonl"
    text = json.dumps({"key": "1", "auth_token": TOKEN, "broker": "coinbase"}) + end
    accounts.write_text(text)

    result = run("bulk", str(accounts), "-o", str(accounts))

    assert (result.exit_code, accounts.read_text(), mesh.calls) == (2, text, [])
    assert "accounts.jsonl is the input: choose another output" in result.stderr


@pytest.mark.parametrize("suffix", ["jsonl", "csv"])
def test_an_output_that_was_cut_off_anywhere_is_repaired(
    mesh: MockServer, tmp_path: Path, suffix: str
) -> None:
    accounts, output = write_accounts(tmp_path / "accounts.csv", 1), tmp_path / f"out.{suffix}"
    run("bulk", str(accounts), "-o", str(output))
    whole = output.read_bytes()

    for cut in range(0, len(whole), 7):
        output.write_bytes(whole[:cut])
        assert run("bulk", str(accounts), "-o", str(output)).exit_code == 0
        assert output.read_bytes().count(b"\n") == whole.count(b"\n")
    assert mesh.calls


def test_accounts_cannot_come_from_a_pipe(mesh: MockServer, tmp_path: Path) -> None:
    os.mkfifo(pipe := tmp_path / "accounts.jsonl")
    writer = os.open(pipe, os.O_RDWR)
    os.write(writer, b'{"auth_token": "t", "broker": "b"}\n')

    result = run("bulk", str(pipe), "-o", str(tmp_path / "out.jsonl"))

    os.close(writer)
    assert (result.exit_code, mesh.calls) == (2, [])
    assert result.stderr == f"error: {pipe}: underlying stream is not seekable\n"


def test_an_output_that_cannot_be_written_is_one_line(mesh: MockServer, tmp_path: Path) -> None:
    accounts = write_accounts(tmp_path / "accounts.csv", 2)

    result = run("bulk", str(accounts), "-o", str(tmp_path / "nowhere" / "x.jsonl"))

    assert (result.exit_code, mesh.calls) == (2, [])
    assert "No such file or directory" in result.stderr


def test_refused_keys_end_the_run_and_are_no_account_s_outcome(
    in_process: MockServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    accounts, output = write_accounts(tmp_path / "accounts.csv", 50), tmp_path / "balances.jsonl"
    right = os.environ["MESH_CLIENT_SECRET"]
    monkeypatch.setenv("MESH_CLIENT_SECRET", "another-secret")

    assert run("bulk", str(accounts), "-o", str(output)).exit_code == 3
    assert output.read_text() == ""

    monkeypatch.setenv("MESH_CLIENT_SECRET", right)
    assert run("bulk", str(accounts), "-o", str(output)).exit_code == 0
    assert len(read_lines(output)) == 50
    assert len(in_process.calls) < 100


def test_all_accounts_unreachable_is_exit_code_four(
    in_process: MockServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    accounts, output = write_accounts(tmp_path / "accounts.csv", 3), tmp_path / "balances.jsonl"
    for number in range(3):
        in_process.fails(f"{TOKEN}-{number}", "reset")
    monkeypatch.setattr("mesh_facade.engine.retries.random.uniform", lambda _, __: 0.0)

    assert run("bulk", str(accounts), "-o", str(output)).exit_code == 4
    assert {line["error"] for line in read_lines(output)} == {"MeshConnectionError"}


def test_bulk_goes_on_with_an_output_of_very_many_rows(mesh: MockServer, tmp_path: Path) -> None:
    accounts, output = write_accounts(tmp_path / "accounts.csv", 1), tmp_path / "out.csv"
    mesh.answers(f"{TOKEN}-0", cash={f"C{number}": 1 for number in range(3_000)})
    run("bulk", str(accounts), "-o", str(output))
    assert len(output.read_bytes()) > 131_072  # what Python's own reader takes for one field

    assert run("bulk", str(accounts), "-o", str(output)).exit_code == 0
    assert len(mesh.calls) == 1


def test_two_runs_do_not_write_into_one_output(mesh: MockServer, tmp_path: Path) -> None:
    accounts, output = write_accounts(tmp_path / "accounts.csv", 2), tmp_path / "balances.jsonl"

    with output.open("a+b") as file:
        cli._Results(file, output)
        result = run("bulk", str(accounts), "-o", str(output))

    assert (result.exit_code, mesh.calls) == (2, [])
    assert "is being written by another run" in result.stderr


def bulk_process(accounts: Path, output: Path) -> subprocess.Popen[str]:
    command = [*PROGRAM, "bulk", str(accounts), "-o", str(output), "--concurrency", "5"]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def wait_for_lines(output: Path, count: int) -> None:
    end = time.monotonic() + 20
    while time.monotonic() < end:
        if output.exists() and output.read_bytes().count(b"\n") >= count:
            return
        time.sleep(0.005)
    raise AssertionError(f"{output} has not {count} lines after 20 s")


def test_ctrl_c_says_how_to_go_on(mesh: MockServer, tmp_path: Path) -> None:
    accounts, output = write_accounts(tmp_path / "accounts.csv", 20), tmp_path / "balances.jsonl"
    mesh.answers(f"{TOKEN}-19", delay=60)
    process = bulk_process(accounts, output)
    wait_for_lines(output, 19)

    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=20)

    assert process.returncode == 130
    assert stderr == "interrupted: the same command goes on from here\n"
    assert len(read_lines(output)) == 19


def test_an_interrupted_run_keeps_what_it_has_written(
    in_process: MockServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    accounts, output = write_accounts(tmp_path / "accounts.csv", 9), tmp_path / "balances.jsonl"
    add = cli._Results.add

    def add_and_interrupt(results: Any, outcome: Any) -> None:
        add(results, outcome)
        if len(results.done) == 4:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(cli._Results, "add", add_and_interrupt)
        result = run("bulk", str(accounts), "-o", str(output))

    assert result.exit_code == 130
    assert result.stderr == "interrupted: the same command goes on from here\n"
    assert len(read_lines(output)) == 4
    assert run("bulk", str(accounts), "-o", str(output)).exit_code == 0
    assert len(read_lines(output)) == 9
    assert in_process.calls


def test_kill_nine_at_any_moment_loses_and_doubles_no_account(
    mesh: MockServer, tmp_path: Path
) -> None:
    accounts = write_accounts(tmp_path / "accounts.csv", ACCOUNTS)
    mesh.answers(f"{TOKEN}-0", cash={"USD": 1})
    for kill in range(KILLS):
        output = tmp_path / f"balances-{kill}.jsonl"
        process = bulk_process(accounts, output)
        wait_for_lines(output, random.Random(kill).randrange(ACCOUNTS - 20))  # noqa: S311 — a moment
        process.kill()
        process.communicate(timeout=20)
        cut_off = output.read_bytes().count(b"\n")

        result = run("bulk", str(accounts), "-o", str(output))

        assert result.exit_code == 0, result.output
        assert cut_off < ACCOUNTS
        keys = [line["key"] for line in read_lines(output)]
        assert len(keys) == len(set(keys)) == ACCOUNTS


def test_a_terminal_gets_progress(mesh: MockServer, tmp_path: Path) -> None:
    accounts, output = write_accounts(tmp_path / "accounts.csv", 3), tmp_path / "balances.jsonl"

    result = run("bulk", str(accounts), "-o", str(output), env={"FORCE_COLOR": "1"})

    assert mesh.calls
    assert "3/3" in result.stderr
    assert "0 failed" in result.stderr
