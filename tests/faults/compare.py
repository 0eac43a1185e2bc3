"""Puts several clients through the faults, and prints what they do as a Markdown table.

`python -m tests.faults.compare` compares the facade, the generated client and bare httpx, on kept
connections without TLS (with it, where a fault needs it).
"""

from __future__ import annotations

import contextlib
import random
import ssl
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from unittest import mock

import httpx
from mesh_connect_client import Client
from mesh_connect_client.api.balance import get_account_balance
from mesh_connect_client.models import BalanceBrokerBaseRequest

from mesh_facade import MeshClient, MeshError
from tests.faults.catalogue import FAULTS, Bounds, Fault, Verdict
from tests.faults.matrix import (
    NEXT,
    OWN_AMOUNT,
    STRUCK,
    Call,
    ClientFactory,
    Observation,
    Outcome,
    expose,
)
from tests.faults.server import FaultServer

MARGIN = 0.25


@contextlib.contextmanager
def bare_httpx(url: str, *, context: ssl.SSLContext, bounds: Bounds) -> Iterator[Call]:
    """Post, and read the JSON: the way most callers do it."""
    with httpx.Client(base_url=url, verify=context, timeout=bounds.timeout) as client:

        def call(token: str) -> object:
            sent = {"authToken": token, "type": "coinbase"}
            answer = client.post("/api/v1/balance/get", json=sent).raise_for_status().json()
            return answer["content"]["balances"][0]["cash"]

        yield call


@contextlib.contextmanager
def generated(url: str, *, context: ssl.SSLContext, bounds: Bounds) -> Iterator[Call]:
    """Call the generated operation, given the time limit that httpx knows."""
    with Client(base_url=url, verify_ssl=context, timeout=httpx.Timeout(bounds.timeout)) as client:

        def call(token: str) -> object:
            body = BalanceBrokerBaseRequest(auth_token=token, type_="coinbase")
            answer: Any = get_account_balance.sync(client=client, body=body)
            return answer.content.balances[0].cash

        yield call


@contextlib.contextmanager
def facade(url: str, *, context: ssl.SSLContext, bounds: Bounds) -> Iterator[Call]:
    """Call the facade."""
    timeout, deadline = bounds.timeout, bounds.deadline
    with MeshClient(
        "client-id", "secret", base_url=url, verify=context, timeout=timeout, deadline=deadline
    ) as mesh:
        yield lambda token: mesh.get_account_balance(token, "coinbase").cash("USD")


CLIENTS: Mapping[str, ClientFactory] = {
    "bare httpx": bare_httpx,
    "generated client": generated,
    "mesh-facade": facade,
}


def describe(fault: Fault, seen: Observation) -> tuple[str, bool]:
    """Say in a few words what a client did, and whether a careful one would have."""
    outcome = seen.outcome
    limit = fault.bounds.deadline + MARGIN
    if not outcome.has_ended:
        return f"**hangs** (more than {limit:g} s)", False
    words, is_right = _describe_outcome(outcome)
    is_right = is_right and (outcome.error is None) == (fault.verdict is Verdict.ANSWER)
    if outcome.seconds > limit:
        words, is_right = f"{words} after {outcome.seconds:.1f} s", False
    if seen.next_outcome.error or seen.next_outcome.value != OWN_AMOUNT[NEXT]:
        following, _ = _describe_outcome(seen.next_outcome, NEXT)
        words, is_right = f"{words}; next call: {following}", False
    return words if is_right else f"**{words}**", is_right


def _describe_outcome(outcome: Outcome, token: str = STRUCK) -> tuple[str, bool]:
    if outcome.error is None:
        is_own = outcome.value == OWN_AMOUNT[token]
        return ("own answer", True) if is_own else ("another user's balance", False)
    is_typed = isinstance(outcome.error, MeshError | httpx.HTTPError)
    return f"`{type(outcome.error).__name__}`", is_typed


def compare() -> Iterator[str]:
    """Yield the table's lines: the faults that not all clients take well, and how many they do."""
    counted: Counter[str] = Counter()
    taken_well = 0
    with FaultServer() as server, ThreadPoolExecutor(len(CLIENTS)) as executor:
        yield "| fault | a careful client | " + " | ".join(CLIENTS) + " |"
        yield "|---" * (len(CLIENTS) + 2) + "|"
        for fault in FAULTS:
            seen = executor.map(
                lambda client, fault=fault: expose(
                    server, client, fault, reused=True, tls=bool(fault.tls)
                ),
                CLIENTS.values(),
            )
            told = [describe(fault, observation) for observation in seen]
            rights = [name for name, (_, is_right) in zip(CLIENTS, told, strict=True) if is_right]
            counted.update(rights)
            taken_well += len(rights) == len(CLIENTS)
            if len(rights) < len(CLIENTS):
                words = " | ".join(said for said, _ in told)
                yield f"| {fault.name} | {fault.verdict.value} | {words} |"
    yield f"| {taken_well} others | an error of its own, or the answer |" + " as it should |" * 3
    totals = " | ".join(f"**{counted[name]} of {len(FAULTS)}**" for name in CLIENTS)
    yield f"| **right, in time, and well afterwards** | | {totals} |"


if __name__ == "__main__":
    with mock.patch.object(random, "uniform", min):  # no pauses between attempts
        sys.stdout.writelines(f"{line}\n" for line in compare())
