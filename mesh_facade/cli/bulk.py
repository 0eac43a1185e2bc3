"""`mesh-balance bulk`: reads many accounts, writes their outcomes, and resumes an earlier run."""

import asyncio
import contextlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import attrs
from rich import console, progress

from mesh_facade import AsyncMeshClient, AuthenticationError, LinkedAccount, Outcome
from mesh_facade.cli.accounts import AccountsFile, open_accounts
from mesh_facade.cli.exit_codes import INTERRUPTED, KEYS_REFUSED
from mesh_facade.cli.failures import Failure
from mesh_facade.cli.pause_reporter import PauseReporter
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
from mesh_facade.cli.summary import (
    Summary,
    Tally,
    describe_accounts_without_key,
    shows_accepted_api_keys,
)
from mesh_facade.cli.terminal import print_message, redirect_to_devnull
from mesh_facade.cli.variables import check_api_keys_are_set


class _StderrConsole(console.Console):
    """rich's console on stderr, which keeps working after the reader of stderr has ended."""

    def on_broken_pipe(self) -> None:
        # rich would redirect stdout, which may still have a reader, and exit.
        redirect_to_devnull(sys.stderr)


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
        check_api_keys_are_set()
        # The client checks its options. This comes first, so that a mistake in them leaves no new
        # output file behind.
        mesh = AsyncMeshClient(
            environment=self.environment,
            max_connections=self.concurrency,
            on_attempt=PauseReporter(),
        )
        if self.output != STDOUT:
            check_output_name(self.output)  # before stdin is read, which may take long
        with open_accounts(self.accounts) as accounts:
            # This also finds the mistakes that `accounts` checks for, before any request is sent.
            tally = _count_accounts(accounts)
            if tally.total == 0:
                raise ValueError(
                    f"{accounts.name} holds no account: CSV or JSON lines are expected"
                )
            if self.output == STDOUT:
                resumption = self._prepare_resumption(accounts, {}, tally)
                return self._read_balances(mesh, accounts, resumption, StandardOutput(), tally)
            return self._read_balances_into_file(mesh, accounts, tally)

    def _read_balances_into_file(
        self, mesh: AsyncMeshClient, accounts: AccountsFile, tally: Tally
    ) -> int:
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
            # A copy, because the output adds the outcomes of this run to its own dict.
            older_outcomes = dict(output.outcomes)
            resumption = self._prepare_resumption(accounts, older_outcomes, tally)
            if self.retry_failed and tally.selected > 0:
                # The new outcomes replace old ones, so they go into a journal first. At the end it
                # is merged into the output.
                with open_journal(output) as journal:
                    return self._read_balances(mesh, accounts, resumption, journal, tally)
            return self._read_balances(mesh, accounts, resumption, output, tally)

    def _prepare_resumption(
        self, accounts: AccountsFile, outcomes: Mapping[str, StoredOutcome], tally: Tally
    ) -> Resumption:
        """Return a resumption that has checked the accounts and counted them in the tally.

        Raises:
            ValueError: The outcomes are those of other accounts.
        """
        resumption = Resumption(
            output=self.output,
            outcomes=outcomes,
            retry_failed=self.retry_failed,
            trust_keys=self.trust_keys,
        )
        resumption.check_and_count(accounts, tally)
        return resumption

    def _read_balances(
        self,
        mesh: AsyncMeshClient,
        accounts: AccountsFile,
        resumption: Resumption,
        writer: OutcomeWriter,
        tally: Tally,
    ) -> int:
        """Read the selected accounts, print the summary, and return the exit code."""
        selected = resumption.select(accounts)
        is_new_output = not resumption.outcomes
        if is_new_output and tally.without_key > 0:
            print_message(describe_accounts_without_key(tally, accounts.name))
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
            print_message(f"error: {summary.describe_early_end()}")
            return KEYS_REFUSED
        for line in summary.lines():
            print_message(line)
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

        A 401 may mean that Mesh refuses the API keys, which says nothing about the account. So such
        outcomes are held back until a later answer shows that Mesh accepts the keys. They are not
        written if the run is interrupted or raises an exception first, and the next run reads their
        accounts again.

        If the run ends normally, they are written, except for those that
        `_write_unless_an_older_failure_stays` leaves out.

        Raises:
            AuthenticationError: Mesh evidently refuses the API keys.
        """
        bar = self._make_progress_bar()
        total = tally.stored + tally.selected
        task_id = bar.add_task("", total=total, completed=tally.stored, failed=tally.failed, rate=0)
        held_back: list[Outcome] = []
        outcomes = mesh.get_account_balances(
            selected, concurrency=self.concurrency, max_pause=self.max_pause
        )
        async with mesh, contextlib.aclosing(outcomes):
            with bar:
                async for outcome in outcomes:
                    if _may_mean_refused_keys(outcome):
                        held_back.append(outcome)
                    else:
                        if shows_accepted_api_keys(outcome):
                            _write_all(held_back, writer, tally)
                            held_back.clear()
                        _write_all([outcome], writer, tally)
                    speed = bar.tasks[task_id].speed
                    if speed is None:  # at the beginning
                        speed = 0
                    bar.update(
                        task_id,
                        completed=tally.stored + tally.tried + len(held_back),
                        failed=tally.failed + len(held_back),
                        rate=speed,
                    )
        if tally.answers_that_show_accepted_keys > 0:
            _write_all(held_back, writer, tally)
        else:
            _write_unless_an_older_failure_stays(held_back, resumption, writer, tally)

    def _make_progress_bar(self) -> progress.Progress:
        """Return a progress bar on stderr.

        It is hidden if stderr is not a terminal, or if the outcomes are printed on a terminal.
        """
        stderr = _StderrConsole(stderr=True)
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
        print_message(f"interrupted: {advice}")


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
    """Return True for a 401 that may be about the API keys rather than about a user's token."""
    if outcome.error is None:
        return False
    return Failure.from_error(outcome.error).may_mean_refused_keys


def _write_all(outcomes: Sequence[Outcome], writer: OutcomeWriter, tally: Tally) -> None:
    """Write and count outcomes."""
    for outcome in outcomes:
        writer.add(outcome)
        tally.add_outcome(outcome)


def _write_unless_an_older_failure_stays(
    held_back: Sequence[Outcome], resumption: Resumption, writer: OutcomeWriter, tally: Tally
) -> None:
    """Write and count the 401s of a run in which no answer showed that Mesh accepts the keys.

    With `--retry-failed`, the output may hold an older failure of the same account. If it is not a
    401 that may be about the keys, the older failure says more: it stays, and the new 401 is not
    written.
    """
    for outcome in held_back:
        older = resumption.outcomes.get(outcome.account.key)
        if older is not None and _says_more_than_a_401(older, outcome.account):
            tally.kept += 1
        else:
            writer.add(outcome)
        tally.add_outcome(outcome)


def _says_more_than_a_401(older: StoredOutcome, account: LinkedAccount) -> bool:
    """Return True for a failure of this very account that is not about the API keys."""
    if older.failure is None or older.failure.may_mean_refused_keys:
        return False
    return older.was_read_with(account)
