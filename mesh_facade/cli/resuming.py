"""Selects the accounts that a resumed run of `mesh-balance bulk` reads.

An outcome in the output belongs to the account that has its key. The fingerprint of the outcome
shows whether it was also read with the account's token and broker (see `fingerprints`). Keys and
fingerprints are checked before the run reads its first account. The run ends with an error in three
cases, because the output was written for other accounts or with other keys:

- An outcome belongs to an account, but was read with another token or broker. This is allowed if
  the account is read again, or if only the token differs and `--trust-keys` is given.
- No outcome belongs to an account of the file, or so few do that the output was probably written
  for another file: most outcomes belong to no account, and most accounts have no outcome.
- An outcome was read with the token and broker of an account that has another key now. In a large
  file, not all outcomes are searched for this: see `_MAX_COMPARISONS`.

An outcome that belongs to no account of the file is an orphan: its account may have been unlinked.
Orphans stay in the output, and the summary of the run names them.
"""

from collections.abc import Generator, Mapping, Sequence
from pathlib import Path

import attrs

from mesh_facade import LinkedAccount
from mesh_facade.cli import fingerprints
from mesh_facade.cli.accounts import AccountsFile, Record
from mesh_facade.cli.results import StoredOutcome
from mesh_facade.cli.summary import Tally

_MAX_COMPARISONS = 200_000
"""How many comparisons the search for changed keys may make in each of three groups of outcomes.

The first group are the orphans. The second are the mismatched outcomes, which have an account's
key, but were read with another token or broker. Each outcome of these two is compared with each
account that has no outcome or a mismatched one. The third are the mismatched outcomes that
`--trust-keys` accepts: they are also compared with each account whose own outcome matches. Each
fingerprint has its own salt, so there is no faster search than this one.

100,000 comparisons take a quarter of a second. So in a large file, only the first outcomes of a
group are compared. They usually suffice, because either all keys were changed or none.
"""
_MIN_OUTCOMES_COMPARED = 20
"""How many outcomes of a group are compared even if that exceeds `_MAX_COMPARISONS`.

With a million accounts that have no outcome or a mismatched one, this takes 50 seconds for each
group.
"""


@attrs.frozen
class Resumption:
    """Compares the accounts of a file with the outcomes in an output.

    Attributes:
        output: The path of the output, for error messages.
        outcomes: The outcomes in the output, by key.
        retry_failed: If True, read only the accounts whose outcome is a failure; if False, only
            those that have no outcome.
        trust_keys: If True, an outcome with an account's key and broker is accepted even if it was
            read with another token. This does not hold for accounts without a key: their keys are
            the numbers of their records, which change when lines are moved.
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

    def check_and_count(self, accounts: AccountsFile, tally: Tally) -> None:
        """Check that the outcomes were read for these accounts, and count both in the tally.

        Counts the selected accounts, the outcomes of accounts that are not selected, and the
        orphans, and notes whether an outcome shows that Mesh accepted the API keys earlier.

        Raises:
            ValueError: The outcomes are those of other accounts, or of accounts with other keys.
        """
        if not self.outcomes and not self.retry_failed:
            tally.selected = tally.total  # nothing to compare: all accounts are read
            return
        tally.keys_were_accepted_earlier = self._has_outcome_that_shows_accepted_keys()
        # By key. The loop removes the outcomes that belong to an account: the orphans remain.
        unclaimed = dict(self.outcomes)
        mismatched: list[StoredOutcome] = []  # read with another token or broker than the account's
        trusted: list[StoredOutcome] = []  # the mismatched outcomes that `--trust-keys` accepts
        accounts_without_outcome = 0
        for record in accounts.read_records():
            outcome = unclaimed.pop(record.account.key, None)
            is_selected = self._is_selected(outcome)
            if is_selected:
                tally.selected += 1
            if outcome is None:
                accounts_without_outcome += 1
                continue
            is_match = outcome.was_read_with(record.account)
            if not is_match:
                mismatched.append(outcome)
            if is_selected:
                # Only with --retry-failed: the new outcome replaces this one, which need not match.
                continue
            if not is_match:
                if not self._is_trusted(record, outcome):
                    raise ValueError(self._describe_mismatch(accounts, record, outcome))
                trusted.append(outcome)
            tally.add_stored(outcome)
        orphans = list(unclaimed.values())
        self._check_orphans(accounts, orphans, tally)
        accounts_without_match = accounts_without_outcome + len(mismatched)
        # Each group has a limit of its own, so that a large group does not crowd out the other.
        outcomes_to_compare = _limit_comparisons(orphans, accounts_without_match)
        outcomes_to_compare += _limit_comparisons(mismatched, accounts_without_match)
        self._check_for_changed_keys(accounts, outcomes_to_compare, with_match=False)
        # A trusted outcome may also be of an account whose own outcome matches: two keys may have
        # had one token.
        trusted = _limit_comparisons(trusted, tally.total - accounts_without_match)
        self._check_for_changed_keys(accounts, trusted, with_match=True)
        tally.orphaned_keys = list(unclaimed)

    def _check_orphans(
        self, accounts: AccountsFile, orphans: Sequence[StoredOutcome], tally: Tally
    ) -> None:
        """Raise ValueError if the output was evidently written for other accounts."""
        if self.outcomes and len(orphans) == len(self.outcomes):
            raise ValueError(self._describe_output_without_accounts(accounts))
        if self._would_mix_two_files(tally.total, len(orphans)):
            raise ValueError(self._describe_mix_of_two_files(accounts, len(orphans)))

    def _has_outcome_that_shows_accepted_keys(self) -> bool:
        """Return True if an outcome shows that Mesh accepted the API keys of an earlier run."""
        return any(outcome.shows_accepted_api_keys for outcome in self.outcomes.values())

    def _is_selected(self, outcome: StoredOutcome | None) -> bool:
        """Return True if this run reads an account with this outcome.

        `outcome` is None if the account has none yet.
        """
        if self.retry_failed:
            return outcome is not None and outcome.failure is not None
        return outcome is None

    def _would_mix_two_files(self, account_count: int, orphan_count: int) -> bool:
        """Return True if this run would mix the accounts of two files in one output.

        Two files may share a few accounts. Then most outcomes belong to no account of this file,
        and most accounts of this file have no outcome. One of the two conditions alone is no sign
        of a mistake: many accounts may have been unlinked, and many may have been added.
        """
        if self.retry_failed:
            return False  # such a run adds no account to the output
        shared = len(self.outcomes) - orphan_count  # accounts of the file that have an outcome
        most_outcomes_are_orphans = orphan_count > shared
        most_accounts_have_no_outcome = account_count - shared > shared
        return most_outcomes_are_orphans and most_accounts_have_no_outcome

    def _is_trusted(self, record: Record, outcome: StoredOutcome) -> bool:
        """Return True if `--trust-keys` accepts this outcome, although the token may differ."""
        return self.trust_keys and record.has_key and outcome.broker == record.account.broker

    def _check_for_changed_keys(
        self, accounts: AccountsFile, outcomes: Sequence[StoredOutcome], *, with_match: bool
    ) -> None:
        """Raise ValueError if one of these outcomes was read for an account with another key.

        The outcomes are compared with the accounts whose own outcome matches, or with the others.
        """
        if not outcomes:
            return  # saves reading the file
        outcome_by_fingerprint = {outcome.fingerprint: outcome for outcome in outcomes}
        for record in accounts.read_records():
            own_outcome = self.outcomes.get(record.account.key)
            is_match = own_outcome is not None and own_outcome.was_read_with(record.account)
            if is_match != with_match:
                continue
            fingerprint = fingerprints.find_match(outcome_by_fingerprint, record.account)
            if fingerprint is not None:
                old_key = outcome_by_fingerprint[fingerprint].key
                place = f"{accounts.name}, line {record.line_number}"
                # Only a key of digits can be the number of a record without a key.
                if record.has_key or not old_key.isdecimal():
                    raise ValueError(
                        f"{place}: {self.output} holds the outcome of this account under another "
                        f"key: {old_key}. Lines were moved, or keys were changed. Choose another "
                        "output, or give the account its old key."
                    )
                raise ValueError(
                    f"{place}: {self.output} holds the outcome of this account as record "
                    f"{old_key}, because lines were added, removed or moved. Choose another "
                    "output, or add a column 'key' that holds the old record numbers. For this "
                    f"account, write {old_key}."
                )

    def _describe_output_without_accounts(self, accounts: AccountsFile) -> str:
        """Return the message for an output in which no outcome has the key of an account."""
        count = len(self.outcomes)
        subject = f"none of the {count} outcomes in {self.output} belongs"
        if count == 1:
            subject = f"the outcome in {self.output} does not belong"
        return (
            f"{accounts.name}: {subject} to an account of this file. {self.output} was written for "
            "another file or with other keys: for example, a column 'key' was added or removed "
            "since. Choose another output, or give each account its old key (without a column "
            "'key', that was its record number)."
        )

    def _describe_mix_of_two_files(self, accounts: AccountsFile, orphan_count: int) -> str:
        """Return the message for an output that shares only a few accounts with this file."""
        return (
            f"{accounts.name}: {orphan_count} of {len(self.outcomes)} outcomes in {self.output} "
            "belong to no account of this file, and most accounts of this file have no outcome "
            f"there. So {self.output} was probably written for another file. Choose another output."
        )

    def _describe_mismatch(
        self, accounts: AccountsFile, record: Record, outcome: StoredOutcome
    ) -> str:
        """Return the message for an outcome with the record's key, but another token or broker."""
        place = f"{accounts.name}, line {record.line_number}"
        has_failed = outcome.failure is not None
        if not record.has_key:
            advice = ""
            if has_failed:
                advice = (
                    "If you only renewed or corrected the token or the broker of this failed "
                    "account, add --retry-failed. Otherwise: "
                )
            elif self.trust_keys:
                advice = "--trust-keys needs a column 'key'. "
            return (
                f"{place}: {self.output} holds the outcome of another account for record "
                f"{record.account.key}. Lines were added, removed or moved, or a token or a broker "
                f"was changed. {advice}Choose another output or, to keep these outcomes, give each "
                "account a key in a column 'key': its old record number (1 was the first account) "
                "if it has an outcome, otherwise a new key."
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
                "Choose another output, or give the account its old key."
            )
        return (
            f"{place}: {self.output} holds an outcome with this key and another auth_token. "
            "Choose another output or, if only tokens were renewed, add --trust-keys."
        )


def _limit_comparisons(outcomes: list[StoredOutcome], account_count: int) -> list[StoredOutcome]:
    """Return the outcomes to search for changed keys: only the first ones if there are too many.

    Each of them will be compared with `account_count` accounts.
    """
    if account_count == 0:
        return []
    limit = max(_MAX_COMPARISONS // account_count, _MIN_OUTCOMES_COMPARED)
    return outcomes[:limit]
