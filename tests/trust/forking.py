"""A program that forks under traffic: every answer, in whichever process, must be its own.

Usage: forking.py URL AUTHORITY MODE FORKS CHILDREN; prints how many answers were right, and fails
where one was not. It is a program of its own because pytest's process has threads that must not be
forked.
"""

from __future__ import annotations

import asyncio
import os
import signal
import ssl
import sys
import threading
from collections.abc import Callable

from mesh_facade import AsyncMeshClient, MeshClient

CALLS = 3
PATIENCE = 20
Check = Callable[[int], None]  # makes CALLS calls, for this number and those after it


def check_amount(amount: object, number: int) -> None:
    if amount != number:
        raise AssertionError(f"{os.getpid()} asked for {number} and got {amount}")


def run_forks(check: Check, forks: int, children: int) -> int:
    """Fork again and again while the parent goes on calling; return the number of answers."""
    for fork in range(forks):
        pids = []
        for child in range(children):
            first = 1000 * (fork * children + child + 1)
            pid = os.fork()
            if pid == 0:
                run_child(check, first)
            pids.append(pid)
        check(1)
        codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]
        if any(codes):
            raise AssertionError(f"children exited with {codes}")
    return forks * (children + 1) * CALLS


def run_child(check: Check, first: int) -> None:
    signal.alarm(PATIENCE)  # a child that hangs is killed, and its parent reports it
    code = 1
    try:
        check(first)
        code = 0
    finally:
        os._exit(code)


def run_sync(mesh: MeshClient, forks: int, children: int) -> int:
    """Fork while two threads keep the client's connections busy."""

    def check(first: int) -> None:
        for number in range(first, first + CALLS):
            amount = mesh.get_account_balance(f"token-{number}", "coinbase").cash("USD")
            check_amount(amount, number)

    is_over = threading.Event()
    failures: list[BaseException] = []

    def keep_busy(first: int) -> None:
        number = first
        try:
            while not is_over.is_set():
                check(number)
                number += CALLS
        except BaseException as error:  # noqa: BLE001 — the main thread raises it
            failures.append(error)

    threads = [threading.Thread(target=keep_busy, args=[10**7 * n]) for n in (1, 2)]
    for thread in threads:
        thread.start()
    try:
        answers = run_forks(check, forks, children)
    finally:
        is_over.set()
        for thread in threads:
            thread.join()
    if failures:
        raise failures[0]
    return answers


def run_async(mesh: AsyncMeshClient, forks: int, children: int) -> int:
    """Fork between two runs of the parent's loop, whose connections stay open."""
    parent = os.getpid()
    with asyncio.Runner() as runner:

        async def check_all(first: int) -> None:
            numbers = range(first, first + CALLS)
            balances = await asyncio.gather(
                *(mesh.get_account_balance(f"token-{number}", "coinbase") for number in numbers)
            )
            for balance, number in zip(balances, numbers, strict=True):
                check_amount(balance.cash("USD"), number)

        def check(first: int) -> None:
            if os.getpid() == parent:
                runner.run(check_all(first))
            else:
                asyncio.run(check_all(first))

        check(1)
        answers = run_forks(check, forks, children)
        runner.run(mesh.aclose())
    return answers


def main(url: str, authority: str, mode: str, forks: str, children: str) -> None:
    context = ssl.create_default_context(cafile=authority)
    if mode == "sync":
        with MeshClient("client-id", "client-secret", base_url=url, verify=context) as mesh:
            answers = run_sync(mesh, int(forks), int(children))
    else:
        client = AsyncMeshClient("client-id", "client-secret", base_url=url, verify=context)
        answers = run_async(client, int(forks), int(children))
    sys.stdout.write(f"{answers}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
