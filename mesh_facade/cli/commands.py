"""The commands of `mesh-balance`, with their options and help texts."""

import contextlib
import json
import os
import sys
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import click

from mesh_facade import (
    BadRequestError,
    BrokerType,
    MeshClient,
    MeshConfigurationError,
    __version__,
)
from mesh_facade.cli.broker_names import find_similar_broker, is_listed
from mesh_facade.cli.exit_codes import REPORTED_ERRORS, judge
from mesh_facade.cli.terminal import one_line, print_table
from mesh_facade.cli.variables import check_keys_are_set, name_variables

_HOUR = 3600

EPILOG = """\b
Keys:       MESH_CLIENT_ID, MESH_CLIENT_SECRET; also MESH_ENVIRONMENT, MESH_BASE_URL.
Exit codes: 0 fine, 1 some accounts failed, 2 usage, 3 keys refused, 4 unreachable,
            130 interrupted.
Completion: eval "$(_MESH_BALANCE_COMPLETE=bash_source mesh-balance)", in the shell's start-up
            file; zsh_source and fish_source likewise.
"""


class CommandGroup(click.Group):
    """Commands that end in an exit code, and report a failure in one line on stderr."""

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,
    ) -> click.Context:
        """Read the arguments; --help and --version print here."""
        with _quiet_broken_pipe():
            return super().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: click.Context) -> None:
        """Run a command."""
        with _quiet_broken_pipe():
            try:
                super().invoke(ctx)
            except BrokenPipeError:
                raise
            except REPORTED_ERRORS as error:
                verdict = judge(error)
                notes = getattr(error, "__notes__", [])  # advice that the command has added
                message = str(error)
                if isinstance(error, MeshConfigurationError):
                    message = name_variables(message)
                text = "".join([f"error: {message}{verdict.advice}", *notes])
                click.echo(one_line(text), err=True)
                ctx.exit(verdict.exit_code)


@contextlib.contextmanager
def _quiet_broken_pipe() -> Generator[None]:
    """End the program, without an error, if the reader of its output has ended."""
    try:
        yield
    except BrokenPipeError:
        _discard_stdout()
        raise click.exceptions.Exit(0) from None


def _discard_stdout() -> None:
    """Send stdout nowhere: the interpreter flushes it at the end, which must not fail again."""
    if sys.stdout is None:
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


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

    The user's auth token is taken from MESH_AUTH_TOKEN. Without that variable, a terminal is asked
    for it, and otherwise it is the first line of stdin.
    """
    check_keys_are_set()  # before a terminal is asked for the token
    token = _find_auth_token()
    with MeshClient(environment=environment) as mesh:
        try:
            balance = mesh.get_account_balance(token, broker)
        except BadRequestError as error:
            if not error.reconnect_required:
                error.add_note(_suggest_broker(broker))
            raise
    if as_json:
        click.echo(json.dumps(balance.to_dict()))
    else:
        print_table(balance)


def _suggest_broker(broker: str) -> str:
    """Return advice that names the most similar broker, or nothing if no misspelling is likely."""
    if is_listed(broker):
        return ""
    similar = find_similar_broker(broker)
    if similar is None:
        return "; `mesh-balance brokers` lists the known brokers"
    return f"; did you mean the broker {similar}?"


def _find_auth_token() -> str:
    token = os.environ.get("MESH_AUTH_TOKEN")
    if token is not None:
        return token
    if sys.stdin is None:  # it is closed
        return ""
    if sys.stdin.isatty():
        answer: str = click.prompt("Auth token", hide_input=True, err=True)
        return answer
    return sys.stdin.readline().strip()


@main.command()
@click.option("--search", default="", help="List only brokers whose name contains this text.")
@_json_option
def brokers(search: str, *, as_json: bool) -> None:
    """List the brokers that the spec knows; Mesh may know more."""
    names = [broker.value for broker in BrokerType if search.lower() in broker.value.lower()]
    if as_json:
        click.echo(json.dumps(names))
    else:
        click.echo("\n".join(names))


@main.command("mock-server")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Default: a free port.")
def mock_server(port: int) -> None:
    """Serve a mock Mesh server on this machine, and print the variables to set.

    A token that is named like a fault of the test kit, such as rate-limited, fails that way.
    """
    from mesh_facade.testing import FAULTS, MockServer  # noqa: PLC0415 — takes half a second

    with contextlib.suppress(KeyboardInterrupt), contextlib.ExitStack() as stack:
        try:
            mesh = stack.enter_context(MockServer(port=port))
        except OSError as error:
            error.add_note("; choose another --port")
            raise
        for fault in FAULTS:
            mesh.fails(fault, fault)
        for name, value in mesh.environment.items():
            click.echo(f"export {name}={value}")
        while True:  # until Ctrl-C, which on Windows ends a sleep, but not the wait for a lock
            time.sleep(_HOUR)


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
            mark = "FAIL" if result.exit_code else "ok"
            click.echo(f"{mark}  {result.name}: {result.detail}")
    failed = [result for result in results if result.exit_code]
    if failed:
        # The keys come first. They can be mended on this machine, so they decide.
        context.exit(failed[0].exit_code)


@main.command()
@click.argument(
    "accounts",
    type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path),
)
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, allow_dash=True, path_type=Path),
    help="A file, or - for stdout; default: stdout, unless it is a terminal.",
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
    help="Read only the accounts whose outcome in the output is a failure, again.",
)
@click.option(
    "--trust-keys",
    is_flag=True,
    help="Resume although tokens were renewed: compare accounts by key and broker.",
)
@click.option(
    "--max-pause",
    type=click.FloatRange(0, min_open=True),
    metavar="SECONDS",
    help="How long the run may pause in all when Mesh asks to wait; default: no bound.",
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

    ACCOUNTS is a CSV file with the columns auth_token, broker and, to tell outcomes apart, key; or
    JSON lines with these fields; or - for stdin. Without a key, the record's number is taken.

    The output is CSV if its name ends in .csv, and JSON lines if it ends in .jsonl or is stdout; it
    never holds auth tokens. The same command goes on after an interruption: accounts whose outcomes
    the output file holds are not read again.
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
