"""Selects the accounts that a resumed run of `mesh-balance bulk` reads.

An outcome in the output belongs to an account if both have the same key, and the outcome was read
with the account's token and broker, which its fingerprint shows (see `fingerprints`). Before the
run reads its first account, all accounts of the file are compared with all outcomes. The run ends
with an error in three cases, because the output was written for other accounts or with other keys:

- An outcome has the key of an account, but was read with another token or broker. This is allowed
  if the account is read again, or if only the token differs and `--trust-keys` is given.
- No outcome has the key of an account, or so few that the output was written for another file:
  most outcomes belong to no account of this file, and most accounts of this file have no outcome.
- An outcome was read for an account that has another key now.

Outcomes whose keys are no longer in the file are kept, because a user may have unlinked an account.
The summary of the run lists them.
"""

from collections.abc import Generator, Mapping
from pathlib import Path

import attrs

from mesh_facade import LinkedAccount
from mesh_facade.cli.accounts import AccountsFile, Record
from mesh_facade.cli.results import StoredOutcome
from mesh_facade.cli.summary import Tally

_MAX_UNPROVEN_COMPARED = 20
"""How many outcomes each account is compared with, in the search for keys that were changed.

The number is bounded because each comparison takes 6 µs. A few outcomes suffice: usually either all
keys were changed or none."""


@attrs.frozen
class Resumption:
    """Compares the accounts of a file with the outcomes in an output.

    Attributes:
        output: The path of the output, for error messages.
        outcomes: The outcomes in the output, by key.
        retry_failed: If True, read only the accounts whose outcome is a failure; if False, only
            those that have no outcome.
        trust_keys: If True, an outcome with an account's key and broker belongs to the account even
            if it was read with another token. The number of a record is never trusted as a key.
    """

    output: Path
    outcomes: Mapping[str, StoredOutcome]
    retry_failed: bool
    trust_keys: bool

    def select(self, accounts: AccountsFile) -> Generator[LinkedAccount]:
        """Yield the accounts that this run reads."""
        for record in accounts.read_records():
            if self._is_selected(self.outcomes.get(record.account.key)):
                yield record.account

    def compare(self, accounts: AccountsFile, tally: Tally) -> None:
        """Check that the outcomes belong to the accounts, and count both in the tally.

        Sets `selected` and `unlisted` of the tally, and adds the outcomes that are kept.

        Raises:
            ValueError: The outcomes are those of other accounts, or of accounts with other keys.
        """
        if not self.outcomes and not self.retry_failed:
            tally.selected = tally.total  # nothing to compare: all accounts are read
            return
        unlisted = dict(self.outcomes)  # the outcomes whose keys are not in the file
        unproven: list[StoredOutcome] = []  # the outcomes that no fingerprint ties to an account
        for record in accounts.read_records():
            outcome = unlisted.pop(record.account.key, None)
            is_selected = self._is_selected(outcome)
            if is_selected:
                tally.selected += 1
            if outcome is None:
                continue
            is_proven = outcome.belongs_to(record.account)
            if not is_proven:
                unproven.append(outcome)
            if is_selected:
                continue  # the new outcome replaces this one, so this one need not be proven
            if not is_proven and not self._is_trusted(record, outcome):
                raise ValueError(self._describe_mismatch(accounts, record, outcome))
            tally.add_stored(outcome)
        if self.outcomes and len(unlisted) == len(self.outcomes):
            raise ValueError(self._describe_foreign_output(accounts))
        if self._is_output_of_another_file(tally.total, len(unlisted)):
            raise ValueError(self._describe_mixed_output(accounts, len(unlisted)))
        unproven.extend(unlisted.values())
        self._check_for_changed_keys(accounts, unproven[:_MAX_UNPROVEN_COMPARED])
        tally.unlisted = list(unlisted)

    def _is_selected(self, outcome: StoredOutcome | None) -> bool:
        """Return True if this run reads an account with this outcome; None is no outcome yet."""
        if self.retry_failed:
            return outcome is not None and outcome.failure is not None
        return outcome is None

    def _is_output_of_another_file(self, total: int, unlisted: int) -> bool:
        """Return True if this run would mix the accounts of two files in one output.

        Two files may share a few accounts. Then most outcomes belong to no account of this file,
        and most accounts of this file have no outcome. One of both alone is no sign of a mistake:
        many users may have unlinked their accounts, and many accounts may have been added.
        """
        if self.retry_failed:
            return False  # such a run adds no account to the output
        shared = len(self.outcomes) - unlisted
        return unlisted > shared and total - shared > shared

    def _is_trusted(self, record: Record, outcome: StoredOutcome) -> bool:
        """Return True if `--trust-keys` lets an outcome with the record's key belong to it."""
        return self.trust_keys and record.has_key and outcome.broker == record.account.broker

    def _check_for_changed_keys(
        self, accounts: AccountsFile, unproven: list[StoredOutcome]
    ) -> None:
        """Raise ValueError if one of these outcomes was read for an account with another key."""
        if not unproven:
            return  # saves reading the file
        for record in accounts.read_records():
            own = self.outcomes.get(record.account.key)
            if own is not None and own.belongs_to(record.account):
                continue  # the fingerprint shows that its key was not changed
            for outcome in unproven:
                if outcome.belongs_to(record.account):
                    raise ValueError(
                        f"{accounts.name}, line {record.line_number}: {self.output} holds the "
                        f"outcome of this account under another key: {outcome.key}. Lines were "
                        "moved, or keys were changed. Choose another output, or give the account "
                        "its old key."
                    )

    def _describe_foreign_output(self, accounts: AccountsFile) -> str:
        """Return the message for an output in which no outcome has the key of an account."""
        count = len(self.outcomes)
        subject = f"none of the {count} outcomes in {self.output} belongs"
        if count == 1:
            subject = f"the outcome in {self.output} does not belong"
        return (
            f"{accounts.name}: {subject} to an account of this file. {self.output} was written for "
            "another file or with other keys: for example, a column 'key' was added or removed "
            "since. Choose another output."
        )

    def _describe_mixed_output(self, accounts: AccountsFile, unlisted: int) -> str:
        """Return the message for an output that shares only a few accounts with the file."""
        return (
            f"{accounts.name}: {unlisted} of {len(self.outcomes)} outcomes in {self.output} belong "
            "to no account of this file, and most accounts of this file have no outcome there. So "
            f"{self.output} was probably written for another file. Choose another output."
        )

    def _describe_mismatch(
        self, accounts: AccountsFile, record: Record, outcome: StoredOutcome
    ) -> str:
        """Return the message for an outcome with the record's key, but another token or broker."""
        place = f"{accounts.name}, line {record.line_number}"
        has_failed = outcome.failure is not None
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
        if outcome.broker != record.account.broker:
            return (
                f"{place}: {self.output} holds an outcome with this key and another broker. "
                "Choose another output."
            )
        return (
            f"{place}: {self.output} holds an outcome with this key and another auth_token. "
            "Choose another output or, if only tokens were renewed, add --trust-keys."
        )
