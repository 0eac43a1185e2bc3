"""The counts of a run of `mesh-balance bulk`, and what its end prints on stderr."""

import collections
from collections.abc import Iterator, Sequence
from pathlib import Path

import attrs

from mesh_facade import Outcome
from mesh_facade.cli.exit_codes import FAILED, KEYS_REFUSED, UNREACHABLE, may_mean_refused_keys
from mesh_facade.cli.results import STDOUT, StoredOutcome
from mesh_facade.cli.terminal import one_line

_UNREACHABLE_ERRORS = ("MeshConnectionError", "MeshTimeoutError", "MeshTLSError")
_MOST_KEYS_SHOWN = 3


@attrs.define
class Tally:
    """The counts of a run.

    Attributes:
        total: The accounts of the file.
        stored: Those whose outcomes the output holds and that are not read again.
        selected: Those that this run is to read.
        read: Those that it has read.
        refused: Those of them whose answer may mean that the API keys are refused.
        failures: How often each error class is the outcome of an account, stored or read.
        unlisted: The keys of outcomes in the output that belong to no account of the file.
    """

    total: int
    stored: int = 0
    selected: int = 0
    read: int = 0
    refused: int = 0
    failures: collections.Counter[str] = attrs.field(factory=collections.Counter[str])
    unlisted: Sequence[str] = ()

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
        if may_mean_refused_keys(outcome.error):
            self.refused += 1

    @property
    def failed(self) -> int:
        """How many accounts have a failure as their outcome, stored or read."""
        return self.failures.total()

    @property
    def skipped(self) -> int:
        """How many accounts have no outcome, and are not read either."""
        return self.total - self.stored - self.selected

    @property
    def exit_code(self) -> int:
        """The exit code of a run that was not interrupted."""
        if self.failed == 0:
            return 0
        unreachable = sum(self.failures[name] for name in _UNREACHABLE_ERRORS)
        if unreachable == self.total:
            return UNREACHABLE
        if self.refused + unreachable == self.total:  # each answer that came was a refusal
            return KEYS_REFUSED
        return FAILED


@attrs.frozen
class Summary:
    """What is printed at the end of a run.

    Attributes:
        tally: The counts of the run.
        accounts: The name of the file of accounts.
        output: The output, or STDOUT.
        retry_failed: Whether the run was to read failed accounts again.
    """

    tally: Tally
    accounts: str
    output: Path
    retry_failed: bool

    def lines(self) -> Iterator[str]:
        """Yield the lines to print: the counts first, then what the user should do."""
        yield self._describe_accounts()
        others = [
            self._describe_skipped_accounts(),
            self._describe_failed_accounts(),
            self._describe_unlisted_outcomes(),
            self._advise_on_failures(),
        ]
        for line in others:
            if line is not None:
                yield line

    @property
    def _is_resumed(self) -> bool:
        """Return True if the output holds outcomes that are not read again."""
        return self.tally.stored > 0 or self.tally.selected == 0

    def _describe_accounts(self) -> str:
        tally = self.tally
        if not self._is_resumed:
            line = f"{_count(tally.read, 'account')} read, {tally.failed} failed"
            if self.output != STDOUT:
                line += f": {self.output}"
            return line
        line = f"{tally.read} read, {tally.stored} already in {self.output}"
        if tally.selected == 0:
            line += "; to read all accounts again, choose another output"
        return line

    def _describe_skipped_accounts(self) -> str | None:
        skipped = self.tally.skipped
        if skipped == 0:
            return None
        if skipped == 1:
            return "1 account has no outcome yet: run the command without --retry-failed to read it"
        return (
            f"{skipped} accounts have no outcome yet: run the command without --retry-failed to "
            "read them"
        )

    def _describe_failed_accounts(self) -> str | None:
        """Count the failures of a resumed run; the first line has those of any other."""
        if not self._is_resumed or self.tally.failed == 0:
            return None
        total = _count(self.tally.total, "account")
        return f"{self.tally.failed} of {total} failed: see {self.output}"

    def _describe_unlisted_outcomes(self) -> str | None:
        """Name the outcomes of accounts that are no longer in the file, such as unlinked ones."""
        keys = self.tally.unlisted
        if not keys:
            return None
        shown = ", ".join(one_line(key) for key in keys[:_MOST_KEYS_SHOWN])
        if len(keys) > _MOST_KEYS_SHOWN:
            shown += f" and {len(keys) - _MOST_KEYS_SHOWN} more"
        if len(keys) == 1:
            return (
                f"1 outcome in {self.output} belongs to no account of {self.accounts} "
                f"(key: {shown}). It stays there and is not counted; to leave it out, choose "
                "another output"
            )
        return (
            f"{len(keys)} outcomes in {self.output} belong to no account of {self.accounts} "
            f"(keys: {shown}). They stay there and are not counted; to leave them out, choose "
            "another output"
        )

    def _advise_on_failures(self) -> str | None:
        if self.tally.exit_code == KEYS_REFUSED:
            next_step = "add --retry-failed"
            if self.output == STDOUT or self.retry_failed:
                next_step = "run the command again"
            return (
                "every answer was HTTP 401, so Mesh probably refuses the API keys: check "
                "MESH_CLIENT_ID, MESH_CLIENT_SECRET and the environment (`mesh-balance doctor` "
                f"tells more), then {next_step}"
            )
        if self.tally.failed == 0 or self.output == STDOUT or self.retry_failed:
            return None
        return (
            "to read the failed accounts again, with new tokens if you have any, add --retry-failed"
        )


def _count(number: int, noun: str) -> str:
    """Return such as "1 account" or "2 accounts"."""
    if number == 1:
        return f"{number} {noun}"
    return f"{number} {noun}s"
