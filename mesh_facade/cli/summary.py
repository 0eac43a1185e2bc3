"""Counts the outcomes of a run of `mesh-balance bulk`, and describes them in its last lines."""

import collections
from collections.abc import Iterator, Sequence
from pathlib import Path

import attrs

from mesh_facade import (
    BadRequestError,
    ConflictError,
    LockedError,
    MeshAPIError,
    MeshResponseError,
    NotFoundError,
    Outcome,
    PermissionDeniedError,
    UnavailableForLegalReasonsError,
)
from mesh_facade.cli.broker_names import find_similar_broker, is_listed_broker
from mesh_facade.cli.exit_codes import (
    CONNECTION_ADVICE,
    FAILED,
    KEYS_ADVICE,
    KEYS_REFUSED,
    PERMISSION_ADVICE,
    RECONNECT_ADVICE,
    UNREACHABLE,
    find_requested_wait,
)
from mesh_facade.cli.failures import Failure
from mesh_facade.cli.results import STDOUT, StoredOutcome
from mesh_facade.cli.terminal import one_line

_MAX_ACCOUNT_KEYS_SHOWN = 3
_MAX_CAUSES_SHOWN = 3
_MAX_BROKERS_COMPARED = 3

_ERRORS_AFTER_KEY_CHECK = (
    BadRequestError,
    PermissionDeniedError,
    NotFoundError,
    ConflictError,
    LockedError,
    UnavailableForLegalReasonsError,
)


@attrs.define
class Tally:
    """The counts of a run.

    Attributes:
        total: The accounts in the file.
        without_key: The accounts that have no key; the number of the record is their key.
        stored: The accounts that are not read again, because the output holds their outcomes.
        selected: The accounts that this run reads.
        tried: The accounts that this run has read, or tried to read, so far.
        answered: The accounts for which a complete answer came in this run: a balance, an error of
            Mesh, or an answer that cannot be used.
        answers_that_show_accepted_keys: The accounts whose answer in this run shows that Mesh
            accepts the API keys.
        keys_were_accepted_earlier: Whether an outcome in the output shows that Mesh accepted the
            API keys of an earlier run.
        unreachable: The accounts for which this run sent requests, but got no complete answer.
        possible_key_refusals: The accounts that got a 401 which may mean that Mesh refuses the API
            keys.
        failed_now: The accounts that failed in this run.
        kept: The accounts that failed in this run, but whose older failure stays in the output.
        longest_wait: The most seconds that Mesh asked to wait after a failure of this run; 0 if it
            did not ask for that.
        unlisted_brokers: The brokers that the spec does not list, and how many accounts with each
            of them failed with a 400, in this run or in an earlier one.
        failures: How many accounts failed for each cause, in this run or in an earlier one.
        orphaned_keys: The keys of outcomes in the output that no account in the file has.
    """

    total: int = 0
    without_key: int = 0
    stored: int = 0
    selected: int = 0
    tried: int = 0
    answered: int = 0
    answers_that_show_accepted_keys: int = 0
    keys_were_accepted_earlier: bool = False
    unreachable: int = 0
    possible_key_refusals: int = 0
    failed_now: int = 0
    kept: int = 0
    longest_wait: int = 0
    unlisted_brokers: collections.Counter[str] = attrs.field(factory=collections.Counter[str])
    failures: collections.Counter[Failure] = attrs.field(factory=collections.Counter[Failure])
    orphaned_keys: Sequence[str] = ()

    def add_stored(self, outcome: StoredOutcome) -> None:
        """Count an outcome that an earlier run wrote."""
        self.stored += 1
        if outcome.failure is not None:
            self._add_cause(outcome.failure, outcome.broker)

    def add_outcome(self, outcome: Outcome) -> None:
        """Count an outcome of this run, a balance or a failure."""
        self.tried += 1
        if _is_answered(outcome):
            self.answered += 1
        if shows_accepted_api_keys(outcome):
            self.answers_that_show_accepted_keys += 1
        if outcome.error is not None:
            self._add_error(outcome.error, str(outcome.account.broker))

    def _add_error(self, error: Exception, broker: str) -> None:
        """Count a failure of this run."""
        self.failed_now += 1
        failure = Failure.from_error(error)
        if failure.is_unreachable:
            self.unreachable += 1
        if failure.may_mean_refused_keys:
            self.possible_key_refusals += 1
        wait = find_requested_wait(error)
        if wait is not None:
            self.longest_wait = max(self.longest_wait, wait)
        self._add_cause(failure, broker)

    def _add_cause(self, failure: Failure, broker: str) -> None:
        """Count the cause of a failure, of this run or of an earlier one."""
        self.failures[failure] += 1
        if failure.is_bad_request and not is_listed_broker(broker):
            self.unlisted_brokers[broker] += 1

    @property
    def keys_were_accepted(self) -> bool:
        """True if an answer of this run or of an earlier one shows that Mesh accepted the keys."""
        return self.answers_that_show_accepted_keys > 0 or self.keys_were_accepted_earlier

    @property
    def succeeded_now(self) -> int:
        """How many accounts this run has read successfully."""
        return self.tried - self.failed_now

    @property
    def failed(self) -> int:
        """How many accounts have a failure as their outcome, stored or of this run."""
        return self.failures.total()

    @property
    def skipped(self) -> int:
        """How many accounts have no outcome, and are not read either."""
        return self.total - self.stored - self.selected

    @property
    def exit_code(self) -> int:
        """The exit code of a run that was not interrupted.

        UNREACHABLE and KEYS_REFUSED depend on this run alone. The code is UNREACHABLE if requests
        were sent, and no complete answer came to any of them. It is KEYS_REFUSED if the run
        got a 401 that may be about the keys, and no answer that shows accepted keys. A failure of
        an earlier run only makes the code FAILED instead of 0.
        """
        if self.failed == 0:
            return 0
        if self.unreachable > 0 and self.answered == 0:
            return UNREACHABLE
        if self.possible_key_refusals > 0 and self.answers_that_show_accepted_keys == 0:
            return KEYS_REFUSED
        return FAILED


@attrs.frozen
class Summary:
    """What is printed at the end of a run.

    Attributes:
        tally: The counts of the run.
        accounts_name: The name of the file of accounts.
        output: The output, or STDOUT.
        retry_failed: Whether the run was to read failed accounts again.
    """

    tally: Tally
    accounts_name: str
    output: Path
    retry_failed: bool

    def lines(self) -> Iterator[str]:
        """Yield the lines to print: the counts first, then what the user should do."""
        yield self._describe_accounts()
        others = [
            self._describe_skipped_accounts(),
            self._describe_failed_accounts(),
            self._describe_causes(),
            self._describe_kept_failures(),
            self._describe_orphaned_outcomes(),
        ]
        for line in others:
            if line is not None:
                yield line
        yield from self._advise_on_failures()

    def describe_early_end(self) -> str:
        """Return what to print if a run ends early because one answer after another was a 401."""
        evidence = "too many answers in a row were HTTP 401"
        return self._explain_401s(evidence, "run the same command again")

    @property
    def _mentions_stored_outcomes(self) -> bool:
        """Return True if the first line also counts the outcomes that this run leaves as they are.

        A run that reads no account counts them even if there are 0: it has nothing else to report.
        """
        return self.tally.stored > 0 or self.tally.selected == 0

    def _describe_accounts(self) -> str:
        if self._mentions_stored_outcomes:
            return self._describe_selected_and_stored_accounts()
        return self._describe_selected_accounts()

    def _describe_selected_accounts(self) -> str:
        tally = self.tally
        selected = _format_count(tally.selected, "account")
        if tally.failed_now == 0:
            line = f"{selected} read, 0 failed"
        else:
            line = f"{selected}: {tally.succeeded_now} read, {tally.failed_now} failed"
        if self.output != STDOUT:
            line += f": {self.output}"
        return line

    def _describe_selected_and_stored_accounts(self) -> str:
        tally = self.tally
        line = f"{tally.succeeded_now} read, "
        if tally.failed_now > 0:
            line += f"{tally.failed_now} failed, "
        line += f"{tally.stored} already in {self.output}"
        if tally.selected == 0 and tally.skipped == 0:
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
        """Count the failed accounts, unless `_describe_accounts` has done so."""
        if not self._mentions_stored_outcomes or self.tally.failed == 0:
            return None
        total = _format_count(self.tally.total, "account")
        return f"{self.tally.failed} of {total} failed: see {self.output}"

    def _describe_causes(self) -> str | None:
        """Name the most frequent causes of failures, such as "2 ServerError, 1 NotFoundError"."""
        failures = self.tally.failures
        if not failures:
            return None
        shown = [f"{count} {cause}" for cause, count in failures.most_common(_MAX_CAUSES_SHOWN)]
        line = "failures: " + ", ".join(shown)
        others = len(failures) - _MAX_CAUSES_SHOWN
        if others > 0:
            line += f" and {_format_count(others, 'other cause')}"
        return line

    def _describe_kept_failures(self) -> str | None:
        """Count the older failures that were not replaced by a 401."""
        kept = self.tally.kept
        if kept == 0:
            return None
        if kept == 1:
            return (
                f"1 older failure stays in {self.output}, because the HTTP 401 of this run may be "
                "about the API keys, not about the account"
            )
        return (
            f"{kept} older failures stay in {self.output}, because the HTTP 401s of this run may "
            "be about the API keys, not about the accounts"
        )

    def _describe_orphaned_outcomes(self) -> str | None:
        """Name the outcomes of accounts that are no longer in the file, such as unlinked ones."""
        keys = self.tally.orphaned_keys
        if not keys:
            return None
        shown = ", ".join(one_line(key) for key in keys[:_MAX_ACCOUNT_KEYS_SHOWN])
        if len(keys) > _MAX_ACCOUNT_KEYS_SHOWN:
            shown += f" and {len(keys) - _MAX_ACCOUNT_KEYS_SHOWN} more"
        if len(keys) == 1:
            return (
                f"1 outcome in {self.output} belongs to no account of {self.accounts_name} "
                f"(key: {shown}). It stays there and is not counted; to leave it out, choose "
                "another output"
            )
        return (
            f"{len(keys)} outcomes in {self.output} belong to no account of {self.accounts_name} "
            f"(keys: {shown}). They stay there and are not counted; to leave them out, choose "
            "another output"
        )

    def _advise_on_failures(self) -> Iterator[str]:
        """Yield what the user should do, as far as the causes of the failures show it.

        Advice on a mistake that the user must correct is given by each later run too, as long as
        the output holds the failures. If Mesh could not be reached or asked to wait, only the run
        in which that happened says so, because it may be over by the next one.

        If an older failure of an account stays in the output (see `Tally.kept`), the advice is
        about the 401 of this run, not about the older failure.
        """
        tally = self.tally
        if tally.failed == 0:
            return
        if tally.exit_code == UNREACHABLE:
            yield f"Mesh could not be reached: {CONNECTION_ADVICE}"
        if tally.longest_wait > 0:
            yield f"Mesh asks to wait {tally.longest_wait} s before you read accounts again"
        yield from self._advise_on_causes()
        if tally.exit_code == KEYS_REFUSED:
            next_step = "add --retry-failed"
            if self.output == STDOUT or self.retry_failed:
                next_step = "run the command again"
            yield self._explain_401s(self._describe_401s_of_this_run(), next_step)
        elif self._stored_401s_suggest_refused_keys:
            yield (
                "every failure is HTTP 401, so Mesh probably refused the API keys of the earlier "
                f"run: if they are correct now, add --retry-failed; else {KEYS_ADVICE}"
            )
        else:
            yield from self._advise_on_401s_about_accounts()
            if self.output != STDOUT and not self.retry_failed:
                yield "to read the failed accounts again, add --retry-failed"

    def _advise_on_causes(self) -> Iterator[str]:
        """Yield what the user should correct, except for a 401 that may be about the API keys."""
        tally = self.tally
        dead_tokens = 0
        is_permission_missing = False
        for cause, count in tally.failures.items():
            if cause.is_dead_token:
                dead_tokens += count
            if cause.is_missing_permission:
                is_permission_missing = True
        if dead_tokens > 0:
            yield f"{_format_count(dead_tokens, 'dead token')}: {RECONNECT_ADVICE}"
        if is_permission_missing:
            yield f"HTTP 403: {PERMISSION_ADVICE}"
        if tally.unlisted_brokers:
            yield _suggest_brokers(tally.unlisted_brokers)

    @property
    def _stored_401s_suggest_refused_keys(self) -> bool:
        """True if this run read nothing, each failure is a 401, and nothing shows accepted keys."""
        tally = self.tally
        if tally.tried > 0 or tally.keys_were_accepted:
            return False
        return all(cause.may_mean_refused_keys for cause in tally.failures)

    def _describe_401s_of_this_run(self) -> str:
        """Return a clause that says how many answers of this run were 401s."""
        tally = self.tally
        if tally.possible_key_refusals == tally.answered:
            return "every answer was HTTP 401"
        answers = "1 answer was HTTP 401"
        if tally.possible_key_refusals > 1:
            answers = f"{tally.possible_key_refusals} answers were HTTP 401"
        return f"{answers}, and no other answer of this run shows that Mesh accepts the API keys"

    def _explain_401s(self, evidence: str, next_step: str) -> str:
        """Return why Mesh may have answered with 401s, and what the user should do."""
        if self.tally.keys_were_accepted:
            return (
                f"{evidence}. Mesh accepted API keys before, so the keys or the users' tokens are "
                f"no longer valid: {KEYS_ADVICE}, or refresh the tokens, then {next_step}"
            )
        return f"{evidence}, so Mesh probably refuses the API keys: {KEYS_ADVICE}, then {next_step}"

    def _advise_on_401s_about_accounts(self) -> Iterator[str]:
        """Yield what to do about 401s that do not suggest that Mesh refuses the API keys.

        A 401 of this run is probably about the user's token: another answer of this run has shown
        that Mesh accepts the API keys, else `exit_code` would be KEYS_REFUSED. An earlier run may
        have used other API keys, so a stored 401 shows nothing until the account is read again.
        """
        in_this_run = self.tally.possible_key_refusals
        in_all = 0
        for cause, count in self.tally.failures.items():
            if cause.may_mean_refused_keys:
                in_all += count
        in_earlier_runs = in_all - in_this_run
        if in_this_run > 0:
            yield (
                f"{_format_count(in_this_run, 'account')} got HTTP 401, probably because of the "
                "user's token (Mesh accepted the API keys for other accounts in this run): refresh "
                "the token"
            )
        if in_earlier_runs > 0:
            yield (
                f"{_format_count(in_earlier_runs, 'account')} got HTTP 401 in an earlier run, "
                "because of that run's API keys or the user's token: read such accounts again "
                "before you refresh their tokens"
            )


def shows_accepted_api_keys(outcome: Outcome) -> bool:
    """Return True if this outcome shows that Mesh accepts the API keys.

    A balance shows it, and so does an error that Mesh reports only after it has checked the keys: a
    dead token, or a status such as `notFound`. Other errors show nothing, because they may arise
    before Mesh checks the keys. An answer whose body has no `status` may come from a gateway or a
    proxy. A status such as `tooManyRequest` or `serverFailure` is about Mesh itself.
    """
    error = outcome.error
    if error is None:
        return True
    if not isinstance(error, MeshAPIError):
        return False
    if error.reconnect_required:
        return True
    return error.status is not None and isinstance(error, _ERRORS_AFTER_KEY_CHECK)


def _is_answered(outcome: Outcome) -> bool:
    """Return True if a complete answer came for this account, whatever it was."""
    return outcome.error is None or isinstance(outcome.error, MeshAPIError | MeshResponseError)


def describe_accounts_without_key(tally: Tally, accounts_name: str) -> str:
    """Return the line for a file in which accounts have no key."""
    if tally.without_key == tally.total:
        return f"{accounts_name}: no account has a key: record numbers are the keys"
    if tally.without_key == 1:
        return f"{accounts_name}: 1 account has no key: its record number is its key"
    return (
        f"{accounts_name}: {tally.without_key} accounts have no key: "
        "their record numbers are their keys"
    )


def _suggest_brokers(unlisted: collections.Counter[str]) -> str:
    """Return advice on the unlisted brokers of accounts that failed with a 400.

    The brokers are not quoted: if the file has its columns in the wrong order, they are tokens.
    """
    suggestions: list[str] = []
    for broker, _ in unlisted.most_common(_MAX_BROKERS_COMPARED):
        similar = find_similar_broker(broker)
        if similar is not None and similar not in suggestions:
            suggestions.append(similar)
    advice = "`mesh-balance brokers` lists the known brokers"
    if suggestions:
        advice = f"did you mean {' or '.join(suggestions)}?"
    count = unlisted.total()
    if count == 1:
        return f"1 account with HTTP 400 has a broker that the spec does not list: {advice}"
    return f"{count} accounts with HTTP 400 have brokers that the spec does not list: {advice}"


def _format_count(number: int, noun: str) -> str:
    """Return a number with its noun: "1 account" or "2 accounts"."""
    if number == 1:
        return f"{number} {noun}"
    return f"{number} {noun}s"
