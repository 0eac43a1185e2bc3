"""A transport of the caller's own, as a connection of the pool."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from mesh_facade.engine.connection import CallerTaskTransport, CallerThreadTransport
from tests.support import OK, Script

REQUEST = httpx.Request("POST", "https://mesh.example", content=b"{}")


def test_transport_for_threads_sends_only_in_threads() -> None:
    connection = CallerThreadTransport(Script(OK))

    assert connection.send(REQUEST).status_code == 200
    with pytest.raises(NotImplementedError):
        asyncio.run(connection.send_async(REQUEST))


def test_transport_for_tasks_sends_only_in_tasks() -> None:
    connection = CallerTaskTransport(Script(OK))

    assert asyncio.run(connection.send_async(REQUEST)).status_code == 200
    with pytest.raises(NotImplementedError):
        connection.send(REQUEST)


@pytest.mark.parametrize("connection_class", [CallerThreadTransport, CallerTaskTransport])
def test_custom_transport_is_never_kept_by_the_pool(
    connection_class: type[CallerThreadTransport | CallerTaskTransport],
) -> None:
    connection = connection_class(Script(OK))

    assert not connection.is_clean
    assert not connection.has_unread_data()
    assert not connection.heeds_deadline
    connection.close()  # the transport belongs to the caller, who closes it with the client
