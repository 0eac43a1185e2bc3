"""`mesh-balance bulk`: reads many accounts, writes their outcomes, and resumes an earlier run."""

import asyncio
import collections
import contextlib
import sys
from collections.abc import Generator, Iterator, Mapping
from pathlib import Path

import attrs
import click

from mesh_facade import AsyncMeshClient, LinkedAccount, Outcome
from mesh_facade.cli.accounts import AccountsFile, Record, open_accounts
from mesh_facade.cli.exit_codes import FAILED, INTERRUPTED, KEYS_REFUSED, UNREACHABLE, judge
from mesh_facade.cli.results import (
    STDOUT,
    OutcomeWriter,
    StandardOutput,
    StoredOutcome,
    check_output_name,
    open_journal,
    open_output,
)

_UNREACHABLE_ERRORS = ("MeshConnectionError", "MeshTimeoutError", "MeshTLSError")


@attrs.define
class Tally:
    """The counts of a run.

    Attributes:
        total: The accounts of the file.
        stored: Those whose outcomes the output holds and that are not read again.
        selected: Those that this run is to read.
        read: Those that it has read.
        failures: How often each error class is the outcome of an account, stored or read.
    """

    total: int
    stored: int = 0
    selected: int = 0
    read: int = 0
    failures: collections.Counter[str] = attrs.field(factory=collections.Counter[str])

    def add_stored(self, outcome: StoredOutcome) -> None:
        """Count an outcome that an earlier run wrote."""
        self.stored += 1
        if outcome.error is not None:
            self.failures[outcome.error] += 1

    def add_read(self, outcome: Outcome) -> None:
        """Count an outcome of this run."""
        self.read += 1
        if outcome.error is not None:
            self.failures[type(outcome.error).__name__] += 1

    @property
    def skipped(self) -> int:
        """How many accounts have no outcome, and are not read either."""
        return self.total - self.stored - self.selected

    @property
    def exit_code(self) -> int:
        """The exit code of a run that was not interrupted."""
        if self.failures.total() == 0:
            return 0
        unreachable = sum(self.failures[name] for name in _UNREACHABLE_ERRORS)
        if unreachable == self.total:
            return UNREACHABLE
        return FAILED


@attrs.frozen
class BulkRun:
    """A run of `mesh-balance bulk`, with its options."""

    accounts: Path
    output: Path
    concurrency: int
    environment: str | None
    retry_failed: bool
    trust_keys: bool
    max_pause: float | None = None

    def run(self) -> int:
        """Read the accounts, and return the exit code."""
        if self.output != STDOUT:
            check_output_name(self.output)
        with open_accounts(self.accounts) as accounts:
            tally = Tally(total=sum(1 for _ in accounts.read()))
            if tally.total == 0:
                raise ValueError(
                    f"{accounts.name} holds no account: CSV or JSON lines are expected"
                )
            if self.output == STDOUT:
                tally.selected = tally.total
                return self._read(accounts, {}, StandardOutput(), tally)
            return self._read_into_file(accounts, tally)

    def _read_into_file(self, accounts: AccountsFile, tally: Tally) -> int:
        if accounts.is_same_file(self.output):
            raise ValueError(f"{self.output} is the input: choose another output")
        if self.retry_failed and not self.output.exists():
            raise ValueError(
                f"{self.output} does not exist, so it holds no failed account. Run the command "
                "without --retry-failed."
            )
        with open_output(self.output) as output:
            self._compare_with_stored(accounts, output.outcomes, tally)
            if not self.retry_failed or tally.selected == 0:
                return self._read(accounts, output.outcomes, output, tally)
            with open_journal(output) as journal:
                return self._read(accounts, output.outcomes, journal, tally)

    def _compare_with_stored(
        self, accounts: AccountsFile, outcomes: Mapping[str, StoredOutcome], tally: Tally
    ) -> None:
        """Count what is to be read; ValueError if an outcome belongs to another account."""
        if not outcomes and not self.retry_failed:
            tally.selected = tally.total
            return
        for record in accounts.read():
            outcome = outcomes.get(record.account.key)
            if self._is_selected(outcome):
                tally.selected += 1
            elif outcome is not None:
                if not self._is_same_account(record, outcome):
                    raise ValueError(self._describe_mismatch(accounts, record))
                tally.add_stored(outcome)

    def _is_selected(self, outcome: StoredOutcome | None) -> bool:
        """Return True if an account with this outcome in the output is to be read."""
        if self.retry_failed:
            return outcome is not None and outcome.error is not None
        return outcome is None

    def _is_same_account(self, record: Record, outcome: StoredOutcome) -> bool:
        if self.trust_keys and record.has_key:
            return outcome.broker == record.account.broker
        return outcome.is_of(record.account)

    def _describe_mismatch(self, accounts: AccountsFile, record: Record) -> str:
        place = f"{accounts.name}, line {record.line}"
        if not record.has_key:
            return (
                f"{place}: {self.output} holds the outcome of another account for record "
                f"{record.account.key}. Lines were added, removed or moved, or a token or a broker "
                "was changed. Choose another output; a column 'key' lets you change the order of "
                "the lines."
            )
        if self.trust_keys:
            return (
                f"{place}: {self.output} holds an outcome with this key and another broker. "
                "Choose another output."
            )
        return (
            f"{place}: {self.output} holds an outcome with this key and another auth_token or "
            "broker. Choose another output or, if only tokens were renewed, add --trust-keys."
        )

    def _read(
        self,
        accounts: AccountsFile,
        stored: Mapping[str, StoredOutcome],
        writer: OutcomeWriter,
        tally: Tally,
    ) -> int:
        """Read the selected accounts, report how that went, and return the exit code."""
        selected = self._select(accounts, stored)
        mesh = AsyncMeshClient(environment=self.environment)
        try:
            with contextlib.closing(selected):  # before the file of accounts is closed
                asyncio.run(self._write_outcomes(mesh, selected, writer, tally))
        except KeyboardInterrupt:
            self._report_interruption()
            return INTERRUPTED
        self._report(tally)
        return tally.exit_code

    def _select(
        self, accounts: AccountsFile, stored: Mapping[str, StoredOutcome]
    ) -> Generator[LinkedAccount]:
        for record in accounts.read():
            if self._is_selected(stored.get(record.account.key)):
                yield record.account

    async def _write_outcomes(
        self,
        mesh: AsyncMeshClient,
        accounts: Iterator[LinkedAccount],
        writer: OutcomeWriter,
        tally: Tally,
    ) -> None:
        """Write outcomes as they come, and show a progress bar on a terminal.

        Outcomes that may mean refused keys are held back until another answer comes. If the run
        raises, they are not written, so the next run reads these accounts again.
        """
        from rich import console, progress  # noqa: PLC0415 — takes longer than all of --help

        stderr = console.Console(stderr=True)
        # Where a terminal shows the outcomes, a bar would be written into them.
        is_disabled = not stderr.is_terminal or (self.output == STDOUT and sys.stdout.isatty())
        bar = progress.Progress(
            progress.BarColumn(),
            progress.MofNCompleteColumn(),
            progress.TimeRemainingColumn(),
            "{task.fields[rate]:.0f}/s, {task.fields[failed]} failed",
            console=stderr,
            disable=is_disabled,
        )
        total = tally.stored + tally.selected
        task = bar.add_task("", total=total, completed=tally.stored, failed=0, rate=0)
        # Refused keys say nothing about an account. The run ends when they are evident, so until
        # another answer shows that they are accepted, such outcomes are held back.
        held_back: list[Outcome] = []
        outcomes = mesh.get_account_balances(
            accounts, concurrency=self.concurrency, max_pause=self.max_pause
        )
        async with mesh, contextlib.aclosing(outcomes):
            with bar:
                async for outcome in outcomes:
                    held_back.append(outcome)
                    if _may_mean_refused_keys(outcome):
                        continue
                    _write_all(held_back, writer, tally)
                    bar.update(
                        task,
                        completed=tally.stored + tally.read,
                        failed=tally.failures.total(),
                        rate=bar.tasks[task].speed or 0,
                    )
        _write_all(held_back, writer, tally)

    def _report_interruption(self) -> None:
        advice = "the same command goes on from here"
        if self.output == STDOUT:
            advice = "the same command starts again with the first account"
        click.echo(f"interrupted: {advice}", err=True)

    def _report(self, tally: Tally) -> None:
        """Print a summary to stderr: accounts read, stored, skipped and failed."""
        if tally.stored or tally.selected == 0:
            text = f"{tally.read} read, {tally.stored} already in {self.output}"
            if tally.selected == 0:
                text += "; to read all accounts again, choose another output"
            click.echo(text, err=True)
        if tally.skipped:
            click.echo(
                f"{tally.skipped} accounts have no outcome yet: run the command without "
                "--retry-failed to read them",
                err=True,
            )
        failed = tally.failures.total()
        if failed:
            text = f"{failed} of {tally.total} accounts failed"
            if self.output != STDOUT:
                text += f": see {self.output}"
            click.echo(text, err=True)


def _may_mean_refused_keys(outcome: Outcome) -> bool:
    return outcome.error is not None and judge(outcome.error).exit_code == KEYS_REFUSED


def _write_all(outcomes: list[Outcome], writer: OutcomeWriter, tally: Tally) -> None:
    """Write and count these outcomes, and empty the list."""
    while outcomes:
        outcome = outcomes.pop(0)
        writer.add(outcome)
        tally.add_read(outcome)
