"""`mesh-balance bulk`: reads many accounts, writes their outcomes, and resumes an earlier run."""

import asyncio
import contextlib
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import click

from mesh_facade import AsyncMeshClient, LinkedAccount, Outcome
from mesh_facade.cli.accounts import AccountsFile, open_accounts
from mesh_facade.cli.exit_codes import INTERRUPTED, may_mean_refused_keys
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
from mesh_facade.cli.summary import Summary, Tally

if TYPE_CHECKING:
    from rich.progress import Progress


@attrs.frozen
class BulkRun:
    """A run of `mesh-balance bulk`, with its options.

    Attributes:
        accounts: The file of accounts; `-` for stdin.
        output: The output; `-` for stdout.
        concurrency: How many accounts are read at a time.
        environment: `production` or `sandbox`; None for that of `MESH_ENVIRONMENT`.
        retry_failed: Whether to read only the accounts whose outcome in the output is a failure.
        trust_keys: Whether accounts are compared by key and broker alone; see `resuming`.
        max_pause: Seconds that the run may pause in all; None for no bound.
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
            ValueError: The accounts or the output cannot be used, or do not belong together.
            OSError: A file cannot be read or written.
            MeshError: Mesh cannot be asked: a key or an option is wrong, or the keys are refused.
        """
        if self.output != STDOUT:
            check_output_name(self.output)
        with open_accounts(self.accounts) as accounts:
            tally = Tally(total=sum(1 for _ in accounts.read_records()))
            if tally.total == 0:
                raise ValueError(
                    f"{accounts.name} holds no account: CSV or JSON lines are expected"
                )
            if self.output == STDOUT:
                resumption = self._compare(accounts, {}, tally)
                return self._read(accounts, resumption, StandardOutput(), tally)
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
            resumption = self._compare(accounts, output.outcomes, tally)
            if not self.retry_failed or tally.selected == 0:
                return self._read(accounts, resumption, output, tally)
            with open_journal(output) as journal:
                return self._read(accounts, resumption, journal, tally)

    def _compare(
        self, accounts: AccountsFile, outcomes: Mapping[str, StoredOutcome], tally: Tally
    ) -> Resumption:
        """Count what is to be read; ValueError if the outcomes are those of other accounts."""
        resumption = Resumption(
            output=self.output,
            outcomes=outcomes,
            retry_failed=self.retry_failed,
            trust_keys=self.trust_keys,
        )
        resumption.compare(accounts, tally)
        return resumption

    def _read(
        self,
        accounts: AccountsFile,
        resumption: Resumption,
        writer: OutcomeWriter,
        tally: Tally,
    ) -> int:
        """Read the selected accounts, report how that went, and return the exit code."""
        selected = resumption.select(accounts)
        mesh = AsyncMeshClient(environment=self.environment)
        try:
            with contextlib.closing(selected):  # before the file of accounts is closed
                asyncio.run(self._write_outcomes(mesh, selected, writer, tally))
        except KeyboardInterrupt:
            self._report_interruption()
            return INTERRUPTED
        summary = Summary(tally, accounts.name, self.output, self.retry_failed)
        for line in summary.lines():
            click.echo(line, err=True)
        return tally.exit_code

    async def _write_outcomes(
        self,
        mesh: AsyncMeshClient,
        accounts: Iterator[LinkedAccount],
        writer: OutcomeWriter,
        tally: Tally,
    ) -> None:
        """Write outcomes as they come, and show a progress bar on a terminal.

        Refused keys say nothing about an account. So an outcome that may mean refused keys is held
        back until another answer shows that the keys are accepted. If the run raises instead, such
        outcomes are not written, and the next run reads these accounts again.
        """
        bar = self._make_progress_bar()
        total = tally.stored + tally.selected
        task = bar.add_task("", total=total, completed=tally.stored, failed=0, rate=0)
        held_back: list[Outcome] = []
        outcomes = mesh.get_account_balances(
            accounts, concurrency=self.concurrency, max_pause=self.max_pause
        )
        async with mesh, contextlib.aclosing(outcomes):
            with bar:
                async for outcome in outcomes:
                    held_back.append(outcome)
                    if may_mean_refused_keys(outcome.error):
                        continue
                    _write_all(held_back, writer, tally)
                    bar.update(
                        task,
                        completed=tally.stored + tally.read,
                        failed=tally.failed,
                        rate=bar.tasks[task].speed or 0,
                    )
        _write_all(held_back, writer, tally)

    def _make_progress_bar(self) -> "Progress":
        """Return a progress bar on stderr; it shows nothing unless stderr is a terminal."""
        from rich import console, progress  # noqa: PLC0415 — takes longer than all of --help

        stderr = console.Console(stderr=True)
        is_hidden = not stderr.is_terminal
        if self.output == STDOUT and sys.stdout.isatty():
            is_hidden = True  # the terminal shows outcomes, and the bar would be written into them
        return progress.Progress(
            progress.BarColumn(),
            progress.MofNCompleteColumn(),
            progress.TimeRemainingColumn(),
            "{task.fields[rate]:.0f}/s, {task.fields[failed]} failed",
            console=stderr,
            disable=is_hidden,
        )

    def _report_interruption(self) -> None:
        advice = "the same command goes on from here"
        if self.output == STDOUT:
            advice = "the same command starts again with the first account"
        click.echo(f"interrupted: {advice}", err=True)


def _write_all(outcomes: list[Outcome], writer: OutcomeWriter, tally: Tally) -> None:
    """Write and count these outcomes, and empty the list."""
    while outcomes:
        outcome = outcomes.pop(0)
        writer.add(outcome)
        tally.add_read(outcome)
