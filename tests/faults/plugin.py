"""A pytest plugin: the fault server, and the matrix for whichever client it is to be tried on.

A test that takes `fault` runs once for each fault. `expose_to(fault)` needs the fixture
`client_factories`, a mapping of names to `ClientFactory`, which the suite defines: every one meets
the fault on fresh and on kept connections, in plain HTTP and in TLS, at the same time.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from operator import attrgetter

import pytest

from tests.faults.catalogue import FAULTS, Fault
from tests.faults.matrix import ClientFactory, Observation, expose
from tests.faults.server import FaultServer


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that takes `fault` once for each."""
    if "fault" in metafunc.fixturenames:
        metafunc.parametrize("fault", FAULTS, ids=attrgetter("name"))


@pytest.fixture(scope="session")
def fault_server() -> Iterator[FaultServer]:
    """Run the server for as long as the tests run."""
    with FaultServer() as server:
        yield server


@pytest.fixture
def expose_to(
    fault_server: FaultServer, client_factories: Mapping[str, ClientFactory]
) -> Callable[[Fault], dict[str, Observation]]:
    """Give a function that lets all clients meet a fault, and names what each of them did."""

    def expose_all(fault: Fault) -> dict[str, Observation]:
        ways = [
            (name, reused, tls)
            for name, reused, tls in itertools.product(
                client_factories, (False, True), (False, True)
            )
            if fault.tls in {None, tls}
        ]
        with ThreadPoolExecutor(2 if fault.is_busy else len(ways)) as executor:
            found = executor.map(
                lambda way: expose(
                    fault_server, client_factories[way[0]], fault, reused=way[1], tls=way[2]
                ),
                ways,
            )
            return {
                f"{name}, {'kept' if reused else 'fresh'}, {'tls' if tls else 'plain'}": seen
                for (name, reused, tls), seen in zip(ways, found, strict=True)
            }

    return expose_all
