"""A pytest plugin with the fault server, and a fixture that lets clients meet a fault.

A test that takes `fault` runs once for each fault. `observe_all(fault)` needs the fixture
`client_factories`, a mapping of names to `ClientFactory`, which the suite of tests defines. Each of
these clients meets the fault on new and on kept connections, with TLS and without, all at once.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from operator import attrgetter

import attrs
import pytest

from tests.faults.catalogue import FAULTS, Fault
from tests.faults.observation import ClientFactory, Observation, observe
from tests.faults.server import FaultServer


@attrs.frozen
class _Way:
    """A client, and the kind of connection on which it meets a fault."""

    client: str
    reused: bool
    tls: bool

    def __str__(self) -> str:
        connection = "kept" if self.reused else "new"
        protocol = "tls" if self.tls else "plain"
        return f"{self.client}, {connection}, {protocol}"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that takes `fault` once for each fault."""
    if "fault" in metafunc.fixturenames:
        metafunc.parametrize("fault", FAULTS, ids=attrgetter("name"))


@pytest.fixture(scope="session")
def running_fault_server() -> Iterator[FaultServer]:
    """Run the fault server until the last test has ended."""
    with FaultServer() as server:
        yield server


@pytest.fixture
def fault_server(running_fault_server: FaultServer) -> Iterator[FaultServer]:
    """Let a test open endpoints, and close them after it."""
    yield running_fault_server
    running_fault_server.close_endpoints()


@pytest.fixture
def observe_all(
    fault_server: FaultServer, client_factories: Mapping[str, ClientFactory]
) -> Callable[[Fault], dict[str, Observation]]:
    """Return a function that lets all clients meet a fault.

    The function returns what happened, by the name of the client and the kind of connection.
    """

    def observe_with_all_clients(fault: Fault) -> dict[str, Observation]:
        ways: list[_Way] = []
        for name, reused, tls in itertools.product(client_factories, (False, True), (False, True)):
            if fault.tls in {None, tls}:
                ways.append(_Way(name, reused=reused, tls=tls))

        def observe_way(way: _Way) -> Observation:
            factory = client_factories[way.client]
            return observe(fault_server, factory, fault, reused=way.reused, tls=way.tls)

        at_once = len(ways)
        if fault.is_busy:
            at_once = 2
        with ThreadPoolExecutor(at_once) as executor:
            observations = executor.map(observe_way, ways)
            return {str(way): seen for way, seen in zip(ways, observations, strict=True)}

    return observe_with_all_clients
