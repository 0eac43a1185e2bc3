"""The command line `mesh-balance`: balances for people and for programs.

Needs the extra `cli`. Keys and environment come from the same variables as in `MeshClient`; secrets
are never arguments, for other users of a machine see those.
"""

import asyncio
import collections
import contextlib
import csv
import datetime as dt
import email.utils
import io
import json
import os
import sys
import time
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import attrs
import httpx
from mesh_connect_client.spec import SERVERS

from mesh_facade import (
    AccountBalance,
    AsyncMeshClient,
    AuthenticationError,
    BrokerType,
    LinkedAccount,
    MeshAPIError,
    MeshClient,
    MeshConfigurationError,
    MeshConnectionError,
    MeshError,
    Outcome,
    RateLimitError,
    ServerError,
    _configuration,
)

try:
    import click
except ImportError:
    sys.exit("error: mesh-balance needs more packages: pip install 'mesh-facade[cli]'")

if TYPE_CHECKING:
    from rich.progress import Progress

EPILOG = """\b
Keys:       MESH_CLIENT_ID, MESH_CLIENT_SECRET; also MESH_ENVIRONMENT, MESH_BASE_URL.
Exit codes: 0 fine, 1 some accounts failed, 2 usage, 3 keys refused, 4 unreachable,
            130 interrupted.
Completion: eval "$(_MESH_BALANCE_COMPLETE=bash_source mesh-balance)", in the shell's start-up
            file; zsh_source and fish_source likewise.
"""
MOST_SECONDS_AHEAD = 60
UNREACHABLE = ("MeshConnectionError", "MeshTimeoutError", "MeshTLSError")
COLUMNS = (
    *("key", "broker", "total_cash_usd", "total_buying_power_usd", "rows"),
    *("error", "http_status", "error_type", "message", "attempts", "elapsed"),
)


class _Commands(click.Group):
    """Commands whose failures are one line on stderr, and an exit code."""

    def invoke(self, ctx: click.Context) -> None:
        code = 0
        try:
            super().invoke(ctx)
        except (MeshError, ValueError, TypeError, OSError, csv.Error) as error:
            code, advice = _judge(error)
            click.echo(_one_line(f"error: {error}{advice and '; '}{advice}"), err=True)
        ctx.exit(code)


def _judge(error: Exception) -> tuple[int, str]:
    """Return the exit code, and what to do."""
    if isinstance(error, MeshAPIError) and error.reconnect_required:
        return 1, "let the user link the account again"
    if isinstance(error, RateLimitError | ServerError):
        return 1, "try again later"
    codes = {MeshConnectionError: 4, MeshConfigurationError: 2, AuthenticationError: 3}
    for kind, code in codes.items():
        if isinstance(error, kind):
            return code, "`mesh-balance doctor` tells more"
    return (1 if isinstance(error, MeshError) else 2), ""


def _are_keys_refused(error: Exception | None) -> bool:
    return isinstance(error, AuthenticationError) and not error.reconnect_required


def _one_line(text: str) -> str:
    """Keep a server's words from ending the line, or from steering the terminal."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())


def _complete_broker(_: object, __: object, incomplete: str) -> list[str]:
    return [broker.value for broker in BrokerType if broker.value.startswith(incomplete)]


_environment = click.option(
    "--environment", metavar="NAME", help="production or sandbox; else MESH_ENVIRONMENT."
)
_as_json = click.option("--json", "as_json", is_flag=True, help="For programs: JSON on stdout.")


@click.group(cls=_Commands, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="mesh-facade")
def main() -> None:
    """Read balances of linked accounts through Mesh."""


@main.command()
@click.option("--broker", required=True, shell_complete=_complete_broker, help="As Mesh named it.")
@_environment
@_as_json
def get(broker: str, environment: str | None, *, as_json: bool) -> None:
    """Read the balance of one account.

    The user's auth token is MESH_AUTH_TOKEN, or is asked for, or is the first line of stdin.
    """
    token = os.environ.get("MESH_AUTH_TOKEN")
    if token is None and sys.stdin.isatty():
        token = click.prompt("Auth token", hide_input=True, err=True)
    token = sys.stdin.readline().strip() if token is None else token
    with MeshClient(environment=environment) as mesh:
        balance = mesh.get_account_balance(token, broker)
    if as_json:
        click.echo(json.dumps(balance.to_dict()))
    else:
        _show(balance)


def _show(balance: AccountBalance) -> None:
    heads = ["currency", "cash", "buying power", "crypto buying power"]
    rows = [[*attrs.astuple(row)] for row in balance.rows]
    totals = [balance.total_cash_usd, balance.total_buying_power_usd]
    _print_table(heads, [*rows, ["total in USD", *totals, None]])


def _print_table(heads: list[str], rows: list[list[Any]]) -> None:
    from rich.console import Console  # noqa: PLC0415 — takes longer than all of --help
    from rich.table import Table  # noqa: PLC0415 — the same

    table = Table(box=None, pad_edge=False)
    for head in heads:
        table.add_column(head, header_style="bold")
    columns = [_align([row[index] for row in rows]) for index in range(len(heads))]
    for cells in zip(*columns, strict=True):
        table.add_row(*cells)
    # As wide as it must be: a digit that is cut off makes another amount.
    Console(width=10_000, markup=False, highlight=False).print(table)


def _align(values: list[Any]) -> list[str]:
    """Write values so that decimal points stand below each other; None, which is not 0, as `-`."""
    texts = [
        format(value, "f") if isinstance(value, Decimal) else _one_line(str(value or "-"))
        for value in values
    ]
    if not any(isinstance(value, Decimal) for value in values):
        return texts
    heads = [len(text.partition(".")[0]) for text in texts]
    return [" " * (max(heads) - head) + text for text, head in zip(texts, heads, strict=True)]


@main.command()
@click.option("--search", default="", help="Only those whose name holds this.")
@_as_json
def brokers(search: str, *, as_json: bool) -> None:
    """List the brokers that the spec knows; Mesh may know more."""
    found = [each.value for each in BrokerType if search.lower() in each.value.lower()]
    click.echo(json.dumps(found) if as_json else "\n".join(found))


@main.command("stand-in")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Default: a free one.")
def stand_in(port: int) -> None:
    """Serve a stand-in for Mesh on this machine; it prints the variables to set."""
    from mesh_facade import testing  # noqa: PLC0415 — it needs an extra of its own

    testing.main(["--port", str(port)])


# --- doctor -------------------------------------------------------------------------------------


@main.command()
@_environment
@_as_json
def doctor(environment: str | None, *, as_json: bool) -> None:
    """Check keys, address, proxy, connection and clock; no key leaves this machine."""
    results: list[dict[str, Any]] = []
    code = 0
    for name, check in (("keys", _check_keys), ("connection", _check_connection)):
        try:
            told, is_fine = check(environment), True
        except MeshError as error:
            told, is_fine, code = str(error), False, max(code, _judge(error)[0])
        results.append({"check": name, "ok": is_fine, "told": _one_line(told)})
    if as_json:
        click.echo(json.dumps(results))
    else:
        for result in results:
            click.echo(f"{'ok' if result['ok'] else 'no'}  {result['check']}: {result['told']}")
    click.get_current_context().exit(code)


def _check_keys(environment: str | None) -> str:
    MeshClient(environment=environment).close()
    return "present and well-formed; only a call shows whether Mesh takes them"


def _check_connection(environment: str | None) -> str:
    url = _configuration.find_base_url(environment, None, SERVERS)
    proxy = _configuration.find_proxy(url, None)
    way = f"{url.host} through the proxy {proxy.url.host}" if proxy else url.host
    try:
        with httpx.Client(proxy=proxy, trust_env=proxy is None) as client:
            answer = client.head(url)
    except httpx.TransportError as error:
        problem = f"{type(error).__name__}: {error}"
        advice = "check the name, the network, the proxy, SSL_CERT_FILE"
        raise MeshConnectionError(f"cannot reach {way} ({problem}): {advice}") from None
    ahead = 0.0
    with contextlib.suppress(KeyError, ValueError):  # not every server tells the time
        there = email.utils.parsedate_to_datetime(answer.headers["date"])
        ahead = (dt.datetime.now(dt.UTC) - there).total_seconds()
    if abs(ahead) > MOST_SECONDS_AHEAD:
        raise MeshConfigurationError(f"this clock is {ahead:.0f} s ahead of {url.host}: set it")
    return f"{way} answers (HTTP {answer.status_code}), and the clocks agree"


# --- bulk ---------------------------------------------------------------------------------------


@main.command()
@click.argument("accounts", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("-o", "--output", required=True, type=click.Path(dir_okay=False, path_type=Path))
@click.option("--concurrency", type=click.IntRange(1), default=20, show_default=True)
@_environment
def bulk(accounts: Path, output: Path, concurrency: int, environment: str | None) -> None:
    """Read the balances of all ACCOUNTS, each outcome as it comes.

    ACCOUNTS is a CSV file with the columns auth_token, broker and, to tell outcomes apart, key;
    or JSON lines with these fields. Without a key it is the record's number.

    The output is CSV if its name ends in .csv, else JSON lines; it never holds auth tokens. The
    same command goes on after an interruption: what the output holds is not read again. To read
    failed accounts again, remove their lines.
    """
    total = sum(1 for _ in _read_accounts(accounts))
    if not total:
        raise ValueError(f"{accounts} holds no account")
    with _open_results(output) as results:
        left = (each for each in _read_accounts(accounts) if each.key not in results.done)
        reading = _read_into(results, left, total, concurrency, environment)
        try:
            asyncio.run(reading)
        except KeyboardInterrupt:
            click.echo("interrupted: the same command goes on from here", err=True)
            click.get_current_context().exit(130)
    if failed := sum(results.failures.values()):
        click.echo(f"{failed} of {total} accounts failed: see {output}", err=True)
        unreachable = sum(results.failures[name] for name in UNREACHABLE)
        click.get_current_context().exit(4 if unreachable == total else 1)


async def _read_into(
    results: "_Results",
    left: Iterable[LinkedAccount],
    total: int,
    concurrency: int,
    environment: str | None,
) -> None:
    began_at, before = time.monotonic(), len(results.done)
    with _progress() as progress:
        task = progress.add_task("", total=total, completed=before, failed=0, rate=0)
        async with AsyncMeshClient(environment=environment) as mesh:
            outcomes = mesh.get_account_balances(left, concurrency=concurrency)
            async with contextlib.aclosing(outcomes):
                async for outcome in outcomes:
                    if _are_keys_refused(outcome.error):
                        continue  # it says nothing of the account, and ends the run
                    results.add(outcome)
                    done, failed = len(results.done), sum(results.failures.values())
                    rate = (done - before) / (time.monotonic() - began_at)
                    progress.update(task, completed=done, failed=failed, rate=rate)


def _progress() -> "Progress":
    from rich import progress  # noqa: PLC0415 — takes longer than all of --help
    from rich.console import Console  # noqa: PLC0415 — the same

    told = progress.TextColumn("{task.fields[rate]:.0f}/s, {task.fields[failed]} failed")
    columns = progress.BarColumn(), progress.MofNCompleteColumn(), progress.TimeRemainingColumn()
    console = Console(stderr=True)
    return progress.Progress(*columns, told, console=console, disable=not console.is_terminal)


def _read_accounts(path: Path) -> Iterator[LinkedAccount]:
    """Yield accounts, each with a key of its own; ValueError names the first bad record."""
    keys: set[str] = set()
    with path.open(encoding="utf-8-sig", newline="") as file:
        is_json = file.read(1) == "{"
        file.seek(0)
        records: Iterable[Any] = map(_parse_json, file) if is_json else csv.DictReader(file)
        for number, record in enumerate(records, 1):
            token, broker = record.get("auth_token"), record.get("broker")
            key = str(record.get("key") or number)
            if not (token and isinstance(token, str) and broker and isinstance(broker, str)):
                raise ValueError(f"{path}, record {number}: it needs an auth_token and a broker")
            if key in keys:
                raise ValueError(f"{path}, record {number}: its key {key!r} was there before")
            keys.add(key)
            yield LinkedAccount(token, broker, key)


def _parse_json(line: str) -> dict[str, Any]:
    """Return an object, an empty one where the line is none: its text may hold a token."""
    with contextlib.suppress(ValueError):
        value = json.loads(line)
        return value if isinstance(value, dict) else {}
    return {}


class _Results:
    """The output file: what it tells already, and the lines that are added to it."""

    def __init__(self, file: IO[bytes], path: Path) -> None:
        self.done: set[str] = set()
        self.failures = collections.Counter[str]()
        self._file = file
        self._is_csv = path.suffix.lower() == ".csv"
        end = 0
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                break  # half-written
            try:
                self._take(self._parse(line.decode(), number))
            except (ValueError, KeyError, TypeError):
                problem = "is no outcome: choose another output"
            else:
                problem, end = "", end + len(line)
            if problem:
                raise ValueError(f"{path}, line {number} {problem}")
        file.seek(end)
        file.truncate()
        if self._is_csv and not end:
            self._write(COLUMNS)

    def add(self, outcome: Outcome) -> None:
        """Write an outcome as a line, at once."""
        error, balance = outcome.error, outcome.balance
        told = {
            "key": outcome.account.key,
            "broker": str(outcome.account.broker),
            **(balance.to_dict() if balance else {}),
            "error": type(error).__name__ if error else None,
            "http_status": getattr(error, "http_status", None),
            "error_type": getattr(error, "error_type", None),
            "message": _one_line(str(error)) if error else None,
            "attempts": outcome.attempts,
            "elapsed": round(outcome.elapsed, 3),
        }
        self._take(told)
        self._write([told.get(name) for name in COLUMNS])

    def _take(self, told: Mapping[str, Any]) -> None:
        if told["key"] is not None:
            self.done.add(told["key"])
            self.failures.update([told["error"]] if told["error"] else [])

    def _parse(self, line: str, number: int) -> Mapping[str, Any]:
        if not self._is_csv:
            told: Mapping[str, Any] = json.loads(line)
            return told
        values = next(csv.reader([line]))
        if number == 1 and tuple(values) == COLUMNS:
            return {"key": None}
        return dict(zip(COLUMNS, values, strict=True))

    def _write(self, values: Sequence[Any]) -> None:
        text = io.StringIO()
        if self._is_csv:
            cells = [json.dumps(cell) if isinstance(cell, list) else cell for cell in values]
            csv.writer(text, lineterminator="\n").writerow(cells)
        else:
            text.write(json.dumps(dict(zip(COLUMNS, values, strict=True))) + "\n")
        self._file.write(text.getvalue().encode())
        self._file.flush()


@contextlib.contextmanager
def _open_results(path: Path) -> Generator[_Results]:
    """Open the output for this user alone, and for one run at a time."""
    with open(path, "r+b", opener=_open_private) as file:
        with contextlib.suppress(ImportError):  # Windows has no such locks
            import fcntl  # noqa: PLC0415

            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ValueError(f"{path} is being written by another run") from None
        yield _Results(file, path)


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CREAT, 0o600)
