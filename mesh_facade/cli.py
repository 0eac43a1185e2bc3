"""The command line `mesh-balance`: balances for people and for programs. Needs the extra `cli`.

Keys and environment come from the same variables as in `MeshClient`; secrets are never arguments,
for other users of a machine see those.
"""

import asyncio
import collections
import contextlib
import csv
import email.utils
import functools
import io
import json
import os
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import httpx

from mesh_facade import AsyncMeshClient, BrokerType, LinkedAccount, MeshClient, Outcome, errors
from mesh_facade.engine.proxies import find_proxy
from mesh_facade.options import find_base_url

try:
    import click
except ImportError:
    sys.exit("error: mesh-balance needs more packages: pip install 'mesh-facade[cli]'")

EPILOG = """\b
Keys:       MESH_CLIENT_ID, MESH_CLIENT_SECRET; also MESH_ENVIRONMENT, MESH_BASE_URL.
Exit codes: 0 fine, 1 some accounts failed, 2 usage, 3 keys refused, 4 unreachable,
            130 interrupted.
Completion: eval "$(_MESH_BALANCE_COMPLETE=bash_source mesh-balance)", in the shell's start-up
            file; zsh_source and fish_source likewise.
"""
csv.field_size_limit(2**31 - 1)  # the rows of a balance are one field, which is read again
FAILED, USAGE, KEYS_REFUSED, UNREACHABLE, INTERRUPTED = 1, 2, 3, 4, 130
MOST_SECONDS_AHEAD = 60
LATER, DOCTOR = "; try again later", "; `mesh-balance doctor` tells more"
# What ends a command, with its exit code and what to do next: the first that fits counts.
VERDICTS: Mapping[type[Exception], tuple[int, str]] = {
    errors.RateLimitError: (FAILED, LATER),
    errors.ServerError: (FAILED, LATER),
    errors.AuthenticationError: (KEYS_REFUSED, DOCTOR),
    errors.MeshConnectionError: (UNREACHABLE, DOCTOR),
    errors.MeshConfigurationError: (USAGE, DOCTOR),
    errors.MeshError: (FAILED, ""),
    **dict.fromkeys((ValueError, OSError, ImportError), (USAGE, "")),
}
COLUMNS = (
    *("key", "broker", "total_cash_usd", "total_buying_power_usd", "rows"),
    *("error", "http_status", "error_type", "message", "attempts", "elapsed"),
)


class _Commands(click.Group):
    """Commands whose failures are one line on stderr, and an exit code."""

    def invoke(self, ctx: click.Context) -> None:
        try:
            super().invoke(ctx)
        except tuple(VERDICTS) as error:
            code, advice = _judge(error)
            click.echo(_one_line(f"error: {error}{advice}"), err=True)
            ctx.exit(code)


def _judge(error: Exception) -> tuple[int, str]:
    if isinstance(error, errors.MeshAPIError) and error.reconnect_required:
        return FAILED, "; let the user link the account again"
    return next(verdict for kind, verdict in VERDICTS.items() if isinstance(error, kind))


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
    token, stdin = os.environ.get("MESH_AUTH_TOKEN"), sys.stdin or io.StringIO()
    if token is None and stdin.isatty():
        token = click.prompt("Auth token", hide_input=True, err=True)
    elif token is None:
        token = stdin.readline().strip()
    with MeshClient(environment=environment) as mesh:
        told = mesh.get_account_balance(token, broker).to_dict()
    if as_json:
        click.echo(json.dumps(told))
    else:
        _print_table(told)


def _print_table(told: dict[str, Any]) -> None:
    from rich import console, table  # noqa: PLC0415 — takes longer than all of --help

    totals = ["total in USD", told["total_cash_usd"], told["total_buying_power_usd"], None]
    rows = [*(row.values() for row in told["rows"]), totals]  # None, which is not 0, is shown as -
    codes, *amounts = zip(*([_one_line(cell or "-") for cell in row] for row in rows), strict=True)
    heads = ("currency", "cash", "buying power", "crypto buying power")
    printed = table.Table(*heads, box=None, pad_edge=False)
    for cells in zip(codes, *map(_align, amounts), strict=True):
        printed.add_row(*cells)
    # As wide as it must be: a digit that is cut off makes another amount.
    console.Console(width=10_000, markup=False, highlight=False).print(printed)


def _align(amounts: Sequence[str]) -> list[str]:
    """Write amounts so that their decimal points stand below each other."""
    width = max(len(amount.partition(".")[0]) for amount in amounts)
    return [" " * (width - len(amount.partition(".")[0])) + amount for amount in amounts]


@main.command()
@click.option("--search", default="", help="Only those whose name holds this.")
@_as_json
def brokers(search: str, *, as_json: bool) -> None:
    """List the brokers that the spec knows; Mesh may know more."""
    found = [each.value for each in BrokerType if search.lower() in each.value.lower()]
    click.echo(json.dumps(found) if as_json else "\n".join(found))


@main.command("mock-server")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Default: a free one.")
def mock_server(port: int) -> None:
    """Serve a mock Mesh server on this machine; it prints the variables to set.

    A token that is named like a fault of the test kit, such as rate-limited, fails that way.
    """
    from mesh_facade.testing import FAULTS, MockServer  # noqa: PLC0415 — takes half a second

    with contextlib.suppress(KeyboardInterrupt), MockServer(port=port) as mesh:
        for fault in FAULTS:
            mesh.fails(fault, fault)
        for name, value in mesh.environment.items():
            click.echo(f"export {name}={value}")
        threading.Event().wait()


@main.command()
@_environment
@_as_json
def doctor(environment: str | None, *, as_json: bool) -> None:
    """Check keys, address, proxy, connection and clock; no key leaves this machine."""
    results: dict[str, tuple[int, str]] = {}
    for name, check in (("keys", _check_keys), ("connection", _check_connection)):
        try:
            results[name] = 0, check(environment)
        except (errors.MeshError, OSError, ImportError) as error:
            results[name] = _judge(error)[0], _one_line(str(error))
    if as_json:
        told = [{"check": k, "ok": not code, "told": v} for k, (code, v) in results.items()]
        click.echo(json.dumps(told))
    else:
        for name, (code, text) in results.items():
            click.echo(f"{'no' if code else 'ok'}  {name}: {text}")
    click.get_current_context().exit(max(code for code, _ in results.values()))


def _check_keys(environment: str | None) -> str:
    MeshClient(environment=environment).close()
    return "present and well-formed; only a call shows whether Mesh takes them"


def _check_connection(environment: str | None) -> str:
    url = find_base_url(environment, None)
    proxy = find_proxy(url, None)
    way = f"{url.host} through the proxy {proxy.url.host}" if proxy else url.host
    # Certificates are those of the environment, with a proxy too.
    client = httpx.Client(proxy=proxy, verify=httpx.create_ssl_context(), trust_env=False)
    try:
        with client:
            answer = client.head(url)
    except httpx.TransportError as error:
        problem = f"{type(error).__name__}: {error}"
        advice = "check the name, the network, the proxy, SSL_CERT_FILE"
        raise errors.MeshConnectionError(f"cannot reach {way} ({problem}): {advice}") from None
    ahead = 0.0
    with contextlib.suppress(KeyError, ValueError):  # not every server tells the time
        ahead = time.time() - email.utils.parsedate_to_datetime(answer.headers["date"]).timestamp()
    if abs(ahead) > MOST_SECONDS_AHEAD:
        problem = f"this clock is {ahead:.0f} s ahead of {url.host}: set it"
        raise errors.MeshConfigurationError(problem)
    return f"{way} answers (HTTP {answer.status_code}), and the clocks agree"


class _Results:
    """The output file: what it tells already, and the lines that are added to it."""

    def __init__(self, file: IO[bytes], path: Path) -> None:
        with contextlib.suppress(ImportError):  # Windows has no such locks
            import fcntl  # noqa: PLC0415

            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ValueError(f"{path} is being written by another run") from None
        self.done: set[str] = set()
        self.failures = collections.Counter[str]()
        self._file, self._is_csv = file, path.suffix.lower() == ".csv"
        header = (",".join(COLUMNS) + "\n").encode() if self._is_csv else b""
        opening = header or b'{"key": "'
        end = file.seek(0)
        for number, line in enumerate(file, 1):
            is_ours = end or opening.startswith(line[: len(opening)])
            if is_ours and not line.endswith(b"\n"):
                break  # half-written
            end += len(line)
            try:
                if line != header:
                    self._count(self._parse(line))
            except (ValueError, KeyError, TypeError, RecursionError, csv.Error):
                problem = f"{path}, line {number} is no outcome: choose another output"
                raise ValueError(problem) from None
        file.truncate(end)
        file.write(b"" if end else header)

    def add(self, outcome: Outcome) -> None:
        """Write an outcome as a line, at once."""
        account, error = outcome.account, outcome.error
        told: dict[str, Any] = dict.fromkeys(COLUMNS)
        told |= {"key": account.key, "broker": account.broker}
        told |= {"attempts": outcome.attempts, "elapsed": round(outcome.elapsed, 3)}
        if outcome.balance:
            told |= outcome.balance.to_dict()
        if error:
            told |= {name: getattr(error, name, None) for name in ("http_status", "error_type")}
            told |= {"error": type(error).__name__, "message": _one_line(str(error))}
        self._count(told)
        self._file.write(self._format(told))
        self._file.flush()

    def _count(self, told: Mapping[str, Any]) -> None:
        self.done.add(told["key"])
        self.failures.update([told["error"]] if told["error"] else [])

    def _parse(self, line: bytes) -> Any:
        if self._is_csv:
            return dict(zip(COLUMNS, next(csv.reader([line.decode()])), strict=True))
        return json.loads(line)

    def _format(self, told: dict[str, Any]) -> bytes:
        if not self._is_csv:
            return json.dumps(told).encode() + b"\n"
        rows, text = told["rows"], io.StringIO()
        cells = told | {"rows": rows and json.dumps(rows)}
        csv.writer(text, lineterminator="\n").writerow(cells.values())
        return text.getvalue().encode()


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
        raise ValueError(f"{accounts} holds no account: CSV or JSON lines are expected")
    if output.exists() and output.samefile(accounts):
        raise ValueError(f"{output} is the input: choose another output")
    with open(output, "a+b", opener=functools.partial(os.open, mode=0o600)) as file:
        results = _Results(file, output)
        left = (each for each in _read_accounts(accounts) if each.key not in results.done)
        mesh = AsyncMeshClient(environment=environment)
        try:
            asyncio.run(_read_into(results, mesh, left, total, concurrency))
        except KeyboardInterrupt:
            click.echo("interrupted: the same command goes on from here", err=True)
            click.get_current_context().exit(INTERRUPTED)
    if failed := results.failures.total():
        click.echo(f"{failed} of {total} accounts failed: see {output}", err=True)
        names = ("MeshConnectionError", "MeshTimeoutError", "MeshTLSError")
        unreachable = sum(results.failures[name] for name in names)
        click.get_current_context().exit(UNREACHABLE if unreachable == total else FAILED)


async def _read_into(
    results: _Results, mesh: AsyncMeshClient, left: Any, total: int, concurrency: int
) -> None:
    from rich import console, progress  # noqa: PLC0415 — takes longer than all of --help

    columns = progress.BarColumn(), progress.MofNCompleteColumn(), progress.TimeRemainingColumn()
    told = "{task.fields[rate]:.0f}/s, {task.fields[failed]} failed"
    stderr = console.Console(stderr=True)
    bar = progress.Progress(*columns, told, console=stderr, disable=not stderr.is_terminal)
    task = bar.add_task("", total=total, completed=len(results.done), failed=0, rate=0)
    outcomes = mesh.get_account_balances(left, concurrency=concurrency)
    async with mesh, contextlib.aclosing(outcomes):
        with bar:
            async for outcome in outcomes:
                if outcome.error and _judge(outcome.error)[0] == KEYS_REFUSED:
                    continue  # it says nothing of the account, and ends the run
                results.add(outcome)
                done, failed = len(results.done), results.failures.total()
                bar.update(task, completed=done, failed=failed, rate=bar.tasks[task].speed or 0)


def _read_accounts(path: Path) -> Iterator[LinkedAccount]:
    """Yield accounts, each with a key of its own; ValueError names the first bad record."""
    keys: set[str] = set()
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            is_json = file.read(1) == "{"
            file.seek(0)
            records: Iterable[Any] = map(_parse_json, file) if is_json else csv.DictReader(file)
            for number, record in enumerate(records, 1):
                token, broker, key = map(record.get, ("auth_token", "broker", "key"))
                if not (token and isinstance(token, str) and broker and isinstance(broker, str)):
                    raise ValueError(f"{path}, record {number}: it needs auth_token and broker")
                key = str(number if key in (None, "") else key)
                (broker + key).encode()  # as the output holds them
                if {"\n", "\r"} & {*broker, *key}:
                    raise ValueError(f"{path}, record {number}: a line ends within it")
                if key in keys:
                    raise ValueError(f"{path}, record {number}: its key {key!r} was there before")
                keys.add(key)
                yield LinkedAccount(token, broker, key)
    except (UnicodeError, io.UnsupportedOperation) as error:  # the latter: a pipe is read once
        raise ValueError(f"{path}: {error}") from None


def _parse_json(line: str) -> dict[str, Any]:
    """Return an object, an empty one where the line is none: its text may hold a token."""
    with contextlib.suppress(ValueError, RecursionError):
        value = json.loads(line)
        return value if isinstance(value, dict) else {}
    return {}
