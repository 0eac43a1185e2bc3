"""Resumes a run of `mesh-balance bulk`: selects accounts that are left to read, and mixes none up.

An outcome belongs to an account if it has the account's key and was read with its token and broker
(`fingerprints`). All accounts are compared with the outcomes before anything is read. The run is
refused in three cases, because the output was written for other accounts or with other keys:

- An outcome has the key of an account, but was read with another token or broker.
- None of the outcomes has the key of an account.
- The outcome of an account has another key than the account.

Some outcomes may have keys that the file no longer lists: those users are not linked any more. Such
outcomes are kept, and the end of the run names them.
"""

from collections.abc import Generator, Mapping
from pathlib import Path

import attrs

from mesh_facade import LinkedAccount
from mesh_facade.cli.accounts import AccountsFile, Record
from mesh_facade.cli.results import StoredOutcome
from mesh_facade.cli.summary import Tally

_MOST_COMPARED = 20
"""With how many outcomes an account is compared, to find its own under another key. This bounds the
time: a comparison takes 6 µs. Keys are usually changed all at once, so a few show it."""


@attrs.frozen
class Resumption:
    """Compares the accounts of a file with the outcomes in an output.

    Attributes:
        output: The name of the output, for messages.
        outcomes: The outcomes that it holds, by key.
        retry_failed: Whether to read accounts whose outcome is a failure, and only those; if not,
            accounts without an outcome are read.
        trust_keys: Whether a key and a broker identify an account although its token is another.
    """

    output: Path
    outcomes: Mapping[str, StoredOutcome]
    retry_failed: bool
    trust_keys: bool

    def select(self, accounts: AccountsFile) -> Generator[LinkedAccount]:
        """Yield the accounts that are to be read."""
        for record in accounts.read_records():
            if self._is_selected(self.outcomes.get(record.account.key)):
                yield record.account

    def compare(self, accounts: AccountsFile, tally: Tally) -> None:
        """Count the accounts that are to be read, and the outcomes that are kept.

        Raises:
            ValueError: The outcomes are those of other accounts, or of accounts with other keys.
        """
        if not self.outcomes and not self.retry_failed:
            tally.selected = tally.total
            return
        unlisted = dict(self.outcomes)
        # These have the key of an account, but no fingerprint shows that they belong to it.
        unproven: list[StoredOutcome] = []
        for record in accounts.read_records():
            outcome = unlisted.pop(record.account.key, None)
            is_proven = outcome is not None and outcome.belongs_to(record.account)
            if outcome is not None and not is_proven:
                unproven.append(outcome)
            if self._is_selected(outcome):
                tally.selected += 1
            elif outcome is not None:
                if not is_proven and not self._is_trusted(record, outcome):
                    raise ValueError(self._describe_mismatch(accounts, record, outcome))
                tally.add_stored(outcome)
        if self.outcomes and len(unlisted) == len(self.outcomes):
            raise ValueError(self._describe_foreign_output(accounts))
        unproven.extend(unlisted.values())
        self._check_for_changed_keys(accounts, unproven[:_MOST_COMPARED])
        tally.unlisted = list(unlisted)

    def _is_selected(self, outcome: StoredOutcome | None) -> bool:
        """Return True if an account with this outcome in the output is to be read."""
        if self.retry_failed:
            return outcome is not None and outcome.error is not None
        return outcome is None

    def _is_trusted(self, record: Record, outcome: StoredOutcome) -> bool:
        """Return True if `--trust-keys` says that an outcome with the record's key is its own."""
        return self.trust_keys and record.has_key and outcome.broker == record.account.broker

    def _check_for_changed_keys(
        self, accounts: AccountsFile, unproven: list[StoredOutcome]
    ) -> None:
        """Raise ValueError if one of these outcomes was read for an account with another key."""
        if not unproven:
            return
        for record in accounts.read_records():
            own = self.outcomes.get(record.account.key)
            if own is not None and own.belongs_to(record.account):
                continue
            for outcome in unproven:
                if outcome.belongs_to(record.account):
                    raise ValueError(
                        f"{accounts.name}, line {record.line_number}: {self.output} holds the "
                        f"outcome of this account under another key: {outcome.key}. Lines were "
                        "moved, or keys were changed. Choose another output, or give the account "
                        "its old key."
                    )

    def _describe_foreign_output(self, accounts: AccountsFile) -> str:
        count = len(self.outcomes)
        subject = f"none of the {count} outcomes in {self.output} belongs"
        if count == 1:
            subject = f"the outcome in {self.output} does not belong"
        return (
            f"{accounts.name}: {subject} to an account of this file. {self.output} was written for "
            "another file or with other keys: for example, a column 'key' was added or removed "
            "since. Choose another output."
        )

    def _describe_mismatch(
        self, accounts: AccountsFile, record: Record, outcome: StoredOutcome
    ) -> str:
        place = f"{accounts.name}, line {record.line_number}"
        has_failed = outcome.error is not None
        if not record.has_key:
            advice = "Choose another output; a column 'key' lets you change the order of the lines."
            if has_failed:
                advice = (
                    "If you only renewed or corrected the token or the broker of this failed "
                    "account, add --retry-failed. Otherwise choose another output."
                )
            return (
                f"{place}: {self.output} holds the outcome of another account for record "
                f"{record.account.key}. Lines were added, removed or moved, or a token or a broker "
                f"was changed. {advice}"
            )
        if has_failed:
            return (
                f"{place}: {self.output} holds a failed outcome with this key and another "
                "auth_token or broker. If you renewed or corrected them, add --retry-failed to "
                "read the failed accounts again. Otherwise choose another output."
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
