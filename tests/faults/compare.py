"""Lets several clients meet the faults, and prints what they did as a Markdown table.

`python -m tests.faults.compare` compares the facade, the generated client and bare httpx, on kept
connections. TLS is used only for the faults that need it.
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

import attrs
import httpx
from mesh_connect_client import Client
from mesh_connect_client.api.balance import get_account_balance
from mesh_connect_client.models import BalanceBrokerBaseRequest

from mesh_facade import MeshClient, MeshError
from tests.faults.catalogue import FAULTS, Bounds, Fault, Verdict
from tests.faults.observation import (
    OWN_AMOUNT,
    SECOND_USER,
    THIRD_USER,
    Call,
    ClientFactory,
    Observation,
    Outcome,
    observe,
)
from tests.faults.server import FaultServer

MARGIN = 0.25
"""Seconds by which a call may be late."""


@contextlib.contextmanager
def bare_httpx(url: str, *, context: ssl.SSLContext, bounds: Bounds) -> Iterator[Call]:
    """Post a request and read the JSON, as most callers do."""
    with httpx.Client(base_url=url, verify=context, timeout=bounds.timeout) as client:

        def call(token: str) -> object:
            sent = {"authToken": token, "type": "coinbase"}
            answer = client.post("/api/v1/balance/get", json=sent).raise_for_status().json()
            return answer["content"]["balances"][0]["cash"]

        yield call


@contextlib.contextmanager
def generated(url: str, *, context: ssl.SSLContext, bounds: Bounds) -> Iterator[Call]:
    """Call the generated operation, with httpx's own time limit."""
    with Client(base_url=url, verify_ssl=context, timeout=httpx.Timeout(bounds.timeout)) as client:

        def call(token: str) -> object:
            body = BalanceBrokerBaseRequest(auth_token=token, type_="coinbase")
            answer: Any = get_account_balance.sync(client=client, body=body)
            return answer.content.balances[0].cash

        yield call


@contextlib.contextmanager
def facade(url: str, *, context: ssl.SSLContext, bounds: Bounds) -> Iterator[Call]:
    """Call the facade."""
    with MeshClient(
        "client-id",
        "secret",
        base_url=url,
        verify=context,
        timeout=bounds.timeout,
        deadline=bounds.deadline,
    ) as mesh:
        yield lambda token: mesh.get_account_balance(token, "coinbase").cash("USD")


CLIENTS: Mapping[str, ClientFactory] = {
    "bare httpx": bare_httpx,
    "generated client": generated,
    "mesh-facade": facade,
}


@attrs.frozen
class Behaviour:
    """What a client did, in a few words, and whether a careful client would do the same."""

    words: str
    is_right: bool


def describe(fault: Fault, seen: Observation) -> Behaviour:
    """Describe what a client did when it met a fault."""
    outcome = seen.outcome
    limit = fault.bounds.deadline + MARGIN
    if not outcome.has_ended:
        return Behaviour(f"**hangs** (more than {limit:g} s)", is_right=False)
    words = _describe_outcome(outcome, SECOND_USER)
    is_right = _is_right(fault, outcome)
    if outcome.seconds > limit:
        words = f"{words} after {outcome.seconds:.1f} s"
        is_right = False
    if seen.next_outcome.error or seen.next_outcome.value != OWN_AMOUNT[THIRD_USER]:
        words = f"{words}; next call: {_describe_outcome(seen.next_outcome, THIRD_USER)}"
        is_right = False
    if not is_right:
        words = f"**{words}**"
    return Behaviour(words, is_right)


def _is_right(fault: Fault, outcome: Outcome) -> bool:
    """Return True if a fault that has an answer gave it, and any other one a typed error."""
    if fault.verdict is Verdict.ANSWER:
        return outcome.error is None and outcome.value == OWN_AMOUNT[SECOND_USER]
    return isinstance(outcome.error, MeshError | httpx.HTTPError)


def _describe_outcome(outcome: Outcome, token: str) -> str:
    if outcome.error is not None:
        return f"`{type(outcome.error).__name__}`"
    if not outcome.has_ended:
        return "no answer in time"
    if outcome.value == OWN_AMOUNT[token]:
        return "own answer"
    return "another user's balance"


def compare() -> Iterator[str]:
    """Yield the lines of the table: one for each fault with which a client did something wrong."""
    right_counts: Counter[str] = Counter()
    all_right = 0
    with FaultServer() as server, ThreadPoolExecutor(len(CLIENTS)) as executor:
        yield "| fault | expected | " + " | ".join(CLIENTS) + " |"
        yield "|---" * (len(CLIENTS) + 2) + "|"
        for fault in FAULTS:

            def behaviour_of(factory: ClientFactory, fault: Fault = fault) -> Behaviour:
                tls = bool(fault.tls)
                return describe(fault, observe(server, factory, fault, reused=True, tls=tls))

            behaviours = dict(
                zip(CLIENTS, executor.map(behaviour_of, CLIENTS.values()), strict=True)
            )
            right = [name for name, behaviour in behaviours.items() if behaviour.is_right]
            right_counts.update(right)
            if len(right) == len(CLIENTS):
                all_right += 1
            else:
                words = " | ".join(behaviour.words for behaviour in behaviours.values())
                yield f"| {fault.name} | {fault.verdict.value} | {words} |"
    yield f"| {all_right} others | an error of its own, or the answer |" + " as it should |" * 3
    totals = " | ".join(f"**{right_counts[name]} of {len(FAULTS)}**" for name in CLIENTS)
    yield f"| **right, in time, and well afterwards** | | {totals} |"


if __name__ == "__main__":
    with mock.patch.object(random, "uniform", min):  # no pauses between attempts
        sys.stdout.writelines(f"{line}\n" for line in compare())
