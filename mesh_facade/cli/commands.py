"""The commands of `mesh-balance`, with their options and help texts."""

import contextlib
import json
import os
import sys
import threading
import time
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mesh_facade import (
    BadRequestError,
    BrokerType,
    MeshClient,
    MeshConfigurationError,
    __version__,
)
from mesh_facade.cli.broker_names import find_similar_broker, is_listed_broker
from mesh_facade.cli.exit_codes import INTERRUPTED, REPORTED_ERRORS, find_verdict
from mesh_facade.cli.terminal import (
    ignore_broken_stderr,
    one_line,
    print_message,
    print_table,
    redirect_to_devnull,
)
from mesh_facade.cli.variables import check_api_keys_are_set, name_key_variables

if TYPE_CHECKING:
    from mesh_facade.testing import MockServer

_HOUR = 3600

EPILOG = """\b
Keys:       MESH_CLIENT_ID, MESH_CLIENT_SECRET; also MESH_ENVIRONMENT, MESH_BASE_URL.
Exit codes: 0 fine, 1 an account failed, 2 usage, 3 keys probably refused, 4 unreachable,
            130 interrupted.
Completion: eval "$(_MESH_BALANCE_COMPLETE=bash_source mesh-balance)", in the shell's start-up
            file; zsh_source and fish_source likewise.
"""


class CommandGroup(click.Group):
    """Commands that end in an exit code, and report a failure in one line on stderr.

    If the arguments are wrong, the usage comes before that line.
    """

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: object,
    ) -> click.Context:
        """Read the arguments; --help and --version print here."""
        with _turn_errors_into_exit_codes():
            return super().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: click.Context) -> None:
        """Run a command."""
        with _turn_errors_into_exit_codes():
            super().invoke(ctx)


@contextlib.contextmanager
def _turn_errors_into_exit_codes() -> Generator[None]:
    """Print an exception as one line on stderr, and end the program with its exit code.

    Raises:
        Exit: The block raised an exception that a user may cause. Any other is a fault of ours:
            it propagates, and the user sees its traceback.
    """
    try:
        yield
    except BrokenPipeError:  # first, because it is an OSError too
        # The reader of stdout has ended, as `head` does when it has read enough.
        if sys.stdout is not None:
            redirect_to_devnull(sys.stdout)
        raise click.exceptions.Exit(0) from None
    except (KeyboardInterrupt, click.Abort):  # Abort: Ctrl-C or Ctrl-D at the prompt for a token
        print_message("interrupted")
        raise click.exceptions.Exit(INTERRUPTED) from None
    except click.ClickException as error:
        with ignore_broken_stderr():
            error.show()
        raise click.exceptions.Exit(error.exit_code) from None
    except REPORTED_ERRORS as error:
        print_message(_describe_error(error))
        raise click.exceptions.Exit(find_verdict(error).exit_code) from None


def _describe_error(error: Exception) -> str:
    """Return an error on one line: its message, then what the user should do next."""
    message = str(error)
    if isinstance(error, MeshConfigurationError):
        message = name_key_variables(message)
    parts = [f"error: {message}"]
    advice = find_verdict(error).advice
    if advice is not None:
        parts.append(advice)
    parts += getattr(error, "__notes__", [])  # advice that the command has added
    return one_line("; ".join(parts))


def complete_broker(_context: object, _parameter: object, incomplete: str) -> list[str]:
    """Return the brokers whose names start with what was typed, for completion in the shell."""
    return [broker.value for broker in BrokerType if broker.value.startswith(incomplete)]


_environment_option = click.option(
    "--environment", metavar="NAME", help="production or sandbox; default: MESH_ENVIRONMENT."
)
_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")


@click.group(
    cls=CommandGroup, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.version_option(__version__, prog_name="mesh-balance")
def main() -> None:
    """Read balances of linked accounts through Mesh."""


@main.command()
@click.option(
    "--broker",
    required=True,
    shell_complete=complete_broker,
    help="The broker type that Mesh returned when the user linked the account.",
)
@_environment_option
@_json_option
def get(broker: str, environment: str | None, *, as_json: bool) -> None:
    """Read the balance of one account.

    The user's auth token is taken from MESH_AUTH_TOKEN. Without that variable, the command asks for
    the token if stdin is a terminal, and otherwise reads it from the first line of stdin.
    """
    check_api_keys_are_set()
    with MeshClient(environment=environment) as mesh:
        token = _find_auth_token()  # after the keys and the environment have been checked
        try:
            balance = mesh.get_account_balance(token, broker)
        except BadRequestError as error:
            if not error.reconnect_required and not is_listed_broker(broker):
                error.add_note(_suggest_broker(broker))
            raise
    if as_json:
        click.echo(json.dumps(balance.to_dict()))
    else:
        print_table(balance)


def _suggest_broker(broker: str) -> str:
    """Return advice for a broker that the spec does not list.

    It names the most similar broker or, if none is similar, the command that lists them all.
    """
    similar = find_similar_broker(broker)
    if similar is None:
        return "`mesh-balance brokers` lists the known brokers"
    return f"did you mean the broker {similar}?"


def _find_auth_token() -> str:
    """Return the user's auth token; raise ValueError if it is empty."""
    token = os.environ.get("MESH_AUTH_TOKEN")
    if token is not None:
        if not token:
            raise ValueError("MESH_AUTH_TOKEN is empty: set it to the user's auth token")
        return token
    if sys.stdin is not None and sys.stdin.isatty():
        answer: str = click.prompt("Auth token", hide_input=True, err=True)
        return answer
    token = ""
    if sys.stdin is not None:  # it is None if stdin is closed
        token = sys.stdin.readline().strip()
    if not token:
        raise ValueError(
            "the auth token is missing: set MESH_AUTH_TOKEN, or write the token to stdin"
        )
    return token


@main.command()
@click.option("--search", default="", help="List only brokers whose name contains this text.")
@_json_option
def brokers(search: str, *, as_json: bool) -> None:
    """List the brokers that the spec knows; Mesh may know more."""
    names = [broker.value for broker in BrokerType if search.lower() in broker.value.lower()]
    if as_json:
        click.echo(json.dumps(names))
    else:
        for name in names:
            click.echo(name)


@main.command("mock-server")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Default: a free port.")
def mock_server(port: int) -> None:
    """Serve a mock Mesh server on this machine, and print the variables to set.

    It answers with a balance, or with a fault if the auth token is the fault's name: try
    rate-limited, not-found or unauthorized-token. Press Ctrl-C to end it.
    """
    from mesh_facade.testing import FAULTS  # noqa: PLC0415 — takes half a second

    with _serve_mock(port) as server:
        for name in FAULTS:
            server.fails(token=name, fault=name)
        try:
            for variable, value in server.environment.items():
                click.echo(f"export {variable}={value}")
            while True:
                # On Windows, Ctrl-C ends a sleep, but not a wait for a threading.Event.
                time.sleep(_HOUR)
        except KeyboardInterrupt:
            return  # this is how the user ends the server


@contextlib.contextmanager
def _serve_mock(port: int) -> Generator["MockServer"]:
    """Serve a mock server on this port while the block runs.

    Raises:
        OSError: The port cannot be used; the error advises the user to choose another.
    """
    from mesh_facade.testing import MockServer  # noqa: PLC0415 — takes half a second

    # An ExitStack, so that `except` covers only the start of the server, and not the block.
    with contextlib.ExitStack() as stack:
        try:
            server = stack.enter_context(MockServer(port=port))
        except OSError as error:
            error.add_note("choose another --port")
            raise
        yield server


@main.command()
@_environment_option
@_json_option
@click.pass_context
def doctor(context: click.Context, environment: str | None, *, as_json: bool) -> None:
    """Check keys, address, proxy, connection and clock; no key leaves this machine."""
    from mesh_facade.cli.doctor import run_checks  # noqa: PLC0415 — --help starts faster without

    results = run_checks(environment)
    if as_json:
        printed = [
            {"check": result.name, "ok": result.exit_code == 0, "detail": result.detail}
            for result in results
        ]
        click.echo(json.dumps(printed))
    else:
        for result in results:
            mark = "ok"
            if result.exit_code != 0:
                mark = "FAIL"
            click.echo(f"{mark}  {result.name}: {result.detail}")
    failed = [result for result in results if result.exit_code != 0]
    if failed:
        # The first failed check decides. The check of the keys comes before that of the connection,
        # because the user can correct keys at once.
        context.exit(failed[0].exit_code)


def _check_max_pause(
    _context: click.Context, _parameter: click.Parameter, seconds: float | None
) -> float | None:
    """Raise BadParameter unless `seconds` is None or a valid `max_pause` of a bulk run.

    The client would refuse an invalid number too, but only after the output file was created.
    """
    longest = threading.TIMEOUT_MAX
    # NaN is refused too: each comparison with it is false.
    if seconds is not None and not 0 < seconds <= longest:
        raise click.BadParameter(
            f"it must be a number of seconds greater than 0 and at most {longest:.0f}, "
            f"not {seconds:g}."
        )
    return seconds


class _PathOrDash(click.Path):
    """A path, or `-` for stdin or stdout. `./-` is a file with that name."""

    def convert(
        self,
        value: str | os.PathLike[str],
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> str | bytes | os.PathLike[str]:
        path = super().convert(value, param, ctx)
        if path == Path("-") and value != "-":
            return Path.cwd() / "-"  # Path drops the `./`, so the two would be equal
        return path


@main.command()
@click.argument(
    "accounts",
    type=_PathOrDash(exists=True, dir_okay=False, allow_dash=True, path_type=Path),
)
@click.option(
    "-o",
    "--output",
    type=_PathOrDash(dir_okay=False, allow_dash=True, path_type=Path),
    help="A file, or - for stdout. Without it, stdout is used, unless it is a terminal.",
)
@click.option(
    "--concurrency",
    type=click.IntRange(1),
    default=20,
    show_default=True,
    help="How many accounts are read at the same time.",
)
@click.option(
    "--retry-failed",
    is_flag=True,
    help="Read failed accounts again, and no others.",
)
@click.option(
    "--trust-keys",
    is_flag=True,
    help="Resume although tokens were renewed: compare accounts only by broker and by the key in "
    "the column 'key'.",
)
@click.option(
    "--max-pause",
    type=float,
    callback=_check_max_pause,
    metavar="SECONDS",
    help="How long the run may wait in total when Mesh asks to wait (HTTP 429); default: no limit. "
    "In any case, each account can make it wait at most 10 times, and at most 300 seconds a time.",
)
@_environment_option
@click.pass_context
def bulk(  # noqa: PLR0913 — one argument for each option
    context: click.Context,
    *,
    accounts: Path,
    output: Path | None,
    concurrency: int,
    retry_failed: bool,
    trust_keys: bool,
    max_pause: float | None,
    environment: str | None,
) -> None:
    """Read the balances of all ACCOUNTS, and write each outcome as it comes.

    ACCOUNTS is a CSV file or a file of JSON lines; - reads stdin. Its columns or fields are
    auth_token, broker and, to tell outcomes apart, key. Without a key, the record's number is the
    key.

    The output is CSV if its name ends in .csv. It is JSON lines if its name ends in .jsonl, .ndjson
    or .json, if it has no ending, or if the output is stdout. It never holds auth tokens. If a run
    was interrupted, give the same command again to continue it: accounts whose outcomes are in the
    output file are not read again.
    """
    from mesh_facade.cli.bulk import BulkRun  # noqa: PLC0415 — --help starts faster without
    from mesh_facade.cli.results import STDOUT  # noqa: PLC0415 — the same

    if output is None:
        if sys.stdout is not None and sys.stdout.isatty():
            raise click.UsageError("Name an output file with -o, or pass -o - for the terminal.")
        output = STDOUT
    if output == STDOUT and retry_failed:
        raise click.UsageError("--retry-failed needs an output file: name it with -o.")
    run = BulkRun(
        accounts=accounts,
        output=output,
        concurrency=concurrency,
        environment=environment,
        retry_failed=retry_failed,
        trust_keys=trust_keys,
        max_pause=max_pause,
    )
    context.exit(run.run())
