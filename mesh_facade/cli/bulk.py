"""`mesh-balance bulk`: reads many accounts into an output file, and resumes an earlier run."""

import asyncio
import contextlib
import functools
import os
from collections.abc import Iterable
from pathlib import Path

import click

from mesh_facade import AsyncMeshClient, LinkedAccount, Outcome
from mesh_facade.cli.accounts import read_accounts
from mesh_facade.cli.exit_codes import FAILED, INTERRUPTED, KEYS_REFUSED, UNREACHABLE, judge
from mesh_facade.cli.results import Results

_UNREACHABLE_ERRORS = ("MeshConnectionError", "MeshTimeoutError", "MeshTLSError")


def run_bulk(accounts: Path, output: Path, concurrency: int, environment: str | None) -> int:
    """Read all accounts whose outcomes the output does not hold yet; return the exit code."""
    total = sum(1 for _ in read_accounts(accounts))
    if total == 0:
        raise ValueError(f"{accounts} holds no account: CSV or JSON lines are expected")
    if output.exists() and output.samefile(accounts):
        raise ValueError(f"{output} is the input: choose another output")
    with open(output, "a+b", opener=functools.partial(os.open, mode=0o600)) as file:
        results = Results(file, output)
        unread = (each for each in read_accounts(accounts) if each.key not in results.done)
        mesh = AsyncMeshClient(environment=environment)
        try:
            asyncio.run(_read_into(results, mesh, unread, total, concurrency))
        except KeyboardInterrupt:
            click.echo("interrupted: the same command goes on from here", err=True)
            return INTERRUPTED
    failed = results.failures.total()
    if failed == 0:
        return 0
    click.echo(f"{failed} of {total} accounts failed: see {output}", err=True)
    unreachable = sum(results.failures[name] for name in _UNREACHABLE_ERRORS)
    if unreachable == total:
        return UNREACHABLE
    return FAILED


async def _read_into(
    results: Results,
    mesh: AsyncMeshClient,
    accounts: Iterable[LinkedAccount],
    total: int,
    concurrency: int,
) -> None:
    """Read accounts, and write each outcome as it comes; a terminal gets a progress bar."""
    from rich import console, progress  # noqa: PLC0415 — takes longer than all of --help

    stderr = console.Console(stderr=True)
    bar = progress.Progress(
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TimeRemainingColumn(),
        "{task.fields[rate]:.0f}/s, {task.fields[failed]} failed",
        console=stderr,
        disable=not stderr.is_terminal,
    )
    task = bar.add_task("", total=total, completed=len(results.done), failed=0, rate=0)
    outcomes = mesh.get_account_balances(accounts, concurrency=concurrency)
    async with mesh, contextlib.aclosing(outcomes):
        with bar:
            async for outcome in outcomes:
                if _says_keys_are_refused(outcome):
                    continue  # it says nothing about the account, and ends the run
                results.add(outcome)
                bar.update(
                    task,
                    completed=len(results.done),
                    failed=results.failures.total(),
                    rate=bar.tasks[task].speed or 0,
                )


def _says_keys_are_refused(outcome: Outcome) -> bool:
    return outcome.error is not None and judge(outcome.error).exit_code == KEYS_REFUSED
