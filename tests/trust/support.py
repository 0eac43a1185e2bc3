"""Helpers of the tests of concurrency."""

from __future__ import annotations

from pathlib import Path

from mesh_facade import AccountBalance


def has_amount(balance: AccountBalance, number: int) -> bool:
    return balance.cash("USD") == number


def count_descriptors() -> int:
    return len([*Path("/dev/fd").iterdir()])
