"""`mesh-balance bulk`: reads many accounts, writes their outcomes, and resumes an earlier run."""

import asyncio
import contextlib
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import attrs
import click
from rich import console, progress

from mesh_facade import AsyncMeshClient, AuthenticationError, LinkedAccount, Outcome
from mesh_facade.cli.accounts import AccountsFile, open_accounts
from mesh_facade.cli.exit_codes import INTERRUPTED, KEYS_REFUSED
from mesh_facade.cli.failures import Failure
from mesh_facade.cli.results import (
    STDOUT,
    OutcomeWriter,
    StandardOutput,
    StoredOutcome,
    check_output_name,
    open_journal,
    open_output,
)
from mesh_facade.cli.resuming import Resumption
from mesh_facade.cli.summary import Summary, Tally, describe_missing_keys, is_answered
from mesh_facade.cli.variables import check_keys_are_set


@attrs.frozen
class BulkRun:
    """A run of `mesh-balance bulk`, with its options.

    Attributes:
        accounts: The path of the file of accounts; `-` for stdin.
        output: The path of the output; `-` for stdout.
        concurrency: How many accounts are read at the same time.
        environment: `production` or `sandbox`; None for the value of `MESH_ENVIRONMENT`.
        retry_failed: Whether to read only the accounts whose outcome in the output is a failure.
        trust_keys: Whether to compare accounts by key and broker only; see `resuming`.
        max_pause: The total time in seconds that the run may pause when Mesh asks to wait; None
            for no limit.
    """

    accounts: Path
    output: Path
    concurrency: int
    environment: str | None
    retry_failed: bool
    trust_keys: bool
    max_pause: float | None = None

    def run(self) -> int:
        """Read the accounts, and return the exit code.

        Raises:
            ValueError: The accounts or the output cannot be used, or the outcomes in the output
                are those of other accounts.
            OSError: A file cannot be read or written.
            MeshConfigurationError: An environment variable or an option is missing or wrong.
        """
        check_keys_are_set()
        if self.output != STDOUT:
            check_output_name(self.output)  # before stdin is read, which may take long
        with open_accounts(self.accounts) as accounts:
            # This also finds every mistake in the file before the first request is sent.
            tally = _count_accounts(accounts)
            if tally.total == 0:
                raise ValueError(
                    f"{accounts.name} holds no account: CSV or JSON lines are expected"
                )
            if self.output == STDOUT:
                resumption = self._make_resumption(accounts, {}, tally)
                return self._read_balances(accounts, resumption, StandardOutput(), tally)
            return self._read_balances_into_file(accounts, tally)

    def _read_balances_into_file(self, accounts: AccountsFile, tally: Tally) -> int:
        """Read the selected accounts into the output file, and return the exit code.

        Raises:
            ValueError, OSError, MeshConfigurationError: See `run`.
        """
        if accounts.is_same_file(self.output):
            raise ValueError(f"{self.output} is the input: choose another output")
        if self.retry_failed and not self.output.exists():
            raise ValueError(
                f"{self.output} does not exist, so it holds no failed account. Run the command "
                "without --retry-failed."
            )
        with open_output(self.output) as output:
            resumption = self._make_resumption(accounts, output.outcomes, tally)
            if self.retry_failed and tally.selected > 0:
                with open_journal(output) as journal:
                    return self._read_balances(accounts, resumption, journal, tally)
            return self._read_balances(accounts, resumption, output, tally)

    def _make_resumption(
        self, accounts: AccountsFile, outcomes: Mapping[str, StoredOutcome], tally: Tally
    ) -> Resumption:
        """Return the selection of accounts, after checking the outcomes and counting both.

        Raises:
            ValueError: The outcomes are those of other accounts.
        """
        resumption = Resumption(
            output=self.output,
            outcomes=outcomes,
            retry_failed=self.retry_failed,
            trust_keys=self.trust_keys,
        )
        resumption.compare(accounts, tally)
        return resumption

    def _read_balances(
        self,
        accounts: AccountsFile,
        resumption: Resumption,
        writer: OutcomeWriter,
        tally: Tally,
    ) -> int:
        """Read the selected accounts, print the summary, and return the exit code."""
        selected = resumption.select(accounts)
        mesh = AsyncMeshClient(environment=self.environment)
        if not resumption.outcomes and tally.without_key > 0:
            click.echo(describe_missing_keys(tally, accounts.name), err=True)
        summary = Summary(tally, accounts.name, self.output, self.retry_failed)
        try:
            # If the run ends early, the generator is still reading the file of accounts. So it is
            # closed here, before that file.
            with contextlib.closing(selected):
                asyncio.run(self._write_outcomes(mesh, selected, resumption, writer, tally))
        except KeyboardInterrupt:
            self._report_interruption()
            return INTERRUPTED
        except AuthenticationError:
            click.echo(f"error: {summary.describe_early_end()}", err=True)
            return KEYS_REFUSED
        for line in summary.lines():
            click.echo(line, err=True)
        return tally.exit_code

    async def _write_outcomes(
        self,
        mesh: AsyncMeshClient,
        selected: Iterator[LinkedAccount],
        resumption: Resumption,
        writer: OutcomeWriter,
        tally: Tally,
    ) -> None:
        """Write outcomes as they arrive, and show a progress bar on a terminal.

        An answer 401 may mean that Mesh refuses the API keys, which says nothing about the account.
        So such outcomes are held back until another answer shows that Mesh accepts the keys. They
        are not written if the run is interrupted or raises an exception first, and the next run
        reads their accounts again. If the run ends normally, they are written; but if there was no
        other answer, an older failure that has another cause is kept.

        Raises:
            AuthenticationError: Mesh evidently refuses the API keys.
        """
        bar = self._make_progress_bar()
        total = tally.stored + tally.selected
        task_id = bar.add_task("", total=total, completed=tally.stored, failed=0, rate=0)
        held_back: list[Outcome] = []
        outcomes = mesh.get_account_balances(
            selected, concurrency=self.concurrency, max_pause=self.max_pause
        )
        async with mesh, contextlib.aclosing(outcomes):
            with bar:
                async for outcome in outcomes:
                    if _may_mean_refused_keys(outcome):
                        held_back.append(outcome)
                        continue
                    if is_answered(outcome):
                        _write_all(held_back, writer, tally)
                    _write_all([outcome], writer, tally)
                    bar.update(
                        task_id,
                        completed=tally.stored + tally.tried,
                        failed=tally.failed,
                        rate=bar.tasks[task_id].speed or 0,
                    )
        if tally.answered == 0:
            held_back = _keep_older_failures(held_back, resumption, tally)
        _write_all(held_back, writer, tally)

    def _make_progress_bar(self) -> progress.Progress:
        """Return a progress bar on stderr; it shows nothing unless stderr is a terminal."""
        stderr = console.Console(stderr=True)
        is_hidden = not stderr.is_terminal
        if self.output == STDOUT and sys.stdout.isatty():
            is_hidden = True  # the bar would be drawn between the outcomes
        return progress.Progress(
            progress.BarColumn(),
            progress.MofNCompleteColumn(),
            progress.TimeRemainingColumn(),
            "{task.fields[rate]:.0f}/s, {task.fields[failed]} failed",
            console=stderr,
            disable=is_hidden,
        )

    def _report_interruption(self) -> None:
        advice = "run the same command again to continue from here"
        if self.output == STDOUT:
            advice = "the same command starts again with the first account"
        click.echo(f"interrupted: {advice}", err=True)


def _count_accounts(accounts: AccountsFile) -> Tally:
    """Return a tally with the number of accounts, and of those without a key.

    Raises:
        ValueError: The file has a mistake.
        OSError: The file cannot be read.
    """
    tally = Tally()
    for record in accounts.read_records():
        tally.total += 1
        if not record.has_key:
            tally.without_key += 1
    return tally


def _may_mean_refused_keys(outcome: Outcome) -> bool:
    if outcome.error is None:
        return False
    return Failure.from_error(outcome.error).may_mean_refused_keys


def _keep_older_failures(
    refusals: list[Outcome], resumption: Resumption, tally: Tally
) -> list[Outcome]:
    """Return the outcomes to write, if every answer was a 401 that may be about the API keys.

    The others are only counted. Their accounts keep the failure of an earlier run, because it says
    more about the account.
    """
    to_write: list[Outcome] = []
    for outcome in refusals:
        older = resumption.outcomes.get(outcome.account.key)
        if older is None or older.failure is None or older.failure.may_mean_refused_keys:
            to_write.append(outcome)
        else:
            tally.add_read(outcome)
            tally.kept += 1
    return to_write


def _write_all(outcomes: list[Outcome], writer: OutcomeWriter, tally: Tally) -> None:
    """Write and count these outcomes, and empty the list."""
    for outcome in outcomes:
        writer.add(outcome)
        tally.add_read(outcome)
    outcomes.clear()
