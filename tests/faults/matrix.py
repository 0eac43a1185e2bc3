"""Puts an HTTP client through the faults, one at a time, and writes down what came of it."""

from __future__ import annotations

import contextlib
import functools
import queue
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Protocol

import attrs

from tests.faults.catalogue import Bounds, Fault
from tests.faults.server import Endpoint, FaultServer

Call = Callable[[str], Any]
"""Reads the amount of the user whose token it is given."""


class ClientFactory(Protocol):
    """Builds a client of a server, and gives a function that makes a call with it.

    `context` trusts the server; `bounds` are the seconds that the client is to allow. What it
    does not know it may ignore.
    """

    def __call__(
        self, url: str, *, context: ssl.SSLContext, bounds: Bounds
    ) -> AbstractContextManager[Call]: ...


@attrs.frozen
class Outcome:
    """What a call gave: a value, or what it raised, or neither for as long as anyone waited."""

    value: Any = None
    error: BaseException | None = None
    seconds: float = 0.0
    has_ended: bool = True


@attrs.frozen
class Observation:
    """What came of a fault: in the call that met it, and in the next one on the same client.

    Attributes:
        outcome: Of the call that met the fault.
        strikes: How often the server has shown the fault.
        next_outcome: Of the call after that, once the server was well again.
    """

    outcome: Outcome
    strikes: int
    next_outcome: Outcome


FIRST, STRUCK, NEXT = (f"auth-token-{number:06}" for number in (11, 22, 33))
OWN_AMOUNT = {FIRST: 11, STRUCK: 22, NEXT: 33}

_PATIENCE = 2.0  # with a client that does not keep its bounds


def expose(
    server: FaultServer, factory: ClientFactory, fault: Fault, *, reused: bool, tls: bool
) -> Observation:
    """Let a client meet a fault, on a kept connection or a fresh one."""
    endpoint = server.open(fault.script, stage=fault.stage, tls=tls)
    build = functools.partial(
        factory, endpoint.url, context=server.client_context, bounds=fault.bounds
    )
    notes: queue.SimpleQueue[Outcome] = queue.SimpleQueue()
    run = functools.partial(_meet, endpoint, build, notes, reused=reused)
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    outcomes: list[Outcome] = []
    for _ in range(2):
        with contextlib.suppress(queue.Empty):
            outcomes.append(notes.get(timeout=fault.bounds.deadline + _PATIENCE))
            continue
        outcomes.append(Outcome(has_ended=False))
        break
    strikes = endpoint.strikes
    endpoint.close()
    thread.join(_PATIENCE)
    return Observation(outcomes[0], strikes, outcomes[-1])


def _meet(
    endpoint: Endpoint,
    build: Callable[[], AbstractContextManager[Call]],
    notes: queue.SimpleQueue[Outcome],
    *,
    reused: bool,
) -> None:
    with build() as call:
        if reused and (outcome := try_call(call, FIRST)).error:
            notes.put(outcome)
            return
        endpoint.fall_ill()
        notes.put(try_call(call, STRUCK))
        endpoint.settle()
        endpoint.recover()
        notes.put(try_call(call, NEXT))


def try_call(call: Call, token: str) -> Outcome:
    """Make a call and write down what it gave."""
    start = time.monotonic()
    try:
        value = call(token)
    except Exception as error:  # noqa: BLE001 — whatever it is is what is to be judged
        return Outcome(error=error, seconds=time.monotonic() - start)
    return Outcome(value, seconds=time.monotonic() - start)
