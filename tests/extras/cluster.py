"""A program that reads balances on two worker processes; their ids come first, then the outcomes.

Usage: cluster.py ACCOUNTS; the environment points the workers to a server. It is a program of its
own because workers start by importing the main module.
"""

from __future__ import annotations

import json
import os
import sys

import dask.bag
from distributed import Client, LocalCluster

from mesh_facade import LinkedAccount
from mesh_facade.dask import fetch_balances


def main(count: int) -> None:
    accounts = [LinkedAccount(f"token-{number}", "coinbase", number) for number in range(count)]
    bag = dask.bag.from_sequence(accounts, partition_size=100)
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        print(json.dumps([*client.run(os.getpid).values()]), flush=True)  # noqa: T201
        outcomes = fetch_balances(bag).compute()
        cash_by_key = [
            [each.account.key, str(each.balance and each.balance.cash("USD"))] for each in outcomes
        ]
        print(json.dumps(cash_by_key), flush=True)  # noqa: T201


if __name__ == "__main__":
    main(int(sys.argv[1]))
